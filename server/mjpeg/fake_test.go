package mjpeg

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

// picture makes a JPEG with a number in it and about size bytes.
func picture(n, size int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
		panic(err)
	}
	plain := b.Bytes()
	out := append([]byte{0xff, 0xd8, 0xff, 0xfe, 0, 6}, binary.BigEndian.AppendUint32(nil, uint32(n))...)
	out = append(out, plain[2:len(plain)-2]...)
	if pad := size - len(out) - 2; pad > 0 {
		out = append(out, bytes.Repeat([]byte{0x55}, pad)...)
	}
	return append(out, 0xff, 0xd9)
}

// number reads the number back; -1 if it is no whole picture.
func number(b []byte) int {
	if len(b) < 12 || !bytes.Equal(b[:6], []byte{0xff, 0xd8, 0xff, 0xfe, 0, 6}) || !bytes.HasSuffix(b, []byte{0xff, 0xd9}) {
		return -1
	}
	return int(binary.BigEndian.Uint32(b[6:]))
}

// feed is a camera whose frames the test makes.
type feed struct {
	mu   sync.Mutex
	sink media.Sink
	last *media.Frame
	n    time.Duration
	fail chan error
}

func newFeed() *feed { return &feed{fail: make(chan error, 1)} }

func (f *feed) Run(ctx context.Context, s media.Sink) error {
	s.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	f.mu.Lock()
	f.sink = s
	if f.last != nil {
		s.Write(f.last)
		f.last = nil
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.sink = nil
		f.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-f.fail:
		return err
	}
}

// push sends a picture; before the camera runs it is kept.
func (f *feed) push(b []byte, captured time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += 40 * time.Millisecond
	frame := &media.Frame{PTS: f.n, Captured: captured, Key: true, Units: [][]byte{b}}
	if f.sink == nil {
		f.last = frame
		return
	}
	f.sink.Write(frame)
}

// tap passes the parent's frames on, as the derived stream of a JPEG camera
// does.
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

// lab is a running server with cameras.
type lab struct {
	t      *testing.T
	reg    *stream.Registry
	h      *Handler
	url    string
	addr   string
	stop   func() error
	mu     sync.Mutex
	names  []string // derived streams made
	client *http.Client
}

// newLab starts it; with protos, over TLS and with these protocols.
func newLab(t *testing.T, o Options, protos ...string) *lab {
	t.Helper()
	l := &lab{t: t}
	l.reg = stream.New(stream.Config{Derive: func(p *stream.Stream, name string) (media.Source, error) {
		if strings.HasSuffix(name, "-66") {
			return nil, errors.New("this build cannot make that")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.names = append(l.names, name)
		return tap{p}, nil
	}})
	gate, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: []auth.Permission{auth.View}}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Gate: gate, Rewrite: Rewrite})
	if err != nil {
		t.Fatal(err)
	}
	o.Registry, o.Name = l.reg, func(w, q int) string { return "jpeg-" + strconv.Itoa(w) + "-" + strconv.Itoa(q) }
	l.h = New(o)
	if err := srv.Register(l.h.Routes()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	l.addr, l.url = ln.Addr().String(), "http://"+ln.Addr().String()
	l.client = &http.Client{Transport: tr}
	if len(protos) > 0 {
		// The certificate of httptest.
		ts := httptest.NewTLSServer(nil)
		ts.Close()
		ln = tls.NewListener(ln, &tls.Config{Certificates: ts.TLS.Certificates, NextProtos: protos})
		l.url = "https://" + l.addr
		tr.TLSClientConfig = ts.Client().Transport.(*http.Transport).TLSClientConfig
		tr.ForceAttemptHTTP2 = true
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, ln) }()
	l.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		l.reg.Close()
		tr.CloseIdleConnections()
	})
	return l
}

// camera adds a camera that the test feeds.
func (l *lab) camera(id string) *feed {
	l.t.Helper()
	f := newFeed()
	if _, err := l.reg.Add(id, stream.Options{Type: "test", Source: f}); err != nil {
		l.t.Fatal(err)
	}
	return f
}

func (l *lab) get(path string, header ...string) *http.Response {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := l.client.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// until waits for something that has no channel.
func until(t *testing.T, f func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it never happened")
		}
	}
}
