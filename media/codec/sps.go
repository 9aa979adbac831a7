package codec

import (
	"fmt"

	"camwire/media"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// SPS is what Camwire wants to know of an H.264 or H.265 sequence parameter
// set.
type SPS struct {
	// ID is seq_parameter_set_id: 0..31 (H264), 0..15 (H265).
	ID int
	// VPS is the id of the video parameter set it refers to; H265 only.
	VPS int
	// Width and Height are those of the visible picture, in pixels.
	Width, Height int
	// FPS is the nominal rate in frames per second, 0 where the set has no
	// timing or timing that cannot be true.
	FPS float64
	// Reorder is the largest number of pictures that are coded before one
	// that is shown earlier; 0 means that coding order is display order, -1
	// that the set does not say.
	Reorder int

	// Profile is profile_idc or general_profile_idc, Level is level_idc or
	// general_level_idc (H264: 10 x level, H265: 30 x level).
	Profile, Level int
	// Constraints is the byte of constraint_set flags between profile_idc and
	// level_idc; H264 only.
	Constraints byte

	// ProfileSpace, HighTier, Compatibility and ConstraintFlags are the
	// other fields of general profile_tier_level; H265 only.
	ProfileSpace    int
	HighTier        bool
	Compatibility   uint32
	ConstraintFlags [6]byte
}

// ParseSPS reads a sequence parameter set of H264 or H265, a NAL unit with its
// header and without start code. The error wraps ErrMalformed.
func ParseSPS(c media.Codec, nal []byte) (SPS, error) {
	switch c {
	case media.H264:
		return parseH264SPS(nal)
	case media.H265:
		return parseH265SPS(nal)
	}
	return SPS{}, fmt.Errorf("codec %s has no sequence parameter set", c)
}

// parseH264SPS follows ITU-T H.264 section 7.3.2.1.1. A VUI that is cut off,
// as some cameras send it, costs the fields behind the cut, not the set.
func parseH264SPS(nal []byte) (SPS, error) {
	if len(nal) < 4 || nal[0]&0x9f != h264SPS {
		return SPS{}, fmt.Errorf("H264 SPS of %d bytes: %w", len(nal), ErrMalformed)
	}
	r := &bitReader{b: nal[1:], escaped: true}
	s := SPS{Reorder: -1}
	s.Profile, s.Constraints, s.Level = int(r.u(8)), byte(r.u(8)), int(r.u(8))
	s.ID = int(r.ueMax(31))
	chroma := h264Chroma(r, s.Profile)

	r.ueMax(12) // log2_max_frame_num_minus4
	poc := r.ueMax(2)
	switch poc {
	case 0:
		r.ueMax(12)
	case 1:
		r.flag()
		r.se()
		r.se()
		for n := r.ueMax(255); n > 0 && !r.bad; n-- {
			r.se()
		}
	}
	r.ue() // max_num_ref_frames
	r.flag()
	const maxMbs = maxDimension / 16
	w, h := int(r.ueMax(maxMbs-1)+1)*16, int(r.ueMax(maxMbs-1)+1)*16
	fieldUnits := 1
	if frameMbsOnly := r.flag(); !frameMbsOnly {
		fieldUnits = 2
		r.flag()
	}
	h *= fieldUnits
	r.flag() // direct_8x8_inference_flag
	if r.flag() {
		cx, cy := 1, fieldUnits
		if chroma == 1 || chroma == 2 {
			cx = 2
		}
		if chroma == 1 {
			cy *= 2
		}
		w -= cx * int(r.ueMax(maxDimension)+r.ueMax(maxDimension))
		h -= cy * int(r.ueMax(maxDimension)+r.ueMax(maxDimension))
	}
	hasVUI := r.flag()
	if r.bad || w < 1 || h < 1 || h > maxDimension {
		return SPS{}, fmt.Errorf("H264 SPS: %w", ErrMalformed)
	}
	s.Width, s.Height = w, h
	if hasVUI {
		s.FPS, s.Reorder = h264VUI(r)
	}
	switch {
	case poc == 2, s.Profile == 66:
		// Section 8.2.1.3: type 2 is output order equal to decoding order.
		// The Baseline profile has no B slices.
		s.Reorder = 0
	case s.Reorder < 0 && s.Constraints&0x10 != 0 && h264IntraProfile(s.Profile):
		s.Reorder = 0 // section E.2.1, max_num_reorder_frames
	}
	return s, nil
}

func h264IntraProfile(p int) bool {
	switch p {
	case 44, 86, 100, 110, 122, 244:
		return true
	}
	return false
}

// h264Chroma reads the part that only the High profiles have and returns
// ChromaArrayType.
func h264Chroma(r *bitReader, profile int) uint32 {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
	default:
		return 1
	}
	chroma := r.ueMax(3)
	lists := 8
	array := chroma
	if chroma == 3 {
		lists = 12
		if r.flag() { // separate_colour_plane_flag
			array = 0
		}
	}
	r.ueMax(6)
	r.ueMax(6)
	r.flag()
	if r.flag() {
		for i := range lists {
			if !r.flag() {
				continue
			}
			size := 16
			if i >= 6 {
				size = 64
			}
			last, next := int32(8), int32(8)
			for j := 0; j < size && !r.bad; j++ {
				if next != 0 {
					next = (last + r.se()%256 + 256) % 256
				}
				if next != 0 {
					last = next
				}
			}
		}
	}
	return array
}

