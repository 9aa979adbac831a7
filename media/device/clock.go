package device

import "time"

// kernelClock translates between the kernel's monotonic clock, in which the
// driver tells times, and Go's. Both are the same clock, which Go does not
// show as a number, so the two differ by a constant.
type kernelClock struct {
	time time.Time
	mono time.Duration
}

// anchor reads both clocks. One reading after the other is off by as long as
// somebody else gets the processor in between, so the closest pair of several
// is taken.
func anchor(now func() time.Time, monotonic func() time.Duration) kernelClock {
	var best kernelClock
	closest := time.Duration(-1)
	for range 8 {
		before := now()
		mono := monotonic()
		if width := now().Sub(before); closest < 0 || width < closest {
			best, closest = kernelClock{before.Add(width / 2), mono}, width
		}
	}
	return best
}

// at is the kernel's time at t.
func (c kernelClock) at(t time.Time) time.Duration { return c.mono + t.Sub(c.time) }
