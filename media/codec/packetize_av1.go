package codec

// Aggregation header of the AV1 RTP specification, section 4.4.
const (
	av1Continued = 0x80 // Z: the first element continues the one before
	av1Continues = 0x40 // Y: the last element goes on in the next packet
	av1NewSeq    = 0x08 // N: a coded video sequence begins
)

// av1 packs a temporal unit. Every packet is filled to the limit, OBUs run on
// from one into the next.
func (p *packer) av1(units [][]byte, key bool) {
	var few [8]obu
	obus := few[:0]
	size := 0
	for _, u := range units {
		for len(u) > 0 && len(obus) < maxOBUs {
			o, rest, _, ok := nextOBU(u)
			if !ok {
				break
			}
			u = rest
			switch o.typ {
			case obuTemporal, obuTileList, obuPadding: // section 5
				continue
			}
			obus = append(obus, o)
			size += o.size() + 3
		}
	}
	if len(obus) == 0 {
		return
	}
	count := size/(p.limit-4) + 2
	p.reserve(size+4*count, count)

	w := av1Writer{p: p, obus: obus}
	for len(w.obus) > 0 {
		w.packet()
	}
	if key {
		p.out[0][0] |= av1NewSeq
	}
}

// av1Writer stands at byte done of the first of obus.
type av1Writer struct {
	p    *packer
	obus []obu
	done int
}

func (w *av1Writer) rest() int { return w.obus[0].size() - w.done }

// write takes n bytes off the first OBU and reports whether that was its end.
func (w *av1Writer) write(n int) bool {
	o := &w.obus[0]
	if w.done < o.hlen {
		h := min(n, o.hlen-w.done)
		w.p.buf = append(w.p.buf, o.header[w.done:w.done+h]...)
		w.done += h
		n -= h
	}
	at := w.done - o.hlen
	if n > 0 {
		w.p.buf = append(w.p.buf, o.payload[at:at+n]...)
		w.done += n
	}
	if w.done < o.size() {
		return false
	}
	w.obus, w.done = w.obus[1:], 0
	return true
}

// count says how many elements the next packet gets. 0 means that they all
// carry their length: there are more than three, or the last one then fills the
// packet to the byte.
func (w *av1Writer) count() int {
	room := w.p.limit - 1
	for i := range w.obus {
		n := w.obus[i].size()
		if i == 0 {
			n -= w.done
		}
		with := leb128Size(n) + n
		switch {
		case i == 3:
			return 0
		case i == len(w.obus)-1 || with > room:
			return i + 1
		case with == room:
			return 0
		}
		room -= with
	}
	return 0
}

func (w *av1Writer) packet() {
	p := w.p
	start := len(p.buf)
	var head byte
	if w.done > 0 {
		head = av1Continued
	}
	count := w.count()
	head |= byte(count << 4)
	p.buf = append(p.buf, head)
	for i := 1; len(w.obus) > 0; i++ {
		room := p.limit - (len(p.buf) - start)
		n := w.rest()
		if i == count {
			if !w.write(min(n, room)) {
				p.buf[start] |= av1Continues
			}
			break
		}
		if leb128Size(n)+n > room {
			if n = room - 1; leb128Size(n)+n > room {
				n = room - leb128Size(n)
			}
			if n < 1 {
				break
			}
		}
		p.buf = appendLEB128(p.buf, n)
		if !w.write(n) {
			p.buf[start] |= av1Continues
			break
		}
	}
	p.end(start)
}
