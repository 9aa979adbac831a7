// Package audio makes the stream "opus" that is derived from a camera whose
// sound no browser takes as it is: AAC, or the samples of a microphone
// (media.L16). Opus and G.711 need no help and are not touched.
//
// Like every derived stream it is a media.Source that leases its camera while
// it runs: nobody listens, nothing is decoded. Coded sound is decoded in a
// worker process; samples are harmless and are encoded here. Who listens, and
// how the packets travel, is not its business.
package audio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/media/worker"
)

// Name is the name of the derived stream.
const Name = "opus"

// Convertible reports whether the stream "opus" can be made of a track.
func Convertible(t media.Track) bool { return t.Codec == media.AAC || t.Codec == media.L16 }

// Options of a Converter.
type Options struct {
	// Log; default none.
	Log *slog.Logger
	// Worker says how the processes that decode AAC are run.
	Worker worker.Options
}

// Converter makes derived streams. It is for any goroutine, and holds nothing
// that would have to be closed once its sources have returned.
type Converter struct {
	log       *slog.Logger
	worker    worker.Options
	available func() error
	start     func(context.Context, worker.Options) (engine, error)
	maxLag    time.Duration // how far behind one may fall before leaving sound out
}

// engine is the part of *worker.Worker that is used here.
type engine interface {
	SetInput(media.Track) error
	FeedWait(ctx context.Context, f *media.Frame, want bool) error
	Results() <-chan worker.Result
	Err() error
	Close() error
}

// New returns a Converter.
func New(o Options) *Converter {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Converter{
		log: o.Log, worker: o.Worker, available: worker.Available, maxLag: maxLag,
		start: func(ctx context.Context, o worker.Options) (engine, error) { return worker.Start(ctx, o) },
	}
}

// Derive returns the source of the parent's stream "opus": 48 kHz, packets of
// 20 ms, one or two channels. PTS and Captured are those of the camera's own
// tracks. Its Run fails while the camera has no sound that could be converted,
// and in a build without cgo for AAC; the error says so.
func (c *Converter) Derive(parent *stream.Stream) (media.Source, error) {
	if parent == nil {
		return nil, errors.New("there is no camera to make Opus of")
	}
	return &source{c: c, parent: parent}, nil
}

// errChanged ends a session because the camera's sound has become another.
var errChanged = errors.New("the camera's sound has changed")

const (
	// stale is how old a frame may be when the stream begins: the hub keeps
	// the sound of a whole group of pictures, which nobody wants to hear.
	stale = 500 * time.Millisecond
	// maxLag is how far behind the camera a stream may fall.
	maxLag = 2 * time.Second
)

// source is one derived stream.
type source struct {
	c      *Converter
	parent *stream.Stream

	last uint64 // Seq of the newest frame that was used, plus 1
}

// Run delivers until ctx is done.
func (s *source) Run(ctx context.Context, sink media.Sink) error {
	lease, err := s.parent.LeaseInternal()
	if err != nil {
		return err
	}
	defer lease.Release()
	for {
		err := s.session(ctx, sink)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, errChanged):
			return fmt.Errorf("camera %q, %s: %w", s.parent.ID(), Name, err)
		}
	}
}

// session converts one kind of sound.
func (s *source) session(ctx context.Context, sink media.Sink) error {
	tracks, err := s.parent.Hub().WaitTracks(ctx)
	if err != nil {
		return err
	}
	_, t, err := find(tracks)
	if err != nil {
		return err
	}
	if t.Codec == media.AAC {
		return s.decode(ctx, t, sink)
	}
	p := newPacker(sink)
	return s.read(ctx, t, func(f *media.Frame) error { return p.add(rawBlock(t, f)) })
}

// find returns the track to convert.
func find(ts media.Tracks) (int, media.Track, error) {
	for i, t := range ts {
		if Convertible(t) {
			return i, t, nil
		}
	}
	if i := ts.Audio(); i >= 0 {
		return 0, media.Track{}, fmt.Errorf("the camera's sound is %s already and is not converted", ts[i].Codec)
	}
	return 0, media.Track{}, errors.New("the camera has no sound")
}

// read gives the frames of the track to fn until that fails, ctx is done or
// the track is another.
func (s *source) read(ctx context.Context, t media.Track, fn func(*media.Frame) error) error {
	c := s.parent.Hub().NewCursor(hub.CursorOptions{MaxLag: s.c.maxLag})
	live := false
	for {
		f, err := c.Next(ctx)
		if err != nil {
			return err
		}
		i, now, err := find(c.Tracks())
		if err != nil {
			return err
		}
		if !now.Equal(t) || !sameParams(now, t) {
			return errChanged
		}
		if f.Track != i || f.Seq < s.last || !live && time.Since(f.Arrived) > stale {
			continue
		}
		live, s.last = true, f.Seq+1
		if err := fn(f); err != nil {
			return err
		}
	}
}

func sameParams(a, b media.Track) bool {
	if len(a.Params) == 0 || len(b.Params) == 0 {
		return len(a.Params) == len(b.Params)
	}
	return bytes.Equal(a.Params[0], b.Params[0])
}
