package images

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"camwire/media"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; no test passes because of it.
const patience = 20 * time.Second

func gray(w, h, n int) image.Image {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetGray(x, y, color.Gray{Y: uint8(x*n + y*7 + n*x*y)})
		}
	}
	return m
}

func encodeJPEG(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, gray(64, 48, n), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodePNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t testing.TB, b []byte, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// sink hands on what it gets.
type sink struct {
	tracks chan media.Tracks
	frames chan *media.Frame
}

func newSink() *sink {
	return &sink{make(chan media.Tracks, 10), make(chan *media.Frame, 1000)}
}

func (s *sink) Start(ts media.Tracks) { s.tracks <- ts }
func (s *sink) Write(f *media.Frame)  { s.frames <- f }

// next waits for a frame.
func (s *sink) next(t *testing.T) []byte {
	t.Helper()
	select {
	case f := <-s.frames:
		if !f.Key || f.Arrived.IsZero() || len(f.Units) != 1 {
			t.Errorf("frame %+v", f)
		}
		return f.Units[0]
	case <-time.After(patience):
		t.Fatal("no frame")
		return nil
	}
}

func (s *sink) want(t *testing.T, b []byte, what string) {
	t.Helper()
	if got := s.next(t); !bytes.Equal(got, b) {
		t.Fatalf("%s: another picture of %d bytes", what, len(got))
	}
}

// until skips frames before the one that is wanted.
func (s *sink) until(t *testing.T, b []byte) (skipped int) {
	t.Helper()
	for !bytes.Equal(s.next(t), b) {
		skipped++
	}
	return skipped
}

// start runs a source and returns how to end it and what it then returned.
func start(t *testing.T, src media.Source) (*sink, func() error) {
	t.Helper()
	s := newSink()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, s) }()
	var once sync.Once
	var err error
	end := func() error {
		once.Do(func() {
			cancel()
			err = wait4(t, done)
		})
		return err
	}
	t.Cleanup(func() { _ = end() })
	return s, end
}

func wait4(t *testing.T, done chan error) error {
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Error("the source does not stop")
		return nil
	}
}

// lines counts log lines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(s))
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
