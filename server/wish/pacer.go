package wish

import "time"

// Pacer keeps a viewer to the rate it asked for. It reads no clock.
type Pacer struct {
	// Interval is the least time between two frames; 0: no limit.
	Interval time.Duration

	due time.Time
}

// Ready reports whether a frame that is there at now may go out. A little
// before its time is good enough: a source at just the rate asked for has some
// jitter, and must not lose every second frame to it.
func (p *Pacer) Ready(now time.Time) bool {
	return p.Interval == 0 || !now.Before(p.due.Add(-p.Interval/10))
}

// Latest is when a frame that came too early goes out after all, if no newer
// one takes its place. Waiting beyond the due time is what makes the frame that
// does go out a new one.
func (p *Pacer) Latest() time.Time { return p.due.Add(p.Interval / 2) }

// Sent notes that a frame went out at now. The schedule goes on from the last
// due time, so that the rate is met on average, unless it is too far behind.
func (p *Pacer) Sent(now time.Time) {
	if p.due.Before(now.Add(-p.Interval)) {
		p.due = now
	}
	p.due = p.due.Add(p.Interval)
}
