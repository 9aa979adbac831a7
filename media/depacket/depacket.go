// Package depacket puts the payloads of RTP packets together to access units,
// for everything that Camwire receives by RTP: RTSP cameras and publishers, and
// WebRTC publishers. Packets come in order and without repetition; where some
// are missing the caller says so. Sequence numbers, clocks and sockets do not
// belong here.
package depacket

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"camwire/media"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpav1"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp8"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp9"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"
)

// Limits of one access unit. No camera comes near them; whoever passes them is
// broken or hostile.
const (
	maxUnitBytes = 16 << 20
	maxUnits     = 1024
)

// AccessUnit is one frame as it came out of the packets.
type AccessUnit struct {
	Units [][]byte
	PTS   time.Duration
}

// Depacketizer turns the packets of one track into access units. It is for one
// goroutine.
type Depacketizer interface {
	// Packet takes the next packet. It can complete none, one, or (audio)
	// several access units. An error means that the one the packet belongs to
	// cannot be completed.
	Packet(pkt *rtp.Packet, pts time.Duration) ([]AccessUnit, error)
	// Cut forgets what is under way, because packets are missing, and reports
	// whether there was something.
	Cut() (broken bool)
}

// Describe makes the track and a maker of depacketizers of an SDP format. It
// returns false for a format that Camwire cannot carry.
func Describe(f format.Format) (media.Track, func() (Depacketizer, error), bool) {
	video := func(c media.Codec, params ...[]byte) media.Track {
		t := media.Track{Codec: c, ClockRate: 90000}
		for _, p := range params {
			if len(p) > 0 {
				t.Params = append(t.Params, p)
			}
		}
		return t
	}
	switch f := f.(type) {
	case *format.H264:
		sps, pps := f.SafeParams()
		return video(media.H264, sps, pps), func() (Depacketizer, error) {
			d, err := f.CreateDecoder()
			return &nalUnits{decode: d.Decode, more: rtph264.ErrMorePacketsNeeded, begins: beginsH264}, err
		}, f.PacketizationMode < 2
	case *format.H265:
		vps, sps, pps := f.SafeParams()
		return video(media.H265, vps, sps, pps), func() (Depacketizer, error) {
			d, err := f.CreateDecoder()
			return &nalUnits{decode: d.Decode, more: rtph265.ErrMorePacketsNeeded, begins: beginsH265}, err
		}, f.MaxDONDiff == 0
	case *format.AV1:
		return video(media.AV1), func() (Depacketizer, error) {
			d, err := f.CreateDecoder()
			return &nalUnits{decode: d.Decode, more: rtpav1.ErrMorePacketsNeeded, clean: withoutSize}, err
		}, true
	case *format.VP8:
		return video(media.VP8), func() (Depacketizer, error) {
			d, err := f.CreateDecoder()
			return &wholeFrames{decode: func(p *rtp.Packet) ([]byte, error) { return d.Decode(wholePartition(p)) }, more: rtpvp8.ErrMorePacketsNeeded}, err
		}, true
	case *format.VP9:
		return video(media.VP9), func() (Depacketizer, error) {
			d, err := f.CreateDecoder()
			return &wholeFrames{decode: d.Decode, more: rtpvp9.ErrMorePacketsNeeded}, err
		}, true
	case *format.MJPEG:
		return video(media.JPEG), func() (Depacketizer, error) {
			d, err := f.CreateDecoder()
			return &wholeFrames{decode: d.Decode, more: rtpmjpeg.ErrMorePacketsNeeded}, err
		}, true
	}
	return describeAudio(f)
}

