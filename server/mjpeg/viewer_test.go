package mjpeg

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/hub"
)

// notes is an out that remembers when it got which picture.
type notes struct {
	numbers []int
	times   []time.Time
	limit   int // then it fails
}

var errEnough = errors.New("enough")

func (n *notes) send(pieces ...[]byte) error {
	for _, p := range pieces {
		if k := number(p); k >= 0 {
			n.numbers = append(n.numbers, k)
			n.times = append(n.times, time.Now())
		}
	}
	if len(n.numbers) >= n.limit {
		return errEnough
	}
	return nil
}

func newHub() *hub.Hub {
	h := hub.New(hub.Options{})
	h.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	return h
}

func put(h *hub.Hub, n int) {
	h.Write(&media.Frame{Key: true, Units: [][]byte{picture(n, 0)}})
}

// watch runs a viewer until it has had so many pictures.
func watch(h *hub.Hub, fps float64, count int) (*notes, func() error) {
	n := &notes{limit: count}
	v := &viewer{cursor: h.NewCursor(hub.CursorOptions{Newest: true})}
	if fps > 0 {
		v.pace.Interval = time.Duration(float64(time.Second) / fps)
	}
	ended := make(chan error, 1)
	go func() { ended <- v.run(context.Background(), n) }()
	return n, func() error { return <-ended }
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		put(h, 7)
		n, wait := watch(h, 0, 3)
		if err := wait(); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		for i, k := range n.numbers {
			if k != 7 {
				t.Errorf("picture %d", k)
			}
			if i > 0 && n.times[i].Sub(n.times[i-1]) != keepAlive {
				t.Errorf("again after %v", n.times[i].Sub(n.times[i-1]))
			}
		}
	})
}

func TestRate(t *testing.T) {
	for _, tt := range []struct{ source, fps, want float64 }{
		{30, 0, 30}, {30, 10, 10}, {30, 20, 20}, {30, 24, 24}, {30, 30, 30}, {30, 60, 30}, {5, 1, 1}, {1, 30, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub()
			const count = 60
			n, wait := watch(h, tt.fps, count)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := 0; ctx.Err() == nil; i++ {
					put(h, i)
					// Up to 4 ms either way.
					jitter := time.Duration(i*7919%9-4) * time.Millisecond
					next := time.Duration(float64(time.Second)/tt.source) + jitter
					select {
					case <-ctx.Done():
					case <-time.After(next):
					}
				}
			}()
			_ = wait()
			cancel()
			<-done
			got := float64(count-1) / n.times[count-1].Sub(n.times[0]).Seconds()
			if got < tt.want*0.93 || got > tt.want*1.07 {
				t.Errorf("source %v, asked %v: %.2f fps, want %v", tt.source, tt.fps, got, tt.want)
			}
		})
	}
}

// The last frame before a pause is shown even if it came too early for the
// rate asked for.
func TestLastFrameBeforeAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		put(h, 1)
		n, wait := watch(h, 1, 2)
		time.Sleep(10 * time.Millisecond)
		put(h, 2)
		time.Sleep(10 * time.Millisecond)
		put(h, 3)
		_ = wait()
		if n.numbers[1] != 3 {
			t.Errorf("pictures %v", n.numbers)
		}
		if d := n.times[1].Sub(n.times[0]); d < time.Second || d > 2*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestEndOfStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		_, wait := watch(h, 0, 1)
		time.Sleep(time.Hour)
		h.Close()
		if err := wait(); !errors.Is(err, hub.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestTimestamp(t *testing.T) {
	for _, tt := range []struct {
		us   int64
		want string
	}{{1700000000000042, "1700000000.000042"}, {1700000000999999, "1700000000.999999"}, {0, "0.000000"}} {
		if got := string(appendTimestamp(nil, time.UnixMicro(tt.us))); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	for _, s := range []string{"", "width=640&quality=50&fps=10", "action=stream&cam=a", "a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = raw
		if Rewrite(r); (r.URL.Path == webcamPath) != r.URL.Query().Has("action") {
			t.Errorf("%q goes to %s", raw, r.URL.Path)
		}
	})
}

type discard struct{ bytes.Buffer }

func (d *discard) send(pieces ...[]byte) error { return nil }

// BenchmarkPart is what a frame costs beside the write itself.
func BenchmarkPart(b *testing.B) {
	v := &viewer{}
	f := &media.Frame{Captured: time.Now(), Units: [][]byte{make([]byte, 70000)}}
	b.ReportAllocs()
	for b.Loop() {
		if err := v.send(&discard{}, f); err != nil {
			b.Fatal(err)
		}
	}
}
