package codec

import "camwire/media"

// minPayload is the smallest payload limit that leaves room for every
// codec's own headers.
const minPayload = 32

// Packetize cuts a frame into RTP payloads, without RTP headers, each of at
// most limit bytes (at least 32; MTU is what callers want). It has no state and
// is called once per frame: the payloads are the same for all viewers. The
// marker bit belongs on the last one.
//
// Fragments of one unit all have exactly limit bytes except the last, so that
// they can be sent as one UDP GSO batch. Payloads may share memory with each
// other and with the frame; nobody may write to them.
//
// H264 follows RFC 6184 (mode 1: single NAL units, STAP-A, FU-A), H265 RFC 7798
// (without DONL), VP8 RFC 7741, VP9 RFC 9628 (non-flexible mode), AV1 the AV1
// RTP specification 1.0, Opus RFC 7587, PCMU and PCMA RFC 3551.
//
// VP8 and VP9 carry no picture ID. Receivers that see one without temporal
// layers take "the ID before mine" for the reference (libwebrtc's
// RtpFrameIdOnlyRefFinder), so an ID that is skipped stops the picture until
// the next key frame (seen in Chromium); a frame's Seq skips wherever a sound
// packet lies between. Without the ID they go by RTP sequence numbers, which each
// sender keeps contiguous.
//
// The result is nil for codecs that Camwire does not send over RTP here (JPEG,
// AAC, raw pictures), for frames without content, and for sound packets that
// do not fit.
func Packetize(t media.Track, f *media.Frame, limit int) [][]byte {
	if limit < minPayload || len(f.Units) == 0 {
		return nil
	}
	limit = min(limit, 1<<16-1)
	p := packer{limit: limit}
	switch t.Codec {
	case media.H264:
		p.nals(f.Units, false)
	case media.H265:
		p.nals(f.Units, true)
	case media.VP8:
		p.vp8(whole(f))
	case media.VP9:
		p.vp9(whole(f), f.Key)
	case media.AV1:
		p.av1(f.Units, f.Key)
	case media.Opus, media.PCMU, media.PCMA:
		if u := whole(f); len(u) > 0 && len(u) <= limit {
			p.out = [][]byte{u}
		}
	}
	return p.out
}

// whole returns a frame of a codec that has one unit per frame.
func whole(f *media.Frame) []byte {
	if len(f.Units) == 1 {
		return f.Units[0]
	}
	b := make([]byte, 0, f.Size())
	for _, u := range f.Units {
		b = append(b, u...)
	}
	return b
}

// packer collects payloads in one piece of memory.
type packer struct {
	limit int
	buf   []byte
	out   [][]byte
}

// reserve makes room for count payloads of together size bytes. Should a
// caller ask for too little, append goes on elsewhere; the payloads made so
// far stay valid.
func (p *packer) reserve(size, count int) {
	if p.buf == nil {
		p.buf = make([]byte, 0, size)
	}
	if p.out == nil {
		p.out = make([][]byte, 0, count)
	}
}

// end makes a payload of everything written since start.
func (p *packer) end(start int) {
	p.out = append(p.out, p.buf[start:len(p.buf):len(p.buf)])
}

// nals packs NAL units. Small ones that stand together share a packet, but
// parameter sets and SEI never one with slices: receivers look for them at the
// front of a picture.
func (p *packer) nals(units [][]byte, is265 bool) {
	count := 0
	for _, u := range units {
		count += len(u)/(p.limit-3) + 1
	}
	p.out = make([][]byte, 0, count)
	for i := 0; i < len(units); {
		u := units[i]
		switch {
		case !validNAL(u, is265):
			i++
		case len(u) > p.limit:
			p.grow(units[i:])
			p.fragment(u, is265)
			i++
		default:
			n := p.together(units[i:], is265)
			if n == 1 {
				p.out = append(p.out, u)
			} else {
				p.grow(units[i:])
				p.aggregate(units[i:i+n], is265)
			}
			i += n
		}
	}
	if len(p.out) == 0 {
		p.out = nil
	}
}

// grow makes room for all of units at most; a frame of which every unit is
// sent as it is needs none.
func (p *packer) grow(units [][]byte) {
	if p.buf != nil {
		return
	}
	size := 0
	for _, u := range units {
		// FU headers of 3 bytes, or a length of 2 and an aggregate's header of 2.
		size += len(u) + 3*(len(u)/(p.limit-3)+1) + 4
	}
	p.reserve(size, len(units))
}

