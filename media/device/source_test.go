package device

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/device/v4l2"
)

// read runs a source until it has delivered that many frames or fails.
func read(t *testing.T, s *Source, frames int) (*sink, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &sink{after: frames, cancel: cancel}
	return out, s.Run(ctx, out)
}

func data(b []byte, seq uint32) event { return event{buffer: v4l2.Buffer{Data: b, Sequence: seq}} }

func TestRun(t *testing.T) {
	b := newBench(t)
	whole := picture(t, 1)
	bare := withoutTables(t, whole)
	damaged := v4l2.Buffer{Data: whole, Corrupt: true, Sequence: 3}
	c := webcam(data(whole, 0), data(whole[:len(whole)/2], 1), event{buffer: damaged}, data(bare, 6))
	b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, c)
	var log bytes.Buffer
	s := b.source(Options{Source: "0", Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	out, err := read(t, s, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got != (Stats{Delivered: 2, Damaged: 2, Missed: 3}) {
		t.Errorf("stats %+v", got)
	}
	want := media.Track{Codec: media.JPEG, ClockRate: 90000, Width: 64, Height: 48, FPS: 30}
	if len(out.tracks) != 1 || !out.tracks[0].Equal(want) || out.tracks[0].Width != 64 || out.tracks[0].FPS != 30 {
		t.Errorf("tracks %+v", out.tracks)
	}
	if len(out.frames) != 2 || !bytes.Equal(out.frames[0].Units[0], whole) || len(out.frames[1].Units[0]) != len(bare)+420 {
		t.Fatalf("%d frames", len(out.frames))
	}
	if &out.frames[0].Units[0][0] == &whole[0] {
		t.Error("the frame lies in the driver's memory")
	}
	for i, f := range out.frames {
		if !f.Key || f.Captured.IsZero() || f.Captured.After(f.Arrived) {
			t.Errorf("frame %d: %+v", i, f)
		}
	}
	if c.released != 4 || c.open != 0 {
		t.Errorf("%d buffers given back, %d handles left open", c.released, c.open)
	}
	if s := log.String(); !strings.Contains(s, "Missed:3") || !strings.Contains(s, "Damaged:2") || strings.Count(s, "damaged pictures") != 1 {
		t.Errorf("log: %s", s)
	}
}

func TestNewestWins(t *testing.T) {
	b := newBench(t)
	a, z := picture(t, 1), picture(t, 2)
	late := func(e event) event { e.late = true; return e }
	c := webcam(data(a, 0), late(data(a, 1)), late(data(z, 2)), late(event{buffer: v4l2.Buffer{Data: a, Corrupt: true, Sequence: 3}}))
	b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, c)
	out, err := read(t, b.source(Options{Source: "0"}), 1)
	if err != nil || len(out.frames) != 1 || !bytes.Equal(out.frames[0].Units[0], z) {
		t.Fatalf("%d frames, %v", len(out.frames), err)
	}
	if c.released != 4 {
		t.Errorf("%d of 4 buffers given back", c.released)
	}
}

func TestH264KeepsEveryPicture(t *testing.T) {
	b := newBench(t)
	p, key := []byte{0, 0, 1, 0x41, 1}, []byte{0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 1, 0, 0, 1, 0x65, 1}
	c := webcam(data(key, 0), data(p, 1), data(p, 2), data(p, 3))
	c.waiting = true
	c.formats = []v4l2.Format{{FourCC: v4l2.H264, Sizes: sizes(size(64, 48, 30))}}
	b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, c)
	out, err := read(t, b.source(Options{Source: "usb:S1"}), 4)
	if err != nil || len(out.frames) != 4 || !out.frames[0].Key || out.frames[1].Key || len(out.frames[0].Units) != 3 {
		t.Fatalf("%d frames, %v", len(out.frames), err)
	}
}

func TestTimes(t *testing.T) {
	now := time.Now()
	r := &reader{
		layout: v4l2.Layout{FourCC: v4l2.MJPEG}, now: func() time.Time { return now },
		clock: kernelClock{now.Add(-time.Hour), 100*time.Second - time.Hour},
	}
	whole := picture(t, 1)
	for _, c := range []struct{ stamp, pts, age time.Duration }{
		{99900 * time.Millisecond, 99900 * time.Millisecond, 100 * time.Millisecond},
		{0, 100 * time.Second, 0},
		{101 * time.Second, 100 * time.Second, 0}, // in the future
		{time.Second, 100 * time.Second, 0},       // stands still
	} {
		f := r.frame(v4l2.Buffer{Data: whole, Time: c.stamp})
		if f.PTS != c.pts || f.Arrived != now || now.Sub(f.Captured) != c.age {
			t.Errorf("stamp %v: PTS %v, age %v", c.stamp, f.PTS, now.Sub(f.Captured))
		}
	}
}

