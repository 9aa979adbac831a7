package peer

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// What an estimator holds a link to.
const (
	// queueLow is a standing queue that lasts: over slowWindow not one picture
	// has met a shorter one. A key frame alone makes no such queue, it drains.
	queueLow   = 40 * time.Millisecond
	slowWindow = 2500 * time.Millisecond
	// queueHigh is a queue that three pictures in a row have met and that grew
	// by rising meanwhile.
	queueHigh = 60 * time.Millisecond
	rising    = 20 * time.Millisecond
	// queueHuge is one, within a picture or before it, that needs no third
	// picture if it grew by half of that within a second. A queue that only
	// stands or drains has been judged when it grew.
	queueHuge = 200 * time.Millisecond
	// baseWindow is for how long the shortest way is remembered. What lasts
	// longer is not our queue, or the clocks drift.
	baseWindow = 10 * time.Second

	// reaction is what an encoder needs to follow. What was sent before is no
	// reason for a second cut.
	reaction = 100 * time.Millisecond
	calm     = 500 * time.Millisecond // after a cut, before the estimate grows

	deliveredWindow = 300 * time.Millisecond
	// appLimit is how far an estimate may be above what has been delivered.
	appLimit = 1.5

	growFast = 0.25 // per second
	growSlow = 0.04 // near the rate at which it was last too much

	// Loss above what the link always loses: too much to grow, to stay.
	lossHold, lossCut = 0.04, 0.08
	lossHeavy         = 0.25
	lossAlways        = 0.05 // most of what counts as the link's own

	// repairPart is the part of a narrow link that may go into repairs.
	repairPart = 0.25
	maxRepairs = 1 << 20

	minEstimate = 50_000 // bit/s
	// silentLink is for how long nothing may be heard of a receiver.
	silentLink = 1500 * time.Millisecond

	// A probe is a train of packets. It is repeated ever less often where it
	// was followed by a cut.
	probePackets = 12
	probeGap     = 5 * time.Second
	maxProbeGap  = time.Minute
	// Of what a train of at least minTrain packets shows trainPart is believed,
	// for trainValid.
	minTrain   = 5
	trainPart  = 0.7
	trainValid = 5 * time.Second

	bucketLength  = 100 * time.Millisecond
	bucketsInRing = 32
)

// estimator tells from the receiver's feedback what a link carries.
//
// Pictures leave in one breath each, so the packets of one arrive at the rate of
// the narrowest part of the way, and its first packet meets the queue that
// earlier ones have left. That queue is what is watched: while it grows, or
// stands for longer than a key frame takes to drain, what arrives is what the
// link carries. Loss counts where it is more than the link always loses. Where
// less is sent than the link carries, nothing can be learned but that it carries
// so much; the estimate then stays, or grows within appLimit of what was delivered
// or what a train of packets has shown. A link that has never been too narrow is
// taken to carry all that could be asked of it.
//
// All methods may be called from any goroutine. Times are the caller's.
type estimator struct {
	ledger ledger

	mu     sync.Mutex
	enough float64 // bit/s: no need to know more
	est    float64 // bit/s; 0: not known
	grown  time.Time
	cutAt  time.Time
	cut    float64 // estimate when it was last too much; 0: never
	narrow bool    // has been too narrow, and not shown since that it is wide enough
	gate   int64   // what was sent before does not count
	again  float64 // bytes that may be sent a second time
	fedAt  time.Time

	// The receiver's clock, microseconds.
	refKnown bool
	ref      int64 // 64 ms units, unwrapped
	arrived  int64 // newest
	lag      int64 // of the newest
	buckets  [bucketsInRing]bucket
	groups   [4]group // newest last
	base     [2]int64 // least lag in this and the last half of baseWindow
	baseAt   int64    // arrival at which this half began
	based    bool

	peak          float64 // delivered rate, decaying
	first         time.Time
	packets       int // reported on
	heard         time.Time
	idleAt        time.Time
	called, quiet time.Time // of idle: its last call, and since when it can tell silence
	losses        lossMeter
	train         float64 // bit/s that the newest train allows
	trainAt       time.Time
	probed        time.Time
	probeGap      time.Duration
	blind         blindMeter
}

// bucket is 100 ms of arrivals.
type bucket struct {
	index int64 // arrival / bucketLength
	bytes int
	lag   int64 // least, of first packets
	has   bool  // lag is set
}

// group is the first packet of what was sent at one instant.
type group struct {
	sent, arrived, lag int64
	ok                 bool
}

func newEstimator(now time.Time) *estimator {
	return &estimator{ledger: ledger{start: now}, probeGap: probeGap, grown: now}
}

// setEnough tells the capacity in bit/s above which it makes no difference.
func (e *estimator) setEnough(bps int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.enough = float64(bps)
}

