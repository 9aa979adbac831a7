package transcode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/media/worker"
)

// errOtherWay ends one way of making an output because the camera has changed
// and another is right now: passing through, or decoding.
var errOtherWay = errors.New("the camera's stream has changed")

// jpegOutput and h264Output are the sources of derived streams.
type (
	jpegOutput struct{ output }
	h264Output struct{ output }
)

var (
	_ media.Source        = (*jpegOutput)(nil)
	_ media.Source        = (*h264Output)(nil)
	_ media.KeyRequester  = (*h264Output)(nil)
	_ media.BitrateSetter = (*h264Output)(nil)
)

// output is one derived stream.
type output struct {
	t              *Transcoder
	parent         *stream.Stream
	name           string
	h264           bool
	half           bool // H.264 in half the width
	width, quality int  // as the name asks

	mu      sync.Mutex
	member  *member // while a stage makes it
	bitrate int     // wanted; 0: by size
}

// Run delivers until ctx is done. It fails when the camera is gone or nothing
// can be made of its stream; then the error says why.
func (o *output) Run(ctx context.Context, sink media.Sink) error {
	lease, err := o.parent.LeaseInternal()
	if err != nil {
		return err
	}
	defer lease.Release()
	for {
		track, frame, err := firstFrame(ctx, o.parent.Hub())
		if err == nil {
			if o.passes(track, frame) {
				err = o.pass(ctx, sink)
			} else {
				err = o.encode(ctx, sink)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, errOtherWay):
			return fmt.Errorf("camera %q, %s: %w", o.parent.ID(), o.name, err)
		}
	}
}

// firstFrame waits until the camera shows something: before, nothing can be
// decided and nothing need be started.
func firstFrame(ctx context.Context, h *hub.Hub) (media.Track, *media.Frame, error) {
	c := h.NewCursor(hub.CursorOptions{})
	for {
		f, err := c.Next(ctx)
		if err != nil {
			return media.Track{}, nil, err
		}
		ts := c.Tracks()
		v := ts.Video()
		if v < 0 {
			return media.Track{}, nil, errors.New("the stream has no picture")
		}
		if f.Track == v {
			return ts[v], f, nil
		}
	}
}

// passes reports whether the camera's frames are what this output has to
// deliver. A quality in the camera's own options is for what is encoded here:
// it does not make a stream worse that can be passed through.
func (o *output) passes(t media.Track, f *media.Frame) bool {
	if o.h264 || t.Codec != media.JPEG {
		return false
	}
	if w, h := o.size(t); w != 0 || h != 0 {
		return false
	}
	if o.quality == 0 {
		return true
	}
	has := 0
	if f != nil && len(f.Units) > 0 {
		has = jpegQuality(f.Units[0])
	}
	return has > 0 && has <= o.quality
}

// size returns the size to scale to, as worker.Output has it.
func (o *output) size(t media.Track) (w, h int) {
	if o.half {
		return halved(t.Width, t.Height)
	}
	if o.h264 {
		return fit(t.Width, t.Height, h264Side, h264Side)
	}
	c := o.parent.Options()
	return fit(t.Width, t.Height, least(o.width, c.Width), c.Height)
}

// plan returns what a worker has to make out of the track.
func (o *output) plan(t media.Track) worker.Output {
	w, h := o.size(t)
	if o.h264 {
		fps := nominalFPS(t.FPS)
		return worker.Output{Kind: worker.OutputH264, Width: w, Height: h, FPS: fps, GOP: h264GOP, Bitrate: o.target(t, fps)}
	}
	c := o.parent.Options()
	out := worker.Output{Kind: worker.OutputJPEG, Width: w, Height: h, Quality: o.quality, FPS: min(max(c.FPS, 0), 1000)}
	if out.Quality == 0 {
		out.Quality = c.Quality
	}
	if out.Quality < 1 || out.Quality > 100 {
		out.Quality = defaultQuality
	}
	return out
}

// target returns the bit rate.
func (o *output) target(t media.Track, fps float64) int {
	most := o.most(t, fps)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bitrate <= 0 {
		return most
	}
	return min(max(o.bitrate, leastBitrate), most)
}

// most returns the bit rate while nothing limits it.
func (o *output) most(t media.Track, fps float64) int {
	most := bitrate(t.Width, t.Height, fps)
	if w, _ := o.size(t); o.half && w > 0 {
		h := 0
		if t.Width > 0 {
			h = t.Height * w / t.Width
		}
		most = min(most, bitrate(w, h, fps))
	}
	return most
}

