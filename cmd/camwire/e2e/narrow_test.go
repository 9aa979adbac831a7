package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// narrowRelay stands between one browser and the server's UDP port. What the
// server sends waits in a queue that is emptied at a certain rate.
type narrowRelay struct {
	port int
	rate atomic.Int64 // bit/s; 0: as fast as it comes

	front, back *net.UDPConn
	mu          sync.Mutex
	client      net.Addr
	wg          sync.WaitGroup
}

// narrowQueue is what waits at most, in bytes.
const narrowQueue = 64 << 10

// relayNarrow runs a relay to a UDP port of this machine until the test ends.
func relayNarrow(t *testing.T, to int) *narrowRelay {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.UDPConn{front, back} {
		_ = c.SetReadBuffer(4 << 20) // what is lost here nobody has counted
	}
	r := &narrowRelay{port: front.LocalAddr().(*net.UDPAddr).Port, front: front, back: back}
	line := make(chan delayed, 8192)
	r.wg.Go(r.fromClient)
	r.wg.Go(func() { r.fromServer(line) })
	r.wg.Go(func() { r.toClient(line) })
	t.Cleanup(func() {
		_ = front.Close()
		_ = back.Close()
		r.wg.Wait()
	})
	return r
}

// delayed is a packet and when it leaves.
type delayed struct {
	packet []byte
	at     time.Time
}

func (r *narrowRelay) fromClient() {
	buf := make([]byte, 65536)
	for {
		n, from, err := r.front.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r.mu.Lock()
		r.client = from
		r.mu.Unlock()
		_, _ = r.back.Write(buf[:n])
	}
}

func (r *narrowRelay) fromServer(line chan<- delayed) {
	defer close(line)
	buf := make([]byte, 65536)
	free := time.Now()
	for {
		n, err := r.back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if now := time.Now(); free.Before(now) {
			free = now
		}
		if bps := float64(r.rate.Load()); bps > 0 {
			if time.Until(free).Seconds()*bps/8 > narrowQueue {
				continue
			}
			free = free.Add(time.Duration(float64(n*8) / bps * float64(time.Second)))
		}
		select {
		case line <- delayed{append([]byte(nil), buf[:n]...), free}:
		default:
		}
	}
}

func (r *narrowRelay) toClient(line <-chan delayed) {
	for d := range line {
		time.Sleep(time.Until(d.at))
		r.mu.Lock()
		to := r.client
		r.mu.Unlock()
		if to != nil {
			_, _ = r.front.WriteTo(d.packet, to)
		}
	}
}

// bitrate is what a camera sends in bit/s.
func (s *server) bitrate(t *testing.T, id string) int {
	t.Helper()
	var list []struct {
		ID      string `json:"device_id"`
		Bitrate int    `json:"bitrate"`
	}
	if _, body := s.get(t, "/api/camera/list"); json.Unmarshal(body, &list) != nil {
		t.Fatalf("list: %s", body)
	}
	for _, c := range list {
		if c.ID == id {
			return c.Bitrate
		}
	}
	t.Fatalf("no camera %q", id)
	return 0
}

// narrowAge is how old a picture may be that comes over a narrow link.
const narrowAge = 2 * time.Second

// TestNarrowLink makes a browser's link too narrow for what the camera sends:
// the encoder comes down to what it carries, the picture goes on without a delay
// that grows, and is as good as before when the link is wide again.
func TestNarrowLink(t *testing.T) {
	end2end(t)
	needBrowser(t)
	const bps = 400_000
	s := start(t, `cameras:
  - { id: cam, source: "test:?width=640&height=360&fps=30&bitrate=2000000" }
`)
	s.state(t, "cam", "live")
	relay := relayNarrow(t, s.webrtc)
	p := s.page(t)
	p.whep(t, "/whep/cam", relay.port)
	p.moving(t, "#video", 640)
	wide := 0
	eventually(t, "the camera has its bit rate", func() (bool, string) {
		wide = s.bitrate(t, "cam")
		return wide > bps*5/4, fmt.Sprintf("%d bit/s", wide)
	})

	relay.rate.Store(bps)
	eventually(t, "the encoder comes down", func() (bool, string) {
		n := s.bitrate(t, "cam")
		return n > 0 && n < bps, fmt.Sprintf("%d bit/s", n)
	})
	eventually(t, "the queue drains", func() (bool, string) {
		age := p.moving(t, "#video", 640).age()
		return age < narrowAge, age.String()
	})
	var samples []sight
	p.eval(t, "(o) => e2e.sample(o)", map[string]any{"selector": "#video", "every": 100, "duration": 10000}, &samples)
	late, readable, oldest := 0, 0, time.Duration(0)
	for _, x := range samples {
		if x.Clock != nil {
			readable++
			oldest = max(oldest, x.age())
			if x.age() > narrowAge {
				late++
			}
		}
	}
	t.Logf("%d bit/s of %d over %d; the oldest picture was %v old", s.bitrate(t, "cam"), wide, bps, oldest)
	if readable < len(samples)/2 || late > readable/10 {
		t.Errorf("of %d pictures %d could be read and %d were old", len(samples), readable, late)
	}

	relay.rate.Store(0)
	eventually(t, "the encoder goes up again", func() (bool, string) {
		n := s.bitrate(t, "cam")
		return n > wide*3/4, fmt.Sprintf("%d bit/s", n)
	})
	p.moving(t, "#video", 640)
	p.connected(t)
}
