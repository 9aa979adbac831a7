package command

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Numbers of ISO/IEC 13818-1 sections 2.4.3 and 2.4.4.
const (
	packetSize = 188
	syncByte   = 0x47
	patPID     = 0
	nullPID    = 0x1fff
	maxSection = 1024 // bytes of a PAT or PMT
)

// demuxer takes MPEG-TS apart into packetized units (PES packets), each of
// which holds a picture or some sound.
//
// Why not the demuxer of a library: go-astits, on which mediacommon builds too,
// copies all it has of a unit with each packet to see if that was the last one,
// which for a large key frame takes longer than the frame lasts; it keeps what
// never ends; and it waits for the next unit where a unit does not tell its
// length, as those of video usually do not. Here, such a unit also ends when
// the output pauses after a packet that was filled up: the next unit begins in
// a packet of its own, so that the last packet of each is.
type demuxer struct {
	pipe *pipe
	// tables is told of each new program map.
	tables func([]stream) error
	// unit is told of each unit of a stream that tables has asked for. It
	// owns body. at is when the last byte came.
	unit func(pid uint16, pts int64, body []byte, at time.Time) error
	// lost is told of what could not be used.
	lost func(why string)

	buf    []byte
	r, w   int // what is unread is buf[r:w]
	synced bool

	pat, pmt section
	pmtPID   uint16 // 0 until there is a PAT
	wanted   map[uint16]*elementary
}

func newDemuxer(p *pipe) *demuxer {
	return &demuxer{pipe: p, buf: make([]byte, 64<<10), wanted: map[uint16]*elementary{}}
}

// want asks for the units of these streams and of no others.
func (d *demuxer) want(pids ...uint16) {
	maps.DeleteFunc(d.wanted, func(pid uint16, _ *elementary) bool { return !slices.Contains(pids, pid) })
	for _, pid := range pids {
		if d.wanted[pid] == nil {
			d.wanted[pid] = &elementary{pid: pid}
		}
	}
}

// run reads until the pipe ends or somebody returns an error.
func (d *demuxer) run() error {
	for {
		for pkt := d.next(); pkt != nil; pkt = d.next() {
			if err := d.packet(pkt); err != nil {
				return err
			}
		}
		idle := time.Duration(0)
		if d.r == d.w { // otherwise the rest of a packet is on its way
			for _, e := range d.wanted {
				if e.open && e.want == 0 && e.filled {
					idle = idleAfter
				}
			}
		}
		if d.r > 0 {
			d.w = copy(d.buf, d.buf[d.r:d.w])
			d.r = 0
		}
		n, err := d.pipe.read(d.buf[d.w:], idle)
		d.w += n
		switch {
		case errors.Is(err, errIdle):
			for _, e := range d.wanted {
				if e.open && e.want == 0 && e.filled {
					if err := d.finish(e); err != nil {
						return err
					}
				}
			}
		case err != nil:
			for _, e := range d.wanted {
				if e.open && e.want == 0 {
					if err := d.finish(e); err != nil {
						return err
					}
				}
			}
			return err
		}
	}
}

// next returns the next packet in the buffer, or nil if there is none.
func (d *demuxer) next() []byte {
	for d.w-d.r >= packetSize {
		pkt := d.buf[d.r : d.r+packetSize]
		// Out of step, a sync byte alone proves nothing.
		ok := pkt[0] == syncByte
		if ok && !d.synced && d.w-d.r > packetSize {
			ok = d.buf[d.r+packetSize] == syncByte
		}
		if ok {
			d.synced = true
			d.r += packetSize
			return pkt
		}
		if d.synced {
			d.lost("the packets of its MPEG-TS are out of step")
		}
		d.synced = false
		d.r++
	}
	return nil
}

