package stream

import (
	"math/rand/v2"
	"time"
)

// Delays of the supervisor.
const (
	firstRetry = 250 * time.Millisecond
	maxRetry   = 10 * time.Second
	// steady is how long a source must have delivered before its next
	// failure counts as a first one again.
	steady = 2 * time.Second
	// DefaultLinger is how long an on-demand source outlives its last viewer.
	DefaultLinger = 10 * time.Second
)

// backoff gives the pauses between attempts: at most 250 ms first, then
// doubling with jitter up to 10 s, for ever.
type backoff struct{ n int }

func (b *backoff) next(random float64) time.Duration {
	d := maxRetry
	if b.n < 6 {
		d = min(firstRetry<<b.n, maxRetry)
		b.n++
	}
	return d/2 + time.Duration(random*float64(d/2))
}

func (b *backoff) reset() { b.n = 0 }

// policy decides when a source runs. Events and the time go in, a decision
// comes out; it owns no goroutine and no timer.
type policy struct {
	onDemand bool
	linger   time.Duration

	leases    int
	idleSince time.Time // when the last lease ended; zero before the first
	retryAt   time.Time
	liveSince time.Time
	backoff   backoff
	running   bool
	lastErr   string
	everLive  bool
	random    func() float64
}

func newPolicy(onDemand bool, linger time.Duration) *policy {
	if linger <= 0 {
		linger = DefaultLinger
	}
	return &policy{onDemand: onDemand, linger: linger, random: rand.Float64}
}

func (p *policy) lease(now time.Time, delta int) {
	p.leases += delta
	if p.leases == 0 {
		p.idleSince = now
	}
	if p.leases == 1 && delta > 0 && p.onDemand && !p.running {
		// Somebody is waiting: an old failure must not make them wait.
		p.retryAt = time.Time{}
	}
}

func (p *policy) live(now time.Time) {
	p.liveSince, p.everLive, p.lastErr = now, true, ""
}

func (p *policy) started() { p.running = true }

func (p *policy) exited(now time.Time, why string) {
	if !p.liveSince.IsZero() && now.Sub(p.liveSince) >= steady {
		p.backoff.reset()
	}
	p.running, p.liveSince, p.lastErr = false, time.Time{}, why
	p.retryAt = now.Add(p.backoff.next(p.random()))
}

// forgive forgets earlier failures: the source is another one now.
func (p *policy) forgive() {
	p.retryAt, p.lastErr = time.Time{}, ""
	p.backoff.reset()
}

// stopped is an exit that was asked for.
func (p *policy) stopped() {
	p.running, p.liveSince, p.lastErr = false, time.Time{}, ""
	p.retryAt, p.everLive = time.Time{}, false
	p.backoff.reset()
}

// decide says whether the source should be running at now, and when to ask
// again if nothing else happens (zero: never).
func (p *policy) decide(now time.Time) (run bool, again time.Time) {
	if p.onDemand && p.leases == 0 {
		if p.idleSince.IsZero() || !p.running {
			return false, time.Time{}
		}
		if end := p.idleSince.Add(p.linger); now.Before(end) {
			return true, end
		}
		return false, time.Time{}
	}
	if p.running {
		return true, time.Time{}
	}
	if now.Before(p.retryAt) {
		return false, p.retryAt
	}
	return true, time.Time{}
}

func (p *policy) state() (State, string) {
	switch {
	case p.running && !p.liveSince.IsZero():
		return Live, ""
	case p.onDemand && p.leases == 0 && !p.running:
		return Idle, ""
	case p.everLive:
		return Lost, p.lastErr
	case p.lastErr != "":
		return Failed, p.lastErr
	default:
		return Connecting, ""
	}
}
