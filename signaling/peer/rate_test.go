package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtp"

	"camwire/media"
	"camwire/media/stream"
	"camwire/media/testsrc"
	"camwire/media/transcode"
	"camwire/media/worker"
)

// patience bounds waits: a busy machine may be slow, but not for ever.
const patience = 90 * time.Second

func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		done, state := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; in the end: %s", what, patience, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// takesLong leaves a test out of the quick ones.
func takesLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
}

// narrow is a relay between one client and the server. What the server sends
// passes a queue that is emptied at a certain rate.
type narrow struct {
	port  int
	front *net.UDPConn
	back  *net.UDPConn
	rate  atomic.Int64 // bit/s; 0: as fast as it comes
	wg    sync.WaitGroup

	mu     sync.Mutex
	client net.Addr
}

// queued is what waits at most.
const queued = 64 << 10

func newNarrow(t *testing.T, server int) *narrow {
	t.Helper()
	local := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	front, err := net.ListenUDP("udp4", local)
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: local.IP, Port: server})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.UDPConn{front, back} {
		_ = c.SetReadBuffer(4 << 20)
	}
	n := &narrow{port: front.LocalAddr().(*net.UDPAddr).Port, front: front, back: back}
	type waiting struct {
		p  []byte
		at time.Time
	}
	line := make(chan waiting, 4096)
	n.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			k, from, err := front.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			n.mu.Lock()
			n.client = from
			n.mu.Unlock()
			_, _ = back.Write(buf[:k])
		}
	})
	n.wg.Go(func() {
		defer close(line)
		buf := make([]byte, 2048)
		free := time.Now()
		for {
			k, err := back.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			if r := n.rate.Load(); r > 0 {
				if free.Sub(now).Seconds()*float64(r)/8 > queued {
					continue
				}
				free = free.Add(time.Duration(float64(k*8) / float64(r) * float64(time.Second)))
			} else {
				free = now
			}
			select {
			case line <- waiting{append([]byte(nil), buf[:k]...), free}:
			default:
			}
		}
	})
	n.wg.Go(func() {
		for w := range line {
			time.Sleep(time.Until(w.at))
			n.mu.Lock()
			to := n.client
			n.mu.Unlock()
			if to != nil {
				_, _ = front.WriteTo(w.p, to)
			}
		}
	})
	t.Cleanup(func() {
		_ = front.Close()
		_ = back.Close()
		n.wg.Wait()
	})
	return n
}

// audience is a pion client that sends feedback and counts what comes.
type audience struct {
	*watcher
	v       *Viewer
	stop    chan struct{}
	done    sync.WaitGroup
	bytes   atomic.Int64
	frames  atomic.Int64
	back    atomic.Int64 // timestamps that ran backwards
	streams atomic.Int64 // SSRCs and payload types
}