func describeAudio(f format.Format) (media.Track, func() (Depacketizer, error), bool) {
	whole := func() (Depacketizer, error) { return packets{}, nil }
	switch f := f.(type) {
	case *format.Opus:
		return media.Track{Codec: media.Opus, ClockRate: 48000, Channels: f.ChannelCount}, whole,
			f.ChannelCount == 1 || f.ChannelCount == 2
	case *format.G711:
		t := media.Track{Codec: media.PCMA, ClockRate: 8000, Channels: 1}
		if f.MULaw {
			t.Codec = media.PCMU
		}
		return t, whole, f.SampleRate == 8000 && f.ChannelCount == 1
	case *format.MPEG4Audio:
		config, err := f.Config.Marshal()
		if err != nil || f.Config.SampleRate <= 0 {
			return media.Track{}, nil, false
		}
		channels := int(f.Config.ChannelConfig)
		if channels == 7 { // ISO 14496-3 table 1.19
			channels = 8
		}
		t := media.Track{
			Codec: media.AAC, ClockRate: f.Config.SampleRate,
			Channels: channels, Params: [][]byte{config},
		}
		return t, func() (Depacketizer, error) {
			d, err := f.CreateDecoder()
			return &aacUnits{decode: d.Decode, rate: time.Duration(f.Config.SampleRate)}, err
		}, true
	}
	return media.Track{}, nil, false
}

// nalUnits collects NAL units or OBUs to access units. gortsplib's decoders
// can do that too, but they rely on the marker bit, which some cameras never
// set (FLIR M400) and which may be in the packet that is lost; and they put
// what is left of a broken picture in front of the next one.
type nalUnits struct {
	decode func(*rtp.Packet) ([][]byte, error)
	more   error
	begins func(units [][]byte) bool // nil: not known
	clean  func([]byte) []byte       // nil: not needed

	units   [][]byte
	size    int
	ts      uint32
	pts     time.Duration
	open    bool // units belong to an access unit that is under way
	suspect bool // packets are missing before this access unit
}

func (n *nalUnits) Packet(pkt *rtp.Packet, pts time.Duration) ([]AccessUnit, error) {
	var done []AccessUnit
	if n.open && n.ts != pkt.Timestamp {
		if au, err := n.take(); err == nil {
			done = append(done, au)
		}
	}
	one := *pkt
	one.Marker = true // gives out what is in the packet at once
	units, err := n.decode(&one)
	if err != nil && !errors.Is(err, n.more) {
		n.Cut()
		return done, err
	}
	n.open, n.ts, n.pts = true, pkt.Timestamp, pts
	for _, u := range units {
		if n.clean != nil {
			u = n.clean(u)
		}
		if len(u) == 0 {
			continue
		}
		n.size += len(u)
		n.units = append(n.units, u)
	}
	if n.size > maxUnitBytes || len(n.units) > maxUnits {
		n.Cut()
		return done, fmt.Errorf("access unit of more than %d MiB or %d units", maxUnitBytes>>20, maxUnits)
	}
	if pkt.Marker && err == nil {
		au, err := n.take()
		if err != nil {
			return done, err
		}
		done = append(done, au)
	}
	return done, nil
}

var (
	errEmpty     = errors.New("empty access unit")
	errBeginning = errors.New("the beginning of the picture is missing")
)

func (n *nalUnits) take() (AccessUnit, error) {
	au := AccessUnit{Units: n.units, PTS: n.pts}
	suspect := n.suspect
	n.units, n.size, n.open, n.suspect = nil, 0, false, false
	switch {
	case len(au.Units) == 0:
		return au, errEmpty
	case suspect && n.begins != nil && !n.begins(au.Units):
		return au, errBeginning
	}
	return au, nil
}

func (n *nalUnits) Cut() bool {
	broken := n.open
	n.units, n.size, n.open, n.suspect = nil, 0, false, true
	return broken
}

// beginsH264 reports whether the first slice is the first of its picture:
// first_mb_in_slice is 0, written as a single one bit (H.264 section 7.3.3).
func beginsH264(units [][]byte) bool {
	for _, u := range units {
		if t := u[0] & 0x1f; (t == 1 || t == 2 || t == 5) && len(u) > 1 {
			return u[1]&0x80 != 0
		}
	}
	return true
}

