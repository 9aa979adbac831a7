package stream

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// delayBounds are the upper ends of the ranges in which delays are counted.
func delayBounds() [12]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{2 * ms, 5 * ms, 10 * ms, 20 * ms, 35 * ms, 50 * ms, 100 * ms, 200 * ms, 350 * ms, 500 * ms, time.Second, 3 * time.Second}
}

// Delay says how long frames took from the moment they were captured, as far
// as that is known, to the moment they were sent.
type Delay struct {
	// Count is how many frames, Sum how long they took together.
	Count uint64
	Sum   time.Duration
	// Below counts the frames that took no longer than its key, cumulated.
	Below map[time.Duration]uint64
}

// Stats count what was done with a camera's frames since it was added.
type Stats struct {
	// Delay of what was sent, by the kind of viewer. Frames that catch up with
	// the live picture are left out.
	Delay map[string]Delay
	// Dropped counts frames that viewers of a kind were too slow for.
	Dropped map[string]uint64
	// Decode and Encode are what codec work has cost, scaling included in the
	// latter; Pictures is what came out of it.
	Decode, Encode time.Duration
	Pictures       uint64
}

// stats are kept by the camera, for what is derived from it too.
type stats struct {
	decode, encode atomic.Int64 // ns
	pictures       atomic.Uint64

	mu   sync.Mutex
	kind map[string]*kindStats
}

// kindStats is for the leases of one kind. There are few kinds: they are
// constants of the program.
type kindStats struct {
	bounds  [12]time.Duration
	counts  [13]atomic.Uint64
	sum     atomic.Int64 // ns
	dropped atomic.Uint64
}

func (s *stats) of(kind string) *kindStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kind[kind]
	if k == nil {
		if s.kind == nil {
			s.kind = map[string]*kindStats{}
		}
		k = &kindStats{bounds: delayBounds()}
		s.kind[kind] = k
	}
	return k
}

// camera is the stream that a source feeds.
func (s *Stream) camera() *Stream {
	for s.parent != nil {
		s = s.parent
	}
	return s
}

// Sent notes that a frame captured at that time has just been sent. Leave out
// frames of the past that a newcomer gets.
func (l *Lease) Sent(captured time.Time) {
	d := max(time.Since(captured), 0)
	i := 0
	for i < len(l.stats.bounds) && d > l.stats.bounds[i] {
		i++
	}
	l.stats.counts[i].Add(1)
	l.stats.sum.Add(int64(d))
}

// Dropped notes frames that the viewer was too slow for.
func (l *Lease) Dropped(n uint64) { l.stats.dropped.Add(n) }

// Reader keeps the statistics of one viewer, from the goroutine that sends. The
// zero value keeps none.
type Reader struct {
	lease   *Lease
	skipped uint64
	began   bool
}

// Reader returns the statistics for one cursor.
func (l *Lease) Reader() Reader { return Reader{lease: l} }

// Sent notes a frame that was captured then and has just been sent, and how
// many frames the cursor has skipped so far. The first one is left out: it is
// what was there when the viewer came.
func (r *Reader) Sent(captured time.Time, skipped uint64) {
	if r.lease == nil {
		return
	}
	if r.began {
		r.lease.Sent(captured)
	}
	r.began = true
	if skipped > r.skipped {
		r.lease.Dropped(skipped - r.skipped)
		r.skipped = skipped
	}
}

// Worked notes what pictures made of this camera have cost.
func (s *Stream) Worked(decode, encode time.Duration) {
	c := s.camera()
	c.stats.decode.Add(int64(decode))
	c.stats.encode.Add(int64(encode))
	c.stats.pictures.Add(1)
}

// Stats returns what has been counted of this camera and all that is derived
// from it.
func (s *Stream) Stats() Stats {
	c := &s.camera().stats
	out := Stats{
		Delay: map[string]Delay{}, Dropped: map[string]uint64{},
		Decode: time.Duration(c.decode.Load()), Encode: time.Duration(c.encode.Load()), Pictures: c.pictures.Load(),
	}
	c.mu.Lock()
	kinds := maps.Clone(c.kind)
	c.mu.Unlock()
	for name, k := range kinds {
		if name == internalLease {
			continue
		}
		d := Delay{Sum: time.Duration(k.sum.Load()), Below: map[time.Duration]uint64{}}
		for i := range k.counts {
			d.Count += k.counts[i].Load()
			if i < len(k.bounds) {
				d.Below[k.bounds[i]] = d.Count
			}
		}
		out.Delay[name], out.Dropped[name] = d, k.dropped.Load()
	}
	return out
}
