package codec

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"camwire/media"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpav1"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp8"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp9"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// receiver puts frames together again with somebody else's code.
type receiver struct {
	seq    uint16
	ts     uint32
	decode func(*rtp.Packet) ([][]byte, error)
}

func newReceiver(t testing.TB, c media.Codec) *receiver {
	t.Helper()
	one := func(f func(*rtp.Packet) ([]byte, error)) func(*rtp.Packet) ([][]byte, error) {
		return func(p *rtp.Packet) ([][]byte, error) {
			b, err := f(p)
			return [][]byte{b}, err
		}
	}
	switch c {
	case media.H264:
		d := &rtph264.Decoder{PacketizationMode: 1}
		requireNoError(t, d.Init())
		return &receiver{decode: d.Decode}
	case media.H265:
		d := &rtph265.Decoder{}
		requireNoError(t, d.Init())
		return &receiver{decode: d.Decode}
	case media.AV1:
		d := &rtpav1.Decoder{}
		requireNoError(t, d.Init())
		return &receiver{decode: d.Decode}
	case media.VP8:
		d := &rtpvp8.Decoder{}
		requireNoError(t, d.Init())
		return &receiver{decode: one(d.Decode)}
	default:
		d := &rtpvp9.Decoder{}
		requireNoError(t, d.Init())
		return &receiver{decode: one(d.Decode)}
	}
}

func (r *receiver) frame(payloads [][]byte) (units [][]byte, err error) {
	r.ts += 3600
	for i, p := range payloads {
		r.seq++
		units, err = r.decode(&rtp.Packet{
			Header:  rtp.Header{SequenceNumber: r.seq, Timestamp: r.ts, Marker: i == len(payloads)-1},
			Payload: p,
		})
		if i < len(payloads)-1 && err == nil {
			return nil, fmt.Errorf("frame complete after packet %d of %d", i+1, len(payloads))
		}
	}
	return units, err
}

func TestPacketizeRealStreams(t *testing.T) {
	for _, c := range realClips {
		t.Run(c.name, func(t *testing.T) {
			clip := makeClip(t, c.codec, strings.Fields(c.args)...)
			r := clip.normalized(t)
			for _, limit := range []int{MTU, 1460, 200, minPayload} {
				rx := newReceiver(t, c.codec)
				for i, f := range r.frames {
					p := Packetize(r.tracks()[0], f, limit)
					requirePayloads(t, c.codec, p, limit)
					got, err := rx.frame(p)
					requireNoError(t, err, "frame %d", i)
					requireEqual(t, f.Units, got, "frame %d", i)
					requirePion(t, c.codec, f, p)
				}
			}
		})
	}
}

// requirePayloads checks the limit and that all but the last fragment of a
// unit (of the frame, where the format knows no units) fill it.
func requirePayloads(t testing.TB, c media.Codec, payloads [][]byte, limit int) {
	t.Helper()
	requireTrue(t, len(payloads) > 0, "no payloads")
	short := 0
	for i, p := range payloads {
		requireTrue(t, len(p) > 0, "payload %d is empty", i)
		requireAtMost(t, len(p), limit)
		last := i == len(payloads)-1
		switch {
		case c == media.H264 && h264Type(p) == h264FuA:
			last = p[1]&0x40 != 0
		case c == media.H265 && h265Type(p) == h265FU:
			last = p[2]&0x40 != 0
		case c == media.H264, c == media.H265:
			continue
		case c == media.AV1 && !last && len(p) == limit-1 && p[0]&av1Continues == 0:
			short++ // an OBU's end that leaves one byte, nothing fits there
			continue
		}
		if !last {
			requireEqual(t, limit, len(p), "fragment %d of %d", i, len(payloads))
		}
	}
	requireAtMost(t, short, maxOBUs)
}

