package usb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait: the guest is slow, and so may be its host.
const patience = 90 * time.Second

// eventually polls until ask says that something has come true. The text that
// ask returns is what it saw.
func eventually(t *testing.T, what string, ask func() (bool, string)) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		ok, saw := ask()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("never in %v: %s; last seen: %s", patience, what, saw)
		}
	}
}

// buffer keeps what a child writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// server is a running Camwire.
type server struct {
	cmd         *exec.Cmd
	out, log    buffer
	base, token string
	exited      chan struct{}
	err         error
	client      *http.Client
}

var link = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/\?token=([A-Za-z0-9_-]+)`)

// start runs Camwire with the given cameras until the test ends.
func start(t *testing.T, cameras ...string) *server {
	t.Helper()
	dir := t.TempDir()
	conf := `http: { address: "127.0.0.1:0" }
https: { address: "" }
rtsp: { address: "" }
webrtc: { address: "127.0.0.1:0" }
data_dir: data
log: { level: debug, format: text }
cameras:
  - ` + strings.Join(cameras, "\n  - ") + "\n"
	path := filepath.Join(dir, "camwire.yaml")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{
		cmd: exec.Command(Program, "run", "--config", path), exited: make(chan struct{}),
		// No connection is kept, so that none is left when the test ends.
		client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, &s.out, &s.log
	s.cmd.Env = []string{"HOME=/tmp"} // nothing of the guest configures the server
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() { s.stop(t) })
	eventually(t, "the server starts", func() (bool, string) {
		select {
		case <-s.exited:
			t.Fatalf("the server does not start: %v", s.err)
		default:
		}
		m := link.FindStringSubmatch(s.out.String())
		if m == nil || !strings.Contains(s.out.String(), "Stop with Ctrl+C") {
			return false, s.out.String() + s.log.String()
		}
		s.base, s.token = m[1], m[2]
		return true, ""
	})
	return s
}

func (s *server) stop(t *testing.T) {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		if s.err != nil {
			t.Errorf("the server ends with %v", s.err)
		}
	case <-time.After(patience):
		t.Errorf("the server does not stop within %v", patience)
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // and what it may have left
	<-s.exited
	if t.Failed() {
		t.Logf("log of the server:\n%s", s.tail())
	}
}

// tail is the end of the log without our own polling.
func (s *server) tail() string {
	const most = 10000
	var b strings.Builder
	for line := range strings.Lines(s.log.String()) {
		if !strings.Contains(line, "path=/api/") {
			b.WriteString(line)
		}
	}
	text := b.String()
	return text[max(len(text)-most, 0):]
}

// do makes a request as administrator; the caller closes the body.
func (s *server) do(t *testing.T, method, path, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/sdp")
	client := *s.client
	if method == http.MethodGet && strings.Contains(path, "/mjpeg/") {
		client.Timeout = 0 // it has no end
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// get decodes the JSON answer of a path.
func (s *server) get(t *testing.T, path string, v any) {
	t.Helper()
	res := s.do(t, http.MethodGet, path, "")
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, res.Status, b, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v: %s", path, err, b)
	}
}

// camera is an entry of GET /api/camera/list.
type camera struct {
	ID         string  `json:"device_id"`
	Type       string  `json:"source_type"`
	State      string  `json:"state"`
	Error      *string `json:"error"`
	Codec      string  `json:"codec"`
	Active     bool    `json:"active"`
	Subscriber int     `json:"subscribers"`
}

// status is an entry of GET /api/camera/server/status.
type status struct {
	ID         string  `json:"device_id"`
	Source     string  `json:"source"`
	Running    bool    `json:"running"`
	Resolution string  `json:"resolution"`
	FrameCount uint64  `json:"frame_count"`
	Error      *string `json:"error"`
}

// plugged is an entry of GET /api/inventory/cameras/usb.
type plugged struct {
	Index  int    `json:"index"`
	Source string `json:"source"`
	Path   string `json:"path"`
	Name   string `json:"name"`
	InUse  bool   `json:"in_use"`
}

func (s *server) inventory(t *testing.T) (list []plugged) {
	t.Helper()
	s.get(t, "/api/inventory/cameras/usb", &list)
	return list
}

// status returns the entry of one camera.
func (s *server) status(t *testing.T, id string) status {
	t.Helper()
	var list []status
	s.get(t, "/api/camera/server/status", &list)
	for _, x := range list {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("server/status has no %q: %+v", id, list)
	return status{}
}

// await waits until a camera is in that state.
func (s *server) await(t *testing.T, id, state string) camera {
	t.Helper()
	var found camera
	eventually(t, fmt.Sprintf("camera %q is %s", id, state), func() (bool, string) {
		var list []camera
		s.get(t, "/api/camera/list", &list)
		for _, c := range list {
			if c.ID == id {
				found = c
				return c.State == state, c.State + ": " + text(c.Error)
			}
		}
		return false, "not in the list"
	})
	return found
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// workers counts the server's codec processes.
func (s *server) workers() (n int) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte("codec-worker")) {
			n++
		}
	}
	return n
}
