package stream

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"camwire/media/hub"
)

// maxDerived bounds the variants of one camera (names with a "-": JPEG of a
// certain size), so that nobody can make the server encode hundreds of them.
// Streams without a variant are few and always to be had.
const maxDerived = 12

const derivedLinger = time.Second

// internalLease is the kind of lease that a derived stream holds on its
// parent; it is no viewer.
const internalLease = ""

// Errors of leases and publications.
var (
	ErrClosed      = errors.New("camera removed")
	ErrTooMany     = errors.New("too many different sizes of this camera are in use: use one that others use too")
	ErrNotPushable = errors.New("the camera has a source of its own: nothing can be published to it")
	ErrPublished   = errors.New("somebody publishes to this camera already")
	ErrTakenOver   = errors.New("another publisher has taken over this camera")
	ErrDisabled    = errors.New("the camera is disabled in the configuration")
)

// Lease keeps a stream running. Release it exactly when done; it may be
// released twice.
type Lease struct {
	s    *Stream
	kind string
	// stats are those of the camera, for this kind of lease.
	stats *kindStats
	once  sync.Once
	rate  leaseRate
}

// Lease takes a lease. Kind names the sort of viewer for the statistics:
// webrtc, mjpeg, snapshot, rtsp, ws, …
func (s *Stream) Lease(kind string) (*Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaseLocked(kind)
}

func (s *Stream) leaseLocked(kind string) (*Lease, error) {
	if s.closed {
		return nil, fmt.Errorf("camera %q: %w", s.id, ErrClosed)
	}
	if s.opts.Disabled {
		return nil, fmt.Errorf("camera %q: %w", s.id, ErrDisabled)
	}
	s.viewers[kind]++
	s.policy.lease(time.Now(), 1)
	s.wakeUp()
	return &Lease{s: s, kind: kind, stats: s.camera().stats.of(kind)}, nil
}

// LeaseInternal takes a lease that does not count as a viewer: for a stream
// derived from this one.
func (s *Stream) LeaseInternal() (*Lease, error) { return s.Lease(internalLease) }

// LeaseDerived takes a lease of the stream that the registry's Derive makes
// out of this one under that name, and makes it if nobody uses it yet.
func (s *Stream) LeaseDerived(name, kind string) (*Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("camera %q: %w", s.id, ErrClosed)
	}
	if s.opts.Disabled {
		return nil, fmt.Errorf("camera %q: %w", s.id, ErrDisabled)
	}
	d := s.derived[name]
	if d == nil {
		if strings.Contains(name, "-") && s.variants() >= maxDerived {
			return nil, fmt.Errorf("camera %q: %w", s.id, ErrTooMany)
		}
		src, err := s.reg.derive(s, name)
		if err != nil {
			return nil, fmt.Errorf("camera %q: %w", s.id, err)
		}
		o := Options{Type: "derived", Source: src, OnDemand: true}
		if s.opts.OnDemand {
			o.Linger = derivedLinger // the camera's own linger follows it
		}
		d = newStream(s.reg, s, s.id+"/"+name, o)
		s.derived[name] = d
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leaseLocked(kind)
}

// variants counts the derived streams that are bounded. The caller holds the lock.
func (s *Stream) variants() int {
	n := 0
	for name := range s.derived {
		if strings.Contains(name, "-") {
			n++
		}
	}
	return n
}

// forget drops a derived stream that nobody leases. It reports false when
// somebody took a lease in the meantime.
func (s *Stream) forget(d *Stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.policy.leases > 0 {
		return false
	}
	d.closed = true
	for name, x := range s.derived {
		if x == d {
			delete(s.derived, name)
		}
	}
	return true
}

// Release gives the lease back.
func (l *Lease) Release() {
	l.once.Do(func() {
		l.s.mu.Lock()
		l.s.policy.lease(time.Now(), -1)
		if l.s.viewers[l.kind]--; l.s.viewers[l.kind] == 0 {
			delete(l.s.viewers, l.kind)
		}
		l.s.mu.Unlock()
		l.s.wakeUp()
		l.forgetRate()
	})
}

// Stream returns the leased stream.
func (l *Lease) Stream() *Stream { return l.s }

// Hub returns the ring to read from.
func (l *Lease) Hub() *hub.Hub { return l.s.hub }

// RequestKey asks the source for a key frame.
func (l *Lease) RequestKey() { l.s.RequestKey() }
