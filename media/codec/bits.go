package codec

// bitReader reads bits from the most significant one on. Errors stick: after
// the first read beyond the end every read returns 0 and bad is set, so that
// parsers check once, at the end, as long as their loops are bounded.
type bitReader struct {
	b    []byte
	pos  int  // next byte
	cur  byte // the byte being read
	left uint // bits left in cur
	// escaped makes the reader skip emulation prevention bytes (H.264 and
	// H.265, section 7.4.1 of both) without copying the unit.
	escaped bool
	zeros   int
	bad     bool
}

func (r *bitReader) load() {
	if r.escaped && r.zeros >= 2 && r.pos < len(r.b) && r.b[r.pos] == 3 {
		r.pos++
		r.zeros = 0
	}
	if r.pos >= len(r.b) {
		r.bad = true
		return
	}
	r.cur = r.b[r.pos]
	r.pos++
	r.left = 8
	if r.cur == 0 {
		r.zeros++
	} else {
		r.zeros = 0
	}
}

// u reads n bits, n up to 32.
func (r *bitReader) u(n uint) uint32 {
	var v uint64
	for n > 0 {
		if r.left == 0 {
			if r.load(); r.bad {
				return 0
			}
		}
		k := min(n, r.left)
		v = v<<k | uint64(r.cur>>(r.left-k))&(1<<k-1)
		r.left -= k
		n -= k
	}
	return uint32(v)
}

func (r *bitReader) flag() bool { return r.u(1) == 1 }

func (r *bitReader) skip(n uint) {
	for ; n > 32 && !r.bad; n -= 32 {
		r.u(32)
	}
	r.u(n)
}

// ue reads an unsigned Exp-Golomb code (H.264 section 9.1); uvlc of AV1 is
// the same. Codes of more than 31 leading zeros do not fit and are an error.
func (r *bitReader) ue() uint32 {
	var n uint
	for !r.flag() {
		if n++; r.bad || n > 31 {
			r.bad = true
			return 0
		}
	}
	return 1<<n - 1 + r.u(n)
}

// ueMax reads an unsigned code that may not exceed limit.
func (r *bitReader) ueMax(limit uint32) uint32 {
	v := r.ue()
	if v > limit {
		r.bad = true
		return 0
	}
	return v
}

func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2 + 1)
	}
	return -int32(v / 2)
}
