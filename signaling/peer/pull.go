package peer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"camwire/media"
)

// Errors of a Pull.
var (
	ErrAnswer         = errors.New("the other server's answer cannot be used")
	ErrTooManyStreams = errors.New("the other server sends more streams than a camera has")
)

const (
	// pullConnect is how long ICE and DTLS may take.
	pullConnect = 10 * time.Second
	// pullSilence is how long a connection may be without a packet before its
	// camera counts as lost. Slow series of stills are within it.
	pullSilence = 20 * time.Second
	// pullDead is enough where ICE has no answer either.
	pullDead = 3 * time.Second
)

// Pull watches a camera of another server: a media.Source by WebRTC.
type Pull struct {
	// Server is whose sockets are used.
	Server *Server
	// URL is where the other server is; for the choice of addresses only.
	URL *url.URL
	// Exchange brings the offer to the other server and its answer back. The
	// session that it makes there ends when end is called.
	Exchange func(ctx context.Context, offer string) (answer string, end func(), err error)

	mu   sync.Mutex
	recv *receiver // while Run runs
}

var (
	_ media.Source       = (*Pull)(nil)
	_ media.KeyRequester = (*Pull)(nil)
)

// RequestKey asks the other server for a key frame.
func (p *Pull) RequestKey() {
	p.mu.Lock()
	r := p.recv
	p.mu.Unlock()
	if r != nil {
		r.requestKey()
	}
}

// Run connects and hands on what comes until ctx is done or the connection
// ends.
func (p *Pull) Run(ctx context.Context, sink media.Sink) error {
	m, err := pullEngine()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pc, err := p.Server.ingestConnection(m, true, func() { cancel(ErrTooManyStreams) })
	if err != nil {
		return err
	}
	recv := newReceiver(pc, sink, true, p.Server.log)
	defer recv.close()
	defer pc.Close() // before: its streams end by it
	p.mu.Lock()
	p.recv = recv
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.recv = nil
		p.mu.Unlock()
	}()
	state := make(chan webrtc.PeerConnectionState, 8)
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		select {
		case state <- s:
		default:
		}
	})
	end, err := p.connect(ctx, pc)
	if err != nil {
		return err
	}
	defer end()
	return p.watch(ctx, recv, state)
}

func (p *Pull) connect(ctx context.Context, pc *webrtc.PeerConnection) (end func(), err error) {
	for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if err := receiveOnly(pc, k); err != nil {
			return nil, err
		}
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return nil, fmt.Errorf("webrtc: offer: %w", err)
	}
	c := conn{srv: p.Server, pc: pc, pageHost: p.URL.Host, own: true}
	text, err := c.finish(ctx, offer)
	if err != nil {
		return nil, err
	}
	answer, end, err := p.Exchange(ctx, text)
	if err != nil {
		return nil, err
	}
	err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
	if err != nil {
		end()
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return end, nil
}

// watch returns when the connection has ended or nothing comes any more.
func (p *Pull) watch(ctx context.Context, recv *receiver, state <-chan webrtc.PeerConnectionState) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	began, up, shaky := time.Now(), false, false
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case s := <-state:
			switch s {
			case webrtc.PeerConnectionStateConnected:
				up, shaky = true, false
			case webrtc.PeerConnectionStateDisconnected:
				shaky = true
			case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
				return fmt.Errorf("the WebRTC connection to %s has ended", p.URL.Host)
			}
		case <-tick.C:
			switch {
			case !up && time.Since(began) > pullConnect:
				return fmt.Errorf("no WebRTC connection to %s within %v: is its WebRTC port (UDP and TCP, 8555 if not set otherwise) open?", p.URL.Host, pullConnect)
			case shaky && recv.silence() > pullDead:
				return fmt.Errorf("%s does not answer any more", p.URL.Host)
			case up && recv.silence() > pullSilence:
				return fmt.Errorf("no packet from %s for %v", p.URL.Host, pullSilence)
			}
		}
	}
}

// pullEngine registers what Camwire can take from another server, in its
// order of preference.
func pullEngine() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "transport-cc"}}
	add := func(pt uint8, mime string, clock uint32, chans uint16, fmtp string) error {
		typ, fb := webrtc.RTPCodecTypeVideo, feedback
		if clock != 90000 {
			typ, fb = webrtc.RTPCodecTypeAudio, feedback[2:]
		}
		return m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: clock, Channels: chans, SDPFmtpLine: fmtp, RTCPFeedback: fb},
			PayloadType:        webrtc.PayloadType(pt),
		}, typ)
	}
	h264 := func(profile string) string { // level 5.1
		return "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile + "33"
	}
	return m, errors.Join(
		add(96, webrtc.MimeTypeH264, 90000, 0, h264("6400")),
		add(97, webrtc.MimeTypeH264, 90000, 0, h264("4d00")),
		add(98, webrtc.MimeTypeH264, 90000, 0, h264("42e0")),
		add(99, webrtc.MimeTypeH264, 90000, 0, h264("4200")),
		add(100, webrtc.MimeTypeH265, 90000, 0, "level-id=153;profile-id=1;tier-flag=0;tx-mode=SRST"),
		add(101, webrtc.MimeTypeVP8, 90000, 0, ""),
		add(102, webrtc.MimeTypeVP9, 90000, 0, "profile-id=0"),
		add(103, webrtc.MimeTypeAV1, 90000, 0, ""),
		add(111, webrtc.MimeTypeOpus, 48000, 2, "minptime=10;useinbandfec=1"),
		add(0, webrtc.MimeTypePCMU, 8000, 0, ""),
		add(8, webrtc.MimeTypePCMA, 8000, 0, ""),
		ingestExtensions(m),
	)
}
