package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
)

// dropper is a link that loses what it is told to, the first time.
type dropper struct {
	interceptor.NoOp
	mu   sync.Mutex
	lose func(*rtp.Header) bool
	gone map[uint16]bool
	all  bool // also when it is sent again
}

func (d *dropper) NewInterceptor(string) (interceptor.Interceptor, error) { return d, nil }

func (d *dropper) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, p []byte, a interceptor.Attributes) (int, error) {
		d.mu.Lock()
		lost := d.lose != nil && d.lose(h) && (d.all || !d.gone[h.SequenceNumber])
		if lost {
			d.gone[h.SequenceNumber] = true
		}
		d.mu.Unlock()
		if lost {
			return len(p), nil
		}
		return w.Write(h, p, a)
	})
}

func (d *dropper) set(all bool, lose func(*rtp.Header) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lose, d.all, d.gone = lose, all, map[uint16]bool{}
}

// phone is a pion client that publishes H264, in one or in several layers.
type phone struct {
	pc     *webrtc.PeerConnection
	link   *dropper
	layers []*sending
	plis   chan uint32 // SSRCs
	wg     sync.WaitGroup
	cancel context.CancelFunc
}

type sending struct {
	track *webrtc.TrackLocalStaticRTP
	mu    sync.Mutex
	want  bool // a key frame
	mute  bool
}

func newPhone(t *testing.T, rids ...string) *phone {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ph := &phone{link: &dropper{gone: map[uint16]bool{}}, plis: make(chan uint32, 64), cancel: cancel}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	e.LoggerFactory = quietFactory{}
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI, uriTransportCC} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	again, err := nack.NewResponderInterceptor(nack.WithResponderLoggerFactory(quietFactory{}))
	if err != nil {
		t.Fatal(err)
	}
	reg := &interceptor.Registry{}
	reg.Add(ph.link)
	reg.Add(again)
	ph.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(reg)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	var sender *webrtc.RTPSender
	if len(rids) == 0 {
		rids = []string{""}
	}
	for i, rid := range rids {
		var opts []func(*webrtc.TrackLocalStaticRTP)
		if rid != "" {
			opts = append(opts, webrtc.WithRTPStreamID(rid))
		}
		tr, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000}, "v", "s", opts...)
		if err != nil {
			t.Fatal(err)
		}
		ph.layers = append(ph.layers, &sending{track: tr, want: true})
		if i == 0 {
			sender, err = ph.pc.AddTrack(tr)
		} else {
			err = sender.AddEncoding(tr)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ph.wg.Go(func() { ph.readRTCP(sender, rids) })
	up := make(chan struct{})
	var once sync.Once
	ph.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(up) })
		}
	})
	for i, l := range ph.layers {
		ph.wg.Go(func() {
			select {
			case <-up:
				l.send(ctx, sender, i, rids[i])
			case <-ctx.Done():
			}
		})
	}
	t.Cleanup(func() { cancel(); _ = ph.pc.Close(); ph.wg.Wait() })
	return ph
}

// readRTCP notes who is asked for key frames, and obeys.
func (ph *phone) readRTCP(s *webrtc.RTPSender, rids []string) {
	read := func(rid string) ([]rtcp.Packet, error) {
		if rid == "" {
			ps, _, err := s.ReadRTCP()
			return ps, err
		}
		ps, _, err := s.ReadSimulcastRTCP(rid)
		return ps, err
	}
	var wg sync.WaitGroup
	for i, rid := range rids {
		wg.Go(func() {
			for {
				ps, err := read(rid)
				if err != nil {
					return
				}
				for _, p := range ps {
					if pli, ok := p.(*rtcp.PictureLossIndication); ok {
						l := ph.layers[i]
						l.mu.Lock()
						l.want = true
						l.mu.Unlock()
						select {
						case ph.plis <- pli.MediaSSRC:
						default:
						}
					}
				}
			}
		})
	}
	wg.Wait()
}

