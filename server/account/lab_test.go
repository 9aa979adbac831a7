package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/api"
	"camwire/server/auth"
	"camwire/server/mjpeg"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const adminToken = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

// patience is how long a test waits for what has no channel.
const patience = 20 * time.Second

// lab is a running server with the cameras door, hall and mobile_1, each of
// which sends pictures.
type lab struct {
	*testing.T
	gate   *auth.Gate
	dir    string // of the data
	url    string
	client *http.Client
	// left gets a word when a handler of the sockets has returned.
	left chan string
}

func newLab(t *testing.T, anonymous ...auth.Permission) *lab {
	t.Helper()
	l := &lab{T: t, dir: t.TempDir(), left: make(chan string, 4)}
	var err error
	l.gate, err = auth.New(auth.Options{Token: adminToken, Dir: l.dir, Policy: auth.Policy{Anonymous: anonymous}})
	if err != nil {
		t.Fatal(err)
	}
	reg := stream.New(stream.Config{Derive: func(p *stream.Stream, _ string) (media.Source, error) { return tap{p}, nil }})
	for _, id := range []string{"door", "hall", "mobile_1"} {
		if _, err := reg.Add(id, stream.Options{Type: "test", Source: camera{}}); err != nil {
			t.Fatal(err)
		}
	}
	srv, err := server.New(server.Options{Gate: l.gate})
	if err != nil {
		t.Fatal(err)
	}
	pictures := mjpeg.New(mjpeg.Options{Registry: reg, Name: func(w, q int) string { return "jpeg-" + strconv.Itoa(w) + "-" + strconv.Itoa(q) }})
	err = errors.Join(
		srv.Register(Routes(Options{Gate: l.gate})),
		srv.Register(api.Routes(api.Options{Registry: reg})),
		srv.Register(pictures.Routes()),
		srv.Register(l.sockets()),
	)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	l.url, l.client = "http://"+ln.Addr().String(), &http.Client{Transport: tr}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Run(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { _ = l.gate.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); reg.Close(); tr.CloseIdleConnections() })
	return l
}

// sockets are two WebSockets: one ends with its request's context, the other
// looks at nothing but its connection.
func (l *lab) sockets() []server.Route {
	serve := func(wait func(context.Context, *websocket.Conn)) gin.HandlerFunc {
		return func(c *gin.Context) {
			conn, err := websocket.Accept(c.Writer, c.Request, nil)
			if err != nil {
				return
			}
			defer func() { _ = conn.CloseNow() }()
			wait(c.Request.Context(), conn)
			l.left <- c.FullPath()
		}
	}
	return []server.Route{
		{Method: http.MethodGet, Path: "/attentive/:id", Perm: auth.View, Stream: true, Handler: serve(func(ctx context.Context, _ *websocket.Conn) {
			<-ctx.Done()
		})},
		{Method: http.MethodGet, Path: "/deaf/:id", Perm: auth.Control, Handler: serve(func(ctx context.Context, conn *websocket.Conn) {
			_, _, _ = conn.Read(context.WithoutCancel(ctx))
		})},
	}
}

// camera sends a picture every 20 ms.
type camera struct{}

func (camera) Run(ctx context.Context, s media.Sink) error {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
		return err
	}
	s.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for pts := time.Duration(0); ; pts += 20 * time.Millisecond {
		s.Write(&media.Frame{PTS: pts, Captured: time.Now(), Key: true, Units: [][]byte{b.Bytes()}})
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// tap is the derived stream of a camera that sends JPEG.
type tap struct{ parent *stream.Stream }

func (t tap) Run(ctx context.Context, s media.Sink) error {
	l, err := t.parent.LeaseInternal()
	if err != nil {
		return err
	}
	defer l.Release()
	s.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	cur := l.Hub().NewCursor(hub.CursorOptions{Newest: true})
	for {
		f, err := cur.Next(ctx)
		if err != nil {
			return err
		}
		s.Write(&media.Frame{PTS: f.PTS, Captured: f.Captured, Key: true, Units: f.Units})
	}
}

// as are credentials: a header.
type as []string

func bearer(token string) as { return as{"Authorization", "Bearer " + token} }

var admin = bearer(adminToken)

func (l *lab) request(method, path, body string, header as) *http.Response {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		l.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := l.client.Do(r)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (l *lab) do(method, path, body string, header as) (*http.Response, string) {
	l.Helper()
	resp := l.request(method, path, body, header)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Fatal(err)
	}
	return resp, string(b)
}

// want is do for an answer of a status, with the JSON in it.
func (l *lab) want(status int, method, path, body string, header as) map[string]any {
	l.Helper()
	resp, text := l.do(method, path, body, header)
	if resp.StatusCode != status {
		l.Fatalf("%s %s %s: %s %s", method, path, body, resp.Status, text)
	}
	var m map[string]any
	if text != "" && text[0] == '{' {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			l.Fatalf("%s: %v", text, err)
		}
	}
	return m
}

func (l *lab) issue(g auth.Grant) (secret, id string) {
	l.Helper()
	secret, id, _, err := l.gate.Issue("lab", g, 0)
	if err != nil {
		l.Fatal(err)
	}
	return secret, id
}

// within waits for a function to return.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: nothing happened for %v", what, patience)
	}
}

// show writes values with a space between them.
func show(v ...any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }
