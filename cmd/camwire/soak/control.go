package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// controlFPS is how many numbered pictures a second the control camera has.
const controlFPS = 10

// control sends numbered pictures to a camera of its own and watches it: every
// number must come back, in order.
type control struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once

	mu      sync.Mutex
	sent    int
	seen    int
	missed  int
	last    uint32
	longest time.Duration
	at      time.Time
	err     error
}

// numbered is a JPEG with a number in a comment (ITU-T T.81, B.2.4.5).
func numbered(plain []byte, n uint32) []byte {
	b := append([]byte(nil), plain[:2]...)
	b = append(b, 0xff, 0xfe, 0, 6)
	b = binary.BigEndian.AppendUint32(b, n)
	return append(b, plain[2:]...)
}

func numberOf(b []byte) (uint32, bool) {
	if len(b) < 10 || !bytes.Equal(b[2:6], []byte{0xff, 0xfe, 0, 6}) {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[6:]), true
}

// picture is a plain JPEG of some size.
func picture(w, h int) []byte {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

func watchControl(s *server) (*control, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &control{cancel: cancel}
	dctx, done := context.WithTimeout(ctx, patience)
	defer done()
	ws, _, err := websocket.Dial(dctx, "ws://"+address(s.ports.http)+"/api/camera/stream/control", s.dialOptions())
	if err != nil {
		cancel()
		return nil, err
	}
	c.wg.Go(func() { c.keep(c.send(ctx, ws)); _ = ws.CloseNow() })
	c.wg.Go(func() { c.keep(c.watch(ctx, s)) })
	return c, nil
}

// keep remembers the first thing that went wrong.
func (c *control) keep(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !errors.Is(err, context.Canceled) {
		c.err = err
	}
}

func (c *control) send(ctx context.Context, ws *websocket.Conn) error {
	plain := picture(160, 120)
	ctx = ws.CloseRead(ctx)
	tick := time.NewTicker(time.Second / controlFPS)
	defer tick.Stop()
	for n := uint32(1); ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := ws.Write(ctx, websocket.MessageBinary, numbered(plain, n)); err != nil {
			return fmt.Errorf("the sender of the control camera was cut off: %w", err)
		}
		c.mu.Lock()
		c.sent++
		c.mu.Unlock()
	}
}

func (c *control) watch(ctx context.Context, s *server) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url("/api/camera/mjpeg/control"), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	t := &http.Transport{}
	defer t.CloseIdleConnections()
	// The camera appears with its first picture.
	err = eventually(ctx, "the control camera is there", func() error {
		_, err := s.get(ctx, "/api/camera/snapshot/control")
		return err
	})
	if err != nil {
		return err
	}
	res, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the control camera cannot be watched: %s", res.Status)
	}
	in := bufio.NewReader(res.Body)
	for {
		b, err := part(in)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("the control viewer was cut off: %w", err)
		}
		c.note(b)
	}
}

// part reads one part of an MJPEG stream.
func part(in *bufio.Reader) ([]byte, error) {
	size := -1
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if size, err = strconv.Atoi(v); err != nil {
				return nil, err
			}
		}
		if line == "" && size >= 0 {
			b := make([]byte, size)
			_, err = io.ReadFull(in, b)
			return b, err
		}
	}
}

func (c *control) note(b []byte) {
	n, ok := numberOf(b)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !ok:
		c.err = errors.New("the control viewer got another picture than was sent")
	case c.seen > 0 && n == c.last: // said again after a silence
	case c.seen > 0 && n < c.last:
		c.err = fmt.Errorf("the control viewer got picture %d after %d", n, c.last)
	default:
		if c.seen > 0 {
			c.missed += int(n - c.last - 1)
			c.longest = max(c.longest, now.Sub(c.at))
		}
		c.seen++
		c.last, c.at = n, now
	}
}

func (c *control) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("saw %d pictures, missed %d, longest gap %v", c.seen, c.missed, c.longest.Round(time.Millisecond))
}

// wait waits until that many more pictures have come.
func (c *control) wait(ctx context.Context, more int) error {
	c.mu.Lock()
	want := c.seen + more
	c.mu.Unlock()
	return eventually(ctx, "pictures for the control viewer", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil && c.seen < want {
			return fmt.Errorf("%d of %d", c.seen, want)
		}
		return nil
	})
}

// check says what the control viewer has missed.
func (c *control) check(ctx context.Context, s *server) error {
	if err := c.wait(ctx, 1); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if share := float64(c.missed) / float64(c.seen+c.missed); share > s.o.missed {
		return fmt.Errorf("the control viewer has missed %d of %d pictures", c.missed, c.seen+c.missed)
	}
	return nil
}

func (c *control) close() {
	c.once.Do(func() { c.cancel(); c.wg.Wait() })
}

// sourceCommand makes this program a source: it writes JPEG pictures until
// somebody kills it.
const sourceCommand = "soak-source"

func source() {
	b := picture(320, 240)
	for {
		if _, err := os.Stdout.Write(b); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
