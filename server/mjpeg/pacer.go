package mjpeg

import "time"

// pacer keeps a viewer to the rate it asked for. It reads no clock.
type pacer struct {
	// interval is the least time between two frames; 0: no limit.
	interval time.Duration

	due time.Time
}

// ready reports whether a frame that is there at now may go out. A little
// before its time is good enough: a source at just the rate asked for has some
// jitter, and must not lose every second frame to it.
func (p *pacer) ready(now time.Time) bool {
	return p.interval == 0 || !now.Before(p.due.Add(-p.interval/10))
}

// latest is when a frame that came too early goes out after all, if no newer
// one takes its place. Waiting beyond the due time is what makes the frame that
// does go out a new one.
func (p *pacer) latest() time.Time { return p.due.Add(p.interval / 2) }

// sent notes that a frame went out at now. The schedule goes on from the last
// due time, so that the rate is met on average, unless it is too far behind.
func (p *pacer) sent(now time.Time) {
	if p.due.Before(now.Add(-p.interval)) {
		p.due = now
	}
	p.due = p.due.Add(p.interval)
}
