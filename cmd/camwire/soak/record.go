package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"
)

// exchange is what a real client has sent on one connection, in its pieces, or
// in its datagrams.
type exchange struct {
	name   string
	port   int
	udp    bool
	pieces [][]byte
}

type tape []exchange

func (t tape) size() (n int) {
	for _, e := range t {
		for _, p := range e.pieces {
			n += len(p)
		}
	}
	return n
}

// maxPieces bounds what is kept of one connection.
const maxPieces = 64

// tap is a connection that remembers what is written.
type tap struct {
	net.Conn
	mu sync.Mutex
	e  *exchange
}

func (t *tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	if len(t.e.pieces) < maxPieces {
		t.e.pieces = append(t.e.pieces, append([]byte(nil), b...))
	}
	t.mu.Unlock()
	return t.Conn.Write(b)
}

// recorder collects exchanges.
type recorder struct {
	s  *server
	mu sync.Mutex
	t  []*exchange
}

// dialer returns a dial function whose connections are recorded.
func (r *recorder) dialer(name string, port int) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address(port))
		if err != nil {
			return nil, err
		}
		e := &exchange{name: name, port: port}
		r.mu.Lock()
		r.t = append(r.t, e)
		r.mu.Unlock()
		return &tap{Conn: c, e: e}, nil
	}
}

// record lets real clients of every kind do what they do, and keeps what they
// sent.
func record(ctx context.Context, s *server) (tape, error) {
	r := &recorder{s: s}
	err := errors.Join(
		named("HTTP", r.requests(ctx, "http", s.ports.http)), named("HTTPS", r.requests(ctx, "https", s.ports.https)),
		named("WebSocket", r.sockets(ctx)), named("RTSP", r.rtsp()), named("WebRTC", r.webrtc(ctx)),
	)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out tape
	for _, e := range r.t {
		if len(e.pieces) > 0 {
			out = append(out, *e)
		}
	}
	return out, nil
}

func named(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (r *recorder) requests(ctx context.Context, scheme string, port int) error {
	t := &http.Transport{
		DialContext: r.dialer(scheme, port), DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it is ours
	}
	defer t.CloseIdleConnections()
	for _, q := range []struct{ method, path, kind, body string }{
		{"GET", "/", "", ""}, {"GET", "/api/camera/list", "", ""}, {"GET", "/api/camera/snapshot/spare", "", ""},
		{"OPTIONS", "/whep/spare", "", ""}, {"POST", "/whep/spare", "application/sdp", "v=0\r\n"},
		{"PATCH", "/whep/spare/0", "application/trickle-ice-sdpfrag", "a=mid:0\r\n"},
		{"POST", "/api/session", "application/json", `{"token":"x"}`}, {"POST", "/api/cameras", "application/json", `{"id":"made","source":"exec:true"}`},
		{"GET", "/api/openapi.json", "", ""}, {"GET", "/metrics", "", ""},
	} {
		ctx, cancel := context.WithTimeout(ctx, patience)
		req, err := http.NewRequestWithContext(ctx, q.method, fmt.Sprintf("%s://%s%s", scheme, address(port), q.path), strings.NewReader(q.body))
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+r.s.token)
			req.Header.Set("Content-Type", q.kind)
			var res *http.Response
			if res, err = t.RoundTrip(req); err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		}
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recorder) sockets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, q := range []struct {
		port    int
		path    string
		kind    websocket.MessageType
		message []byte
	}{
		{r.s.ports.http, "/api/signal/spare", websocket.MessageText, []byte(`{"type":"ping","t":1}`)},
		{r.s.ports.http, "/api/camera/ws/spare", websocket.MessageText, []byte("hello")},
		{r.s.ports.http, "/api/camera/stream/uploaded", websocket.MessageBinary, picture(64, 64)},
		{r.s.ports.websocket, "/spare", websocket.MessageText, []byte("hello")},
	} {
		o := r.s.dialOptions()
		t := &http.Transport{DialContext: r.dialer("websocket", q.port)}
		o.HTTPClient = &http.Client{Transport: t}
		ws, _, err := websocket.Dial(ctx, "ws://"+address(q.port)+q.path, o)
		if err != nil {
			return err
		}
		if err := ws.Write(ctx, q.kind, q.message); err != nil {
			return err
		}
		_ = ws.Close(websocket.StatusNormalClosure, "")
	}
	return nil
}

func (r *recorder) rtsp() error {
	u, err := base.ParseURL(r.s.rtspURL("spare"))
	if err != nil {
		return err
	}
	tcp := gortsplib.TransportTCP
	c := gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Transport: &tcp, DialContext: r.dialer("rtsp", r.s.ports.rtsp)}
	if err := c.Start2(); err != nil {
		return err
	}
	defer c.Close()
	desc, _, err := c.Describe(u)
	if err != nil {
		return err
	}
	if err := c.SetupAll(desc.BaseURL, desc.Medias); err != nil {
		return err
	}
	_, err = c.Play(nil)
	return err
}

