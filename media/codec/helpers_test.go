package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"camwire/media"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
)

// recorder is the sink behind a Normalizer.
type recorder struct {
	starts []media.Tracks
	frames []*media.Frame
	// at is the number of frames that stood before each start.
	at []int
}

func (r *recorder) Start(ts media.Tracks) {
	r.starts = append(r.starts, ts)
	r.at = append(r.at, len(r.frames))
}
func (r *recorder) Write(f *media.Frame) { r.frames = append(r.frames, f) }

func (r *recorder) tracks() media.Tracks { return r.starts[len(r.starts)-1] }

// bitWriter writes what bitReader reads.
type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) u(n int, v uint32) *bitWriter {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
	return w
}

func (w *bitWriter) ue(v uint32) *bitWriter {
	n := 0
	for x := v + 1; x > 1; x >>= 1 {
		n++
	}
	return w.u(n, 0).u(n+1, v+1)
}

// bytes ends the unit with rbsp_trailing_bits and escapes it.
func (w *bitWriter) bytes(header ...byte) []byte {
	w.u(1, 1)
	out := slices.Clone(header)
	zeros := 0
	for _, b := range w.b {
		if zeros >= 2 && b <= 3 {
			out = append(out, 3)
			zeros = 0
		}
		out = append(out, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// spsWithoutVUI is an H.264 SPS of the Main profile as plain cameras send it.
func spsWithoutVUI(profile byte, id, widthMbs, heightMbs uint32) []byte {
	w := &bitWriter{}
	w.u(8, uint32(profile)).u(8, 0).u(8, 30).ue(id)
	w.ue(0).ue(0).ue(4) // frame_num, POC type 0
	w.ue(1).u(1, 0).ue(widthMbs - 1).ue(heightMbs - 1)
	w.u(1, 1).u(1, 1).u(1, 0).u(1, 0)
	return w.bytes(0x67)
}

func ppsFor(id, sps uint32) []byte {
	return (&bitWriter{}).ue(id).ue(sps).u(8, 0x5a).bytes(0x68)
}

// h265SPSUnit is a Main profile SPS of 1920x1080 up to the reorder depth.
func h265SPSUnit() []byte {
	w := &bitWriter{}
	w.u(4, 0).u(3, 0).u(1, 1)
	w.u(2, 0).u(1, 0).u(5, 1).u(32, 0x60000000).u(32, 0x90000000).u(16, 0).u(8, 120)
	w.ue(0).ue(1).ue(1920).ue(1080).u(1, 0).ue(0).ue(0).ue(4).u(1, 1).ue(4).ue(0).ue(0)
	return w.bytes(0x42, 0x01)
}

// h264Unit is a slice with nothing but the start of its header.
func h264Unit(nal byte, sliceType, pps uint32, size int) []byte {
	b := (&bitWriter{}).ue(0).ue(sliceType).ue(pps).bytes(nal)
	for len(b) < size {
		b = append(b, byte(len(b)*7)|1)
	}
	return b
}

type clip struct {
	codec  media.Codec
	frames [][][]byte // units of each
	pts    []time.Duration
}

// frame returns a fresh frame on the same memory.
func (c *clip) frame(i int) *media.Frame {
	return &media.Frame{PTS: c.pts[i], Units: slices.Clone(c.frames[i])}
}

func (c *clip) normalized(t testing.TB) *recorder {
	t.Helper()
	r := &recorder{}
	n := NewNormalizer(r)
	n.Start(media.Tracks{{Codec: c.codec, ClockRate: 90000}})
	for i := range c.frames {
		n.Write(c.frame(i))
	}
	s := n.Stats()
	requireEqual(t, Stats{Frames: uint64(len(c.frames))}, s)
	return r
}

// makeClip has ffmpeg encode two seconds of 320x240 at 25 pictures a second.
func makeClip(t testing.TB, codec media.Codec, args ...string) *clip {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIPPED: no ffmpeg, real streams are not tested")
	}
	format := "ivf"
	if codec == media.H264 || codec == media.H265 {
		format = "mpegts"
	}
	name := filepath.Join(t.TempDir(), "clip."+format)
	line := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i",
		"testsrc2=size=320x240:rate=25:duration=2", "-pix_fmt", "yuv420p", "-threads", "2", "-g", "25"}, args...)
	line = append(line, "-f", format, name)
	out, err := exec.CommandContext(t.Context(), ffmpeg, line...).CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("Unknown encoder")) {
		t.Skipf("SKIPPED: this ffmpeg has no encoder for %s", codec)
	}
	requireNoError(t, err, "ffmpeg: %s", out)
	c := &clip{codec: codec}
	if format == "ivf" {
		c.readIVF(t, name)
	} else {
		c.readTS(t, name)
	}
	requireAtMost(t, 40, len(c.frames))
	return c
}

func (c *clip) add(pts time.Duration, units [][]byte) {
	c.frames = append(c.frames, units)
	c.pts = append(c.pts, pts)
}

func (c *clip) readTS(t testing.TB, name string) {
	r := &mpegts.Reader{R: bytes.NewReader(readFile(t, name))}
	requireNoError(t, r.Initialize())
	onData := func(pts, _ int64, au [][]byte) error {
		c.add(time.Duration(pts)*time.Second/90000, au)
		return nil
	}
	if c.codec == media.H264 {
		r.OnDataH264(r.Tracks()[0], onData)
	} else {
		r.OnDataH265(r.Tracks()[0], onData)
	}
	for {
		err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		requireNoError(t, err)
	}
}

func (c *clip) readIVF(t testing.TB, name string) {
	b := readFile(t, name)
	rate, scale := binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint32(b[20:])
	for b = b[32:]; len(b) >= 12; {
		n := binary.LittleEndian.Uint32(b)
		pts := time.Duration(binary.LittleEndian.Uint64(b[4:])) * time.Second * time.Duration(scale) / time.Duration(rate)
		c.add(pts, [][]byte{b[12 : 12+n]})
		b = b[12+n:]
	}
}
