package uvcsim

import "encoding/binary"

// UVC requests (UVC 1.1 table A-8).
const (
	setCur  = 0x01
	getCur  = 0x81
	getMin  = 0x82
	getMax  = 0x83
	getRes  = 0x84
	getLen  = 0x85
	getInfo = 0x86
	getDef  = 0x87
)

// probeSize is the size of the probe and commit controls of UVC 1.1.
const probeSize = 34

// setup is the packet that begins a control transfer (USB 2.0 section 9.3).
type setup struct {
	typ, request         byte
	value, index, length int
}

func parseSetup(b []byte) setup {
	le := binary.LittleEndian
	return setup{b[0], b[1], int(le.Uint16(b[2:])), int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))}
}

func (s setup) cut(b []byte) ([]byte, bool) {
	if b == nil {
		return nil, false
	}
	return b[:min(len(b), s.length)], true
}

// control answers a control transfer; false is a stall.
func (c *Camera) control(s setup, out []byte) ([]byte, bool) {
	class, in := s.typ&0x60 == 0x20, s.typ&0x80 != 0
	switch {
	case class && s.index&0xff == 1 && (s.value>>8 == 1 || s.value>>8 == 2):
		return c.negotiate(s, out)
	case class:
		return c.brightness(s)
	case s.typ == 0x80 && s.request == 6: // GET_DESCRIPTOR
		switch s.value >> 8 {
		case 1:
			return s.cut(c.config.deviceDescriptor())
		case 2:
			return s.cut(c.config.configDescriptor())
		case 3:
			return s.cut(c.config.stringDescriptor(s.value & 0xff))
		}
		return nil, false
	case in && s.request == 0: // GET_STATUS
		return s.cut([]byte{0, 0})
	case in && s.request == 8: // GET_CONFIGURATION
		return s.cut([]byte{1})
	case s.typ == 0x01 && s.request == 11 && s.index == 1 && c.config.Isochronous: // SET_INTERFACE
		c.setStreaming(s.value == 1)
	case s.typ == 0x02 && s.request == 1 && !c.config.Isochronous: // CLEAR_FEATURE(ENDPOINT_HALT) ends a bulk stream
		c.setStreaming(false)
	}
	return nil, !in
}

// negotiate is the probe control (value 1), by which a mode is agreed upon,
// and the commit control (value 2), which sets it.
func (c *Camera) negotiate(s setup, out []byte) ([]byte, bool) {
	commit := s.value>>8 == 2
	c.mu.Lock()
	defer c.mu.Unlock()
	current := &c.probe
	if commit {
		current = &c.commit
	}
	switch s.request {
	case setCur:
		*current = c.agree(out)
		if commit && !c.config.Isochronous {
			c.stream(true)
		}
		return nil, true
	case getCur, getMin, getMax, getDef:
		return s.cut(*current)
	case getLen:
		return s.cut([]byte{probeSize, 0})
	case getInfo:
		return s.cut([]byte{3})
	}
	return nil, false
}

func (c *Camera) brightness(s setup) ([]byte, bool) {
	if s.index != 0x0200 || s.value>>8 != 2 {
		return nil, false
	}
	switch s.request {
	case setCur:
		return nil, true
	case getInfo:
		return s.cut([]byte{3})
	case getCur, getDef:
		return s.cut([]byte{128, 0})
	case getMin:
		return s.cut([]byte{0, 0})
	case getMax:
		return s.cut([]byte{255, 0})
	case getRes:
		return s.cut([]byte{1, 0})
	}
	return nil, false
}

// selected is the mode of a probe.
func (c *Camera) selected(probe []byte) (Format, Size) {
	f := c.config.Formats[min(max(int(probe[2])-1, 0), len(c.config.Formats)-1)]
	return f, f.Sizes[min(max(int(probe[3])-1, 0), len(f.Sizes)-1)]
}

// agree makes of what the host wants what the camera can.
func (c *Camera) agree(want []byte) []byte {
	le := binary.LittleEndian
	p := make([]byte, probeSize)
	copy(p, want)
	p[2] = byte(min(max(int(p[2]), 1), len(c.config.Formats)))
	f, _ := c.selected(p)
	p[3] = byte(min(max(int(p[3]), 1), len(f.Sizes)))
	if c.config.Insist > 0 {
		p[3] = byte(min(c.config.Insist, len(f.Sizes)))
	}
	f, s := c.selected(p)
	asked := int(le.Uint32(p[4:]))
	best := clock / s.FPS[0]
	for _, fps := range s.FPS {
		if asked != 0 && abs(clock/fps-asked) < abs(best-asked) {
			best = clock / fps
		}
	}
	le.PutUint32(p[4:], uint32(best))
	le.PutUint32(p[18:], uint32(f.FourCC.maxFrame(s)))
	payload := payloadBulk
	if c.config.Isochronous {
		payload = payloadIsochronous
	}
	le.PutUint32(p[22:], uint32(payload))
	le.PutUint32(p[26:], 48_000_000)
	p[30] = 3 // frame id and end of frame are told
	p[31], p[32], p[33] = 1, 1, 1
	return p
}

func abs(v int) int { return max(v, -v) }
