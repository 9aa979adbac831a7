package stream

import (
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(d time.Duration) time.Time { return t0.Add(d) }

func TestBackoffGrowsToTenSeconds(t *testing.T) {
	var b backoff
	if d := b.next(1); d > firstRetry {
		t.Errorf("first retry after %v", d)
	}
	last := time.Duration(0)
	for range 20 {
		d := b.next(1)
		if d < last || d > maxRetry {
			t.Errorf("%v after %v", d, last)
		}
		last = d
	}
	if last != maxRetry {
		t.Errorf("ends at %v", last)
	}
	if lo := b.next(0); lo != maxRetry/2 {
		t.Errorf("without luck %v", lo)
	}
}

func TestAlwaysOnSourceIsRetriedForEver(t *testing.T) {
	p := newPolicy(false, 0)
	p.random = func() float64 { return 1 }
	run, _ := p.decide(t0)
	if !run {
		t.Fatal("not started")
	}
	p.started()
	p.exited(t0, "refused")
	if st, why := p.state(); st != Failed || why != "refused" {
		t.Errorf("%s %q", st, why)
	}
	run, again := p.decide(t0)
	if run || again != at(firstRetry) {
		t.Fatalf("run %v again %v", run, again.Sub(t0))
	}
	if run, _ = p.decide(at(firstRetry)); !run {
		t.Fatal("no retry")
	}
	p.started()
	p.live(at(time.Second))
	if st, _ := p.state(); st != Live {
		t.Error(st)
	}
	// It was live for long enough: the next retry is a first one again.
	p.exited(at(10*time.Second), "gone")
	if st, why := p.state(); st != Lost || why != "gone" {
		t.Errorf("%s %q", st, why)
	}
	if _, again = p.decide(at(10 * time.Second)); again != at(10*time.Second+firstRetry) {
		t.Errorf("again after %v", again.Sub(at(10*time.Second)))
	}
}

func TestFlappingSourceIsNotHammered(t *testing.T) {
	p := newPolicy(false, 0)
	p.random = func() float64 { return 1 }
	now := t0
	for range 8 {
		p.started()
		p.live(now)
		p.exited(now.Add(100*time.Millisecond), "flap")
		_, again := p.decide(now.Add(100 * time.Millisecond))
		now = again
	}
	if d := now.Sub(t0); d < 10*time.Second {
		t.Errorf("8 attempts in %v", d)
	}
}

func TestOnDemandRunsWithItsViewersAndLingers(t *testing.T) {
	p := newPolicy(true, 10*time.Second)
	if run, again := p.decide(t0); run || !again.IsZero() {
		t.Fatal("runs for nobody")
	}
	if st, _ := p.state(); st != Idle {
		t.Error(st)
	}
	p.lease(t0, 1)
	if run, _ := p.decide(t0); !run {
		t.Fatal("not started for a viewer")
	}
	p.started()
	p.live(at(time.Second))
	p.lease(at(20*time.Second), -1)
	run, again := p.decide(at(20 * time.Second))
	if !run || again != at(30*time.Second) {
		t.Fatalf("run %v again %v", run, again.Sub(t0))
	}
	// Somebody comes back in time.
	p.lease(at(25*time.Second), 1)
	if run, _ = p.decide(at(31 * time.Second)); !run {
		t.Fatal("stopped under a viewer")
	}
	p.lease(at(40*time.Second), -1)
	if run, _ = p.decide(at(50 * time.Second)); run {
		t.Fatal("still running after the linger")
	}
	p.stopped()
	if st, _ := p.state(); st != Idle {
		t.Error(st)
	}
}

func TestNewViewerDoesNotWaitForAnOldFailure(t *testing.T) {
	p := newPolicy(true, time.Second)
	p.lease(t0, 1)
	for range 10 {
		p.started()
		p.exited(t0, "refused")
	}
	p.lease(at(time.Second), -1)
	if run, _ := p.decide(at(time.Second)); run {
		t.Fatal("runs for nobody")
	}
	p.lease(at(2*time.Second), 1)
	if run, _ := p.decide(at(2 * time.Second)); !run {
		t.Error("a viewer waits for the backoff of before")
	}
}

func TestMeter(t *testing.T) {
	var m meter
	for i := range 90 {
		m.add(at(time.Duration(i)*time.Second/30), 800, true)
		m.add(at(time.Duration(i)*time.Second/30), 200, false) // sound is no picture
	}
	fps, bps := m.rates(at(3 * time.Second))
	if fps != 30 || bps != 240000 {
		t.Errorf("%v fps %v bit/s", fps, bps)
	}
	if fps, _ = m.rates(at(time.Minute)); fps != 0 {
		t.Errorf("%v fps of nothing", fps)
	}
}
