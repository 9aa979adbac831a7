package uvcsim

import (
	"encoding/binary"
	"io"
	"time"
)

// transmission is one stream, from its start to its stop.
type transmission struct {
	c        *Camera
	link     io.Writer
	epoch    int
	format   FourCC
	size     Size
	interval time.Duration

	next time.Time // when the next picture is due
	id   byte      // toggles with every picture
}

// Bits of a payload header (UVC 1.1 section 2.4.3.3).
const (
	endOfHeader = 0x80
	errorBit    = 0x40
	endOfFrame  = 0x02
)

// picture returns the next picture if it is due.
func (t *transmission) picture() (Picture, bool) {
	now := time.Now()
	if now.Before(t.next) {
		return Picture{}, false
	}
	if t.next = t.next.Add(t.interval); now.Sub(t.next) > t.interval {
		t.next = now // overloaded: no burst
	}
	t.c.mu.Lock()
	paused, n := t.c.paused, t.c.sent
	t.c.mu.Unlock()
	if paused {
		return Picture{}, false
	}
	return t.c.config.Picture(t.format, t.size.Width, t.size.Height, n), true
}

// header is that of a payload of picture p.
func (t *transmission) header(p Picture, last bool) []byte {
	flags := endOfHeader | t.id
	if p.Bad {
		flags |= errorBit
	}
	if last {
		flags |= endOfFrame
	}
	return []byte{headerLength, flags}
}

func (t *transmission) finished() {
	t.id ^= 1
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.c.sent++
}

// wait waits for a request of the host; false when the stream has ended.
func (t *transmission) wait() bool {
	c := t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && c.live(t.epoch) {
		c.changed.Wait()
	}
	return c.live(t.epoch)
}

// take takes the oldest request. The caller holds tx.
func (t *transmission) take() (request, bool) {
	c := t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 || !c.live(t.epoch) {
		return request{}, false
	}
	r := c.queue[0]
	c.queue = c.queue[1:]
	return r, true
}

// bulk sends as fast as the host takes it: a picture is a few requests.
func (t *transmission) bulk() {
	t.next = time.Now()
	for t.wait() {
		time.Sleep(min(max(time.Until(t.next), 0), 20*time.Millisecond))
		p, ok := t.picture()
		for sent := 0; ok && sent < len(p.Data); {
			if !t.wait() {
				return
			}
			t.c.tx.Lock()
			if r, got := t.take(); got {
				m := min(min(r.length, payloadBulk)-headerLength, len(p.Data)-sent)
				b := append(t.header(p, sent+m == len(p.Data)), p.Data[sent:sent+m]...)
				t.c.answer(t.link, r, 0, b, len(b), nil)
				sent += m
			}
			t.c.tx.Unlock()
		}
		if ok {
			t.finished()
		}
	}
}

// isochronous answers every request in its time, a packet per 125 µs, with or
// without picture.
func (t *transmission) isochronous() {
	t.next = time.Now()
	bus := t.next
	var p Picture
	for t.wait() {
		t.c.tx.Lock()
		r, ok := t.take()
		if !ok {
			t.c.tx.Unlock()
			continue
		}
		packets := max(r.packets, 1)
		size := r.length / packets
		var out []byte
		descriptors := make([]byte, 16*packets)
		for i := range packets {
			if len(p.Data) == 0 {
				p, _ = t.picture()
			}
			n := 0
			if len(p.Data) > 0 {
				m := min(size-headerLength, len(p.Data))
				out = append(append(out, t.header(p, m == len(p.Data))...), p.Data[:m]...)
				n = m + headerLength
				if p.Data = p.Data[m:]; len(p.Data) == 0 {
					t.finished()
				}
			}
			d := descriptors[16*i:]
			binary.BigEndian.PutUint32(d[0:], uint32(i*size))
			binary.BigEndian.PutUint32(d[4:], uint32(size))
			binary.BigEndian.PutUint32(d[8:], uint32(n))
		}
		t.c.answer(t.link, r, 0, out, len(out), descriptors)
		t.c.tx.Unlock()
		bus = bus.Add(time.Duration(packets) * 125 * time.Microsecond)
		if ahead := time.Until(bus); ahead > 0 {
			time.Sleep(ahead)
		} else if ahead < -50*time.Millisecond {
			bus = time.Now()
		}
	}
}
