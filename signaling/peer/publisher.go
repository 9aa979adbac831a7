package peer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"camwire/media"
	"camwire/media/stream"
)

const (
	// feedbackInterval is how often a sender hears what has arrived, from
	// which it learns what its link carries.
	feedbackInterval = 50 * time.Millisecond
	// yieldAfter is how long a publisher must have been silent before another
	// one takes its camera without being told to: the phone whose connection
	// died comes back before its death has been noticed.
	yieldAfter = 2 * time.Second
	// replayWindow is in packets. A packet that is sent again may be half a
	// second late.
	replayWindow = 1024
)

// PublishOptions describe somebody who wants to send a camera.
type PublishOptions struct {
	Registry *stream.Registry
	// Camera is the id under which the pictures appear.
	Camera string
	// Offer is the sender's SDP.
	Offer string
	// Takeover ends the publisher that the camera has, if there is one.
	Takeover bool
	// PageHost is the Host header of the request; its address becomes a
	// candidate.
	PageHost string
	// Remote is the address that asks, for the limit per address.
	Remote string
	// Closed is called once when the publisher has ended; may be nil.
	Closed func()
}

// Publisher is one WebRTC connection that feeds one camera.
type Publisher struct {
	conn
	opts   PublishOptions
	offer  *offer
	recv   *receiver
	pub    *stream.Publication
	cancel context.CancelFunc
	done   chan struct{}
	up     chan struct{} // closed when connected
}

// Publish answers an offer to send. The publisher then runs until it
// disconnects, another one takes over, the camera is removed or Close is
// called. The error wraps ErrBadOffer, ErrNoCodec, ErrTooMany, or one of
// package stream.
func (s *Server) Publish(ctx context.Context, o PublishOptions) (*Publisher, string, error) {
	off, err := parsePublishOffer(o.Offer)
	if err != nil {
		return nil, "", err
	}
	if off.hasVideo && len(off.video) == 0 || !off.hasVideo && len(off.audio) == 0 {
		return nil, "", fmt.Errorf("%w: offer H264, VP8, VP9, AV1 or H265, and Opus or G.711 for sound", ErrNoCodec)
	}
	pctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{
		conn: conn{srv: s, pageHost: o.PageHost}, opts: o, offer: off, cancel: cancel,
		done: make(chan struct{}), up: make(chan struct{}),
	}
	if err := s.admit(p, o.Remote); err != nil {
		cancel()
		return nil, "", err
	}
	answer, err := p.connect(ctx)
	if err != nil {
		cancel()
		p.release()
		close(p.done)
		return nil, "", err
	}
	go p.run(pctx)
	return p, answer, nil
}

func (p *Publisher) silent() bool { return p.recv.silence() > yieldAfter }
func (p *Publisher) ended(err error) {
	p.srv.log.Info("publisher ended", "camera", p.opts.Camera, "reason", err)
	p.cancel()
}
func (p *Publisher) log() *slog.Logger { return p.srv.log.With("camera", p.opts.Camera) }

func (p *Publisher) connect(ctx context.Context) (string, error) {
	m, err := p.offer.ingestEngine()
	if err != nil {
		return "", err
	}
	if p.pc, err = p.srv.ingestConnection(m, false, p.cancel); err != nil {
		return "", err
	}
	var once sync.Once
	p.pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		switch st {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(p.up) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			p.cancel()
		}
	})
	p.recv = newReceiver(p.pc, nil, p.offer.hasVideo && len(p.offer.audio) > 0, p.log())
	if p.offer.hasVideo {
		if err := receiveOnly(p.pc, webrtc.RTPCodecTypeVideo); err != nil {
			return "", err
		}
	}
	if len(p.offer.audio) > 0 {
		if err := receiveOnly(p.pc, webrtc.RTPCodecTypeAudio); err != nil {
			return "", err
		}
	}
	answer, err := p.answer(ctx, p.opts.Offer)
	if err != nil {
		return "", err
	}
	if !strings.Contains(answer, "a=recvonly") {
		return "", fmt.Errorf("%w: no section can be taken: bundle them (RFC 9143) and name a codec that was registered", ErrBadOffer)
	}
	o := stream.PublishOptions{
		Type: "webrtc", Location: "WHIP from " + p.opts.Remote, RequestKey: p.recv.requestKey,
		Takeover: p.opts.Takeover, Yields: p.silent, Ended: p.ended,
	}
	if p.offer.layers > 1 {
		o.Low = lowSource{p.recv}
	}
	if p.pub, err = p.opts.Registry.Publish(p.opts.Camera, o); err != nil {
		return "", err
	}
	p.recv.attach(p.pub)
	return withStartRate(answer, p.opts.Offer), nil
}

// run owns everything that the publisher has started.
func (p *Publisher) run(ctx context.Context) {
	t := time.NewTimer(connectTimeout)
	defer t.Stop()
	select {
	case <-p.up:
		<-ctx.Done()
	case <-t.C:
	case <-ctx.Done():
	}
	p.release()
	close(p.done)
	if p.opts.Closed != nil {
		p.opts.Closed()
	}
}

// release ends what connect has begun, as far as it got.
func (p *Publisher) release() {
	p.cancel()
	if p.pc != nil {
		_ = p.pc.Close() // its only errors are about what is closed already
	}
	if p.recv != nil {
		p.recv.close()
	}
	if p.pub != nil {
		p.pub.Close()
	}
	p.srv.dismiss(p, p.opts.Remote)
}

