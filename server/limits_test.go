package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media/stream"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

const patience = 30 * time.Second

func TestTableOfLimits(t *testing.T) {
	r := NewRefusals()
	seen := map[string]bool{}
	for _, l := range Limits() {
		if l.Name == "" || l.Bound == "" || l.Answer == "" || seen[l.Name] {
			t.Errorf("%+v is not complete, or there twice", l)
		}
		seen[l.Name] = true
		r.Count(l.Name)
	}
	r.Count("nothing that is a limit")
	for name, n := range r.Snapshot() {
		if n != 1 || !seen[name] {
			t.Errorf("%s was counted %d times", name, n)
		}
	}
	var none *Refusals
	none.Count(LimitBody)
	if len(none.Snapshot()) != 0 {
		t.Error("a counter that is not there counts")
	}
}

func TestQuota(t *testing.T) {
	q := newQuota(5, 2)
	take := func(s string) *quotaError { return q.take(netip.MustParseAddr(s), "things") }
	for range 2 {
		if err := take("192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("::ffff:192.0.2.1"); err == nil || !err.each || !strings.Contains(err.Error(), "2 things") {
		t.Errorf("a third of one address: %v", err)
	}
	for range 2 {
		if err := take("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("127.0.0.1"); err != nil {
		t.Errorf("this machine counts for itself: %v", err)
	}
	if err := take("192.0.2.9"); err == nil || err.each {
		t.Errorf("a sixth: %v", err)
	}
	q.give(netip.MustParseAddr("192.0.2.1"))
	if err := take("2001:db8::1"); err != nil {
		t.Error(err)
	}
	for range 5 {
		q.give(netip.MustParseAddr("127.0.0.1"))
	}
	// One host has a whole /64.
	if err := take("2001:db8::2"); err != nil {
		t.Error(err)
	}
	if err := take("2001:db8::ffff:3"); err == nil || !err.each {
		t.Errorf("a third of one network: %v", err)
	}
}

// eventually waits for what happens on the other side of a connection.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestConnectionLimit(t *testing.T) {
	refusals := NewRefusals()
	conns := NewConns(2, 0, refusals)
	release := make(chan struct{})
	s := newServer(t, Options{Gate: newGate(t, auth.View), Conns: conns, Refusals: refusals},
		Route{Method: "GET", Path: "/hijacked", Perm: auth.View, Stream: true, Handler: func(c *gin.Context) {
			conn, _, err := c.Writer.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
			<-release
		}})
	url, _ := serve(t, s)
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return c
	}
	quiet, taken := dial(), dial()
	fmt.Fprint(taken, "GET /hijacked HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if line, err := bufio.NewReader(taken).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatal(line, err)
	}
	eventually(t, "two connections are open", func() bool { return conns.Open() == 2 })
	res, err := http.ReadResponse(bufio.NewReader(dial()), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(string(body), `{"error":"2 connections`) {
		t.Errorf("%s %s", res.Status, body)
	}
	if n := refusals.Snapshot()[LimitConns]; n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
	_ = quiet.Close()
	eventually(t, "a closed connection counts no more", func() bool { return conns.Open() == 1 })
	close(release)
	eventually(t, "one that a handler has taken over counts until the handler ends", func() bool { return conns.Open() == 0 })
}

// Over TLS nothing is said, but the bound holds, and HTTP/2 works beneath it.
func TestConnectionLimitTLS(t *testing.T) {
	source := httptest.NewUnstartedServer(nil)
	source.StartTLS()
	defer source.Close()
	conns := NewConns(1, 0, nil)
	s := newServer(t, Options{Gate: newGate(t, auth.View), Conns: conns}, Route{Method: "GET", Path: "/proto", Perm: auth.View, Handler: func(c *gin.Context) {
		c.String(http.StatusOK, c.Request.Proto)
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, tls.NewListener(ln, &tls.Config{Certificates: source.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}))
	}()
	defer func() { cancel(); <-ended }()
	client := source.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + ln.Addr().String() + "/proto")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "HTTP/2.0" || conns.Open() != 1 {
		t.Errorf("%s, %d open", body, conns.Open())
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many is not closed: %d %v", n, err)
	}
	client.CloseIdleConnections()
	eventually(t, "a closed connection counts no more", func() bool { return conns.Open() == 0 })
}

func TestWebSocketLimit(t *testing.T) {
	refusals := NewRefusals()
	entered, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, Options{Gate: newGate(t, auth.View), MaxWebSockets: 1, Refusals: refusals},
		Route{Method: "GET", Path: "/ws", Perm: auth.View, Stream: true, Handler: func(*gin.Context) {
			entered <- struct{}{}
			<-release
		}})
	first := make(chan struct{})
	go func() {
		defer close(first)
		ask(t, s, "GET", "/ws", "Upgrade", "websocket")
	}()
	<-entered
	w := ask(t, s, "GET", "/ws", "Upgrade", "websocket")
	if text, _ := errorOf(t, w); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(text, "1 WebSockets") {
		t.Errorf("%d %s", w.Code, text)
	}
	if n := refusals.Snapshot()[LimitSockets]; n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
	close(release)
	<-first
	if n := s.WebSockets(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	refusals := NewRefusals()
	fail := func(err error) gin.HandlerFunc { return func(c *gin.Context) { Fail(c, err) } }
	over := OverLimit(LimitFrame, http.StatusRequestEntityTooLarge, errors.New("large"))
	s := newServer(t, Options{Gate: newGate(t, auth.View), Refusals: refusals, WHEP: full{}},
		Route{Method: "GET", Path: "/frame", Perm: auth.View, Handler: fail(over)},
		Route{Method: "GET", Path: "/wrapped", Perm: auth.View, Handler: fail(Errorf(http.StatusBadRequest, "no: %w", over))},
		Route{Method: "GET", Path: "/sizes", Perm: auth.View, Handler: fail(fmt.Errorf("camera: %w", stream.ErrTooMany))},
		Route{Method: "GET", Path: "/cameras", Perm: auth.View, Handler: fail(stream.ErrFull)},
		Route{Method: "GET", Path: "/other", Perm: auth.View, Handler: fail(stream.ErrUnknown)},
		Route{Method: "GET", Path: "/fine", Perm: auth.View, Handler: ok},
	)
	for _, path := range []string{"/frame", "/wrapped", "/sizes", "/cameras", "/other", "/fine"} {
		ask(t, s, "GET", path)
	}
	ask(t, s, "POST", "/whep/full")
	ask(t, s, "POST", "/whep/large")
	shut := newServer(t, Options{Refusals: refusals}, Route{Method: "GET", Path: "/fine", Perm: auth.View, Handler: ok})
	for range 12 {
		ask(t, shut, "GET", "/fine", "Authorization", "Bearer wrong")
	}
	got := refusals.Snapshot()
	for limit, want := range map[string]uint64{LimitFrame: 2, LimitSizes: 1, LimitCameras: 1, LimitWebRTC: 1, LimitSDP: 1, LimitBody: 0, LimitSignIn: 2} {
		if got[limit] != want {
			t.Errorf("%s: %d, want %d", limit, got[limit], want)
		}
	}
}

// full is an end of signaling that refuses.
type full struct{ fake }

func (full) Offer(w http.ResponseWriter, _ *http.Request, camera string) {
	status := http.StatusServiceUnavailable
	if camera == "large" {
		status = http.StatusRequestEntityTooLarge
	}
	w.WriteHeader(status)
}

// pipes is a listener whose connections need no network, so that their time is
// the test's.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// slow runs a client against a server in a bubble of time, and returns how long
// its connection lasted.
func slow(t *testing.T, route Route, client func(net.Conn)) (lasted time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		route.Perm = auth.View
		s := newServer(t, Options{Gate: newGate(t, auth.View)}, route)
		ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, ln) }()
		ours, theirs := net.Pipe()
		ln.conns <- theirs
		begin := time.Now()
		client(ours)
		lasted = time.Since(begin)
		_ = ours.Close()
		cancel()
		<-ended
	})
	return lasted
}

