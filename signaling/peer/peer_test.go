package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/stream"
	"camwire/media/worker"
)

// childEnv makes the test binary a codec worker.
const childEnv = "CAMWIRE_TEST_CODEC_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := worker.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// Parameter sets of a 320x240 constrained baseline stream made by x264.
var (
	sps = []byte{0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x07, 0xec, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0f, 0x23, 0xc5, 0x0a, 0xa8}
	pps = []byte{0x68, 0xce, 0x0f, 0xc8}
)

// slice is a picture of n bytes; only its header is real.
func slice(key bool, n int) []byte {
	b := make([]byte, n)
	b[0], b[1], b[2] = 0x41, 0x9a, 0x20
	if key {
		b[0], b[1], b[2] = 0x65, 0x88, 0x84
	}
	for i := 3; i < n; i++ {
		b[i] = byte(i%250 + 1)
	}
	return b
}

// camera publishes 30 frames per second until the test ends; a key frame every
// gop frames, of 10 kB, the others of 3 kB.
type camera struct {
	*stream.Stream
	reg  *stream.Registry
	keys atomic.Int32
	want atomic.Bool // a key frame was asked for
}

func newCamera(t *testing.T, gop int, askable bool) *camera {
	t.Helper()
	c := &camera{reg: stream.New(stream.Config{})}
	o := stream.PublishOptions{Type: "test"}
	if askable {
		o.RequestKey = func() { c.keys.Add(1); c.want.Store(true) }
	}
	pub, err := c.reg.Publish("cam", o)
	if err != nil {
		t.Fatal(err)
	}
	if c.Stream, err = c.reg.Get("cam"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		pub.Start(media.Tracks{{Codec: media.H264, ClockRate: 90000, Params: [][]byte{sps, pps}}})
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for i := 0; ; i++ {
			key := i%gop == 0 || c.want.Swap(false)
			n := 3000
			if key {
				n = 10000
			}
			pub.Write(&media.Frame{PTS: time.Duration(i) * time.Second / 30, Units: [][]byte{slice(key, n)}})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); c.reg.Close() })
	return c
}

// watcher is a pion client that watches.
type watcher struct {
	pc   *webrtc.PeerConnection
	rtp  chan *rtp.Packet
	done sync.WaitGroup
	got  webrtc.RTPParameters
	up   chan struct{}
	end  chan struct{}
}

func newWatcher(t *testing.T, reg ...interceptor.Factory) *watcher {
	t.Helper()
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	e.LoggerFactory = quietFactory{}
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, webrtc.RTPCodecTypeVideo)
	for _, uri := range []string{uriPlayoutDelay, uriAbsCapture, uriTransportCC} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	r := &interceptor.Registry{}
	for _, f := range reg {
		r.Add(f)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{pc: pc, rtp: make(chan *rtp.Packet, 4096), up: make(chan struct{}), end: make(chan struct{})}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	w.done.Add(1)
	pc.OnTrack(func(tr *webrtc.TrackRemote, rc *webrtc.RTPReceiver) {
		defer w.done.Done()
		w.got = rc.GetParameters()
		close(w.up)
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			select {
			case w.rtp <- p:
			case <-w.end:
				return
			}
		}
	})
	t.Cleanup(func() { close(w.end); _ = pc.Close(); w.done.Wait() })
	return w
}

func (w *watcher) offer(t *testing.T) string {
	t.Helper()
	o, err := w.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	g := webrtc.GatheringCompletePromise(w.pc)
	if err := w.pc.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	<-g
	return w.pc.LocalDescription().SDP
}

func (w *watcher) answer(t *testing.T, sdp string) {
	t.Helper()
	if err := w.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		t.Fatal(err)
	}
}

func (w *watcher) next(t *testing.T) *rtp.Packet {
	t.Helper()
	select {
	case p := <-w.rtp:
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("no packet for 10 s")
		return nil
	}
}

// frame reads packets up to a marker and reports whether it is a key frame.
func (w *watcher) frame(t *testing.T) (pkts []*rtp.Packet, key bool) {
	t.Helper()
	for {
		p := w.next(t)
		pkts = append(pkts, p)
		if typ := p.Payload[0] & 31; typ == 24 || typ == 28 && p.Payload[1]&31 == 5 {
			key = true
		}
		if p.Marker {
			return pkts, key
		}
	}
}

