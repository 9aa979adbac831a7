package peer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
)

const (
	// tellGap is how often a lease hears at most what the link carries.
	tellGap = 100 * time.Millisecond
	// lowStart is how long the lower rung may take to show its first picture,
	// lowSilence how long it may be silent afterwards.
	lowStart   = 15 * time.Second
	lowSilence = 3 * time.Second
)

// rate is a viewer's part in what is sent to it: where its link matters there
// is an estimator, everywhere else none.
type rate struct {
	est  atomic.Pointer[estimator]
	main atomic.Pointer[stream.Lease] // of the stream that the video belongs to
	low  atomic.Pointer[stream.Lease] // while the lower rung is in use
	told atomic.Int64                 // Unix nanoseconds
}

// measure begins to find out what the link carries, or ends it, as the stream
// of the lease can use it or not.
func (v *Viewer) measure(l *stream.Lease) {
	v.rate.main.Store(l)
	e := v.rate.est.Load()
	if l.Stream().Adapts() == (e != nil) {
		return
	}
	if e != nil {
		v.rate.est.Store(nil)
		v.video.measure(nil)
		v.audio.measure(nil)
		l.SetCapacity(0) // what was decided by it is over
		return
	}
	e = newEstimator(time.Now())
	v.rate.est.Store(e)
	v.video.measure(&e.ledger)
	v.audio.measure(&e.ledger)
	l.SetCapacity(0)
}

// tell passes on what the link carries.
func (v *Viewer) tell(e *estimator, now time.Time) {
	was := v.rate.told.Load()
	if now.UnixNano()-was < int64(tellGap) || !v.rate.told.CompareAndSwap(was, now.UnixNano()) {
		return
	}
	bps, _ := e.capacity()
	if l := v.rate.main.Load(); l != nil {
		l.SetCapacity(bps)
		e.setEnough(l.Enough())
	}
	if l := v.rate.low.Load(); l != nil {
		l.SetCapacity(bps)
	}
}

// eachSecond is called while pictures are sent.
func (v *Viewer) eachSecond(now time.Time) {
	e := v.rate.est.Load()
	if e == nil {
		return
	}
	e.idle(now)
	if n := e.probe(now); n > 0 && !v.video.probe(n) {
		e.guess(now)
	}
	v.tell(e, now)
}

func (v *Viewer) estimate() (bps int, queue time.Duration) {
	if e := v.rate.est.Load(); e != nil {
		return e.capacity()
	}
	return 0, 0
}

func (v *Viewer) rung() string {
	switch {
	case v.video == nil:
		return ""
	case v.turn.isMain():
		return "main"
	default:
		return stream.LowName
	}
}

// turn says which of two rungs a viewer's pictures are sent from. It changes
// with a key frame of the other, and no picture of the one gets between those of
// the other.
type turn struct {
	mu   sync.Mutex // held while a picture is sent
	low  atomic.Bool
	next bool      // the next main picture is on another clock
	at   time.Time // of the newest picture of the lower rung, or when it was begun
}

func (t *turn) isMain() bool { return !t.low.Load() }

// reset begins on the main rung.
func (t *turn) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.low.Store(false)
	t.next = true
}

func (t *turn) touch(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = now
}

// silent tells for how long the lower rung has shown nothing.
func (t *turn) silent(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.at)
}

// sendMain sends a picture of the main rung if it is that one's turn.
func (v *Viewer) sendMain(f *media.Frame, t media.Track, p plan) (went bool, err error) {
	v.turn.mu.Lock()
	defer v.turn.mu.Unlock()
	if v.turn.low.Load() {
		if !f.Key || p.lease.Low() {
			return false, nil
		}
		v.turn.low.Store(false)
		v.turn.next = true
		v.source.Store(p.lease.Stream())
	}
	fresh := v.turn.next
	v.turn.next = false
	return true, v.sendVideo(f, t, p.videoPT, fresh)
}

