package peer

import (
	"time"

	"github.com/pion/rtp"
)

const (
	// maxAbsent is how many packets may be missing before a stream counts as
	// begun anew: half a second of a fast camera. It bounds what is held too.
	maxAbsent = 512
	// A packet is asked for at once, and again when the answer is overdue.
	firstRoundTrip = 60 * time.Millisecond
	minRetry       = 10 * time.Millisecond
	maxTimes       = 4
	// What has not come by then is given up: the picture is lost, a key frame
	// is quicker.
	minPatience, maxPatience = 80 * time.Millisecond, 600 * time.Millisecond
)

// reorder puts the packets of one RTP stream in order. It holds packets back
// only behind one that is missing, and no longer than asking for it again
// makes sense; without loss nothing waits. It has no goroutine and no clock.
type reorder struct {
	started bool
	next    uint16 // the next packet to be given out
	end     uint16 // one behind the newest that was seen
	held    map[uint16]*rtp.Packet
	missing map[uint16]*absent
	rtt     time.Duration // of the link; 0: not known
	strange *rtp.Packet   // the newest, if it is far from all others
}

// absent is a packet that was sent but has not come.
type absent struct {
	since, asked time.Time
	times        int
}

// push takes a packet and returns those that can be used now, in order. A gap
// in what it returns is a loss.
func (r *reorder) push(p *rtp.Packet, now time.Time) []*rtp.Packet {
	seq := p.SequenceNumber
	switch d := int16(seq - r.next); {
	case r.started && (d > maxAbsent || d < -maxAbsent) && (r.strange == nil || r.strange.SequenceNumber+1 != seq):
		// A straggler, or a new beginning: the next one tells (RFC 3550
		// appendix A.1).
		r.strange = p
		return nil
	case !r.started:
		r.begin(seq)
	case d > maxAbsent, d < -maxAbsent:
		before := r.strange
		r.begin(before.SequenceNumber)
		r.held[before.SequenceNumber] = before
		r.end = seq
	case d < 0:
		return nil // came twice, or after it was given up
	}
	r.strange = nil
	delete(r.missing, seq)
	for s := r.end; int16(seq-s) > 0; s++ {
		r.missing[s] = &absent{since: now}
	}
	if int16(seq-r.end) >= 0 {
		r.end = seq + 1
	}
	r.held[seq] = p
	return r.release(nil)
}

func (r *reorder) begin(seq uint16) {
	r.started, r.next, r.end = true, seq, seq
	r.held, r.missing = map[uint16]*rtp.Packet{}, map[uint16]*absent{}
}

func (r *reorder) roundTrip() time.Duration {
	if r.rtt == 0 {
		return firstRoundTrip
	}
	return r.rtt
}

func (r *reorder) retry() time.Duration { return max(r.roundTrip()*5/4, minRetry) }

func (r *reorder) patience() time.Duration {
	return min(max(3*r.roundTrip(), minPatience), maxPatience)
}

// release gives out what is in order.
func (r *reorder) release(out []*rtp.Packet) []*rtp.Packet {
	for {
		p := r.held[r.next]
		if p == nil {
			return out
		}
		delete(r.held, r.next)
		r.next++
		out = append(out, p)
	}
}

// tick returns the packets to ask for and, where the patience with the oldest
// missing one has ended, those behind it.
func (r *reorder) tick(now time.Time) (ask []uint16, out []*rtp.Packet) {
	for len(r.missing) > 0 {
		a := r.missing[r.next]
		if a == nil || now.Sub(a.since) < r.patience() {
			break
		}
		delete(r.missing, r.next)
		r.next++
		out = r.release(out)
	}
	for s := r.next; s != r.end; s++ {
		if a := r.missing[s]; a != nil && (a.times == 0 || a.times < maxTimes && now.Sub(a.asked) >= r.retry()) {
			a.asked = now
			a.times++
			ask = append(ask, s)
		}
	}
	return ask, out
}

// due tells when tick has something to do again; zero: only after a push.
func (r *reorder) due() time.Time {
	var at time.Time
	for _, a := range r.missing {
		t := a.since.Add(r.patience())
		if a.times == 0 {
			t = a.since
		} else if a.times == maxTimes {
			// only its end is left
		} else if again := a.asked.Add(r.retry()); again.Before(t) {
			t = again
		}
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}