// capacity returns what the link carries in bit/s, less what is needed to drain
// a queue, and that queue; 0 while it is not known.
func (e *estimator) capacity() (bps int, queue time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queue()
	c := e.est
	if c > 0 && !e.narrow {
		c = max(c, e.enough)
	}
	if q > queueHigh && e.narrow {
		c *= max(0.5, 1-(q-queueHigh).Seconds())
	}
	return int(c), q
}

// feedback takes a transport-wide feedback packet
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
func (e *estimator) feedback(p *rtcp.TransportLayerCC, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	stamp := e.ledger.at(now)
	at := e.reference(p.ReferenceTime) * 64000
	var w walk
	seq, left, delta := p.BaseSequenceNumber, int(p.PacketStatusCount), 0
	take := func(symbol uint16, n int) {
		for n = min(n, left); n > 0; n-- {
			left--
			got := symbol == rtcp.TypeTCCPacketReceivedSmallDelta || symbol == rtcp.TypeTCCPacketReceivedLargeDelta
			if got {
				if delta >= len(p.RecvDeltas) {
					return
				}
				at += p.RecvDeltas[delta].Delta
				delta++
			}
			sent, size, ok := e.ledger.find(seq, stamp)
			seq++
			if !ok {
				continue
			}
			e.losses.add(got)
			e.packets++
			if got {
				e.arrival(&w, sent, at, size)
			}
		}
	}
	for _, c := range p.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			take(c.PacketStatusSymbol, int(c.RunLength))
		case *rtcp.StatusVectorChunk:
			for _, sym := range c.SymbolList {
				take(sym, 1)
			}
		}
	}
	e.endTrain(&w, now)
	e.heard, e.idleAt = now, now
	if e.first.IsZero() {
		e.first = now
	}
	e.judge(now, stamp)
}

// reference unwraps the 24 bits of the receiver's clock.
func (e *estimator) reference(r uint32) int64 {
	if !e.refKnown {
		e.refKnown, e.ref = true, int64(r)
	}
	e.ref += int64(int32((r-uint32(e.ref))<<8) >> 8)
	return e.ref
}

// walk is the train of packets that is being read.
type walk struct {
	sent        int64
	first, last int64
	bytes       int // without the first
	n           int
	best        float64
	found       bool
}

// arrival takes one packet that has arrived.
func (e *estimator) arrival(w *walk, sent, at int64, size int) {
	i := at / bucketLength.Microseconds()
	b := &e.buckets[uint64(i)%bucketsInRing]
	if b.index != i {
		if at < e.arrived-slowWindow.Microseconds() { // a receiver whose clock jumps
			e.arrived, e.based, e.groups = at, false, [4]group{}
		}
		*b = bucket{index: i}
	}
	b.bytes += size
	if at >= e.arrived {
		e.arrived, e.lag = at, at-sent
	}
	if w.n > 0 && sent == w.sent {
		w.n++
		w.bytes += size
		w.last = max(w.last, at)
		return
	}
	w.end()
	w.sent, w.first, w.last, w.n, w.bytes = sent, at, at, 1, 0
	lag := at - sent
	e.noteBase(lag, at)
	if !b.has || lag < b.lag {
		b.lag, b.has = lag, true
	}
	// What is sent again, or sound, may lie between the packets of a picture.
	if g := e.groups[len(e.groups)-1]; g.ok && sent <= g.sent {
		return
	}
	copy(e.groups[:], e.groups[1:])
	e.groups[len(e.groups)-1] = group{sent: sent, arrived: at, lag: lag, ok: true}
}

// end measures a train that is complete.
func (w *walk) end() {
	if w.n < minTrain {
		return
	}
	// Receivers tell times in steps of 250 µs.
	span := max(w.last-w.first, 500)
	rate := float64(w.bytes*8) * 1e6 / float64(span)
	if !w.found || rate < w.best {
		w.best, w.found = rate, true
	}
}

// endTrain takes the slowest train of a feedback packet. It never promises more
// than twice the estimate: some links pass a burst that they do not carry for
// long.
func (e *estimator) endTrain(w *walk, now time.Time) {
	if w.end(); w.found {
		e.train, e.trainAt = min(trainPart*w.best, 2*max(e.est, e.peak)), now
	}
}

func (e *estimator) noteBase(lag, at int64) {
	half := baseWindow.Microseconds() / 2
	switch {
	case !e.based || at-e.baseAt > 2*half:
		e.base, e.baseAt, e.based = [2]int64{lag, lag}, at, true
	case at-e.baseAt > half:
		e.base, e.baseAt = [2]int64{lag, e.base[0]}, at
	default:
		e.base[0] = min(e.base[0], lag)
	}
}

