// Package device takes in cameras that are plugged in: it finds the one that
// is meant, chooses a mode, and reads pictures from it as the camera makes
// them, H.264 and MJPEG untouched, raw ones as planes (Source). List tells
// which cameras there are.
//
// It neither decodes nor encodes, does not retry (package stream does), and
// knows no configuration.
package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/device/v4l2"
)

// Options of a Source.
type Options struct {
	// Source says which camera: the number N of /dev/videoN (or, where that
	// captures nothing, the N-th camera), a path below /dev, or "usb:" and
	// the serial, vid:pid, vid:pid:serial, port or name.
	Source string
	// Width and Height in pixels and FPS in frames per second ask for a
	// mode. Zero leaves it open: up to 1280x720 at 30.
	Width, Height int
	FPS           float64
	// Microphone gives the camera its sound: "" and "auto" that of the same
	// USB device, if it has one, "off" none, "hw:1,0" device 0 of card 1.
	Microphone string
	// Silence is how long the camera may deliver no picture before it counts
	// as hung; default 3 s, or three pictures where they come more slowly.
	Silence time.Duration
	// Log; default none.
	Log *slog.Logger
}

// buffers is how many pictures the driver may have in hand. Two would do for
// reading at once; four survive a moment in which nobody reads.
const buffers = 4

// maxFPS bounds what may be asked for.
const maxFPS = 1000

// Source reads one camera. It is a media.Source; Run may be called again when
// it has returned.
type Source struct {
	opts   Options
	ref    ref
	system *system
	origin time.Time // of PTS where the driver tells no time

	mu   sync.Mutex
	last identity // the camera that delivered last
	// lastLabel is the same where V4L2 is not.
	lastLabel string
	past      Stats // of the runs that have ended
	stats     Stats // of this one
}

var _ media.Source = (*Source)(nil)

// New checks the options; it does not look for the camera.
func New(o Options) (*Source, error) { return newSource(o, localSystem()) }

