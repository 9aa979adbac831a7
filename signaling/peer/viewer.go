package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
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
	srv    *Server
	opts   ViewOptions
	pc     *webrtc.PeerConnection
	offer  *offer
	lease  *stream.Lease
	video  *sender // nil if the offer has no video
	audio  *sender // nil if the offer has no audio
	twcc   atomic.Uint32
	delay  atomic.Uint32
	rewind atomic.Bool                   // a decoder asked for a new start
	source atomic.Pointer[stream.Stream] // what the video is sent from
	cancel context.CancelFunc
	done   chan struct{}
	up     chan struct{} // closed when connected
	upOnce sync.Once

	mu         sync.Mutex
	clock      Clock
	link       link
	problem    error
	candidates int // of this ICE generation
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
	vctx, cancel := context.WithCancel(context.Background())
	v := &Viewer{
		srv: s, opts: o, offer: off, lease: lease, cancel: cancel,
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
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(v.srv.settings()),
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

// answer sets a remote offer and returns the local answer with all candidates:
// they are those of the machine, so nothing has to be waited for.
func (v *Viewer) answer(ctx context.Context, offer string) (string, error) {
	err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	a, err := v.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(a); err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	select {
	case <-gathered:
	case <-wait.Done(): // a machine with a great many interfaces: some are there
	}
	return v.srv.finishAnswer(v.pc.LocalDescription().SDP, v.opts.PageHost), nil
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
	v.mu.Lock()
	v.candidates = 0
	v.mu.Unlock()
	return v.answer(ctx, offer)
}

// AddCandidate takes a candidate of the browser; "" means that there are no
// more.
func (v *Viewer) AddCandidate(c, mid string, line *uint16) error {
	if len(c) > 1024 {
		return fmt.Errorf("%w: candidate of %d bytes", ErrBadOffer, len(c))
	}
	v.mu.Lock()
	v.candidates++
	n := v.candidates
	v.mu.Unlock()
	if n > maxCandidates {
		return fmt.Errorf("%w: more than %d candidates", ErrBadOffer, maxCandidates)
	}
	if strings.Contains(c, ".local") {
		return nil // the browser's checks reach us; its mDNS name need not be looked up
	}
	init := webrtc.ICECandidateInit{Candidate: c, SDPMLineIndex: line}
	if mid != "" {
		init.SDPMid = &mid
	}
	if err := v.pc.AddICECandidate(init); err != nil && !errors.Is(err, ice.ErrUnknownCandidateTyp) {
		return fmt.Errorf("%w: candidate: %w", ErrBadOffer, err)
	}
	return nil
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

// errReplan ends a plan because the track list has changed.
var errReplan = errors.New("tracks changed")

// watch sends the camera for as long as there is one, whatever it turns into.
func (v *Viewer) watch(ctx context.Context) error {
	for {
		if _, err := v.lease.Hub().WaitTracks(ctx); err != nil {
			return err
		}
		ts, epoch := v.lease.Hub().Tracks()
		if err := v.follow(ctx, ts, epoch); !errors.Is(err, errReplan) {
			return err
		}
	}
}

// follow sends one epoch: what the browser can take as it is, the rest from the
// camera's derived stream.
func (v *Viewer) follow(ctx context.Context, ts media.Tracks, epoch uint32) error {
	p := plan{hub: v.lease.Hub(), stream: v.lease.Stream(), video: -1, audio: -1, epoch: epoch}
	v.setProblem(nil)
	if i := ts.Video(); i >= 0 && v.video != nil {
		if pt, ok := v.video.payloadType(ts[i]); ok {
			p.video, p.videoPT = i, pt
		} else if stop := v.transcoded(ctx, ts[i]); stop != nil {
			defer stop()
		}
	}
	if i := ts.Audio(); i >= 0 && v.audio != nil {
		if pt, ok := v.audio.payloadType(ts[i]); ok {
			p.audio, p.audioPT = i, pt
		}
	}
	return v.pump(ctx, p)
}

// transcoded sends the camera's H264 rendering beside the main pump. It
// returns the function that ends it, or nil.
func (v *Viewer) transcoded(ctx context.Context, t media.Track) func() {
	pt, ok := v.video.payloadType(media.Track{Codec: media.H264, ClockRate: 90000})
	if !ok {
		v.setProblem(fmt.Errorf("%w: the camera sends %s, the viewer takes neither that nor H264", ErrNoCodec, t.Codec))
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			lease, err := v.opts.Camera.LeaseDerived("h264", "")
			v.setProblem(err)
			if err == nil {
				if _, err = lease.Hub().WaitTracks(ctx); err == nil {
					err = v.pump(ctx, plan{hub: lease.Hub(), stream: lease.Stream(), video: 0, videoPT: pt, audio: -1})
				}
				lease.Release()
			}
			if pause(ctx, time.Second) != nil {
				return
			}
			v.srv.log.Debug("transcoded stream ended, again", "camera", v.opts.Camera.ID(), "error", err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// plan says which tracks of which hub go out under which payload types.
type plan struct {
	hub              *hub.Hub
	stream           *stream.Stream
	video, audio     int // track index, or -1
	videoPT, audioPT uint8
	epoch            uint32 // the plan ends when another begins; 0: it does not
}

func (v *Viewer) pump(ctx context.Context, p plan) error {
	cur := p.hub.NewCursor(hub.CursorOptions{MaxLag: maxLag})
	if p.video >= 0 {
		v.source.Store(p.stream)
	}
	var reported, asked time.Time
	sent, fresh, caughtUp := 0, true, true
	for {
		f, err := cur.Try()
		if f == nil && err == nil {
			sent, caughtUp = 0, true
			f, err = cur.Next(ctx)
		}
		if err != nil {
			return err
		}
		if p.epoch != 0 && f.Epoch != p.epoch {
			return errReplan
		}
		now := time.Now()
		// A viewer whose link never carries the stream must not cost the
		// others a key frame twice a second.
		if cur.Behind() && caughtUp && now.Sub(asked) > askGap {
			asked, caughtUp = now, false
			p.stream.RequestKey()
		}
		t := cur.Tracks()[f.Track]
		switch f.Track {
		case p.video:
			if v.rewind.CompareAndSwap(true, false) && !f.Key && cur.Rewind() {
				continue
			}
			err = v.sendVideo(f, t, p.videoPT, fresh)
			fresh = false
			sent += f.Size()
		case p.audio:
			_, _, err = v.audio.write(f, t, p.audioPT)
		}
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		// Other errors are of this packet's way (no route for a moment):
		// ICE decides when the connection is gone.
		if sent > burst {
			if err := pause(ctx, time.Duration(sent)*8*time.Second/catchUp); err != nil {
				return err
			}
			sent = 0
		}
		if now.Sub(reported) >= time.Second {
			reported = now
			v.sendReports(now)
		}
	}
}

func (v *Viewer) sendVideo(f *media.Frame, t media.Track, pt uint8, fresh bool) error {
	if fresh {
		v.video.newClock(f, t.ClockRate)
	}
	n, ts, err := v.video.write(f, t, pt)
	if n > 0 {
		v.mu.Lock()
		v.clock = Clock{RTP: ts, Rate: t.ClockRate, Captured: f.Captured}
		v.mu.Unlock()
	}
	return err
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
