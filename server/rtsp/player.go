package rtsp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"camwire/media"
	"camwire/media/hub"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const (
	// reportInterval is the time between two RTCP sender reports.
	reportInterval = 5 * time.Second
	// fullWait is how long to wait before a full queue is tried again.
	fullWait = 2 * time.Millisecond
	// Over UDP a replayed group of pictures goes out in small bursts: a
	// client's socket buffer holds some 200 packets.
	burst      = 8
	burstPause = time.Millisecond
)

// player is a session that plays a camera: its own place in the hub, and a
// goroutine between PLAY and PAUSE. A client that does not keep up fills its
// own queue, stays behind in the hub, and jumps: nobody else notices.
type player struct {
	s       *Server
	log     *slog.Logger
	session *gortsplib.ServerSession
	stream  *gortsplib.ServerStream // of this session alone; holds SSRCs, sends nothing
	offer   *offer
	udp     bool
	release func()
	tie     tie

	cancel context.CancelFunc // nil while not playing
	done   chan struct{}
	sent   uint64 // frames, for the log
	missed uint64
}

// start begins to send. Packets wait in the session's queue until gortsplib
// has sent the answer to PLAY.
func (p *player) start() {
	if p.cancel != nil {
		return // PLAY again: nothing changes
	}
	senders := make([]*sender, len(p.offer.tracks))
	stats := p.stream.Stats()
	for i, m := range p.offer.medias {
		if m == nil || !setUp(p.session, m) {
			continue
		}
		f := m.Formats[0]
		senders[i] = newSender(p.session, m, p.offer.tracks[i], stats.Medias[m].Formats[f].LocalSSRC, p.s.huffman)
		p.session.OnPacketRTCP(m, p.feedback)
	}
	ctx, cancel := context.WithCancel(p.s.ctx)
	p.cancel, p.done = cancel, make(chan struct{})
	p.log.Info("RTSP player starts", "tracks", p.offer.tracks.String())
	go func(done chan struct{}) {
		defer close(done)
		if err := p.run(ctx, senders); err != nil && ctx.Err() == nil {
			p.log.Info("RTSP player ended", "reason", err)
			p.session.Close()
		}
	}(p.done)
}

func setUp(ss *gortsplib.ServerSession, m *description.Media) bool {
	for _, x := range ss.SetuppedMedias() {
		if x == m {
			return true
		}
	}
	return false
}

// feedback passes on a client's wish for a key frame (RFC 4585, RFC 5104).
func (p *player) feedback(pkt rtcp.Packet) {
	switch pkt.(type) {
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
		p.offer.lease.RequestKey()
	}
}

// pause stops sending and waits for that.
func (p *player) pause() {
	if p.cancel != nil {
		p.cancel()
		<-p.done
		p.cancel = nil
	}
}

// close is called once, when the session has ended.
func (p *player) close(why error) {
	p.pause()
	p.stream.Close()
	p.offer.release()
	p.release()
	p.log.Info("RTSP player left", "reason", why, "frames", p.sent, "skipped", p.missed)
}

var errOtherCodec = errors.New("the camera changed its codec: connect again")

// run sends until ctx is done, the camera is gone, or its codec changes.
func (p *player) run(ctx context.Context, senders []*sender) error {
	h := p.offer.lease.Hub()
	catch := catchUp{}
	if f := h.Latest(); f != nil {
		catch = catchUp{live: f.PTS, on: true}
	} else {
		p.offer.lease.RequestKey()
	}
	cur := h.NewCursor(hub.CursorOptions{MaxLag: p.s.opts.MaxLag})
	defer func() { p.missed += cur.Skipped() }()
	stats := p.offer.lease.Reader()
	for {
		f, err := cur.Next(ctx)
		if err != nil {
			return err
		}
		if f.Epoch != p.offer.epoch {
			return errOtherCodec
		}
		if f.Track >= len(senders) || senders[f.Track] == nil {
			continue
		}
		s := senders[f.Track]
		pts, replayed := catch.at(f.PTS)
		if replayed && s.track.Codec.Audio() {
			continue // squeezed sound is noise
		}
		if err := s.send(ctx, f, pts, replayed && p.udp); err != nil {
			return err
		}
		p.sent++
		if !replayed {
			stats.Sent(f.Captured, cur.Skipped())
		}
		if cur.Behind() && !replayed {
			p.offer.lease.RequestKey()
		}
	}
}

