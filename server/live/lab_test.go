package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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
	"camwire/server/auth"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

// shot makes a JPEG with a number in it and about size bytes.
func shot(n, size int) []byte {
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

// broken is a camera that never works.
type broken struct{}

func (broken) Run(context.Context, media.Sink) error { return errors.New("connection refused") }

// lab is a running server and a listener with cameras.
type lab struct {
	*testing.T
	reg  *stream.Registry
	gate *auth.Gate
	h    *Handler
	url  string // of the server
	own  string // of the listener
	stop func() error

	mu    sync.Mutex
	names []string // derived streams made
}

func newLab(t *testing.T, o Options, anonymous ...auth.Permission) *lab {
	t.Helper()
	l := &lab{T: t}
	l.reg = stream.New(stream.Config{Derive: func(p *stream.Stream, name string) (media.Source, error) {
		if strings.HasSuffix(name, "-66") {
			return nil, errors.New("this build cannot make that")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.names = append(l.names, name)
		return tap{p}, nil
	}})
	if anonymous == nil {
		anonymous = []auth.Permission{auth.View}
	}
	var err error
	if l.gate, err = auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: anonymous}}); err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Gate: l.gate})
	if err != nil {
		t.Fatal(err)
	}
	o.Registry, o.Name = l.reg, func(w, q int) string { return "jpeg-" + strconv.Itoa(w) + "-" + strconv.Itoa(q) }
	l.h = New(o)
	if err := srv.Register(l.h.Routes()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	run := func(scheme string, run func(context.Context, net.Listener) error) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- run(ctx, ln) }()
		return scheme + "://" + ln.Addr().String()
	}
	l.url = run("http", srv.Run)
	l.own = run("ws", NewListener(ListenerOptions{Handler: l.h, Gate: l.gate}).Run)
	l.stop = sync.OnceValue(func() error { cancel(); return errors.Join(<-ended, <-ended) })
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		l.reg.Close()
	})
	return l
}

// camera adds a camera that the test feeds.
func (l *lab) camera(id string) *feed {
	l.Helper()
	p, err := l.reg.Publish(id, stream.PublishOptions{Type: "test"})
	if err != nil {
		l.Fatal(err)
	}
	p.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	return &feed{p: p}
}

type feed struct {
	p *stream.Publication
	n time.Duration
}

func (f *feed) push(b []byte, captured time.Time) {
	f.n += 40 * time.Millisecond
	f.p.Write(&media.Frame{PTS: f.n, Captured: captured, Key: true, Units: [][]byte{b}})
}

// dial connects to an address of the API, or with ws:// to any.
func (l *lab) dial(addr string, header ...string) *websocket.Conn {
	l.Helper()
	if strings.HasPrefix(addr, "/") {
		addr = l.url + addr
	}
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	c, resp, err := websocket.Dial(l.Context(), addr, &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		b := []byte(nil)
		if resp != nil {
			b, _ = io.ReadAll(resp.Body)
		}
		l.Fatalf("%s: %v %s", addr, err, b)
	}
	c.SetReadLimit(-1)
	l.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func (l *lab) read(c *websocket.Conn) (websocket.MessageType, []byte) {
	l.Helper()
	typ, b, err := c.Read(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return typ, b
}

// closed reads what must be the end of a connection.
func (l *lab) closed(c *websocket.Conn) (websocket.StatusCode, string) {
	l.Helper()
	_, b, err := c.Read(l.Context())
	var e websocket.CloseError
	if !errors.As(err, &e) {
		l.Fatalf("%.100s %v", b, err)
	}
	return e.Code, e.Reason
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
