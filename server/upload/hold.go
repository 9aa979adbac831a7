package upload

import "time"

const (
	// silence is how long a camera that is fed by forms stays without one.
	// A phone sends one every 1 to 30 s.
	silence = 65 * time.Second
	// patience is how long a connection keeps its camera from others without
	// sending a picture. A phone that comes back after its network has
	// changed finds its own dead connection there.
	patience = 3 * time.Second

	// maxRate bounds the pictures per second of one camera, burst what may
	// come at once after a pause in the network.
	maxRate = 120
	burst   = 30
)

// hold decides about a camera that somebody sends pictures for. It reads no
// clock.
type hold struct {
	// connected says that the sender has a connection; forms have none.
	connected bool
	// last is when the last picture came.
	last time.Time
}

// yields reports whether the camera goes to another sender that has a picture
// for it. Forms yield to a connection at once: the phone has been switched from
// one to the other.
func (h *hold) yields(now time.Time, toConnected bool) bool {
	if !h.connected && toConnected {
		return true
	}
	return now.Sub(h.last) >= patience
}

// expired reports whether the camera has been silent for too long. A
// connection's silence is its own business.
func (h *hold) expired(now time.Time) bool {
	return !h.connected && now.Sub(h.last) >= silence
}

// pace keeps a camera to maxRate (the generic cell rate algorithm). It reads no
// clock; the zero value is ready.
type pace struct{ due time.Time }

// allow reports whether a picture may come at now, and counts it if so.
func (p *pace) allow(now time.Time) bool {
	const interval = time.Second / maxRate
	if p.due.Before(now) {
		p.due = now
	}
	if p.due.Sub(now) > (burst-1)*interval {
		return false
	}
	p.due = p.due.Add(interval)
	return true
}