func (d *demuxer) packet(pkt []byte) error {
	pid := uint16(pkt[1]&0x1f)<<8 | uint16(pkt[2])
	if pid == nullPID || pkt[1]&0x80 != 0 || pkt[3]&0x10 == 0 {
		// Fillers, packets known to be damaged, and packets without payload.
		return nil
	}
	payload, filled := payloadOf(pkt)
	starts := pkt[1]&0x40 != 0 // payload_unit_start_indicator
	switch pid {
	case patPID:
		if s := d.pat.add(payload, starts, 0x00); s != nil {
			d.programs(s)
		}
	case d.pmtPID:
		if s := d.pmt.add(payload, starts, 0x02); s != nil {
			streams, ok := parsePMT(s)
			if !ok {
				d.lost("its MPEG-TS has a program map that makes no sense")
				return nil
			}
			return d.tables(streams)
		}
	default:
		e := d.wanted[pid]
		if e == nil {
			return nil
		}
		return d.payload(e, pkt, payload, starts, filled)
	}
	return nil
}

// programs takes the first program of a PAT (section 2.4.4.3).
func (d *demuxer) programs(s []byte) {
	for e := s[8 : len(s)-4]; len(e) >= 4; e = e[4:] {
		if number := uint16(e[0])<<8 | uint16(e[1]); number != 0 {
			if pid := uint16(e[2]&0x1f)<<8 | uint16(e[3]); pid != d.pmtPID {
				d.pmtPID, d.pmt = pid, section{}
			}
			return
		}
	}
}

// elementary is a stream whose units are of interest.
type elementary struct {
	pid    uint16
	known  bool
	cc     byte   // continuity_counter of the newest packet
	open   bool   // a unit has begun and not ended
	data   []byte // of that unit, header included
	want   int    // bytes that it announced; 0 if it did not
	last   int    // bytes of the unit before
	filled bool   // the newest packet was filled up
	at     time.Time
}

// payload takes a packet of a stream.
func (d *demuxer) payload(e *elementary, pkt, payload []byte, starts, filled bool) error {
	cc := pkt[3] & 0x0f
	announced := pkt[3]&0x20 != 0 && pkt[4] > 0 && pkt[5]&0x80 != 0 // discontinuity_indicator
	if e.known && !announced {
		if cc == e.cc {
			return nil // a packet may be sent twice
		}
		if cc != (e.cc+1)&0x0f {
			d.lost("packets of its MPEG-TS are missing")
			if !starts || e.want > 0 {
				e.open = false
			}
		}
	}
	e.known, e.cc = true, cc
	if starts {
		if e.open {
			if e.want > 0 {
				d.lost("a unit of its MPEG-TS is shorter than it said")
			} else if err := d.finish(e); err != nil {
				return err
			}
		}
		e.open = len(payload) >= 6 && payload[0] == 0 && payload[1] == 0 && payload[2] == 1
		if !e.open {
			return nil
		}
		e.want = int(payload[4])<<8 | int(payload[5])
		if e.want > 0 {
			e.want += 6
		}
		e.data = make([]byte, 0, max(e.want+packetSize, e.last+e.last/4, 2*packetSize))
	}
	if !e.open {
		return nil
	}
	e.data = append(e.data, payload...)
	e.at, e.filled = d.pipe.at, filled
	if len(e.data) > maxUnit {
		return fmt.Errorf("%w: more than %d bytes without an end", ErrTooLarge, maxUnit)
	}
	if e.want > 0 && len(e.data) >= e.want {
		e.data = e.data[:e.want]
		return d.finish(e)
	}
	return nil
}

// finish takes a whole unit apart (section 2.4.3.6).
func (d *demuxer) finish(e *elementary) error {
	b := e.data
	e.open, e.data, e.last = false, nil, len(b)
	if len(b) < 9 || b[6]&0xc0 != 0x80 || len(b) < 9+int(b[8]) {
		d.lost("a unit of its MPEG-TS has no proper header")
		return nil
	}
	if b[7]&0x80 == 0 || b[8] < 5 {
		d.lost("a unit of its MPEG-TS has no time stamp")
		return nil
	}
	pts := int64(b[9]>>1&7)<<30 | int64(b[10])<<22 | int64(b[11]>>1)<<15 | int64(b[12])<<7 | int64(b[13]>>1)
	return d.unit(e.pid, pts, b[9+int(b[8]):], e.at)
}

