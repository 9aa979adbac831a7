package socket

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs do for a client's connection, and returns the client and a
// channel that is closed when do and Close have returned.
func serve(t *testing.T, o Options, do func(*Conn)) (*websocket.Conn, <-chan struct{}) {
	t.Helper()
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		c, err := Accept(w, r, o)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		do(c)
	}))
	t.Cleanup(s.Close)
	c, _, err := websocket.Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow(); <-done })
	return c, done
}

// read reads until the connection ends, as a server has to.
func read(c *Conn) {
	for {
		_, r, err := c.Reader(context.WithoutCancel(c.Context()))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			return
		}
	}
}

func TestComplainAndEnd(t *testing.T) {
	c, _ := serve(t, Options{}, func(c *Conn) {
		if err := c.Complain(`no "picture"`); err != nil {
			t.Error(err)
		}
		c.End(websocket.StatusPolicyViolation, strings.Repeat("ö", 100))
		c.End(websocket.StatusNormalClosure, "too late")
		if err := c.Send(websocket.MessageText, nil, time.Minute); err == nil {
			t.Error("sent after the end")
		}
	})
	typ, b, err := c.Read(t.Context())
	if err != nil || typ != websocket.MessageText || string(b) != `{"type":"error","message":"no \"picture\""}` {
		t.Fatalf("%v %s %v", typ, b, err)
	}
	_, _, err = c.Read(t.Context())
	var end websocket.CloseError
	if !errors.As(err, &end) || end.Code != websocket.StatusPolicyViolation || end.Reason != strings.Repeat("ö", 61) {
		t.Errorf("%v", err)
	}
}

func TestStopSaysGoodbye(t *testing.T) {
	stop, cancel := context.WithCancel(t.Context())
	c, _ := serve(t, Options{Stop: stop}, read)
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("%v", err)
	}
}

// A peer that reads nothing and answers nothing must not hold up the end, nor
// must TLS with a goodbye of its own.
func TestEndOfADeafPeer(t *testing.T) {
	for name, start := range map[string]func(http.Handler) *httptest.Server{
		"plain": httptest.NewServer, "TLS": httptest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			s := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				c, err := Accept(w, r, Options{})
				if err != nil {
					t.Error(err)
					return
				}
				c.Fit(1)
				stuck := make(chan struct{})
				go func() {
					defer close(stuck)
					for c.Send(websocket.MessageBinary, make([]byte, 8<<20), time.Hour) == nil {
					}
				}()
				c.Close()
				<-stuck
			}))
			defer s.Close()
			c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client()})
			if err != nil {
				t.Fatal(err)
			}
			<-done
			_ = c.CloseNow()
		})
	}
}

func TestPingFindsNobody(t *testing.T) {
	// The client reads nothing, so it answers no ping.
	_, done := serve(t, Options{pingInterval: time.Millisecond, pongTimeout: 10 * time.Millisecond}, read)
	<-done
}

// pinged starts a server that reads one message, and a client that has had some
// pings by then and answered them or not. It returns what the server has read
// and how the connection ended.
func pinged(t *testing.T, o Options, answer bool) (string, error) {
	t.Helper()
	pings := make(chan struct{}, 100)
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, o)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, b, err := c.Read(context.WithoutCancel(r.Context()))
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}))
	defer s.Close()
	c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case pings <- struct{}{}:
			default:
			}
			return answer
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		ended <- err
	}()
	for range 2 {
		<-pings
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
		t.Error(err)
	}
	return <-got, <-ended
}

func TestPing(t *testing.T) {
	for name, tt := range map[string]struct {
		o      Options
		answer bool
	}{
		"answered": {Options{pingInterval: time.Millisecond, pongTimeout: time.Hour}, true},
		// One that need not answer outlives pings that it does not.
		"deaf": {Options{Deaf: true, pingInterval: time.Millisecond, pongTimeout: 200 * time.Millisecond}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pinged(t, tt.o, tt.answer)
			if got != "still here" || websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Errorf("%q %v", got, err)
			}
		})
	}
}

func TestTooLargeAMessage(t *testing.T) {
	c, _ := serve(t, Options{MaxMessage: 100}, read)
	if err := c.Write(t.Context(), websocket.MessageText, make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("%v", err)
	}
}

func TestAcceptRefuses(t *testing.T) {
	w := httptest.NewRecorder()
	if _, err := Accept(w, httptest.NewRequest(http.MethodGet, "/", nil), Options{}); err == nil || w.Code != http.StatusUpgradeRequired {
		t.Errorf("%d %v", w.Code, err)
	}
}
