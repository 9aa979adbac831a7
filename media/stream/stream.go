package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/hub"
)

// State is what a stream is doing.
type State string

// States of a stream. Failed is a stream that has never been live since it
// was last wanted, Lost one that was.
const (
	Idle       State = "idle"       // on demand, nobody is watching
	Connecting State = "connecting" // wanted, no frame yet
	Live       State = "live"
	Lost       State = "lost"
	Failed     State = "failed"
	Disabled   State = "disabled"
)

// keyInterval bounds how often a source is asked for a key frame.
const keyInterval = 500 * time.Millisecond

// Options describe a stream.
type Options struct {
	// Name is for people; default the id.
	Name string
	// Type is the source_type of the API: usb, rtsp, http, webrtc, test, …
	Type string
	// Location is the source as it may be shown, secrets masked.
	Location string
	// Source is what feeds the stream; nil for one that others publish to.
	Source media.Source
	// OnDemand runs the source only while somebody holds a lease.
	OnDemand bool
	// Linger is how long an on-demand source outlives the last lease;
	// default 10 s.
	Linger time.Duration
	// Disabled keeps the entry without starting it.
	Disabled bool
	// JPEG caps and sets the JPEG outputs: pixels, frames per second, and
	// quality 1 to 100. Zero: as the source has it, quality 75.
	Width, Height, Quality int
	FPS                    float64
}

// Info is a snapshot of a stream for APIs and logs.
type Info struct {
	ID, Name, Type, Location string
	State                    State
	Reason                   string // why it is lost or failed
	Since                    time.Time
	Tracks                   media.Tracks // nil while unknown
	FPS                      float64
	Bitrate                  int // bit/s
	Frames, Bytes            uint64
	LastFrame                time.Time // zero: never had one
	LastSize                 int       // bytes
	Restarts                 uint64
	Viewers                  map[string]int // leases by kind
}

// Stream is one camera, or one stream derived from a camera. All methods may
// be called from any goroutine.
type Stream struct {
	id     string
	reg    *Registry
	parent *Stream // nil for a camera
	log    *slog.Logger
	hub    *hub.Hub
	stats  stats
	rates  rates

	mu       sync.Mutex
	opts     Options
	policy   *policy
	since    time.Time
	state    State
	meter    meter
	last     time.Time
	lastSize int
	restarts uint64
	viewers  map[string]int
	derived  map[string]*Stream
	pub      *Publication
	keyAt    time.Time
	closed   bool
	restart  bool // the running source is to be replaced

	poke   chan struct{} // something that the supervisor must look at
	cancel context.CancelFunc
	done   chan struct{} // closed when supervise has returned
}

func newStream(r *Registry, parent *Stream, id string, o Options) *Stream {
	if o.Name == "" {
		o.Name = id
	}
	ctx, cancel := context.WithCancel(r.ctx)
	s := &Stream{
		id: id, reg: r, parent: parent, opts: o,
		log:     r.log.With("camera", id),
		hub:     hub.New(r.hubOptions),
		policy:  newPolicy(o.OnDemand, o.Linger),
		since:   time.Now(),
		viewers: map[string]int{},
		derived: map[string]*Stream{},
		poke:    make(chan struct{}, 1),
		cancel:  cancel,
		done:    make(chan struct{}),
	}
	s.state, _ = s.currentState()
	go s.supervise(ctx)
	return s
}

// ID returns the camera's id, or "<id>/<name>" of a derived stream.
func (s *Stream) ID() string { return s.id }

// Options returns how the stream is set up now.
func (s *Stream) Options() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts
}

// Hub returns the ring to read from. Hold a lease while reading.
func (s *Stream) Hub() *hub.Hub { return s.hub }

