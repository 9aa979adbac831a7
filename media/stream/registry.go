// Package stream is the registry of cameras and the supervisor of their
// sources: it starts them when they are wanted, retries for ever, counts, and
// tells their state. It knows no protocol; sources are handed to it, and
// whoever wants to watch takes a lease.
package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"sort"
	"sync"

	"camwire/media"
	"camwire/media/hub"
)

// Errors of the registry.
var (
	ErrUnknown = errors.New("no such camera")
	ErrExists  = errors.New("a camera with this id exists already")
	ErrBadID   = errors.New("a camera id is 1 to 64 letters, digits, _ or -")
	ErrFull    = errors.New("too many cameras")
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID reports whether id may name a camera.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Config of a registry.
type Config struct {
	Log *slog.Logger
	// Derive makes the source of a derived stream ("jpeg", "h264", …) that
	// leases its parent while it runs.
	Derive func(parent *Stream, name string) (media.Source, error)
	// MaxStreams bounds the cameras that publishers can create; default 256.
	MaxStreams int
	// Hub options of every stream.
	Hub hub.Options
}

// Registry holds the cameras.
type Registry struct {
	log        *slog.Logger
	derive     func(*Stream, string) (media.Source, error)
	max        int
	hubOptions hub.Options
	ctx        context.Context
	cancel     context.CancelFunc

	mu      sync.RWMutex
	streams map[string]*Stream
	closed  bool
}

// New returns an empty registry. Close it to stop everything.
func New(c Config) *Registry {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Derive == nil {
		c.Derive = func(_ *Stream, name string) (media.Source, error) {
			return nil, fmt.Errorf("this build cannot make %s", name)
		}
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 256
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Registry{
		log: c.Log, derive: c.Derive, max: c.MaxStreams, hubOptions: c.Hub,
		ctx: ctx, cancel: cancel, streams: map[string]*Stream{},
	}
}

// Add registers a camera and starts it if it is not on demand.
func (r *Registry) Add(id string, o Options) (*Stream, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("camera %q: %w", id, ErrBadID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if r.streams[id] != nil {
		return nil, fmt.Errorf("camera %q: %w", id, ErrExists)
	}
	s := newStream(r, nil, id, o)
	r.streams[id] = s
	return s, nil
}

// Update changes a camera's options. With restart its source is replaced by
// o.Source; without, the running source stays and no viewer notices.
func (r *Registry) Update(id string, o Options, restart bool) error {
	s, err := r.Get(id)
	if err != nil {
		return err
	}
	s.update(o, restart)
	return nil
}

// Remove stops a camera, ends its viewers and forgets it.
func (r *Registry) Remove(id string) error {
	r.mu.Lock()
	s := r.streams[id]
	delete(r.streams, id)
	r.mu.Unlock()
	if s == nil {
		return fmt.Errorf("camera %q: %w", id, ErrUnknown)
	}
	s.close()
	return nil
}

// Get returns a camera. The error wraps ErrBadID or ErrUnknown.
func (r *Registry) Get(id string) (*Stream, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("camera %q: %w", id, ErrBadID)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s := r.streams[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("camera %q: %w", id, ErrUnknown)
}

// List returns all cameras sorted by id.
func (r *Registry) List() []*Stream {
	r.mu.RLock()
	defer r.mu.RUnlock()
	l := make([]*Stream, 0, len(r.streams))
	for _, s := range r.streams {
		l = append(l, s)
	}
	sort.Slice(l, func(i, j int) bool { return l[i].id < l[j].id })
	return l
}

// Close stops all cameras at the same time and waits for them.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	all := r.streams
	r.streams = map[string]*Stream{}
	r.mu.Unlock()
	r.cancel()
	for _, s := range all {
		s.close()
	}
}

func stack() string { return string(debug.Stack()) }