// beginsH265 looks at first_slice_segment_in_pic_flag (H.265 section 7.3.6.1).
func beginsH265(units [][]byte) bool {
	for _, u := range units {
		if t := u[0] >> 1 & 0x3f; t < 32 && len(u) > 2 {
			return u[2]&0x80 != 0
		}
	}
	return true
}

// withoutSize removes the size field that some senders leave in an OBU (AV1
// specification section 5.3; the RTP payload format asks to leave it out).
func withoutSize(obu []byte) []byte {
	const hasExtension, hasSize = 0x04, 0x02
	if len(obu) == 0 || obu[0]&hasSize == 0 {
		return obu
	}
	header := 1
	if obu[0]&hasExtension != 0 {
		header = 2
	}
	size, n := 0, 0
	for i := header; i < len(obu) && n < 8; i++ {
		size |= int(obu[i]&0x7f) << (7 * n)
		n++
		if obu[i]&0x80 == 0 {
			break
		}
	}
	if n == 0 || len(obu) < header+n {
		return nil
	}
	body := obu[header+n:]
	if size < len(body) {
		body = body[:size]
	}
	out := make([]byte, 0, header+len(body))
	out = append(out, obu[:header]...)
	out[0] &^= hasSize
	return append(out, body...)
}

// wholePartition hides the number of the partition that a VP8 packet belongs to
// (RFC 7741 section 4.2): GStreamer counts them, gortsplib's decoder takes one
// only. A packet that begins a later partition then goes on with the frame.
func wholePartition(p *rtp.Packet) *rtp.Packet {
	const begins, partition = 0x10, 0x07
	if len(p.Payload) == 0 || p.Payload[0]&partition == 0 {
		return p
	}
	q := *p
	q.Payload = bytes.Clone(p.Payload)
	q.Payload[0] &^= begins | partition
	return &q
}

// wholeFrames is for formats whose decoder gives one picture in one piece.
type wholeFrames struct {
	decode func(*rtp.Packet) ([]byte, error)
	more   error
	open   bool
}

func (w *wholeFrames) Packet(pkt *rtp.Packet, pts time.Duration) ([]AccessUnit, error) {
	b, err := w.decode(pkt)
	switch {
	case errors.Is(err, w.more):
		w.open = true
		return nil, nil
	case err != nil:
		w.open = false
		return nil, err
	}
	w.open = false
	if len(b) == 0 {
		return nil, errEmpty
	}
	if len(b) > maxUnitBytes {
		return nil, fmt.Errorf("picture of more than %d MiB", maxUnitBytes>>20)
	}
	return []AccessUnit{{Units: [][]byte{b}, PTS: pts}}, nil
}

// cut has nothing to forget: the decoder notices the gap by itself.
func (w *wholeFrames) Cut() bool {
	broken := w.open
	w.open = false
	return broken
}

// packets is for sound that comes as one frame per packet.
type packets struct{}

func (packets) Packet(pkt *rtp.Packet, pts time.Duration) ([]AccessUnit, error) {
	if len(pkt.Payload) == 0 {
		return nil, nil // opens the way through a firewall, carries nothing
	}
	return []AccessUnit{{Units: [][]byte{pkt.Payload}, PTS: pts}}, nil
}

func (packets) Cut() bool { return false }

// aacUnits is RFC 3640: several frames in one packet, or one in several.
type aacUnits struct {
	decode func(*rtp.Packet) ([][]byte, error)
	rate   time.Duration // samples per second
}

func (a *aacUnits) Packet(pkt *rtp.Packet, pts time.Duration) ([]AccessUnit, error) {
	aus, err := a.decode(pkt)
	if errors.Is(err, rtpmpeg4audio.ErrMorePacketsNeeded) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]AccessUnit, 0, len(aus))
	for i, au := range aus {
		if len(au) > 0 {
			later := time.Duration(i) * mpeg4audio.SamplesPerAccessUnit * time.Second / a.rate
			out = append(out, AccessUnit{Units: [][]byte{au}, PTS: pts + later})
		}
	}
	return out, nil
}

func (a *aacUnits) Cut() bool { return false }
