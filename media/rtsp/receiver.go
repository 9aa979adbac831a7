package rtsp

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/depacket"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// maxMedias bounds the streams of one SDP.
const maxMedias = 16

// Session is what a Receiver needs of the RTSP session that packets come
// through; gortsplib.Client and gortsplib.ServerSession are ones.
type Session interface {
	OnPacketRTP(*description.Media, format.Format, gortsplib.OnPacketRTPFunc)
	PacketPTS2(*description.Media, *rtp.Packet) (int64, bool)
	WritePacketRTCP(*description.Media, rtcp.Packet) error
}

// Stats counts what a Receiver has seen.
type Stats struct {
	Frames uint64 // access units handed to the sink
	Lost   uint64 // RTP packets that never came
	Broken uint64 // access units dropped because a part was missing or wrong
}

// Receiver turns the RTP packets of an RTSP session into frames. It is the
// part that pulling from a camera and being published to have in common.
type Receiver struct {
	log    *slog.Logger
	medias []*description.Media
	tracks media.Tracks
	inputs []*input

	mu       sync.Mutex // packets of different tracks come from different goroutines
	session  Session
	sink     media.Sink
	closed   bool
	stats    Stats
	lossLog  Throttle
	errLog   Throttle
	lastTime time.Time // of the newest frame of the leading track
	lastErr  error     // why the newest broken access unit was broken
}

// input is one track.
type input struct {
	media  *description.Media
	format format.Format
	rate   int64
	index  int
	create func() (depacket.Depacketizer, error)
	depack depacket.Depacketizer
	guard  depacket.Guard
	ssrc   uint32
	got    bool // a frame has come: what is broken from now on counts
}

// NewReceiver chooses the first video and the first audio of the description
// that Camwire can carry. The error wraps ErrNoTrack and lists what was
// offered, or ErrProtocol for a description beyond all measure.
func NewReceiver(desc *description.Session, log *slog.Logger) (*Receiver, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if len(desc.Medias) > maxMedias {
		return nil, fmt.Errorf("%w: %d streams in one SDP, at most %d are taken", ErrProtocol, len(desc.Medias), maxMedias)
	}
	r := &Receiver{log: log}
	var offered []string
	for _, m := range desc.Medias {
		if m.IsBackChannel {
			continue
		}
		for _, f := range m.Formats {
			t, create, ok := depacket.Describe(f)
			if !ok {
				offered = append(offered, formatName(m, f))
				continue
			}
			offered = append(offered, string(t.Codec))
			if r.has(t.Codec.Audio()) {
				continue
			}
			r.inputs = append(r.inputs, &input{
				media: m, format: f, rate: int64(f.ClockRate()), index: len(r.tracks), create: create,
			})
			r.tracks = append(r.tracks, t)
			r.medias = append(r.medias, m)
			break
		}
	}
	if len(r.tracks) == 0 {
		return nil, fmt.Errorf("%w: offered is %s, supported are H264, H265, VP8, VP9, AV1, MJPEG, "+
			"Opus, G.711 (8 kHz mono) and AAC", ErrNoTrack, listed(offered))
	}
	return r, nil
}

func (r *Receiver) has(audio bool) bool {
	if audio {
		return r.tracks.Audio() >= 0
	}
	return r.tracks.Video() >= 0
}

func formatName(m *description.Media, f format.Format) string {
	if name := f.RTPMap(); name != "" && len(name) < 64 {
		return name
	}
	return fmt.Sprintf("%s/%s (payload type %d)", m.Type, f.Codec(), f.PayloadType())
}

func listed(names []string) string {
	switch {
	case len(names) == 0:
		return "nothing"
	case len(names) > maxMedias:
		names = append(names[:maxMedias:maxMedias], "…")
	}
	return strings.Join(names, ", ")
}

// Medias returns the chosen streams, which must be set up before Attach.
func (r *Receiver) Medias() []*description.Media { return r.medias }

// Tracks returns what Attach announces to the sink.
func (r *Receiver) Tracks() media.Tracks { return r.tracks }

// Attach announces the tracks to the sink and begins to listen. Call it when
// all Medias are set up and before packets flow; a session that pauses and
// goes on attaches again.
func (r *Receiver) Attach(s Session, sink media.Sink) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range r.inputs {
		d, err := in.create()
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrProtocol, in.format.Codec(), err)
		}
		in.depack, in.guard = d, depacket.Guard{}
		in.depack.Cut()
	}
	r.session, r.sink = s, sink
	r.lastTime = time.Now()
	sink.Start(r.tracks)
	for _, in := range r.inputs {
		s.OnPacketRTP(in.media, in.format, func(pkt *rtp.Packet) { r.packet(in, pkt) })
	}
	return nil
}

