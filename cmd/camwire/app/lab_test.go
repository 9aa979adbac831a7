package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/config"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// logBuffer takes a log of many goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lab is a whole Camwire in the test's own process, with the listeners of the
// configuration on ports of their own.
type lab struct {
	t    *testing.T
	app  *app
	dir  string
	base string // http://127.0.0.1:port
	log  *logBuffer
	out  *logBuffer
	web  *http.Client
}

const listeners = `
http: { address: "127.0.0.1:0" }
https: { address: "127.0.0.1:0" }
rtsp: { address: "127.0.0.1:0" }
websocket: { address: "127.0.0.1:0" }
`

// start runs Camwire with this configuration; conf is added to the listeners.
func start(t *testing.T, conf string) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), log: &logBuffer{}, out: &logBuffer{}}
	if !strings.Contains(conf, "webrtc:") {
		conf += "\nwebrtc: { address: \"127.0.0.1:0\" }\n"
	}
	path := filepath.Join(l.dir, "camwire.yaml")
	text := conf + listeners + "data_dir: " + filepath.Join(l.dir, "data") + "\nlog: { level: debug }\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &config.Watcher{Path: path}
	c, problems, err := w.Load()
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	level := &slog.LevelVar{}
	level.Set(slog.LevelDebug)
	log := slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: level}))
	ready := make(chan Addresses, 1)
	l.app = newApp(Options{Watcher: w, Version: "test", Out: l.out, Ready: func(a Addresses) { ready <- a }}, c, log, level)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.app.run(ctx) }()
	l.web = &http.Client{Timeout: patience, Transport: &http.Transport{}}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
		l.web.CloseIdleConnections()
		if t.Failed() {
			t.Logf("log:\n%s", l.log.String())
		}
	})
	select {
	case a := <-ready:
		l.base = "http://" + a.HTTP
	case err := <-ended:
		ended <- err
		t.Fatalf("it does not start: %v\n%s", err, l.log.String())
	}
	return l
}

// do makes a request as administrator; header is key, value, key, value.
func (l *lab) do(method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), method, l.base+path, body)
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+l.app.token)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := l.web.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		l.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, b
}

func (l *lab) get(path string) (int, string) {
	l.t.Helper()
	res, b := l.do(http.MethodGet, path, nil)
	return res.StatusCode, string(b)
}

// eventually polls until ask says that something has come true.
func (l *lab) eventually(what string, ask func() (bool, string)) {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, saw := ask()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("never in %v: %s; last seen: %s", patience, what, saw)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-l.t.Context().Done():
			l.t.FailNow()
		}
	}
}

// form is a picture as a phone uploads it.
func form(id string, picture []byte) (body io.Reader, contentType string) {
	const boundary = "camwiretestboundary"
	var b bytes.Buffer
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"device_id\"\r\n\r\n%s\r\n", boundary, id)
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n\r\n", boundary)
	b.Write(picture)
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return &b, "multipart/form-data; boundary=" + boundary
}