// encode delivers what the camera's stage makes.
func (o *output) encode(ctx context.Context, sink media.Sink) error {
	st, err := o.t.attach(ctx, o.parent)
	if err != nil {
		return err
	}
	defer o.t.detach(st)
	m := &member{o: o, sink: sink, stage: st, ended: make(chan error, 1)}
	o.setMember(m)
	defer o.setMember(nil)
	st.join(m)
	defer st.leave(m)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-m.ended:
		return err
	}
}

func (o *output) setMember(m *member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.member = m
}

// RequestKey makes the next frame a key frame.
func (o *h264Output) RequestKey() {
	o.mu.Lock()
	m := o.member
	o.mu.Unlock()
	if m != nil {
		m.stage.requestKey(m)
	}
}

// SetBitrate implements media.BitrateSetter.
func (o *h264Output) SetBitrate(bps int) {
	o.mu.Lock()
	o.bitrate = bps
	m := o.member
	o.mu.Unlock()
	if m != nil {
		m.stage.poke()
	}
}

// MaxBitrate implements media.BitrateSetter.
func (o *h264Output) MaxBitrate() int {
	ts, _ := o.parent.Hub().Tracks()
	v := ts.Video()
	if v < 0 {
		return 0
	}
	return o.most(ts[v], nominalFPS(ts[v].FPS))
}

// pass delivers the camera's JPEG as it is.
func (o *output) pass(ctx context.Context, sink media.Sink) error {
	c := o.parent.Hub().NewCursor(hub.CursorOptions{})
	fps := o.parent.Options().FPS
	var (
		pace   pacer
		seen   media.Track // as it was when passes was last asked
		asked  bool
		width  int
		height int
		bad    throttle
	)
	for {
		f, err := c.Next(ctx)
		if err != nil {
			return err
		}
		ts := c.Tracks()
		v := ts.Video()
		if v < 0 {
			return errOtherWay
		}
		if f.Track != v {
			continue
		}
		if t := ts[v]; !asked || !t.Equal(seen) || t.Width != seen.Width || t.Height != seen.Height {
			if !o.passes(t, f) {
				return errOtherWay
			}
			asked, seen = true, t
		}
		w, h, err := checkJPEG(f)
		if err != nil {
			if n := bad.count(time.Now()); n > 0 {
				o.t.log.Warn("bad JPEG dropped", "camera", o.parent.ID(), "count", n, "reason", err)
			}
			continue
		}
		if !pace.take(f.PTS, fps) {
			continue
		}
		if w != width || h != height {
			width, height = w, h
			sink.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000, Width: w, Height: h, FPS: capped(seen.FPS, fps)}})
		}
		o.t.passed.Add(1)
		sink.Write(&media.Frame{PTS: f.PTS, Captured: f.Captured, Arrived: f.Arrived, Key: true, Units: f.Units})
	}
}

// checkJPEG reads the size of a JPEG and keeps it within what may be decoded,
// here or by a viewer.
func checkJPEG(f *media.Frame) (w, h int, err error) {
	if len(f.Units) != 1 {
		return 0, 0, fmt.Errorf("a JPEG picture in %d pieces", len(f.Units))
	}
	w, h, err = codec.JPEGSize(f.Units[0])
	if err == nil && (w > worker.MaxSide || h > worker.MaxSide || w*h > worker.MaxPixels) {
		err = fmt.Errorf("a JPEG of %dx%d pixels is more than %d on a side or %d in all", w, h, worker.MaxSide, worker.MaxPixels)
	}
	return w, h, err
}

// capped returns a nominal rate under a cap of which 0 means none.
func capped(fps, most float64) float64 {
	if most > 0 && (fps <= 0 || fps > most) {
		return most
	}
	return fps
}

// throttle counts what happens often and is told rarely.
type throttle struct {
	n    int
	told time.Time
}

// count notes one more and returns how many there were since the last time it
// was worth a word, or 0 when it is too soon for another.
func (t *throttle) count(now time.Time) int {
	t.n++
	if !t.told.IsZero() && now.Sub(t.told) < 10*time.Second {
		return 0
	}
	n := t.n
	t.n, t.told = 0, now
	return n
}