// requirePion checks the descriptors with pion's parsers.
func requirePion(t testing.TB, c media.Codec, f *media.Frame, payloads [][]byte) {
	t.Helper()
	for i, p := range payloads {
		first, last := i == 0, i == len(payloads)-1
		switch c {
		case media.VP8:
			var d codecs.VP8Packet
			_, err := d.Unmarshal(p)
			requireNoError(t, err)
			requireEqual(t, first, d.S == 1)
			requireTrue(t, d.PID == 0 && d.X == 0)
		case media.VP9:
			var d codecs.VP9Packet
			_, err := d.Unmarshal(p)
			requireNoError(t, err)
			requireEqual(t, first, d.B)
			requireEqual(t, last, d.E)
			requireEqual(t, f.Key, !d.P)
			requireEqual(t, f.Key && first, d.V)
			requireFalse(t, d.I || d.F || d.L || d.G)
			if d.V {
				requireEqual(t, []uint16{320}, d.Width)
				requireEqual(t, []uint16{240}, d.Height)
			}
		case media.AV1:
			requireEqual(t, f.Key && first, p[0]&av1NewSeq != 0)
		}
	}
}

// synthetic makes frames with units of the sizes given, the last ones slices.
func synthetic(c media.Codec, sizes ...int) *media.Frame {
	f := &media.Frame{Key: true}
	for i, n := range sizes {
		n = max(n, 3)
		u := make([]byte, n)
		for j := range u {
			u[j] = byte(j*31+i) | 1
		}
		switch c {
		case media.H264:
			u[0] = 0x65
			if i < len(sizes)-1 && n < 100 {
				u[0] = 0x66
			}
		case media.H265:
			u[0], u[1] = h265FirstIRAP<<1, 1
			if i < len(sizes)-1 && n < 100 {
				u[0] = 39 << 1
			}
		case media.AV1:
			u[0] = obuFrame << 3
			if i%2 == 1 {
				u[0] |= 4 // extension
				u[1] = 8
			}
		case media.VP9:
			copy(u, []byte{0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0e, 0xf6})
		}
		f.Units = append(f.Units, u)
	}
	return f
}

func TestPacketizeSizes(t *testing.T) {
	sizes := []int{3, 9, 30, 31, 32, 33, 59, 60, 61, 62, 63, 64, 65, 125, 126, 127, 128, 129, 130, 131, 132, 133,
		197, 198, 199, 200, 201, 202, 397, 398, 399, 400, 401, 2000, 20000, 70000}
	for _, c := range []media.Codec{media.H264, media.H265, media.AV1, media.VP8, media.VP9} {
		t.Run(string(c), func(t *testing.T) {
			tr := media.Track{Codec: c, ClockRate: 90000}
			check := func(limit int, sizes ...int) {
				f := synthetic(c, sizes...)
				p := Packetize(tr, f, limit)
				requirePayloads(t, c, p, limit)
				got, err := newReceiver(t, c).frame(p)
				requireNoError(t, err, "%v in %d", sizes, limit)
				requireEqual(t, f.Units, got, "%v in %d", sizes, limit)
			}
			for _, limit := range []int{32, 64, 130, 131, 200, MTU} {
				for _, a := range sizes {
					if limit < 100 && a > 2000 {
						continue
					}
					check(limit, max(a, 10))
					if c == media.VP8 || c == media.VP9 {
						continue
					}
					for _, b := range sizes[:len(sizes)-3] {
						check(limit, a, b)
						check(limit, 20, a, b, 9)
					}
					check(limit, 20, 30, 12, 9, a, 40, 40)
				}
			}
		})
	}
}

// Every length around the borders of one, two and three AV1 packets.
func TestPacketizeAV1EveryLength(t *testing.T) {
	tr := media.Track{Codec: media.AV1}
	for a := 3; a < 3*140; a++ {
		for _, b := range []int{3, 4, 127, 128, 129, 130, 131, 300} {
			f := synthetic(media.AV1, a, b)
			p := Packetize(tr, f, 140)
			requirePayloads(t, media.AV1, p, 140)
			got, err := newReceiver(t, media.AV1).frame(p)
			requireNoError(t, err, "%d %d", a, b)
			requireEqual(t, f.Units, got)
		}
	}
}

