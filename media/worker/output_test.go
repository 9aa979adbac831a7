//go:build cgo

package worker

import (
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/libav/libavtest"
)

func TestOutputSize(t *testing.T) {
	for _, c := range []struct {
		o            Output
		w, h, ow, oh int
	}{
		{Output{Kind: OutputJPEG}, 1280, 720, 1280, 720},
		{Output{Kind: OutputJPEG, Width: 640}, 1280, 720, 640, 360},
		{Output{Kind: OutputJPEG, Height: 360}, 1280, 720, 640, 360},
		{Output{Kind: OutputJPEG, Width: 1920}, 1280, 720, 1280, 720},
		{Output{Kind: OutputJPEG, Width: 100, Height: 100}, 1280, 720, 100, 100},
		{Output{Kind: OutputGray, Width: 5000, Height: 100}, 1280, 720, 1280, 100},
		{Output{Kind: OutputGray, Width: 1}, 4000, 2, 1, 1},
		{Output{Kind: OutputH264}, 321, 243, 320, 242},
		{Output{Kind: OutputH264, Width: 641}, 1280, 720, 640, 360},
		{Output{Kind: OutputH264}, 8, 8, 16, 16},
	} {
		o := output{Output: c.o}
		if w, h := o.size(c.w, c.h); w != c.ow || h != c.oh {
			t.Errorf("%+v of %dx%d: %dx%d instead of %dx%d", c.o, c.w, c.h, w, h, c.ow, c.oh)
		}
	}
}

func TestPacer(t *testing.T) {
	run := func(fps, in float64, n int, jitter time.Duration) (got int) {
		p := pacer{fps: fps}
		for i := range n {
			pts := time.Duration(float64(i) / in * float64(time.Second))
			if i%2 == 1 {
				pts += jitter
			}
			if p.due(pts) {
				p.took(pts)
				got++
			}
		}
		return got
	}
	for _, c := range []struct {
		fps, in  float64
		jitter   time.Duration
		low, top int
	}{
		{0, 30, 0, 300, 300},
		{30, 30, 3 * time.Millisecond, 299, 300},
		{15, 30, -3 * time.Millisecond, 149, 151},
		{25, 30, 0, 249, 251},
		{60, 30, 0, 300, 300},
		{1, 30, 0, 10, 11},
		{0.5, 30, 0, 5, 6},
	} {
		if n := run(c.fps, c.in, 300, c.jitter); n < c.low || n > c.top {
			t.Errorf("%v of %v/s in ten seconds: %d pictures, want %d to %d", c.fps, c.in, n, c.low, c.top)
		}
	}
	p := pacer{fps: 10}
	for _, pts := range []time.Duration{time.Hour, time.Hour + time.Second, 0} {
		if !p.due(pts) {
			t.Errorf("not due at %v", pts)
		}
		p.took(pts)
	}
}

func TestAppendOBU(t *testing.T) {
	long := append([]byte{0x32}, make([]byte, 200)...)
	long[0] = 0x30
	for _, c := range []struct{ in, want []byte }{
		{[]byte{0x08, 1, 2}, []byte{0x0a, 2, 1, 2}},
		{[]byte{0x0a, 2, 1, 2}, []byte{0x0a, 2, 1, 2}},
		{[]byte{0x34, 0x20, 9}, []byte{0x36, 0x20, 1, 9}},
		{[]byte{0x34}, nil},
		{long, append([]byte{0x32, 0xc8, 0x01}, long[1:]...)},
	} {
		if got := appendOBU(nil, c.in); string(got) != string(c.want) {
			t.Errorf("% x became % x", c.in, got)
		}
	}
}

// TestBFramesKeepTheirTimes feeds in coded order and looks for the times in the order of display.
func TestBFramesKeepTheirTimes(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.H264, Frames: 29, Reordered: true,
		Args: strings.Fields("-c:v libx264 -preset veryfast -bf 3 -b_strategy 0 -g 1000 -sc_threshold 0 -qp 10 -x264-params b-pyramid=none")})
	// Coded order without a pyramid: 0, 4, 1, 2, 3, 8, 5, 6, 7, …
	for i, f := range clip.Frames {
		n := i
		if i > 0 {
			n = i - 1
			if (i-1)%4 == 0 {
				n = i + 3
			}
		}
		f.PTS = time.Duration(n) * time.Second / 30
	}
	w := start(t)
	ok(t, w.SetInput(clip.Track))
	ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputJPEG, Quality: 95}}))
	good, bad := feedAll(t, w, clip.Frames, true)
	if len(good) < 24 || len(bad) != 0 {
		t.Fatalf("%d pictures, %v", len(good), bad)
	}
	for i, r := range good {
		if want := time.Duration(i) * time.Second / 30; r.PTS != want {
			t.Fatalf("picture %d has time %v, want %v", i, r.PTS, want)
		}
	}
	ref := libavtest.FullRange(libavtest.Picture(t, "320x240", 320, 240, 6))
	if got := libavtest.PSNR(decodeJPEG(t, good[6].Units[0]), ref); got < 30 {
		t.Errorf("picture 6: PSNR %.1f dB", got)
	}
}

// TestIntraRefresh joins a stream that has no key frame but the first.
func TestIntraRefresh(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.H264, Frames: 60,
		Args: strings.Fields("-c:v libx264 -preset veryfast -bf 0 -g 15 -x264-params intra-refresh=1")})
	w := start(t)
	ok(t, w.SetInput(media.Track{Codec: media.H264, Params: clip.Frames[0].Units[:2]}))
	ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputGray, Width: 32}}))
	good, _ := feedAll(t, w, clip.Frames[7:], true)
	if len(good) < 15 || len(good) > 52 {
		t.Errorf("%d pictures out of 53 frames, of which some come before the first recovery point", len(good))
	}
}
