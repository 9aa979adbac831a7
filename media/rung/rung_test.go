package rung

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const step = 200 * time.Millisecond

// trace plays capacities against a policy in steps of 200 ms.
type trace struct {
	p     Policy
	now   time.Time
	moves int // changes of anybody's rung
	was   []ID
	last  Decision
}

func newTrace(b Bounds) *trace {
	t := &trace{now: time.Unix(1000, 0)}
	t.p.SetBounds(b)
	return t
}

// play reports the same capacities for d.
func (t *trace) play(d time.Duration, caps ...int) Decision {
	for end := t.now.Add(d); t.now.Before(end); {
		t.now = t.now.Add(step)
		for i, c := range caps {
			t.p.Report(ID(i), c)
		}
		t.last = t.p.Decide(t.now)
		if !slices.Equal(t.last.Low, t.was) {
			t.moves++
			t.was = slices.Clone(t.last.Low)
		}
	}
	return t.last
}

var usual = Bounds{Max: 2_500_000, Low: true}

func near(got int, want float64) bool { return math.Abs(float64(got)-want) <= 0.03*want }

func TestOneViewerIsFollowed(t *testing.T) {
	x := newTrace(usual)
	if d := x.play(time.Second, 10_000_000); d.Bitrate != 0 || d.Low != nil {
		t.Errorf("a fast link: %+v", d)
	}
	if d := x.play(step, 500_000); !near(d.Bitrate, Headroom*500_000) || d.Low != nil {
		t.Errorf("down at once: %+v", d)
	}
	if d := x.play(30*time.Second, 20_000); d.Bitrate != defaultMin || d.Low != nil {
		t.Errorf("the least: %+v", d)
	}
	x.play(step, 500_000)
	before := x.last.Bitrate
	if d := x.play(time.Second, 10_000_000); d.Bitrate > before*3/2 {
		t.Errorf("up by leaps: %d after %d", d.Bitrate, before)
	}
	if d := x.play(30*time.Second, 10_000_000); d.Bitrate != 0 {
		t.Errorf("in the end: %+v", d)
	}
	if d := x.play(10*time.Second, 0); d.Bitrate != 0 {
		t.Errorf("unknown again: %+v", d)
	}
}

func TestTheSlowestOneOfFewGoesDown(t *testing.T) {
	x := newTrace(usual)
	x.play(5*time.Second, 8_000_000, 6_000_000)
	// While it is about to be moved the other keeps its bit rate.
	if d := x.play(600*time.Millisecond, 8_000_000, 500_000); d.Bitrate != 0 || d.Low != nil {
		t.Errorf("too early: %+v", d)
	}
	d := x.play(2*time.Second, 8_000_000, 500_000)
	if !slices.Equal(d.Low, []ID{1}) || d.Bitrate != 0 || !near(d.LowBitrate, Headroom*500_000) || !x.p.Low(1) || x.p.Low(0) {
		t.Errorf("%+v", d)
	}
	if d := x.play(5*time.Second, 8_000_000, 6_000_000); len(d.Low) != 1 {
		t.Errorf("up too early: %+v", d)
	}
	if d := x.play(6*time.Second, 8_000_000, 6_000_000); len(d.Low) != 0 || d.Bitrate != 0 {
		t.Errorf("up again: %+v", d)
	}
	if x.moves != 2 {
		t.Errorf("%d moves", x.moves)
	}
}

func TestASecondEncoderMustBeWorthIt(t *testing.T) {
	for _, x := range []struct {
		name string
		caps []int
		low  int
		rate float64 // of the main rung; 0: no limit
	}{
		{"a little slower", []int{1_000_000, 900_000}, 0, Headroom * 900_000},
		{"much slower", []int{1_000_000, 500_000}, 1, Headroom * 1_000_000},
		{"all slow", []int{500_000, 500_000, 500_000}, 0, Headroom * 500_000},
		{"two of three slow", []int{500_000, 8_000_000, 400_000}, 0, Headroom * 400_000},
		{"two of three slow, one hopeless", []int{500_000, 8_000_000, 200_000}, 1, Headroom * 500_000},
		{"the slowest tenth", repeat(20, 8_000_000, 300_000, 400_000), 2, 0},
		{"more than the slowest tenth", repeat(20, 8_000_000, 300_000, 400_000, 900_000), 2, Headroom * 900_000},
		{"both unknown", []int{0, 0}, 0, 0},
		{"alone with one unknown", []int{500_000, 0}, 0, Headroom * 500_000},
	} {
		tr := newTrace(usual)
		d := tr.play(40*time.Second, x.caps...)
		if len(d.Low) != x.low || x.rate == 0 != (d.Bitrate == 0) || x.rate != 0 && !near(d.Bitrate, x.rate) {
			t.Errorf("%s: %+v, want %d low and %.0f bit/s", x.name, d, x.low, x.rate)
		}
		if tr.moves > 1 {
			t.Errorf("%s: %d moves", x.name, tr.moves)
		}
	}
}

// repeat returns n capacities: the given ones, the rest fast.
func repeat(n, fast int, slow ...int) []int {
	out := slices.Clone(slow)
	for len(out) < n {
		out = append(out, fast)
	}
	return out
}

func TestARecordingKeepsItsPicture(t *testing.T) {
	x := newTrace(usual)
	x.p.SetOthers(1)
	if d := x.play(5*time.Second, 500_000); d.Bitrate != 0 || len(d.Low) != 1 {
		t.Errorf("%+v", d)
	}
}

