package peer

import "time"

const (
	// maxSkew is how far sound and picture may be apart: beyond it the sender's
	// wall clock has been set, or is nonsense.
	maxSkew = 2 * time.Second
	// A correction is spread, so that no timestamp ever runs backwards.
	slewShare = 50 // of the time that has passed since the packet before
)

// origin is the time line that all streams of one sender share.
type origin struct {
	start time.Time
	known bool
	// ntp is the sender's wall clock at the origin of the time line.
	ntp time.Time
}

// inClock places the RTP timestamps of one stream on its sender's time line:
// at first by when the first packet came, then by the sender reports, which
// tell how the clocks of its streams belong together (RFC 3550 section 6.4.1).
type inClock struct {
	rate    int64
	started bool
	last    uint32
	ticks   int64         // since the first packet, unwrapped
	base    time.Duration // of the first packet
	debt    time.Duration // correction that is still to be spread
	pts     time.Duration // of the packet before
}

// place returns the PTS of a packet.
func (c *inClock) place(ts uint32, now time.Time, o *origin) time.Duration {
	if !c.started {
		c.started = true
		c.last, c.base = ts, now.Sub(o.start)
	}
	c.ticks += int64(int32(ts - c.last))
	c.last = ts
	if step := c.at(c.ticks) - c.pts; step > 0 && c.debt != 0 {
		part := min(step/slewShare, c.debt.Abs())
		if c.debt < 0 {
			part = -part
		}
		c.base += part
		c.debt -= part
	}
	c.pts = c.at(c.ticks)
	return c.pts
}

func (c *inClock) at(ticks int64) time.Duration {
	return c.base + time.Duration(ticks/c.rate)*time.Second + time.Duration(ticks%c.rate)*time.Second/time.Duration(c.rate)
}

// report takes a sender report. The first one of any stream ties the sender's
// wall clock to the time line; those of the other streams then correct them.
func (c *inClock) report(wall time.Time, ts uint32, o *origin) {
	if !c.started {
		return
	}
	mine := c.at(c.ticks + int64(int32(ts-c.last)))
	if !o.known {
		o.known = true
		o.ntp = wall.Add(-mine)
		return
	}
	off := wall.Sub(o.ntp) - mine
	if off.Abs() >= maxSkew {
		// The sender's wall clock was set: what it said before means nothing.
		o.ntp, off = wall.Add(-mine), 0
	}
	c.debt = off
}

// fromNTP converts the 32.32 format of RTCP (RFC 3550 section 4).
func fromNTP(t uint64) time.Time {
	const era = 2208988800 // from 1900 to 1970, s
	sec, frac := int64(t>>32)-era, int64(t&0xffffffff)
	return time.Unix(sec, frac*int64(time.Second)>>32)
}
