package codec

import "fmt"

// OBU types, AV1 bitstream specification section 6.2.2.
const (
	obuSequence    = 1
	obuTemporal    = 2
	obuFrameHeader = 3
	obuFrame       = 6
	obuTileList    = 8
	obuPadding     = 15
)

// obu is one open bitstream unit. It shares the memory of the source.
type obu struct {
	typ     byte
	header  [2]byte // without has_size_field
	hlen    int     // 1, or 2 with the extension
	payload []byte
}

func (o *obu) size() int { return o.hlen + len(o.payload) }

// nextOBU takes the first OBU off b (section 5.3.1). One without size field
// reaches to the end of b. sized says that the size field was there.
func nextOBU(b []byte) (o obu, rest []byte, sized, ok bool) {
	if len(b) == 0 || b[0]&0x80 != 0 {
		return o, nil, false, false
	}
	o.typ = b[0] >> 3 & 15
	o.hlen = 1 + int(b[0]>>2&1)
	sized = b[0]&2 != 0
	if len(b) < o.hlen {
		return o, nil, false, false
	}
	copy(o.header[:], b[:o.hlen])
	o.header[0] &^= 2
	b = b[o.hlen:]
	if !sized {
		o.payload = b
		return o, nil, false, true
	}
	n, used := leb128(b)
	if used == 0 || n > uint64(len(b)-used) {
		return o, nil, false, false
	}
	b = b[used:]
	o.payload = b[:n]
	return o, b[n:], true, true
}

// leb128 follows section 4.10.5. used is 0 where b holds no such number.
func leb128(b []byte) (v uint64, used int) {
	for i := 0; i < 8 && i < len(b); i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if v > 1<<32-1 {
				return 0, 0
			}
			return v, i + 1
		}
	}
	return 0, 0
}

func leb128Size(n int) int {
	s := 1
	for n >>= 7; n > 0; n >>= 7 {
		s++
	}
	return s
}

func appendLEB128(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// AV1Info is what Camwire wants to know of an AV1 sequence header.
type AV1Info struct {
	Profile int // seq_profile: 0 main, 1 high, 2 professional
	Level   int // seq_level_idx of operating point 0
	Tier    int // seq_tier of operating point 0
	// Width and Height are the largest frame size in pixels.
	Width, Height int
	BitDepth      int
	Mono          bool
	// FPS is the nominal rate in frames per second, 0 where the header has no
	// timing.
	FPS float64
	// still says that every frame is a shown key frame without frame type.
	still bool
}

// AV1Sequence reads a sequence header OBU (section 5.5), with or without size
// field. The error wraps ErrMalformed.
func AV1Sequence(unit []byte) (AV1Info, error) {
	o, _, _, ok := nextOBU(unit)
	if !ok || o.typ != obuSequence {
		return AV1Info{}, fmt.Errorf("not an AV1 sequence header: %w", ErrMalformed)
	}
	r := &bitReader{b: o.payload}
	var i AV1Info
	i.Profile = int(r.u(3))
	r.flag() // still_picture
	i.still = r.flag()
	if i.still {
		i.Level = int(r.u(5))
	} else {
		av1OperatingPoints(r, &i)
	}
	wbits, hbits := uint(r.u(4))+1, uint(r.u(4))+1
	i.Width, i.Height = int(r.u(wbits))+1, int(r.u(hbits))+1
	av1Tools(r, i.still)

	high := r.flag()
	switch {
	case i.Profile == 2 && high && r.flag():
		i.BitDepth = 12
	case high:
		i.BitDepth = 10
	default:
		i.BitDepth = 8
	}
	if i.Profile != 1 {
		i.Mono = r.flag()
	}
	if r.bad || i.Profile > 2 || i.Width > maxDimension || i.Height > maxDimension {
		return AV1Info{}, fmt.Errorf("AV1 sequence header: %w", ErrMalformed)
	}
	return i, nil
}

func av1OperatingPoints(r *bitReader, i *AV1Info) {
	var model bool
	var delayBits uint
	if r.flag() { // timing_info_present_flag
		units, scale := r.u(32), r.u(32)
		if r.flag() {
			i.FPS = rate(float64(scale), float64(units)*float64(r.ue()+1))
		}
		if model = r.flag(); model {
			delayBits = uint(r.u(5)) + 1
			r.skip(32 + 5 + 5)
		}
	}
	initialDelay := r.flag()
	count := r.u(5) + 1
	for n := range count {
		r.u(12) // operating_point_idc
		level := int(r.u(5))
		tier := 0
		if level > 7 {
			tier = int(r.u(1))
		}
		if model && r.flag() {
			r.skip(2*delayBits + 1)
		}
		if initialDelay && r.flag() {
			r.u(4)
		}
		if n == 0 {
			i.Level, i.Tier = level, tier
		}
	}
}

// av1Tools walks over the coding tools between frame size and color_config.
func av1Tools(r *bitReader, reduced bool) {
	if !reduced && r.flag() { // frame_id_numbers_present_flag
		r.u(7)
	}
	r.u(3)
	if !reduced {
		r.u(4)
		orderHint := r.flag()
		if orderHint {
			r.u(2)
		}
		screen := true
		if !r.flag() { // seq_choose_screen_content_tools
			screen = r.flag()
		}
		if screen && !r.flag() { // seq_choose_integer_mv
			r.flag()
		}
		if orderHint {
			r.u(3)
		}
	}
	r.u(3)
}

// av1KeyFrame reports whether a frame header OBU or frame OBU begins a key
// frame that is shown (section 5.9.2), where a decoder can start.
func av1KeyFrame(payload []byte, still bool) bool {
	if still {
		return true
	}
	// show_existing_frame = 0, frame_type = KEY_FRAME, show_frame = 1
	return len(payload) > 0 && payload[0]&0xf0 == 0x10
}