// Close ends the flow: when it has returned nothing more reaches the sink.
func (r *Receiver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// Stats returns the counts so far.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Watch waits until no frame of the video, or of the sound where there is no
// video, has come for that long, and returns ErrSilent then, or ctx.Err().
// Before Attach, the time counts from the call.
func (r *Receiver) Watch(ctx context.Context, silence time.Duration) error {
	began := time.Now()
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		r.mu.Lock()
		last, why := r.lastTime, r.lastErr
		r.mu.Unlock()
		if last.Before(began) {
			last = began
		}
		left := time.Until(last.Add(silence))
		if left <= 0 && why != nil {
			return fmt.Errorf("%w for %v, but packets that make none: %w", ErrSilent, silence, why)
		}
		if left <= 0 {
			return fmt.Errorf("%w for %v", ErrSilent, silence)
		}
		timer.Reset(left)
	}
}

// Silence is how long no frame of the leading track has come; 0 before Attach.
func (r *Receiver) Silence() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lastTime.IsZero() {
		return 0
	}
	return time.Since(r.lastTime)
}

// RequestKey asks the sender of the video for a key frame by RTCP (PLI, RFC
// 4585 section 6.3.1). Senders that cannot make one ignore it.
func (r *Receiver) RequestKey() {
	r.mu.Lock()
	s := r.session
	v := r.tracks.Video()
	if s == nil || v < 0 || r.closed || r.inputs[v].ssrc == 0 {
		r.mu.Unlock()
		return
	}
	in := r.inputs[v]
	ssrc := in.ssrc
	r.mu.Unlock()
	if err := s.WritePacketRTCP(in.media, &rtcp.PictureLossIndication{MediaSSRC: ssrc}); err != nil {
		r.log.Debug("key frame request not sent", "error", err)
	}
}

// packet takes one RTP packet. It runs on gortsplib's goroutines, where a
// panic would take the process down: whatever a sender makes the decoders do
// must end here.
func (r *Receiver) packet(in *input, pkt *rtp.Packet) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || in.depack == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.breakDown(in, pkt, now, fmt.Errorf("decoder crashed: %v", p))
			if d, err := in.create(); err == nil {
				in.depack = d
			}
		}
	}()
	in.ssrc = pkt.SSRC
	v := in.guard.Packet(pkt.SequenceNumber, pkt.Timestamp, pkt.Marker)
	if v.Lost > 0 {
		r.stats.Lost += uint64(v.Lost)
		if sum, due := r.lossLog.Add(now, uint64(v.Lost)); due {
			r.log.Warn("RTP packets lost", "packets", sum, "codec", string(r.tracks[in.index].Codec))
		}
	}
	if (v.Lost > 0 || v.Cut) && in.depack.Cut() {
		r.broken(in)
	}
	if v.Drop {
		return
	}
	ticks, ok := r.session.PacketPTS2(in.media, pkt)
	if !ok {
		return // waits for the first packet whose time can be trusted
	}
	aus, err := in.depack.Packet(pkt, duration(ticks, in.rate))
	for _, au := range aus {
		r.deliver(in, au, now)
	}
	if err != nil {
		r.breakDown(in, pkt, now, err)
		return
	}
	if len(aus) > 0 {
		r.lastErr = nil
	}
}

func (r *Receiver) deliver(in *input, au depacket.AccessUnit, now time.Time) {
	in.got = true
	r.stats.Frames++
	if v := r.tracks.Video(); v < 0 || v == in.index {
		r.lastTime = now
	}
	r.sink.Write(&media.Frame{Track: in.index, PTS: au.PTS, Arrived: now, Units: au.Units})
}

func (r *Receiver) broken(in *input) {
	if in.got {
		r.stats.Broken++
	}
}

// breakDown drops the rest of the access unit that pkt belongs to.
func (r *Receiver) breakDown(in *input, pkt *rtp.Packet, now time.Time, err error) {
	in.guard.GiveUp(pkt.Timestamp)
	in.depack.Cut()
	r.broken(in)
	r.lastErr = err
	if !in.got {
		return // joining in the middle of a picture is no news
	}
	if sum, due := r.errLog.Add(now, 1); due {
		r.log.Warn("broken access units dropped", "count", sum, "error", err,
			"codec", string(r.tracks[in.index].Codec))
	}
}

// DecodeError takes note of a packet that the session itself could not read.
func (r *Receiver) DecodeError(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sum, due := r.errLog.Add(time.Now(), 1); due {
		r.log.Warn("RTP or RTCP packets not understood", "count", sum, "error", err)
	}
}

// duration converts clock ticks without overflow.
func duration(ticks, rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate)*time.Second/time.Duration(rate)
}
