package depacket

// Guard watches the sequence numbers of one track and tells which packets
// belong to an access unit that has lost a part. It knows no codec: all
// packets of an access unit share a timestamp, the last one has the marker bit
// (RFC 3550 section 5.1; RFC 6184 section 5.1, RFC 7741 section 4.1 and others).
type Guard struct {
	seen   bool
	seq    uint16
	ts     uint32
	marker bool

	skipping bool // the rest of the access unit at skip is dropped
	skip     uint32
}

// Verdict is what a Guard thinks of a packet.
type Verdict struct {
	// Lost is the number of packets missing before this one.
	Lost uint16
	// Cut says that the access unit under way will not be completed.
	Cut bool
	// Drop says that the packet belongs to an access unit that is broken.
	Drop bool
}

// Packet judges the next packet that came.
func (g *Guard) Packet(seq uint16, ts uint32, marker bool) Verdict {
	var v Verdict
	first := !g.seen
	if !first {
		if d := seq - g.seq - 1; d != 0 && d < 0x8000 {
			v.Lost = d
		} else if d >= 0x8000 {
			// Older than the one before: a repetition, or a source that
			// has started anew. Its access unit cannot be trusted.
			v.Cut = true
		}
	}
	if v.Lost > 0 && !g.marker {
		v.Cut = true
		if ts == g.ts {
			g.GiveUp(ts)
		}
	}
	g.seen, g.seq, g.ts, g.marker = true, seq, ts, marker
	if g.skipping {
		if ts == g.skip {
			v.Drop = true
			return v
		}
		g.skipping = false
	}
	return v
}

// GiveUp drops what is still to come of the access unit at ts.
func (g *Guard) GiveUp(ts uint32) { g.skipping, g.skip = true, ts }