func TestPacketizeAV1StripsSizes(t *testing.T) {
	f := &media.Frame{Units: [][]byte{{
		0x12, 0x00, // temporal delimiter
		0x0a, 0x03, 1, 2, 3, // sequence header with size
		0x32, 0x04, 0x10, 5, 6, 7, // frame with size
		0x7a, 0x01, 0x80, // padding
	}}}
	p := Packetize(media.Track{Codec: media.AV1}, f, MTU)
	requireEqual(t, [][]byte{{0x20, 4, 0x08, 1, 2, 3, 0x30, 0x10, 5, 6, 7}}, p)
}

func TestPacketizeH264Layout(t *testing.T) {
	sps, pps, sei := []byte{0x67, 1, 2}, []byte{0x68, 3}, []byte{0x06, 4}
	idr := slices.Concat([]byte{0x65}, slices.Repeat([]byte{9}, 2*(MTU-2)+10))
	tr := media.Track{Codec: media.H264}
	p := Packetize(tr, &media.Frame{Units: [][]byte{sps, pps, sei, idr}}, MTU)
	requireLen(t, p, 4)
	requireEqual(t, []byte{0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3, 0, 2, 0x06, 4}, p[0])
	requireEqual(t, []int{MTU, MTU, 12}, []int{len(p[1]), len(p[2]), len(p[3])})
	requireEqual(t, []byte{0x7c, 0x85}, p[1][:2])
	requireEqual(t, []byte{0x7c, 0x05}, p[2][:2])
	requireEqual(t, []byte{0x7c, 0x45}, p[3][:2])

	slice := []byte{0x41, 1, 2, 3}
	p = Packetize(tr, &media.Frame{Units: [][]byte{sei, slice}}, MTU)
	requireEqual(t, [][]byte{sei, slice}, p, "SEI and slices stay apart")
	requireTrue(t, Packetize(tr, &media.Frame{Units: [][]byte{{}, {0x80}, {0x7c, 1}}}, MTU) == nil)
}

func TestPacketizeSound(t *testing.T) {
	f := &media.Frame{Units: [][]byte{make([]byte, 160)}}
	for _, c := range []media.Codec{media.Opus, media.PCMU, media.PCMA} {
		requireEqual(t, f.Units, Packetize(media.Track{Codec: c}, f, MTU))
		requireTrue(t, Packetize(media.Track{Codec: c}, f, 100) == nil)
	}
	for _, c := range []media.Codec{media.JPEG, media.AAC, media.I420, "H263"} {
		requireTrue(t, Packetize(media.Track{Codec: c}, f, MTU) == nil)
	}
	requireTrue(t, Packetize(media.Track{Codec: media.VP8}, &media.Frame{}, MTU) == nil)
	requireTrue(t, Packetize(media.Track{Codec: media.VP8}, &media.Frame{Units: [][]byte{{}}}, MTU) == nil)
	requireTrue(t, Packetize(media.Track{Codec: media.VP8}, f, minPayload-1) == nil)
}

// A frame costs the payload memory and the list of payloads, a VP9 key frame
// the reading of its header besides.
func TestPacketizeAllocations(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1} {
		f, tr := synthetic(c, 40000), media.Track{Codec: c}
		n := testing.AllocsPerRun(20, func() { Packetize(tr, f, MTU) })
		requireAtMost(t, n, 4, "%s", c)
	}
}

func BenchmarkPacketize(b *testing.B) {
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1} {
		for _, size := range []int{8000, 80000} {
			b.Run(fmt.Sprintf("%s/%d", c, size), func(b *testing.B) {
				f, tr := synthetic(c, size), media.Track{Codec: c}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					Packetize(tr, f, MTU)
				}
			})
		}
	}
}
