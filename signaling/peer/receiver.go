package peer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/depacket"
)

const (
	// startWait is how long the first track waits for its companion, so that
	// viewers see one track list and not two.
	startWait = 500 * time.Millisecond
	// thawAfter ends the wait for a key frame after a loss: a sender that
	// cannot make one on request must not stand still for ever.
	thawAfter = 2 * time.Second
	// askAgain is the pause between two requests for a key frame that is
	// waited for.
	askAgain = 500 * time.Millisecond
	// maxStreams bounds what one sender may send: three layers and the sound,
	// and what an unusual one adds.
	maxStreams = 8
	// maxOdd packets in a row that cannot be read are the end of a stream.
	maxOdd = 200
	// maxEarly bounds the frames that are kept for startWait.
	maxEarly, maxEarlyBytes = 128, 8 << 20
)

// receiver takes the RTP streams of one connection and writes them to a sink
// as one video and one audio track. Of several renderings of the same pictures
// (simulcast) the best one that flows is the video; the smallest is there for
// whoever asks for it.
type receiver struct {
	log  *slog.Logger
	pc   *webrtc.PeerConnection
	sink media.Sink
	both bool // sound and picture are to be expected
	wg   sync.WaitGroup
	out  chan rtcp.Packet
	done chan struct{} // closed by close

	mu         sync.Mutex // everything below, and the calls to the sinks
	closed     bool
	origin     origin
	streams    int
	layers     []*layer
	main       *layer
	mainPTS    newest
	lowSink    media.Sink
	low        *layer
	lowPTS     newest
	audio      *input
	told       media.Tracks   // what the sink knows; nil before the start
	early      []*media.Frame // came before the start; Track is not set yet
	earlyBytes int
	firstAt    time.Time
	lastAt     time.Time
	rtt        time.Duration // of ICE; 0 while unknown
	stats      ReceiveStats
}

// ReceiveStats count what a publisher has sent.
type ReceiveStats struct {
	Frames uint64 // pictures that were handed on
	Lost   uint64 // packets that never came
	Frozen uint64 // pictures left out until the key frame after a loss
}

// input is one RTP stream.
type input struct {
	r      *receiver
	remote *webrtc.TrackRemote
	order  reorder
	guard  depacket.Guard
	depack depacket.Depacketizer
	clock  inClock
	pt     uint8
	track  media.Track
	layer  *layer // nil: sound
}

// layer is one rendering of the pictures.
type layer struct {
	input
	norm   *codec.Normalizer
	last   time.Time     // newest packet
	gap    time.Duration // usual pause between two pictures
	track  media.Track
	frozen time.Time // since a loss; zero: the pictures are whole
	asked  time.Time
}

func newReceiver(pc *webrtc.PeerConnection, sink media.Sink, both bool, log *slog.Logger) *receiver {
	now := time.Now()
	r := &receiver{
		log: log, pc: pc, sink: sink, both: both, lastAt: now, origin: origin{start: now},
		out: make(chan rtcp.Packet, 32), done: make(chan struct{}),
	}
	r.wg.Go(r.write)
	pc.OnTrack(r.add)
	return r
}

// add takes a stream on. It runs on a goroutine of pion's.
func (r *receiver) add(remote *webrtc.TrackRemote, rr *webrtc.RTPReceiver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.streams >= maxStreams {
		r.log.Warn("more streams than a camera has: what comes in addition is left out", "streams", r.streams)
		return
	}
	r.streams++
	in := &input{r: r, remote: remote}
	if remote.Kind() == webrtc.RTPCodecTypeVideo {
		l := &layer{input: *in}
		in = &l.input
		in.layer = l
		l.norm = codec.NewNormalizer(layerSink{l})
		r.layers = append(r.layers, l)
	} else {
		r.audio = in // the newest: a microphone that was changed
	}
	r.wg.Go(func() {
		in.read()
		r.leave(in)
	})
	r.wg.Go(func() { in.readRTCP(rr) })
}

// leave forgets a stream that has ended while the connection goes on.
func (r *receiver) leave(in *input) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams--
	r.layers = slices.DeleteFunc(r.layers, func(l *layer) bool { return l == in.layer })
}

// attach gives a receiver that was made without a sink one.
func (r *receiver) attach(s media.Sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sink = s
}

// close waits until nothing more reaches the sinks. The connection must have
// been closed.
func (r *receiver) close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.done)
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// write sends what the streams ask for. Over TCP that may block, which must
// hold up neither them nor whoever asks for a key frame.
func (r *receiver) write() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case p := <-r.out:
			_ = r.pc.WriteRTCP([]rtcp.Packet{p}) // what is asked for is asked for again
		case <-tick.C:
			r.measure()
		case <-r.done:
			return
		}
	}
}

