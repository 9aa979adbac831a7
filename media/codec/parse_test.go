package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"image"
	"image/jpeg"
	"slices"
	"testing"

	"camwire/media"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	requireNoError(t, err)
	return b
}

// jpegHead is a picture up to its frame header.
func jpegHead(w, h int) []byte {
	return []byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc0, 0, 17, 8,
		byte(h >> 8), byte(h), byte(w >> 8), byte(w), 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1}
}

func TestJPEG(t *testing.T) {
	var b bytes.Buffer
	requireNoError(t, jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 321, 123), image.YCbCrSubsampleRatio420), nil))
	w, h, err := JPEGSize(b.Bytes())
	requireNoError(t, err)
	requireEqual(t, []int{321, 123}, []int{w, h})
	requireTrue(t, JPEGComplete(b.Bytes()))
	requireTrue(t, JPEGComplete(append(b.Bytes(), 0, 0, 0)))
	requireFalse(t, JPEGComplete(b.Bytes()[:b.Len()-1]))
	requireFalse(t, JPEGComplete(append(b.Bytes(), 1)))
	requireFalse(t, JPEGComplete(nil))
	requireFalse(t, JPEGComplete([]byte{0xff, 0xd8, 0, 0, 0, 0}))
	requireTrue(t, JPEGComplete([]byte{0xff, 0xd8, 0xff, 0xd9}))

	good := jpegHead(65535, 1)
	w, h, err = JPEGSize(good)
	requireNoError(t, err)
	requireEqual(t, []int{65535, 1}, []int{w, h})
	long := slices.Concat(good[:2], []byte{0xff, 0xe1, 0xff, 0xff}, make([]byte, 65533), good[2:])
	for name, bad := range map[string][]byte{
		"empty":       nil,
		"other":       []byte("\x89PNG\r\n\x1a\n"),
		"cut":         good[:16],
		"size 0":      jpegHead(0, 100),
		"scan first":  {0xff, 0xd8, 0xff, 0xda, 0, 4, 0, 0},
		"length 1":    {0xff, 0xd8, 0xff, 0xe0, 0, 1, 0, 0},
		"no marker":   {0xff, 0xd8, 0, 0, 0, 0},
		"end":         {0xff, 0xd8, 0xff, 0xd9, 0, 0},
		"fill":        append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff}, 1<<20)...),
		"long header": long,
	} {
		_, _, err := JPEGSize(bad)
		requireTrue(t, errors.Is(err, ErrMalformed), "%s: %v", name, err)
	}
}

func TestParseSPS(t *testing.T) {
	for _, c := range []struct {
		name, nal string
		codec     media.Codec
		want      SPS
	}{
		// Cropped 1920x1080, timing, bitstream restriction.
		{"x264 1080p", "67640028acd940780227e5c05a808080a0000003002000000781e30632c0", media.H264,
			SPS{Width: 1920, Height: 1080, FPS: 30, Reorder: 2, Profile: 100, Level: 40}},
		{"baseline without VUI", hex.EncodeToString(spsWithoutVUI(66, 0, 40, 30)), media.H264,
			SPS{Width: 640, Height: 480, Reorder: 0, Profile: 66, Level: 30}},
		{"main without VUI", hex.EncodeToString(spsWithoutVUI(77, 5, 40, 30)), media.H264,
			SPS{ID: 5, Width: 640, Height: 480, Reorder: -1, Profile: 77, Level: 30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseSPS(c.codec, unhex(t, c.nal))
			requireNoError(t, err)
			requireEqual(t, c.want, got)
		})
	}
}

// A camera's VUI that ends too soon costs what is behind the end.
func TestParseSPSCutVUI(t *testing.T) {
	w := &bitWriter{}
	w.u(8, 77).u(8, 0).u(8, 30).ue(0).ue(0).ue(2).ue(1).u(1, 0).ue(39).ue(29).u(1, 1).u(1, 1).u(1, 0)
	w.u(1, 1).u(1, 0).u(1, 0).u(1, 0).u(1, 0) // VUI up to timing
	w.u(1, 1).u(32, 1).u(32, 40).u(1, 1)      // 20 pictures a second
	s, err := ParseSPS(media.H264, w.bytes(0x67))
	requireNoError(t, err)
	requireEqual(t, SPS{Width: 640, Height: 480, FPS: 20, Profile: 77, Level: 30}, s)
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8} {
		_, err = ParseSPS(c, []byte{0x67, 1})
		requireTrue(t, err != nil)
	}
}