// payloadOf returns the payload of a packet, and whether its adaptation field
// is longer than what it holds (section 2.4.3.4).
func payloadOf(pkt []byte) (payload []byte, filled bool) {
	if pkt[3]&0x20 == 0 {
		return pkt[4:], false
	}
	n := int(pkt[4])
	if n == 0 {
		return pkt[5:], true
	}
	if 5+n > packetSize {
		return nil, false
	}
	field := pkt[5 : 5+n]
	used := 1
	for _, f := range []struct {
		flag byte
		size int
	}{{0x10, 6}, {0x08, 6}, {0x04, 1}} { // PCR, OPCR, splice_countdown
		if field[0]&f.flag != 0 {
			used += f.size
		}
	}
	for _, flag := range []byte{0x02, 0x01} { // private data, extension: with their lengths
		if field[0]&flag != 0 && used < n {
			used += 1 + int(field[used])
		}
	}
	return pkt[5+n:], n > used
}

// section puts a table together (section 2.4.4). The zero value is empty.
type section struct {
	buf   []byte
	open  bool
	known []byte // the newest table that was handed out
}

// add takes a payload. It returns a table that is whole, sound, of the given
// kind and other than the one before, or nil.
func (s *section) add(b []byte, starts bool, kind byte) []byte {
	if starts {
		if len(b) == 0 || 1+int(b[0]) > len(b) { // pointer_field
			s.open = false
			return nil
		}
		s.buf, s.open = append(s.buf[:0], b[1+int(b[0]):]...), true
	} else if s.open {
		s.buf = append(s.buf, b...)
	}
	if !s.open || len(s.buf) < 3 {
		return nil
	}
	n := 3 + int(s.buf[1]&0x0f)<<8 + int(s.buf[2])
	switch {
	case n > maxSection || n < 12 || s.buf[0] != kind:
		s.open = false
		return nil
	case len(s.buf) < n:
		return nil
	}
	s.open = false
	table := s.buf[:n]
	// current_next_indicator: not yet valid tables are announced beforehand.
	if table[5]&1 == 0 || bytes.Equal(table, s.known) || checksum(table) != 0 {
		return nil
	}
	s.known = bytes.Clone(table)
	return s.known
}

// checksum is the CRC of annex A; over a table with its own CRC it is zero.
func checksum(b []byte) uint32 {
	crc := ^uint32(0)
	for _, c := range b {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// stream is what a program map says of one stream.
type stream struct {
	kind        byte // stream_type, table 2-34
	pid         uint16
	descriptors []byte
}

// parsePMT reads a program map (section 2.4.4.8).
func parsePMT(s []byte) (streams []stream, ok bool) {
	if len(s) < 16 {
		return nil, false
	}
	b := s[12 : len(s)-4]
	skip := int(s[10]&0x0f)<<8 | int(s[11])
	if skip > len(b) {
		return nil, false
	}
	for b = b[skip:]; len(b) >= 5; {
		n := int(b[3]&0x0f)<<8 | int(b[4])
		if 5+n > len(b) {
			return nil, false
		}
		streams = append(streams, stream{kind: b[0], pid: uint16(b[1]&0x1f)<<8 | uint16(b[2]), descriptors: b[5 : 5+n]})
		b = b[5+n:]
	}
	return streams, true
}

// descriptor returns the content of the first descriptor with a tag.
func (s stream) descriptor(tag byte) []byte {
	for b := s.descriptors; len(b) >= 2 && len(b) >= 2+int(b[1]); b = b[2+int(b[1]):] {
		if b[0] == tag {
			return b[2 : 2+int(b[1])]
		}
	}
	return nil
}
