package peer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"camwire/media/rung"
)

// simLink is a way to a receiver with one narrow part and a queue before it,
// in simulated time.
type simLink struct {
	capacity float64 // bit/s
	queue    int     // bytes that wait at most
	loss     float64
	jitter   time.Duration
	stall    func(now time.Time) bool // nothing gets through; may be nil

	random *rand.Rand
	free   time.Time // when the narrow part has sent all
	late   time.Time // no packet overtakes another
}

const simDelay = 10 * time.Millisecond

// pass returns when a packet arrives, or false where it is lost.
func (l *simLink) pass(size int, now time.Time) (time.Time, bool) {
	if l.free.Before(now) {
		l.free = now
	}
	if l.free.Sub(now).Seconds()*l.capacity/8 > float64(l.queue) {
		return time.Time{}, false
	}
	l.free = l.free.Add(time.Duration(float64(size*8) / l.capacity * float64(time.Second)))
	at := l.free.Add(simDelay)
	if l.jitter > 0 {
		at = at.Add(time.Duration(l.random.Int64N(int64(l.jitter))))
	}
	for l.stall != nil && l.stall(at) {
		at = at.Add(time.Millisecond)
	}
	if at.Before(l.late) {
		at = at.Add(l.late.Sub(at))
	}
	l.late = at
	return at, l.random.Float64() >= l.loss
}

// sim sends pictures through a link and feeds what comes back to an estimator.
type sim struct {
	e    *estimator
	link *simLink
	now  time.Time
	// rate is what the application wants to send in bit/s at most. It sends
	// what the estimate allows if follow is set.
	rate   float64
	follow bool
	probes bool

	seq      uint16
	frame    int
	rec      *twcc.Recorder
	way      []simPacket // to the receiver
	back     []simFeedback
	fedAt    time.Time
	idleAt   time.Time
	probed   int
	worst    time.Duration // longest queue that a picture met
	got      int           // bytes in the time of the last run
	lowest   int
	highest  int
	deadBack bool
}

type simPacket struct {
	seq  uint16
	at   time.Time
	size int
}

type simFeedback struct {
	p  *rtcp.TransportLayerCC
	at time.Time
}

func newSim(l *simLink) *sim {
	l.random = rand.New(rand.NewPCG(3, 4))
	start := time.Unix(1_000_000, 0)
	return &sim{e: newEstimator(start), link: l, now: start, rate: 2.5e6, rec: twcc.NewRecorder(1), fedAt: start, idleAt: start}
}

func (s *sim) run(d time.Duration) *sim {
	s.worst, s.got, s.lowest, s.highest = 0, 0, 1<<30, 0
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(time.Millisecond) {
		s.receive()
		if due := time.Unix(1_000_000, 0).Add(time.Duration(s.frame) * time.Second / 30); !s.now.Before(due) {
			s.send()
		}
		if c, _ := s.e.capacity(); c > 0 {
			s.lowest, s.highest = min(s.lowest, c), max(s.highest, c)
		}
	}
	return s
}

func (s *sim) capacity() int { c, _ := s.e.capacity(); return c }

// send sends one picture: every sixtieth is six times as large.
func (s *sim) send() {
	rate := s.rate
	if c := s.capacity(); s.follow && c > 0 {
		rate = min(rate, 0.88*float64(c))
	}
	rate = max(rate, 150e3)
	size := rate / 8 / 30 * 60 / 65
	if s.frame%60 == 0 {
		size *= 6
	}
	s.frame++
	s.burst(int(size), 1150)
	if s.now.Sub(s.idleAt) >= time.Second {
		s.idleAt = s.now
		s.e.idle(s.now)
		if n := s.e.probe(s.now); n > 0 && s.probes {
			s.probed += n
			s.now = s.now.Add(time.Millisecond) // another instant than the picture's
			s.burst(n*1150, 1150)
		}
	}
}