// webrtc watches by a relay that keeps the datagrams of the viewer: STUN, DTLS,
// SRTCP.
func (r *recorder) webrtc(ctx context.Context) error {
	relay, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	up, err := (&net.Dialer{}).DialContext(ctx, "udp", address(r.s.ports.webrtc))
	if err != nil {
		return errors.Join(err, relay.Close())
	}
	e := &exchange{name: "webrtc", port: r.s.ports.webrtc, udp: true}
	var wg sync.WaitGroup
	from := make(chan net.Addr, 1)
	wg.Go(func() { e.keep(relay, up, from) })
	wg.Go(func() { giveBack(relay, up, from) })
	defer func() {
		_, _ = relay.Close(), up.Close()
		wg.Wait()
		r.t = append(r.t, e, &exchange{name: "webrtc over TCP", port: e.port, pieces: framed(e.pieces)})
	}()
	pc, offer, err := peer(false)
	if err != nil {
		return err
	}
	defer pc.Close()
	status, answer, err := r.s.do(ctx, http.MethodPost, "/whep/spare", "application/sdp", []byte(offer))
	if err != nil || status != http.StatusCreated {
		return fmt.Errorf("%d %s %w", status, answer, err)
	}
	connected := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		if st == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	port := relay.LocalAddr().(*net.UDPAddr).Port
	sdp := strings.ReplaceAll(string(answer), fmt.Sprintf(" %d typ host", r.s.ports.webrtc), fmt.Sprintf(" %d typ host", port))
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		return err
	}
	select {
	case <-connected:
	case <-time.After(patience):
		return errors.New("the viewer does not connect")
	}
	wait(ctx, 500*time.Millisecond) // some reports
	return nil
}

// keep passes datagrams on to the server, and remembers them.
func (e *exchange) keep(relay *net.UDPConn, up net.Conn, from chan<- net.Addr) {
	b := make([]byte, 2048)
	told := false
	for {
		n, a, err := relay.ReadFrom(b)
		if err != nil {
			return
		}
		if !told {
			from <- a
			told = true
		}
		if len(e.pieces) < maxPieces {
			e.pieces = append(e.pieces, append([]byte(nil), b[:n]...))
		}
		_, _ = up.Write(b[:n])
	}
}

// giveBack passes the server's on to the viewer.
func giveBack(relay *net.UDPConn, up net.Conn, from <-chan net.Addr) {
	b := make([]byte, 2048)
	var to net.Addr
	for {
		n, err := up.Read(b)
		if err != nil {
			return
		}
		if to == nil {
			to = <-from
		}
		_, _ = relay.WriteTo(b[:n], to)
	}
}

// framed is how datagrams go over TCP (RFC 4571).
func framed(in [][]byte) [][]byte {
	out := make([][]byte, len(in))
	for i, p := range in {
		out[i] = append([]byte{byte(len(p) >> 8), byte(len(p))}, p...)
	}
	return out
}

// replay sends a copy of an exchange that is broken in some places.
func (s *server) replay(ctx context.Context, r *rand.Rand, t tape) error {
	e := t[r.IntN(len(t))]
	return s.throw(ctx, r, e, func(b []byte) []byte {
		if r.IntN(3) > 0 {
			b = mutate(r, b)
		}
		return b
	})
}

// noise sends bytes without any sense to one of the ports.
func (s *server) noise(ctx context.Context, r *rand.Rand) error {
	all := []int{s.ports.http, s.ports.https, s.ports.rtsp, s.ports.webrtc, s.ports.websocket, s.ports.webrtc}
	i := r.IntN(len(all))
	e := exchange{port: all[i], udp: i == len(all)-1}
	for range 1 + r.IntN(4) {
		b := make([]byte, 1<<r.IntN(15))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		e.pieces = append(e.pieces, b)
	}
	return s.throw(ctx, r, e, func(b []byte) []byte { return b })
}

// throw sends an exchange, and reads what comes for a moment.
func (s *server) throw(ctx context.Context, r *rand.Rand, e exchange, change func([]byte) []byte) error {
	network := "tcp"
	if e.udp {
		network = "udp"
	}
	c, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, network, address(e.port))
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	for _, p := range e.pieces {
		p = change(p)
		if e.udp {
			p = p[:min(len(p), 60000)]
		}
		if _, err := c.Write(p); err != nil {
			break // the server hangs up on nonsense
		}
	}
	if !e.udp && r.IntN(2) == 0 {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<20))
	}
	return nil
}

// mutate breaks bytes: some are changed, some are missing, some come twice.
func mutate(r *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	b = append([]byte(nil), b...)
	for range 1 + r.IntN(8) {
		if len(b) == 0 {
			break
		}
		i := r.IntN(len(b))
		switch r.IntN(5) {
		case 0:
			b[i] ^= 1 << r.IntN(8)
		case 1:
			b[i] = byte(r.Uint32())
		case 2:
			b = append(b[:i], b[min(len(b), i+1+r.IntN(16)):]...)
		case 3:
			j := min(len(b), i+1+r.IntN(64))
			b = append(b[:j:j], b[i:]...)
		default:
			b = b[:i]
		}
	}
	return b
}