// together says how many of the units from the first on fit one aggregate.
func (p *packer) together(units [][]byte, is265 bool) int {
	size := 1
	if is265 {
		size = 2
	}
	n := 0
	for _, u := range units {
		if !validNAL(u, is265) || vclNAL(u, is265) != vclNAL(units[0], is265) || size+2+len(u) > p.limit {
			break
		}
		size += 2 + len(u)
		n++
	}
	return max(n, 1)
}

// aggregate writes a STAP-A (RFC 6184 section 5.7.1) or an AP (RFC 7798
// section 4.4.2).
func (p *packer) aggregate(units [][]byte, is265 bool) {
	start := len(p.buf)
	if is265 {
		// Layer and temporal id are the lowest of those inside.
		layer, tid := byte(63), byte(7)
		for _, u := range units {
			layer = min(layer, u[0]&1<<5|u[1]>>3)
			tid = min(tid, u[1]&7)
		}
		p.buf = append(p.buf, h265AP<<1|layer>>5, layer<<3|tid)
	} else {
		var nri byte // the highest inside
		for _, u := range units {
			nri = max(nri, u[0]&0x60)
		}
		p.buf = append(p.buf, nri|h264StapA)
	}
	for _, u := range units {
		p.buf = append(p.buf, byte(len(u)>>8), byte(len(u)))
		p.buf = append(p.buf, u...)
	}
	p.end(start)
}

// fragment writes FU-A (RFC 6184 section 5.8) or FU (RFC 7798 section 4.4.3)
// packets.
func (p *packer) fragment(u []byte, is265 bool) {
	var header [3]byte
	hlen, skip := 2, 1
	if is265 {
		hlen, skip = 3, 2
		header = [3]byte{u[0]&0x81 | h265FU<<1, u[1], h265Type(u)}
	} else {
		header = [3]byte{u[0]&0xe0 | h264FuA, h264Type(u)}
	}
	kind := header[hlen-1]
	start := byte(0x80)
	for rest := u[skip:]; len(rest) > 0; {
		n := min(p.limit-hlen, len(rest))
		header[hlen-1] = kind | start
		if n == len(rest) {
			header[hlen-1] |= 0x40
		}
		from := len(p.buf)
		p.buf = append(p.buf, header[:hlen]...)
		p.buf = append(p.buf, rest[:n]...)
		p.end(from)
		rest = rest[n:]
		start = 0
	}
}

// vp8 writes the one-byte payload descriptor (RFC 7741 section 4.2): no
// extension, S on the first packet, partition 0 as all senders do that do not
// align packets with partitions.
func (p *packer) vp8(frame []byte) {
	p.split(frame, func(first, last bool) {
		if first {
			p.buf = append(p.buf, 0x10)
		} else {
			p.buf = append(p.buf, 0)
		}
	})
}

// vp9 writes the payload descriptor of RFC 9628 section 4.2, non-flexible mode
// without layers. A key frame begins with a scalability structure of one layer
// that gives its size and describes no picture group, without which receivers
// would want picture IDs.
func (p *packer) vp9(frame []byte, key bool) {
	const (
		predicted = 0x40
		begin     = 0x08
		end       = 0x04
		structure = 0x02
		topLayer  = 0x01 // no layer above refers to this one
	)
	var info VP9Info
	if key {
		info, _ = VP9Header(frame)
	}
	p.split(frame, func(first, last bool) {
		d := byte(topLayer)
		if !key {
			d |= predicted
		}
		if last {
			d |= end
		}
		if first {
			d |= begin
		}
		if first && info.Key {
			p.buf = append(p.buf, d|structure, 0x10,
				byte(info.Width>>8), byte(info.Width), byte(info.Height>>8), byte(info.Height))
			return
		}
		p.buf = append(p.buf, d)
	})
}

// split cuts a frame, letting descriptor write what stands before each piece;
// at most 6 bytes.
func (p *packer) split(frame []byte, descriptor func(first, last bool)) {
	if len(frame) == 0 {
		return
	}
	count := len(frame)/(p.limit-1) + 2
	p.reserve(len(frame)+count+5, count)
	for rest, first := frame, true; len(rest) > 0; first = false {
		start := len(p.buf)
		descriptor(first, false)
		room := p.limit - (len(p.buf) - start)
		if len(rest) <= room {
			p.buf = p.buf[:start]
			descriptor(first, true)
			room = len(rest)
		}
		p.buf = append(p.buf, rest[:room]...)
		p.end(start)
		rest = rest[room:]
	}
}
