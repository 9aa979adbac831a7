package hub

import (
	"context"
	"time"

	"camwire/media"
)

// CursorOptions say how a reader wants to be treated when it is late.
type CursorOptions struct {
	// MaxLag is how far a reader may be behind the newest frame, measured
	// by arrival, before it jumps to the newest key frame; 0 means that it
	// jumps only when the ring no longer holds its place.
	MaxLag time.Duration
	// Newest skips everything but the newest frame of the leading track.
	// For streams in which every frame is a key frame.
	Newest bool
	// Live starts with the next frame instead of the newest key frame. The
	// reader then begins at the first key frame to come.
	Live bool
}

// Cursor is one reader's place in a hub. It belongs to one goroutine.
type Cursor struct {
	h       *Hub
	opts    CursorOptions
	pos     uint64
	waitKey bool
	tracks  media.Tracks
	epoch   uint32
	skipped uint64
	behind  bool
	seenAny bool
}

// NewCursor returns a reader that starts at the newest key frame, so that the
// first picture needs no waiting.
func (h *Hub) NewCursor(o CursorOptions) *Cursor {
	h.mu.RLock()
	defer h.mu.RUnlock()
	c := &Cursor{h: h, opts: o}
	if o.Live {
		c.pos, c.waitKey = h.next, true
	} else {
		c.toKey()
	}
	return c
}

// Next waits for the next frame. It returns ErrClosed when the stream has
// ended and ctx.Err() when ctx is done.
func (c *Cursor) Next(ctx context.Context) (*media.Frame, error) {
	for {
		f, wake, err := c.take()
		if f != nil || err != nil {
			return f, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Try returns the next frame if there is one, else nil; ErrClosed as Next.
func (c *Cursor) Try() (*media.Frame, error) {
	f, _, err := c.take()
	return f, err
}

// Tracks returns the track list that the last frame returned belongs to.
func (c *Cursor) Tracks() media.Tracks { return c.tracks }

// Skipped returns how many frames this reader has missed by jumping.
func (c *Cursor) Skipped() uint64 { return c.skipped }

// Behind reports that the reader is late by more than MaxLag but no newer key
// frame exists to jump to: asking the source for one would help.
func (c *Cursor) Behind() bool { return c.behind }

func (c *Cursor) take() (*media.Frame, chan struct{}, error) {
	h := c.h
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, nil, ErrClosed
	}
	c.adjust()
	for c.pos < h.next {
		f := h.ring[c.pos&uint64(len(h.ring)-1)]
		c.pos++
		lead := f.Track == h.lead
		if c.waitKey && !(lead && f.Key) || c.opts.Newest && !lead {
			if lead {
				c.skipped++
			}
			continue
		}
		c.waitKey, c.seenAny = false, true
		c.tracks, c.epoch = h.tracks, h.epoch
		return f, nil, nil
	}
	return nil, h.wake, nil
}

// adjust moves the cursor if it is too far behind. The caller holds the lock.
func (c *Cursor) adjust() {
	h := c.h
	c.behind = false
	if c.pos < h.first {
		old := c.pos
		c.toKey()
		if c.seenAny {
			c.skipped += c.pos - old
		}
		return
	}
	if c.pos >= h.next {
		return
	}
	if c.opts.Newest {
		if h.hasKey && h.key > c.pos {
			c.skipped += h.key - c.pos
			c.pos = h.key
		}
		return
	}
	if c.opts.MaxLag > 0 {
		newest := h.ring[(h.next-1)&uint64(len(h.ring)-1)]
		if newest.Arrived.Sub(h.ring[c.pos&uint64(len(h.ring)-1)].Arrived) > c.opts.MaxLag {
			if h.hasKey && h.key > c.pos {
				c.skipped += h.key - c.pos
				c.pos = h.key
			} else {
				c.behind = true
			}
		}
	}
}

// toKey goes to the newest key frame, or to the first one to come.
func (c *Cursor) toKey() {
	if c.h.hasKey {
		c.pos, c.waitKey = c.h.key, false
	} else {
		c.pos, c.waitKey = c.h.next, true
	}
}

// Rewind goes back to the newest key frame, for a reader whose decoder has
// lost its references while the source cannot be asked for a new one. It
// reports false when there is no key frame to go back to.
func (c *Cursor) Rewind() bool {
	c.h.mu.RLock()
	defer c.h.mu.RUnlock()
	if !c.h.hasKey {
		return false
	}
	c.toKey()
	return true
}
