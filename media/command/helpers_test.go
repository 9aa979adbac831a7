package command

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"camwire/media"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; no test passes because of it.
const patience = 30 * time.Second

// Parameter sets of x264 and x265 for 64x64.
var (
	sps264 = []byte{0x67, 0x42, 0xc0, 0x0a, 0xdd, 0x12, 0x12, 0x68, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x01, 0x4b, 0x88, 0x48, 0x9b, 0x80}
	pps264 = []byte{0x68, 0xce, 0x0f, 0x2c, 0x80}
)

func needShell(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("SKIPPED: there is no sh")
	}
}

func needFFmpeg(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIPPED: ffmpeg is not installed, so real streams are not tested")
	}
}

func picture(t testing.TB, n int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			m.SetGray(x, y, color.Gray{Y: uint8(x*n + y*7 + n*x*y)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sink keeps what it gets, and ends the run when that is enough.
type sink struct {
	mu     sync.Mutex
	tracks media.Tracks
	frames []*media.Frame
	enough func(*media.Frame) bool
	cancel context.CancelFunc
	wrote  chan *media.Frame
}

func newSink() *sink { return &sink{wrote: make(chan *media.Frame, 1000)} }

func (s *sink) Start(ts media.Tracks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracks = slices.Clone(ts)
}

func (s *sink) Write(f *media.Frame) {
	s.mu.Lock()
	s.frames = append(s.frames, f)
	if s.enough != nil && s.enough(f) {
		s.cancel()
	}
	s.mu.Unlock()
	select {
	case s.wrote <- f:
	default:
	}
}

func (s *sink) next(t *testing.T) *media.Frame {
	t.Helper()
	select {
	case f := <-s.wrote:
		return f
	case <-time.After(patience):
		t.Fatal("no frame")
		return nil
	}
}

// run runs a program until it ends or has delivered enough.
func run(t *testing.T, o Options, enough func(*media.Frame) bool) (*sink, *Source, error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	k := newSink()
	k.enough, k.cancel = enough, cancel
	err = s.Run(ctx, k)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatal("the source went on for too long")
	}
	return k, s, err
}

func shell(script string) Options { return Options{Argv: []string{"sh", "-c", script}} }

func saved(t *testing.T, b []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// plumb gives an emitter that reads what the test writes.
func plumb(t *testing.T) (e *emitter, w *os.File, k *sink) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	s, err := New(Options{Argv: []string{"test"}})
	if err != nil {
		t.Fatal(err)
	}
	k = newSink()
	p := newPipe(r, patience)
	return &emitter{source: s, sink: k, pipe: p, begun: p.begun}, w, k
}

func must(t *testing.T, _ int, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
