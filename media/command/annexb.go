package command

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"camwire/media"
)

// startCode begins every NAL unit of a byte stream (ITU-T H.264 and H.265,
// annex B). A further zero before it belongs to neither unit.
var startCode = []byte{0, 0, 1}

const (
	// maxNALs bounds the units of one picture.
	maxNALs = 4096
	// idleAfter is the pause in the output after which a picture counts as
	// complete. Nothing in a byte stream tells the end of a picture but the
	// start of the next one, and to wait for that costs a whole frame. An
	// encoder writes a picture in one go, so the pipe has all of it within
	// far less than this; a pause in the middle happens when the encoder is
	// not scheduled in between two writes.
	idleAfter = 3 * time.Millisecond
	// idleGiveUp is from where on waiting for a pause gains nothing.
	idleGiveUp = 25 * time.Millisecond
)

// annexB passes on the pictures of a byte stream. It carries no time, so PTS is
// the time of arrival.
func (e *emitter) annexB(is265 bool) error {
	c := media.H264
	if is265 {
		c = media.H265
	}
	e.sink.Start(media.Tracks{{Codec: c, ClockRate: 90000}})
	sp := &splitter{is265: is265, emit: func(units [][]byte, at time.Time) {
		e.write(&media.Frame{PTS: e.stamp(at), Arrived: at, Units: units}, true)
	}}
	buf := make([]byte, 256<<10)
	pause, cuts := idleAfter, 0
	for {
		idle := time.Duration(0)
		if pause > 0 && sp.complete() && !e.pipe.torn() {
			idle = pause
		}
		n, err := e.pipe.read(buf, idle)
		switch {
		case errors.Is(err, errIdle):
			sp.flush()
			continue
		case err != nil:
			sp.finish()
			return err
		}
		if err := sp.push(buf[:n], e.pipe.at); err != nil {
			return err
		}
		if sp.cuts > cuts {
			// The program pauses in the middle of its pictures.
			e.drop(uint64(sp.cuts-cuts), "the pictures come in pieces")
			cuts = sp.cuts
			if pause *= 3; pause > idleGiveUp {
				pause = 0
			}
			e.source.opts.Log.Debug("pause taken for the end of a picture", "program", e.source.name, "pause_from_now_on", pause)
		}
	}
}

// splitter cuts a byte stream into access units. It owns no goroutine and no
// clock: bytes and pauses go in, access units come out of emit.
type splitter struct {
	is265 bool
	emit  func(units [][]byte, at time.Time)
	// cuts counts the pauses that were taken for the end of a picture but
	// were none.
	cuts int

	cur     []byte    // the unit under way without its start code
	inside  bool      // there is one; otherwise cur is of no use
	scan    int       // where in cur the search for a start code goes on
	next    bool      // there is one, but the header behind it is not there yet
	at      time.Time // the newest bytes
	units   [][]byte  // what is finished of the access unit
	size    int       // bytes of units
	picture bool      // the access unit has a slice
	flushed bool      // a pause ended it: nothing more of it must come
	skip    bool      // the rest of it is dropped
}

// push takes bytes that arrived at a time.
func (s *splitter) push(b []byte, at time.Time) error {
	before, fresh := s.at, len(s.cur)
	s.at = at
	s.cur = append(s.cur, b...)
	cur := s.cur
	s.next = false
	for {
		i := bytes.Index(cur[s.scan:], startCode)
		if i < 0 {
			s.scan = max(s.scan, len(cur)-len(startCode)+1)
			break
		}
		i += s.scan
		head := i + len(startCode)
		if len(cur) < head+headerSize {
			s.scan, s.next = i, true
			break
		}
		when := at
		if len(bytes.TrimRight(cur[:i], "\x00")) <= fresh {
			when = before
		}
		s.end(cur[:i])
		cur, fresh, s.scan, s.inside = cur[head:], fresh-head, 0, true
		s.begin(cur, when)
		if len(s.units) > maxNALs {
			return fmt.Errorf("%w: more than %d units", ErrTooLarge, maxNALs)
		}
	}
	if !s.inside {
		s.strange(cur[:s.scan])
		cur, s.scan = cur[s.scan:], 0
	}
	if len(cur) != len(s.cur) {
		s.cur = append(s.cur[:0], cur...)
	}
	if s.size+len(s.cur) > maxUnit {
		return fmt.Errorf("%w: more than %d bytes without an end", ErrTooLarge, maxUnit)
	}
	return nil
}

