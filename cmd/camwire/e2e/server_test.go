package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// logBuffer keeps what a child writes.
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

// tail is the end of the log, for a failed test, without our own polling.
func (l *logBuffer) tail() string {
	const most = 12000
	var b strings.Builder
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, "path=/api/camera/list ") {
			b.WriteString(line)
		}
	}
	s := b.String()
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}

// server is a running Camwire.
type server struct {
	dir  string // working directory, with the data directory in it
	args []string
	cmd  *exec.Cmd
	out  *logBuffer // for people
	log  *logBuffer // of all runs

	base       string // http://127.0.0.1:port
	token      string
	http, rtsp int
	webrtc     int

	exited chan struct{} // closed when the process has ended
	err    error         // of the process; valid after exited
}

// start runs a server with a configuration file until the test ends. Conf is
// the rest of the file beside the listeners; a webrtc: or https: section in it
// replaces ours.
func start(t *testing.T, conf string) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), log: &logBuffer{}}
	t.Cleanup(func() {
		s.end()
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.log.tail())
		}
	})
	// Between choosing a port and using it somebody else may take it.
	for range 3 {
		s.http, s.rtsp, s.webrtc = freePort(t), freePort(t), freePort(t)
		s.configure(t, conf)
		s.args = []string{"run", "--config", filepath.Join(s.dir, "camwire.yaml")}
		if s.launch(t) {
			return s
		}
		if !strings.Contains(s.log.String(), "address already in use") {
			break
		}
	}
	t.Fatal("the server does not start")
	return nil
}