// Info returns a snapshot.
func (s *Stream) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, why := s.currentState()
	fps, bps := s.meter.rates(time.Now())
	ts, _ := s.hub.Tracks()
	v := make(map[string]int, len(s.viewers))
	for k, n := range s.viewers {
		v[k] = n
	}
	for _, d := range s.derived {
		d.mu.Lock()
		for k, n := range d.viewers {
			v[k] += n
		}
		d.mu.Unlock()
	}
	delete(v, internalLease)
	return Info{
		ID: s.id, Name: s.opts.Name, Type: s.opts.Type, Location: s.opts.Location,
		State: st, Reason: why, Since: s.since, Tracks: ts, FPS: fps, Bitrate: bps,
		Frames: s.meter.frames, Bytes: s.meter.bytes, LastFrame: s.last, LastSize: s.lastSize,
		Restarts: s.restarts, Viewers: v,
	}
}

// currentState is called with the lock held.
func (s *Stream) currentState() (State, string) {
	switch {
	case s.opts.Disabled:
		return Disabled, ""
	case s.opts.Source != nil:
		return s.policy.state()
	case s.pub != nil && s.pub.live:
		return Live, ""
	case s.pub != nil:
		return Connecting, ""
	case s.last.IsZero():
		return Connecting, "waiting for a publisher"
	default:
		return Lost, "the publisher has left"
	}
}

// noteState logs a change of state. The caller holds the lock.
func (s *Stream) noteState() {
	st, why := s.currentState()
	if st == s.state {
		return
	}
	s.state, s.since = st, time.Now()
	lvl := slog.LevelInfo
	if st == Lost || st == Failed {
		lvl = slog.LevelWarn
	}
	if s.parent != nil {
		lvl = min(lvl, slog.LevelDebug)
		if st == Failed || st == Lost {
			lvl = slog.LevelWarn
		}
	}
	attrs := []any{"state", string(st)}
	if why != "" {
		attrs = append(attrs, "reason", why)
	}
	s.log.Log(context.Background(), lvl, "camera "+string(st), attrs...)
}

// attempt is one run of a source.
type attempt struct {
	cancel   context.CancelFunc
	exited   chan error
	stopping bool // it was told to end: its error means nothing
}

// begin starts the source. The caller holds the lock.
func (s *Stream) begin(ctx context.Context, src media.Source) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{cancel: cancel, exited: make(chan error, 1)}
	norm := codec.NewNormalizer(pulled{s})
	go func() { a.exited <- s.runGuarded(ctx, src, norm) }()
	return a
}

// supervise owns the source: it starts it, waits for it, and starts it again.
func (s *Stream) supervise(ctx context.Context) {
	defer close(s.done)
	defer s.hub.Close()
	defer s.cancel()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var now *attempt
	for {
		s.mu.Lock()
		run, again := false, time.Time{}
		if s.opts.Source != nil && !s.opts.Disabled && ctx.Err() == nil {
			run, again = s.policy.decide(time.Now())
		}
		if now == nil {
			s.restart = false
			if run {
				s.policy.started()
				now = s.begin(ctx, s.opts.Source)
			}
		} else if !run || s.restart {
			now.stopping = true
			now.cancel()
		}
		if now == nil && !run && s.opts.OnDemand && s.policy.leases == 0 {
			s.hub.Clear() // nothing old for the next viewer
		}
		if ctx.Err() == nil {
			s.noteState() // a camera that is taken away has no state
		}
		unused := s.parent != nil && now == nil && s.policy.leases == 0 && !s.policy.idleSince.IsZero()
		s.mu.Unlock()
		if now == nil && (ctx.Err() != nil || unused && s.parent.forget(s)) {
			return
		}
		ctxDone, exited := ctx.Done(), chan error(nil)
		if now != nil {
			exited = now.exited
			if ctx.Err() != nil {
				ctxDone = nil // only the source's own end is left to wait for
			}
		}
		wait := time.Hour
		if !again.IsZero() {
			wait = max(time.Until(again), 0)
		}
		timer.Reset(wait)
		select {
		case <-ctxDone:
		case <-s.poke:
		case <-timer.C:
		case err := <-exited:
			now.cancel()
			s.sourceExited(err, now.stopping || ctx.Err() != nil)
			now = nil
		}
	}
}