// headerSize is how many bytes of a unit classify needs. What is shorter holds
// no picture and is told by the zeros of the next start code.
const headerSize = 3

// end takes the unit that ends here. Zeros behind it belong to the start code
// (trailing_zero_8bits, annex B.2).
func (s *splitter) end(b []byte) {
	if !s.inside {
		s.strange(b)
		return
	}
	if b = bytes.TrimRight(b, "\x00"); len(b) > 0 && !s.skip {
		s.units = append(s.units, bytes.Clone(b))
		s.size += len(b)
	}
}

// strange takes bytes that belong to no unit. Behind a pause they are the rest
// of a unit that was taken for complete.
func (s *splitter) strange(b []byte) {
	if s.flushed && len(bytes.TrimLeft(b, "\x00")) > 0 {
		s.wrong()
	}
}

// wrong notes that a pause was no end.
func (s *splitter) wrong() {
	s.cuts++
	s.flushed, s.skip = false, true
}

// begin looks at the header of a unit, the one before having ended at a time.
func (s *splitter) begin(b []byte, at time.Time) {
	vcl, starts := s.classify(b)
	switch {
	case starts:
		if s.picture {
			s.pass(at)
		}
		s.flushed, s.skip = false, false
	case s.flushed && vcl:
		s.wrong()
	case s.flushed: // fillers and the like: nobody misses them
		s.skip = true
	}
	if vcl && !s.skip {
		s.picture = true
	}
}

// pass hands out the access unit.
func (s *splitter) pass(at time.Time) {
	units := s.units
	s.units, s.size, s.picture = nil, 0, false
	if len(units) > 0 {
		s.emit(units, at)
	}
}

// classify tells whether a unit carries picture data, and whether it is the
// first of an access unit if there was picture data before (ITU-T H.264 section
// 7.4.1.2.3, H.265 section 7.4.2.4.4).
func (s *splitter) classify(b []byte) (vcl, starts bool) {
	if s.is265 {
		t := b[0] >> 1 & 0x3f
		switch {
		case b[0]&1 != 0 || b[1]>>3 != 0: // another layer of the same picture
			return t < 32, false
		case t < 32:
			return true, b[2]&0x80 != 0 // first_slice_segment_in_pic_flag
		}
		return false, t <= 35 || t == 39 || t >= 41 && t <= 44 || t >= 48 && t <= 55
	}
	switch t := b[0] & 0x1f; t {
	case 1, 2, 5:
		return true, b[1]&0x80 != 0 // first_mb_in_slice is 0
	case 3, 4: // data partitions B and C
		return true, false
	default:
		return false, t >= 6 && t <= 9 || t >= 14 && t <= 18
	}
}

// complete reports whether what is there can be a whole access unit. A unit
// never ends in a zero: that begins the next start code.
func (s *splitter) complete() bool {
	return s.inside && s.picture && !s.skip && !s.next && len(s.cur) > 0 && s.cur[len(s.cur)-1] != 0
}

// flush takes a pause for the end of the access unit.
func (s *splitter) flush() {
	if !s.complete() {
		return
	}
	s.finish()
	s.flushed = true
}

// finish hands out what is left at the end of the stream.
func (s *splitter) finish() {
	if s.next { // a unit of which not even the header came
		s.cur = s.cur[:s.scan]
	}
	s.end(s.cur)
	s.cur, s.scan, s.inside, s.next = s.cur[:0], 0, false, false
	if s.picture {
		s.pass(s.at)
	}
}
