//go:build cgo

package openh264

import (
	"bytes"
	"image"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/libav"
	"camwire/media/libav/libavtest"
)

func moving(n, w, h int) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for y := range h {
		for x := range w {
			m.Y[y*m.YStride+x] = byte(16 + (x*3+y*2+n*5)%200)
		}
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = byte(100+n%20), 140
	}
	return m
}

func TestEncodeDecodes(t *testing.T) {
	e, err := New(Options{Width: 320, Height: 180, Bitrate: 3_000_000})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	d, err := libav.Open(media.H264, libav.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for n := range 40 {
		if n == 10 || n == 20 {
			if err := e.ForceKey(); err != nil {
				t.Fatal(err)
			}
		}
		m := moving(n, 320, 180)
		units, key, err := e.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if want := n == 0 || n == 10 || n == 20; key != want {
			t.Errorf("picture %d: key %v", n, key)
		}
		if key {
			if len(units) != 3 || units[0][0]&31 != 7 || units[1][0]&31 != 8 || units[2][0]&31 != 5 {
				t.Fatalf("key frame of %d units", len(units))
			}
			// Profile 66 with constraint_set1_flag.
			if units[0][1] != 66 || units[0][2]&0x40 == 0 {
				t.Errorf("SPS % x is not constrained baseline", units[0][:4])
			}
		} else if len(units) != 1 {
			t.Errorf("picture %d has %d units, want one slice", n, len(units))
		}
		var au []byte
		for _, u := range units {
			au = append(append(au, 0, 0, 1), u...)
		}
		got, err := libav.DecodeYCbCr(d, au)
		if err != nil {
			t.Fatalf("picture %d: %v", n, err)
		}
		if p := libavtest.PSNR(got, m); p < 28 {
			t.Errorf("picture %d: PSNR %.1f dB", n, p)
		}
	}
}

func TestBitrateFollows(t *testing.T) {
	const w, h = 640, 360
	e, err := New(Options{Width: w, Height: h, Bitrate: 4_000_000, FPS: 30})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	seed := uint32(1)
	measure := func() (sum int) {
		for n := range 60 {
			m := moving(0, w, h)
			for i := range m.Y { // the grain of a camera's sensor
				seed = seed*1664525 + 1013904223
				m.Y[i] = m.Y[i]/2 + 30 + byte(seed>>28)
			}
			units, key, err := e.Encode(m)
			if err != nil {
				t.Fatal(err)
			}
			if key && n > 0 {
				t.Error("change of bit rate made a key frame")
			}
			for _, u := range units {
				sum += len(u)
			}
		}
		return sum
	}
	high := measure()
	if err := e.SetBitrate(400_000); err != nil {
		t.Fatal(err)
	}
	measure() // the rate control takes its time
	if low := measure(); low*3 > high {
		t.Errorf("two seconds are %d bytes at 4 Mbit/s and %d at 0.4", high, low)
	}
	if err := e.SetBitrate(0); err == nil {
		t.Error("bit rate 0 was taken")
	}
}

func TestPeriod(t *testing.T) {
	e, err := New(Options{Width: 64, Height: 64, FPS: 10, GOP: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for n := range 20 {
		if _, key, err := e.Encode(moving(n, 64, 64)); err != nil || key != (n%5 == 0) {
			t.Errorf("picture %d: key %v, %v", n, key, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, o := range []Options{{}, {Width: 63, Height: 64}, {Width: 8, Height: 64}, {Width: 16384, Height: 16384}} {
		if e, err := New(o); err == nil {
			e.Close()
			t.Errorf("%dx%d was taken", o.Width, o.Height)
		}
	}
	for _, s := range []image.Point{{16, 16}, {18, 34}, {176, 144}, {2560, 1440}} {
		e, err := New(Options{Width: s.X, Height: s.Y})
		if err != nil {
			t.Fatal(err)
		}
		if _, key, err := e.Encode(moving(0, s.X, s.Y)); err != nil || !key {
			t.Errorf("%v: %v", s, err)
		}
		if _, _, err := e.Encode(moving(0, s.X+2, s.Y)); err == nil {
			t.Errorf("%v: a picture of another size was encoded", s)
		}
		short := moving(0, s.X, s.Y)
		short.Y = short.Y[:10]
		if _, _, err := e.Encode(short); err == nil {
			t.Errorf("%v: a picture without its planes was encoded", s)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := e.Encode(moving(0, s.X, s.Y)); err == nil {
			t.Error("closed encoder worked")
		}
	}
}

func TestSplit(t *testing.T) {
	got := split([]byte{0, 0, 0, 1, 7, 1, 0, 0, 1, 8, 0, 0, 0, 1, 5, 9, 0})
	want := [][]byte{{7, 1}, {8}, {5, 9}}
	if len(got) != len(want) {
		t.Fatalf("% x", got)
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("unit %d is % x", i, got[i])
		}
	}
	if split(nil) != nil || split([]byte{1, 2, 3}) != nil {
		t.Error("units out of nothing")
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 7, 1, 0, 0, 1, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, u := range split(b) {
			if len(u) == 0 || bytes.Contains(u, []byte{0, 0, 1}) {
				t.Errorf("unit % x", u)
			}
		}
	})
}
