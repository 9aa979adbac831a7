package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"camwire/media"
	"camwire/media/rung"
)

// LowName is the name of the derived stream for viewers whose links do not
// carry the main one: the publisher's own smaller rendering, or an encode in
// about half the width.
const LowName = "low"

// ratesInterval is how often it is decided anew what is sent to whom.
const ratesInterval = 200 * time.Millisecond

// lowLeast is the least bit rate of the lower rung in bit/s.
const lowLeast = 100_000

// rates makes a stream follow the links of its viewers. Its lock is taken before
// the stream's.
type rates struct {
	mu      sync.Mutex
	policy  rung.Policy
	leases  map[rung.ID]*Lease
	last    rung.ID
	decided time.Time
	bitrate int
	told    media.BitrateSetter // has been told bitrate
}

// leaseRate is a lease's part in it.
type leaseRate struct {
	id     rung.ID // 0: has never told what its link carries; under rates.mu
	gone   bool    // under rates.mu
	low    atomic.Bool
	enough atomic.Int64
}

// Adapts reports whether it matters what the links to the viewers carry: the
// source encodes, or there is a smaller rendering.
func (s *Stream) Adapts() bool {
	set, fixed := s.adaptable()
	return set != nil || fixed
}

func (s *Stream) adaptable() (set media.BitrateSetter, fixed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, _ = s.opts.Source.(media.BitrateSetter)
	return set, set == nil && s.pub != nil && s.pub.opts.Low != nil
}

// SetCapacity tells what the link to the lease's viewer carries in bit/s, 0
// while that is not known. A viewer that can tell does so from the beginning and
// several times a second, also while nothing changes: some decisions take time.
// All others are taken for viewers that want the best, such as recordings.
func (l *Lease) SetCapacity(bps int) {
	r := &l.s.rates
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.rate.gone {
		return
	}
	fresh := l.rate.id == 0
	if fresh {
		r.last++
		l.rate.id = r.last
		if r.leases == nil {
			r.leases = map[rung.ID]*Lease{}
		}
		r.leases[l.rate.id] = l
	}
	r.policy.Report(l.rate.id, bps)
	if now := time.Now(); now.Sub(r.decided) >= ratesInterval || fresh && bps > 0 {
		l.s.decideRates(now)
	}
}

// Low reports whether the viewer belongs on the derived stream LowName. It keeps
// this lease while it is there.
func (l *Lease) Low() bool { return l.rate.low.Load() }

// RefuseLow tells that the viewer can make nothing of the derived stream
// LowName, or gets nothing from it.
func (l *Lease) RefuseLow() {
	r := &l.s.rates
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.rate.id != 0 {
		r.policy.Refuse(l.rate.id, time.Now())
		l.rate.low.Store(false)
	}
}

// Enough returns the capacity in bit/s above which nothing would change; 0
// while that is not known.
func (l *Lease) Enough() int { return int(l.rate.enough.Load()) }

func (l *Lease) forgetRate() {
	r := &l.s.rates
	r.mu.Lock()
	defer r.mu.Unlock()
	l.rate.gone = true
	if l.rate.id == 0 {
		return
	}
	r.policy.Leave(l.rate.id)
	delete(r.leases, l.rate.id)
	l.s.decideRates(time.Now())
}

// decideRates puts into effect what is right now. The caller holds rates.mu.
func (s *Stream) decideRates(now time.Time) {
	r := &s.rates
	r.decided = now
	set, fixed := s.adaptable()
	if set == nil && !fixed {
		for _, l := range r.leases {
			l.rate.low.Store(false)
			l.rate.enough.Store(0)
		}
		r.told, r.bitrate = nil, 0
		return
	}
	b := rung.Bounds{Fixed: fixed, Low: true}
	if s.parent != nil && s == s.parent.derivedStream(LowName) {
		b.Low, b.Min = false, lowLeast
	}
	s.mu.Lock()
	_, b.Sends = s.meter.rates(now)
	s.mu.Unlock()
	if fixed {
		b.Max = b.Sends
	} else {
		b.Max = set.MaxBitrate()
	}
	r.policy.SetBounds(b)
	r.policy.SetOthers(s.silent(len(r.leases)))
	d := r.policy.Decide(now)
	for id, l := range r.leases {
		l.rate.low.Store(r.policy.Low(id))
		l.rate.enough.Store(int64(r.policy.Enough()))
	}
	if set != nil && (set != r.told || d.Bitrate != r.bitrate) {
		r.told, r.bitrate = set, d.Bitrate
		set.SetBitrate(d.Bitrate)
	}
}

func (s *Stream) derivedStream(name string) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.derived[name]
}

// silent counts the leases that never tell what their link carries. What is
// derived from a camera is no viewer of its own.
func (s *Stream) silent(telling int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.policy.leases - telling
	if s.parent == nil {
		n -= s.viewers[internalLease]
	}
	return max(n, 0)
}

// Target returns the bit rate in bit/s to which the encoder is held down for its
// viewers' links; 0: to none.
func (s *Stream) Target() int {
	s.rates.mu.Lock()
	defer s.rates.mu.Unlock()
	return s.rates.bitrate
}