func (s *Stream) sourceExited(err error, asked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked {
		s.policy.stopped()
		return
	}
	why := "source ended"
	if err != nil {
		why = err.Error()
	}
	s.restarts++
	s.policy.exited(time.Now(), why)
}

// runGuarded turns a panic in a source into an error of that source.
func (s *Stream) runGuarded(ctx context.Context, src media.Source, sink media.Sink) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("source crashed: %v", p)
			s.log.ErrorContext(ctx, "source crashed", "panic", p, "stack", stack())
		}
	}()
	return src.Run(ctx, sink)
}

// pulled is the sink behind a pulled source's normalizer.
type pulled struct{ s *Stream }

func (p pulled) Start(ts media.Tracks) {
	p.s.log.Debug("tracks", "tracks", ts.String())
	p.s.hub.Start(ts)
}

func (p pulled) Write(f *media.Frame) { p.s.write(f, nil) }

// write counts a frame and hands it to the hub.
func (s *Stream) write(f *media.Frame, pub *Publication) {
	if f.Arrived.IsZero() {
		f.Arrived = time.Now()
	}
	size := f.Size()
	s.mu.Lock()
	ts, _ := s.hub.Tracks()
	leading := f.Track < len(ts) && (!ts[f.Track].Codec.Audio() || ts.Video() < 0)
	s.meter.add(f.Arrived, size, leading)
	if leading {
		s.last, s.lastSize = f.Arrived, size
	}
	if pub != nil {
		if !pub.live {
			pub.live = true
			s.noteState()
		}
	} else if s.policy.liveSince.IsZero() && s.policy.running {
		s.policy.live(f.Arrived)
		s.noteState()
	}
	s.mu.Unlock()
	s.hub.Write(f)
}

// RequestKey asks the source for a key frame, if it can deliver one on
// demand, at most once per 500 ms.
func (s *Stream) RequestKey() {
	s.mu.Lock()
	now := time.Now()
	if now.Sub(s.keyAt) < keyInterval {
		s.mu.Unlock()
		return
	}
	s.keyAt = now
	src, pub := s.opts.Source, s.pub
	s.mu.Unlock()
	if k, ok := src.(media.KeyRequester); ok {
		k.RequestKey()
	}
	if pub != nil && pub.opts.RequestKey != nil {
		pub.opts.RequestKey()
	}
}

// CanRequestKey reports whether the source can deliver a key frame on demand.
func (s *Stream) CanRequestKey() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pub != nil {
		return s.pub.opts.RequestKey != nil
	}
	_, ok := s.opts.Source.(media.KeyRequester)
	return ok
}

func (s *Stream) wakeUp() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// update changes how the stream is set up. Viewers stay; the source is
// replaced only where restart says so.
func (s *Stream) update(o Options, restart bool) {
	s.mu.Lock()
	if o.Name == "" {
		o.Name = s.id
	}
	if !restart {
		o.Source = s.opts.Source
	} else {
		s.policy.forgive()
	}
	was := s.opts
	again := restart || was.Width != o.Width || was.Height != o.Height || was.FPS != o.FPS || was.Quality != o.Quality
	s.opts = o
	s.policy.onDemand = o.OnDemand
	if o.Linger > 0 {
		s.policy.linger = o.Linger
	}
	s.restart = s.restart || restart
	derived := make([]*Stream, 0, len(s.derived))
	for _, d := range s.derived {
		derived = append(derived, d)
	}
	s.mu.Unlock()
	s.wakeUp()
	if !again {
		return // a new name is nothing to the pictures
	}
	for _, d := range derived {
		d.mu.Lock()
		d.restart = true
		d.mu.Unlock()
		d.wakeUp()
	}
}

// close stops the source and ends all readers, and waits for both.
func (s *Stream) close() {
	s.mu.Lock()
	s.closed = true
	derived := make([]*Stream, 0, len(s.derived))
	for _, d := range s.derived {
		derived = append(derived, d)
	}
	pub := s.pub
	s.mu.Unlock()
	if pub != nil {
		pub.end(errors.New("camera removed"))
	}
	for _, d := range derived {
		d.close()
	}
	s.cancel()
	<-s.done
}
