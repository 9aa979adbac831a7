package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

func newGate(t *testing.T, anonymous ...auth.Permission) *auth.Gate {
	t.Helper()
	g, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: anonymous}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newServer(t *testing.T, o Options, routes ...Route) *Server {
	t.Helper()
	if o.Gate == nil {
		o.Gate = newGate(t)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register(routes); err != nil {
		t.Fatal(err)
	}
	return s
}

// serve runs a server on a socket; stop may be called early.
func serve(t *testing.T, s *Server) (url string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return "http://" + ln.Addr().String(), stop
}

func ask(t *testing.T, s *Server, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://localhost"+target, nil)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func errorOf(t *testing.T, w *httptest.ResponseRecorder) (text, device string) {
	t.Helper()
	var e struct {
		Error    string `json:"error"`
		DeviceID string `json:"device_id"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" {
		t.Fatalf("%d: no error in %q", w.Code, w.Body)
	}
	return e.Error, e.DeviceID
}

func ok(c *gin.Context) { c.String(http.StatusOK, "ok %s", Camera(c)) }

func TestRegisterRefusesARouteWithoutPermission(t *testing.T) {
	s := newServer(t, Options{})
	for _, r := range []Route{
		{Method: "GET", Path: "/x", Handler: ok},
		{Method: "GET", Path: "/x", Handler: ok, Perm: "look"},
		{Method: "GET", Path: "/x", Perm: auth.View},
		{Method: "GET", Path: "x", Handler: ok, Perm: auth.View},
	} {
		if err := s.Register([]Route{r}); err == nil || !strings.Contains(err.Error(), r.Path) {
			t.Errorf("%+v: error %v", r, err)
		}
	}
	good := []Route{{Method: "GET", Path: "/x", Handler: ok, Perm: auth.View}}
	if err := s.Register(good); err != nil {
		t.Error(err)
	}
	if err := s.Register(good); err == nil {
		t.Error("the same route twice")
	}
}

func TestNoRouteBesideRegister(t *testing.T) {
	s := newServer(t, Options{WHEP: fake{}, WHIP: fake{}, Signal: fake{}}, Route{Method: "GET", Path: "/x/:id", Handler: ok, Perm: auth.Playback})
	if err := s.findUndeclared(); err != nil {
		t.Error(err)
	}
	for _, r := range s.engine.Routes() {
		w := ask(t, s, r.Method, strings.NewReplacer(":id", "door", ":session", "1").Replace(r.Path))
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s lets in a stranger: %d", r.Method, r.Path, w.Code)
		}
	}
	s.engine.GET("/back/door", ok)
	if err := s.findUndeclared(); err == nil || !strings.Contains(err.Error(), "/back/door") {
		t.Errorf("a route beside Register: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), ln); err == nil {
		t.Error("it runs with such a route")
	}
}

type fake struct{}

func note(w http.ResponseWriter, what ...string) { fmt.Fprint(w, strings.Join(what, " ")) }

func (fake) Offer(w http.ResponseWriter, _ *http.Request, camera string) { note(w, "offer", camera) }
func (fake) Patch(w http.ResponseWriter, _ *http.Request, camera, session string) {
	note(w, "patch", camera, session)
}
func (fake) Delete(w http.ResponseWriter, _ *http.Request, camera, session string) {
	note(w, "delete", camera, session)
}
func (fake) Session(w http.ResponseWriter, _ *http.Request) { note(w, "session", "") }
func (fake) Options(w http.ResponseWriter, _ *http.Request, camera string) {
	note(w, "options", camera)
}
func (fake) Serve(w http.ResponseWriter, _ *http.Request, camera string) { note(w, "ws", camera) }

func TestSignaling(t *testing.T) {
	s := newServer(t, Options{Gate: newGate(t, auth.View), WHEP: fake{}, WHIP: fake{}, Signal: fake{}})
	for _, tt := range []struct{ method, path, want string }{
		{"POST", "/whep/door", "offer door"},
		{"POST", "/door/whep", "offer door"},
		{"OPTIONS", "/whep/door", "options door"},
		{"OPTIONS", "/door/whep", "options door"},
		{"PATCH", "/whep/door/s1", "patch door s1"},
		{"PATCH", "/door/whep/s1", "patch door s1"},
		{"DELETE", "/whep/door/s1", "delete door s1"},
		{"DELETE", "/door/whep/s1", "delete door s1"},
		{"GET", "/api/signal/door", "ws door"},
	} {
		if w := ask(t, s, tt.method, tt.path); w.Code != 200 || w.Body.String() != tt.want {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/whep/door", "/door/whep"} {
		w := ask(t, s, "GET", path)
		if w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), "POST") {
			t.Errorf("GET %s: %d, Allow %q", path, w.Code, w.Header().Get("Allow"))
		}
		errorOf(t, w)
	}
	// A page of another site gets no offer answered and no WebSocket.
	if w := ask(t, s, "POST", "/whep/door", "Origin", "http://evil.example"); w.Code != http.StatusForbidden {
		t.Errorf("foreign offer: %d", w.Code)
	}
	if w := ask(t, s, "GET", "/api/signal/door", "Origin", "http://evil.example", "Upgrade", "websocket"); w.Code != http.StatusForbidden {
		t.Errorf("foreign WebSocket: %d", w.Code)
	}
	if w := ask(t, s, "GET", "/api/signal/door", "Origin", "http://localhost", "Upgrade", "websocket"); w.Code != 200 {
		t.Errorf("own WebSocket: %d", w.Code)
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"/a/:id", "/a/b", true}, {"/a/:id", "/a/", false}, {"/a/:id", "/a", false}, {"/a/:id", "/a/b/c", false},
		{"/:id/whep", "/x/whep", true}, {"/:id/whep", "/x/whip", false}, {"/", "/", true}, {"/", "/a", false},
		{"/f/*path", "/f/a/b", true}, {"/f/*path", "/f/", true}, {"/f/*path", "/g/a", false},
	} {
		if got := matches(tt.pattern, tt.path); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.pattern, tt.path, got)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"/whep/door", "/door/whep", "/api/whep", "/api/signal/whep/x", "//", "", "/api/camera/list/whep", "/%2f/whep"} {
		f.Add("GET", p)
		f.Add("DELETE", p)
	}
	gate, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: []auth.Permission{auth.Admin}}})
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(Options{Gate: gate, WHEP: fake{}, WHIP: fake{}, Signal: fake{}})
	if err != nil {
		f.Fatal(err)
	}
	err = s.Register([]Route{
		{Method: "GET", Path: "/api/camera/list", Perm: auth.View, Handler: ok},
		{Method: "GET", Path: "/api/camera/snapshot/:id", Perm: auth.View, Handler: ok},
		{Method: "DELETE", Path: "/api/camera/:id", Perm: auth.Admin, Handler: ok},
		{Method: "DELETE", Path: "/api/camera/camera/:id", Perm: auth.Admin, Handler: ok},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Method, r.URL.Path = method, path
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%q %q: %d", method, path, w.Code)
		}
	})
}

func TestGuard(t *testing.T) {
	s := newServer(t, Options{Gate: newGate(t, auth.View)},
		Route{Method: "GET", Path: "/see/:id", Perm: auth.View, Handler: ok},
		Route{Method: "DELETE", Path: "/see/:id", Perm: auth.Admin, Handler: ok},
		Route{Method: "GET", Path: "/pick", Perm: auth.View, Handler: ok, Camera: func(c *gin.Context) string { return c.Query("cam") }},
	)
	bearer := []string{"Authorization", "Bearer " + token}
	for _, tt := range []struct {
		method, path string
		header       []string
		status       int
	}{
		{"GET", "/see/door", nil, 200},
		{"HEAD", "/see/door", nil, 200},
		{"GET", "/pick?cam=door", nil, 200},
		{"DELETE", "/see/door", nil, 401},
		{"DELETE", "/see/door", bearer, 200},
		{"DELETE", "/see/door?token=" + token, nil, 200},
		{"DELETE", "/see/door?token=wrong", nil, 401},
		{"GET", "/see/door", []string{"Host", "evil.example"}, 421},
		{"GET", "/nowhere", []string{"Host", "evil.example"}, 421},
	} {
		w := ask(t, s, tt.method, tt.path, tt.header...)
		if w.Code != tt.status {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, w.Code, w.Body)
		}
		if tt.status == 200 && w.Body.String() != "ok door" {
			t.Errorf("%s %s: %q", tt.method, tt.path, w.Body)
		}
		if h := w.Header(); h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: header %v", tt.method, tt.path, h)
		}
		if tt.status == 401 {
			if got := w.Header().Get("WWW-Authenticate"); got != `Bearer, Basic realm="camwire"` {
				t.Errorf("WWW-Authenticate %q", got)
			}
			if text, id := errorOf(t, w); id != "door" || strings.Contains(text, token) {
				t.Errorf("%q about %q", text, id)
			}
		}
	}
	w := ask(t, s, "DELETE", "/see/door", "Sec-Fetch-Mode", "cors")
	if got := w.Header().Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("to a page: WWW-Authenticate %q", got)
	}
	for range 20 {
		w = ask(t, s, "DELETE", "/see/door?token=wrong")
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("after many failures: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}

func TestStatusOf(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
	}{
		{stream.ErrBadID, 400}, {stream.ErrUnknown, 404}, {stream.ErrClosed, 404}, {hub.ErrClosed, 404},
		{stream.ErrExists, 409}, {stream.ErrPublished, 409}, {stream.ErrNotPushable, 409}, {stream.ErrDisabled, 409},
		{stream.ErrTooMany, 503}, {stream.ErrFull, 503},
		{auth.ErrUnauthorized, 401}, {auth.ErrForbidden, 403}, {auth.ErrOrigin, 403}, {auth.ErrHost, 421},
		{&auth.TooManyError{RetryAfter: time.Second}, 429}, {&http.MaxBytesError{Limit: 1}, 413},
		{context.DeadlineExceeded, 504}, {context.Canceled, statusClientGone},
		{Errorf(418, "teapot"), 418}, {errors.New("secret detail"), 500},
	} {
		status, words := StatusOf(fmt.Errorf("camera %q: %w", "door", tt.err))
		if status != tt.status || words == "" || strings.Contains(words, "secret") {
			t.Errorf("%v: %d %q, want %d", tt.err, status, words, tt.status)
		}
	}
}

func TestPanicCostsOneRequest(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, Options{Gate: newGate(t, auth.View), Log: slog.New(slog.NewTextHandler(&log, nil))},
		Route{Method: "GET", Path: "/panic/:id", Perm: auth.View, Handler: func(*gin.Context) { panic("boom") }},
		Route{Method: "GET", Path: "/fail/:id", Perm: auth.View, Handler: func(c *gin.Context) { Fail(c, errors.New("disk on fire")) }},
	)
	for path, detail := range map[string]string{"/panic/door": "boom", "/fail/door?token=abc": "disk on fire"} {
		log.Reset()
		w := ask(t, s, "GET", path)
		text, _ := errorOf(t, w)
		if w.Code != 500 || strings.Contains(text, detail) {
			t.Errorf("%s: %d %q", path, w.Code, text)
		}
		if !strings.Contains(log.String(), detail) || strings.Contains(log.String(), "abc") {
			t.Errorf("log %q", log.String())
		}
	}
}

func TestUnknownAddresses(t *testing.T) {
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "app") })
	s := newServer(t, Options{App: app})
	for _, tt := range []struct {
		method, path string
		status       int
	}{{"GET", "/", 200}, {"GET", "/camera/door", 200}, {"GET", "/api/nothing", 404}, {"GET", "/api", 404}, {"POST", "/camera/door", 404}} {
		w := ask(t, s, tt.method, tt.path)
		if w.Code != tt.status {
			t.Errorf("%s %s: %d", tt.method, tt.path, w.Code)
		}
		if tt.status == 404 {
			errorOf(t, w)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	s := newServer(t, Options{Gate: newGate(t, auth.View)}, Route{Method: "POST", Path: "/in", Perm: auth.View, MaxBody: 10, Handler: func(c *gin.Context) {
		if _, err := io.ReadAll(c.Request.Body); err != nil {
			Fail(c, err)
			return
		}
		c.Status(http.StatusNoContent)
	}})
	url, _ := serve(t, s)
	for size, status := range map[int]int{10: 204, 11: 413, 1 << 20: 413} {
		resp, err := http.Post(url+"/in", "text/plain", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%d bytes: %s", size, resp.Status)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestLongHeaderIsRefused(t *testing.T) {
	url, _ := serve(t, newServer(t, Options{}))
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.Status)
	}
}

// A stop ends endless answers, waits for hijacked ones, and does not wait for
// those that do not end.
func TestStop(t *testing.T) {
	started := make(chan struct{}, 3)
	finish := make(chan struct{})
	routes := []Route{
		{Method: "GET", Path: "/endless", Perm: auth.View, Stream: true, Handler: func(c *gin.Context) {
			c.Writer.Flush()
			started <- struct{}{}
			<-c.Request.Context().Done()
		}},
		{Method: "GET", Path: "/hijacked", Perm: auth.View, Stream: true, Handler: func(c *gin.Context) {
			conn, _, err := c.Writer.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
			started <- struct{}{}
			<-c.Request.Context().Done()
		}},
		{Method: "GET", Path: "/stubborn", Perm: auth.View, Stream: true, Handler: func(c *gin.Context) {
			c.Writer.Flush()
			started <- struct{}{}
			<-finish
		}},
	}
	serveFor := func(drain time.Duration) (string, func() error) {
		return serve(t, newServer(t, Options{Gate: newGate(t, auth.View), Drain: drain}, routes...))
	}
	get := func(url string) {
		resp, err := http.Get(url)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { resp.Body.Close() })
		<-started
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	url, stop := serveFor(patience)
	get(url + "/endless")
	get(url + "/hijacked")
	if err := stop(); err != nil {
		t.Error(err)
	}
	url, stop = serveFor(200 * time.Millisecond)
	get(url + "/stubborn")
	if err := stop(); err == nil {
		t.Error("nothing said about a request that does not end")
	}
	close(finish)
}

func TestListenerFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := newServer(t, Options{}).Run(t.Context(), ln); err == nil {
		t.Error("no error")
	}
}

func TestConn(t *testing.T) {
	got := make(chan net.Conn, 1)
	s := newServer(t, Options{Gate: newGate(t, auth.View)}, Route{Method: "GET", Path: "/", Perm: auth.View, Handler: func(c *gin.Context) {
		got <- Conn(c.Request.Context())
	}})
	url, _ := serve(t, s)
	resp, err := http.Get(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, ok := (<-got).(*net.TCPConn); !ok {
		t.Error("not the connection")
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