func testServer(t *testing.T) *Server {
	t.Helper()
	s, err := New(Options{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func watch(t *testing.T, s *Server, c *camera, w *watcher) *Viewer {
	t.Helper()
	v, answer, err := s.View(t.Context(), ViewOptions{Camera: c.Stream, Offer: w.offer(t), PageHost: "127.0.0.1:8080", Remote: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	w.answer(t, answer)
	t.Cleanup(v.Close)
	return v
}

func TestViewerStartsWithTheCachedKeyFrame(t *testing.T) {
	c := newCamera(t, 100000, false) // one key frame, at the start, never again
	time.Sleep(300 * time.Millisecond)
	s, w := testServer(t), newWatcher(t)
	v := watch(t, s, c, w)
	pkts, key := w.frame(t)
	if !key {
		t.Fatal("the first picture is not a key frame")
	}
	last, ts := pkts[0], pkts[0].Timestamp
	for range 60 {
		pkts, _ = w.frame(t)
		if pkts[0].SequenceNumber <= last.SequenceNumber && last.SequenceNumber < 65000 {
			t.Fatalf("sequence %d after %d", pkts[0].SequenceNumber, last.SequenceNumber)
		}
		if int32(pkts[0].Timestamp-ts) <= 0 {
			t.Fatalf("timestamp %d after %d", pkts[0].Timestamp, ts)
		}
		for _, p := range pkts {
			if p.Timestamp != pkts[0].Timestamp {
				t.Fatal("two timestamps in one frame")
			}
		}
		last, ts = pkts[len(pkts)-1], pkts[0].Timestamp
	}
	ext := map[string]bool{}
	for _, e := range w.got.HeaderExtensions {
		ext[e.URI] = true
		if e.URI == uriPlayoutDelay {
			if b := last.GetExtension(uint8(e.ID)); len(b) != 3 || b[0]|b[1]|b[2] != 0 {
				t.Errorf("playout delay %x, want 000000", b)
			}
		}
		if e.URI == uriTransportCC && len(last.GetExtension(uint8(e.ID))) != 2 {
			t.Error("no transport-wide sequence number")
		}
	}
	if !ext[uriPlayoutDelay] || !ext[uriAbsCapture] || !ext[uriTransportCC] {
		t.Errorf("negotiated %v", ext)
	}
	if clk := v.Clock(); clk.Captured.IsZero() || clk.Rate != 90000 {
		t.Errorf("%+v", clk)
	}
	if n := s.Connections(); n != 1 {
		t.Errorf("%d viewers", n)
	}
	v.Close()
	if n := s.Connections(); n != 0 {
		t.Errorf("%d viewers after the end", n)
	}
	if n := c.Info().Viewers["webrtc"]; n != 0 {
		t.Errorf("%d leases after the end", n)
	}
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	c := newCamera(t, 30, false)
	s, w := testServer(t), newWatcher(t)
	v := watch(t, s, c, w)
	pkts, _ := w.frame(t)
	<-w.up
	ssrc := pkts[0].SSRC
	want := pkts[len(pkts)-1]
	if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{want.SequenceNumber, want.SequenceNumber + 9000})}}); err != nil {
		t.Fatal(err)
	}
	// pion's receiver gives retransmissions out under their first number.
	for {
		p := w.next(t)
		if p.SequenceNumber != want.SequenceNumber {
			continue
		}
		if string(p.Payload) != string(want.Payload) || p.Timestamp != want.Timestamp || !p.Marker {
			t.Error("another packet came back")
		}
		break
	}
	if l := v.Link(); l.Video.Resent != 1 || l.Video.Unknown != 1 || l.NACKs == 0 {
		t.Errorf("%+v", l)
	}
}

func TestPictureLossAsksTheSource(t *testing.T) {
	c := newCamera(t, 100000, true)
	s, w := testServer(t), newWatcher(t)
	watch(t, s, c, w)
	pkts, _ := w.frame(t)
	pli := []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: pkts[0].SSRC}}
	if err := w.pc.WriteRTCP(pli); err != nil {
		t.Fatal(err)
	}
	for {
		if _, key := w.frame(t); key && c.keys.Load() > 0 {
			return
		}
	}
}

