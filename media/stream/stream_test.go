package stream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pictures is a source of JPEG frames at 10 per second.
type pictures struct {
	runs    atomic.Int32
	running atomic.Int32
	fail    atomic.Bool
	panics  atomic.Bool
	keys    atomic.Int32
	most    int // frames before it ends; 0 for ever
}

func (p *pictures) RequestKey() { p.keys.Add(1) }

func (p *pictures) Run(ctx context.Context, s media.Sink) error {
	p.runs.Add(1)
	p.running.Add(1)
	defer p.running.Add(-1)
	if p.fail.Load() {
		return errors.New("connection refused")
	}
	if p.panics.Load() {
		panic("boom")
	}
	s.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; p.most == 0 || i < p.most; i++ {
		s.Write(&media.Frame{PTS: time.Duration(i) * 100 * time.Millisecond, Key: true, Units: [][]byte{picture}})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return errors.New("stream ended")
}

// picture is a JPEG as far as markers go: SOI, SOF0 of 8x8, EOI.
var picture = []byte{0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0, 0xff, 0xd9}

func TestSourceHealsAndKeepsItsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		src := &pictures{most: 40}
		s, err := r.Add("a", Options{Source: src, Type: "test"})
		if err != nil {
			t.Fatal(err)
		}
		c := s.Hub().NewCursor(hub.CursorOptions{})
		var last time.Duration
		for range 100 { // two and a half lives of the source
			f, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if f.PTS < last {
				t.Fatalf("time went back: %v after %v", f.PTS, last)
			}
			last = f.PTS
		}
		if n := src.runs.Load(); n != 3 {
			t.Errorf("%d runs, want 3", n)
		}
		if i := s.Info(); i.State != Live || i.Restarts != 2 || i.Frames < 100 {
			t.Errorf("%+v", i)
		}
		r.Close()
		if _, err := c.Next(t.Context()); err == nil {
			// What is in the ring may still be read, then it ends.
			for err == nil {
				_, err = c.Next(t.Context())
			}
			if !errors.Is(err, hub.ErrClosed) {
				t.Error(err)
			}
		}
	})
}

func TestStateTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		src := &pictures{}
		src.fail.Store(true)
		s, _ := r.Add("a", Options{Source: src})
		time.Sleep(time.Minute)
		if i := s.Info(); i.State != Failed || i.Reason != "connection refused" {
			t.Errorf("%v %q", i.State, i.Reason)
		}
		src.fail.Store(false)
		time.Sleep(maxRetry)
		if i := s.Info(); i.State != Live || i.Reason != "" {
			t.Errorf("%v %q", i.State, i.Reason)
		}
		src2 := &pictures{}
		src2.panics.Store(true)
		s2, _ := r.Add("b", Options{Source: src2})
		time.Sleep(time.Second)
		if i := s2.Info(); i.State != Failed || i.Reason != "source crashed: boom" {
			t.Errorf("%v %q", i.State, i.Reason)
		}
	})
}

func TestOnDemandSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		src := &pictures{}
		s, _ := r.Add("a", Options{Source: src, OnDemand: true})
		time.Sleep(time.Minute)
		if src.runs.Load() != 0 {
			t.Fatal("runs for nobody")
		}
		l, err := s.Lease("mjpeg")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if i := s.Info(); i.State != Live || i.Viewers["mjpeg"] != 1 {
			t.Errorf("%+v", i)
		}
		l.Release()
		l.Release()
		time.Sleep(9 * time.Second)
		if src.running.Load() != 1 {
			t.Error("stopped before the linger was over")
		}
		time.Sleep(2 * time.Second)
		if src.running.Load() != 0 {
			t.Error("still running")
		}
		if s.Info().State != Idle {
			t.Error(s.Info().State)
		}
	})
}

func TestDerivedStreamLivesWithItsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int32
		src := &pictures{}
		r := New(Config{Derive: func(_ *Stream, name string) (media.Source, error) {
			if name != "jpeg" {
				return nil, errors.New("cannot make that")
			}
			made.Add(1)
			return src, nil
		}})
		defer r.Close()
		s, _ := r.Add("a", Options{Source: &pictures{}})
		if _, err := s.LeaseDerived("smell", "x"); err == nil {
			t.Error("made something impossible")
		}
		var leases []*Lease
		for range 5 {
			l, err := s.LeaseDerived("jpeg", "mjpeg")
			if err != nil {
				t.Fatal(err)
			}
			leases = append(leases, l)
		}
		time.Sleep(time.Second)
		if made.Load() != 1 || src.runs.Load() != 1 {
			t.Errorf("made %d, ran %d times for 5 viewers", made.Load(), src.runs.Load())
		}
		if s.Info().Viewers["mjpeg"] != 5 {
			t.Errorf("%v", s.Info().Viewers)
		}
		for _, l := range leases {
			l.Release()
		}
		time.Sleep(DefaultLinger + time.Second)
		if src.running.Load() != 0 {
			t.Error("derived stream runs for nobody")
		}
		s.mu.Lock()
		n := len(s.derived)
		s.mu.Unlock()
		if n != 0 {
			t.Errorf("%d derived streams kept", n)
		}
	})
}

func TestDerivedStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Derive: func(*Stream, string) (media.Source, error) { return &pictures{}, nil }})
		defer r.Close()
		s, _ := r.Add("a", Options{Source: &pictures{}})
		var err error
		for i := range maxDerived + 1 {
			_, err = s.LeaseDerived("jpeg-"+string(rune('a'+i)), "x")
		}
		if !errors.Is(err, ErrTooMany) {
			t.Error(err)
		}
	})
}

func TestUpdateTouchesOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		one, two := &pictures{}, &pictures{}
		s, _ := r.Add("a", Options{Source: one, Name: "Old"})
		time.Sleep(time.Second)
		c := s.Hub().NewCursor(hub.CursorOptions{})
		if err := r.Update("a", Options{Name: "New"}, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if one.runs.Load() != 1 || s.Info().Name != "New" {
			t.Errorf("runs %d name %q", one.runs.Load(), s.Info().Name)
		}
		if err := r.Update("a", Options{Name: "New", Source: two}, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if one.running.Load() != 0 || two.running.Load() != 1 {
			t.Error("source was not replaced")
		}
		if _, err := c.Next(t.Context()); err != nil {
			t.Errorf("the viewer was lost: %v", err)
		}
		if err := r.Update("a", Options{Disabled: true, Source: two}, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if two.running.Load() != 0 || s.Info().State != Disabled {
			t.Error("a disabled camera runs")
		}
		if _, err := s.Lease("x"); !errors.Is(err, ErrDisabled) {
			t.Error(err)
		}
		if err := r.Update("none", Options{}, false); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	})
}

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{MaxStreams: 2})
		defer r.Close()
		keys := 0
		p, err := r.Publish("cam", PublishOptions{Type: "rtsp", RequestKey: func() { keys++ }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish("cam", PublishOptions{}); !errors.Is(err, ErrPublished) {
			t.Error(err)
		}
		if _, err := r.Publish("no/good", PublishOptions{}); !errors.Is(err, ErrBadID) {
			t.Error(err)
		}
		p.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
		p.Write(&media.Frame{Key: true, Units: [][]byte{picture}})
		s, _ := r.Get("cam")
		if i := s.Info(); i.State != Live || i.Type != "rtsp" || i.Frames != 1 {
			t.Errorf("%+v", i)
		}
		s.RequestKey()
		s.RequestKey() // within 500 ms: not passed on
		time.Sleep(time.Second)
		s.RequestKey()
		if keys != 2 {
			t.Errorf("asked %d times for a key frame", keys)
		}
		p.Close()
		p.Close()
		p.Write(&media.Frame{Key: true, Units: [][]byte{picture}})
		if i := s.Info(); i.State != Lost || i.Frames != 1 {
			t.Errorf("%+v", i)
		}
		if _, err = r.Publish("cam", PublishOptions{}); err != nil {
			t.Errorf("a publisher cannot come back: %v", err)
		}
		if _, err := r.Add("pull", Options{Source: &pictures{}}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish("pull", PublishOptions{}); !errors.Is(err, ErrNotPushable) {
			t.Error(err)
		}
		if _, err := r.Publish("third", PublishOptions{}); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
	})
}

// TestTakeover: a publisher ends the one before it only when it is told to, or
// when that one had said that it does not mind.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		ended := make(chan error, 3)
		note := func(err error) { ended <- err }
		first, err := r.Publish("cam", PublishOptions{Type: "mobile", Yields: func() bool { return true }, Ended: note})
		if err != nil {
			t.Fatal(err)
		}
		low := &pictures{}
		second, err := r.Publish("cam", PublishOptions{Type: "webrtc", Low: low, Ended: note})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, ErrTakenOver) {
			t.Error(err)
		}
		first.Close() // its owner's own end comes late and changes nothing
		s, _ := r.Get("cam")
		if s.Low() != low || s.Info().Type != "webrtc" {
			t.Errorf("%+v", s.Info())
		}
		if _, err := r.Publish("cam", PublishOptions{}); !errors.Is(err, ErrPublished) {
			t.Error(err)
		}
		third, err := r.Publish("cam", PublishOptions{Takeover: true, Ended: note})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, ErrTakenOver) {
			t.Error(err)
		}
		second.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
		second.Write(&media.Frame{Key: true, Units: [][]byte{picture}})
		if i := s.Info(); i.Frames != 0 || s.Low() != nil {
			t.Errorf("%+v", i)
		}
		third.Close()
	})
}

func TestRemoveEndsPublisherAndViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		ended := make(chan error, 1)
		p, _ := r.Publish("cam", PublishOptions{Ended: func(err error) { ended <- err }})
		p.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
		s, _ := r.Get("cam")
		c := s.Hub().NewCursor(hub.CursorOptions{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Next(t.Context()); !errors.Is(err, hub.ErrClosed) {
				t.Error(err)
			}
		})
		if err := r.Remove("cam"); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if err := <-ended; err == nil {
			t.Error("no reason given")
		}
		if err := r.Remove("cam"); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
		if _, err := s.Lease("x"); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestIDs(t *testing.T) {
	r := New(Config{})
	defer r.Close()
	for _, id := range []string{"", "a b", "ä", "../x", string(make([]byte, 65))} {
		if _, err := r.Add(id, Options{}); !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := r.Add("usb_cam-0", Options{}); err != nil {
		t.Error(err)
	}
	if _, err := r.Add("usb_cam-0", Options{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
}