// measure takes the round trip of the ICE checks over for the requests of lost
// packets.
func (r *receiver) measure() {
	for _, t := range r.pc.GetReceivers() {
		dtls := t.Transport()
		if dtls == nil {
			continue
		}
		st, ok := dtls.ICETransport().GetSelectedCandidatePairStats()
		if !ok || st.CurrentRoundTripTime <= 0 {
			continue
		}
		r.mu.Lock()
		r.rtt = time.Duration(st.CurrentRoundTripTime * float64(time.Second))
		r.mu.Unlock()
		return
	}
}

func (r *receiver) send(p rtcp.Packet) {
	select {
	case r.out <- p:
	default: // the way back is blocked
	}
}

// silence tells for how long nothing has come.
func (r *receiver) silence() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.lastAt)
}

func (r *receiver) counts() ReceiveStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// readRTCP feeds the reports of the sender to the clock.
func (in *input) readRTCP(rr *webrtc.RTPReceiver) {
	for {
		var ps []rtcp.Packet
		var err error
		if rid := in.remote.RID(); rid != "" {
			ps, _, err = rr.ReadSimulcastRTCP(rid)
		} else {
			ps, _, err = rr.ReadRTCP()
		}
		if err != nil {
			return
		}
		for _, p := range ps {
			if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == uint32(in.remote.SSRC()) && sr.NTPTime != 0 {
				in.r.mu.Lock()
				in.clock.report(fromNTP(sr.NTPTime), sr.RTPTime, &in.r.origin)
				in.r.mu.Unlock()
			}
		}
	}
}

func (r *receiver) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// read owns one stream until the connection ends.
func (in *input) read() {
	buf := make([]byte, 1600)
	var deadline time.Time
	odd := 0
	for {
		in.r.mu.Lock()
		due := in.order.due()
		in.r.mu.Unlock()
		if !due.Equal(deadline) {
			deadline = due
			if err := in.remote.SetReadDeadline(due); err != nil {
				return
			}
		}
		n, _, err := in.remote.Read(buf)
		var timeout net.Error
		switch {
		case err == nil:
			odd = 0
		case errors.As(err, &timeout) && timeout.Timeout():
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), in.r.ended():
			return
		default:
			// A packet that pion cannot read costs that packet.
			if odd++; odd > maxOdd {
				in.r.log.Warn("stream given up: its packets make no sense", "error", err)
				return
			}
			continue
		}
		var p *rtp.Packet
		if err == nil {
			p = &rtp.Packet{}
			// The units of a frame live in the hub, so the packet gets memory
			// of its own.
			if p.Unmarshal(append([]byte(nil), buf[:n]...)) != nil {
				continue
			}
		}
		in.take(p)
	}
}

// take handles a packet, or none where only time has passed.
func (in *input) take(p *rtp.Packet) {
	now := time.Now()
	r := in.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	var ready []*rtp.Packet
	if p != nil {
		r.lastAt = now
		if r.firstAt.IsZero() {
			r.firstAt = now
		}
		if in.layer != nil {
			in.layer.came(now)
		}
		ready = in.order.push(p, now)
	}
	in.order.rtt = r.rtt
	ask, late := in.order.tick(now)
	for _, p := range append(ready, late...) {
		in.packet(p, now)
	}
	if len(ask) > 0 && in.layer != nil { // sound is not sent again
		r.send(&rtcp.TransportLayerNack{
			MediaSSRC: uint32(in.remote.SSRC()), Nacks: rtcp.NackPairsFromSequenceNumbers(ask),
		})
	}
}

// packet takes the next packet in order. Whatever a sender makes the decoders
// do ends here.
func (in *input) packet(p *rtp.Packet, now time.Time) {
	r := in.r
	defer func() {
		if x := recover(); x != nil {
			r.log.Error("depacketizer crashed", "panic", x)
			in.depack = nil
		}
	}()
	if in.depack == nil || in.pt != p.PayloadType {
		if !in.begin(p.PayloadType) {
			return
		}
	}
	v := in.guard.Packet(p.SequenceNumber, p.Timestamp, p.Marker)
	if v.Lost > 0 {
		r.stats.Lost += uint64(v.Lost)
	}
	if v.Lost > 0 || v.Cut {
		in.depack.Cut()
		if in.layer != nil {
			in.layer.freeze(now)
		}
	}
	pts := in.clock.place(p.Timestamp, now, &r.origin)
	if v.Drop || len(p.Payload) == 0 { // empty: padding of a sender that probes
		return
	}
	units, err := in.depack.Packet(p, pts)
	for _, u := range units {
		f := &media.Frame{PTS: u.PTS, Arrived: now, Units: u.Units}
		if in.layer != nil {
			in.layer.norm.Write(f)
			continue
		}
		r.pass(f, true, now)
	}
	if err != nil {
		in.guard.GiveUp(p.Timestamp)
		in.depack.Cut()
		if in.layer != nil {
			in.layer.freeze(now)
		}
	}
}

