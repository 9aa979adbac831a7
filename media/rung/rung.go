// Package rung decides at what bit rates a camera is sent to viewers whose
// links differ: one encoder for nearly all of them, and at most one more, on a
// lower rung, for the few that would hold the others down.
//
// It is a pure policy: what the links carry and the time go in, a bit rate and
// the viewers of the lower rung come out. Links are measured elsewhere, encoders
// are run elsewhere; it owns no goroutine, no timer and no lock.
package rung

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// ID names a viewer.
type ID uint64

// Bounds say what there is to decide.
type Bounds struct {
	// Max is the bit rate of the main rung in bit/s while nothing limits it;
	// 0 while it is unknown, then nothing is decided.
	Max int
	// Min is the bit rate in bit/s below which the main rung does not go;
	// default 150,000. Where a link carries less, a picture now and then is
	// worth more than one that nobody recognizes.
	Min int
	// Sends is what the main rung really takes at the moment in bit/s; 0 while
	// that is unknown. Of a scene in which little happens an encoder makes less
	// than it may, and who can carry that need not be moved down.
	Sends int
	// Fixed says that the main rung is not encoded here: its bit rate is Max,
	// whatever is decided, and each viewer is on the rung that its own link
	// carries.
	Fixed bool
	// Low says that there is a lower rung.
	Low bool
}

const (
	defaultMin = 150_000

	// Headroom is the part of a link that pictures may take. The rest is for
	// RTP headers, sound, repairs, and an encoder that does not hit its mark.
	Headroom = 0.88
	// worth is how many times the bit rate of the many must be better without
	// the few for a second encoder: it costs about a quarter of the first, and
	// the few lose resolution.
	worth = 1.3
	// filled is the part of its bit rate that an encoder uses when it could use
	// more.
	filled = 0.8
	// same is how near to the bit rate of the many a viewer of the lower rung
	// must come to join them.
	same = 0.95

	// downHold is how long a viewer must be too slow before it is moved down.
	// A link that stalls for a moment costs nobody anything.
	downHold = time.Second
	// upHold is how long it must be fast enough to be moved up again. It
	// doubles each time that a viewer falls down again within relapse.
	upHold    = 10 * time.Second
	maxUpHold = 2 * time.Minute
	relapse   = 30 * time.Second
	// crowded is how long a viewer of the lower rung may stay there although
	// there are more of them than should be.
	crowded = 5 * time.Second
	// refused is how long the lower rung is not offered again to a viewer that
	// got nothing from it.
	refused = time.Minute

	// The bit rate goes down at once, by any amount worth a change, and up by
	// this part per second, beginning some time after it went down.
	downStep = 0.97
	upStep   = 1.05
	climb    = 0.3
	upWait   = time.Second
	// fade is the part per second by which the memory of a high bit rate fades.
	fade = 0.02
)

// Policy decides for one stream. The zero value is ready.
type Policy struct {
	bounds  Bounds
	others  int
	viewers map[ID]*viewer
	target  float64 // bit/s; 0: not decided yet
	decided time.Time
	lowered time.Time
	top     float64 // highest Max of late, bit/s
}

// viewer is one that tells what its link carries.
type viewer struct {
	id       ID
	capacity float64 // bit/s; 0: not known yet
	low      bool
	since    time.Time     // since when it should change; zero: it should not
	hold     time.Duration // before it may go up
	moved    time.Time
	refused  time.Time
}

// SetBounds changes what there is to decide.
func (p *Policy) SetBounds(b Bounds) {
	if b.Min <= 0 {
		b.Min = defaultMin
	}
	if b.Max > 0 {
		b.Min = min(b.Min, b.Max)
	}
	p.bounds = b
}

// SetOthers tells how many watch without ever telling what their link carries,
// such as a recording. They never need less than the best.
func (p *Policy) SetOthers(n int) { p.others = n }

// Report tells what a viewer's link carries in bit/s, 0 while that is unknown.
func (p *Policy) Report(id ID, capacity int) {
	v := p.viewers[id]
	if v == nil {
		if p.viewers == nil {
			p.viewers = map[ID]*viewer{}
		}
		v = &viewer{id: id, hold: upHold}
		p.viewers[id] = v
	}
	v.capacity = float64(capacity)
}

// Refuse tells that a viewer can make nothing of the lower rung. It is on the
// main one again, and stays there for a minute.
func (p *Policy) Refuse(id ID, now time.Time) {
	if v := p.viewers[id]; v != nil {
		v.refused, v.low, v.since = now, false, time.Time{}
	}
}

// Leave forgets a viewer.
func (p *Policy) Leave(id ID) { delete(p.viewers, id) }

// Low reports whether a viewer belongs on the lower rung.
func (p *Policy) Low(id ID) bool {
	v := p.viewers[id]
	return v != nil && v.low
}

// Viewers returns how many tell what their links carry.
func (p *Policy) Viewers() int { return len(p.viewers) }

// Decision is what to do.
type Decision struct {
	// Bitrate of the main rung in bit/s; 0: nothing limits it.
	Bitrate int
	// Low are the viewers that belong on the lower rung, in order; none: it is
	// not wanted.
	Low []ID
	// LowBitrate is what all of them carry, in bit/s; 0 if there are none.
	LowBitrate int
}

