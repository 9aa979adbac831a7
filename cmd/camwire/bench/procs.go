package main

import (
	"bufio"
	"context"
	"encoding/json"
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
	"syscall"
	"time"
)

// proc is a child that is measured or measures.
type proc struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	name string
}

func start(name string, args ...string) (*proc, error) {
	cmd := exec.Command(args[0], args[1:]...)
	// What is a setting of ours is none of Camwire's.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CAMWIRE_") })
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Servers log every failed handshake of a crowd; clients say why they end.
	if name == "load" || os.Getenv("BENCH_VERBOSE") != "" {
		cmd.Stderr = os.Stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &proc{cmd: cmd, in: in, out: bufio.NewReader(out), name: name}, nil
}

func (p *proc) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// cpu returns user and system time so far, of the process itself.
func (p *proc) cpu() time.Duration { return cpuOf(p.cmd.Process.Pid) }

func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// rss returns the resident memory in bytes.
func (p *proc) rss() int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, "RssAnon:"); ok {
			n, _ := strconv.Atoi(strings.Fields(v)[0])
			return n << 10
		}
	}
	return 0
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// camwire is one running Camwire.
type camwire struct {
	*proc
	http, rtsp string
}

// startCamwire runs the program with the given cameras, open to everybody on
// loopback.
func startCamwire(bin, dir string, cameras string) (*camwire, error) {
	h, r, w := freePort(), freePort(), freePort()
	dir, err := os.MkdirTemp(dir, "camwire")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "camwire.yaml")
	text := fmt.Sprintf(`cameras:
%s
http: { address: "127.0.0.1:%d" }
https: { address: "" }
rtsp: { address: "127.0.0.1:%d" }
webrtc: { address: "127.0.0.1:%d" }
data_dir: %s
auth: { anonymous: [view, publish] }
`, cameras, h, r, w, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := start("camwire", bin, "run", "--config", conf)
	if err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, p.out) }()
	c := &camwire{proc: p, http: fmt.Sprintf("http://127.0.0.1:%d", h), rtsp: fmt.Sprintf("rtsp://127.0.0.1:%d", r)}
	return c, waitFor(c.http + "/healthz")
}

func waitFor(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode < 400 {
				return nil
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s does not answer", url)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// startLoad connects n clients and waits until they receive.
func startLoad(kind string, n int, url string) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := start("load", self, "load", kind, strconv.Itoa(n), url)
	if err != nil {
		return nil, err
	}
	line, err := p.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		p.kill()
		return nil, errors.New("the clients did not connect")
	}
	return p, nil
}

// frameSize asks how large the camera's pictures are.
func frameSize(url string) (int, error) {
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		res, err := request(http.MethodGet, url, "")
		if err != nil {
			return 0, err
		}
		var list []struct {
			FrameSize int `json:"frame_size"`
		}
		err = json.NewDecoder(res.Body).Decode(&list)
		_ = res.Body.Close()
		if err == nil && len(list) == 1 && list[0].FrameSize > 0 {
			return list[0].FrameSize, nil
		}
	}
	return 0, errors.New("the camera delivers nothing")
}
