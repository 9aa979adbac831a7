package transcode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/worker"
)

const (
	// late is how far behind the newest frame one may be, by arrival, and
	// still be worth a picture: two frames that came at once are no reason to
	// drop one.
	late = 50 * time.Millisecond
	// jump is how far behind the feeder goes to the newest key frame.
	jump = 500 * time.Millisecond
	// patience is how long a feeder that is behind goes without any picture
	// before it makes an old one, which is better than none.
	patience = 500 * time.Millisecond
	// still is how long ago the last frame must be for a newcomer not to wait
	// for the next one.
	still = 250 * time.Millisecond
	// silence and silentFrames are how long and for how many frames a worker
	// may make nothing out of what it is fed.
	silence      = 5 * time.Second
	silentFrames = 20
)

// feeder walks through the camera's hub and feeds one worker. It belongs to
// one goroutine.
type feeder struct {
	st     *stage
	engine engine
	hub    *hub.Hub

	cursor *hub.Cursor
	wait   context.Context // done when there are new members or no more use
	track  media.Track     // the worker's input
	epoch  uint32
	opened bool // the worker has an input
	video  int

	live    bool      // has been at the newest frame since the last rewind
	lastFed time.Time // when a frame was handed over
	asked   time.Time // when a picture was last wanted

	pace   pacer
	most   float64 // frames per second worth feeding; 0: all
	rarest float64 // least cap of the worker's outputs where all have one

	made  uint64 // stage.made when it last moved
	empty int    // frames wanted since
	since time.Time
	bad   throttle
}

// run feeds until ctx is done, the hub is closed, or the worker fails.
func (f *feeder) run(ctx context.Context) error {
	stop := f.listen(ctx)
	defer func() { stop() }()
	f.rewind()
	for {
		if f.wait.Err() != nil && ctx.Err() == nil {
			stop()
			stop = f.listen(ctx)
			if err := f.apply(nil); err != nil {
				return err
			}
		}
		frame, err := f.cursor.Next(f.wait)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && f.wait.Err() != nil:
			continue // only woken up
		case err != nil:
			return err
		}
		again, err := f.follow(frame)
		if err != nil {
			return err
		}
		if again || frame.Track != f.video {
			continue
		}
		if err := f.feed(ctx, frame); err != nil {
			return err
		}
	}
}

// listen arms the stage's wake.
func (f *feeder) listen(ctx context.Context) (stop func()) {
	f.st.mu.Lock()
	defer f.st.mu.Unlock()
	f.wait, stop = context.WithCancel(ctx)
	f.st.wake = stop
	return stop
}

// rewind goes back to the newest key frame.
func (f *feeder) rewind() {
	intra := false
	if ts, _ := f.hub.Tracks(); ts.Video() >= 0 {
		intra = ts[ts.Video()].Codec.Intra()
	}
	o := hub.CursorOptions{MaxLag: jump}
	if intra {
		o = hub.CursorOptions{Newest: true}
	}
	f.cursor = f.hub.NewCursor(o)
	f.live, f.asked = false, time.Now()
}

// follow opens the worker's input for the frame's track and notes what changes
// of it. After a change of epoch the frame must be read again.
func (f *feeder) follow(frame *media.Frame) (again bool, err error) {
	if f.opened && frame.Epoch == f.epoch && f.same(f.cursor.Tracks()) {
		return false, nil
	}
	ts := f.cursor.Tracks()
	v := ts.Video()
	if v < 0 {
		return false, errors.New("the stream has no picture")
	}
	old, t := f.track, ts[v]
	// A size that changes in band is the decoder's business, but nothing in a
	// raw picture tells it.
	reopen := !f.opened || frame.Epoch != f.epoch || t.Codec.Raw() && (t.Width != old.Width || t.Height != old.Height)
	again = reopen && f.opened
	f.track, f.epoch, f.video = t, frame.Epoch, v
	if reopen {
		if err := f.engine.SetInput(t); err != nil {
			return false, err
		}
		f.opened = true
		f.pace = pacer{}
	}
	if err := f.apply(frame); err != nil {
		return false, err
	}
	if again {
		f.rewind()
	}
	return again, nil
}

