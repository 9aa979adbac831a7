package codec

import (
	"strings"
	"testing"

	"camwire/media"
)

func TestH264ProfileCompatible(t *testing.T) {
	track := func(profile string) media.Track {
		sps := spsWithoutVUI(77, 0, 40, 30)
		copy(sps[1:4], unhex(t, profile))
		return media.Track{Codec: media.H264, Params: [][]byte{sps, ppsFor(0, 0)}}
	}
	const mode1 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="
	for _, c := range []struct {
		offer, stream string
		want          Match
	}{
		{mode1 + "42e01f", "42c01e", Exact}, // constrained baseline both
		{mode1 + "42e01f", "42001e", SameDecoder},
		{mode1 + "42001f", "420028", Exact},
		{mode1 + "4d001f", "4d4028", Exact},
		{mode1 + "42e01f", "4d8028", Exact}, // main that is constrained baseline
		{mode1 + "4D001F", "4d0028", Exact},
		{mode1 + "42e01f", "640028", SameDecoder},
		{" packetization-mode = 1 ; PROFILE-LEVEL-ID=64001f", "4d0028", SameDecoder},
		{"packetization-mode=1", "420028", Exact},
		{"profile-level-id=42e01f", "42c01e", Unacceptable},
		{"packetization-mode=0;profile-level-id=42e01f", "42c01e", Unacceptable},
		{"packetization-mode=2;profile-level-id=42e01f", "42c01e", Unacceptable},
		{mode1 + "xyz", "42c01e", Unacceptable},
		{mode1 + "42e0", "42c01e", Unacceptable},
		{"", "42c01e", Unacceptable},
	} {
		// A stream may claim High without having High's syntax only in tests,
		// so the profile bytes are compared on one that can be read.
		tr := track(c.stream)
		if strings.HasPrefix(c.stream, "64") {
			tr.Params[0] = unhex(t, "67640028acd940780227e5c05a808080a0000003002000000781e30632c0")
		}
		requireEqual(t, c.want, H264ProfileCompatible(c.offer, tr), "%s for %s", c.offer, c.stream)
		requireEqual(t, c.want, Accepts("h264", c.offer, tr))
	}
	requireEqual(t, SameDecoder, H264ProfileCompatible(mode1+"42e01f", media.Track{Codec: media.H264}))
	requireEqual(t, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d4028", FMTP(track("4d4028")))
	requireEqual(t, "level-asymmetry-allowed=1;packetization-mode=1", FMTP(media.Track{Codec: media.H264}))
	requireEqual(t, "", MIME(media.Track{Codec: media.H264}))
}

func TestAccepts(t *testing.T) {
	h265 := media.Track{Codec: media.H265, Params: [][]byte{h265SPSUnit()}}
	vp9 := media.Track{Codec: media.VP9, Width: 1280, Height: 720, FPS: 30}
	vp92 := media.Track{Codec: media.VP9, Params: [][]byte{{0x92, 0x49, 0x83, 0x42, 0, 0x09, 0xf8, 0x07, 0x78}}}
	for _, c := range []struct {
		codec media.Codec
		offer string
		track media.Track
		want  Match
	}{
		{media.H265, "level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST", h265, Exact},
		{media.H265, "level-id=93;profile-id=1", h265, SameDecoder},
		{media.H265, "", h265, SameDecoder},
		{media.H265, "level-id=156;profile-id=2;tier-flag=1", h265, SameDecoder},
		{media.H265, "profile-id=4", h265, Unacceptable},
		{media.H265, "profile-id=99999999", h265, Unacceptable},
		{media.H265, "level-id=120;profile-id=1;tx-mode=MRST", h265, Unacceptable},
		{media.H265, "", media.Track{Codec: media.H265}, SameDecoder},
		{media.VP9, "profile-id=0", vp9, Exact},
		{media.VP9, "", vp9, Exact},
		{media.VP9, "profile-id=2", vp9, SameDecoder},
		{media.VP9, "profile-id=1", vp9, Unacceptable},
		{media.VP9, "profile-id=0", vp92, Unacceptable},
		{media.VP9, "profile-id=2", vp92, Exact},
		{media.AV1, "level-idx=5;profile=0;tier=0", media.Track{Codec: media.AV1}, Exact},
		{media.AV1, "profile=1", media.Track{Codec: media.AV1}, SameDecoder},
		{media.AV1, "profile=2", media.Track{Codec: media.AV1}, Unacceptable},
		{"OPUS", "minptime=10", media.Track{Codec: media.Opus}, Exact},
		{media.VP8, "", media.Track{Codec: media.VP8}, Exact},
		{media.VP8, "", vp9, Unacceptable},
		{media.AAC, "", media.Track{Codec: media.AAC}, Unacceptable},
		{media.JPEG, "", media.Track{Codec: media.JPEG}, Unacceptable},
	} {
		requireEqual(t, c.want, Accepts(c.codec, c.offer, c.track), "%s %q", c.codec, c.offer)
	}
	requireEqual(t, "level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST", FMTP(h265))
	requireEqual(t, "profile-id=2", FMTP(vp92))
	requireEqual(t, "vp09.00.31.08", MIME(vp9))
	requireEqual(t, "vp09.02.10.10", MIME(vp92))
	requireEqual(t, "hvc1.1.6.L120.90", MIME(h265))
	requireEqual(t, "minptime=10;useinbandfec=1;stereo=1", FMTP(media.Track{Codec: media.Opus, Channels: 2}))
	requireEqual(t, "minptime=10;useinbandfec=1", FMTP(media.Track{Codec: media.Opus, Channels: 1}))
	requireEqual(t, "mp4a.40.2", MIME(media.Track{Codec: media.AAC, Params: [][]byte{{0x11, 0x90}}}))
	requireEqual(t, "opus", MIME(media.Track{Codec: media.Opus}))
	requireEqual(t, "", MIME(media.Track{Codec: media.PCMU})+FMTP(media.Track{Codec: media.PCMU}))
	requireEqual(t, "exact", Exact.String())
}
