package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
)

const (
	// maxLag is how far a viewer may fall behind before it jumps.
	maxLag = 200 * time.Millisecond
	// connectTimeout is how long an answered offer may stay unused.
	connectTimeout = 30 * time.Second
	// While a viewer catches up, a pause follows every burst, so that a group
	// of pictures leaves at catchUp: receive buffers of browsers hold about a
	// megabyte, and Wi-Fi carries no more.
	burst   = 32 << 10 // bytes
	catchUp = 60e6     // bit/s
	// askGap is how often one late viewer may ask the source for a key frame.
	askGap = 5 * time.Second
	// maxCandidates bounds what one ICE generation may name: each is an
	// address that we send checks to.
	maxCandidates = 64
)

// ViewOptions describe a viewer that wants to connect.
type ViewOptions struct {
	Camera *stream.Stream
	// Offer is the browser's SDP.
	Offer string
	// PageHost is the Host header of the page or request; its address
	// becomes a candidate.
	PageHost string
	// Remote is the address that asks, for the limit per address.
	Remote string
	// Closed is called once when the viewer has ended; may be nil.
	Closed func()
}

// Viewer is one WebRTC connection that watches one camera.
type Viewer struct {
	conn
	opts   ViewOptions
	offer  *offer
	lease  *stream.Lease
	video  *sender // nil if the offer has no video
	audio  *sender // nil if the offer has no audio
	twcc   atomic.Uint32
	delay  atomic.Uint32
	rewind atomic.Bool                   // a decoder asked for a new start
	source atomic.Pointer[stream.Stream] // what the video is sent from
	turn   turn
	rate   rate
	cancel context.CancelFunc
	done   chan struct{}
	up     chan struct{} // closed when connected
	upOnce sync.Once

	mu      sync.Mutex
	clock   Clock
	link    link
	problem error
}

// Clock ties a picture that was sent to the time it was taken, so that a page
// can tell the true delay.
type Clock struct {
	RTP      uint32    // RTP timestamp of the picture
	Rate     int       // of the RTP clock, Hz
	Captured time.Time // zero: none was sent yet
}

// View answers an offer. The viewer then runs until it disconnects, the camera
// is removed or Close is called. The error wraps ErrBadOffer, ErrNoCodec,
// ErrTooMany, or one of package stream.
func (s *Server) View(ctx context.Context, o ViewOptions) (*Viewer, string, error) {
	off, err := parseOffer(o.Offer)
	if err != nil {
		return nil, "", err
	}
	tracks, _ := o.Camera.Hub().Tracks()
	if err := off.check(tracks); err != nil {
		return nil, "", fmt.Errorf("camera %q: %w", o.Camera.ID(), err)
	}
	lease, err := o.Camera.Lease("webrtc")
	if err != nil {
		return nil, "", err
	}
	lease.SetCapacity(0) // it will be told
	vctx, cancel := context.WithCancel(context.Background())
	v := &Viewer{
		conn: conn{srv: s, pageHost: o.PageHost}, opts: o, offer: off, lease: lease, cancel: cancel,
		done: make(chan struct{}), up: make(chan struct{}),
	}
	if err := s.admit(v, o.Remote); err != nil {
		cancel()
		lease.Release()
		return nil, "", err
	}
	answer, err := v.connect(ctx, tracks)
	if err != nil {
		cancel()
		if v.pc != nil {
			_ = v.pc.Close()
		}
		lease.Release()
		close(v.done)
		s.dismiss(v, o.Remote)
		return nil, "", err
	}
	go v.run(vctx)
	return v, answer, nil
}

// check finds out early that a viewer could never be served.
func (o *offer) check(now media.Tracks) error {
	if i := now.Video(); o.hasVideo && i >= 0 && !carries(o.video, now[i]) && !carries(o.video, media.Track{Codec: media.H264}) {
		return fmt.Errorf("%w: the camera sends %s; offer that or H264", ErrNoCodec, now[i].Codec)
	}
	if o.hasVideo && len(o.video) == 0 {
		return fmt.Errorf("%w: offer one of H264, H265, VP8, VP9, AV1", ErrNoCodec)
	}
	return nil
}