func newSource(o Options, sys *system) (*Source, error) {
	r, err := parseRef(o.Source)
	if err != nil {
		return nil, err
	}
	if o.Width < 0 || o.Height < 0 || o.Width > 1<<14 || o.Height > 1<<14 {
		return nil, fmt.Errorf("camera %q: width and height are 0 to %d, not %dx%d", o.Source, 1<<14, o.Width, o.Height)
	}
	if !(o.FPS >= 0 && o.FPS <= maxFPS) {
		return nil, fmt.Errorf("camera %q: fps is 0 to %d, not %g", o.Source, maxFPS, o.FPS)
	}
	if err := checkMicrophone(o.Microphone); err != nil {
		return nil, fmt.Errorf("camera %q: %w", o.Source, err)
	}
	if o.Silence <= 0 {
		o.Silence = 3 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{opts: o, ref: r, system: sys, origin: time.Now()}, nil
}

// Run reads the camera until ctx is done, which returns nil, or fails, which
// returns an *Error. The camera is looked for anew at every call.
func (s *Source) Run(ctx context.Context, sink media.Sink) error {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if s.system.foreign != nil {
		return ifRunning(ctx, s.runForeign(ctx, sink))
	}
	if !s.system.supported {
		return &Error{Source: s.ref.text, Reason: ErrUnsupported, Text: "cannot be used: " + ErrUnsupported.Error()}
	}
	n, err := s.system.resolve(s.ref, last)
	if err != nil || ctx.Err() != nil {
		return ifRunning(ctx, err)
	}
	return ifRunning(ctx, s.system.explain(n, s.capture(ctx, n, sink)))
}

func ifRunning(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// capture opens, reads and closes the camera. It returns the kernel's errors.
func (s *Source) capture(ctx context.Context, n node, sink media.Sink) error {
	c, err := s.system.open(n.path)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	r, err := s.prepare(n, c)
	if err != nil {
		return err
	}
	// From here on the end of ctx is noticed at once; what comes before are
	// short questions to the driver.
	stop := context.AfterFunc(ctx, c.Interrupt)
	defer stop()
	if err := c.Start(buffers); err != nil {
		return err
	}
	s.opts.Log.Debug("camera opened", "path", n.path, "name", n.label(), "format", r.layout.FourCC.String(),
		"width", r.layout.Width, "height", r.layout.Height, "fps", r.track.FPS)
	sink, quiet := s.startWithSound(ctx, n, r, sink)
	defer quiet()
	r.counted = func(stats Stats) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stats = stats; stats.Delivered > 0 {
			s.last = n.identity()
		}
	}
	err = r.run(ctx, sink)
	s.mu.Lock()
	s.past, s.stats = s.past.plus(r.stats), Stats{}
	s.mu.Unlock()
	s.opts.Log.Debug("camera closed", "path", n.path, "stats", r.stats)
	return err
}

// prepare sets up the mode.
func (s *Source) prepare(n node, c camera) (*reader, error) {
	wish := v4l2.Wish{Width: s.opts.Width, Height: s.opts.Height, Rate: s.opts.FPS}
	formats, err := c.Formats(wish)
	if err != nil {
		return nil, err
	}
	m, ok := choose(formats, wish)
	if !ok {
		return nil, noMode(n, formats)
	}
	layout, err := c.SetFormat(m.fourCC, m.width, m.height)
	if err != nil {
		return nil, err
	}
	fps, err := c.SetRate(m.rate)
	if err != nil {
		// Some cameras stall on it and deliver all the same; one that is
		// gone says so again.
		s.opts.Log.Info("camera does not take a rate", "path", n.path, "rate", m.rate, "reason", err)
	}
	track, ok := trackOf(layout, fps)
	if !ok {
		return nil, noMode(n, []v4l2.Format{{FourCC: layout.FourCC}})
	}
	if m.width != layout.Width || m.height != layout.Height || m.fourCC != layout.FourCC {
		s.opts.Log.Info("camera delivers another mode than it was asked for", "path", n.path,
			"asked", fmt.Sprintf("%v %dx%d", m.fourCC, m.width, m.height),
			"got", fmt.Sprintf("%v %dx%d", layout.FourCC, layout.Width, layout.Height))
	}
	silence := s.opts.Silence
	if fps > 0 {
		silence = max(silence, time.Duration(3/fps*float64(time.Second)))
	}
	return &reader{
		camera: c, node: n, layout: layout, track: track, silence: silence, log: s.opts.Log,
		now: time.Now, clock: anchor(time.Now, v4l2.Monotonic),
	}, nil
}

func noMode(n node, formats []v4l2.Format) error {
	text := "offers no picture format at all"
	if len(formats) > 0 {
		text = "offers none of H.264, MJPEG, YUYV, NV12 and I420, only"
		for i, f := range formats {
			if i == maxDescribed {
				break
			}
			text += " " + f.FourCC.String()
		}
	}
	return &Error{Source: n.path, Name: n.label(), Reason: ErrNoMode, Text: text}
}

// Stats counts what happened to pictures.
type Stats struct {
	Delivered uint64
	Damaged   uint64 // cut off, or known by the driver to lack data
	Late      uint64 // a newer one was there already
	Missed    uint64 // lost before they reached us, by the driver's count
}

func (a Stats) plus(b Stats) Stats {
	return Stats{a.Delivered + b.Delivered, a.Damaged + b.Damaged, a.Late + b.Late, a.Missed + b.Missed}
}

// Stats returns what has happened since New. It may be called from any
// goroutine.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past.plus(s.stats)
}

// reader is the loop of one Run.
type reader struct {
	camera  camera
	node    node
	layout  v4l2.Layout
	track   media.Track
	silence time.Duration
	log     *slog.Logger

	now     func() time.Time
	clock   kernelClock
	counted func(Stats) // after every picture

	stats    Stats
	sequence uint32
	seen     bool
	logged   time.Time
	told     uint64 // damaged pictures that have been logged
}