// Sub-layers with their own profile and level, which the library refuses.
func TestParseH265SubLayers(t *testing.T) {
	w := &bitWriter{}
	w.u(4, 0).u(3, 2).u(1, 1)
	w.u(2, 0).u(1, 1).u(5, 1).u(32, 0x60000000).u(32, 0x90000000).u(16, 0).u(8, 93)
	w.u(2, 3).u(2, 1).u(12, 0)           // first with profile and level, second with level
	w.u(32, 1).u(32, 2).u(24, 3).u(8, 4) // 88 + 8
	w.u(8, 5)
	w.ue(1).ue(1).ue(1920).ue(1088).u(1, 1).ue(0).ue(0).ue(0).ue(4)
	w.ue(0).ue(0).ue(4).u(1, 1)
	for i := range uint32(3) {
		w.ue(4).ue(i).ue(0)
	}
	s, err := ParseSPS(media.H265, w.bytes(0x42, 0x01))
	requireNoError(t, err)
	requireEqual(t, SPS{ID: 1, Width: 1920, Height: 1080, Reorder: 2, Profile: 1, Level: 93, HighTier: true,
		Compatibility: 0x60000000, ConstraintFlags: [6]byte{0x90}}, s)
	requireEqual(t, "hvc1.1.6.H93.90", hvc1(s))
}

func TestAV1Sequence(t *testing.T) {
	// With decoder model and initial display delay, which the library refuses.
	w := &bitWriter{}
	w.u(3, 0).u(1, 0).u(1, 0)
	w.u(1, 1).u(32, 1).u(32, 30).u(1, 1).ue(0)
	w.u(1, 1).u(5, 9).u(32, 1).u(5, 0).u(5, 0)
	w.u(1, 1).u(5, 0).u(12, 0).u(5, 9).u(1, 1)
	w.u(1, 1).u(10, 1).u(10, 2).u(1, 0)
	w.u(1, 1).u(4, 3)
	w.u(4, 10).u(4, 9).u(11, 1919).u(10, 1079>>1)
	_, err := AV1Sequence(append([]byte{0x08}, w.b...))
	requireTrue(t, errors.Is(err, ErrMalformed), "cut off")

	w = &bitWriter{}
	w.u(3, 0).u(1, 0).u(1, 0)
	w.u(1, 1).u(32, 1).u(32, 30).u(1, 1).ue(0)
	w.u(1, 1).u(5, 9).u(32, 1).u(5, 0).u(5, 0)
	w.u(1, 1).u(5, 0).u(12, 0).u(5, 9).u(1, 1)
	w.u(1, 1).u(10, 1).u(10, 2).u(1, 0)
	w.u(1, 1).u(4, 3)
	w.u(4, 10).u(4, 10).u(11, 1919).u(11, 1079)
	w.u(1, 0).u(3, 0).u(4, 0).u(1, 1).u(2, 0).u(1, 1).u(1, 1).u(3, 6).u(3, 0)
	w.u(1, 1).u(1, 0).u(1, 0).u(8, 0)
	want := AV1Info{Level: 9, Tier: 1, Width: 1920, Height: 1080, BitDepth: 10, FPS: 30}
	for _, header := range [][]byte{{0x08}, {0x0c, 0x08}, append([]byte{0x0a}, appendLEB128(nil, len(w.b))...)} {
		got, err := AV1Sequence(append(slices.Clone(header), w.b...))
		requireNoError(t, err)
		requireEqual(t, want, got)
	}
	tr := media.Track{Codec: media.AV1, Params: [][]byte{append([]byte{0x08}, w.b...)}}
	requireEqual(t, "av01.0.09H.10", MIME(tr))
	requireEqual(t, "level-idx=9;profile=0;tier=1", FMTP(tr))
}

func TestLEB128(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 16383, 16384, 1 << 20, 1<<32 - 1} {
		b := appendLEB128(nil, n)
		requireLen(t, b, leb128Size(n))
		v, used := leb128(append(b, 0xff))
		requireEqual(t, []int{n, len(b)}, []int{int(v), used})
	}
	for _, bad := range [][]byte{nil, {0x80}, bytes.Repeat([]byte{0xff}, 9), {0xff, 0xff, 0xff, 0xff, 0x1f}} {
		_, used := leb128(bad)
		requireEqual(t, 0, used)
	}
}