func (s *sim) burst(size, most int) {
	stamp := s.e.ledger.at(s.now)
	for size > 0 {
		n := min(size, most)
		size -= n
		s.e.ledger.note(s.seq, n, stamp)
		if at, ok := s.link.pass(n+wireOverhead, s.now); ok {
			s.worst = max(s.worst, at.Sub(s.now))
			s.way = append(s.way, simPacket{s.seq, at, n})
		}
		s.seq++
	}
}

func (s *sim) receive() {
	for len(s.way) > 0 && !s.way[0].at.After(s.now) {
		p := s.way[0]
		s.way = s.way[1:]
		s.got += p.size
		s.rec.Record(7, p.seq, p.at.UnixMicro())
	}
	if s.now.Sub(s.fedAt) >= 100*time.Millisecond {
		s.fedAt = s.now
		for _, p := range s.rec.BuildFeedbackPacket() {
			if t, ok := p.(*rtcp.TransportLayerCC); ok && !s.deadBack {
				s.back = append(s.back, simFeedback{t, s.now.Add(simDelay)})
			}
		}
	}
	for len(s.back) > 0 && !s.back[0].at.After(s.now) {
		s.e.feedback(s.back[0].p, s.now)
		s.back = s.back[1:]
	}
}

func within(t *testing.T, what string, got int, low, high float64) {
	t.Helper()
	if float64(got) < low || float64(got) > high {
		t.Errorf("%s: %d bit/s, want %.0f to %.0f", what, got, low, high)
	}
}

func TestEstimateFollowsALink(t *testing.T) {
	for _, x := range []struct {
		name string
		link simLink
	}{
		{"deep queue", simLink{capacity: 4e6, queue: 400 << 10}},
		{"shallow queue", simLink{capacity: 4e6, queue: 64 << 10}},
		{"3 % loss", simLink{capacity: 4e6, queue: 100 << 10, loss: 0.03}},
		{"jitter", simLink{capacity: 4e6, queue: 200 << 10, jitter: 15 * time.Millisecond}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := newSim(&x.link)
			s.follow = true
			s.e.setEnough(8_000_000)
			s.rate = 6e6
			s.run(30 * time.Second)
			within(t, "at 4 Mbit/s", s.capacity(), 2.6e6, 4.9e6)
			s.link.capacity = 0.5e6
			s.run(3 * time.Second)
			within(t, "3 s after the fall to 0.5", s.capacity(), 0.2e6, 0.62e6)
			s.run(10 * time.Second)
			s.run(20 * time.Second)
			within(t, "at 0.5 Mbit/s", s.capacity(), 0.28e6, 0.62e6)
			within(t, "lowest", s.lowest, 0.2e6, 0.6e6)
			within(t, "delivered", s.got*8/20, 0.28e6, 0.5e6)
			if s.worst > 1200*time.Millisecond {
				t.Errorf("a picture was %v late", s.worst)
			}
			s.link.capacity = 4e6
			s.run(30 * time.Second)
			within(t, "at 4 Mbit/s again", s.capacity(), 2.6e6, 4.9e6)
		})
	}
}

func TestEstimateOfALinkThatLosesAlways(t *testing.T) {
	s := newSim(&simLink{capacity: 20e6, queue: 400 << 10, loss: 0.03})
	s.follow = true
	s.e.setEnough(3_500_000)
	s.run(20 * time.Second)
	s.run(5 * time.Minute)
	within(t, "lowest in five minutes", s.lowest, 2.8e6, 3.5e6)
}

