package mse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server/live/socket"

	"github.com/coder/websocket"
)

const (
	// maxLag is how far a viewer may fall behind before it jumps.
	maxLag = 300 * time.Millisecond
	// writeTimeout is how long one message may take to go out.
	writeTimeout = 10 * time.Second
	// look is how often the camera's state and tracks are looked at.
	look = 250 * time.Millisecond
	// markInterval is how often the page is told when a picture was taken.
	markInterval = time.Second
	// askGap is how often one late viewer may ask the source for a key frame.
	askGap = 5 * time.Second
	// retry is the pause before a derived stream that failed is tried again.
	retry = time.Second
)

// errReplan ends a plan because something has changed that it was made for.
var errReplan = errors.New("the tracks have changed")

// out is where a viewer's messages go; *socket.Conn.
type out interface {
	Send(typ websocket.MessageType, b []byte, within time.Duration) error
	Fit(message int)
}

// viewer sends one camera to one client.
type viewer struct {
	h      *Handler
	camera *stream.Stream
	lease  *stream.Lease
	wish   query
	out    out

	mu      sync.Mutex
	sound   bool // wanted
	problem error
	epoch   uint32                  // of the camera, that the plan was made for
	replan  context.CancelCauseFunc // ends the plan; nil: there is none

	skipped uint64 // frames; only the pump uses it
}

func newViewer(h *Handler, camera *stream.Stream, lease *stream.Lease, o out, q query) *viewer {
	return &viewer{h: h, camera: camera, lease: lease, wish: q, out: o, sound: q.sound}
}

// serve runs until the client or the camera has gone.
func (v *viewer) serve(conn *socket.Conn) error {
	ctx, cancel := context.WithCancel(conn.Context())
	var wg sync.WaitGroup
	wg.Go(func() { v.listen(conn) })
	wg.Go(func() { v.attend(ctx) })
	err := v.run(ctx)
	if errors.Is(err, hub.ErrClosed) {
		// The last word before the end. If it does not arrive, nobody is there.
		_ = v.say(message{Type: "error", Code: "removed", Error: "the camera was removed"})
		conn.End(websocket.StatusNormalClosure, "the camera was removed")
	}
	cancel()
	conn.Close()
	wg.Wait()
	return err
}

// listen reads what the client says until it has gone.
func (v *viewer) listen(conn *socket.Conn) {
	// The connection ends its reads itself, with a goodbye.
	ctx := context.WithoutCancel(conn.Context())
	for {
		typ, b, err := conn.Read(ctx)
		if err != nil {
			conn.End(websocket.StatusNormalClosure, "")
			return
		}
		m, err := parseMessage(b)
		switch {
		case typ != websocket.MessageText || err != nil:
			err = v.say(message{Type: "error", Code: "bad_message", Error: errBadMessage.Error()})
		case m.Type == "ping":
			err = v.say(message{Type: "pong", T: m.T, Server: millis(time.Now())})
		case m.Type == "audio":
			v.setSound(m.On)
		}
		if err != nil {
			conn.End(websocket.StatusGoingAway, "")
			return
		}
	}
}

