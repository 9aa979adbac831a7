package images

import (
	"bytes"
	"cmp"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"camwire/media"
)

func TestNatural(t *testing.T) {
	want := []string{"", "a", "a0", "a00", "a01", "a1", "a2", "A2b", "a9", "a10", "a10b1", "a010b2", "a10b10", "a18446744073709551617", "b", "b/1/x", "b/2"}
	for i, a := range want {
		for j, b := range want {
			if got := natural(a, b); got != cmp.Compare(i, j) {
				t.Errorf("%q, %q: %d", a, b, got)
			}
		}
	}
	order := []string{"img10.jpg", "img2.jpg", "IMG1.jpg", "img02.jpg"}
	slices.SortFunc(order, natural)
	if !slices.Equal(order, []string{"IMG1.jpg", "img02.jpg", "img2.jpg", "img10.jpg"}) {
		t.Error(order)
	}
}

func TestNewLoop(t *testing.T) {
	for _, o := range []Options{{}, {Pattern: "a[", FPS: 1}, {Pattern: "a", FPS: 61}, {Pattern: "a", FPS: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestLoop(t *testing.T) {
	dir := t.TempDir()
	a, b, c := encodeJPEG(t, 1), encodeJPEG(t, 2), encodeJPEG(t, 3)
	write(t, append(bytes.Clone(a), "something behind it"...), dir, "img1.jpg")
	write(t, b, dir, "img2.jpg")
	write(t, c, dir, "img10.jpg")
	write(t, []byte("hello, this is no picture"), dir, "img3.jpg")
	write(t, a[:len(a)-5], dir, "img4.jpg")
	if err := os.Mkdir(filepath.Join(dir, "img5.jpg"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{filepath.Join(dir, "*.jpg"), dir} {
		var log lines
		src, err := New(Options{Pattern: pattern, FPS: 60, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		s, end := start(t, src)
		for range 3 {
			s.want(t, a, "first")
			s.want(t, b, "second")
			s.want(t, c, "third")
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		want := media.Track{Codec: media.JPEG, ClockRate: 90000, Width: 64, Height: 48, FPS: 60}
		if ts := <-s.tracks; len(s.tracks) != 0 || !ts[0].Equal(want) || ts[0].Width != 64 || ts[0].FPS != 60 {
			t.Errorf("tracks %+v", ts)
		}
		if n := log.count("left out"); n != 3 {
			t.Errorf("%d lines for 3 bad files", n)
		}
	}
}

// TestLoopFollows proves that files may come and go while it runs.
func TestLoopFollows(t *testing.T) {
	dir := t.TempDir()
	a, b := encodeJPEG(t, 1), encodeJPEG(t, 2)
	first := write(t, a, dir, "1.jpg")
	src, err := New(Options{Pattern: filepath.Join(dir, "*"), FPS: 60})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := start(t, src)
	s.want(t, a, "the only one")
	write(t, b, dir, "2.jpg")
	s.until(t, b)
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	s.until(t, b)
	for range 3 { // the list that is being shown may still hold the first
		first, second := s.next(t), s.next(t)
		if bytes.Equal(first, b) && bytes.Equal(second, b) {
			return
		}
	}
	t.Error("a file that is gone is still shown")
}

func TestLoopErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, []byte("no picture at all"), dir, "x.jpg")
	for pattern, says := range map[string]string{
		filepath.Join(dir, "*.png"):        "no file matches",
		filepath.Join(dir, "none", "*.jp"): "no such file",
		filepath.Join(dir, "x.jpg", "*"):   "no folder",
		filepath.Join(dir, "*.jpg"):        "neither JPEG nor PNG",
	} {
		src, err := New(Options{Pattern: pattern})
		if err != nil {
			t.Fatal(err)
		}
		err = src.Run(t.Context(), newSink())
		if !errors.Is(err, ErrNoPicture) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

func TestTick(t *testing.T) {
	base := time.Unix(1000, 0)
	const step = 100 * time.Millisecond
	for late, want := range map[time.Duration]time.Duration{
		0: step, 50 * time.Millisecond: step, 100 * time.Millisecond: step,
		150 * time.Millisecond: step, 250 * time.Millisecond: 2 * step, 10 * time.Second: 100 * step,
	} {
		if got := tick(base, base.Add(late), step).Sub(base); got != want {
			t.Errorf("%v late: %v, want %v", late, got, want)
		}
	}
}

func TestPNG(t *testing.T) {
	dir := t.TempDir()
	clear := image.NewNRGBA(image.Rect(0, 0, 32, 16)) // nothing but transparent
	clear.SetNRGBA(0, 0, color.NRGBA{R: 255, A: 255})
	for name, m := range map[string]image.Image{"gray": gray(40, 30, 3), "clear": clear, "palette": image.NewPaletted(image.Rect(0, 0, 8, 8), color.Palette{color.Black, color.White})} {
		file := write(t, encodePNG(t, m), dir, name+".png")
		p, err := load(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := jpeg.Decode(bytes.NewReader(p.data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Bounds().Size() != m.Bounds().Size() || p.width != m.Bounds().Dx() || p.height != m.Bounds().Dy() {
			t.Errorf("%s: %v and %dx%d, want %v", name, got.Bounds(), p.width, p.height, m.Bounds())
		}
		if r, _, _, _ := got.At(31, 15).RGBA(); name == "clear" && r < 0xf000 {
			t.Errorf("transparent became %#x", r)
		}
	}
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	file := write(t, encodePNG(t, gray(40, 30, 3)), dir, "a.png")
	c := newCache()
	p, err := c.load(file)
	if err != nil {
		t.Fatal(err)
	}
	if q, _ := c.load(file); &q.data[0] != &p.data[0] {
		t.Error("converted twice")
	}
	write(t, encodePNG(t, gray(80, 30, 3)), file)
	if q, _ := c.load(file); q.width != 80 {
		t.Error("an old picture")
	}
	c.keep(nil)
	if c.bytes != 0 || len(c.made) != 0 {
		t.Errorf("%d bytes left", c.bytes)
	}
}

func TestLoadLimits(t *testing.T) {
	dir := t.TempDir()
	j := encodeJPEG(t, 1)
	huge := bytes.Clone(j)
	copy(huge[bytes.Index(huge, []byte{0xff, 0xc0})+5:], []byte{0x40, 0x01, 0x00, 0x10})
	large := write(t, j, dir, "large.jpg")
	if err := os.Truncate(large, maxFile+1); err != nil {
		t.Fatal(err)
	}
	p := encodePNG(t, gray(16, 16, 1))
	bomb := bytes.Clone(p)
	copy(bomb[16:], []byte{0, 0, 0x20, 0, 0, 0, 0x20, 0}) // 8192x8192; its checksum is wrong now, too
	for name, c := range map[string]struct {
		b    []byte
		says string
	}{
		"huge.jpg":   {huge, "16x16385"},
		"bomb.png":   {bomb, ""},
		"half.png":   {p[:len(p)-4], "ends before"},
		"half.jpg":   {j[:len(j)-1], "ends before"},
		"empty":      {nil, "ends before"},
		"text":       {[]byte("something else"), "neither"},
		"broken.png": {append(bytes.Clone(p[:40]), pngEnd...), ""},
	} {
		if _, err := load(write(t, c.b, dir, name)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := load(large); err == nil || !strings.Contains(err.Error(), "32 MiB") {
		t.Error(err)
	}
	if err := checkSize(6000, 6000, maxPNGPixels); err == nil {
		t.Error("36 Mpixel of PNG were taken")
	}
}

func FuzzNatural(f *testing.F) {
	f.Add("img2.jpg", "IMG10.jpg", "img02")
	f.Add("a00", "a0", "a")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if natural(a, b) != -natural(b, a) || natural(a, a) != 0 {
			t.Errorf("%q, %q: no order", a, b)
		}
		if natural(a, b) < 0 && natural(b, c) < 0 && natural(a, c) >= 0 {
			t.Errorf("%q < %q < %q, but not the first and the last", a, b, c)
		}
	})
}
