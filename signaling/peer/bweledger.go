package peer

import (
	"sync/atomic"
	"time"
)

const (
	// ledgerSize is how many packets are remembered: two seconds of 12 Mbit/s.
	ledgerSize = 2048
	// wireOverhead is what a packet has beside its payload, in bytes: IP, UDP,
	// RTP with extensions, SRTP tag.
	wireOverhead = 70
)

// ledger remembers when packets were sent and how large they were, by their
// transport-wide sequence number. Noting one is a single store: sending must
// not cost more for being measured.
type ledger struct {
	start time.Time
	// slots hold the sending time in microseconds since start, modulo 2^32, the
	// size in bytes, and the sequence number.
	slots [ledgerSize]atomic.Uint64
}

// at is the stamp of a time.
func (l *ledger) at(now time.Time) int64 { return now.Sub(l.start).Microseconds() }

func (l *ledger) note(seq uint16, size int, at int64) {
	l.slots[seq%ledgerSize].Store(uint64(uint32(at))<<32 | uint64(min(size+wireOverhead, 0xffff))<<16 | uint64(seq))
}

// find returns what was noted not later than now.
func (l *ledger) find(seq uint16, now int64) (sent int64, size int, ok bool) {
	s := l.slots[seq%ledgerSize].Load()
	size = int(s >> 16 & 0xffff)
	if size == 0 || uint16(s) != seq {
		return 0, 0, false
	}
	return now - int64(int32(uint32(now)-uint32(s>>32))), size, true
}

// lossMeter counts what is lost.
type lossMeter struct {
	since        time.Time
	got, lost    int
	usual        float64 // fraction that the link always loses
	fraction     float64 // of the last window
	hold, judged bool
}

func (m *lossMeter) add(got bool) {
	if got {
		m.got++
	} else {
		m.lost++
	}
}

// judge closes the window when it tells enough. It returns more than 0 when
// more is lost than always.
func (m *lossMeter) judge(now time.Time) float64 {
	if m.since.IsZero() {
		m.since = now
	}
	n, d := m.got+m.lost, now.Sub(m.since)
	f := float64(m.lost) / float64(max(n, 1))
	full := n >= 60 && d >= calm || n >= 20 && d >= 3*calm || n >= 30 && f > lossHeavy && d >= 2*reaction
	if !full {
		return 0
	}
	m.since, m.got, m.lost, m.fraction = now, 0, 0, f
	if f < m.usual || !m.judged {
		m.usual = min(f, lossAlways)
	} else {
		m.usual += 0.05 * (min(f, lossAlways) - m.usual)
	}
	m.judged = true
	m.hold = f > m.usual+lossHold
	return max(0, f-m.usual-lossCut)
}