// While little happens before the camera nobody need be moved; when something
// does, somebody is.
func TestAQuietSceneNeedsNoSecondEncoder(t *testing.T) {
	quiet, busy := usual, usual
	quiet.Sends, busy.Sends = 250_000, 600_000
	x := newTrace(quiet)
	if d := x.play(30*time.Second, 8_000_000, 700_000); d.Low != nil || !near(d.Bitrate, Headroom*700_000) {
		t.Errorf("quiet: %+v", d)
	}
	x.p.SetBounds(busy)
	if d := x.play(10*time.Second, 8_000_000, 700_000); len(d.Low) != 1 || d.Bitrate != 0 {
		t.Errorf("busy: %+v", d)
	}
	x = newTrace(quiet)
	if d := x.play(30*time.Second, 8_000_000, 200_000); len(d.Low) != 1 {
		t.Errorf("too slow for the quiet scene too: %+v", d)
	}
}

func TestNoLowerRung(t *testing.T) {
	x := newTrace(Bounds{Max: 2_500_000})
	if d := x.play(5*time.Second, 8_000_000, 500_000); !near(d.Bitrate, Headroom*500_000) || d.Low != nil {
		t.Errorf("%+v", d)
	}
	x = newTrace(usual)
	x.play(5*time.Second, 8_000_000, 500_000)
	x.p.Refuse(1, x.now)
	if d := x.play(30*time.Second, 8_000_000, 500_000); d.Low != nil || !near(d.Bitrate, Headroom*500_000) {
		t.Errorf("refused: %+v", d)
	}
	if d := x.play(40*time.Second, 8_000_000, 500_000); len(d.Low) != 1 {
		t.Errorf("refused a minute ago: %+v", d)
	}
}

func TestARenderingThatIsGiven(t *testing.T) {
	x := newTrace(Bounds{Max: 1_500_000, Fixed: true, Low: true})
	d := x.play(3*time.Second, 400_000, 500_000, 8_000_000)
	if d.Bitrate != 0 || !slices.Equal(d.Low, []ID{0, 1}) {
		t.Errorf("%+v", d)
	}
	if d := x.play(12*time.Second, 400_000, 5_000_000, 8_000_000); !slices.Equal(d.Low, []ID{0}) {
		t.Errorf("%+v", d)
	}
}

// A viewer that can only be found out by trying is tried ever less often.
func TestNoFlapping(t *testing.T) {
	x := newTrace(usual)
	x.play(3*time.Second, 8_000_000, 500_000)
	x.moves = 0
	for end := x.now.Add(10 * time.Minute); x.now.Before(end); {
		if x.p.Low(1) {
			x.play(step, 8_000_000, 8_000_000) // the small rendering fits
		} else {
			x.play(step, 8_000_000, 500_000) // the large one does not
		}
	}
	if x.moves > 16 {
		t.Errorf("%d moves in ten minutes", x.moves)
	}
	// Links that tremble around the limits for an hour.
	r := rand.New(rand.NewPCG(1, 2))
	x = newTrace(usual)
	x.play(3*time.Second, 2_000_000, 1_400_000, 1_300_000)
	x.moves = 0
	changes, was := 0, 0
	for range 3600 {
		tremble := func(n int) int { return int(float64(n) * (0.85 + 0.3*r.Float64())) }
		d := x.play(time.Second, tremble(2_000_000), tremble(1_400_000), tremble(1_300_000))
		if d.Bitrate != was {
			changes++
			was = d.Bitrate
		}
		if d.Bitrate > Headroom*1_610_000 || d.Bitrate < Headroom*0.84*1_300_000 {
			t.Fatalf("%+v", d)
		}
	}
	if x.moves > 30 {
		t.Errorf("%d moves in an hour", x.moves)
	}
}

func TestViewersComeAndGo(t *testing.T) {
	x := newTrace(usual)
	x.play(20*time.Second, 8_000_000, 500_000)
	// The fast one leaves: the other is alone, and nothing is encoded twice.
	x.p.Leave(0)
	x.p.viewers[1].capacity = 500_000
	for range 100 {
		x.now = x.now.Add(step)
		x.last = x.p.Decide(x.now)
	}
	if d := x.last; d.Low != nil || !near(d.Bitrate, Headroom*500_000) {
		t.Errorf("alone: %+v", d)
	}
	x.p.Leave(1)
	if d := x.p.Decide(x.now.Add(step)); d.Bitrate != 0 || d.Low != nil || x.p.Viewers() != 0 {
		t.Errorf("nobody: %+v", d)
	}
}

func TestZeroValue(t *testing.T) {
	var p Policy
	if d := p.Decide(time.Unix(1, 0)); d.Bitrate != 0 || d.Low != nil || p.Enough() != 0 || p.Low(3) {
		t.Errorf("%+v", d)
	}
	p.Report(1, 100_000)
	if d := p.Decide(time.Unix(2, 0)); d.Bitrate != 0 || d.Low != nil {
		t.Errorf("without bounds: %+v", d)
	}
	p.Refuse(7, time.Unix(2, 0))
	p.SetBounds(Bounds{Max: 100_000})
	if d := p.Decide(time.Unix(3, 0)); d.Bitrate != int(Headroom*100_000) && d.Bitrate != 0 {
		t.Errorf("less than the usual least: %+v", d)
	}
}