// send makes 30 pictures per second of three packets each; key frames only on
// request.
func (l *sending) send(ctx context.Context, s *webrtc.RTPSender, index int, rid string) {
	p := s.GetParameters()
	ext := func(uri string) uint8 {
		for _, e := range p.HeaderExtensions {
			if e.URI == uri {
				return uint8(e.ID)
			}
		}
		return 0
	}
	seq, ts := uint16(65000+index), rand.Uint32()
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for {
		l.mu.Lock()
		key, mute := l.want, l.mute
		l.want = l.want && mute
		l.mu.Unlock()
		ts += 3000
		var payloads [][]byte
		if key {
			payloads = append(payloads, sps, pps)
		}
		whole := slice(key, 2500)
		// Two fragments (RFC 6184 section 5.8).
		ind, typ := whole[0]&0xe0|28, whole[0]&0x1f
		payloads = append(payloads,
			append([]byte{ind, 0x80 | typ}, whole[1:1000]...),
			append([]byte{ind, typ}, whole[1000:1900]...),
			append([]byte{ind, 0x40 | typ}, whole[1900:]...))
		for i, b := range payloads {
			if mute {
				break
			}
			h := rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: i == len(payloads)-1}
			seq++
			if rid != "" {
				_ = h.SetExtension(ext(sdp.SDESMidURI), []byte("0"))
				_ = h.SetExtension(ext(sdp.SDESRTPStreamIDURI), []byte(rid))
			}
			_ = l.track.WriteRTP(&rtp.Packet{Header: h, Payload: b})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (ph *phone) offer(t *testing.T) string {
	t.Helper()
	o, err := ph.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	g := webrtc.GatheringCompletePromise(ph.pc)
	if err := ph.pc.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	<-g
	return ph.pc.LocalDescription().SDP
}

func publish(t *testing.T, s *Server, reg *stream.Registry, ph *phone, o PublishOptions) *Publisher {
	t.Helper()
	o.Registry, o.Camera, o.Offer, o.PageHost, o.Remote = reg, "cam", ph.offer(t), "127.0.0.1:8080", "127.0.0.1"
	p, answer, err := s.Publish(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := ph.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	return p
}

func registry(t *testing.T) *stream.Registry {
	t.Helper()
	r := stream.New(stream.Config{})
	t.Cleanup(r.Close)
	return r
}

// reader follows a hub.
func reader(t *testing.T, h *hub.Hub) func() *media.Frame {
	t.Helper()
	c := h.NewCursor(hub.CursorOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return func() *media.Frame {
		t.Helper()
		f, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

func TestPublisherFeedsACamera(t *testing.T) {
	s, reg, ph := testServer(t), registry(t), newPhone(t)
	p := publish(t, s, reg, ph, PublishOptions{})
	cam, err := reg.Get("cam")
	if err != nil {
		t.Fatal(err)
	}
	next := reader(t, cam.Hub())
	f := next()
	if !f.Key || len(f.Units) != 3 {
		t.Errorf("the first picture: key %v, %d units", f.Key, len(f.Units))
	}
	for range 20 {
		g := next()
		if d := g.PTS - f.PTS; d < 33*time.Millisecond || d > 34*time.Millisecond {
			t.Errorf("a step of %v", d)
		}
		f = g
	}
	if i := cam.Info(); i.Type != "webrtc" || i.State != stream.Live || i.Tracks[0].Width != 320 {
		t.Errorf("%+v", i)
	}
	for len(ph.plis) > 0 {
		<-ph.plis
	}
	cam.RequestKey()
	<-ph.plis
	for !next().Key {
	}
	if _, _, err := s.Publish(t.Context(), PublishOptions{Registry: reg, Camera: "cam", Offer: newPhone(t).offer(t)}); !errors.Is(err, stream.ErrPublished) {
		t.Errorf("a second publisher: %v", err)
	}
	second := newPhone(t)
	publish(t, s, reg, second, PublishOptions{Takeover: true})
	<-p.Done()
	for i := 0; i < 5; {
		if next().Key {
			i = 5
		}
	}
	if err := reg.Remove("cam"); err != nil {
		t.Fatal(err)
	}
	for s.Connections() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestLossOnTheWayIn: a packet that is lost is asked for and nobody notices.
// One that never comes costs its picture and those that refer to it, until the
// key frame that is asked for.
func TestLossOnTheWayIn(t *testing.T) {
	s, reg, ph := testServer(t), registry(t), newPhone(t)
	p := publish(t, s, reg, ph, PublishOptions{})
	cam, _ := reg.Get("cam")
	next := reader(t, cam.Hub())
	f := next()
	ph.link.set(false, func(h *rtp.Header) bool { return h.SequenceNumber%10 == 0 })
	for range 30 {
		g := next()
		if d := g.PTS - f.PTS; d > 34*time.Millisecond {
			t.Errorf("a picture is missing: step of %v", d)
		}
		f = g
	}
	if st := p.Stats(); st.Lost != 0 {
		t.Errorf("%+v", st)
	}
	for len(ph.plis) > 0 {
		<-ph.plis
	}
	var once sync.Once
	ph.link.set(true, func(h *rtp.Header) bool {
		lost := false
		once.Do(func() { ph.link.lose, lost = lostSeq(h.SequenceNumber), true })
		return lost
	})
	for {
		g := next()
		if d := g.PTS - f.PTS; d > 34*time.Millisecond {
			if !g.Key {
				t.Error("after a lost picture comes one that refers to it")
			}
			break
		}
		f = g
	}
	if st := p.Stats(); st.Lost == 0 || len(ph.plis) == 0 {
		t.Errorf("%+v, %d requests", st, len(ph.plis))
	}
}

func lostSeq(n uint16) func(*rtp.Header) bool {
	return func(h *rtp.Header) bool { return h.SequenceNumber == n }
}

// TestOddPackets: a packet that makes no sense costs that packet.
func TestOddPackets(t *testing.T) {
	s, reg, ph := testServer(t), registry(t), newPhone(t)
	publish(t, s, reg, ph, PublishOptions{})
	cam, _ := reg.Get("cam")
	next := reader(t, cam.Hub())
	next()
	var feedback uint8
	for _, e := range ph.pc.GetSenders()[0].GetParameters().HeaderExtensions {
		if e.URI == uriTransportCC {
			feedback = uint8(e.ID)
		}
	}
	for name, spoil := range map[string]func(*rtp.Header){
		"payload type":     func(h *rtp.Header) { h.PayloadType = 13 },
		"header extension": func(h *rtp.Header) { _ = h.SetExtension(feedback, []byte{1}) },
	} {
		var once sync.Once
		ph.link.set(false, func(h *rtp.Header) bool {
			once.Do(func() { spoil(h) })
			return false
		})
		before := next().PTS
		for next().PTS < before+time.Second {
			continue // the reader has a time limit
		}
		t.Log(name)
	}
}

// TestFlood: a publisher that begins ever more streams is cut off.
func TestFlood(t *testing.T) {
	s, reg, ph := testServer(t), registry(t), newPhone(t)
	p := publish(t, s, reg, ph, PublishOptions{})
	cam, _ := reg.Get("cam")
	reader(t, cam.Hub())()
	n := uint32(1000)
	ph.link.set(false, func(h *rtp.Header) bool {
		n++
		h.SSRC = n
		return false
	})
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
	}
}

// TestNewest: pictures of two layers whose clocks are a little apart come out in
// the order in which they came.
func TestNewest(t *testing.T) {
	var n newest
	for _, x := range []struct{ in, want time.Duration }{
		{time.Second, time.Second}, {time.Second - 8*time.Millisecond, time.Second + time.Millisecond},
		{2 * time.Second, 2 * time.Second}, {0, 0}, // another clock
	} {
		f := &media.Frame{PTS: x.in}
		if n.forward(f); f.PTS != x.want {
			t.Errorf("%v became %v, want %v", x.in, f.PTS, x.want)
		}
	}
}

// TestSimulcast: the largest layer is the camera, the smallest one is there on
// request; when the sender stops the large one, the camera goes on.
func TestSimulcast(t *testing.T) {
	s, reg, ph := testServer(t), registry(t), newPhone(t, "h", "l")
	publish(t, s, reg, ph, PublishOptions{})
	cam, _ := reg.Get("cam")
	next := reader(t, cam.Hub())
	if !next().Key {
		t.Error("no key frame first")
	}
	low := cam.Low()
	if low == nil {
		t.Fatal("there is no low layer")
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan *media.Frame, 100)
	var wg sync.WaitGroup
	wg.Go(func() { _ = low.Run(ctx, channelSink(got)) })
	if f := <-got; !f.Key {
		t.Error("the low layer does not begin with a key frame")
	}
	<-got
	cancel()
	wg.Wait()
	top := ph.layers[0]
	top.mu.Lock()
	top.mute = true
	top.mu.Unlock()
	for before := next().PTS; next().PTS < before+time.Second; {
		continue // the other layer goes on; the reader has a time limit
	}
}

func TestStartRate(t *testing.T) {
	answer := strings.ReplaceAll(`v=0
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10
m=video 9 UDP/TLS/RTP/SAVPF 96 102
a=mid:0
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtpmap:102 H264/90000
a=fmtp:102 packetization-mode=1
a=rtcp-fb:102 nack
a=recvonly
`, "\n", "\r\n")
	if withStartRate(answer, "v=0") != answer {
		t.Error("somebody who is no browser is told")
	}
	got := withStartRate(answer, "a=rtcp-fb:96 goog-remb")
	for line, n := range map[string]int{
		"a=fmtp:111 minptime=10\r\n": 1, "a=fmtp:96 x-google-start-bitrate=2000\r\n": 1,
		"a=fmtp:102 x-google-start-bitrate=2000;packetization-mode=1\r\n": 1, "a=fmtp:": 3, "a=recvonly\r\n": 1,
	} {
		if strings.Count(got, line) != n {
			t.Errorf("%d times %q in\n%s", strings.Count(got, line), line, got)
		}
	}
}

// TestLayers: which of several renderings is handed on.
func TestLayers(t *testing.T) {
	now := time.Unix(100, 0)
	make := func(w, h int, age time.Duration) *layer {
		return &layer{track: media.Track{Width: w, Height: h}, last: now.Add(-age)}
	}
	big, mid, small, unknown := make(1280, 720, 0), make(640, 360, 0), make(320, 180, 0), make(0, 0, 0)
	all := []*layer{small, unknown, big, mid}
	if largest(all, now) != big || smallest(all, now) != small {
		t.Error("largest and smallest")
	}
	big.last, small.last = now.Add(-layerIdle), now.Add(-layerIdle)
	if largest(all, now) != mid || smallest(all, now) != mid {
		t.Error("one that is not sent is none")
	}
	slow := make(640, 360, 0)
	for i := range 5 {
		slow.came(now.Add(time.Duration(i) * time.Second))
	}
	if !slow.flows(now.Add(5*time.Second)) || slow.flows(now.Add(9*time.Second)) {
		t.Errorf("a slow layer with a pause of %v", slow.gap)
	}
	if largest(all, now.Add(time.Hour)) != nil || smallest(nil, now) != nil {
		t.Error("nothing is sent")
	}
}

type channelSink chan *media.Frame

func (channelSink) Start(media.Tracks) {}
func (c channelSink) Write(f *media.Frame) {
	select {
	case c <- f:
	default:
	}
}

func TestBadPublishOffers(t *testing.T) {
	s, reg := testServer(t), registry(t)
	video := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n"
	for _, x := range []struct {
		name, sdp string
		want      error
	}{
		{"empty", "", ErrBadOffer},
		{"recvonly", strings.Replace(video, "sendonly", "recvonly", 1), ErrBadOffer},
		{"no codec", video + "a=rtpmap:96 theora/90000\r\n", ErrNoCodec},
		{"five layers", video + "a=rtpmap:96 VP8/90000\r\na=simulcast:send a;b;c;d;e\r\n", ErrBadOffer},
		{"no fingerprint", video + "a=rtpmap:96 VP8/90000\r\n", ErrBadOffer},
		{"two pictures", video + "a=rtpmap:96 VP8/90000\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\n", ErrBadOffer},
		{"interleaved", video + "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=2\r\n", ErrNoCodec},
	} {
		_, _, err := s.Publish(t.Context(), PublishOptions{Registry: reg, Camera: "cam", Offer: x.sdp})
		if !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
	}
	if _, err := reg.Get("cam"); !errors.Is(err, stream.ErrUnknown) {
		t.Error("a refused offer has made a camera")
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections left behind", n)
	}
}

// TestPull: a camera of one server seen through another one.
func TestPull(t *testing.T) {
	c := newCamera(t, 300, true)
	far, near := testServer(t), testServer(t)
	ended := make(chan struct{})
	p := &Pull{Server: near, URL: &url.URL{Host: "127.0.0.1:8080"}, Exchange: func(ctx context.Context, offer string) (string, func(), error) {
		v, answer, err := far.View(ctx, ViewOptions{Camera: c.Stream, Offer: offer, PageHost: "127.0.0.1:8080"})
		if err != nil {
			return "", nil, err
		}
		return answer, func() { v.Close(); close(ended) }, nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan *media.Frame, 1000)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx, channelSink(got)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	if f := <-got; !f.Key {
		t.Error("no key frame first")
	}
	keys := c.keys.Load()
	p.RequestKey()
	for !(<-got).Key {
	}
	if c.keys.Load() == keys {
		t.Error("the request for a key frame did not get through")
	}
	cancel()
	wg.Wait()
	<-ended
}

// TestPullsBesideOneAnother: several cameras of the same server.
func TestPullsBesideOneAnother(t *testing.T) {
	c := newCamera(t, 300, true)
	far, near := testServer(t), testServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var all []chan *media.Frame
	for range 4 {
		p := &Pull{Server: near, URL: &url.URL{Host: "127.0.0.1:8080"}, Exchange: func(ctx context.Context, offer string) (string, func(), error) {
			v, answer, err := far.View(ctx, ViewOptions{Camera: c.Stream, Offer: offer, PageHost: "127.0.0.1:8080"})
			if err != nil {
				return "", nil, err
			}
			return answer, v.Close, nil
		}}
		got := make(chan *media.Frame, 1000)
		all = append(all, got)
		wg.Go(func() {
			if err := p.Run(ctx, channelSink(got)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for i, got := range all {
		select {
		case <-got:
		case <-time.After(20 * time.Second):
			t.Errorf("connection %d gets nothing", i)
		}
	}
}

func TestReorder(t *testing.T) {
	at := time.Unix(0, 0)
	pkt := func(n int) *rtp.Packet { return &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(n)}} }
	seqs := func(ps []*rtp.Packet) (out []int) {
		for _, p := range ps {
			out = append(out, int(p.SequenceNumber))
		}
		return out
	}
	eq := func(name string, got []int, want ...int) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %v, want %v", name, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
		}
	}
	var r reorder
	eq("first", seqs(r.push(pkt(65534), at)), 65534)
	eq("in order", seqs(r.push(pkt(65535), at)), 65535)
	eq("behind a gap", seqs(r.push(pkt(1), at)))
	if r.due().After(at) {
		t.Error("a gap is asked for at once")
	}
	ask, out := r.tick(at)
	if len(ask) != 1 || ask[0] != 0 || len(out) != 0 {
		t.Fatalf("%v %v", ask, out)
	}
	eq("twice", seqs(r.push(pkt(65535), at)))
	at = at.Add(20 * time.Millisecond)
	eq("came again", seqs(r.push(pkt(0), at)), 0, 1)
	if !r.due().IsZero() {
		t.Errorf("due %v", r.due())
	}
	eq("another gap", seqs(r.push(pkt(4), at)))
	r.tick(at)
	at = r.due()
	if ask, _ := r.tick(at); len(ask) != 2 {
		t.Errorf("asked again for %v", ask)
	}
	at = at.Add(maxPatience)
	_, out = r.tick(at)
	eq("given up", seqs(out), 4)
	eq("too late", seqs(r.push(pkt(3), at)))
	eq("far from all others", seqs(r.push(pkt(20000), at)))
	eq("but alone", seqs(r.push(pkt(5), at)), 5)
	eq("far again", seqs(r.push(pkt(20000), at)))
	eq("a new beginning", seqs(r.push(pkt(20001), at)), 20000, 20001)
	r.rtt = 200 * time.Millisecond
	r.push(pkt(20003), at)
	asked := 0
	for end := at.Add(r.patience() - 1); at.Before(end); at = at.Add(time.Millisecond) {
		ask, _ := r.tick(at)
		asked += len(ask)
	}
	if asked != 3 {
		t.Errorf("on a long link a packet is asked for %d times", asked)
	}
	eq("comes just in time", seqs(r.push(pkt(20002), at)), 20002, 20003)
	if len(r.held) > 0 || len(r.missing) > 0 {
		t.Error("something is left behind")
	}
}

func FuzzReorder(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 9, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reorder
		at := time.Unix(0, 0)
		for ; len(b) > 1; b = b[2:] {
			r.push(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(b[0])<<8 | uint16(b[1])}}, at)
			at = at.Add(time.Duration(b[1]) * time.Millisecond)
			r.tick(at)
			if len(r.held) > 2*maxAbsent || len(r.missing) > 2*maxAbsent {
				t.Fatalf("%d held, %d missing", len(r.held), len(r.missing))
			}
		}
	})
}

func FuzzPublishOffer(f *testing.F) {
	f.Add("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=simulcast:send a;b\r\na=rid:a send\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parsePublishOffer(s)
		if err == nil {
			_, _ = o.ingestEngine()
		}
	})
}

// TestInClock: sender reports bring sound and picture together, without a step
// backwards.
func TestInClock(t *testing.T) {
	now := time.Unix(1000, 0)
	o := origin{start: now}
	wall := time.Unix(5000, 0)
	video, audio := inClock{rate: 90000}, inClock{rate: 48000}
	if video.place(4294967000, now, &o) != 0 {
		t.Error("the first packet is the origin")
	}
	// The sound of the same moment comes 120 ms later.
	if audio.place(7, now.Add(120*time.Millisecond), &o) != 120*time.Millisecond {
		t.Error("without reports the arrival counts")
	}
	video.report(wall, 4294967000, &o)
	audio.report(wall, 7, &o)
	var a, last time.Duration
	for i := 1; i < 500; i++ {
		a = audio.place(uint32(7+960*i), now, &o)
		if a <= last {
			t.Fatalf("backwards at %d: %v after %v", i, a, last)
		}
		last = a
	}
	if want := 499 * 20 * time.Millisecond; a != want {
		t.Errorf("%v, want %v", a, want)
	}
	ts := uint32(4294967000)
	v := video.place(ts+90000, now, &o) // wraps around
	if v != time.Second {
		t.Errorf("%v", v)
	}
	audio.report(wall.Add(time.Hour), 7, &o)
	if audio.debt != 0 {
		t.Error("the sender's clock was set, and the sound goes with it")
	}
	if want := wall.Add(time.Hour).Add(-audio.at(0)); !o.ntp.Equal(want) {
		t.Errorf("the new wall clock: %v, want %v", o.ntp, want)
	}
	if got := fromNTP(ntp(wall)); got.Sub(wall).Abs() > time.Microsecond {
		t.Errorf("%v", got)
	}
}