// attend watches a camera, through a relay if there is one.
func attend(t *testing.T, s *Server, cam *stream.Stream, through *narrow) *audience {
	t.Helper()
	feedback, err := twcc.NewSenderInterceptor(twcc.WithLoggerFactory(quietFactory{}))
	if err != nil {
		t.Fatal(err)
	}
	repair, err := nack.NewGeneratorInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	a := &audience{watcher: newWatcher(t, feedback, repair), stop: make(chan struct{})}
	// Without candidates of its own in the offer, the server can only answer
	// the way that the client's checks have come.
	o, err := a.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.pc.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	v, answer, err := s.View(t.Context(), ViewOptions{Camera: cam, Offer: o.SDP, PageHost: "127.0.0.1:8080", Remote: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if through != nil {
		answer = regexp.MustCompile(`127\.0\.0\.1 \d+ typ`).ReplaceAllString(answer, fmt.Sprintf("127.0.0.1 %d typ", through.port))
	}
	a.v = v
	a.answer(t, answer)
	a.done.Go(a.count)
	t.Cleanup(func() { v.Close(); close(a.stop); a.done.Wait() })
	return a
}

func (a *audience) count() {
	var last *rtp.Packet
	for {
		var p *rtp.Packet
		select {
		case p = <-a.rtp:
		case <-a.stop:
			return
		}
		a.bytes.Add(int64(len(p.Payload)))
		if p.Marker {
			a.frames.Add(1)
		}
		if last == nil || last.SSRC != p.SSRC || last.PayloadType != p.PayloadType {
			a.streams.Add(1)
		} else if int16(p.SequenceNumber-last.SequenceNumber) <= 0 {
			continue // sent again
		} else if int32(p.Timestamp-last.Timestamp) < 0 {
			a.back.Add(1)
		}
		last = p
	}
}

// flows waits for some more pictures.
func (a *audience) flows(t *testing.T, n int64) {
	t.Helper()
	from := a.frames.Load()
	eventually(t, "pictures flow", func() (bool, string) {
		got := a.frames.Load() - from
		return got >= n, fmt.Sprintf("%d pictures, %+v", got, a.v.Link())
	})
}

// steady fails the test when the stream of packets has been broken.
func (a *audience) steady(t *testing.T) {
	t.Helper()
	if n := a.streams.Load(); n != 1 {
		t.Errorf("%d streams of packets instead of one", n)
	}
	if n := a.back.Load(); n != 0 {
		t.Errorf("time ran backwards %d times", n)
	}
}

// studio is a registry with a test picture and real encoders.
type studio struct {
	reg     *stream.Registry
	cam     *stream.Stream
	src     *testsrc.Source
	tc      *transcode.Transcoder
	running atomic.Int64 // encoder processes
}

func newStudio(t *testing.T) *studio {
	t.Helper()
	if err := worker.Available(); err != nil {
		t.Skip(err)
	}
	s := &studio{}
	o := worker.Options{
		Args: []string{}, Env: []string{childEnv + "=1"}, HangTimeout: time.Minute, StartTimeout: time.Minute, Running: &s.running,
	}
	s.tc = transcode.New(transcode.Options{Worker: o})
	s.reg = stream.New(stream.Config{Derive: s.tc.Derive})
	t.Cleanup(s.reg.Close)
	var err error
	s.src, err = testsrc.New(testsrc.Options{Width: 640, Height: 360, FPS: 20, Codec: "h264", Bitrate: 1_200_000, Worker: o})
	if err != nil {
		t.Fatal(err)
	}
	s.cam, err = s.reg.Add("cam", stream.Options{Source: s.src, OnDemand: true, Linger: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *studio) processes(t *testing.T, want int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d encoder processes", want), func() (bool, string) {
		n := s.running.Load()
		return n == want, fmt.Sprint(n)
	})
}

// One viewer: the encoder comes down to what its link carries, and goes up
// again.
func TestEncoderFollowsItsViewer(t *testing.T) {
	takesLong(t)
	const bps = 300_000
	st := newStudio(t)
	s := testServer(t)
	st.processes(t, 0)
	link := newNarrow(t, s.Port())
	a := attend(t, s, st.cam, link)
	eventually(t, "an estimate", func() (bool, string) {
		l := a.v.Link()
		return l.Estimate > 0 && l.Rung == "main", fmt.Sprintf("%+v", l)
	})
	a.flows(t, 20)
	link.rate.Store(bps)
	eventually(t, "encoder comes down", func() (bool, string) {
		n := st.cam.Target()
		return n > 0 && n < bps, fmt.Sprintf("%d bit/s, %+v", n, a.v.Link())
	})
	// When the queue has drained, what is sent is what arrives.
	eventually(t, "no queue is left", func() (bool, string) {
		l := a.v.Link()
		_, now := st.cam.Info().FPS, st.cam.Info().Bitrate
		return l.Queue < 100*time.Millisecond && now < bps, fmt.Sprintf("%d bit/s, %+v", now, l)
	})
	a.flows(t, 60)
	if n := st.running.Load(); n != 1 {
		t.Errorf("%d encoder processes for one viewer", n)
	}
	t.Logf("at %d bit/s: target %d, %+v", bps, st.cam.Target(), a.v.Link())
	link.rate.Store(0)
	eventually(t, "encoder goes up again", func() (bool, string) {
		return st.cam.Target() == 0, fmt.Sprintf("%d bit/s, %+v", st.cam.Target(), a.v.Link())
	})
	a.flows(t, 20)
	a.steady(t)
	a.v.Close()
	st.processes(t, 0)
}

// Two viewers, one of them slow: the fast one keeps its bit rate, the slow one
// gets the lower rung for as long as it needs it.
func TestSlowViewerGetsTheLowerRung(t *testing.T) {
	takesLong(t)
	st := newStudio(t)
	s := testServer(t)
	link := newNarrow(t, s.Port())
	fast, slow := attend(t, s, st.cam, nil), attend(t, s, st.cam, link)
	fast.flows(t, 20)
	slow.flows(t, 20)
	eventually(t, "estimates", func() (bool, string) {
		f, l := fast.v.Link(), slow.v.Link()
		return f.Estimate > 1_400_000 && l.Estimate > 1_400_000, fmt.Sprintf("%+v\n%+v", f, l)
	})
	link.rate.Store(300_000)
	eventually(t, "the slow one goes down", func() (bool, string) {
		l := slow.v.Link()
		return l.Rung == stream.LowName, fmt.Sprintf("target %d, %+v", st.cam.Target(), l)
	})
	slow.flows(t, 60)
	eventually(t, "the fast one has all", func() (bool, string) {
		return st.cam.Target() == 0, fmt.Sprintf("target %d, %+v", st.cam.Target(), fast.v.Link())
	})
	if l := fast.v.Link(); l.Rung != "main" {
		t.Errorf("fast: %+v", l)
	}
	st.processes(t, 2)
	t.Logf("fast: %+v\nslow: %+v", fast.v.Link(), slow.v.Link())
	link.rate.Store(0)
	eventually(t, "the slow one is up again", func() (bool, string) {
		l := slow.v.Link()
		return l.Rung == "main", fmt.Sprintf("%+v", l)
	})
	slow.flows(t, 20)
	fast.steady(t)
	slow.steady(t)
	st.processes(t, 1)
	eventually(t, "nothing is decoded any more", func() (bool, string) {
		x := st.tc.Stats()
		return x.Stages == 0, fmt.Sprintf("%+v", x)
	})
}

// layered publishes two renderings of 30 pictures per second.
type layered struct {
	mu   sync.Mutex
	low  media.Sink
	want [2]atomic.Bool // a key frame is asked for
	runs atomic.Int32   // of the smaller one
}

func (l *layered) Run(ctx context.Context, s media.Sink) error {
	l.runs.Add(1)
	defer l.runs.Add(-1)
	s.Start(media.Tracks{{Codec: media.H264, ClockRate: 90000, Params: [][]byte{sps, pps}}})
	l.mu.Lock()
	l.low = s
	l.mu.Unlock()
	l.want[1].Store(true)
	<-ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.low = nil
	return nil
}

func (l *layered) RequestKey() { l.want[1].Store(true) }

func newLayered(t *testing.T, main, low int) (*stream.Stream, *layered) {
	t.Helper()
	l := &layered{}
	reg := stream.New(stream.Config{Derive: transcode.New(transcode.Options{}).Derive})
	pub, err := reg.Publish("cam", stream.PublishOptions{Type: "test", RequestKey: func() { l.want[0].Store(true) }, Low: l})
	if err != nil {
		t.Fatal(err)
	}
	cam, err := reg.Get("cam")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		pub.Start(media.Tracks{{Codec: media.H264, ClockRate: 90000, Params: [][]byte{sps, pps}}})
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for i := 0; ; i++ {
			frame := func(layer, bps int) *media.Frame {
				key := l.want[layer].Swap(false) || i == 0
				n := bps / 8 / 30
				if key {
					n *= 3
				}
				return &media.Frame{PTS: time.Duration(i) * time.Second / 30, Units: [][]byte{slice(key, n)}, Key: key}
			}
			pub.Write(frame(0, main))
			l.mu.Lock()
			if l.low != nil {
				f := frame(1, low)
				if f.Key {
					f.Units = [][]byte{sps, pps, f.Units[0]}
				}
				l.low.Write(f)
			}
			l.mu.Unlock()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); reg.Close() })
	return cam, l
}