// catchUp squeezes the timestamps of what is replayed to a newcomer. Players
// show the first picture at once and the others as far behind it as their
// timestamps say: with the true ones they would stay behind by the age of the
// cached group of pictures for ever.
type catchUp struct {
	live time.Duration // PTS of the newest frame when the player came
	on   bool
}

// squeeze makes a group of pictures of 2 s last 62 ms, and keeps 3 ticks of the
// 90 kHz clock between pictures at 1000 fps.
const squeeze = 32

// at returns the PTS to send and whether the frame is a replayed one. Order is
// kept, and frames from the live one on keep their PTS.
func (c catchUp) at(pts time.Duration) (time.Duration, bool) {
	if !c.on || pts > c.live {
		return pts, false
	}
	return c.live - (c.live-pts)/squeeze, true
}

// sender sends the frames of one track to one session.
type sender struct {
	session *gortsplib.ServerSession
	media   *description.Media
	track   media.Track
	cut     func(*media.Frame) [][]byte
	pt      uint8
	rate    int64
	marker  bool // on the last packet of a frame
	ssrc    uint32
	seq     uint16
	base    uint32 // RTP timestamp of PTS 0

	packets, octets uint32
	nextReport      time.Time
}

func newSender(ss *gortsplib.ServerSession, m *description.Media, t media.Track, ssrc uint32, huffman huffmanTables) *sender {
	f := m.Formats[0]
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	return &sender{
		session: ss, media: m, track: t, cut: payloader(t, huffman),
		pt: f.PayloadType(), rate: int64(f.ClockRate()), ssrc: ssrc,
		marker: !t.Codec.Audio() || t.Codec == media.AAC,
		seq:    binary.BigEndian.Uint16(random[:2]),
		base:   binary.BigEndian.Uint32(random[2:]),
	}
}

// send writes one frame, waiting where the session's queue is full. It fails
// when ctx is done; a frame that cannot be sent is left out.
func (s *sender) send(ctx context.Context, f *media.Frame, pts time.Duration, paced bool) error {
	payloads := f.RTP(s.cut)
	if len(payloads) == 0 {
		return nil
	}
	ts := s.base + ticks(pts, s.rate)
	s.report(f, pts, ts)
	for i, payload := range payloads {
		pkt := &rtp.Packet{
			Header: rtp.Header{
				Version: 2, PayloadType: s.pt, SequenceNumber: s.seq, Timestamp: ts, SSRC: s.ssrc,
				Marker: s.marker && i == len(payloads)-1,
			},
			Payload: payload,
		}
		s.seq++
		for {
			err := s.session.WritePacketRTP(s.media, pkt)
			var full liberrors.ErrServerWriteQueueFull
			if err == nil || !errors.As(err, &full) {
				break // an error here is a packet that is too large
			}
			if err := pause(ctx, fullWait); err != nil {
				return err
			}
		}
		s.packets++
		s.octets += uint32(len(payload))
		if paced && s.packets%burst == 0 {
			if err := pause(ctx, burstPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// report sends an RTCP sender report before the first frame, so that clients
// bring sound and picture together from the start, and then now and again.
func (s *sender) report(f *media.Frame, pts time.Duration, ts uint32) {
	if f.Arrived.Before(s.nextReport) && s.packets > 0 {
		return
	}
	if s.track.Reordered && !f.Key && s.packets > 0 {
		return // only a key frame is shown about when it comes
	}
	s.nextReport = f.Arrived.Add(reportInterval)
	// A full queue only means that this report is left out.
	_ = s.session.WritePacketRTCP(s.media, &rtcp.SenderReport{
		SSRC: s.ssrc, NTPTime: ntp(f.Captured.Add(pts - f.PTS)), RTPTime: ts,
		PacketCount: s.packets, OctetCount: s.octets,
	})
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ticks converts a time to clock ticks, to the nearest, wrapping as RTP
// timestamps do.
func ticks(d time.Duration, rate int64) uint32 {
	whole, rest := int64(d/time.Second), int64(d%time.Second)
	half := int64(time.Second) / 2
	if rest < 0 {
		half = -half
	}
	return uint32(whole*rate + (rest*rate+half)/int64(time.Second))
}

// ntp is the 64 bit timestamp of RFC 3550 section 4: seconds since 1900.
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
