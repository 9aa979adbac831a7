package codec

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"camwire/media"
)

// spsOf returns the first readable SPS among the track's parameters.
func spsOf(t media.Track) (SPS, []byte, bool) {
	is265 := t.Codec == media.H265
	for _, p := range t.Params {
		if !validNAL(p, is265) {
			continue
		}
		if s, err := ParseSPS(t.Codec, p); err == nil {
			return s, p, true
		}
	}
	return SPS{}, nil, false
}

func av1Of(t media.Track) (AV1Info, bool) {
	for _, p := range t.Params {
		if i, err := AV1Sequence(p); err == nil {
			return i, true
		}
	}
	return AV1Info{}, false
}

// vp9Of reads the key frame header that a Normalizer keeps in Params.
func vp9Of(t media.Track) VP9Info {
	for _, p := range t.Params {
		if i, err := VP9Header(p); err == nil && i.Key {
			return i
		}
	}
	return VP9Info{BitDepth: 8, Subsampling: 1}
}

// FMTP returns the format parameters of the track for an SDP a=fmtp line,
// without payload type, made from the stream's own parameter sets. What those
// do not tell is left out; codecs that need none answer "". Sources: RFC 6184
// section 8.1, RFC 7798 section 7.1, RFC 9628 section 7, AV1 RTP specification
// section 7.2, RFC 7587 section 6.1.
func FMTP(t media.Track) string {
	switch t.Codec {
	case media.H264:
		s := "level-asymmetry-allowed=1;packetization-mode=1"
		if _, nal, ok := spsOf(t); ok {
			s += ";profile-level-id=" + hex.EncodeToString(nal[1:4])
		}
		return s
	case media.H265:
		s, _, ok := spsOf(t)
		if !ok {
			return "tx-mode=SRST"
		}
		return fmt.Sprintf("level-id=%d;profile-id=%d;tier-flag=%d;tx-mode=SRST", s.Level, s.Profile, b2i(s.HighTier))
	case media.VP9:
		return "profile-id=" + strconv.Itoa(vp9Of(t).Profile)
	case media.AV1:
		if i, ok := av1Of(t); ok {
			return fmt.Sprintf("level-idx=%d;profile=%d;tier=%d", i.Level, i.Profile, i.Tier)
		}
	case media.Opus:
		if t.Channels == 2 {
			return "minptime=10;useinbandfec=1;stereo=1"
		}
		return "minptime=10;useinbandfec=1"
	}
	return ""
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Match says how well an offered format fits a track. Larger is better.
type Match int

const (
	// Unacceptable formats cannot carry the track.
	Unacceptable Match = iota
	// SameDecoder formats name another profile or a lower level, but the
	// decoder behind them understands the track all the same.
	SameDecoder
	// Exact formats name the track's own profile.
	Exact
)

func (m Match) String() string {
	switch m {
	case Exact:
		return "exact"
	case SameDecoder:
		return "same decoder"
	}
	return "unacceptable"
}

// parameters reads "a=1;b=2"; names in lower case. Bounded, because the text
// comes from strangers.
func parameters(fmtp string) map[string]string {
	m := make(map[string]string)
	for p := range strings.SplitSeq(fmtp, ";") {
		if len(m) == 32 {
			break
		}
		k, v, _ := strings.Cut(p, "=")
		m[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
	}
	return m
}

// number returns a parameter, or def where it is absent, or -1 where it is no
// small number.
func number(m map[string]string, name string, def int) int {
	v, ok := m[name]
	if !ok {
		return def
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// Accepts says whether a payload type offered as codec with these format
// parameters can carry the track. It judges profiles, not Reordered: that no
// WebRTC offer can carry.
func Accepts(codec media.Codec, offerFmtp string, t media.Track) Match {
	if !strings.EqualFold(string(codec), string(t.Codec)) {
		return Unacceptable
	}
	switch t.Codec {
	case media.H264:
		return H264ProfileCompatible(offerFmtp, t)
	case media.H265:
		return acceptsH265(parameters(offerFmtp), t)
	case media.VP9:
		return acceptsProfile(vp9Of(t).Profile, number(parameters(offerFmtp), "profile-id", 0), 2)
	case media.AV1:
		// Without sequence header: what every AV1 receiver can do.
		i, _ := av1Of(t)
		return acceptsProfile(i.Profile, number(parameters(offerFmtp), "profile", 0), 1)
	case media.VP8, media.Opus, media.PCMU, media.PCMA:
		return Exact
	}
	return Unacceptable
}

// acceptsProfile compares profiles of which 0 is contained in the one named.
func acceptsProfile(stream, offered, contains0 int) Match {
	switch {
	case stream == offered:
		return Exact
	case stream == 0 && offered == contains0:
		return SameDecoder
	}
	return Unacceptable
}

// acceptsH265 has the defaults of RFC 7798 section 7.1.
func acceptsH265(offer map[string]string, t media.Track) Match {
	if mode, ok := offer["tx-mode"]; ok && !strings.EqualFold(mode, "SRST") {
		return Unacceptable
	}
	s, _, ok := spsOf(t)
	if !ok {
		return SameDecoder
	}
	profile, tier, level := number(offer, "profile-id", 1), number(offer, "tier-flag", 0), number(offer, "level-id", 93)
	if profile < 0 || tier < 0 || level < 0 || s.ProfileSpace != number(offer, "profile-space", 0) {
		return Unacceptable
	}
	// A decoder that conforms to a profile also decodes what is marked
	// compatible with it, and Main 10 contains Main (section A.3.3).
	compatible := profile < 32 && s.Compatibility>>(31-profile)&1 == 1 || profile == 2 && s.Profile == 1
	switch {
	case profile == s.Profile && b2i(s.HighTier) <= tier && s.Level <= level:
		return Exact
	case profile == s.Profile, compatible:
		return SameDecoder
	}
	return Unacceptable
}

// h264Profile is a profile as receivers tell them apart: profile_idc together
// with the constraint flags (RFC 6184 table 5).
type h264Profile int

const (
	h264Unknown h264Profile = iota
	h264ConstrainedBaseline
	h264Baseline
	h264Main
	h264ConstrainedHigh
	h264High
	h264High444
)

func h264ProfileOf(idc, flags byte) h264Profile {
	set0, set1 := flags&0x80 != 0, flags&0x40 != 0
	switch idc {
	case 0x42:
		if set1 {
			return h264ConstrainedBaseline
		}
		return h264Baseline
	case 0x4d:
		if set0 {
			return h264ConstrainedBaseline
		}
		return h264Main
	case 0x58:
		switch {
		case set0 && set1:
			return h264ConstrainedBaseline
		case set0:
			return h264Baseline
		}
	case 0x64:
		if flags&0x0c == 0x0c {
			return h264ConstrainedHigh
		}
		return h264High
	case 0xf4:
		return h264High444
	}
	return h264Unknown
}

// H264ProfileCompatible compares an offer's fmtp with the track's SPS. Level
// is not compared: browsers offer 3.1 and decode what comes. Packetization
// mode 0 cannot carry fragments and is unacceptable (RFC 6184 section 6.2);
// so is an offer whose profile-level-id cannot be read.
func H264ProfileCompatible(offerFmtp string, t media.Track) Match {
	offer := parameters(offerFmtp)
	if number(offer, "packetization-mode", 0) != 1 {
		return Unacceptable
	}
	id := []byte{0x42, 0, 0x0a} // section 8.1: absent means Baseline, level 1
	if v, ok := offer["profile-level-id"]; ok {
		var err error
		if id, err = hex.DecodeString(v); err != nil || len(id) != 3 {
			return Unacceptable
		}
	}
	_, nal, ok := spsOf(t)
	if !ok {
		return SameDecoder
	}
	want := h264ProfileOf(nal[1], nal[2])
	if want != h264Unknown && want == h264ProfileOf(id[0], id[1]) {
		return Exact
	}
	return SameDecoder
}
