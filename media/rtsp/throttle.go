package rtsp

import "time"

// Throttle counts what happens too often to be logged each time, and says when
// the sum is worth a line. The zero value is ready: one line per second.
// It is for one goroutine at a time.
type Throttle struct {
	// Every is the shortest time between two lines; default one second.
	Every time.Duration

	sum  uint64
	last time.Time
}

// Add counts n more. With due true, sum is what has come since the last time
// it was, and should be logged.
func (t *Throttle) Add(now time.Time, n uint64) (sum uint64, due bool) {
	every := t.Every
	if every <= 0 {
		every = time.Second
	}
	t.sum += n
	if !t.last.IsZero() && now.Sub(t.last) < every {
		return t.sum, false
	}
	sum, t.sum, t.last = t.sum, 0, now
	return sum, true
}