// Decide returns what is right at now.
func (p *Policy) Decide(now time.Time) Decision {
	known := make([]*viewer, 0, len(p.viewers))
	for _, v := range p.viewers {
		if v.capacity > 0 {
			known = append(known, v)
		}
	}
	slices.SortFunc(known, func(a, b *viewer) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.id, b.id))
	})
	switch {
	case p.bounds.Max <= 0:
	case p.bounds.Fixed:
		p.placeEach(known, now)
		p.target = 0
	default:
		p.place(known, now)
		p.follow(known, now)
	}
	// What a publisher sends rises again after a quiet scene.
	p.top = max(float64(p.bounds.Max), p.top*(1-fade*min(now.Sub(p.decided), time.Second).Seconds()))
	p.decided = now
	return p.decision(known)
}

// rank is what viewers are sorted by. One that is down already must be clearly
// faster than another to change places with it.
func (v *viewer) rank() float64 {
	if v.low {
		return 0.8 * v.capacity
	}
	return v.capacity
}

func (v *viewer) usable() float64 { return Headroom * v.capacity }

// few is how many viewers of n may be moved down: the slowest tenth, rounded
// up, so that of two to nine it is one. With fewer than ten a strict tenth is
// nobody, and one bad link would spoil the picture for a whole family. One that
// watches alone is never moved: the encoder simply follows it.
func few(n int) int {
	if n < 2 {
		return 0
	}
	return (n + 9) / 10
}

// place moves viewers between rungs where the main one follows the many.
func (p *Policy) place(known []*viewer, now time.Time) {
	n := 0
	if p.bounds.Low {
		n = min(few(len(known)+p.others), len(known))
	}
	rest := float64(p.bounds.Max)
	for i := n; i < len(known); i++ {
		rest = min(rest, known[i].usable())
	}
	rest = max(rest, float64(p.bounds.Min))
	needed := rest / worth
	if sends := float64(p.bounds.Sends); sends > 0 && p.target > 0 && sends < filled*p.target {
		needed = min(needed, sends)
	}
	for i, v := range known {
		switch {
		case !p.bounds.Low:
			v.low, v.since = false, time.Time{}
		case v.low && i >= n:
			v.want(now, min(crowded, v.hold))
		case v.low && v.usable() >= same*rest:
			v.want(now, v.hold)
		case !v.low && i < n && v.usable() < needed && now.Sub(v.refused) >= refused:
			v.want(now, downHold)
		default:
			v.since = time.Time{}
		}
	}
}

// placeEach moves viewers between two rungs that are given.
func (p *Policy) placeEach(known []*viewer, now time.Time) {
	top := float64(p.bounds.Max)
	for _, v := range known {
		switch {
		case !p.bounds.Low:
			v.low, v.since = false, time.Time{}
		// The bit rate of pictures swings; a link that carries them just so is
		// no reason for a change in either direction.
		case v.low && v.usable() >= top:
			v.want(now, v.hold)
		case !v.low && v.capacity < top && now.Sub(v.refused) >= refused:
			v.want(now, downHold)
		default:
			v.since = time.Time{}
		}
	}
}

// want moves a viewer to its other rung once that has been right for hold.
func (v *viewer) want(now time.Time, hold time.Duration) {
	if v.since.IsZero() {
		v.since = now
	}
	if now.Sub(v.since) < hold {
		return
	}
	v.low, v.since = !v.low, time.Time{}
	if v.low && !v.moved.IsZero() {
		if now.Sub(v.moved) < relapse {
			v.hold = min(2*v.hold, maxUpHold)
		} else {
			v.hold = upHold
		}
	}
	v.moved = now
}

// follow sets the bit rate of the main rung.
func (p *Policy) follow(known []*viewer, now time.Time) {
	top := float64(p.bounds.Max)
	goal := top
	for _, v := range known {
		// One that is about to be moved down holds nobody down meanwhile.
		if !v.low && v.since.IsZero() {
			goal = min(goal, v.usable())
		}
	}
	goal = max(goal, float64(p.bounds.Min))
	switch {
	case len(known) == 0:
		p.target = 0
	case p.target <= 0: // the first word of anybody
		p.target, p.lowered = goal, now
	case goal < p.target*downStep || goal < p.target && p.target >= top:
		p.target, p.lowered = goal, now
	case (goal > p.target*upStep || goal >= top) && now.Sub(p.lowered) >= upWait:
		dt := min(now.Sub(p.decided), time.Second).Seconds()
		p.target = min(goal, p.target*(1+climb*dt))
	}
	p.target = min(p.target, top)
}

func (p *Policy) decision(known []*viewer) Decision {
	d := Decision{}
	if p.target > 0 && p.target < float64(p.bounds.Max) {
		d.Bitrate = int(p.target)
	}
	least := math.Inf(1)
	for _, v := range known {
		if v.low {
			d.Low = append(d.Low, v.id)
			least = min(least, v.usable())
		}
	}
	slices.Sort(d.Low)
	if len(d.Low) > 0 {
		d.LowBitrate = int(least)
	}
	return d
}

// Enough is the capacity in bit/s above which it makes no difference what a
// link carries: measuring may end there. 0 while it is unknown.
func (p *Policy) Enough() int { return int(1.25 * p.top / Headroom) }
