package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
)

// teardown is a source that takes a second to end when it is told to.
type teardown struct{ runs int }

func (s *teardown) Run(ctx context.Context, sink media.Sink) error {
	s.runs++
	sink.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		sink.Write(&media.Frame{Units: [][]byte{picture}})
		select {
		case <-tick.C:
		case <-ctx.Done():
			time.Sleep(time.Second)
			return ctx.Err()
		}
	}
}

func TestViewerWhoComesWhileTheSourceStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		src := &teardown{}
		s, _ := r.Add("a", Options{Source: src, OnDemand: true})
		l, _ := s.Lease("x")
		time.Sleep(3 * time.Second)
		l.Release()
		time.Sleep(DefaultLinger + 500*time.Millisecond) // it is stopping now
		l, _ = s.Lease("x")
		defer l.Release()
		time.Sleep(time.Second)
		if i := s.Info(); i.State != Live || i.Restarts != 0 || src.runs != 2 {
			t.Errorf("%s %q, %d failures, %d runs: a stop that was asked for is none", i.State, i.Reason, i.Restarts, src.runs)
		}
	})
}

// mortal delivers one picture and dies after a while.
type mortal struct{}

func (mortal) Run(ctx context.Context, sink media.Sink) error {
	sink.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	sink.Write(&media.Frame{Units: [][]byte{picture}})
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
	}
	return errors.New("camera switched off")
}

func TestNothingOldForTheNextViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		s, _ := r.Add("a", Options{Source: mortal{}, OnDemand: true})
		l, _ := s.Lease("x")
		time.Sleep(3 * time.Second)
		l.Release() // the source dies during the linger
		time.Sleep(time.Hour)
		if f := s.Hub().Latest(); f != nil {
			t.Errorf("a picture of %v ago is still there", time.Since(f.Arrived))
		}
	})
}

func TestMendedSourceDoesNotWaitForTheOldOnesBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		bad := &pictures{}
		bad.fail.Store(true)
		s, _ := r.Add("a", Options{Source: bad})
		time.Sleep(time.Minute) // the backoff is at its longest
		if err := r.Update("a", Options{Source: &pictures{}}, true); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if i := s.Info(); i.State != Live {
			t.Errorf("%s %q", i.State, i.Reason)
		}
	})
}

func TestNewNameDoesNotTouchDerivedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		derived := &pictures{}
		r := New(Config{Derive: func(*Stream, string) (media.Source, error) { return derived, nil }})
		defer r.Close()
		s, _ := r.Add("a", Options{Source: &pictures{}, Name: "Old"})
		l, err := s.LeaseDerived("jpeg", "mjpeg")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		time.Sleep(time.Second)
		for _, o := range []struct {
			Options
			runs int32
		}{{Options{Name: "New"}, 1}, {Options{Name: "New", Width: 640}, 2}} {
			if err := r.Update("a", o.Options, false); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if n := derived.runs.Load(); n != o.runs {
				t.Errorf("%+v: %d runs, want %d", o.Options, n, o.runs)
			}
		}
	})
}

func TestWhoIsToldOfTheEndMayClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		var p *Publication
		p, err := r.Publish("a", PublishOptions{Ended: func(error) { p.Close() }})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Remove("a"); err != nil { // hangs, and synctest says so, if it may not
			t.Fatal(err)
		}
	})
}
