package codec

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"camwire/media"

	mch264 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	mch265 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

func readFile(t testing.TB, name string) []byte {
	b, err := os.ReadFile(name)
	requireNoError(t, err)
	return b
}

// realClips are the streams of today's encoders.
var realClips = []struct {
	name      string
	codec     media.Codec
	args      string
	reordered bool
	fps       float64
	mime      string // prefix
	fmtp      string // part
}{
	{"h264 baseline", media.H264, "-c:v libx264 -profile:v baseline -tune zerolatency", false, 25, "avc1.42c0", "profile-level-id=42c0"},
	{"h264 high", media.H264, "-c:v libx264 -profile:v high -bf 0", false, 25, "avc1.6400", "profile-level-id=6400"},
	{"h264 high with B", media.H264, "-c:v libx264 -profile:v high -bf 3 -b_strategy 0", true, 25, "avc1.6400", "profile-level-id=6400"},
	{"h264 two slices", media.H264, "-c:v libx264 -profile:v main -bf 0 -slices 2", false, 25, "avc1.4d40", "profile-level-id=4d40"},
	{"h264 AUD and filler", media.H264, "-c:v libx264 -profile:v main -bf 0 -aud 1 -b:v 4M -minrate 4M -maxrate 4M -bufsize 1M -x264-params nal-hrd=cbr:filler=1", false, 25, "avc1.4d40", "profile-level-id=4d40"},
	{"h265", media.H265, "-c:v libx265 -x265-params bframes=0:log-level=error", false, 25, "hvc1.1.6.L60.90", "level-id=60;profile-id=1;tier-flag=0;tx-mode=SRST"},
	{"h265 with B", media.H265, "-c:v libx265 -x265-params bframes=3:b-adapt=0:log-level=error", true, 25, "hvc1.1.6.L60.90", "profile-id=1"},
	{"vp8", media.VP8, "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 2M", false, 0, "vp8", ""},
	{"vp9", media.VP9, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M", false, 0, "vp09.00.", "profile-id=0"},
	{"av1 svt", media.AV1, "-c:v libsvtav1 -preset 12 -svtav1-params pred-struct=1", false, 0, "av01.0.0", "profile=0;tier=0"},
	{"av1 aom", media.AV1, "-c:v libaom-av1 -cpu-used 8 -usage realtime", false, 0, "av01.0.0", "profile=0;tier=0"},
}

func TestRealStreams(t *testing.T) {
	for _, c := range realClips {
		t.Run(c.name, func(t *testing.T) {
			clip := makeClip(t, c.codec, strings.Fields(c.args)...)
			before := snapshot(clip)
			r := clip.normalized(t)
			requireEqual(t, before, snapshot(clip), "the source's memory was written to")

			tr := r.tracks()[0]
			requireEqual(t, 320, tr.Width)
			requireEqual(t, 240, tr.Height)
			requireEqual(t, c.reordered, tr.Reordered)
			requireNear(t, c.fps, tr.FPS)
			requireTrue(t, strings.HasPrefix(MIME(tr), c.mime), "%s", MIME(tr))
			requireTrue(t, strings.Contains(FMTP(tr), c.fmtp), "%s", FMTP(tr))
			requireLen(t, r.starts, 2, "one for the source's list, one when the first key frame tells the rest")
			requireEqual(t, 0, r.at[1])

			keys := 0
			for _, f := range r.frames {
				if f.Key {
					keys++
					requireParams(t, tr, f)
				}
				for _, u := range f.Units {
					requireUseful(t, c.codec, u)
				}
			}
			requireAtMost(t, 2, keys)
			requireAtMost(t, keys, len(r.frames)/2)
			requireTrue(t, r.frames[0].Key)
			crossCheckSPS(t, tr)
		})
	}
}

func snapshot(c *clip) []byte {
	var b []byte
	for _, f := range c.frames {
		b = append(b, slices.Concat(f...)...)
	}
	return b
}

func requireParams(t *testing.T, tr media.Track, f *media.Frame) {
	t.Helper()
	switch tr.Codec {
	case media.H264, media.H265, media.AV1:
		requireTrue(t, leads(f.Units, tr.Params), "key frame without its parameter sets in front")
		requireEqual(t, map[media.Codec]int{media.H264: 2, media.H265: 3, media.AV1: 1}[tr.Codec], len(tr.Params))
	}
}

func requireUseful(t *testing.T, c media.Codec, u []byte) {
	t.Helper()
	switch c {
	case media.H264:
		requireFalse(t, h264Type(u) == h264AUD || h264Type(u) == h264Filler)
	case media.H265:
		requireFalse(t, h265Type(u) == h265AUD || h265Type(u) == h265Filler)
	case media.AV1:
		requireFalse(t, u[0]>>3&15 == obuTemporal)
		requireFalse(t, u[0]&2 != 0, "has_size_field")
	}
}

// crossCheckSPS compares our reading with the library's.
func crossCheckSPS(t *testing.T, tr media.Track) {
	t.Helper()
	for _, p := range tr.Params {
		switch {
		case tr.Codec == media.H264 && h264Type(p) == h264SPS:
			var want mch264.SPS
			requireNoError(t, want.Unmarshal(p))
			got, err := ParseSPS(tr.Codec, p)
			requireNoError(t, err)
			requireEqual(t, want.Width(), got.Width)
			requireEqual(t, want.Height(), got.Height)
			requireNear(t, want.FPS(), got.FPS)
			if want.VUI != nil && want.VUI.BitstreamRestriction != nil {
				requireEqual(t, int(want.VUI.BitstreamRestriction.MaxNumReorderFrames), got.Reorder)
			}
		case tr.Codec == media.H265 && h265Type(p) == h265SPS:
			var want mch265.SPS
			requireNoError(t, want.Unmarshal(p))
			got, err := ParseSPS(tr.Codec, p)
			requireNoError(t, err)
			requireEqual(t, want.Width(), got.Width)
			requireEqual(t, want.Height(), got.Height)
			requireEqual(t, int(want.MaxNumReorderPics[len(want.MaxNumReorderPics)-1]), got.Reorder)
			requireEqual(t, int(want.ProfileTierLevel.GeneralLevelIdc), got.Level)
		}
	}
}

// A camera that tells its parameter sets in the SDP only.
func TestRealStreamParamsOutOfBand(t *testing.T) {
	clip := makeClip(t, media.H264, strings.Fields("-c:v libx264 -profile:v high -bf 0")...)
	params := clip.normalized(t).tracks()[0].Params
	r := &recorder{}
	n := NewNormalizer(r)
	n.Start(media.Tracks{{Codec: media.H264, ClockRate: 90000, Params: params}})
	requireEqual(t, 320, r.tracks()[0].Width, "known before the first frame")
	requireNear(t, 25, r.tracks()[0].FPS)
	for i := range clip.frames {
		f := clip.frame(i)
		f.Units = slices.DeleteFunc(f.Units, func(u []byte) bool {
			return h264Type(u) == h264SPS || h264Type(u) == h264PPS
		})
		n.Write(f)
	}
	requireLen(t, r.starts, 1)
	keys := 0
	for _, f := range r.frames {
		if f.Key {
			keys++
			requireTrue(t, leads(f.Units, params))
		} else {
			requireFalse(t, slices.ContainsFunc(f.Units, func(u []byte) bool { return bytes.Equal(u, params[0]) }))
		}
	}
	requireEqual(t, 2, keys)
}
