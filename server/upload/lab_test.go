package upload

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"image"
	"image/jpeg"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"
	"camwire/server/mjpeg"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

// shot makes a JPEG of 32x16 with a number in it and just size bytes, if that
// is more than it needs.
func shot(n, size int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 32, 16)), nil); err != nil {
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
	cur := l.Hub().NewCursor(hub.CursorOptions{})
	for {
		f, err := cur.Next(ctx)
		if err != nil {
			return err
		}
		s.Write(&media.Frame{PTS: f.PTS, Captured: f.Captured, Key: true, Units: f.Units})
	}
}

// lab is a running server that takes uploads from anybody.
type lab struct {
	*testing.T
	reg    *stream.Registry
	h      *Handler
	srv    *server.Server
	url    string
	client *http.Client
	stop   func() error
}

func newLab(t *testing.T, o Options, anonymous ...auth.Permission) *lab {
	t.Helper()
	l := &lab{T: t, reg: stream.New(stream.Config{Derive: func(p *stream.Stream, _ string) (media.Source, error) {
		return tap{p}, nil
	}})}
	if len(anonymous) == 0 {
		anonymous = []auth.Permission{auth.View, auth.Publish}
	}
	gate, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: anonymous}})
	if err != nil {
		t.Fatal(err)
	}
	if l.srv, err = server.New(server.Options{Gate: gate}); err != nil {
		t.Fatal(err)
	}
	o.Registry = l.reg
	l.h = New(o)
	m := mjpeg.New(mjpeg.Options{Registry: l.reg, Name: func(int, int) string { return "jpeg" }})
	if err := l.srv.Register(append(l.h.Routes(), m.Routes()...)); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	l.url, l.client = "http://"+ln.Addr().String(), &http.Client{Transport: tr}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.srv.Run(ctx, ln) }()
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

// field is one part of a form.
type field struct {
	name string
	data []byte
}

func encodeForm(fields ...field) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		var p io.Writer
		var err error
		if f.name == imageField {
			p, err = w.CreateFormFile(f.name, "frame.jpg")
		} else {
			p, err = w.CreateFormField(f.name)
		}
		if err == nil {
			_, err = p.Write(f.data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

func id(s string) field    { return field{idField, []byte(s)} }
func pic(b []byte) field   { return field{imageField, b} }
func other(b []byte) field { return field{"comment", b} }

// post sends a form and returns status and answer.
func (l *lab) post(header []string, fields ...field) (int, map[string]any) {
	l.Helper()
	typ, body := encodeForm(fields...)
	return l.postRaw(append([]string{"Content-Type", typ}, header...), bytes.NewReader(body))
}

func (l *lab) postRaw(header []string, body io.Reader) (int, map[string]any) {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), http.MethodPost, l.url+"/api/camera/frame", body)
	if err != nil {
		l.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := l.client.Do(r)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		l.Fatalf("%s: %q: %v", resp.Status, b, err)
	}
	return resp.StatusCode, m
}

// dial opens a WebSocket that sends pictures.
func (l *lab) dial(camera string) *websocket.Conn {
	l.Helper()
	c, resp, err := websocket.Dial(l.Context(), l.url+"/api/camera/stream/"+camera, nil)
	if err != nil {
		b := []byte(nil)
		if resp != nil {
			b, _ = io.ReadAll(resp.Body)
		}
		l.Fatalf("%v %s", err, b)
	}
	l.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// refused opens a WebSocket that is not let in.
func (l *lab) refused(camera string) (int, map[string]any) {
	l.Helper()
	_, resp, err := websocket.Dial(l.Context(), l.url+"/api/camera/stream/"+camera, nil)
	if err == nil || resp == nil {
		l.Fatalf("%v: %v", camera, err)
	}
	var m map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		l.Fatal(err)
	}
	return resp.StatusCode, m
}

func (l *lab) send(c *websocket.Conn, typ websocket.MessageType, b []byte) {
	l.Helper()
	if err := c.Write(l.Context(), typ, b); err != nil {
		l.Fatal(err)
	}
}

// complaint reads what the server has to complain about.
func (l *lab) complaint(c *websocket.Conn) string {
	l.Helper()
	typ, b, err := c.Read(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil || typ != websocket.MessageText || len(m) != 2 || m["type"] != "error" || m["message"] == "" {
		l.Fatalf("%v %s", typ, b)
	}
	return m["message"]
}

// closed reads to the end of a connection and returns why it ended.
func (l *lab) closed(c *websocket.Conn) (websocket.StatusCode, string) {
	l.Helper()
	for {
		_, _, err := c.Read(l.Context())
		if err == nil {
			continue
		}
		if e, ok := closeError(err); ok {
			return e.Code, e.Reason
		}
		l.Fatal(err)
	}
}

func (l *lab) camera(id string) *stream.Stream {
	l.Helper()
	s, err := l.reg.Get(id)
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// until waits for something that has no channel.
func (l *lab) until(f func() bool) {
	l.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-l.Context().Done():
			l.Fatal("it never happened")
		}
	}
}

func (l *lab) words(m map[string]any) string {
	s, _ := m["error"].(string)
	return strings.ToLower(s)
}