// drip sends a byte a second until nobody takes it.
func drip(c net.Conn) {
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func TestSlowHeader(t *testing.T) {
	d := slow(t, Route{Method: "GET", Path: "/", Handler: ok}, func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
		drip(c)
	})
	if d < headerTimeout-time.Second || d > headerTimeout+2*time.Second {
		t.Errorf("a header that drips is waited for %v", d)
	}
}

func TestSlowBody(t *testing.T) {
	read := func(c *gin.Context) {
		if _, err := io.Copy(io.Discard, c.Request.Body); err != nil {
			Fail(c, fmt.Errorf("reading: %w", err))
			if status := c.Writer.Status(); status != http.StatusRequestTimeout {
				t.Errorf("it is answered with %d", status)
			}
		}
	}
	d := slow(t, Route{Method: "POST", Path: "/", Handler: read}, func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
		drip(c)
	})
	if d < bodyTimeout-time.Second || d > bodyTimeout+2*time.Second {
		t.Errorf("a body that drips is waited for %v", d)
	}
}

func TestSlowReader(t *testing.T) {
	write := func(c *gin.Context) { c.String(http.StatusOK, strings.Repeat("x", 1<<20)) }
	d := slow(t, Route{Method: "GET", Path: "/", Handler: write}, func(c net.Conn) {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		b := make([]byte, 1)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	if d < writeTimeout-time.Second || d > writeTimeout+2*time.Second {
		t.Errorf("an answer is pressed upon a slow reader for %v", d)
	}
}

func TestIdleConnection(t *testing.T) {
	d := slow(t, Route{Method: "GET", Path: "/", Handler: ok}, func(c net.Conn) {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	if d < idleTimeout-time.Second || d > idleTimeout+2*time.Second {
		t.Errorf("a quiet connection is kept for %v", d)
	}
}

// A body that is cut off is its sender's fault, not the server's.
func TestBodyIsCutOff(t *testing.T) {
	status := make(chan int, 1)
	url, _ := serve(t, newServer(t, Options{Gate: newGate(t, auth.View)}, Route{Method: "POST", Path: "/in", Perm: auth.View, Handler: func(c *gin.Context) {
		_, err := io.ReadAll(c.Request.Body)
		if err == nil {
			t.Error("no error")
		}
		Fail(c, err)
		status <- c.Writer.Status()
	}}))
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "POST /in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
	_ = c.Close()
	select {
	case got := <-status:
		if got != http.StatusBadRequest {
			t.Errorf("it is answered with %d", got)
		}
	case <-time.After(patience):
		t.Error("it is not answered")
	}
}
