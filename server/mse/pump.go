package mse

import (
	"context"
	"errors"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/hub"

	"github.com/coder/websocket"
)

// quietAfter is how much video may go by without sound before the buffer is
// made anew without it: a page waits where one of the two is missing.
const quietAfter = 2 * time.Second

// clocksDiffer is how far the clocks of two streams of one camera may be apart
// before they are taken for two clocks.
const clocksDiffer = time.Second

// patience is how long a plan lasts at least before sound that has come after
// all ends it.
const patience = 3 * time.Second

// pump carries the tracks of one plan to the client.
type pump struct {
	v     *viewer
	video *feed
	sound *feed // nil: none
	epoch uint32
	since time.Time

	mu    sync.Mutex
	mux   *muxer
	base  time.Time     // capture time of the first picture
	lead  time.Duration // capture time since base minus PTS, of the newest picture
	heard time.Duration // PTS on the video's clock of the newest packet of sound
	taken relation

	marked time.Time
	asked  time.Time
}

// run sends until ctx is done or the plan no longer holds.
func (p *pump) run(ctx context.Context) error {
	var sound *media.Track
	if p.sound != nil {
		sound = &p.sound.track
	}
	p.mux = newMuxer(sound)
	if p.sound == nil || p.sound.stream == p.video.stream {
		return p.pictures(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { cancel(p.packets(ctx)) })
	return cause(ctx, p.pictures(ctx))
}

// pictures sends the hub of the video, with the sound that is in it.
func (p *pump) pictures(ctx context.Context) error {
	cur := p.video.stream.Hub().NewCursor(hub.CursorOptions{MaxLag: maxLag})
	camera := p.video.stream == p.v.camera
	var next uint64
	missed, started := false, false
	defer func() { p.v.skipped += cur.Skipped() }()
	for {
		f, err := cur.Next(ctx)
		if err != nil {
			if errors.Is(err, hub.ErrClosed) && !camera {
				return troubleError{err}
			}
			return err
		}
		if camera && f.Epoch != p.epoch {
			return errReplan
		}
		missed = missed || started && f.Seq != next
		started, next = true, f.Seq+1
		if cur.Behind() {
			p.ask(time.Now())
		}
		switch {
		case f.Track == p.video.index:
			t := p.video.track
			if ts := cur.Tracks(); f.Key && f.Track < len(ts) {
				t = ts[f.Track]
				p.video.track = t
			}
			if err := p.picture(t, f, missed); err != nil {
				return err
			}
			missed = false
		case p.sound != nil && p.sound.stream == p.video.stream && f.Track == p.sound.index:
			if err := p.packet(f); err != nil {
				return err
			}
		case p.sound == nil && camera && f.Arrived.Sub(p.since) > patience && p.v.misses(cur.Tracks()[f.Track]):
			return errReplan
		}
	}
}

// packets sends the hub of the sound, where it is another one.
func (p *pump) packets(ctx context.Context) error {
	cur := p.sound.stream.Hub().NewCursor(hub.CursorOptions{MaxLag: maxLag, Live: true})
	for {
		f, err := cur.Next(ctx)
		if err != nil {
			if errors.Is(err, hub.ErrClosed) {
				return errReplan // without sound, if it stays away
			}
			return err
		}
		if f.Track == p.sound.index {
			if err := p.packet(f); err != nil {
				return err
			}
		}
	}
}

func (p *pump) picture(t media.Track, f *media.Frame, jumped bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.base.IsZero() {
		p.base, p.heard = f.Captured, f.PTS
	}
	p.lead = f.Captured.Sub(p.base) - f.PTS
	if jumped {
		p.heard = max(p.heard, f.PTS-quietAfter/2)
	}
	if p.sound != nil && f.PTS-p.heard > quietAfter {
		return errReplan
	}
	o, err := p.mux.addVideo(t, f, jumped)
	if err != nil {
		if f.Key {
			return troubleError{err}
		}
		return nil // one frame that cannot be read costs itself
	}
	if o.mime != "" {
		if err := p.v.say(message{Type: "mime", Mime: o.mime}); err != nil {
			return err
		}
	}
	now := time.Now()
	if len(o.fragment) > 0 {
		p.taken.add(p.lead+f.PTS-o.media, o.timed, f.Captured)
	}
	if len(o.fragment) > 0 && (o.timed || now.Sub(p.marked) >= markInterval) {
		p.marked = now
		if err := p.v.say(timeMessage(o.media, p.base.Add(p.taken.least()+o.media))); err != nil {
			return err
		}
	}
	return p.send(o)
}

func (p *pump) packet(f *media.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.base.IsZero() {
		return nil // no picture yet
	}
	pts := f.PTS
	// Streams of one camera share its clock, except where one of them was
	// started anew meanwhile; then the time of capture has to do.
	if p.sound.stream != p.video.stream {
		if d := f.Captured.Sub(p.base) - f.PTS - p.lead; d > clocksDiffer || d < -clocksDiffer {
			pts += d
		}
	}
	p.heard = max(p.heard, pts)
	o, err := p.mux.addAudio(f, pts)
	if err != nil {
		return nil //nolint:nilerr // one packet that cannot be carried costs itself
	}
	return p.send(o)
}

func (p *pump) send(o output) error {
	for _, b := range [][]byte{o.init, o.fragment} {
		if len(b) == 0 {
			continue
		}
		p.v.out.Fit(len(b))
		if err := p.v.out.Send(websocket.MessageBinary, b, writeTimeout); err != nil {
			return err
		}
	}
	return nil
}

// ask asks the source for a key frame to jump to.
func (p *pump) ask(now time.Time) {
	if now.Sub(p.asked) >= askGap {
		p.asked = now
		p.video.stream.RequestKey()
	}
}

// relationWindow is how long a value counts at least.
const relationWindow = 2 * time.Second

// relation finds how capture time lies to media time. Where a source does not
// say when its pictures were taken, all there is is when they came, and one that
// was held up on its way would be taken for one that was taken later. So the
// least of a while counts.
type relation struct {
	now, before time.Duration
	since       time.Time
}

// add takes the capture time of a picture less its media time. fresh says that
// what was known is of no use any more.
func (r *relation) add(d time.Duration, fresh bool, at time.Time) {
	switch {
	case fresh || r.since.IsZero():
		*r = relation{now: d, before: d, since: at}
	case at.Sub(r.since) > relationWindow:
		*r = relation{now: d, before: r.now, since: at}
	default:
		r.now = min(r.now, d)
	}
}

func (r *relation) least() time.Duration { return min(r.now, r.before) }
