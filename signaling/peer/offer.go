package peer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"camwire/media"
	"camwire/media/codec"
)

// MaxOffer is the size in bytes above which an offer is not even parsed.
const MaxOffer = 128 << 10

// What one section of an offer may hold. Browsers offer about 25 formats and
// 150 attributes; pion's work grows with the product.
const (
	maxFormats    = 64
	maxAttributes = 600
	maxFeedback   = 8 // per payload type
)

// Header extensions that Camwire fills in.
const (
	// Minimum and maximum playout delay in steps of 10 ms. With 0 the
	// browser shows a picture as soon as it is decoded.
	uriPlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	// When the picture was taken, NTP 32.32.
	uriAbsCapture = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	// draft-holmer-rmcat-transport-wide-cc-extensions-01.
	uriTransportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// offer is what we need to know of a remote description.
type offer struct {
	video, audio []offered // in the offerer's order of preference
	rtx          map[uint8]uint8
	hasVideo     bool
	hasAudio     bool
	layers       int // simulcast renderings that are announced; 0: one
}

// offered is one payload type of an offer.
type offered struct {
	pt    uint8
	codec media.Codec
	mime  string
	clock uint32
	chans uint16
	fmtp  string
	fb    []webrtc.RTCPFeedback
}

// parseOffer reads an offer to receive. It takes hostile input.
func parseOffer(text string) (*offer, error) {
	o, _, err := readOffer(text, receives)
	if err != nil {
		return nil, err
	}
	if !o.hasVideo && !o.hasAudio {
		return nil, fmt.Errorf("%w: no audio or video section that wants to receive", ErrBadOffer)
	}
	return o, nil
}

// readOffer reads the codecs out of an offer (RFC 8866, RFC 8829), of the first
// video and the first audio section that goes in the right direction.
func readOffer(text string, direction func(*sdp.MediaDescription) bool) (*offer, *sdp.SessionDescription, error) {
	if len(text) > MaxOffer {
		return nil, nil, fmt.Errorf("%w: %d bytes; at most %d are read", ErrBadOffer, len(text), MaxOffer)
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, nil, fmt.Errorf("%w: not an SDP: %w", ErrBadOffer, err)
	}
	o := &offer{rtx: map[uint8]uint8{}}
	if len(d.MediaDescriptions) > 32 {
		return nil, nil, fmt.Errorf("%w: %d media sections; at most 32 are taken", ErrBadOffer, len(d.MediaDescriptions))
	}
	for _, m := range d.MediaDescriptions {
		if len(m.MediaName.Formats) > maxFormats || len(m.Attributes) > maxAttributes {
			return nil, nil, fmt.Errorf("%w: a section of %d formats and %d attributes; at most %d and %d are taken",
				ErrBadOffer, len(m.MediaName.Formats), len(m.Attributes), maxFormats, maxAttributes)
		}
		switch m.MediaName.Media {
		case "video":
			if !o.hasVideo && direction(m) {
				o.hasVideo = true
				o.video = o.codecs(m)
			}
		case "audio":
			if !o.hasAudio && direction(m) {
				o.hasAudio = true
				o.audio = o.codecs(m)
			}
		}
	}
	return o, &d, nil
}

func receives(m *sdp.MediaDescription) bool { return !has(m, "sendonly", "inactive") }

func sends(m *sdp.MediaDescription) bool { return !has(m, "recvonly", "inactive") }

func has(m *sdp.MediaDescription, keys ...string) bool {
	return slices.ContainsFunc(m.Attributes, func(a sdp.Attribute) bool { return slices.Contains(keys, a.Key) })
}

var codecNames = map[string]media.Codec{
	"H264": media.H264, "H265": media.H265, "VP8": media.VP8, "VP9": media.VP9, "AV1": media.AV1,
	"OPUS": media.Opus, "PCMU": media.PCMU, "PCMA": media.PCMA,
}

// codecs lists the payload types of a section that Camwire can fill.
func (o *offer) codecs(m *sdp.MediaDescription) []offered {
	var out []offered
	seen := map[string]bool{}
	for _, f := range m.MediaName.Formats {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil || seen[f] {
			continue
		}
		seen[f] = true
		pt := uint8(n)
		c := offered{pt: pt, clock: 8000, chans: 1}
		name := map[uint8]string{0: "PCMU", 8: "PCMA"}[pt] // RFC 3551 table 4
		for _, a := range m.Attributes {
			id, rest, ok := strings.Cut(a.Value, " ")
			if !ok || id != f && !(a.Key == "rtcp-fb" && id == "*") {
				continue
			}
			switch a.Key {
			case "rtpmap":
				name = rest
			case "fmtp":
				c.fmtp = rest
			case "rtcp-fb":
				typ, par, _ := strings.Cut(rest, " ")
				if len(c.fb) < maxFeedback {
					c.fb = append(c.fb, webrtc.RTCPFeedback{Type: typ, Parameter: par})
				}
			}
		}
		c.parseMap(name)
		if c.mime == "rtx" {
			if apt, ok := strings.CutPrefix(c.fmtp, "apt="); ok {
				if p, err := strconv.ParseUint(apt, 10, 7); err == nil {
					o.rtx[uint8(p)] = pt
				}
			}
			continue
		}
		if c.codec != "" {
			out = append(out, c)
		}
	}
	return out
}

// parseMap reads "name/clock[/channels]" of an rtpmap.
func (c *offered) parseMap(s string) {
	parts := strings.Split(s, "/")
	c.mime = strings.ToLower(parts[0])
	c.codec = codecNames[strings.ToUpper(parts[0])]
	if len(parts) > 1 {
		if n, err := strconv.ParseUint(parts[1], 10, 32); err == nil {
			c.clock = uint32(n)
		}
	}
	if len(parts) > 2 {
		if n, err := strconv.ParseUint(parts[2], 10, 8); err == nil {
			c.chans = uint16(n)
		}
	}
}

// best returns the payload type that can carry t as it is.
func best(list []offered, t media.Track) (offered, bool) {
	var pick offered
	match := codec.Unacceptable
	for _, c := range list {
		if c.codec != t.Codec {
			continue
		}
		if m := codec.Accepts(c.codec, c.fmtp, t); m > match {
			match, pick = m, c
		}
	}
	return pick, match != codec.Unacceptable
}

// carries reports whether WebRTC can carry the track to this viewer untouched.
func carries(list []offered, t media.Track) bool {
	if t.Reordered {
		return false
	}
	_, ok := best(list, t)
	return ok
}

// engine registers exactly what the offer can take from us, under the offer's
// own payload types, so that a stream may change its codec without a new
// negotiation. The payload type that fits the stream as it is now is told with
// the stream's own profile and level.
func (o *offer) engine(now media.Tracks) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	fits := map[uint8]string{}
	for _, t := range now {
		for _, list := range [][]offered{o.video, o.audio} {
			if b, ok := best(list, t); ok {
				if f := codec.FMTP(t); f != "" {
					fits[b.pt] = f
				}
			}
		}
	}
	register := func(list []offered, typ webrtc.RTPCodecType, prefix string) error {
		for _, c := range list {
			if c.codec == media.H264 && codec.Accepts(media.H264, c.fmtp, media.Track{Codec: media.H264}) == codec.Unacceptable {
				continue
			}
			fmtp := c.fmtp
			if f, ok := fits[c.pt]; ok {
				fmtp = f
			}
			chans := c.chans
			if typ == webrtc.RTPCodecTypeVideo || c.codec != media.Opus {
				chans = 0
			}
			p := webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: prefix + c.mime, ClockRate: c.clock, Channels: chans, SDPFmtpLine: fmtp,
					RTCPFeedback: wanted(c.fb, typ),
				},
				PayloadType: webrtc.PayloadType(c.pt),
			}
			if err := m.RegisterCodec(p, typ); err != nil {
				return fmt.Errorf("%w: payload type %d: %w", ErrBadOffer, c.pt, err)
			}
			rtx, ok := o.rtx[c.pt]
			if !ok {
				continue
			}
			p = webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: webrtc.MimeTypeRTX, ClockRate: c.clock, SDPFmtpLine: fmt.Sprintf("apt=%d", c.pt),
				},
				PayloadType: webrtc.PayloadType(rtx),
			}
			if err := m.RegisterCodec(p, typ); err != nil {
				return fmt.Errorf("%w: payload type %d: %w", ErrBadOffer, rtx, err)
			}
		}
		return nil
	}
	if err := register(o.video, webrtc.RTPCodecTypeVideo, "video/"); err != nil {
		return nil, err
	}
	if err := register(o.audio, webrtc.RTPCodecTypeAudio, "audio/"); err != nil {
		return nil, err
	}
	for _, uri := range []string{uriPlayoutDelay, uriAbsCapture, uriTransportCC} {
		for _, typ := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
			if typ == webrtc.RTPCodecTypeAudio && uri == uriPlayoutDelay {
				continue
			}
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, typ); err != nil {
				return nil, fmt.Errorf("webrtc: header extension: %w", err)
			}
		}
	}
	return m, nil
}

// wanted keeps the feedback that Camwire acts on.
func wanted(fb []webrtc.RTCPFeedback, typ webrtc.RTPCodecType) []webrtc.RTCPFeedback {
	var out []webrtc.RTCPFeedback
	for _, f := range fb {
		switch f.Type {
		case "transport-cc":
			out = append(out, f)
		case "nack": // sound is not kept for a second sending
			if typ == webrtc.RTPCodecTypeVideo {
				out = append(out, f)
			}
		case "ccm":
			if f.Parameter == "fir" {
				out = append(out, f)
			}
		}
	}
	return out
}
