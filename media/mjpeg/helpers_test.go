package mjpeg

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; no test passes because of it.
const patience = 20 * time.Second

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

// resized changes what a picture says about its size.
func resized(p []byte, w, h int) []byte {
	p = bytes.Clone(p)
	i := bytes.Index(p, []byte{0xff, 0xc0})
	copy(p[i+5:], []byte{byte(h >> 8), byte(h), byte(w >> 8), byte(w)})
	return p
}

// sink keeps what it gets, and ends the run when that is enough.
type sink struct {
	mu     sync.Mutex
	tracks media.Tracks
	starts int
	frames []*media.Frame
	enough int
	cancel context.CancelFunc
	wrote  chan struct{}
}

func (s *sink) Start(ts media.Tracks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracks, s.starts = ts, s.starts+1
}

func (s *sink) Write(f *media.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, f)
	if len(s.frames) == s.enough {
		s.cancel()
	}
	select {
	case s.wrote <- struct{}{}:
	default:
	}
}

// pull runs a source until it fails or has delivered enough frames; 0 means
// never enough.
func pull(t *testing.T, o Options, enough int) (*sink, *Source, error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	k := &sink{enough: enough, cancel: cancel, wrote: make(chan struct{}, 1000)}
	err = s.Run(ctx, k)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatal("the source went on for too long")
	}
	for i, f := range k.frames {
		if i > 0 && f.PTS < k.frames[i-1].PTS || !f.Key || f.Arrived.IsZero() || len(f.Units) != 1 {
			t.Errorf("frame %d: %+v", i, f)
		}
	}
	return k, s, err
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func with(url, user string) string { return strings.Replace(url, "://", "://"+user+"@", 1) }

// wantError checks reason, text, and that nothing secret is told.
func wantError(t *testing.T, err, reason error, says string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, reason) {
		t.Fatalf("error %v, want %v", err, reason)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("error %q does not say %q", err, says)
	}
	for _, s := range []string{"hunter2", "s3cret", "/private"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("error %q tells %q", err, s)
		}
	}
}
