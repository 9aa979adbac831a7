package peer

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"camwire/media"
	"camwire/media/codec"
)

// historySize is how many packets can be sent again: two seconds of 5 Mbit/s.
// The entries point to payloads that all viewers share.
const historySize = 1024

// sender is one outgoing track of one viewer. It implements
// webrtc.TrackLocal, so RTP goes straight to SRTP, without a chain of
// interceptors that would copy every packet once per viewer.
type sender struct {
	kind    webrtc.RTPCodecType
	offered []offered
	conn    *batchConn
	twcc    *atomic.Uint32 // transport-wide sequence number of the viewer
	delay   *atomic.Uint32 // playout-delay extension, 24 bits

	rtp *webrtc.RTPSender

	mu      sync.Mutex // guards all below
	writer  webrtc.TrackLocalWriter
	ssrc    uint32
	rtxSSRC uint32
	rtx     map[uint8]uint8 // payload type → its RTX payload type
	usable  map[uint8]bool  // payload types in the answer
	ext     struct{ playout, capture, twcc uint8 }
	seq     uint16
	rtxSeq  uint16
	hdr     rtp.Header
	extBuf  struct {
		playout [3]byte
		capture [8]byte
		twcc    [2]byte
	}
	withCapture bool
	lastCapture time.Time
	clock       rtpClock
	history     []sent
	ledger      *ledger // nil: nobody wants to know what the link carries
	stats       SenderStats
}

// sent is a packet as it was sent.
type sent struct {
	payload []byte
	ts      uint32
	twcc    uint16
	seq     uint16
	pt      uint8
	marker  bool
	capture bool
	again   time.Time // when it was last sent again
	when    time.Time // capture time that the extension carried
	playout [3]byte
}

// SenderStats count what one track of one viewer was sent.
type SenderStats struct {
	Packets, Bytes, Frames uint64
	Resent                 uint64 // packets sent again after a NACK
	Unknown                uint64 // packets asked for that were too old
	Probes                 uint64 // packets sent again to find out what the link carries
}

func newSender(kind webrtc.RTPCodecType, o *offer, conn *batchConn, twcc, delay *atomic.Uint32) *sender {
	s := &sender{
		kind: kind, conn: conn, twcc: twcc, delay: delay,
		rtx: o.rtx, usable: map[uint8]bool{},
		// Below 2^15, or a first packet that is lost just before the wrap
		// leaves the receiver with another rollover counter (RFC 3711
		// section 3.3.1).
		seq: uint16(rand.Uint32() & 0x7fff), rtxSeq: uint16(rand.Uint32() & 0x7fff),
	}
	s.clock.base = rand.Uint32()
	s.offered = o.audio
	if kind == webrtc.RTPCodecTypeVideo {
		s.offered = o.video
	}
	return s
}

// ID, RID, StreamID and Kind are parts of webrtc.TrackLocal.
func (s *sender) ID() string                { return s.kind.String() }
func (s *sender) RID() string               { return "" }
func (s *sender) StreamID() string          { return "camwire" }
func (s *sender) Kind() webrtc.RTPCodecType { return s.kind }

// Bind is called when the answer is set: it tells what was negotiated.
func (s *sender) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer = c.WriteStream()
	s.ssrc, s.rtxSSRC = uint32(c.SSRC()), uint32(c.SSRCRetransmission())
	first := webrtc.RTPCodecParameters{}
	for _, p := range c.CodecParameters() {
		if p.MimeType == webrtc.MimeTypeRTX {
			continue
		}
		s.usable[uint8(p.PayloadType)] = true
		if first.MimeType == "" {
			first = p
		}
	}
	if first.MimeType == "" {
		return first, webrtc.ErrUnsupportedCodec
	}
	for _, e := range c.HeaderExtensions() {
		switch e.URI {
		case uriPlayoutDelay:
			s.ext.playout = uint8(e.ID)
		case uriAbsCapture:
			s.ext.capture = uint8(e.ID)
		case uriTransportCC:
			s.ext.twcc = uint8(e.ID)
		}
	}
	if s.kind == webrtc.RTPCodecTypeVideo {
		s.history = make([]sent, historySize)
		s.conn.register(s.ssrc)
	}
	s.setHeader(false)
	return first, nil
}

// Unbind ends the sending.
func (s *sender) Unbind(webrtc.TrackLocalContext) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer != nil && s.kind == webrtc.RTPCodecTypeVideo {
		s.conn.unregister(s.ssrc)
	}
	s.writer = nil
	return nil
}

// setHeader prepares the header whose extensions are then changed in place.
func (s *sender) setHeader(capture bool) {
	s.withCapture = capture
	s.hdr = rtp.Header{Version: 2, SSRC: s.ssrc}
	set := func(id uint8, b []byte) {
		if id != 0 {
			_ = s.hdr.SetExtension(id, b) // ids come from the answer and are 1 to 14
		}
	}
	set(s.ext.twcc, s.extBuf.twcc[:])
	if s.kind == webrtc.RTPCodecTypeVideo {
		set(s.ext.playout, s.extBuf.playout[:])
	}
	if capture {
		set(s.ext.capture, s.extBuf.capture[:])
	}
}

