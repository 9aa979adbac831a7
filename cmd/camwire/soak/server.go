package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"camwire/server/auth"
)

// ports are where the server listens, over restarts too.
type ports struct{ http, https, rtsp, webrtc, websocket int }

// server is the tortured one.
type server struct {
	o      options
	dir    string // with the configuration and the data in it
	source []string
	ports  ports
	token  string
	log    *logBuffer

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of the process; valid after exited
}

// logBuffer keeps the end of what the server writes.
type logBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if most := 1 << 20; len(l.b) > 2*most {
		l.b = append([]byte(nil), l.b[len(l.b)-most:]...)
	}
	return len(p), nil
}

func (l *logBuffer) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return "log of the server:\n" + string(l.b[max(0, len(l.b)-8000):])
}

func newServer(o options, dir string) (*server, error) {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return nil, err
	}
	o.bin = bin
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{o: o, dir: dir, source: []string{self, sourceCommand}, log: &logBuffer{}}
	for _, p := range []*int{&s.ports.http, &s.ports.https, &s.ports.rtsp, &s.ports.webrtc, &s.ports.websocket} {
		if *p, err = freePort(); err != nil {
			return nil, err
		}
	}
	conf := fmt.Sprintf(`cameras:
  - { id: spare, source: "test:?width=320&height=240&fps=10&gop=1" }
  - { id: fragile, source: { exec: [%q, %q] } }
  - { id: nowhere, source: "rtsp://127.0.0.1:1/x" }
http: { address: "127.0.0.1:%d" }
https: { address: "127.0.0.1:%d" }
rtsp: { address: "127.0.0.1:%d" }
webrtc: { address: "127.0.0.1:%d" }
websocket: { address: "127.0.0.1:%d" }
data_dir: data
log: { level: warn, format: text }
`, s.source[0], s.source[1], s.ports.http, s.ports.https, s.ports.rtsp, s.ports.webrtc, s.ports.websocket)
	return s, os.WriteFile(filepath.Join(dir, "camwire.yaml"), []byte(conf), 0o600)
}

// freePort returns a port that is free for TCP and UDP.
func freePort() (int, error) {
	for range 20 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := ln.Addr().(*net.TCPAddr).Port
		udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		_ = ln.Close()
		if err == nil {
			_ = udp.Close()
			return port, nil
		}
	}
	return 0, errors.New("no free port")
}

// start starts the process, and waits until it can do its work. Words before
// the command may change what it finds.
func (s *server) start(ctx context.Context, before ...string) error {
	args := append(slices.Clone(before), s.o.bin, "run", "--config", "camwire.yaml")
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Dir = s.dir
	// Nothing of who runs this may configure the server.
	s.cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CAMWIRE_") })
	s.cmd.Stdout, s.cmd.Stderr = io.Discard, s.log
	own(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		s.err = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	err := eventually(ctx, "the server is ready", func() error {
		if !s.alive() {
			return fmt.Errorf("it has ended: %w", s.err)
		}
		_, err := s.get(ctx, "/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s.log.tail())
	}
	if len(before) == 0 {
		s.token, err = auth.ReadToken(filepath.Join(s.dir, "data"))
	}
	return err
}

func (s *server) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// stop ends the server politely.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-s.exited:
		if s.err != nil {
			return fmt.Errorf("the server ended badly: %w", s.err)
		}
		return nil
	case <-time.After(patience):
		return errors.New("the server does not stop")
	}
}

// end ends the server whatever state it is in.
func (s *server) end() {
	if s.cmd != nil && s.cmd.Process != nil {
		killGroup(s.cmd)
		<-s.exited
	}
}

func (s *server) url(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", s.ports.http, path)
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// do makes a request as administrator on a connection of its own.
func (s *server) do(ctx context.Context, method, path, contentType string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url(path), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	t := &http.Transport{DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	res, err := t.RoundTrip(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	return res.StatusCode, b, err
}

// get returns the body of an answer that is 200.
func (s *server) get(ctx context.Context, path string) ([]byte, error) {
	status, b, err := s.do(ctx, http.MethodGet, path, "", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d %.300s", path, status, b)
	}
	return b, err
}

// metrics returns all lines of /metrics: name with labels, and value.
func (s *server) metrics(ctx context.Context) (map[string]float64, error) {
	b, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && name != "#" {
			out[name] = v
		}
	}
	return out, nil
}

// killed kills the server at once and starts it again: what it keeps is still
// there, and what was open is free.
func (s *server) killed(ctx context.Context) error {
	entry := []byte(`{"id":"kept","source":"test:","enabled":false}`)
	if status, b, err := s.do(ctx, http.MethodPost, "/api/cameras", "application/json", entry); err != nil || status != http.StatusCreated {
		return fmt.Errorf("add a camera: %d %s %w", status, b, err)
	}
	token, orphans := s.token, s.children()
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.exited
	if err := eventually(ctx, "codec processes and sources end with the server", func() error { return gone(orphans) }); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if s.token != token {
		return errors.New("the admin token has changed")
	}
	if _, err := s.get(ctx, "/api/cameras/kept"); err != nil {
		return err
	}
	control, err := watchControl(s)
	if err != nil {
		return err
	}
	defer control.close()
	return control.wait(ctx, 10)
}