// same reports whether the track is still what the plans were made for.
func (f *feeder) same(ts media.Tracks) bool {
	v := ts.Video()
	return v == f.video && v >= 0 && ts[v].Equal(f.track) && ts[v].Width == f.track.Width &&
		ts[v].Height == f.track.Height && ts[v].FPS == f.track.FPS
}

// apply tells the worker what the members want now. Frame may be nil.
func (f *feeder) apply(frame *media.Frame) error {
	if !f.opened {
		return nil // the first frame will see to it
	}
	f.st.mu.Lock()
	members := slices.Clone(f.st.members)
	f.st.mu.Unlock()
	plans := f.plan(members, frame)
	outs, changed, newcomer := f.st.assign(members, plans, f.track.FPS, f.most > 0)
	if changed {
		if err := f.engine.SetOutputs(outs); err != nil {
			return err
		}
	}
	if newcomer && !f.lastFed.IsZero() && time.Since(f.lastFed) > still {
		f.rewind()
		f.pace = pacer{}
	}
	return nil
}

// plan asks the members what they want; the zero Output stands for one that
// has to go another way. It also says how many frames are worth feeding. The
// members ask the camera for its options, so no lock is held.
func (f *feeder) plan(members []*member, frame *media.Frame) []worker.Output {
	plans := make([]worker.Output, len(members))
	most, capped := 0.0, len(members) > 0
	for i, m := range members {
		if m.o.passes(f.track, frame) {
			continue
		}
		plans[i] = m.o.plan(f.track)
		if plans[i].Kind == worker.OutputH264 || plans[i].FPS <= 0 {
			capped = false
		}
		most = max(most, plans[i].FPS)
	}
	f.most, f.rarest = 0, 0
	if capped {
		f.rarest = most
		if f.track.Codec.Intra() {
			f.most = most // what nobody wants need not even be decoded
		}
	}
	return plans
}

// feed hands one frame over and decides whether a picture is made of it.
func (f *feeder) feed(ctx context.Context, frame *media.Frame) error {
	if f.track.Codec == media.JPEG {
		if _, _, err := checkJPEG(frame); err != nil {
			f.note(err)
			return nil
		}
	}
	if f.most > 0 && !f.pace.take(frame.PTS, f.most) {
		return nil
	}
	now := time.Now()
	want := f.wanted(frame, now)
	if f.live && f.cursor.Behind() {
		f.st.parent.RequestKey() // there is nothing to jump to
	}
	err := f.engine.FeedWait(ctx, frame, want)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case f.engine.Err() != nil:
		return f.engine.Err()
	default:
		f.note(err) // this one frame is not to be fed
		return nil
	}
	f.st.t.fed.Add(1)
	f.lastFed = time.Now()
	return f.check(want)
}

// wanted reports whether the frame is worth a picture: the newest one always,
// one that is hardly late as well; not the past that is only decoded to get
// to the present.
func (f *feeder) wanted(frame *media.Frame, now time.Time) bool {
	newest := f.hub.Latest()
	behind := newest != nil && newest.Seq > frame.Seq
	if !behind {
		f.live = true
	}
	want := !behind || f.live && newest.Arrived.Sub(frame.Arrived) <= late || now.Sub(f.asked) > patience
	if want {
		f.asked = now
	}
	return want
}

// check fails when nothing comes out of the worker for too long.
func (f *feeder) check(want bool) error {
	if n := f.st.made.Load(); n != f.made || f.since.IsZero() {
		f.made, f.empty, f.since = n, 0, f.lastFed
	}
	if !want {
		return nil
	}
	f.empty++
	limit := silence
	if f.rarest > 0 {
		limit += time.Duration(2 / f.rarest * float64(time.Second))
	}
	if f.empty > silentFrames && f.lastFed.Sub(f.since) > limit {
		return f.st.lastTrouble(f.empty)
	}
	return nil
}

// note logs now and then what is wrong with single frames.
func (f *feeder) note(err error) {
	if n := f.bad.count(time.Now()); n > 0 {
		f.st.log.Warn("frames dropped before decoding", "count", n, "reason", fmt.Sprint(err))
	}
}
