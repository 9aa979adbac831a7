package peer

import (
	"time"

	"github.com/pion/rtcp"

	"camwire/media"
)

// layerIdle is how long a rendering may be silent before the next best one
// takes its place: its sender has found that the link cannot carry it. Of slow
// pictures it is three of their pauses.
const layerIdle = 500 * time.Millisecond

// came notes a packet.
func (l *layer) came(now time.Time) {
	// Packets of one picture come together.
	if d := now.Sub(l.last); !l.last.IsZero() && d > 5*time.Millisecond && d < 30*time.Second {
		l.gap += (d - l.gap) / 4
	}
	l.last = now
}

func (l *layer) pixels() int { return l.track.Width * l.track.Height }

// flows reports whether the rendering is being sent.
func (l *layer) flows(now time.Time) bool { return now.Sub(l.last) < max(layerIdle, 3*l.gap) }

// largest returns the largest rendering that is being sent, or nil.
func largest(ls []*layer, now time.Time) *layer {
	var out *layer
	for _, l := range ls {
		if l.flows(now) && (out == nil || l.pixels() > out.pixels()) {
			out = l
		}
	}
	return out
}

// smallest returns the smallest rendering that is being sent, or nil. One whose
// size is not known yet is none.
func smallest(ls []*layer, now time.Time) *layer {
	var out *layer
	for _, l := range ls {
		if l.flows(now) && l.pixels() > 0 && (out == nil || l.pixels() < out.pixels()) {
			out = l
		}
	}
	return out
}

// freeze leaves out the pictures that refer to one that was lost.
func (l *layer) freeze(now time.Time) {
	if l.frozen.IsZero() {
		l.frozen = now
	}
	if r := l.r; l == r.main || l == r.low || r.main == nil {
		l.ask(now)
	}
}

// ask requests a key frame (PLI, RFC 4585 section 6.3.1).
func (l *layer) ask(now time.Time) {
	if now.Sub(l.asked) < askAgain {
		return
	}
	l.asked = now
	l.r.send(&rtcp.PictureLossIndication{MediaSSRC: uint32(l.remote.SSRC())})
}

// layerSink is behind a layer's normalizer. Its calls come with the receiver's
// lock held.
type layerSink struct{ l *layer }

func (s layerSink) Start(ts media.Tracks) {
	s.l.track = ts[0]
	r := s.l.r
	if r.main == s.l && r.told != nil {
		r.announce(time.Now())
	}
	if r.low == s.l && r.lowSink != nil {
		r.lowSink.Start(ts)
	}
}

func (s layerSink) Write(f *media.Frame) {
	l := s.l
	r, now := l.r, f.Arrived
	if !l.whole(f, now) {
		return
	}
	r.choose(l, f.Key, now)
	if r.low == l && r.lowSink != nil {
		// The hub numbers what it gets: each needs a frame of its own.
		g := &media.Frame{PTS: f.PTS, Arrived: f.Arrived, Key: f.Key, Units: f.Units}
		r.lowPTS.forward(g)
		r.lowSink.Write(g)
	}
	if r.main == l {
		r.stats.Frames++
		r.mainPTS.forward(f)
		r.pass(f, false, now)
	}
}

// newest is the PTS that an output was given last. The clocks of two layers are
// some milliseconds apart until the first sender reports; a picture that came
// after another one must not be taken for an older one because of that.
type newest struct {
	pts time.Duration
	any bool
}

func (n *newest) forward(f *media.Frame) {
	if back := n.pts - f.PTS; n.any && back >= 0 && back < time.Second {
		f.PTS = n.pts + time.Millisecond
	}
	n.pts, n.any = f.PTS, true
}

// whole reports whether a picture can be shown: all it refers to has come.
func (l *layer) whole(f *media.Frame, now time.Time) bool {
	if l.frozen.IsZero() {
		return true
	}
	if f.Key || now.Sub(l.frozen) > thawAfter {
		l.frozen = time.Time{}
		return true
	}
	if now.Sub(l.asked) >= askAgain {
		l.ask(now)
	}
	l.r.stats.Frozen++
	return false
}

// choose decides which renderings are handed on. A change happens at a key
// frame of the new one.
func (r *receiver) choose(l *layer, key bool, now time.Time) {
	if want := largest(r.layers, now); want == l && r.main != l {
		if key {
			r.main = l
		} else {
			l.ask(now)
		}
	}
	if r.lowSink == nil {
		return
	}
	if want := smallest(r.layers, now); want == l && r.low != l {
		if key {
			r.low = l
			r.lowSink.Start(media.Tracks{l.track})
		} else {
			l.ask(now)
		}
	}
}