// A publisher's smaller rendering is for those whose link does not carry the
// larger one, and found out to be no longer needed without it.
func TestViewersOfAPublisherGetTheLayerTheirLinkCarries(t *testing.T) {
	takesLong(t)
	cam, l := newLayered(t, 1_000_000, 150_000)
	s := testServer(t)
	link := newNarrow(t, s.Port())
	fast, slow := attend(t, s, cam, nil), attend(t, s, cam, link)
	fast.flows(t, 30)
	slow.flows(t, 30)
	if n := l.runs.Load(); n != 0 {
		t.Error("the smaller rendering is read although nobody needs it")
	}
	link.rate.Store(500_000)
	eventually(t, "the slow one goes down", func() (bool, string) {
		k := slow.v.Link()
		return k.Rung == stream.LowName, fmt.Sprintf("%+v", k)
	})
	slow.flows(t, 60)
	if k := fast.v.Link(); k.Rung != "main" {
		t.Errorf("fast: %+v", k)
	}
	t.Logf("slow: %+v", slow.v.Link())
	link.rate.Store(0)
	eventually(t, "the slow one is up again", func() (bool, string) {
		k := slow.v.Link()
		return k.Rung == "main", fmt.Sprintf("%+v", k)
	})
	slow.flows(t, 30)
	t.Logf("slow, up again: %+v", slow.v.Link())
	fast.steady(t)
	slow.steady(t)
	eventually(t, "the smaller rendering is not read any more", func() (bool, string) {
		n := l.runs.Load()
		return n == 0, fmt.Sprint(n)
	})
}

// What is passed through cannot follow anything: nothing is estimated.
func TestNoEstimatorForWhatIsPassedThrough(t *testing.T) {
	t.Parallel()
	c := newCamera(t, 30, true)
	s := testServer(t)
	a := attend(t, s, c.Stream, nil)
	a.flows(t, 60)
	if l := a.v.Link(); a.v.rate.est.Load() != nil || l.Estimate != 0 || l.Rung != "main" || l.Delivered == 0 {
		t.Errorf("%+v", l)
	}
}
