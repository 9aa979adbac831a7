package live

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/server/wish"

	"github.com/coder/websocket"
)

// notes is an out that remembers what it got when.
type notes struct {
	start    time.Time
	log      []string
	limit    int // messages; then it fails
	slowness time.Duration
}

var errEnough = errors.New("enough")

func (n *notes) note(s string) error {
	n.log = append(n.log, fmt.Sprint(time.Since(n.start), " ", s))
	if len(n.log) >= n.limit {
		return errEnough
	}
	return nil
}

func (n *notes) Send(_ websocket.MessageType, b []byte, _ time.Duration) error {
	time.Sleep(n.slowness)
	return n.note(fmt.Sprint(number(b)))
}
func (n *notes) Complain(words string) error { return n.note(words) }
func (n *notes) Fit(int)                     {}

func newHub() *hub.Hub {
	h := hub.New(hub.Options{})
	h.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	return h
}

func put(h *hub.Hub, n int) { h.Write(&media.Frame{Key: true, Units: [][]byte{shot(n, 0)}}) }

// watch runs a viewer until it has had so many messages.
func watch(h *hub.Hub, o notes, fps float64, wrong func(time.Duration) string) (*notes, func() error) {
	o.start = time.Now()
	v := &viewer{cursor: h.NewCursor(hub.CursorOptions{Newest: true}), out: &o, binary: true, wrong: wrong}
	if fps > 0 {
		v.pace.Interval = time.Duration(float64(time.Second) / fps)
	}
	ended := make(chan error, 1)
	go func() { ended <- v.run(context.Background()) }()
	return &o, func() error { return <-ended }
}

func fine(time.Duration) string { return "" }

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestNewestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		put(h, 0)
		n, wait := watch(h, notes{limit: 4, slowness: 240 * time.Millisecond}, 0, fine)
		for i := 1; i <= 10; i++ {
			time.Sleep(100 * time.Millisecond)
			put(h, i)
		}
		_ = wait()
		// A message takes some time: the next one never has an old picture.
		expect(t, n.log, "240ms 0", "480ms 2", "720ms 4", "960ms 7")
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		n, wait := watch(h, notes{limit: 20}, 5, fine)
		for i := range 200 {
			put(h, i)
			time.Sleep(time.Second / 30)
		}
		_ = wait()
		if end := n.log[19]; end < "3.6" || end > "4.1" {
			t.Errorf("20 pictures at 5 a second: %q", n.log)
		}
	})
}

// The last picture before a silence is shown, even if it came too early.
func TestRateThenSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		n, wait := watch(h, notes{limit: 2}, 1, fine)
		put(h, 1)
		synctest.Wait()
		put(h, 2)
		_ = wait()
		expect(t, n.log, "0s 1", "1.5s 2")
	})
}

func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		start := time.Now()
		n, wait := watch(h, notes{limit: 5}, 0, func(silent time.Duration) string {
			switch {
			case time.Since(start) < 2500*time.Millisecond:
				return "it is broken"
			case time.Since(start) < 5*time.Second:
				return "it is still broken"
			case silent >= 3*time.Second:
				return "too silent"
			}
			return ""
		})
		time.Sleep(3500 * time.Millisecond)
		put(h, 1)
		_ = wait()
		expect(t, n.log, "1s it is broken", "3s it is still broken", "3.5s 1", "4.5s it is still broken", "6.5s too silent")
	})
}

func TestEmptyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		n, wait := watch(h, notes{limit: 1}, 0, fine)
		h.Write(&media.Frame{Key: true})
		synctest.Wait()
		put(h, 1)
		_ = wait()
		expect(t, n.log, "0s 1")
	})
}

func TestViewerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		_, wait := watch(h, notes{limit: 1}, 0, fine)
		h.Close()
		if err := wait(); !errors.Is(err, hub.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestQuery(t *testing.T) {
	for in, want := range map[string]query{
		"": {}, "format=json": {}, "format=jpeg": {binary: true},
		"width=640&quality=50&fps=2.5": {Wish: wish.Wish{Width: 640, Quality: 50, Interval: 400 * time.Millisecond}},
	} {
		v, err := url.ParseQuery(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseQuery(v); err != nil || got != want {
			t.Errorf("%q: %+v %v", in, got, err)
		}
	}
}
