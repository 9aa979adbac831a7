package codec

import "time"

const (
	// A step back of that much or more is another clock, not a late frame.
	jumpBack = 2 * time.Second
	// A step forward of more than that is another clock, not a pause.
	jumpAhead = 10 * time.Second
)

// timeline keeps the PTS of one track growing.
type timeline struct {
	started bool
	last    time.Duration // newest PTS given out
	offset  time.Duration // given out minus the source's
	step    time.Duration // last distance of two frames, 0 while unknown
	came    time.Time     // when the newest frame arrived
}

type verdict int

const (
	inOrder verdict = iota
	backwards
	discontinuity
)

// ahead says how far pts lies before (negative) or behind the newest frame.
func (t *timeline) ahead(pts time.Duration) time.Duration {
	return pts + t.offset - t.last
}

// runsBack reports whether pts would be earlier than a frame before it,
// without being on another clock.
func (t *timeline) runsBack(pts time.Duration) bool {
	d := t.ahead(pts)
	return t.started && d < 0 && d > -jumpBack
}

// place puts a frame on the timeline. nominal is the distance of two frames
// in case of need, tick the smallest distance that two may have. shared is
// the offset of the track that jumped last: when a source's clock jumps, all
// its tracks jump, and they must stay together. came is when the frame arrived,
// zero if nobody knows.
func (t *timeline) place(pts, nominal, tick time.Duration, came time.Time, reordered bool, shared *time.Duration) (time.Duration, verdict) {
	waited := came.Sub(t.came)
	known := !came.IsZero() && !t.came.IsZero()
	t.came = came
	if !t.started {
		t.started = true
		t.offset = *shared
		t.last = pts + t.offset
		return t.last, inOrder
	}
	v := inOrder
	d := t.ahead(pts)
	// A step ahead that took as long as it says is a pause: a microphone that
	// was muted.
	paused := known && (d-waited).Abs() < jumpBack
	if d <= -jumpBack || d > jumpAhead && !paused {
		v = discontinuity
		d = pts + *shared - t.last
		if d <= -jumpBack || d > jumpAhead {
			if t.step > 0 {
				nominal = t.step
			}
			*shared = t.last + nominal - pts
			d = nominal
		}
		t.offset = *shared
	}
	switch {
	case d > 0:
		if v == inOrder {
			t.step = min(d, time.Second)
		}
		t.last += d
		return t.last, v
	case reordered:
		return t.last + d, v
	case d == 0:
		// Two frames with one time stamp are one frame to a WebRTC receiver.
		t.last += tick
		return t.last, v
	}
	return 0, backwards
}
