package rtsp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/media/worker"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := worker.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// bench is a running server with its registry.
type bench struct {
	t        *testing.T
	registry *stream.Registry
	server   *Server
	addr     string
	log      *logBuffer
	fast     bool
}

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

func allowAll(context.Context, net.Addr, string, string, string, string, string) error { return nil }

func newBench(t *testing.T, o Options, c stream.Config) *bench {
	t.Helper()
	b := &bench{t: t, log: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Log = log
	b.registry = stream.New(c)
	o.Address, o.Registry, o.Log = "127.0.0.1:0", b.registry, log
	if o.Authorize == nil {
		o.Authorize = allowAll
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.server = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if s.Addr() == nil {
		t.Fatal(<-ended)
	}
	b.addr = s.Addr().String()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		b.registry.Close()
		if t.Failed() {
			t.Log(b.log.String())
		}
	})
	return b
}

func (b *bench) url(id string) string { return "rtsp://" + b.addr + "/" + id }

// needFFmpeg skips, loudly, where ffmpeg is missing.
func needFFmpeg(t *testing.T) {
	t.Helper()
	for _, p := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: %s is not installed", p)
		}
	}
}

// firstIsEnough leaves the other cases out of the quick tests: each lets two
// programs play in real time.
func firstIsEnough(t *testing.T, i int) {
	t.Helper()
	if testing.Short() && i > 0 {
		t.Skip("takes seconds")
	}
}

// start runs a program until stop is called or the test ends.
func start(t *testing.T, name string, args ...string) (stop func(), out *logBuffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out = &logBuffer{}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s %s:\n%s", name, strings.Join(args, " "), out)
		}
	})
	return stop, out
}

// publish lets ffmpeg publish a test picture until the test ends.
func (b *bench) publish(id, transport string, args ...string) (stop func(), out *logBuffer) {
	b.t.Helper()
	needFFmpeg(b.t)
	a := []string{"-hide_banner", "-loglevel", "warning", "-readrate", b.speed(), "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"}
	a = append(a, args...)
	a = append(a, "-f", "rtsp", "-rtsp_transport", transport, b.url(id))
	return start(b.t, "ffmpeg", a...)
}

// speed is how much faster than real time ffmpeg publishes. Where another
// program plays at the same time it must not.
func (b *bench) speed() string {
	if b.fast {
		return "4"
	}
	return "1"
}

// waitLive waits for the first frames of a camera and returns its hub.
func (b *bench) waitLive(id string) *hub.Hub {
	b.t.Helper()
	var h *hub.Hub
	until(b.t, "camera "+id+" is live", func() bool {
		s, err := b.registry.Get(id)
		if err != nil || s.Info().State != stream.Live {
			return false
		}
		h = s.Hub()
		return true
	})
	return h
}

// until polls for a condition that must come true.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// read collects frames of a hub until enough says so.
func read(t *testing.T, h *hub.Hub, enough func([]*media.Frame) bool) []*media.Frame {
	t.Helper()
	return readFrom(t, h.NewCursor(hub.CursorOptions{}), enough)
}

func readFrom(t *testing.T, c *hub.Cursor, enough func([]*media.Frame) bool) []*media.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var fs []*media.Frame
	for !enough(fs) {
		f, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("after %d frames: %v", len(fs), err)
		}
		fs = append(fs, f)
	}
	return fs
}

func ofTrack(fs []*media.Frame, track int) []*media.Frame {
	var out []*media.Frame
	for _, f := range fs {
		if f.Track == track {
			out = append(out, f)
		}
	}
	return out
}

// h264Clip returns access units of a short H.264 clip, one key frame per
// second, and its parameter sets.
func h264Clip(t *testing.T, frames int) []*media.Frame {
	t.Helper()
	needFFmpeg(t)
	cmd := exec.Command("ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "lavfi",
		"-i", "testsrc2=size=320x240:rate=25", "-frames:v", fmt.Sprint(frames), "-c:v", "libx264",
		"-profile:v", "baseline", "-preset", "ultrafast", "-g", "25", "-x264-params", "aud=1:scenecut=0", "-f", "h264", "-")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, &stderr)
	}
	var fs []*media.Frame
	for _, nal := range bytes.Split(bytes.ReplaceAll(out.Bytes(), []byte{0, 0, 0, 1}, []byte{0, 0, 1}), []byte{0, 0, 1}) {
		if len(nal) == 0 {
			continue
		}
		if nal[0]&0x1f == 9 {
			fs = append(fs, &media.Frame{PTS: time.Duration(len(fs)) * 40 * time.Millisecond})
			continue
		}
		f := fs[len(fs)-1]
		f.Key = f.Key || nal[0]&0x1f == 5
		f.Units = append(f.Units, nal)
	}
	return fs
}

// replay is a source that plays frames again and again in real time.
type replay struct {
	tracks media.Tracks
	frames []*media.Frame
	every  time.Duration
}

func (r *replay) Run(ctx context.Context, s media.Sink) error {
	s.Start(r.tracks)
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for n := 0; ; n++ {
		src := r.frames[n%len(r.frames)]
		s.Write(&media.Frame{Track: src.Track, PTS: time.Duration(n) * r.every, Key: src.Key, Units: src.Units})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

var errNo = errors.New("no")

// configWithRoom keeps more of the past than a server does, so that a test sees
// what has come before it looked.
func configWithRoom() stream.Config { return stream.Config{Hub: hub.Options{Tail: time.Minute}} }
