package stream

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
)

// encoder is a source of H264 at 30 pictures per second that hits its bit rate.
type encoder struct {
	most int
	mu   sync.Mutex
	told []int
}

func (e *encoder) MaxBitrate() int { return e.most }

func (e *encoder) SetBitrate(bps int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, bps)
}

// last is what it was told last; -1: nothing.
func (e *encoder) last() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.told) == 0 {
		return -1
	}
	return e.told[len(e.told)-1]
}

func (e *encoder) Run(ctx context.Context, s media.Sink) error {
	s.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for i := 0; ; i++ {
		bps := e.last()
		if bps <= 0 {
			bps = e.most
		}
		picture := make([]byte, bps/8/30)
		copy(picture, []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0})
		s.Write(&media.Frame{PTS: time.Duration(i) * time.Second / 30, Key: true, Units: [][]byte{picture}})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tell reports capacities five times a second.
func tell(d time.Duration, capacities map[*Lease]int) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		for l, bps := range capacities {
			l.SetCapacity(bps)
		}
	}
}

func lease(t *testing.T, s *Stream) *Lease {
	t.Helper()
	l, err := s.Lease("webrtc")
	if err != nil {
		t.Fatal(err)
	}
	l.SetCapacity(0)
	return l
}

func TestEncoderFollowsTheLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		e := &encoder{most: 2_000_000}
		s, err := r.Add("cam", Options{Source: e})
		if err != nil {
			t.Fatal(err)
		}
		a := lease(t, s)
		if !s.Adapts() || a.Enough() != 0 && a.Enough() < e.most {
			t.Errorf("adapts %v, enough %d", s.Adapts(), a.Enough())
		}
		tell(3*time.Second, map[*Lease]int{a: 5_000_000})
		if e.last() > 0 || s.Target() != 0 || a.Enough() < e.most {
			t.Errorf("told %d, enough is %d", e.last(), a.Enough())
		}
		tell(3*time.Second, map[*Lease]int{a: 500_000})
		if n := e.last(); n < 400_000 || n > 480_000 || s.Target() != n || a.Low() {
			t.Errorf("told %d, low %v", n, a.Low())
		}
		// A recording needs the best: the one with the link goes down instead.
		rec, err := s.Lease("record")
		if err != nil {
			t.Fatal(err)
		}
		tell(10*time.Second, map[*Lease]int{a: 500_000})
		if e.last() != 0 || !a.Low() {
			t.Errorf("told %d, low %v", e.last(), a.Low())
		}
		a.RefuseLow()
		if a.Low() {
			t.Error("low although refused")
		}
		rec.Release()
		tell(10*time.Second, map[*Lease]int{a: 500_000})
		if n := e.last(); n < 400_000 || n > 480_000 || a.Low() {
			t.Errorf("told %d, low %v", n, a.Low())
		}
		a.Release()
		if e.last() != 0 {
			t.Errorf("told %d when nobody is left", e.last())
		}
		a.SetCapacity(300_000) // too late to matter
		if e.last() != 0 || s.Target() != 0 {
			t.Errorf("told %d by one that has left", e.last())
		}
	})
}

func TestNothingToAdapt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		s, err := r.Add("cam", Options{Source: &pictures{}})
		if err != nil {
			t.Fatal(err)
		}
		a, b := lease(t, s), lease(t, s)
		tell(5*time.Second, map[*Lease]int{a: 100_000, b: 9_000_000})
		if s.Adapts() || a.Low() || a.Enough() != 0 || s.Target() != 0 {
			t.Errorf("adapts %v, low %v, enough %d", s.Adapts(), a.Low(), a.Enough())
		}
		b.Release()
		a.Release()
	})
}

// quietSource is a smaller rendering that nobody reads here.
type quietSource struct{}

func (quietSource) Run(ctx context.Context, _ media.Sink) error { <-ctx.Done(); return nil }

func TestEachViewerOfAPublisherIsOnItsOwnRung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		defer r.Close()
		pub, err := r.Publish("cam", PublishOptions{Type: "test", Low: quietSource{}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Get("cam")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = (&encoder{most: 1_500_000}).Run(ctx, pub) })
		a, b, c := lease(t, s), lease(t, s), lease(t, s)
		tell(6*time.Second, map[*Lease]int{a: 600_000, b: 700_000, c: 4_000_000})
		if !s.Adapts() || !a.Low() || !b.Low() || c.Low() {
			t.Errorf("low: %v, %v, %v", a.Low(), b.Low(), c.Low())
		}
		if n := c.Enough(); n < 1_500_000 || n > 3_000_000 {
			t.Errorf("enough: %d", n)
		}
		pub.Close()
		tell(time.Second, map[*Lease]int{a: 600_000})
		if s.Adapts() || a.Low() || b.Low() {
			t.Error("low without a publisher")
		}
		for _, l := range []*Lease{a, b, c} {
			l.Release()
		}
		cancel()
		wg.Wait()
	})
}
