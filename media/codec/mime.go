package codec

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"

	"camwire/media"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

// MIME returns the codecs parameter (RFC 6381) that MediaSource and players
// know the track by, such as "avc1.64001f". It is "" for what MP4 cannot carry
// in a browser and for tracks whose parameters are not known yet. Sources: ISO
// 14496-15 annex E, VP codec ISO media file format binding, AV1 codec ISO media
// file format binding.
func MIME(t media.Track) string {
	switch t.Codec {
	case media.H264:
		if _, nal, ok := spsOf(t); ok {
			return "avc1." + hex.EncodeToString(nal[1:4])
		}
	case media.H265:
		if s, _, ok := spsOf(t); ok {
			return hvc1(s)
		}
	case media.VP8:
		return "vp8"
	case media.VP9:
		i := vp9Of(t)
		return fmt.Sprintf("vp09.%02d.%02d.%02d", i.Profile, vp9Level(t), i.BitDepth)
	case media.AV1:
		if i, ok := av1Of(t); ok {
			return fmt.Sprintf("av01.%d.%02d%c.%02d", i.Profile, i.Level, "MH"[i.Tier&1], i.BitDepth)
		}
	case media.Opus:
		return "opus"
	case media.AAC:
		var c mpeg4audio.AudioSpecificConfig
		if len(t.Params) > 0 && c.Unmarshal(t.Params[0]) == nil {
			return fmt.Sprintf("mp4a.40.%d", c.Type)
		}
	}
	return ""
}

func hvc1(s SPS) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if s.ProfileSpace > 0 {
		b.WriteByte(byte('A' + s.ProfileSpace - 1))
	}
	tier := byte('L')
	if s.HighTier {
		tier = 'H'
	}
	fmt.Fprintf(&b, "%d.%X.%c%d", s.Profile, bits.Reverse32(s.Compatibility), tier, s.Level)
	flags := s.ConstraintFlags[:]
	for len(flags) > 0 && flags[len(flags)-1] == 0 {
		flags = flags[:len(flags)-1]
	}
	for _, f := range flags {
		fmt.Fprintf(&b, ".%X", f)
	}
	return b.String()
}

// vp9Level returns the lowest level, times ten, whose picture size and sample
// rate contain the track: VP9 writes its level nowhere. The table is that of
// the VP9 levels document, annex A of the bitstream specification.
func vp9Level(t media.Track) int {
	levels := [...]struct {
		level int
		rate  int64 // luma samples per second
		size  int
	}{
		{10, 829440, 36864}, {11, 2764800, 73728},
		{20, 4608000, 122880}, {21, 9216000, 245760},
		{30, 20736000, 552960}, {31, 36864000, 983040},
		{40, 83558400, 2228224}, {41, 160432128, 2228224},
		{50, 311951360, 8912896}, {51, 588251136, 8912896}, {52, 1176502272, 8912896},
		{60, 1176502272, 35651584}, {61, 2353004544, 35651584},
	}
	size := t.Width * t.Height
	rate := int64(float64(size) * t.FPS)
	for _, l := range levels {
		if size <= l.size && rate <= l.rate {
			return l.level
		}
	}
	return 62
}