// payloadType returns the negotiated payload type that carries t untouched.
func (s *sender) payloadType(t media.Track) (uint8, bool) {
	if s == nil || t.Reordered {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]offered, 0, len(s.offered))
	for _, o := range s.offered {
		if s.usable[o.pt] {
			list = append(list, o)
		}
	}
	b, ok := best(list, t)
	return b.pt, ok
}

// write sends one frame. It returns the number of packets and the RTP
// timestamp that the frame got.
func (s *sender) write(f *media.Frame, t media.Track, pt uint8) (int, uint32, error) {
	payloads := f.RTP(func(f *media.Frame) [][]byte { return codec.Packetize(t, f, codec.MTU) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil || len(payloads) == 0 {
		return 0, 0, nil
	}
	ts := s.clock.stamp(f.PTS, f.Arrived, t.ClockRate)
	// The extension is sent with key frames and once a second; a receiver
	// interpolates. All packets of a frame have it or none, so that they are
	// of one size and leave in one send.
	capture := s.ext.capture != 0 && (f.Key || f.Captured.Sub(s.lastCapture) >= time.Second)
	if capture != s.withCapture {
		s.setHeader(capture)
	}
	if capture {
		s.lastCapture = f.Captured
		binary.BigEndian.PutUint64(s.extBuf.capture[:], ntp(f.Captured))
	}
	d := s.delay.Load()
	s.extBuf.playout = [3]byte{byte(d >> 16), byte(d >> 8), byte(d)}
	s.hdr.PayloadType, s.hdr.Timestamp = pt, ts
	stamp := s.stamp()
	var first error
	for i, p := range payloads {
		s.hdr.SequenceNumber = s.seq
		s.hdr.Marker = i == len(payloads)-1 && s.kind == webrtc.RTPCodecTypeVideo
		w := uint16(s.twcc.Add(1))
		binary.BigEndian.PutUint16(s.extBuf.twcc[:], w)
		if s.ledger != nil {
			s.ledger.note(w, len(p), stamp)
		}
		if s.history != nil {
			s.history[s.seq%historySize] = sent{
				payload: p, ts: ts, twcc: w, seq: s.seq, pt: pt, marker: s.hdr.Marker,
				capture: capture, when: f.Captured, playout: s.extBuf.playout,
			}
		}
		s.seq++
		// A frame is never cut short: what could not be sent now (ICE is just
		// changing its way) leaves a gap that the receiver can ask for.
		if _, err := s.writer.WriteRTP(&s.hdr, p); err != nil && first == nil {
			first = err
		}
		s.stats.Bytes += uint64(len(p))
	}
	s.stats.Packets += uint64(len(payloads))
	s.stats.Frames++
	return len(payloads), ts, first
}

// resend answers a NACK (RFC 4585 section 6.2.1) by RTX (RFC 4588), or with the
// very same packet where RTX was not negotiated. A packet is not sent again
// twice within a round trip. It returns the size in bytes of what was sent.
func (s *sender) resend(seq uint16, now time.Time, rtt time.Duration) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil || s.history == nil {
		return 0, nil
	}
	p := &s.history[seq%historySize]
	if p.payload == nil || p.seq != seq {
		s.stats.Unknown++
		return 0, nil
	}
	// One wild sample of the round trip must not keep a lost repair from
	// being repaired.
	if now.Sub(p.again) < min(max(rtt, 5*time.Millisecond), 50*time.Millisecond) {
		return 0, nil
	}
	p.again = now
	s.stats.Resent++
	return len(p.payload) + wireOverhead, s.sendAgain(p, s.stamp())
}

// probe sends the newest n packets again, at one instant, to see how far apart
// they arrive. A receiver drops what it has. It needs RTX: a packet under its own
// number again would count as a loss repaired. It reports whether enough was sent
// to tell something.
func (s *sender) probe(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil || s.history == nil || s.rtxSSRC == 0 {
		return false
	}
	stamp, went := s.stamp(), 0
	for i := range uint16(n) {
		seq := s.seq - 1 - i
		p := &s.history[seq%historySize]
		if p.payload == nil || p.seq != seq {
			break
		}
		if _, ok := s.rtx[p.pt]; !ok || s.sendAgain(p, stamp) != nil {
			break
		}
		went++
	}
	s.stats.Probes += uint64(went)
	return went >= minTrain
}

// measure notes in l what is sent from now on; nil ends that.
func (s *sender) measure(l *ledger) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger = l
}

// stamp is the ledger's time of what is sent now. The caller holds the lock.
func (s *sender) stamp() int64 {
	if s.ledger == nil {
		return 0
	}
	return s.ledger.at(time.Now())
}

