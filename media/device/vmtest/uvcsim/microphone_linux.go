package uvcsim

import (
	"encoding/binary"
	"io"
	"time"
)

// microphone is what the host wants to hear. It is guarded by Camera.mu.
type microphone struct {
	queue []request
	heard int // samples sent so far
}

// speak answers the host's requests for sound in their time until the camera
// is unplugged.
func (c *Camera) speak(link io.Writer) {
	bus := time.Now()
	for {
		c.mu.Lock()
		for len(c.mic.queue) == 0 && !c.closed {
			c.changed.Wait()
		}
		if c.closed {
			c.mu.Unlock()
			return
		}
		packets := max(c.mic.queue[0].packets, 1)
		c.mu.Unlock()
		bus = bus.Add(time.Duration(packets) * time.Millisecond)
		if ahead := time.Until(bus); ahead > 0 {
			time.Sleep(ahead)
		} else if ahead < -50*time.Millisecond {
			bus = time.Now()
		}
		c.tx.Lock()
		if r, ok := c.nextSound(); ok {
			c.say(link, r)
		}
		c.tx.Unlock()
	}
}

// nextSound takes the oldest request. The caller holds tx.
func (c *Camera) nextSound() (request, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mic.queue) == 0 || c.closed || c.paused {
		return request{}, false
	}
	r := c.mic.queue[0]
	c.mic.queue = c.mic.queue[1:]
	return r, true
}

// say answers one request. The caller holds tx.
func (c *Camera) say(link io.Writer, r request) {
	packets := max(r.packets, 1)
	size := r.length / packets
	n := min(size, microphonePacket) / 4
	c.mu.Lock()
	first := c.mic.heard
	c.mic.heard += n * packets
	c.mu.Unlock()
	var out []byte
	descriptors := make([]byte, 16*packets)
	for i := range packets {
		for k := range n {
			v := uint16(c.config.Microphone(first + i*n + k))
			out = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, v), v)
		}
		d := descriptors[16*i:]
		binary.BigEndian.PutUint32(d[0:], uint32(i*size))
		binary.BigEndian.PutUint32(d[4:], uint32(size))
		binary.BigEndian.PutUint32(d[8:], uint32(4*n))
	}
	c.answer(link, r, 0, out, len(out), descriptors)
}