// queueOf is the delay that a lag is above the shortest way.
func (e *estimator) queueOf(lag int64) time.Duration {
	return time.Duration(lag-min(e.base[0], e.base[1])) * time.Microsecond
}

// queue is the shortest that the newest pictures have met.
func (e *estimator) queue() time.Duration {
	q, ok := time.Duration(0), false
	for _, g := range e.groups[1:] {
		if d := e.queueOf(g.lag); g.ok && (!ok || d < q) {
			q, ok = d, true
		}
	}
	return q
}

// least is the shortest queue within a window of arrivals.
func (e *estimator) least(window time.Duration) (q time.Duration, ok bool) {
	newest := e.arrived / bucketLength.Microseconds()
	for i := range int64(window / bucketLength) {
		b := &e.buckets[uint64(newest-i)%bucketsInRing]
		if b.index != newest-i || !b.has {
			continue
		}
		if d := e.queueOf(b.lag); !ok || d < q {
			q, ok = d, true
		}
	}
	return q, ok
}

// delivered is the rate in bit/s within a window of arrivals. The bucket that
// is being filled counts for as long as it is old.
func (e *estimator) delivered(window time.Duration) float64 {
	step := bucketLength.Microseconds()
	newest := e.arrived / step
	bytes := 0
	n := int64(window / bucketLength)
	for i := range n + 1 {
		if b := &e.buckets[uint64(newest-i)%bucketsInRing]; b.index == newest-i {
			bytes += b.bytes
		}
	}
	return float64(bytes*8) * 1e6 / float64(n*step+e.arrived-newest*step)
}

// judge decides what the estimate becomes.
func (e *estimator) judge(now time.Time, stamp int64) {
	dt := min(now.Sub(e.grown), 300*time.Millisecond).Seconds()
	e.grown = now
	recent := e.delivered(500 * time.Millisecond)
	e.peak = max(recent, e.peak*(1-0.3*dt))
	if e.est == 0 && !e.begin(now) {
		return
	}
	if over, rate, grows := e.overused(); over {
		e.reduce(rate, !grows, now, stamp)
		return
	}
	trouble := e.losses.judge(now)
	if f := e.losses.fraction; trouble > 0 {
		rate := 0.95 / 0.9 * recent
		e.reduce(rate, f <= lossHeavy, now, stamp)
		return
	}
	q, ok := e.least(calm)
	if !ok || q > queueLow || e.losses.hold || now.Sub(e.cutAt) < calm {
		return
	}
	limit := e.limit(now)
	if e.est >= limit {
		if e.enough > 0 && e.est >= e.enough {
			e.narrow = false
		}
		return
	}
	grow := growFast
	if e.cut > 0 && e.est > 0.8*e.cut && e.est < 1.15*e.cut && e.train < 2*e.cut {
		grow = growSlow
	}
	// What arrives without a queue needs no slow approach.
	e.est = min(max(e.est*(1+grow*dt), 0.9*recent), limit)
}

// limit is how far the estimate may grow.
func (e *estimator) limit(now time.Time) float64 {
	l := appLimit * e.peak
	if now.Sub(e.trainAt) < trainValid {
		l = max(l, e.train)
	}
	if e.enough > 0 {
		l = min(l, e.enough)
	}
	return l
}

// begin makes the first estimate: as soon as there is too much, else after a
// moment. It reports whether there is one.
func (e *estimator) begin(now time.Time) bool {
	over, _, _ := e.overused()
	if !over && (now.Sub(e.first) < time.Second || e.packets < 20) {
		return false
	}
	e.est = max(e.limit(now), minEstimate)
	return true
}

// overused reports that more is sent than the link carries, the rate in bit/s at
// which it was delivered, and whether the queue grows fast. Then the link was
// busy all the time, and the rate is what it carries, however often that is said.
func (e *estimator) overused() (over bool, rate float64, grows bool) {
	if q := e.queueOf(e.lag); q > queueHuge {
		if was, ok := e.least(time.Second); ok && q-was > queueHuge/2 {
			return true, e.delivered(2 * bucketLength), true
		}
	}
	g := e.groups[len(e.groups)-3:]
	if !g[0].ok {
		return false, 0, false
	}
	q0, q1, q2 := e.queueOf(g[0].lag), e.queueOf(g[1].lag), e.queueOf(g[2].lag)
	if q0 > queueHigh && q2 > q1 && q2-q0 > rising {
		span := time.Duration(g[2].arrived-g[0].arrived) * time.Microsecond
		grows := (q2 - q0).Seconds() > 0.15*span.Seconds()
		if grows || g[0].sent > e.gate {
			return true, e.delivered(max(deliveredWindow, min(span, time.Second))), grows
		}
	}
	if e.arrived-(e.gate+g[0].lag) < slowWindow.Microseconds() {
		return false, 0, false // the window reaches back before the last cut
	}
	if q, ok := e.least(slowWindow); ok && q > queueLow {
		return true, e.delivered(slowWindow), false
	}
	return false, 0, false
}

