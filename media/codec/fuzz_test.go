package codec

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"camwire/media"

	mcav1 "github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	mch264 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	mch265 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

var fuzzCodecs = []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1, media.JPEG,
	media.Opus, media.PCMU, media.AAC, media.NV12}

func sane(w, h int) bool { return w > 0 && h > 0 && w <= maxDimension && h <= maxDimension }

// Where the library can read a set, too, both must say the same.
func FuzzParseSPS(f *testing.F) {
	f.Add(spsWithoutVUI(77, 0, 40, 30))
	f.Add(spsWithoutVUI(66, 31, 1, 1))
	f.Add(unhex(f, "67640028acd940780227e5c05a808080a0000003002000000781e30632c0"))
	f.Add(h265SPSUnit())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSPS(media.H264, b); err == nil {
			requireTrue(t, sane(s.Width, s.Height))
			var l mch264.SPS
			// The library does not crop monochrome pictures.
			if l.Unmarshal(b) == nil && l.ChromaFormatIdc != 0 && !l.SeparateColourPlaneFlag {
				requireEqual(t, []int{l.Width(), l.Height()}, []int{s.Width, s.Height})
			}
			MIME(media.Track{Codec: media.H264, Params: [][]byte{b}})
		}
		if s, err := ParseSPS(media.H265, b); err == nil {
			requireTrue(t, sane(s.Width, s.Height))
			var l mch265.SPS
			if l.Unmarshal(b) == nil && !l.SeparateColourPlaneFlag {
				requireEqual(t, []int{l.Width(), l.Height()}, []int{s.Width, s.Height})
			}
			MIME(media.Track{Codec: media.H265, Params: [][]byte{b}})
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte{0x10, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0})
	f.Add([]byte{0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0e, 0xf6})
	f.Add([]byte{0x0a, 0x0b, 0, 0, 0, 0x2c, 0xff, 0xff, 0xff, 0xe0, 0x40, 0x40, 0x40})
	f.Add(jpegHead(640, 480))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, w, h, err := VP8Header(b); err == nil && key {
			requireTrue(t, sane(w, h))
		}
		if i, err := VP9Header(b); err == nil && i.Key {
			requireTrue(t, sane(i.Width, i.Height))
		}
		if i, err := AV1Sequence(b); err == nil {
			requireTrue(t, sane(i.Width, i.Height))
			var l mcav1.SequenceHeader
			if l.Unmarshal(b) == nil {
				requireEqual(t, []int{l.Width(), l.Height(), l.ColorConfig.BitDepth}, []int{i.Width, i.Height, i.BitDepth})
			}
		}
		if w, h, err := JPEGSize(b); err == nil {
			requireTrue(t, w > 0 && h > 0 && w < 1<<16 && h < 1<<16)
		}
		JPEGComplete(b)
	})
}

func FuzzAccepts(f *testing.F) {
	f.Add("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
	f.Add("profile-id=1;tier-flag=0;level-id=93;;=;a")
	sps := spsWithoutVUI(77, 0, 40, 30)
	f.Fuzz(func(t *testing.T, offer string) {
		for _, c := range fuzzCodecs {
			m := Accepts(c, offer, media.Track{Codec: c, Params: [][]byte{sps}})
			requireTrue(t, m >= Unacceptable && m <= Exact)
		}
	})
}

// frames cuts the fuzzer's bytes: a byte of length, a byte of time, units.
func fuzzFrames(b []byte) []*media.Frame {
	var fs []*media.Frame
	f := &media.Frame{}
	for len(b) >= 2 {
		n, at := int(b[0]), b[1]
		b = b[2:]
		n = min(n, len(b))
		f.Units = append(f.Units, b[:n:n])
		b = b[n:]
		if at&1 == 0 {
			f.PTS = time.Duration(int8(at)) * 100 * ms
			fs = append(fs, f)
			f = &media.Frame{}
		}
	}
	return append(fs, f)
}

func seedFrames(units ...[]byte) []byte {
	var b []byte
	for i, u := range units {
		at := byte(1)
		if i == len(units)-1 {
			at = 4
		}
		b = append(b, byte(len(u)), at)
		b = append(b, u...)
	}
	return b
}

// Whatever comes in: no panic, PTS grows, key frames carry their parameters,
// the memory stays as it was, and what comes out can be sent and received.
func FuzzNormalizeAndPacketize(f *testing.F) {
	sps, pps := spsWithoutVUI(77, 0, 40, 30), ppsFor(0, 0)
	idr, b := h264Unit(0x65, 7, 0, 200), h264Unit(0x01, 6, 0, 80)
	f.Add(byte(0), uint16(100), append(seedFrames(sps, pps, idr), seedFrames(b)...))
	f.Add(byte(1), uint16(40), seedFrames([]byte{0x40, 1, 12, 1}, h265SPSUnit(),
		[]byte{0x44, 1, 0xc0}, []byte{0x26, 1, 0xaf, 9, 9, 9}))
	f.Add(byte(2), uint16(32), seedFrames([]byte{0x10, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0}))
	f.Add(byte(3), uint16(32), seedFrames([]byte{0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0e, 0xf6}))
	f.Add(byte(4), uint16(32), seedFrames([]byte{0x12, 0, 0x0a, 0x0b, 0, 0, 0, 0x2c, 0xff, 0xff, 0xff, 0xe0,
		0x40, 0x40, 0x40, 0x32, 3, 0x10, 1, 2}, []byte{0x30, 0x10, 1}))
	f.Fuzz(func(t *testing.T, which byte, limit uint16, data []byte) {
		c := fuzzCodecs[int(which)%len(fuzzCodecs)]
		before := bytes.Clone(data)
		n, r := start(media.Track{Codec: c, ClockRate: 90000})
		for _, fr := range fuzzFrames(data) {
			Packetize(r.tracks()[0], &media.Frame{Units: fr.Units, Key: true}, int(limit))
			n.Write(fr)
		}
		requireTrue(t, bytes.Equal(before, data))
		size := max(int(limit), minPayload)
		last := time.Duration(-1 << 63)
		tr := r.tracks()[0]
		for _, fr := range r.frames {
			if !tr.Reordered {
				requireTrue(t, fr.PTS > last, "%v after %v", fr.PTS, last)
			}
			last = fr.PTS
			p := Packetize(tr, fr, size)
			for _, x := range p {
				requireAtMost(t, len(x), size)
			}
			roundTrip(t, c, fr, p)
		}
	})
}

func roundTrip(t *testing.T, c media.Codec, f *media.Frame, p [][]byte) {
	t.Helper()
	switch c {
	case media.H264, media.H265, media.VP8, media.VP9, media.AV1:
	default:
		return
	}
	// The depacketizers have limits of their own, and take a start code
	// inside a unit for a second unit.
	if len(f.Units) > 9 || slices.ContainsFunc(f.Units, func(u []byte) bool {
		return len(u) < 3 || bytes.Contains(u, []byte{0, 0, 1}) || bytes.Contains(u, []byte{0, 0, 0, 1})
	}) {
		return
	}
	got, err := newReceiver(t, c).frame(p)
	requireNoError(t, err)
	requireEqual(t, f.Units, got)
}
