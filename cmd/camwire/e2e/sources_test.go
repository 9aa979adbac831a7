package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestSources runs a camera of every kind that needs no hardware, on one
// server: each becomes live and gives a picture of the right size.
func TestSources(t *testing.T) {
	beside(t)
	needFFmpeg(t)
	far := start(t, `cameras: [{ id: cam, source: "test:?width=640&height=360&fps=15" }]`)
	far.state(t, "cam", "live")
	_, picture := far.get(t, "/api/camera/snapshot/cam")

	pictures, drop := t.TempDir(), t.TempDir()
	for i := range 3 {
		write(t, filepath.Join(pictures, fmt.Sprintf("img%d.jpg", i+1)), picture)
	}
	write(t, filepath.Join(drop, "first.jpg"), picture)
	raw := `"-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15"`
	exec := func(args string) string {
		return `{ exec: ["ffmpeg", "-loglevel", "error", "-re", ` + raw + `, ` + args + `, "-"] }`
	}
	h264 := `"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15", `
	s := start(t, fmt.Sprintf(`cameras:
  - { id: stream, source: %q }
  - { id: still, source: %q, fps: 5 }
  - { id: images, source: "images:%s/*.jpg", fps: 5 }
  - { id: watch, source: "watch:%s" }
  - { id: annexb, source: %s }
  - { id: mpegts, source: %s }
  - { id: mjpeg, source: %s }
  - { id: none, source: { exec: ["camwire-no-such-program"] } }
`, far.url("/api/camera/mjpeg/cam"), far.url("/api/camera/snapshot/cam"), pictures, drop,
		exec(h264+`"-f", "h264"`), exec(h264+`"-f", "mpegts"`), exec(`"-c:v", "mjpeg", "-f", "mjpeg"`)))
	for id, width := range map[string]int{
		"stream": 640, "still": 640, "images": 640, "watch": 640, "annexb": 320, "mpegts": 320, "mjpeg": 320,
	} {
		s.state(t, id, "live")
		_, body := s.get(t, "/api/camera/snapshot/"+id)
		m, err := jpeg.DecodeConfig(bytes.NewReader(body))
		if err != nil || m.Width != width {
			t.Errorf("%s: %d wide, want %d: %v", id, m.Width, width, err)
		}
	}
	s.state(t, "none", "failed")

	// The far end goes and comes back: the camera heals by itself.
	far.kill()
	s.state(t, "stream", "lost")
	if !far.launch(t) {
		t.Fatal("the far server does not come back")
	}
	s.state(t, "stream", "live")
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUploads sends pictures as a phone does, and watches them in every way.
func TestUploads(t *testing.T) {
	beside(t)
	port := freePort(t)
	s := start(t, fmt.Sprintf(`cameras: [{ id: cam, source: "test:?width=640&height=360&fps=15" }]
websocket: { address: "127.0.0.1:%d" }
`, port))
	s.state(t, "cam", "live")
	_, picture := s.get(t, "/api/camera/snapshot/cam")

	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("device_id", "posted")
	part, err := w.CreateFormFile("image", "x.jpg")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(picture)
	_ = w.Close()
	res, body := s.do(t, http.MethodPost, "/api/camera/frame", &form, "Content-Type", w.FormDataContentType())
	if want := fmt.Sprintf(`{"size_bytes":%d,"status":"ok"}`, len(picture)); res.StatusCode != http.StatusOK || string(bytes.TrimSpace(body)) != want {
		t.Errorf("%s %s, want %s", res.Status, body, want)
	}
	if _, got := s.get(t, "/api/camera/snapshot/posted"); !bytes.Equal(got, picture) {
		t.Errorf("the snapshot is not the picture that was posted: %d bytes, not %d", len(got), len(picture))
	}

	// A WebSocket that sends ten pictures a second, with rubbish between them.
	phone := dial(t, s.url("/api/camera/stream/phone"))
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = phone.Write(ctx, websocket.MessageBinary, picture)
			if i == 3 {
				_ = phone.Write(ctx, websocket.MessageBinary, []byte("no picture"))
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	defer func() { stop(); sending.Wait() }()
	if m := message(t, phone); m["type"] != "error" {
		t.Errorf("rubbish was answered by %v", m)
	}
	s.state(t, "phone", "live")
	view(t, s, "phone", viewOptions{}).watches(t, 5)

	out := dial(t, s.url("/api/camera/ws/phone"))
	m := message(t, out)
	data, _ := m["data"].(string)
	got, err := base64.StdEncoding.DecodeString(data)
	at, _ := m["timestamp"].(float64)
	if m["type"] != "image" || err != nil || !bytes.Equal(got, picture) || at < 1e9 {
		t.Errorf("type %v, %d bytes, timestamp %v, %v", m["type"], len(got), at, err)
	}
	typ, got, err := dial(t, s.url("/api/camera/ws/phone?format=jpeg")).Read(t.Context())
	if err != nil || typ != websocket.MessageBinary || !bytes.Equal(got, picture) {
		t.Errorf("binary: %v, %d bytes, %v", typ, len(got), err)
	}
	plain := dial(t, fmt.Sprintf("http://127.0.0.1:%d/phone?token=%s", port, s.token))
	if m := message(t, plain); m["type"] != "image" {
		t.Errorf("the stand-alone listener says %v", m)
	}
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(8 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// message reads one JSON message.
func message(t *testing.T, c *websocket.Conn) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v: %.200s", err, b)
	}
	return m
}

// TestRunTimeCameras adds a camera through the API: it is there after a kill,
// what must not be reached is refused, and the file's cameras are untouched.
func TestRunTimeCameras(t *testing.T) {
	beside(t)
	s := start(t, `cameras: [{ id: cam, source: "test:?width=320&height=240&fps=10" }]`)
	post := func(body string) (int, string) {
		res, b := s.do(t, http.MethodPost, "/api/cameras", bytes.NewBufferString(body), "Content-Type", "application/json")
		return res.StatusCode, string(b)
	}
	if code, b := post(`{"id":"added","source":"test:?width=320&height=240&fps=10","name":"Added"}`); code != http.StatusCreated {
		t.Fatalf("%d %s", code, b)
	}
	s.state(t, "added", "live")
	for body, want := range map[string]int{
		`{"id":"x","source":{"exec":["sh"]}}`:                                http.StatusForbidden,
		`{"id":"x","source":"exec:sh"}`:                                      http.StatusForbidden,
		`{"id":"x","source":"http://169.254.169.254/latest"}`:                http.StatusForbidden,
		`{"id":"x","source":"images:/etc"}`:                                  http.StatusForbidden,
		`{"id":"cam","source":"test:"}`:                                      http.StatusConflict,
		`{"id":"x","source":"gopher://x"}`:                                   http.StatusUnprocessableEntity,
		`{"id":"a b","source":"test:"}`:                                      http.StatusBadRequest,
		fmt.Sprintf(`{"id":"x","source":"%s/api/camera/mjpeg/cam"}`, s.base): http.StatusForbidden,
	} {
		if code, b := post(body); code != want {
			t.Errorf("%s: %d %s, want %d", body, code, b, want)
		}
	}
	s.kill()
	if !s.launch(t) {
		t.Fatal("the server does not come back")
	}
	if c := s.state(t, "added", "live"); c.Name != "Added" {
		t.Errorf("%+v", c)
	}
	if res, b := s.do(t, http.MethodDelete, "/api/cameras/added", nil); res.StatusCode != http.StatusNoContent {
		t.Errorf("%s %s", res.Status, b)
	}
	if s.camera(t, "added") != nil {
		t.Error("still in the list")
	}
	s.state(t, "cam", "live")
}

// TestHTTPS trusts the server by its own authority, by name and by address.
func TestHTTPS(t *testing.T) {
	beside(t)
	port := freePort(t)
	s := start(t, fmt.Sprintf(`https: { address: "127.0.0.1:%d" }
cameras: [{ id: cam, source: "test:?width=320&height=240&fps=10" }]
`, port))
	pem, err := os.ReadFile(filepath.Join(s.dir, "data", "tls", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(s.dir, "data", "tls", "ca.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key of the authority: %v, %v", st, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://%s:%d/api/camera/list", host, port), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.token)
		res, err := c.Do(r)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", host, res.Status)
		}
	}
}