// reduce sets the estimate below the rate at which packets arrive. Gently, where
// little was sent and something else may have filled the queue.
func (e *estimator) reduce(rate float64, gently bool, now time.Time, stamp int64) {
	e.narrow = true
	to := 0.9 * rate
	if gently {
		to = max(to, 0.7*e.est)
	}
	if to < e.est {
		e.cut = e.est
		if rate < e.est {
			e.cut = rate
		}
		e.est = max(to, minEstimate)
	}
	if now.Sub(e.probed) < 2*time.Second {
		e.probeGap = min(2*e.probeGap, maxProbeGap)
	}
	e.cutAt, e.gate = now, stamp+reaction.Microseconds()
	e.train = 0
}

// repairs returns how many bytes may be sent a second time now, of those that
// receivers ask for. A narrow link is not made any wider by sending what it has
// dropped again and again.
func (e *estimator) repairs(now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.narrow {
		return maxRepairs
	}
	per := repairPart * e.est / 8
	e.again = min(e.again+per*now.Sub(e.fedAt).Seconds(), per)
	e.fedAt = now
	return int(e.again)
}

func (e *estimator) repaired(bytes int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.again -= float64(bytes)
}

// idle is called about once a second while something is sent. It halves the
// estimate when nothing is heard of the receiver any more.
func (e *estimator) idle(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// A source that sends a picture now and then hears nothing in between, and
	// that says nothing of the link.
	paused := now.Sub(e.called) > silentLink
	e.called = now
	if paused {
		e.quiet = now
	}
	if e.est == 0 || e.heard.IsZero() || now.Sub(e.heard) < silentLink || now.Sub(e.quiet) < silentLink || now.Sub(e.idleAt) < 900*time.Millisecond {
		return
	}
	e.idleAt, e.cutAt, e.narrow = now, now, true
	e.est = max(e.est/2, minEstimate)
}

// probe returns how many packets should be sent again, as a train that shows
// what the link could carry; mostly 0.
func (e *estimator) probe(now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.narrow || e.heard.IsZero() || e.enough > 0 && e.est >= e.enough {
		return 0
	}
	// Where enough is sent the pictures themselves show it.
	if e.est < 0.9*appLimit*e.peak || e.est < 0.95*e.limit(now) {
		return 0
	}
	if now.Sub(e.probed) < e.probeGap || now.Sub(e.cutAt) < e.probeGap || now.Sub(e.heard) > silentLink {
		return 0
	}
	if !e.probed.IsZero() && e.cutAt.Before(e.probed) {
		e.probeGap = probeGap
	}
	e.probed = now
	return probePackets
}

// guess stands in for a probe where packets cannot be sent again: what was not
// too much may be tried with half as much more.
func (e *estimator) guess(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.train, e.trainAt = max(e.train, 1.5*e.est), now
}

// blindMeter is for receivers that send no transport-wide feedback.
type blindMeter struct {
	at    time.Time
	bytes uint64
}

// report takes a receiver report (RFC 3550 section 6.4.2): the fraction lost of
// what was sent since the last one, and the bytes that were sent in all. It
// matters only where no transport-wide feedback comes.
func (e *estimator) report(lost float64, sent uint64, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.blind
	e.blind = blindMeter{at: now, bytes: sent}
	d := now.Sub(was.at)
	if !e.heard.IsZero() || was.at.IsZero() || d < 200*time.Millisecond || d > 20*time.Second || sent <= was.bytes {
		return
	}
	rate := float64(sent-was.bytes) * 8 / d.Seconds()
	e.peak = max(rate*(1-lost), e.peak*0.8)
	switch {
	case lost > lossAlways+lossCut:
		e.est, e.cutAt, e.narrow = max(0.95*rate*(1-lost), minEstimate), now, true
	case e.est == 0:
		e.est = max(e.limit(now), minEstimate)
	case lost <= lossAlways:
		// Without transport feedback no train can be measured: what has gone well
		// for a while is tried a little beyond.
		if e.narrow && e.est >= 0.95*e.limit(now) && now.Sub(e.cutAt) > probeGap && now.Sub(e.trainAt) >= trainValid {
			e.train, e.trainAt = 1.5*e.est, now
		}
		if e.enough > 0 && e.est >= e.enough {
			e.narrow = false
		}
		if l := e.limit(now); e.est < l {
			e.est = min(e.est*(1+growFast/3*d.Seconds()), l)
		}
	}
}