// An application that sends little learns little, but forgets nothing.
func TestEstimateWhileLittleIsSent(t *testing.T) {
	s := newSim(&simLink{capacity: 4e6, queue: 200 << 10, jitter: 10 * time.Millisecond})
	s.e.setEnough(3_500_000)
	s.run(20 * time.Second)
	before := s.capacity()
	within(t, "with 2.5 Mbit/s", before, 2.6e6, 3.5e6)
	s.rate = 200e3
	s.run(5 * time.Minute)
	within(t, "lowest with 0.2 Mbit/s", s.lowest, 0.9*float64(before), 3.5e6)

	// One that never sent much is believed no more than it has shown, and taken
	// to carry what could be asked of it.
	s = newSim(&simLink{capacity: 100e6, queue: 400 << 10})
	s.e.setEnough(50_000_000)
	s.rate = 150e3
	s.run(time.Minute)
	within(t, "shown", int(s.e.est), 150e3, 3e6)
	within(t, "taken", s.capacity(), 50e6, 50e6)
}

// Where pictures are too small to show that a link has become wider, a train of
// repeated packets does.
func TestProbes(t *testing.T) {
	for _, capacity := range []float64{0.6e6, 8e6} {
		s := newSim(&simLink{capacity: 0.6e6, queue: 200 << 10})
		s.e.setEnough(3_500_000)
		s.probes = true
		s.run(15 * time.Second)
		s.link.capacity = capacity
		s.rate = 150e3
		s.run(2 * time.Minute)
		if capacity > 3.5e6 {
			within(t, "wide link", s.capacity(), 3.5e6, 3.5e6)
		} else {
			within(t, "narrow link", s.capacity(), 0.2e6, 0.75e6)
		}
		if s.probed == 0 || s.probed > 24*probePackets {
			t.Errorf("%d packets for probes in two minutes", s.probed)
		}
		if n := s.e.repairs(s.now); capacity < 1e6 && float64(n) > repairPart*0.75e6/8 {
			t.Errorf("%d bytes of repairs at once", n)
		}
	}
}

// A Wi-Fi that stalls for a moment is not narrow.
func TestEstimateOverStalls(t *testing.T) {
	l := &simLink{capacity: 20e6, queue: 2 << 20}
	l.stall = func(at time.Time) bool { return at.UnixMilli()%7000 < 400 }
	s := newSim(l)
	s.e.setEnough(3_500_000)
	s.follow = true
	s.run(20 * time.Second)
	s.run(time.Minute)
	within(t, "lowest", s.lowest, 1.5e6, 3.5e6)
	within(t, "in the end", s.capacity(), 2.5e6, 3.5e6)
}

func TestNothingHeard(t *testing.T) {
	s := newSim(&simLink{capacity: 20e6, queue: 1 << 20})
	s.e.setEnough(3_500_000)
	s.run(10 * time.Second)
	s.deadBack = true
	s.run(8 * time.Second)
	within(t, "no feedback for 8 s", s.capacity(), minEstimate, 200e3)
	s.deadBack = false
	s.run(15 * time.Second)
	within(t, "feedback again", s.capacity(), 2.5e6, 3.5e6)
}

// Feedback is somebody else's word.
func FuzzFeedback(f *testing.F) {
	f.Add([]byte{0, 1, 0, 3, 0, 0, 9, 1, 0x20, 3, 4, 4, 4})
	f.Add([]byte{0xff, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x3f, 0xff, 0x20, 1, 0xd5, 0x55, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		e := newEstimator(time.Unix(1, 0))
		e.setEnough(1_000_000)
		for i := range 3000 {
			e.ledger.note(uint16(i), 1000, int64(i)*1000)
		}
		now := time.Unix(4, 0)
		p := slices.Concat([]byte{0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2}, b)
		for len(p)%4 != 0 {
			p = append(p, 0)
		}
		p[2], p[3] = byte((len(p)/4-1)>>8), byte(len(p)/4-1)
		var fb rtcp.TransportLayerCC
		if len(p) > 1400 || fb.Unmarshal(p) != nil {
			return
		}
		for range 3 {
			now = now.Add(100 * time.Millisecond)
			e.feedback(&fb, now)
			e.idle(now)
			e.probe(now)
			if c, q := e.capacity(); c < 0 || c > 1_000_000 || q < 0 {
				t.Fatalf("%d bit/s, queue %v", c, q)
			}
		}
	})
}

