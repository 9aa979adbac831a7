package auth

import (
	"net/netip"
	"time"
)

// limiter bounds events per address: a burst at once, then one per interval
// (the generic cell rate algorithm: one time per address is all it keeps). It
// has no goroutine and reads no clock.
type limiter struct {
	burst    int
	interval time.Duration
	max      int // addresses remembered

	// until is when an address's last event will be forgotten.
	until map[netip.Addr]time.Time
}

// fail counts an event at now. It returns 0, or how long the address has to
// wait when it had its share already; such an event does not count again, so
// that waiting helps even somebody who keeps knocking.
func (l *limiter) fail(now time.Time, a netip.Addr) time.Duration {
	if wait := l.wait(now, a); wait > 0 {
		return wait
	}
	a = network(a)
	t := l.until[a]
	if t.Before(now) {
		t = now
	}
	if l.until == nil {
		l.until = make(map[netip.Addr]time.Time)
	}
	if _, known := l.until[a]; !known && len(l.until) >= l.max {
		l.makeRoom(now)
	}
	l.until[a] = t.Add(l.interval)
	return 0
}

// wait returns how long an address has to wait for its next event, 0 when it has
// not had its share.
func (l *limiter) wait(now time.Time, a netip.Addr) time.Duration {
	t := l.until[network(a)]
	if t.Before(now) {
		t = now
	}
	return max(0, t.Add(l.interval).Sub(now)-time.Duration(l.burst)*l.interval)
}

// makeRoom forgets all addresses that have waited long enough, or else the one
// that is nearest to it.
func (l *limiter) makeRoom(now time.Time) {
	var oldest netip.Addr
	var at time.Time
	for a, t := range l.until {
		if !t.After(now) {
			delete(l.until, a)
		} else if at.IsZero() || t.Before(at) {
			oldest, at = a, t
		}
	}
	if len(l.until) >= l.max {
		delete(l.until, oldest)
	}
}

// network is what one limit is for: an IPv4 address, or the /64 that one IPv6
// host can pick all its addresses from (RFC 4291 section 2.5.4).
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
