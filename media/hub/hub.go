// Package hub keeps the newest frames of one stream in a ring that any number
// of readers walk with a cursor of their own. There is no queue per reader:
// the producer writes once and never waits, a reader that is late finds out
// from its cursor and jumps. The hub does not know where frames come from or
// where they go.
package hub

import (
	"context"
	"errors"
	"sync"
	"time"

	"camwire/media"
)

// ErrClosed is returned to readers of a hub that will not deliver any more.
var ErrClosed = errors.New("hub: stream closed")

// Options of a hub. The zero value is ready to use.
type Options struct {
	// MaxBytes bounds the coded bytes that the ring holds; default 64 MiB.
	// A group of pictures that is larger cannot be replayed to a newcomer,
	// who then waits for the next key frame.
	MaxBytes int
	// Tail is how long frames older than the newest key frame are kept, so
	// that a reader a little late need not jump; default 500 ms. Of pictures
	// each of which is a key frame no more than four are kept, unless there is
	// sound beside them, which must have no gaps.
	Tail time.Duration
}

const (
	intraTail = 4
	// maxAge bounds a group of pictures in time: nobody wants to be sent a
	// minute of it, and with the video gone and the sound going on it would
	// have no end.
	maxAge = time.Minute
)

// Hub is a ring of frames. Start and Write may be called by one goroutine at a
// time, everything else by any.
type Hub struct {
	opts Options

	mu     sync.RWMutex
	ring   []*media.Frame // length is a power of two
	first  uint64         // sequence number of the oldest frame held
	next   uint64         // sequence number of the next frame
	bytes  int
	key    uint64 // newest key frame of the leading track, if hasKey
	hasKey bool
	closed bool
	wake   chan struct{} // closed and replaced at every write

	epoch   uint32
	tracks  media.Tracks
	lead    int  // track that decides about key frames: the video, or the first
	waitKey bool // nothing of the leading track is taken before a key frame

	started bool          // since the last Start no frame has come
	offset  time.Duration // added to the source's PTS
	lastPTS time.Duration
	lastArr time.Time
}

// New returns an empty hub.
func New(o Options) *Hub {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Tail <= 0 {
		o.Tail = 500 * time.Millisecond
	}
	return &Hub{opts: o, ring: make([]*media.Frame, 64), wake: make(chan struct{})}
}

var _ media.Sink = (*Hub)(nil)

// Start tells the tracks of the frames to come. A list that needs other
// decoders begins a new epoch and empties the ring; an equal one, as after a
// reconnect, leaves readers undisturbed. Frames before the first key frame
// are not taken: nobody could decode them.
func (h *Hub) Start(ts media.Tracks) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tracks == nil || !h.tracks.Equal(ts) {
		h.epoch++
		h.clear()
	}
	h.tracks = append(media.Tracks{}, ts...)
	h.lead = max(h.tracks.Video(), 0)
	h.waitKey = true
	h.started = true
	h.broadcast()
}

// Write adds a frame and wakes the readers. It never blocks.
func (h *Hub) Write(f *media.Frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || f.Track < 0 || f.Track >= len(h.tracks) {
		return
	}
	if f.Track == h.lead && h.waitKey {
		if !f.Key {
			return
		}
		h.waitKey = false
	}
	if f.Arrived.IsZero() {
		f.Arrived = time.Now()
	}
	if f.Captured.IsZero() {
		f.Captured = f.Arrived
	}
	h.rebase(f)
	f.Epoch, f.Seq = h.epoch, h.next
	if h.next-h.first == uint64(len(h.ring)) {
		h.grow()
	}
	h.ring[f.Seq&uint64(len(h.ring)-1)] = f
	h.next++
	h.bytes += f.Size()
	if f.Key && f.Track == h.lead {
		h.key, h.hasKey = f.Seq, true
	}
	h.evict(f.Arrived)
	h.broadcast()
}

// rebase keeps PTS on one clock over restarts of the source: a source begins
// anew at any number, viewers must see time go on.
func (h *Hub) rebase(f *media.Frame) {
	if h.started {
		h.started = false
		if !h.lastArr.IsZero() {
			want := h.lastPTS + f.Arrived.Sub(h.lastArr)
			if d := f.PTS + h.offset - want; d > time.Second || d < -time.Second || f.PTS+h.offset <= h.lastPTS {
				h.offset = want - f.PTS
			}
		}
	}
	f.PTS += h.offset
	if f.Track == h.lead {
		h.lastPTS, h.lastArr = f.PTS, f.Arrived
	}
}

func (h *Hub) evict(now time.Time) {
	lead := h.tracks[h.lead].Codec
	intra := lead.Intra() && !lead.Audio() && h.tracks.Audio() < 0
	for h.first < h.next-1 {
		old := h.ring[h.first&uint64(len(h.ring)-1)]
		switch {
		case h.bytes > h.opts.MaxBytes:
		case now.Sub(old.Arrived) > maxAge:
		case !h.hasKey || h.first >= h.key:
			return // part of the group of pictures that a newcomer needs
		case intra && h.key-h.first >= intraTail:
		case now.Sub(old.Arrived) > h.opts.Tail:
		default:
			return
		}
		h.ring[h.first&uint64(len(h.ring)-1)] = nil
		h.bytes -= old.Size()
		h.first++
		if h.hasKey && h.first > h.key {
			h.hasKey = false
		}
	}
}

func (h *Hub) grow() {
	n := make([]*media.Frame, 2*len(h.ring))
	for s := h.first; s < h.next; s++ {
		n[s&uint64(len(n)-1)] = h.ring[s&uint64(len(h.ring)-1)]
	}
	h.ring = n
}

func (h *Hub) clear() {
	clear(h.ring)
	h.first, h.bytes, h.hasKey = h.next, 0, false
}

func (h *Hub) broadcast() {
	close(h.wake)
	h.wake = make(chan struct{})
}

// Clear forgets all frames but keeps the tracks and the readers.
func (h *Hub) Clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clear()
	h.waitKey = true
}

// Close ends all readers with ErrClosed. Writes after it are dropped.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.clear()
		h.broadcast()
	}
}

// Tracks returns the current track list (do not change it) and its epoch; nil
// and 0 before the first Start.
func (h *Hub) Tracks() (media.Tracks, uint32) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.tracks, h.epoch
}

// WaitTracks waits for the first Start.
func (h *Hub) WaitTracks(ctx context.Context) (media.Tracks, error) {
	for {
		h.mu.RLock()
		ts, wake, closed := h.tracks, h.wake, h.closed
		h.mu.RUnlock()
		if closed {
			return nil, ErrClosed
		}
		if ts != nil {
			return ts, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Latest returns the newest frame of the leading track, or nil.
func (h *Hub) Latest() *media.Frame {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for s := h.next; s > h.first; s-- {
		if f := h.ring[(s-1)&uint64(len(h.ring)-1)]; f.Track == h.lead {
			return f
		}
	}
	return nil
}