func (v *Viewer) connect(ctx context.Context, tracks media.Tracks) (string, error) {
	m, err := v.offer.engine(tracks)
	if err != nil {
		return "", err
	}
	// An empty registry: RTCP is read here, retransmission and sequence
	// numbers are the sender's.
	e := v.srv.settings()
	limitStreams(&e, smallBuffer, v.cancel) // a viewer that sends is not listened to
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	conf := webrtc.Configuration{Certificates: []webrtc.Certificate{v.srv.cert}}
	if v.pc, err = api.NewPeerConnection(conf); err != nil {
		return "", fmt.Errorf("webrtc: %w", err)
	}
	v.pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		switch st {
		case webrtc.PeerConnectionStateConnected:
			v.upOnce.Do(func() { close(v.up) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			v.cancel()
		}
	})
	add := func(kind webrtc.RTPCodecType) (*sender, error) {
		t := newSender(kind, v.offer, v.srv.udp, &v.twcc, &v.delay)
		tr, err := v.pc.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err == nil {
			t.rtp = tr.Sender()
		}
		return t, err
	}
	if v.offer.hasVideo {
		if v.video, err = add(webrtc.RTPCodecTypeVideo); err != nil {
			return "", fmt.Errorf("webrtc: video: %w", err)
		}
	}
	if v.offer.hasAudio && len(v.offer.audio) > 0 {
		if v.audio, err = add(webrtc.RTPCodecTypeAudio); err != nil {
			return "", fmt.Errorf("webrtc: audio: %w", err)
		}
	}
	return v.answer(ctx, v.opts.Offer)
}

// Renegotiate answers a further offer on the same connection: an ICE restart.
func (v *Viewer) Renegotiate(ctx context.Context, offer string) (string, error) {
	o, err := parseOffer(offer)
	if err != nil {
		return "", err
	}
	if o.hasVideo != v.offer.hasVideo || o.hasAudio != v.offer.hasAudio {
		return "", fmt.Errorf("%w: a further offer must have the sections of the first: make a new connection", ErrBadOffer)
	}
	v.newGeneration()
	return v.answer(ctx, offer)
}

// Connected is closed when media can flow.
func (v *Viewer) Connected() <-chan struct{} { return v.up }

// Done is closed when the viewer has ended and released everything.
func (v *Viewer) Done() <-chan struct{} { return v.done }

// Close ends the viewer and waits.
func (v *Viewer) Close() {
	v.cancel()
	<-v.done
}

// Clock returns the newest picture's times.
func (v *Viewer) Clock() Clock {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.clock
}

// Problem says why the viewer gets no picture although it is connected, or nil.
func (v *Viewer) Problem() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.problem
}

func (v *Viewer) setProblem(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problem = err
}

// run owns everything that the viewer has started.
func (v *Viewer) run(ctx context.Context) {
	var wg sync.WaitGroup
	if v.video != nil {
		wg.Go(func() { v.readRTCP(v.video) })
	}
	if v.audio != nil {
		wg.Go(func() { v.readRTCP(v.audio) })
	}
	wg.Go(func() {
		defer v.cancel()
		if !v.waitConnected(ctx) {
			return
		}
		err := v.watch(ctx)
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, hub.ErrClosed) {
			v.srv.log.Debug("viewer ended", "camera", v.opts.Camera.ID(), "error", err)
		}
	})
	<-ctx.Done()
	_ = v.pc.Close() // its only errors are about what is closed already
	wg.Wait()
	v.lease.Release()
	v.srv.dismiss(v, v.opts.Remote)
	close(v.done)
	if v.opts.Closed != nil {
		v.opts.Closed()
	}
}

func (v *Viewer) waitConnected(ctx context.Context) bool {
	t := time.NewTimer(connectTimeout)
	defer t.Stop()
	select {
	case <-v.up:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
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

// sendReports tells the receiver how RTP time and wall clock belong together.
func (v *Viewer) sendReports(now time.Time) {
	var out []rtcp.Packet
	for _, s := range []*sender{v.video, v.audio} {
		if s == nil {
			continue
		}
		if ssrc, ts, packets, octets, ok := s.report(now); ok {
			out = append(out, &rtcp.SenderReport{SSRC: ssrc, NTPTime: ntp(now), RTPTime: ts, PacketCount: packets, OctetCount: octets})
		}
	}
	if len(out) > 0 {
		_ = v.pc.WriteRTCP(out) // the next one is a second away
	}
}

// RemoteAddr is a help for callers that have a host:port string.
func RemoteAddr(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return hostport
}
