package codec

// NAL unit types of ITU-T H.264 table 7-1 and of RFC 6184 section 5.2.
const (
	h264Slice  = 1
	h264PartA  = 2
	h264IDR    = 5
	h264SEI    = 6
	h264SPS    = 7
	h264PPS    = 8
	h264AUD    = 9
	h264Filler = 12
	h264StapA  = 24
	h264FuA    = 28
)

// NAL unit types of ITU-T H.265 table 7-1 and of RFC 7798 section 4.4.
const (
	h265FirstIRAP = 16
	h265LastIRAP  = 21
	h265LastVCL   = 31
	h265VPS       = 32
	h265SPS       = 33
	h265PPS       = 34
	h265AUD       = 35
	h265Filler    = 38
	h265AP        = 48
	h265FU        = 49
)

func h264Type(nal []byte) byte { return nal[0] & 0x1f }

func h265Type(nal []byte) byte { return nal[0] >> 1 & 0x3f }

// validNAL says whether a unit can be a NAL unit at all. The types from 24
// (H264) and 48 (H265) on are unspecified in the bitstream and mean something
// else in RTP, so they must never get through.
func validNAL(nal []byte, is265 bool) bool {
	if is265 {
		return len(nal) >= 3 && nal[0]&0x80 == 0 && h265Type(nal) < h265AP && nal[1]&7 != 0
	}
	if len(nal) < 1 || nal[0]&0x80 != 0 {
		return false
	}
	t := h264Type(nal)
	return t != 0 && t < h264StapA
}

// vclNAL says whether a unit carries picture data.
func vclNAL(nal []byte, is265 bool) bool {
	if is265 {
		return h265Type(nal) <= h265LastVCL
	}
	t := h264Type(nal)
	return t >= h264Slice && t <= h264IDR
}

// slice is the start of a slice header.
type slice struct {
	first bool // it begins a picture
	typ   int  // sliceP, sliceB or sliceI; H264 only
	pps   int
}

const (
	sliceP = iota
	sliceB
	sliceI
)

// h264SliceHeader reads the first fields of section 7.3.3.
func h264SliceHeader(nal []byte) (slice, bool) {
	r := bitReader{b: nal[1:], escaped: true}
	s := slice{first: r.ue() == 0}
	// 0..4 and 5..9 are P, B, I, SP, SI; the upper half says that all slices
	// of the picture have that type.
	switch r.ueMax(9) % 5 {
	case 0, 3:
		s.typ = sliceP
	case 1:
		s.typ = sliceB
	default:
		s.typ = sliceI
	}
	s.pps = int(r.ueMax(255))
	return s, !r.bad
}

// h265SliceHeader reads the first fields of section 7.3.6.1.
func h265SliceHeader(nal []byte) (slice, bool) {
	r := bitReader{b: nal[2:], escaped: true}
	s := slice{first: r.flag()}
	if t := h265Type(nal); t >= h265FirstIRAP && t <= 23 {
		r.flag() // no_output_of_prior_pics_flag
	}
	s.pps = int(r.ueMax(63))
	return s, !r.bad
}

// ppsIDs reads the picture parameter set's own id and that of its SPS.
func ppsIDs(nal []byte, is265 bool) (id, sps int, ok bool) {
	header, maxPPS, maxSPS := 1, uint32(255), uint32(31)
	if is265 {
		header, maxPPS, maxSPS = 2, 63, 15
	}
	r := bitReader{b: nal[header:], escaped: true}
	id, sps = int(r.ueMax(maxPPS)), int(r.ueMax(maxSPS))
	return id, sps, !r.bad
}