func (r *reader) run(ctx context.Context, sink media.Sink) error {
	alive := r.now()
	damaged := r.stats.Damaged
	for ctx.Err() == nil {
		b, err := r.camera.Read(r.silence - r.now().Sub(alive))
		switch {
		case errors.Is(err, v4l2.ErrInterrupted):
			return nil
		case errors.Is(err, v4l2.ErrTimeout):
			return r.silent(r.stats.Damaged - damaged)
		case err != nil:
			return err
		}
		if b, err = r.newest(b); err != nil {
			return err
		}
		f := r.frame(b)
		if err := r.camera.Release(b); err != nil {
			return err
		}
		now := r.now()
		if f == nil {
			r.counted(r.stats)
			r.complain(now)
			if now.Sub(alive) >= r.silence {
				return r.silent(r.stats.Damaged - damaged)
			}
			continue
		}
		alive, damaged = now, r.stats.Damaged
		r.stats.Delivered++
		r.counted(r.stats)
		sink.Write(f)
	}
	return nil
}

// newest gives back what is not the newest picture. Of H.264 every picture is
// needed for the next one, so none is left out.
func (r *reader) newest(b v4l2.Buffer) (v4l2.Buffer, error) {
	r.count(b)
	if !r.track.Codec.Intra() {
		return b, nil
	}
	for range buffers {
		next, ok, err := r.camera.TryRead()
		if err != nil || !ok {
			// The picture in hand is good, whatever came after it.
			return b, nil
		}
		r.count(next)
		drop := b
		switch {
		case next.Corrupt:
			drop = next
			r.stats.Damaged++
		case b.Corrupt:
			r.stats.Damaged++
		default:
			r.stats.Late++
		}
		if err := r.camera.Release(drop); err != nil {
			return b, err
		}
		if !next.Corrupt {
			b = next
		}
	}
	return b, nil
}

func (r *reader) count(b v4l2.Buffer) {
	if gap := b.Sequence - r.sequence - 1; r.seen && gap < 1<<31 {
		r.stats.Missed += uint64(gap)
	}
	r.seen, r.sequence = true, b.Sequence
}

// frame copies a picture; nil if it is damaged.
func (r *reader) frame(b v4l2.Buffer) *media.Frame {
	arrived := r.now()
	mono := r.clock.at(arrived)
	ok := !b.Corrupt
	var list [][]byte
	var key bool
	if ok {
		list, key, ok = units(r.layout, b.Data)
	}
	if !ok {
		r.stats.Damaged++
		return nil
	}
	f := &media.Frame{PTS: mono, Captured: arrived, Arrived: arrived, Key: key, Units: list}
	// Some drivers' clocks run ahead, or stand still: such times are worse
	// than none.
	if age := mono - b.Time; b.Time > 0 && age >= 0 && age < maxAge {
		f.PTS, f.Captured = b.Time, arrived.Add(-age)
	}
	return f
}

// maxAge is how old a picture can be when it arrives: all buffers at one
// frame per second.
const maxAge = 5 * time.Second

// silent says why no picture came.
func (r *reader) silent(damaged uint64) error {
	e := &Error{Source: r.node.path, Name: r.node.label(), Reason: ErrHangs}
	if damaged > 0 {
		e.Reason = ErrDamaged
		e.Text = fmt.Sprintf("has delivered damaged pictures only (%d) for %v: check cable and hub, or ask for a smaller width and height", damaged, r.silence)
		return e
	}
	e.Text = fmt.Sprintf("hangs: no picture for %v: check cable and hub, or plug it in again", r.silence)
	return e
}

// complain logs damaged pictures, once a second.
func (r *reader) complain(now time.Time) {
	if now.Sub(r.logged) < time.Second {
		return
	}
	r.log.Warn("camera delivers damaged pictures, they are left out", "path", r.node.path, "count", r.stats.Damaged-r.told)
	r.logged, r.told = now, r.stats.Damaged
}
