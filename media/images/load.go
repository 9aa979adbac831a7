package images

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"

	"camwire/media/codec"
	"camwire/media/mjpeg/jpegstream"
)

// Limits of a file. A PNG is decoded here, at up to eight bytes per pixel.
const (
	maxFile      = 32 << 20
	maxSide      = 16384
	maxPixels    = 64 << 20
	maxPNGPixels = 24 << 20
	// pngQuality is the quality of the JPEG that is made of a PNG. Graphs
	// with thin lines suffer from less.
	pngQuality = 90
)

var (
	// errUnfinished is a file that may still become a picture.
	errUnfinished = errors.New("it ends before the picture does")
	errForeign    = errors.New("it is neither JPEG nor PNG")
)

var (
	jpegMagic = []byte{0xff, 0xd8, 0xff}
	pngMagic  = []byte("\x89PNG\r\n\x1a\n")
	// pngEnd is the IEND chunk, the last one of every PNG (ISO/IEC 15948
	// section 11.2.5).
	pngEnd = []byte("\x00\x00\x00\x00IEND\xaeB\x60\x82")
)

// picture is a file as it can be shown.
type picture struct {
	data          []byte // JPEG
	width, height int
	info          fs.FileInfo
	made          bool // of something else than JPEG
}

// sameFile reports whether a file is unchanged as far as its folder tells.
func sameFile(a, b fs.FileInfo) bool {
	return a != nil && b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// load reads a picture. The error wraps errUnfinished where waiting may help.
func load(name string) (picture, error) {
	b, info, err := read(name)
	if err != nil {
		return picture{}, err
	}
	p := picture{info: info}
	switch {
	case bytes.HasPrefix(b, jpegMagic):
		n, ok := jpegstream.End(b)
		if !ok {
			return p, errUnfinished
		}
		p.data = b[:n:n]
		if p.width, p.height, err = codec.JPEGSize(p.data); err != nil {
			return p, err
		}
		return p, checkSize(p.width, p.height, maxPixels)
	case bytes.HasPrefix(b, pngMagic):
		if !bytes.Contains(b, pngEnd) {
			return p, errUnfinished
		}
		return p, p.convert(b)
	case len(b) < len(pngMagic):
		return p, errUnfinished
	}
	return p, errForeign
}

// read reads a file that nobody writes to meanwhile.
func read(name string) ([]byte, fs.FileInfo, error) {
	// Before opening: to open a pipe would wait for its other end.
	if info, err := os.Stat(name); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() {
		return nil, nil, errors.New("it is no regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if before.Size() > maxFile {
		return nil, nil, fmt.Errorf("it has %d bytes, at most %d MiB are read", before.Size(), maxFile>>20)
	}
	b := make([]byte, before.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errUnfinished
		}
		return nil, nil, err
	}
	if after, err := f.Stat(); err != nil || !sameFile(before, after) {
		return nil, nil, errUnfinished
	}
	return b, before, nil
}

func checkSize(w, h, pixels int) error {
	if w > maxSide || h > maxSide || w*h > pixels {
		return fmt.Errorf("it is %dx%d, at most %d pixels per side and %d Mpixel are shown", w, h, maxSide, pixels>>20)
	}
	return nil
}

// convert makes a JPEG of a PNG. What is transparent becomes white: that is the
// paper under most graphs.
func (p *picture) convert(b []byte) error {
	c, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if err := checkSize(c.Width, c.Height, maxPNGPixels); err != nil {
		return err
	}
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if o, ok := m.(interface{ Opaque() bool }); !ok || !o.Opaque() {
		paper := image.NewRGBA(m.Bounds())
		draw.Draw(paper, paper.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(paper, paper.Bounds(), m, m.Bounds().Min, draw.Over)
		m = paper
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: pngQuality}); err != nil {
		return err
	}
	p.data, p.width, p.height, p.made = out.Bytes(), c.Width, c.Height, true
	return nil
}

// looksWhole tells from its last bytes whether reading a file is worth it. A
// large file that grows in many small steps would be read each time otherwise.
func looksWhole(name string) bool {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() < int64(len(pngEnd)) {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var tail [12]byte
	if _, err := f.ReadAt(tail[:], info.Size()-int64(len(tail))); err != nil {
		return false
	}
	return bytes.HasSuffix(tail[:], []byte{0xff, 0xd9}) || bytes.Equal(tail[:], pngEnd)
}

// cache keeps what PNG files became, as converting them takes far longer than
// reading them. The zero value is not ready: newCache.
type cache struct {
	made  map[string]picture
	bytes int
}

// maxCache bounds the bytes that are kept.
const maxCache = 64 << 20

func newCache() *cache { return &cache{made: map[string]picture{}} }

func (c *cache) load(name string) (picture, error) {
	if p, ok := c.made[name]; ok {
		if info, err := os.Stat(name); err == nil && sameFile(info, p.info) {
			return p, nil
		}
		c.forget(name)
	}
	p, err := load(name)
	if err != nil {
		return p, err
	}
	if p.made && c.bytes+len(p.data) <= maxCache {
		c.made[name] = p
		c.bytes += len(p.data)
	}
	return p, nil
}

func (c *cache) forget(name string) {
	c.bytes -= len(c.made[name].data)
	delete(c.made, name)
}

// keep forgets all files but these.
func (c *cache) keep(names []string) {
	if len(c.made) == 0 {
		return
	}
	still := make(map[string]bool, len(names))
	for _, n := range names {
		still[n] = true
	}
	for n := range c.made {
		if !still[n] {
			c.forget(n)
		}
	}
}
