package audio

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/thesyncim/gopus"

	"camwire/media"
	"camwire/media/audio/pcm"
)

// shelf keeps what is written.
type shelf struct {
	starts []media.Tracks
	frames []*media.Frame
}

func (s *shelf) Start(ts media.Tracks) { s.starts = append(s.starts, ts) }
func (s *shelf) Write(f *media.Frame)  { s.frames = append(s.frames, f) }

// tone makes samples of a sine from a time on.
func tone(rate, channels int, from, frames int64, hz float64) []float32 {
	out := make([]float32, 0, frames*int64(channels))
	for i := range frames {
		v := float32(0.25 * math.Sin(2*math.Pi*hz*float64(from+i)/float64(rate)))
		for range channels {
			out = append(out, v)
		}
	}
	return out
}

// heard decodes packets.
func heard(t testing.TB, frames []*media.Frame, channels int) []float32 {
	t.Helper()
	d, err := gopus.NewDecoder(gopus.DefaultDecoderConfig(rate, channels))
	if err != nil {
		t.Fatal(err)
	}
	var all []float32
	buf := make([]float32, 5760*channels)
	for i, f := range frames {
		n, err := d.Decode(f.Units[0], buf)
		if err != nil || n != packet {
			t.Fatalf("packet %d: %d samples, %v", i, n, err)
		}
		all = append(all, buf[:n*channels]...)
	}
	return all
}

// fit returns level and phase of a tone in mono samples, and what is left
// without it.
func fit(x []float32, hz float64) (level, rest, phase float64) {
	w := 2 * math.Pi * hz / rate
	var s, c float64
	for i, v := range x {
		s += float64(v) * math.Sin(w*float64(i))
		c += float64(v) * math.Cos(w*float64(i))
	}
	s, c = 2*s/float64(len(x)), 2*c/float64(len(x))
	var sum float64
	for i, v := range x {
		d := float64(v) - s*math.Sin(w*float64(i)) - c*math.Cos(w*float64(i))
		sum += d * d
	}
	return math.Hypot(s, c), math.Sqrt(2 * sum / float64(len(x))), math.Atan2(c, s)
}

// steady checks that packets follow one another without gaps.
func steady(t testing.TB, frames []*media.Frame) {
	t.Helper()
	for i, f := range frames {
		if i > 0 && f.PTS-frames[i-1].PTS != 20*time.Millisecond {
			t.Fatalf("packet %d comes %v after the one before", i, f.PTS-frames[i-1].PTS)
		}
		if !f.Key || len(f.Units) != 1 || f.Track != 0 {
			t.Fatalf("packet %d: %+v", i, f)
		}
	}
}

// TestTone: four seconds of a tone come out with the same frequency and level
// at the same time, in packets that follow one another.
func TestTone(t *testing.T) {
	for _, c := range []struct {
		rate, channels int
		block          int64
	}{{48000, 1, 960}, {48000, 2, 960}, {44100, 2, 1024}, {16000, 1, 1024}, {8000, 1, 1024}, {96000, 2, 2048}} {
		t.Run(fmt.Sprintf("%d-%d", c.rate, c.channels), func(t *testing.T) {
			s := &shelf{}
			p := newPacker(s)
			start, origin := time.Now(), 90*time.Second
			for n := int64(0); n < int64(4*c.rate); n += c.block {
				at := span(n, c.rate)
				b := block{pts: origin + at, captured: start.Add(at), rate: c.rate, channels: c.channels, samples: tone(c.rate, c.channels, n, c.block, 100)}
				if err := p.add(b); err != nil {
					t.Fatal(err)
				}
			}
			want := media.Track{Codec: media.Opus, ClockRate: 48000, Channels: c.channels}
			if len(s.starts) != 1 || len(s.starts[0]) != 1 || !s.starts[0][0].Equal(want) {
				t.Fatalf("started with %+v", s.starts)
			}
			steady(t, s.frames)
			if all := int((int64(4*c.rate) + c.block - 1) / c.block * c.block * 50 / int64(c.rate)); len(s.frames) < all-2 || len(s.frames) > all || s.frames[0].PTS != origin {
				t.Errorf("%d packets of %d from %v on", len(s.frames), all, s.frames[0].PTS)
			}
			bytes := 0
			for _, f := range s.frames {
				bytes += f.Size()
				if d := f.Captured.Sub(start) - (f.PTS - origin); d < -time.Millisecond || d > time.Millisecond {
					t.Fatalf("Captured is off by %v", d)
				}
			}
			x := pcm.Mono(heard(t, s.frames, c.channels), c.channels)
			level, rest, phase := fit(x[48000:3*48000], 100)
			if math.Abs(level-0.25) > 0.01 || rest > 0.02 {
				t.Errorf("level %.3f instead of 0.25, beside the tone %.4f", level, rest)
			}
			if late := -phase / (2 * math.Pi * 100) * 1e3; math.Abs(late) > 0.5 {
				t.Errorf("heard %.2f ms late", late)
			}
			if kbps := bytes * 8 / 4 / 1000; kbps > 40*c.channels {
				t.Errorf("%d kbit/s", kbps)
			}
		})
	}
}