// configure writes the file; pages of these origins are let in.
func (s *server) configure(t *testing.T, conf string, origins ...string) {
	t.Helper()
	named := make([]string, len(origins))
	for i, o := range origins {
		named[i] = strconv.Quote(o)
	}
	head := fmt.Sprintf(`http: { address: "127.0.0.1:%d", origins: [%s] }
rtsp: { address: "127.0.0.1:%d" }
data_dir: data
log: { level: debug, format: text }
`, s.http, strings.Join(named, ", "), s.rtsp)
	if !strings.Contains(conf, "webrtc:") {
		head += fmt.Sprintf("webrtc: { address: \"127.0.0.1:%d\" }\n", s.webrtc)
	}
	if !strings.Contains(conf, "https:") {
		head += "https: { address: \"\" }\n"
	}
	// As editors do it: whole, or not at all.
	next := filepath.Join(s.dir, "camwire.yaml.new")
	if err := os.WriteFile(next, []byte(head+conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(s.dir, "camwire.yaml")); err != nil {
		t.Fatal(err)
	}
}

var (
	linkPattern = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/\?token=([A-Za-z0-9_-]+)`)
	rtspPattern = regexp.MustCompile(`rtsp://localhost:(\d+)/`)
)

// launch starts the process and waits until it says that it runs.
func (s *server) launch(t *testing.T) bool {
	t.Helper()
	s.out = &logBuffer{}
	s.cmd = exec.Command(shared.binary, s.args...)
	s.cmd.Dir = s.dir
	// Nothing of who runs the tests may configure the server.
	s.cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CAMWIRE_") })
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.log
	own(s.cmd)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		s.err = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		out := s.out.String()
		if m := linkPattern.FindStringSubmatch(out); m != nil && strings.Contains(out, "Stop with Ctrl+C") {
			s.base, s.token = m[1], m[2]
			if m := rtspPattern.FindStringSubmatch(out); m != nil {
				s.rtsp, _ = strconv.Atoi(m[1])
			}
			return true
		}
		select {
		case <-s.exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// end stops the server whatever state it is in.
func (s *server) end() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(8 * time.Second):
	}
	s.kill()
}

// kill ends the server and its workers at once.
func (s *server) kill() {
	killGroup(s.cmd)
	<-s.exited
}

// freePort returns a port that is free for TCP and UDP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		_ = ln.Close()
		if err == nil {
			_ = udp.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// link is the address that signs a browser in, at a path of the app.
func (s *server) link() string { return s.base + "/?token=" + s.token }

// url is an address with the token in its query, for what knows nothing else.
func (s *server) url(path string) string {
	u, err := url.Parse(s.base + path)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	q.Set("token", s.token)
	u.RawQuery = q.Encode()
	return u.String()
}

func (s *server) rtspURL(id string) string {
	return fmt.Sprintf("rtsp://e2e:%s@127.0.0.1:%d/%s", s.token, s.rtsp, id)
}

// do makes a request as administrator; the header is key, value, key, value.
func (s *server) do(t *testing.T, method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		switch {
		case header[i+1] == "":
			r.Header.Del(header[i])
		case header[i] == "Host":
			r.Host = header[i+1] // net/http takes it from nowhere else
		}
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, b
}

func (s *server) get(t *testing.T, path string) (*http.Response, []byte) {
	t.Helper()
	return s.do(t, http.MethodGet, path, nil, "Accept", "text/html")
}

// client makes a connection per request: a server that comes back on the same
// port must not meet the connections of the one before.
var client = &http.Client{ //nolint:gochecknoglobals // a constant
	Timeout:   patience,
	Transport: &http.Transport{DisableKeepAlives: true},
}

// camera is an entry of the list.
type camera struct {
	ID    string         `json:"device_id"`
	Name  string         `json:"name"`
	State string         `json:"state"`
	Error *string        `json:"error"`
	Codec string         `json:"codec"`
	Type  string         `json:"source_type"`
	Width int            `json:"width"`
	Views map[string]int `json:"viewers"`
}

func (s *server) list(t *testing.T) []camera {
	t.Helper()
	res, body := s.get(t, "/api/camera/list")
	if res.StatusCode != http.StatusOK {
		t.Fatalf("list: %s %s", res.Status, body)
	}
	var l []camera
	if err := json.Unmarshal(body, &l); err != nil {
		t.Fatalf("list: %v: %s", err, body)
	}
	return l
}

// camera returns one entry of the list, or nil.
func (s *server) camera(t *testing.T, id string) *camera {
	t.Helper()
	for _, c := range s.list(t) {
		if c.ID == id {
			return &c
		}
	}
	return nil
}

// state waits until a camera is in that state.
func (s *server) state(t *testing.T, id, state string) camera {
	t.Helper()
	var found camera
	eventually(t, fmt.Sprintf("camera %q is %s", id, state), func() (bool, string) {
		c := s.camera(t, id)
		if c == nil {
			return false, "not in the list"
		}
		found = *c
		why := c.State
		if c.Error != nil {
			why += ": " + *c.Error
		}
		return c.State == state, why
	})
	return found
}

// page opens an empty page of the server's origin that is signed in.
func (s *server) page(t *testing.T, init ...string) *page {
	t.Helper()
	p := needBrowser(t).open(t, s.base+"/e2e", init...)
	p.eval(t, "(token) => e2e.signIn(token)", s.token, nil)
	return p
}

// whepSession is what the page got with its answer.
type whepSession struct{ Location, ETag, Offer, Answer string }

// whep lets a page watch by WHEP; a port other than 0 is where the media go.
func (p *page) whep(t *testing.T, path string, port int) whepSession {
	t.Helper()
	var w whepSession
	p.eval(t, "(o) => e2e.whep(o)", map[string]any{"url": path, "port": port}, &w)
	return w
}

// img lets a page watch by MJPEG.
func (p *page) img(t *testing.T, path string) {
	t.Helper()
	p.eval(t, "(url) => e2e.img(url)", path, nil)
}

// connected fails the test unless the page's connection is the first one and
// was never anything but well.
func (p *page) connected(t *testing.T) {
	t.Helper()
	var states []string
	p.eval(t, "() => states", nil, &states)
	if got := strings.Join(states, " "); got != "connecting connected" {
		t.Errorf("states of the connection: %s; want connecting and then connected for good", got)
	}
}