func TestReportsWithoutFeedback(t *testing.T) {
	now := time.Unix(1000, 0)
	e := newEstimator(now)
	sent := uint64(0)
	report := func(rate int, lost float64, n int) int {
		for range n {
			now = now.Add(time.Second)
			sent += uint64(rate / 8)
			e.report(lost, sent, now)
		}
		c, _ := e.capacity()
		return c
	}
	within(t, "clean", report(2_000_000, 0, 5), 2e6, 3.01e6)
	within(t, "overloaded", report(2_000_000, 0.5, 2), 0.8e6, 1e6)
	within(t, "some loss", report(900_000, 0.03, 2), 0.9e6, 1.4e6)
}

func BenchmarkLedger(b *testing.B) {
	e := newEstimator(time.Now())
	b.ReportAllocs()
	for i := range b.N {
		e.ledger.note(uint16(i), 1200, int64(i))
	}
}

func BenchmarkFeedback(b *testing.B) {
	e := newEstimator(time.Unix(1, 0))
	e.setEnough(3_500_000)
	rec := twcc.NewRecorder(1)
	now := time.Unix(1, 0)
	b.ReportAllocs()
	for i := range b.N {
		b.StopTimer()
		for k := range 20 {
			seq := uint16(i*20 + k)
			now = now.Add(5 * time.Millisecond)
			e.ledger.note(seq, 1150, e.ledger.at(now))
			rec.Record(7, seq, now.UnixMicro())
		}
		var fb *rtcp.TransportLayerCC
		for _, p := range rec.BuildFeedbackPacket() {
			if t, ok := p.(*rtcp.TransportLayerCC); ok {
				fb = t
			}
		}
		b.StartTimer()
		e.feedback(fb, now)
	}
}

// TestSlowCamera: a camera that sends a picture now and then, or pauses, says
// nothing about the link.
func TestSlowCamera(t *testing.T) {
	const enough = 3_550_000
	for _, gap := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second} {
		s := newSim(&simLink{capacity: 100e6, queue: 1 << 20})
		s.e.setEnough(enough)
		for range 20 {
			s.burst(25000, 1150)
			s.e.idle(s.now)
			for range int(gap / time.Millisecond) {
				s.receive()
				s.now = s.now.Add(time.Millisecond)
			}
		}
		if c := s.capacity(); c > 0 && c < enough || s.e.narrow {
			t.Errorf("a picture every %v: the link carries %d, narrow %v", gap, c, s.e.narrow)
		}
	}
}

// TestBlindViewer: who sends no transport feedback and was on the lower rung
// comes up again when the link is good.
func TestBlindViewer(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	e := newEstimator(now)
	var p rung.Policy
	p.SetBounds(rung.Bounds{Max: 2_500_000, Low: true})
	sent, rate, wasLow := uint64(0), 2.5e6, false
	for sec := range 600 {
		now = now.Add(time.Second)
		sent += uint64(rate / 8)
		lost := 0.0
		if sec >= 20 && sec < 40 {
			lost = 0.75
		}
		e.report(lost, sent, now)
		e.idle(now)
		c, _ := e.capacity()
		for k := range 5 {
			p.Report(1, c)
			p.Report(2, 10_000_000)
			d := p.Decide(now.Add(time.Duration(k) * 200 * time.Millisecond))
			e.setEnough(p.Enough())
			if rate = 2.5e6; d.Bitrate > 0 {
				rate = float64(d.Bitrate)
			}
		}
		if p.Low(1) {
			wasLow = true
			rate = min(764e3, max(0.88*float64(c), 100e3)) // its own encoder follows it
		}
	}
	if c, _ := e.capacity(); !wasLow || p.Low(1) {
		t.Errorf("was low %v, is low %v, capacity %d", wasLow, p.Low(1), c)
	}
}