// TestLoss: what is missing is silence, or after a while a hole in the time
// stamps; what comes twice is heard once.
func TestLoss(t *testing.T) {
	s := &shelf{}
	p := newPacker(s)
	put := func(ms int) {
		t.Helper()
		at := time.Duration(ms) * time.Millisecond
		if err := p.add(block{pts: at, rate: 48000, channels: 1, samples: tone(48000, 1, int64(ms)*48, 960, 500)}); err != nil {
			t.Fatal(err)
		}
	}
	for ms := 0; ms < 1000; ms += 20 {
		put(ms)
	}
	for ms := 1200; ms < 2000; ms += 20 { // 200 ms are missing
		put(ms)
	}
	for ms := 1800; ms < 2500; ms += 20 { // 200 ms a second time
		put(ms)
	}
	steady(t, s.frames)
	if n := len(s.frames); n < 123 || n > 125 {
		t.Errorf("%d packets of 2.5 s", n)
	}
	x := heard(t, s.frames, 1)
	if level, _, _ := fit(x[1050*48:1150*48], 500); level > 0.01 {
		t.Errorf("in the gap is %.3f", level)
	}
	for _, ms := range []int{500, 1500, 1900, 2300} {
		level, rest, phase := fit(x[ms*48:(ms+100)*48], 500)
		if math.Abs(level-0.25) > 0.02 || rest > 0.05 || math.Abs(phase) > 2*math.Pi*500*0.0005 {
			t.Errorf("at %d ms: level %.3f, beside it %.3f, phase %.2f", ms, level, rest, phase)
		}
	}
	before := len(s.frames)
	for ms := 5500; ms < 6000; ms += 20 {
		put(ms)
	}
	after := s.frames[before+1:] // the first one is what was left
	steady(t, after)
	if after[0].PTS != 5500*time.Millisecond {
		t.Errorf("after a pause it goes on at %v", after[0].PTS)
	}
	for _, bad := range []time.Duration{time.Hour, 0} {
		if err := p.add(block{pts: bad, rate: 48000, channels: 1, samples: make([]float32, 960)}); err == nil {
			t.Errorf("a jump to %v taken", bad)
		}
	}
}

// TestDrift: samples that come a little too fast or too slowly, under
// trembling time stamps, stay with them.
func TestDrift(t *testing.T) {
	for _, ppm := range []float64{-2000, 100, 2000} {
		s := &shelf{}
		p := newPacker(s)
		random := rand.New(rand.NewPCG(1, 2))
		var at time.Duration
		for i := range int64(30 * 50) {
			at = time.Duration(float64(span(i*960, 48000)) * (1 + ppm/1e6))
			tremble := time.Duration(random.IntN(8000)-4000) * time.Microsecond
			if err := p.add(block{pts: at + tremble, rate: 48000, channels: 1, samples: make([]float32, 960)}); err != nil {
				t.Fatal(err)
			}
		}
		steady(t, s.frames)
		if d := at - s.frames[len(s.frames)-1].PTS; d < -40*time.Millisecond || d > 60*time.Millisecond {
			t.Errorf("%v ppm: after half a minute the packets are %v behind", ppm, d)
		}
	}
}

// TestChanges: another rate goes on, more channels begin a new list of tracks.
func TestChanges(t *testing.T) {
	s := &shelf{}
	p := newPacker(s)
	at := time.Duration(0)
	for _, c := range []struct{ rate, channels int }{{24000, 1}, {48000, 1}, {48000, 2}, {48000, 1}} {
		for range 25 {
			n := int64(c.rate / 50)
			if err := p.add(block{pts: at, rate: c.rate, channels: c.channels, samples: make([]float32, n*int64(c.channels))}); err != nil {
				t.Fatal(err)
			}
			at += 20 * time.Millisecond
		}
	}
	if len(s.starts) != 2 || s.starts[0][0].Channels != 1 || s.starts[1][0].Channels != 2 {
		t.Errorf("started with %v", s.starts)
	}
	last := time.Duration(-1)
	for _, f := range s.frames {
		if f.PTS <= last {
			t.Fatalf("%v after %v", f.PTS, last)
		}
		last = f.PTS
	}
	if len(s.frames) < 96 {
		t.Errorf("%d packets", len(s.frames))
	}
	if err := p.add(block{rate: 47999, channels: 1, samples: make([]float32, 100)}); err == nil {
		t.Error("unusual rate taken")
	}
	if err := p.add(block{rate: 48000, channels: 1}); err != nil {
		t.Error(err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add(int64(20e6), int64(40e6), int64(30e6), uint16(960))
	f.Add(int64(20e6), int64(-9e9), int64(9e9), uint16(1))
	f.Fuzz(func(t *testing.T, a, b, c int64, frames uint16) {
		const year = int64(365 * 24 * time.Hour)
		l := line{rate: 44100}
		n := max(int64(frames), 1)
		for _, pts := range []int64{a % year, b % year, c % year} {
			s := l.place(time.Duration(pts), n)
			if s.fill < 0 || s.fill > int64(l.rate)+1 || s.cut < 0 || s.cut > n || s.total < 0 || s.total > n+n/most {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func BenchmarkOpus(b *testing.B) {
	p := newPacker(&quiet{})
	samples := tone(48000, 2, 0, 960, 440)
	for i := range samples {
		samples[i] += float32(rand.Float64()-0.5) / 10
	}
	var at time.Duration
	for b.Loop() {
		if err := p.add(block{pts: at, rate: 48000, channels: 2, samples: samples}); err != nil {
			b.Fatal(err)
		}
		at += 20 * time.Millisecond
	}
}

type quiet struct{}

func (quiet) Start(media.Tracks) {}
func (quiet) Write(*media.Frame) {}
