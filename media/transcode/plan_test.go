package transcode

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		w, q int
		want string
	}{{0, 0, "jpeg"}, {640, 75, "jpeg-640-75"}, {640, 0, "jpeg-640-0"}, {0, 50, "jpeg-0-50"}, {-1, -1, "jpeg"}} {
		got := JPEGName(c.w, c.q)
		if got != c.want {
			t.Errorf("%d, %d: %q", c.w, c.q, got)
		}
		w, q, err := parseJPEGName(got)
		if err != nil || w != max(c.w, 0) || q != max(c.q, 0) {
			t.Errorf("%q: %d, %d, %v", got, w, q, err)
		}
	}
	for _, bad := range []string{"", "jpg", "jpeg-", "jpeg-640", "jpeg-0-0", "jpeg-0640-75", "jpeg-640-75-1", "jpeg--1-75", "jpeg-+1-75", "jpeg-640-101", "jpeg-16385-0", "H264", "jpegjpeg-1-1"} {
		if _, err := New(Options{}).Derive(nil, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("jpeg")
	f.Add("jpeg-640-75")
	f.Add("jpeg-640-")
	f.Fuzz(func(t *testing.T, s string) {
		if w, q, err := parseJPEGName(s); err == nil && JPEGName(w, q) != s {
			t.Fatalf("%q is another name for %q", s, JPEGName(w, q))
		}
	})
}

func TestFit(t *testing.T) {
	for _, c := range [][6]int{
		{1280, 720, 0, 0, 0, 0},
		{1280, 720, 1280, 720, 0, 0},
		{1280, 720, 1920, 1080, 0, 0},
		{1280, 720, 640, 0, 640, 0},
		{1280, 720, 640, 480, 640, 0},
		{640, 480, 640, 360, 0, 360},
		{640, 480, 320, 100, 0, 100},
		{720, 1280, 1920, 720, 0, 720},
		{0, 0, 640, 360, 640, 0},
		{0, 0, 0, 360, 0, 360},
		{0, 0, 0, 0, 0, 0},
	} {
		if w, h := fit(c[0], c[1], c[2], c[3]); w != c[4] || h != c[5] {
			t.Errorf("%dx%d into %dx%d: %d, %d", c[0], c[1], c[2], c[3], w, h)
		}
	}
}

func TestBitrate(t *testing.T) {
	for _, c := range []struct {
		w, h int
		fps  float64
		want int
	}{
		{1280, 720, 30, 2_500_000}, {1920, 1080, 30, 5_000_000}, {0, 0, 30, 2_500_000},
		{3840, 2160, 30, 5_000_000}, {64, 64, 1, 150_000},
	} {
		if got := bitrate(c.w, c.h, c.fps); got < c.want-1000 || got > c.want+1000 {
			t.Errorf("%dx%d %g: %d", c.w, c.h, c.fps, got)
		}
	}
}

func TestPacer(t *testing.T) {
	for _, c := range []struct {
		in, cap float64
		want    int // of 10 s
	}{{30, 5, 50}, {30, 25, 250}, {30, 30, 300}, {25, 30, 250}, {30, 0, 300}, {10, 0.5, 5}, {29.97, 10, 100}} {
		var p pacer
		n := 0
		for i := range int(c.in * 10) {
			// Every camera trembles a little.
			pts := time.Duration(float64(i)/c.in*1e9) + time.Duration(i%3)*time.Millisecond
			if p.take(pts, c.cap) {
				n++
			}
		}
		if n < c.want-1 || n > c.want+2 {
			t.Errorf("%g fps capped to %g: %d in 10 s", c.in, c.cap, n)
		}
	}
	var p pacer
	if !p.take(time.Hour, 1) || p.take(time.Hour+100*time.Millisecond, 1) || !p.take(0, 1) || !p.take(time.Hour, 1) {
		t.Error("a clock that jumps stops the pictures")
	}
}

func TestJPEGQuality(t *testing.T) {
	m := image.NewYCbCr(image.Rect(0, 0, 32, 32), image.YCbCrSubsampleRatio420)
	for _, q := range []int{30, 50, 75, 90, 100} {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: q}); err != nil {
			t.Fatal(err)
		}
		if got := jpegQuality(b.Bytes()); got < q-1 || got > q+1 {
			t.Errorf("quality %d: estimated %d", q, got)
		}
	}
}

func FuzzJPEGQuality(f *testing.F) {
	f.Add([]byte{0xff, 0xd8, 0xff, 0xdb, 0, 67, 0, 1, 2, 3})
	f.Add([]byte{0xff, 0xd8, 0xff, 0xdb, 0, 3, 0x10})
	f.Fuzz(func(t *testing.T, b []byte) {
		if q := jpegQuality(b); q < 0 || q > 100 {
			t.Fatalf("quality %d", q)
		}
	})
}
