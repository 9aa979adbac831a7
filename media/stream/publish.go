package stream

import (
	"errors"
	"fmt"
	"sync"

	"camwire/media"
	"camwire/media/codec"
)

// PublishOptions describe a publisher.
type PublishOptions struct {
	// Type is the source_type while it publishes: rtsp, webrtc, mobile, …
	Type string
	// Location says where it comes from, for people.
	Location string
	// RequestKey asks the publisher for a key frame; may be nil.
	RequestKey func()
	// Low is a second, smaller rendering that the publisher sends of the same
	// pictures (simulcast), for viewers whose link cannot carry the first one;
	// nil if there is none.
	Low media.Source
	// Takeover ends the publication that holds the camera, if there is one,
	// instead of being refused.
	Takeover bool
	// Yields reports whether any other publisher may take over now; nil: none
	// may. It must not block.
	Yields func() bool
	// Ended is called once when the publication is ended by somebody else:
	// the camera was removed, or taken over. It must not block. May be nil.
	Ended func(error)
}

// Publication is the Sink of somebody who pushes a stream to us. Start and
// Write are for one goroutine at a time; Close for any.
type Publication struct {
	s    *Stream
	opts PublishOptions
	norm *codec.Normalizer
	live bool // under s.mu
	once sync.Once

	mu    sync.Mutex // orders writes and the end
	ended bool
}

// Publish makes the camera's frames come from the caller. An unknown id
// becomes a new camera, which stays in the list, lost, when the publisher
// leaves, so that viewers can wait for it. The error wraps ErrBadID,
// ErrNotPushable, ErrPublished, ErrDisabled or ErrFull.
func (r *Registry) Publish(id string, o PublishOptions) (*Publication, error) {
	s, err := r.Get(id)
	if errors.Is(err, ErrUnknown) {
		r.mu.RLock()
		n := len(r.streams)
		r.mu.RUnlock()
		if n >= r.max {
			return nil, fmt.Errorf("camera %q: %w", id, ErrFull)
		}
		if s, err = r.Add(id, Options{Type: o.Type}); errors.Is(err, ErrExists) {
			s, err = r.Get(id)
		}
	}
	if err != nil {
		return nil, err
	}
	p := &Publication{s: s, opts: o}
	p.norm = codec.NewNormalizer(published{p})
	for {
		before, err := s.attach(p)
		if err == nil {
			return p, nil
		}
		if before == nil || !o.Takeover && (before.opts.Yields == nil || !before.opts.Yields()) {
			return nil, err
		}
		before.end(ErrTakenOver)
		o.Takeover = false // two that take over must not chase each other
	}
}

// attach makes p the camera's publication, or tells which one is.
func (s *Stream) attach(p *Publication) (*Publication, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, fmt.Errorf("camera %q: %w", s.id, ErrClosed)
	case s.opts.Disabled:
		return nil, fmt.Errorf("camera %q: %w", s.id, ErrDisabled)
	case s.opts.Source != nil:
		return nil, fmt.Errorf("camera %q: %w", s.id, ErrNotPushable)
	case s.pub != nil:
		return s.pub, fmt.Errorf("camera %q: %w", s.id, ErrPublished)
	}
	s.pub = p
	s.opts.Type, s.opts.Location = p.opts.Type, p.opts.Location
	s.noteState()
	return nil, nil
}

// Free reports whether somebody could publish to the camera now without being
// told to take over.
func (s *Stream) Free() bool {
	s.mu.Lock()
	pub, can := s.pub, !s.closed && !s.opts.Disabled && s.opts.Source == nil
	s.mu.Unlock()
	return can && (pub == nil || pub.opts.Yields != nil && pub.opts.Yields())
}

// Low returns the smaller rendering that the camera's publisher sends beside
// the main one, or nil.
func (s *Stream) Low() media.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pub == nil {
		return nil
	}
	return s.pub.opts.Low
}

var _ media.Sink = (*Publication)(nil)

// Start tells the tracks.
func (p *Publication) Start(ts media.Tracks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.norm.Start(ts)
	}
}

// Write hands over a frame. After the end it is dropped.
func (p *Publication) Write(f *media.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.norm.Write(f)
	}
}

// Close ends the publication; viewers keep waiting for the next one.
func (p *Publication) Close() {
	p.once.Do(func() { p.finish() })
}

func (p *Publication) end(err error) {
	first := false
	p.once.Do(func() {
		p.finish()
		first = true
	})
	// Outside: who is told may well call Close.
	if first && p.opts.Ended != nil {
		p.opts.Ended(err)
	}
}

func (p *Publication) finish() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.pub = nil
	p.s.noteState()
}

// published is the sink behind a publication's normalizer.
type published struct{ p *Publication }

func (x published) Start(ts media.Tracks) {
	x.p.s.log.Debug("tracks", "tracks", ts.String())
	x.p.s.hub.Start(ts)
}

func (x published) Write(f *media.Frame) { x.p.s.write(f, x.p) }