func TestPictureLossIsAnsweredFromTheCacheWhereTheSourceCannot(t *testing.T) {
	c := newCamera(t, 100000, false)
	s, w := testServer(t), newWatcher(t)
	watch(t, s, c, w)
	pkts, _ := w.frame(t)
	var ts uint32
	for range 5 {
		pkts, _ = w.frame(t)
	}
	ts = pkts[0].Timestamp
	if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: pkts[0].SSRC}}); err != nil {
		t.Fatal(err)
	}
	for {
		pkts, key := w.frame(t)
		if int32(pkts[0].Timestamp-ts) <= 0 {
			t.Fatalf("timestamp %d after %d: a browser would drop it", pkts[0].Timestamp, ts)
		}
		ts = pkts[0].Timestamp
		if key {
			return
		}
	}
}

func TestViewerEndsWithItsCamera(t *testing.T) {
	c := newCamera(t, 30, false)
	s, w := testServer(t), newWatcher(t)
	v := watch(t, s, c, w)
	w.frame(t)
	if err := c.reg.Remove("cam"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-v.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("viewer outlives its camera")
	}
}

func TestBadOffers(t *testing.T) {
	c := newCamera(t, 30, false)
	s := testServer(t)
	video := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n"
	for _, x := range []struct {
		name, sdp string
		want      error
	}{
		{"empty", "", ErrBadOffer},
		{"garbage", "hello", ErrBadOffer},
		{"no media", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", ErrBadOffer},
		{"sendonly", strings.Replace(video, "recvonly", "sendonly", 1), ErrBadOffer},
		{"huge", video + strings.Repeat("a=x:y\r\n", 30000), ErrBadOffer},
		{"no codec", video + "a=rtpmap:96 theora/90000\r\n", ErrNoCodec},
		{"other codec", video + "a=rtpmap:96 VP8/90000\r\n", ErrNoCodec},
		{"no fingerprint", video + "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n", ErrBadOffer},
	} {
		for c.Info().Frames == 0 {
			time.Sleep(time.Millisecond)
		}
		_, _, err := s.View(t.Context(), ViewOptions{Camera: c.Stream, Offer: x.sdp})
		if !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("%d viewers left behind", n)
	}
	if n := c.Info().Viewers["webrtc"]; n != 0 {
		t.Errorf("%d leases left behind", n)
	}
}

func TestViewerLimits(t *testing.T) {
	c := newCamera(t, 30, false)
	s, err := New(Options{Address: "127.0.0.1:0", MaxPerAddress: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := newWatcher(t)
	watch(t, s, c, w)
	w.frame(t)
	_, _, err = s.View(t.Context(), ViewOptions{Camera: c.Stream, Offer: newWatcher(t).offerOnly(t), Remote: "127.0.0.1"})
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
}

// offerOnly is an offer of a connection that will never be made.
func (w *watcher) offerOnly(t *testing.T) string {
	w.done.Done()
	return w.offer(t)
}

func TestAnswerCandidates(t *testing.T) {
	s, err := New(Options{Address: ":0", ExtraAddresses: []string{"192.0.2.7", "192.0.2.8:9999"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const sdp = "v=0\r\na=ice-pwd:x\r\na=candidate:1 1 udp 2130706431 127.0.0.1 8555 typ host\r\na=candidate:2 1 udp 2130706431 192.0.2.1 8555 typ host\r\na=end-of-candidates\r\n"
	s.cancel() // what is no name is known at once
	s.wg.Wait()
	got := s.finishAnswer(sdp, "203.0.113.5:8080")
	for _, want := range []string{" 192.0.2.1 8555 ", " 192.0.2.7 ", " 192.0.2.8 9999 ", " 203.0.113.5 ", "tcptype passive"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "127.0.0.1") {
		t.Error("loopback candidate for another machine")
	}
	if got := s.finishAnswer(sdp, "localhost:8080"); !strings.Contains(got, "127.0.0.1") {
		t.Error("no loopback candidate for this machine")
	}
}

// Packets of one access unit leave in batches and arrive as they were.
func TestBatch(t *testing.T) {
	rx, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer rx.Close()
	_ = rx.SetReadBuffer(4 << 20)
	for _, gso := range []bool{true, false} {
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		c := newBatchConn(u)
		c.noGSO = c.noGSO || !gso
		c.register(7)
		to := rx.LocalAddr().(*net.UDPAddr).AddrPort()
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		var sent [][]byte
		add := func(size int, marker bool, ssrc byte) {
			p := make([]byte, size)
			p[0], p[1], p[11] = 0x80, 96, ssrc
			if marker {
				p[1] |= 0x80
			}
			for i := 12; i < size; i++ {
				p[i] = byte(len(sent))
			}
			sent = append(sent, append([]byte{}, p...))
			if _, err := c.WriteToAddrPort(p, to); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []int{0, 1, 2, 63, 64, 65, 150} {
			for range n {
				add(1200, false, 7)
			}
			add(700, true, 7)
		}
		add(60, false, 7)   // parameter sets
		add(1200, false, 7) // longer than the one before
		add(1200, false, 7)
		add(300, false, 7) // shorter: ends a batch
		add(1200, true, 7)
		add(100, false, 9) // not registered: leaves at once
		buf := make([]byte, 2000)
		_ = rx.SetReadDeadline(time.Now().Add(5 * time.Second))
		for i, want := range sent {
			n, err := rx.Read(buf)
			if err != nil {
				t.Fatalf("gso %v: packet %d of %d: %v", gso, i, len(sent), err)
			}
			if string(buf[:n]) != string(want) {
				t.Fatalf("gso %v: packet %d differs", gso, i)
			}
		}
		_ = u.Close()
	}
}

func TestRTPClock(t *testing.T) {
	c := rtpClock{base: 0xffffff00}
	t0 := time.Now()
	if ts := c.stamp(5*time.Second, t0, 90000); ts != 0xffffff00 {
		t.Errorf("starts at %x", ts)
	}
	c.stamp(5*time.Second+50*time.Millisecond, t0.Add(50*time.Millisecond), 90000)
	if got := c.last - c.base; got != 4500 {
		t.Errorf("went on by %d ticks over the wrap, want 4500", got)
	}
	last := c.last
	// A frame again: the next free tick, and time goes on from the real one.
	if ts := c.stamp(5*time.Second, t0, 90000); ts != last+1 {
		t.Errorf("again: %d after %d", ts, last)
	}
	if ts := c.stamp(6*time.Second, t0.Add(time.Second), 90000); ts-c.base != 90000 {
		t.Errorf("after the repeat %d", ts)
	}
	// A year of stream does not overflow.
	year := 365 * 24 * time.Hour
	if got, want := ticks(year, 90000), uint32(uint64(365*24*3600*90000)&0xffffffff); got != want {
		t.Errorf("%d, want %d", got, want)
	}
	// Another clock goes on by the time between the arrivals.
	last = c.last
	c.rebase(77*time.Hour, t0.Add(2*time.Second), 90000)
	if ts := c.stamp(77*time.Hour, t0.Add(2*time.Second), 90000); ts-last != 90000 {
		t.Errorf("went on by %d ticks, want 90000", ts-last)
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\na=rtcp-fb:* nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n")
	f.Add("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 111\r\na=rtpmap:111 opus/48000/2\r\n")
	f.Fuzz(func(_ *testing.T, s string) {
		o, err := parseOffer(s)
		if err != nil {
			return
		}
		_ = o.check(media.Tracks{{Codec: media.H264}})
		_, _ = o.engine(media.Tracks{{Codec: media.VP9}})
	})
}

func FuzzFinishAnswer(f *testing.F) {
	f.Add("v=0\r\na=ice-pwd:x\r\na=candidate:1 1 udp 2130706431 127.0.0.1 8555 typ host\r\n", "[::1]:80")
	s := &Server{port: 8555}
	f.Fuzz(func(_ *testing.T, sdp, host string) { s.finishAnswer(sdp, host) })
}