// h264VUI reads section E.1.1 as far as it goes.
func h264VUI(r *bitReader) (fps float64, reorder int) {
	if r.flag() && r.u(8) == 255 { // aspect_ratio_idc Extended_SAR
		r.u(32)
	}
	if r.flag() {
		r.flag()
	}
	if r.flag() {
		r.u(4)
		if r.flag() {
			r.u(24)
		}
	}
	if r.flag() {
		r.ue()
		r.ue()
	}
	if r.flag() {
		units, scale := r.u(32), r.u(32)
		r.flag()
		if !r.bad {
			// One tick is a field, section E.2.1.
			fps = rate(float64(scale), 2*float64(units))
		}
	}
	nal := r.flag()
	if nal {
		h264HRD(r)
	}
	vcl := r.flag()
	if vcl {
		h264HRD(r)
	}
	if nal || vcl {
		r.flag()
	}
	r.flag()
	if !r.flag() {
		return fps, -1
	}
	r.flag()
	for range 4 {
		r.ue()
	}
	n := r.ueMax(16)
	if r.bad {
		return fps, -1
	}
	return fps, int(n)
}

func h264HRD(r *bitReader) {
	n := r.ueMax(31) + 1
	r.u(8)
	for ; n > 0 && !r.bad; n-- {
		r.ue()
		r.ue()
		r.flag()
	}
	r.u(20)
}

// parseH265SPS follows ITU-T H.265 section 7.3.2.2.1 up to the reorder depth;
// all that Camwire needs except the timing stands there. The timing lies
// behind the reference picture sets and is left to the library; a set that it
// cannot read is one without timing.
func parseH265SPS(nal []byte) (SPS, error) {
	if len(nal) < 3 || h265Type(nal) != h265SPS || nal[0]&0x80 != 0 {
		return SPS{}, fmt.Errorf("H265 SPS of %d bytes: %w", len(nal), ErrMalformed)
	}
	r := &bitReader{b: nal[2:], escaped: true}
	s := SPS{VPS: int(r.u(4))}
	subLayers := r.u(3) // sps_max_sub_layers_minus1
	if subLayers > 6 {
		return SPS{}, fmt.Errorf("H265 SPS with %d sub-layers: %w", subLayers+1, ErrMalformed)
	}
	r.flag()
	h265ProfileTierLevel(r, &s, subLayers)
	s.ID = int(r.ueMax(15))
	chroma := r.ueMax(3)
	if chroma == 3 && r.flag() {
		chroma = 0
	}
	w, h := int(r.ueMax(maxDimension)), int(r.ueMax(maxDimension))
	if r.flag() {
		cx, cy := 1, 1
		if chroma == 1 || chroma == 2 {
			cx = 2
		}
		if chroma == 1 {
			cy = 2
		}
		w -= cx * int(r.ueMax(maxDimension)+r.ueMax(maxDimension))
		h -= cy * int(r.ueMax(maxDimension)+r.ueMax(maxDimension))
	}
	r.ueMax(8)
	r.ueMax(8)
	r.ueMax(12)
	first := subLayers
	if r.flag() {
		first = 0
	}
	for i := first; i <= subLayers; i++ {
		r.ueMax(16)
		s.Reorder = int(r.ueMax(16))
		r.ue()
	}
	if r.bad || w < 1 || h < 1 {
		return SPS{}, fmt.Errorf("H265 SPS: %w", ErrMalformed)
	}
	s.Width, s.Height = w, h

	var full h265.SPS
	if full.Unmarshal(nal) == nil && full.VUI != nil && full.VUI.TimingInfo != nil {
		t := full.VUI.TimingInfo
		s.FPS = rate(float64(t.TimeScale), float64(t.NumUnitsInTick))
	}
	return s, nil
}

// h265ProfileTierLevel follows section 7.3.3.
func h265ProfileTierLevel(r *bitReader, s *SPS, subLayers uint32) {
	s.ProfileSpace = int(r.u(2))
	s.HighTier = r.flag()
	s.Profile = int(r.u(5))
	s.Compatibility = r.u(32)
	for i := range s.ConstraintFlags {
		s.ConstraintFlags[i] = byte(r.u(8))
	}
	s.Level = int(r.u(8))
	if subLayers == 0 {
		return
	}
	var profile, level [8]bool
	for i := range subLayers {
		profile[i], level[i] = r.flag(), r.flag()
	}
	r.skip(uint(8-subLayers) * 2)
	for i := range subLayers {
		if profile[i] {
			r.skip(88)
		}
		if level[i] {
			r.skip(8)
		}
	}
}

// rate returns a/b where that can be a frame rate. Encoders that do not know
// theirs write anything from 0 to the clock of their timer.
func rate(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	if f := a / b; f >= 0.01 && f <= 1000 {
		return f
	}
	return 0
}