// sendAgain sends a packet of the history. The caller holds the lock.
func (s *sender) sendAgain(p *sent, stamp int64) error {
	h := rtp.Header{Version: 2, Marker: p.marker, Timestamp: p.ts}
	payload := p.payload
	twcc := p.twcc
	pt, useRTX := s.rtx[p.pt]
	if useRTX = useRTX && s.rtxSSRC != 0; useRTX {
		h.SSRC, h.PayloadType, h.SequenceNumber = s.rtxSSRC, pt, s.rtxSeq
		s.rtxSeq++
		twcc = uint16(s.twcc.Add(1))
		payload = make([]byte, 2+len(p.payload))
		binary.BigEndian.PutUint16(payload, p.seq)
		copy(payload[2:], p.payload)
	} else {
		// SRTP must never encrypt two different packets under one index.
		h.SSRC, h.PayloadType, h.SequenceNumber = s.ssrc, p.pt, p.seq
	}
	if s.ledger != nil {
		s.ledger.note(twcc, len(payload), stamp)
	}
	var tw [2]byte
	var capture [8]byte
	if s.ext.twcc != 0 {
		binary.BigEndian.PutUint16(tw[:], twcc)
		_ = h.SetExtension(s.ext.twcc, tw[:])
	}
	if s.ext.playout != 0 {
		_ = h.SetExtension(s.ext.playout, p.playout[:])
	}
	if p.capture {
		binary.BigEndian.PutUint64(capture[:], ntp(p.when))
		_ = h.SetExtension(s.ext.capture, capture[:])
	}
	if _, err := s.writer.WriteRTP(&h, payload); err != nil || useRTX {
		return err
	}
	return s.conn.release(s.ssrc) // no marker will follow it
}

// report returns what a sender report (RFC 3550 section 6.4.1) says at now.
func (s *sender) report(now time.Time) (ssrc, rtpTime, packets, octets uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts, ok := s.clock.at(now)
	return s.ssrc, ts, uint32(s.stats.Packets), uint32(s.stats.Bytes), ok && s.writer != nil
}

func (s *sender) snapshot() SenderStats {
	if s == nil {
		return SenderStats{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// maxGap is the longest pause that RTP time shows. A camera may be away for a
// night, but half of the 32 bits are 6.6 hours, and then time would run backwards.
const maxGap = time.Minute

// rtpClock turns presentation times into RTP timestamps that always grow.
type rtpClock struct {
	base    uint32
	started bool
	rate    int
	origin  time.Duration // PTS that has timestamp base
	last    uint32
	lastArr time.Time // arrival of the frame with the newest timestamp
	lastPTS time.Duration
}

// stamp returns the timestamp of a frame. After a change of clock (another
// stream, another codec) it goes on by the time that has passed. A frame that is
// sent again, as a decoder's new start, gets the next free tick: a receiver
// drops what is older than what it has shown.
func (c *rtpClock) stamp(pts time.Duration, arrived time.Time, rate int) uint32 {
	if !c.started {
		c.started, c.rate, c.origin, c.last = true, rate, pts, c.base-1
	}
	if rate != c.rate || pts-c.lastPTS > maxGap && !c.lastArr.IsZero() {
		c.rebase(pts, arrived, rate)
	}
	ts := c.base + ticks(pts-c.origin, rate)
	if int32(ts-c.last) <= 0 {
		c.last++
		return c.last
	}
	c.last, c.lastArr, c.lastPTS = ts, arrived, pts
	return ts
}

// rebase makes pts follow the newest timestamp by the time between the arrivals.
func (c *rtpClock) rebase(pts time.Duration, arrived time.Time, rate int) {
	if !c.started {
		return
	}
	gap := arrived.Sub(c.lastArr)
	if c.lastArr.IsZero() || gap < time.Millisecond {
		gap = time.Millisecond
	}
	gap = min(gap, maxGap)
	c.base = c.last + ticks(gap, rate)
	c.origin, c.rate = pts, rate
}

// at returns the timestamp that a frame arriving at t would have.
func (c *rtpClock) at(t time.Time) (uint32, bool) {
	if c.lastArr.IsZero() {
		return 0, false
	}
	return c.base + ticks(c.lastPTS-c.origin+t.Sub(c.lastArr), c.rate), true
}

// ticks converts without overflow for any length of stream; it wraps as RTP does.
func ticks(d time.Duration, rate int) uint32 {
	sec, frac := d/time.Second, d%time.Second
	return uint32(int64(sec)*int64(rate) + int64(frac)*int64(rate)/int64(time.Second))
}

// ntp returns a time as NTP 32.32 fixed point (RFC 5905 section 6).
func ntp(t time.Time) uint64 {
	const epoch = 2208988800 // 1900 to 1970 in seconds
	return uint64(t.Unix()+epoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

func (s *sender) ssrcNow() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ssrc
}

func (s *sender) rate() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.clock.rate, 1)
}

// newClock tells that the frames to come are timed by another clock.
func (s *sender) newClock(f *media.Frame, rate int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.rebase(f.PTS, f.Arrived, rate)
}

// bytes counts the payload that was sent.
func (s *sender) bytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.Bytes
}