func TestAnchor(t *testing.T) {
	start := time.Now()
	clock, pauses := start, []int{50, 7, 1, 90, 3, 3, 3, 3} // ms between the readings
	n := 0
	c := anchor(func() time.Time { return clock }, func() time.Duration {
		mono := time.Hour + clock.Sub(start)
		clock = clock.Add(time.Duration(pauses[n]) * time.Millisecond)
		n++
		return mono
	})
	if off := c.at(start) - time.Hour; off.Abs() > time.Millisecond {
		t.Errorf("off by %v", off)
	}
}

func TestSilence(t *testing.T) {
	whole := picture(t, 1)
	cut := data(whole[:40], 0)
	for name, c := range map[string]struct {
		script []event
		want   error
		word   string
	}{
		"nothing":      {nil, ErrHangs, "hangs: no picture for 3s"},
		"stops":        {[]event{data(whole, 0)}, ErrHangs, "hangs"},
		"damaged only": {[]event{data(whole, 0), cut, cut}, ErrDamaged, "damaged pictures only (2)"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, webcam(c.script...))
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := read(t, b.source(Options{Source: "0"}), 0)
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) || !strings.Contains(err.Error(), "(Cam)") {
					t.Errorf("got %v", err)
				}
				if d := time.Since(start); d != 3*time.Second {
					t.Errorf("noticed after %v", d)
				}
			})
		})
	}
}

func TestStopsAtOnce(t *testing.T) {
	b := newBench(t)
	c := webcam()
	b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, c)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := b.source(Options{Source: "0"}).Run(ctx, &sink{}); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("stopped after %v", d)
		}
	})
	if c.open != 0 {
		t.Error("camera left open")
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*fakeCamera)
		want  error
		word  string
	}{
		{"busy", func(c *fakeCamera) { c.startErr = syscall.EBUSY }, ErrBusy, `video0" (Cam) is in use by another program`},
		{"busy at open", func(c *fakeCamera) { c.openErr = syscall.EBUSY }, ErrBusy, "is in use"},
		{"forbidden", func(c *fakeCamera) { c.openErr = syscall.EACCES }, ErrPermission, "group"},
		{"bandwidth", func(c *fakeCamera) { c.startErr = syscall.ENOSPC }, ErrBandwidth, "smaller width"},
		{"unplugged", func(c *fakeCamera) { c.script = []event{{err: syscall.ENODEV}} }, ErrUnplugged, "has been unplugged"},
		{"cable", func(c *fakeCamera) { c.startErr = syscall.EPROTO }, ErrFailed, "cable"},
		{"other", func(c *fakeCamera) { c.startErr = syscall.EINVAL }, ErrFailed, "invalid argument"},
		{"adjusted away", func(c *fakeCamera) { c.adjust = func(l v4l2.Layout) v4l2.Layout { l.FourCC = 0x31384142; return l } }, ErrNoMode, "only BA81"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			cam := webcam()
			c.spoil(cam)
			b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, cam)
			_, err := read(t, b.source(Options{Source: "0"}), 0)
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
				t.Errorf("got %v", err)
			}
			if cam.open != 0 {
				t.Error("camera left open")
			}
		})
	}
}

func TestBusyNamesTheProgram(t *testing.T) {
	b := newBench(t)
	c := webcam()
	c.startErr = syscall.EBUSY
	path := b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, c)
	hold := func(pid, name string) {
		b.write(filepath.Join(b.proc, pid, "comm"), name)
		b.must(os.MkdirAll(filepath.Join(b.proc, pid, "fd"), 0o755))
		b.must(os.Symlink("/dev/null", filepath.Join(b.proc, pid, "fd", "0")))
		b.must(os.Symlink(path, filepath.Join(b.proc, pid, "fd", "5")))
	}
	hold("1", "camwire")
	if _, err := read(t, b.source(Options{Source: "0"}), 0); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "same source") {
		t.Errorf("got %v", err)
	}
	hold("77", "cheese")
	if _, err := read(t, b.source(Options{Source: "0"}), 0); !strings.Contains(err.Error(), "cheese (pid 77)") {
		t.Errorf("got %v", err)
	}
	list, err := b.list(t.Context())
	if err != nil || len(list) != 1 || !list[0].InUse || len(list[0].Holders) != 2 {
		t.Errorf("inventory %+v, %v", list, err)
	}
}

func TestAdjusted(t *testing.T) {
	b := newBench(t)
	c := webcam(data(picture(t, 1), 0))
	c.adjust = func(l v4l2.Layout) v4l2.Layout { l.Width, l.Height = 32, 24; return l }
	b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, c)
	out, err := read(t, b.source(Options{Source: "0", Width: 64, Height: 48}), 1)
	if err != nil || out.tracks[0].Width != 32 || out.tracks[0].Height != 24 {
		t.Errorf("tracks %+v, %v", out.tracks, err)
	}
}
