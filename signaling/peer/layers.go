package peer

import (
	"time"

	"github.com/pion/rtcp"

	"camwire/media"
)

// layerIdle is how long a rendering may be silent before the next best one
// takes its place: its sender has found that the link cannot carry it.
const layerIdle = 500 * time.Millisecond

func (l *layer) pixels() int { return l.track.Width * l.track.Height }

// flows reports whether the rendering is being sent.
func (l *layer) flows(now time.Time) bool { return now.Sub(l.last) < layerIdle }

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
	l.ask(now)
}

// ask requests a key frame (PLI, RFC 4585 section 6.3.1).
func (l *layer) ask(now time.Time) {
	if now.Sub(l.asked) < askAgain/2 {
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
		r.lowSink.Write(&media.Frame{PTS: f.PTS, Arrived: f.Arrived, Key: f.Key, Units: f.Units})
	}
	if r.main == l {
		r.stats.Frames++
		r.pass(f, false, now)
	}
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