// sendLow sends a picture of the lower rung if it is that one's turn.
func (v *Viewer) sendLow(f *media.Frame, t media.Track, p plan, main *stream.Lease) (went bool, err error) {
	v.turn.mu.Lock()
	defer v.turn.mu.Unlock()
	fresh := !v.turn.low.Load()
	if fresh {
		if !f.Key || !main.Low() {
			return false, nil
		}
		v.turn.low.Store(true)
		v.source.Store(p.lease.Stream())
	}
	v.turn.at = time.Now()
	return true, v.sendVideo(f, t, p.videoPT, fresh)
}

// lowRung is the goroutine that sends the lower rung. It is the main pump's.
type lowRung struct {
	cancel context.CancelFunc
	done   chan struct{} // nil: there is none
}

func (l *lowRung) end() {
	if l.done != nil {
		l.cancel()
		<-l.done
		l.done = nil
	}
}

// choose begins and ends the lower rung as the lease says.
func (v *Viewer) choose(ctx context.Context, low *lowRung, p plan, now time.Time) {
	if low.done != nil {
		select {
		case <-low.done:
			low.cancel()
			low.done = nil
		default:
		}
	}
	want := p.lease.Low()
	patience := lowSilence
	if v.turn.isMain() {
		patience = lowStart
	}
	switch {
	case want && low.done == nil && v.rate.est.Load() != nil:
		v.turn.touch(now)
		ctx, cancel := context.WithCancel(ctx)
		low.cancel, low.done = cancel, make(chan struct{})
		go func(done chan struct{}) {
			defer close(done)
			v.pumpLow(ctx, p.lease)
		}(low.done)
	case want && v.turn.silent(now) > patience:
		v.srv.log.Debug("the lower rung shows nothing", "camera", v.opts.Camera.ID())
		p.lease.RefuseLow()
	case want && v.turn.isMain():
		if l := v.rate.low.Load(); l != nil {
			l.RequestKey()
		}
	case !want && !v.turn.isMain():
		p.lease.RequestKey() // the stream sees to it that it is not asked too often
	case !want && low.done != nil:
		low.cancel()
	}
}

// pumpLow sends the lower rung, from its next key frame until it is no longer
// wanted.
func (v *Viewer) pumpLow(ctx context.Context, main *stream.Lease) {
	lease, err := v.opts.Camera.LeaseDerived(stream.LowName, "")
	if err != nil {
		v.srv.log.Debug("no lower rung", "camera", v.opts.Camera.ID(), "error", err)
		main.RefuseLow()
		return
	}
	defer lease.Release()
	bps, _ := v.estimate()
	lease.SetCapacity(bps)
	v.rate.low.Store(lease)
	defer v.rate.low.Store(nil)
	// It need not begin with what is cached: that would have to be caught up
	// with, over a link that is narrow.
	cur := lease.Hub().NewCursor(hub.CursorOptions{MaxLag: maxLag, Live: true})
	if _, err := lease.Hub().WaitTracks(ctx); err != nil {
		return
	}
	p := plan{lease: lease, video: -1, audio: -1}
	lease.RequestKey()
	stats, sent := v.lease.Reader(), 0
	asked := time.Now()
	for {
		f, err := cur.Next(ctx)
		if err != nil {
			return
		}
		// A publisher's own layer has key frames on request only, and without
		// one there is nowhere to jump to.
		if now := time.Now(); cur.Behind() && now.Sub(asked) > askGap {
			asked = now
			lease.RequestKey()
		}
		if p.video < 0 || f.Epoch != p.epoch {
			ts := cur.Tracks()
			p.epoch, p.video = f.Epoch, ts.Video()
			ok := false
			if p.video >= 0 {
				p.videoPT, ok = v.video.payloadType(ts[p.video])
			}
			if !ok {
				main.RefuseLow()
				return
			}
		}
		if f.Track != p.video {
			continue
		}
		if !v.turn.isMain() && v.rewind.CompareAndSwap(true, false) && !f.Key && cur.Rewind() {
			continue
		}
		went, err := v.sendLow(f, cur.Tracks()[p.video], p, main)
		if err != nil && ctx.Err() != nil {
			return
		}
		if went {
			sent += f.Size()
			stats.Sent(f.Captured, cur.Skipped())
		}
		if spread(ctx, &sent) != nil {
			return
		}
	}
}