// begin sets up for a payload type, at the beginning or when it changes.
func (in *input) begin(pt uint8) bool {
	c := in.remote.Codec()
	if uint8(c.PayloadType) != pt {
		return false // not negotiated
	}
	f := formatOf(c)
	if f == nil {
		return false
	}
	t, create, ok := depacket.Describe(f)
	if !ok {
		return false
	}
	d, err := create()
	if err != nil {
		return false
	}
	d.Cut() // joins in the middle
	in.depack, in.pt, in.track = d, pt, t
	if rate := int64(t.ClockRate); in.clock.rate != rate {
		in.clock = inClock{rate: rate}
	}
	if in.layer != nil {
		in.layer.norm.Start(media.Tracks{t})
	}
	return true
}

// formatOf is the negotiated codec as the depacketizers know it.
func formatOf(c webrtc.RTPCodecParameters) format.Format {
	pt := uint8(c.PayloadType)
	switch codecNames[codecName(c.MimeType)] {
	case media.H264:
		return &format.H264{PayloadTyp: pt, PacketizationMode: 1}
	case media.H265:
		return &format.H265{PayloadTyp: pt}
	case media.VP8:
		return &format.VP8{PayloadTyp: pt}
	case media.VP9:
		return &format.VP9{PayloadTyp: pt}
	case media.AV1:
		return &format.AV1{PayloadTyp: pt}
	case media.Opus:
		return &format.Opus{PayloadTyp: pt, ChannelCount: 2}
	case media.PCMU:
		return &format.G711{PayloadTyp: pt, MULaw: true, SampleRate: 8000, ChannelCount: 1}
	case media.PCMA:
		return &format.G711{PayloadTyp: pt, SampleRate: 8000, ChannelCount: 1}
	}
	return nil
}

// pass hands a frame on. What comes before the track list is complete is kept
// for a moment: the first key frame must not be lost.
func (r *receiver) pass(f *media.Frame, audio bool, now time.Time) {
	f.Track = trackVideo
	if audio {
		f.Track = trackAudio
	}
	if !r.announce(now) {
		if n := f.Size(); len(r.early) < maxEarly && r.earlyBytes+n <= maxEarlyBytes {
			r.early = append(r.early, f)
			r.earlyBytes += n
		}
		return
	}
	for _, e := range append(r.early, f) {
		i := r.told.Video()
		if e.Track == trackAudio {
			i = r.told.Audio()
		}
		if e.Track = i; i >= 0 {
			r.sink.Write(e)
		}
	}
	r.early, r.earlyBytes = nil, 0
}

// Placeholders for the index of a track while the list is not known.
const (
	trackVideo = iota
	trackAudio
)

// announce tells the sink the track list when it has changed, and reports
// whether frames may follow.
func (r *receiver) announce(now time.Time) bool {
	var ts media.Tracks
	if r.main != nil {
		ts = append(ts, r.main.track)
	}
	if r.audio != nil && r.audio.depack != nil {
		ts = append(ts, r.audio.track)
	}
	if len(ts) == 0 || r.sink == nil {
		return false
	}
	if r.told == nil && r.both && len(ts) < 2 && now.Sub(r.firstAt) < startWait {
		return false
	}
	if r.told != nil && (r.told.Equal(ts) || len(ts) < len(r.told)) {
		return true
	}
	late := r.told != nil && r.main != nil
	r.told = ts
	r.sink.Start(ts)
	if late {
		r.main.ask(now) // viewers begin again, with a key frame
	}
	return true
}

// requestKey asks for a key frame of the main rendering.
func (r *receiver) requestKey() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.layers {
		if l == r.main || r.main == nil {
			l.ask(time.Now())
		}
	}
}

// lowSource is the smallest of several renderings as a stream of its own.
type lowSource struct{ r *receiver }

// Run hands the smallest rendering to s until ctx is done.
func (x lowSource) Run(ctx context.Context, s media.Sink) error {
	r := x.r
	r.mu.Lock()
	r.lowSink, r.low = s, nil
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.lowSink == s {
			r.lowSink, r.low = nil, nil
		}
	}()
	x.RequestKey()
	<-ctx.Done()
	return ctx.Err()
}

// RequestKey asks for a key frame of the smallest rendering.
func (x lowSource) RequestKey() {
	x.r.mu.Lock()
	defer x.r.mu.Unlock()
	if l := smallest(x.r.layers, time.Now()); l != nil {
		l.ask(time.Now())
	}
}

// codecName is the key of codecNames in a MIME type.
func codecName(mime string) string {
	_, name, _ := strings.Cut(mime, "/")
	return strings.ToUpper(name)
}