// Renegotiate answers a further offer on the same connection: an ICE restart.
func (p *Publisher) Renegotiate(ctx context.Context, text string) (string, error) {
	o, err := parsePublishOffer(text)
	if err != nil {
		return "", err
	}
	if o.hasVideo != p.offer.hasVideo || o.hasAudio != p.offer.hasAudio {
		return "", fmt.Errorf("%w: a further offer must have the sections of the first: make a new connection", ErrBadOffer)
	}
	p.newGeneration()
	answer, err := p.answer(ctx, text)
	return withStartRate(answer, text), err
}

// Connected is closed when media can flow.
func (p *Publisher) Connected() <-chan struct{} { return p.up }

// Done is closed when the publisher has ended and released everything.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// Stats counts what has come.
func (p *Publisher) Stats() ReceiveStats { return p.recv.counts() }

// Close ends the publisher and waits.
func (p *Publisher) Close() {
	p.cancel()
	<-p.done
}

func receiveOnly(pc *webrtc.PeerConnection, kind webrtc.RTPCodecType) error {
	_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	if err != nil {
		return fmt.Errorf("webrtc: %s: %w", kind, err)
	}
	return nil
}

// ingestConnection makes a connection that receives. Flood is called when the
// far end begins more streams than anybody needs, and must not block.
func (s *Server) ingestConnection(m *webrtc.MediaEngine, dial bool, flood func()) (*webrtc.PeerConnection, error) {
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, fmt.Errorf("webrtc: receiver reports: %w", err)
	}
	feedback, err := twcc.NewSenderInterceptor(twcc.SendInterval(feedbackInterval), twcc.WithLoggerFactory(quietFactory{}))
	if err != nil {
		return nil, fmt.Errorf("webrtc: transport feedback: %w", err)
	}
	registry := &interceptor.Registry{}
	registry.Add(reports)
	registry.Add(feedback)
	e := s.settings()
	e.SetSRTPReplayProtectionWindow(replayWindow)
	if dial {
		// Ports of its own: the other server tells connections apart by where
		// they come from, and there may be several to the same one.
		e.SetICEUDPMux(nil)
		e.SetICETCPMux(nil)
		e.DisableActiveTCP(false)
	}
	e.SetHandleUndeclaredSSRCWithoutAnswer(true)
	limitStreams(&e, srtpBuffer, flood)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e), webrtc.WithInterceptorRegistry(registry)).
		NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.cert}})
	if err != nil {
		return nil, fmt.Errorf("webrtc: %w", err)
	}
	return pc, nil
}

// ingestEngine registers what can be taken of the offer, under the offer's own
// payload types and in its order of preference. Packets that are lost come
// again in the stream itself: a repair stream (RFC 4588) would deliver them
// only with the next packet of the main one.
func (o *offer) ingestEngine() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	register := func(list []offered, typ webrtc.RTPCodecType, prefix string) error {
		for _, c := range list {
			chans := c.chans
			if typ == webrtc.RTPCodecTypeVideo || c.codec != media.Opus {
				chans = 0
			}
			err := m.RegisterCodec(webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: prefix + c.mime, ClockRate: c.clock, Channels: chans, SDPFmtpLine: c.fmtp,
					RTCPFeedback: wanted(c.fb, typ),
				},
				PayloadType: webrtc.PayloadType(c.pt),
			}, typ)
			if err != nil {
				return fmt.Errorf("%w: payload type %d: %w", ErrBadOffer, c.pt, err)
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
	return m, ingestExtensions(m)
}

func ingestExtensions(m *webrtc.MediaEngine) error {
	for _, typ := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		uris := []string{uriTransportCC, sdp.SDESMidURI}
		if typ == webrtc.RTPCodecTypeVideo {
			uris = append(uris, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI)
		}
		for _, uri := range uris {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, typ); err != nil {
				return fmt.Errorf("webrtc: header extension: %w", err)
			}
		}
	}
	return nil
}

// maxLayers is how many renderings of one picture a sender may announce.
const maxLayers = 4

// parsePublishOffer reads an offer to send. It takes hostile input.
func parsePublishOffer(text string) (*offer, error) {
	o, d, err := readOffer(text, sends)
	if err != nil {
		return nil, err
	}
	if !o.hasVideo && !o.hasAudio {
		return nil, fmt.Errorf("%w: no audio or video section that wants to send", ErrBadOffer)
	}
	sending := map[string]int{}
	for _, m := range d.MediaDescriptions {
		kind := m.MediaName.Media
		if sends(m) && (kind == "video" || kind == "audio") {
			if sending[kind]++; sending[kind] > 1 {
				return nil, fmt.Errorf("%w: two sections send %s: a camera is one picture and one sound; publish the other under an id of its own", ErrBadOffer, kind)
			}
		}
		for _, a := range m.Attributes {
			if list, ok := strings.CutPrefix(a.Value, "send "); ok && a.Key == "simulcast" {
				list, _, _ = strings.Cut(list, " ")
				o.layers = max(o.layers, len(strings.Split(list, ";")))
			}
		}
	}
	if o.layers > maxLayers {
		return nil, fmt.Errorf("%w: %d simulcast layers; at most %d are taken", ErrBadOffer, o.layers, maxLayers)
	}
	// What cannot be put together again is not to be agreed on: interleaved
	// H264 (RFC 6184 section 6.4).
	takeable := o.video[:0]
	for _, c := range o.video {
		if c.codec != media.H264 || !strings.Contains(c.fmtp, "packetization-mode=2") {
			takeable = append(takeable, c)
		}
	}
	o.video = takeable
	return o, nil
}