// attend tells the client how the camera is, and ends a plan whose camera has
// other tracks now.
func (v *viewer) attend(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var last message
	for {
		v.mu.Lock()
		problem := v.problem
		v.mu.Unlock()
		if m := stateMessage(v.camera.Info(), problem); m != last {
			last = m
			if v.say(m) != nil {
				return // the pump hears of it as well
			}
		}
		_, epoch := v.lease.Hub().Tracks()
		v.mu.Lock()
		if v.replan != nil && epoch != v.epoch {
			v.replan(errReplan)
		}
		v.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (v *viewer) setSound(on bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sound != on {
		v.sound = on
		if v.replan != nil {
			v.replan(errReplan)
		}
	}
}

func (v *viewer) setProblem(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problem = err
}

// run sends the camera for as long as there is one, whatever it turns into.
func (v *viewer) run(ctx context.Context) error {
	for {
		if _, err := v.lease.Hub().WaitTracks(ctx); err != nil {
			return err
		}
		err := v.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errReplan):
		case errors.As(err, new(troubleError)):
			v.setProblem(err)
			if err := pause(ctx, retry); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// troubleError is something that keeps the pictures away and may pass.
type troubleError struct{ error }

func (e troubleError) Unwrap() error { return e.error }

// feed is a track of a stream.
type feed struct {
	stream *stream.Stream
	index  int
	track  media.Track
}

// follow sends one epoch of the camera.
func (v *viewer) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tracks, epoch := v.lease.Hub().Tracks()
	v.mu.Lock()
	v.epoch, v.replan = epoch, cancel
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.replan = nil
	}()
	video, release, err := v.pickVideo(ctx, tracks)
	if err != nil {
		return cause(ctx, err)
	}
	defer release()
	sound, quiet, err := v.pickSound(ctx, tracks)
	if err != nil {
		return cause(ctx, err)
	}
	defer quiet()
	p := &pump{v: v, video: video, sound: sound, epoch: epoch, since: time.Now()}
	return cause(ctx, p.run(ctx))
}

// cause prefers why a context has ended to that it has.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// pickVideo chooses what the client can take: the camera's own video, or the
// H.264 that is derived from it.
func (v *viewer) pickVideo(ctx context.Context, tracks media.Tracks) (*feed, func(), error) {
	i := tracks.Video()
	if i < 0 {
		v.setProblem(fmt.Errorf("camera %q sends sound only", v.camera.ID()))
		<-ctx.Done() // until the camera has other tracks
		return nil, nil, context.Cause(ctx)
	}
	if slices.Contains(v.wish.video, tracks[i].Codec) {
		v.setProblem(nil)
		return &feed{v.camera, i, tracks[i]}, func() {}, nil
	}
	l, err := v.camera.LeaseDerived(v.h.opts.H264, "")
	if err != nil {
		return nil, nil, troubleError{err}
	}
	// The stream fails for itself, and would be waited for without a word.
	for {
		wctx, cancel := context.WithTimeout(ctx, retry)
		ts, err := l.Hub().WaitTracks(wctx)
		cancel()
		switch i := ts.Video(); {
		case err == nil && i >= 0:
			v.setProblem(nil)
			return &feed{l.Stream(), i, ts[i]}, l.Release, nil
		case ctx.Err() != nil || errors.Is(err, hub.ErrClosed):
			l.Release()
			if ctx.Err() == nil {
				err = troubleError{err} // the derived stream only, or it is told next time
			}
			return nil, nil, err
		}
		if why := l.Stream().Info().Reason; why != "" {
			v.setProblem(errors.New(why))
		}
	}
}

// pickSound chooses the sound, where it is wanted and heard.
func (v *viewer) pickSound(ctx context.Context, tracks media.Tracks) (*feed, func(), error) {
	nothing := func() {}
	v.mu.Lock()
	wanted := v.sound
	v.mu.Unlock()
	i := tracks.Audio()
	if !wanted || i < 0 {
		return nil, nothing, nil
	}
	t := tracks[i]
	if slices.Contains(v.wish.audio, t.Codec) {
		f := &feed{v.camera, i, t}
		if _, err := audioCodec(t); err != nil || !heard(ctx, f) {
			return nil, nothing, ctx.Err()
		}
		return f, nothing, nil
	}
	if t.Codec != media.AAC && t.Codec != media.L16 || !slices.Contains(v.wish.audio, media.Opus) {
		return nil, nothing, nil // telephone sound: no browser plays it out of an MP4
	}
	l, err := v.camera.LeaseDerived(v.h.opts.Opus, "")
	if err != nil {
		return nil, nothing, nil //nolint:nilerr // the picture comes without
	}
	wctx, cancel := context.WithTimeout(ctx, retry)
	defer cancel()
	ts, err := l.Hub().WaitTracks(wctx)
	if j := ts.Audio(); err == nil && j >= 0 {
		f := &feed{l.Stream(), j, ts[j]}
		if heard(ctx, f) {
			return f, l.Release, nil
		}
	}
	l.Release()
	return nil, nothing, ctx.Err()
}

// heardWithin is how long sound that is said to be there may take to come. A
// buffer for sound that stays empty would hold up the picture.
const heardWithin = 500 * time.Millisecond

// heard reports whether packets of the track come. It looks from the newest key
// frame on, so it mostly knows at once; but what is old says nothing of now.
func heard(ctx context.Context, f *feed) bool {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	cur := f.stream.Hub().NewCursor(hub.CursorOptions{})
	for {
		x, err := cur.Next(ctx)
		if err != nil {
			return false
		}
		if x.Track == f.index && time.Since(x.Arrived) < heardWithin {
			return true
		}
	}
}

// misses reports whether packets of that codec are wanted, and can be sent as
// they are.
func (v *viewer) misses(t media.Track) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.sound || !slices.Contains(v.wish.audio, t.Codec) {
		return false
	}
	_, err := audioCodec(t)
	return err == nil
}

func (v *viewer) say(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return v.out.Send(websocket.MessageText, b, writeTimeout)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
