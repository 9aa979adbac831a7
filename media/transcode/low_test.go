package transcode

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/media/testsrc"
)

func TestHalved(t *testing.T) {
	for _, x := range []struct{ w, h, width, height int }{
		{1280, 720, 640, 0}, {1920, 1080, 960, 0}, {3840, 2160, 960, 0}, {720, 1280, 360, 0}, {2160, 3840, 540, 0},
		{640, 360, 320, 0}, {322, 200, 160, 0}, {160, 120, 0, 0}, {0, 0, 640, 0},
	} {
		if w, h := halved(x.w, x.h); w != x.width || h != x.height {
			t.Errorf("%dx%d: %dx%d, want %dx%d", x.w, x.h, w, h, x.width, x.height)
		}
	}
}

// The lower rung comes out of the worker that makes the main one.
func TestLowerRung(t *testing.T) {
	h := newHouse(t)
	src, err := testsrc.New(testsrc.Options{Width: 640, Height: 360, FPS: 15, Codec: "raw"})
	if err != nil {
		t.Fatal(err)
	}
	cam := h.add(t, src)
	out := takeAll(t, cam, []string{H264Name, stream.LowName}, 20)
	low := out[stream.LowName]
	if low.track.Codec != media.H264 || low.track.Width != 320 || low.track.Height != 180 {
		t.Errorf("%+v", low.track)
	}
	if main := out[H264Name].track; main.Width != 640 {
		t.Errorf("%+v", main)
	}
	growing(t, stream.LowName, low.frames)
	for _, r := range pictures(t, low.track, low.frames) {
		if r.Width != 320 || r.Height != 180 {
			t.Fatalf("%dx%d", r.Width, r.Height)
		}
	}
	if h.worker(1) != nil {
		t.Error("a second worker for the same camera")
	}
	rates := map[string]int{}
	for _, name := range []string{H264Name, stream.LowName} {
		l, err := cam.LeaseDerived(name, "test")
		if err != nil {
			t.Fatal(err)
		}
		rates[name] = l.Stream().Options().Source.(media.BitrateSetter).MaxBitrate()
		l.Release()
	}
	if rates[stream.LowName] <= 0 || 2*rates[stream.LowName] > rates[H264Name] {
		t.Errorf("bit rates %v", rates)
	}
}

// rendering is a publisher's smaller one: ten VP8 frames per second.
type rendering struct {
	runs, keys atomic.Int32
}

func (r *rendering) RequestKey() { r.keys.Add(1) }

func (r *rendering) Run(ctx context.Context, s media.Sink) error {
	r.runs.Add(1)
	defer r.runs.Add(-1)
	s.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		key := []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0}
		s.Write(&media.Frame{PTS: time.Duration(i) * 100 * time.Millisecond, Key: true, Units: [][]byte{key}})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Where the publisher sends a smaller rendering of its own, that is the lower
// rung and nothing is encoded; another publisher's takes its place.
func TestLowerRungOfAPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tc := New(Options{})
		reg := stream.New(stream.Config{Derive: tc.Derive})
		defer reg.Close()
		first, second := &rendering{}, &rendering{}
		pub, err := reg.Publish("cam", stream.PublishOptions{Type: "test", Low: first})
		if err != nil {
			t.Fatal(err)
		}
		cam, err := reg.Get("cam")
		if err != nil {
			t.Fatal(err)
		}
		l, err := cam.LeaseDerived(stream.LowName, "test")
		if err != nil {
			t.Fatal(err)
		}
		c := l.Hub().NewCursor(hub.CursorOptions{Live: true})
		for range 5 {
			if _, err := c.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l.RequestKey()
		if first.runs.Load() != 1 || first.keys.Load() != 1 || tc.Stats().Stages != 0 || c.Tracks()[0].Codec != media.VP8 {
			t.Errorf("%d runs, %d keys, %+v, %v", first.runs.Load(), first.keys.Load(), tc.Stats(), c.Tracks())
		}
		if n := l.Stream().Options().Source.(media.BitrateSetter).MaxBitrate(); n != 0 {
			t.Errorf("bit rate %d of what is not encoded here", n)
		}
		pub.Close()
		if _, err = reg.Publish("cam", stream.PublishOptions{Type: "test", Low: second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if first.runs.Load() != 0 || second.runs.Load() != 1 {
			t.Errorf("%d runs of the first, %d of the second", first.runs.Load(), second.runs.Load())
		}
		for range 5 {
			if _, err := c.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l.Release()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if second.runs.Load() != 0 {
			t.Error("read although nobody is there")
		}
	})
}
