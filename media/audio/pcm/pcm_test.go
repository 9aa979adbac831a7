package pcm

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

func tone(rate, channels, frames int, hz, level float64) []float32 {
	var out []float32
	for i := range frames {
		for range channels {
			out = append(out, float32(level*math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
		}
	}
	return out
}

// fit returns the level of a tone in x and what is left of x without it, both
// as amplitudes; phase is that of the tone in radians.
func fit(x []float32, rate int, hz float64) (level, rest, phase float64) {
	var s, c float64
	w := 2 * math.Pi * hz / float64(rate)
	for i, v := range x {
		s += float64(v) * math.Sin(w*float64(i))
		c += float64(v) * math.Cos(w*float64(i))
	}
	n := float64(len(x))
	s, c = 2*s/n, 2*c/n
	var sum float64
	for i, v := range x {
		d := float64(v) - s*math.Sin(w*float64(i)) - c*math.Cos(w*float64(i))
		sum += d * d
	}
	return math.Hypot(s, c), math.Sqrt(2 * sum / n), math.Atan2(c, s)
}

func db(x float64) float64 { return 20 * math.Log10(x+1e-12) }

func resampled(t testing.TB, from, to, channels int, in []float32, block int) []float32 {
	t.Helper()
	r, err := NewResampler(from, to, channels)
	if err != nil {
		t.Fatal(err)
	}
	var out []float32
	for len(in) > 0 {
		n := min(block*channels, len(in))
		out = r.Append(out, in[:n])
		in = in[n:]
	}
	return out
}

// TestTone: a tone keeps frequency, level and phase, and nothing is added.
func TestTone(t *testing.T) {
	for _, from := range []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000} {
		for _, part := range []float64{0.01, 0.25, 0.4} {
			hz := 5 * math.Round(part*float64(min(from, 48000))/5)
			t.Run(fmt.Sprintf("%d/%v", from, hz), func(t *testing.T) {
				out := resampled(t, from, 48000, 1, tone(from, 1, from/4, hz, 0.5), 1024)
				if lag := 12000 - len(out); lag < -1 || lag > 48000*40/min(from, 48000) {
					t.Errorf("%d samples of a quarter of a second", len(out))
				}
				// Whole periods, away from the ends.
				level, rest, phase := fit(out[1200:1200+9600], 48000, hz)
				if d := db(level / 0.5); math.Abs(d) > 0.05 {
					t.Errorf("level %+.3f dB", d)
				}
				if d := db(rest / 0.5); d > -70 {
					t.Errorf("what was added is %.1f dB", d)
				}
				want := 2 * math.Pi * hz * 1200 / 48000
				if d := math.Abs(math.Remainder(phase-want, 2*math.Pi)); d > 0.01 {
					t.Errorf("phase is off by %v rad", d)
				}
			})
		}
	}
}

// TestNoAlias: what the new rate cannot hold is gone.
func TestNoAlias(t *testing.T) {
	for _, c := range []struct {
		from int
		hz   float64
	}{{96000, 30000}, {96000, 45000}, {64000, 28000}, {88200, 40000}} {
		out := resampled(t, c.from, 48000, 1, tone(c.from, 1, c.from, c.hz, 1), 777)
		var most float64
		for _, v := range out[4800:40000] {
			most = max(most, math.Abs(float64(v)))
		}
		if db(most) > -70 {
			t.Errorf("%v Hz of %d Hz comes out at %.1f dB", c.hz, c.from, db(most))
		}
	}
}

// TestBlocks: the size of the blocks makes no difference, nor does another
// channel.
func TestBlocks(t *testing.T) {
	in := tone(44100, 1, 5000, 997, 0.8)
	want := resampled(t, 44100, 48000, 1, in, len(in))
	for _, block := range []int{1, 13, 1024} {
		got := resampled(t, 44100, 48000, 1, in, block)
		if len(got) != len(want) {
			t.Fatalf("block %d: %d samples instead of %d", block, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("block %d: sample %d differs", block, i)
			}
		}
	}
	stereo := make([]float32, 0, 2*len(in))
	for _, v := range in {
		stereo = append(stereo, v, -v)
	}
	got := resampled(t, 44100, 48000, 2, stereo, 100)
	for i, v := range want {
		if got[2*i] != v || got[2*i+1] != -v {
			t.Fatalf("frame %d is %v", i, got[2*i:2*i+2])
		}
	}
}

// TestLength: over a long time no sample is lost, and memory does not grow.
func TestLength(t *testing.T) {
	r, err := NewResampler(44100, 48000, 1)
	if err != nil {
		t.Fatal(err)
	}
	block, out, n := make([]float32, 1024), []float32(nil), 0
	for range 1470 {
		out = r.Append(out[:0], block)
		n += len(out)
	}
	if want := 1470 * 1024 / 147 * 160; n > want || n < want-40 {
		t.Errorf("%d samples instead of %d", n, want)
	}
	if cap(r.buf) > 1<<13 {
		t.Errorf("%d samples kept", cap(r.buf))
	}
	r.Reset()
	if out = r.Append(nil, make([]float32, 147)); len(out) > 160 || len(out) < 120 {
		t.Errorf("%d samples after a new start", len(out))
	}
}

func TestBadRates(t *testing.T) {
	for _, c := range [][3]int{{0, 48000, 1}, {48000, 0, 1}, {-1, 48000, 1}, {47999, 48000, 1}, {1 << 30, 48000, 1}, {44100, 48000, 0}, {44100, 48000, 99}} {
		if _, err := NewResampler(c[0], c[1], c[2]); err == nil {
			t.Errorf("%v taken", c)
		}
	}
}

func TestDownmix(t *testing.T) {
	for channels := 1; channels <= MaxChannels; channels++ {
		full := make([]float32, 2*channels)
		for i := range full {
			full[i] = 1
		}
		out, n := Downmix(full, channels)
		if n != min(channels, 2) || len(out) != 2*n {
			t.Fatalf("%d channels make %d with %d samples", channels, n, len(out))
		}
		for _, v := range out {
			if v > 1.00001 || v < 0.99 {
				t.Errorf("%d channels at full level make %v", channels, v)
			}
		}
	}
	// 5.1: left, right, centre, bass, rear left, rear right.
	in := []float32{0, 0, 0, 1, 0, 0}
	if out, _ := Downmix(in, 6); out[0] != 0 || out[1] != 0 {
		t.Errorf("bass is %v", out)
	}
	in = []float32{0, 0, 0, 0, 1, 0}
	if out, _ := Downmix(in, 6); out[0] <= 0 || out[1] != 0 {
		t.Errorf("rear left is %v", out)
	}
	if got := Mono([]float32{1, 0, 0.5, 0.5, -1, 1}, 2); got[0] != 0.5 || got[1] != 0.5 || got[2] != 0 {
		t.Errorf("mono is %v", got)
	}
	if got := Stereo([]float32{1, 2}); len(got) != 4 || got[1] != 1 || got[2] != 2 {
		t.Errorf("stereo is %v", got)
	}
}

func TestL16(t *testing.T) {
	var in []byte
	for v := -32768; v < 32768; v += 7 {
		in = binary.BigEndian.AppendUint16(in, uint16(int16(v)))
	}
	if got := AppendL16(nil, FromL16(nil, in)); string(got) != string(in) {
		t.Error("samples change on their way")
	}
	for v, want := range map[float32]int16{1: 32767, 2: 32767, -1: -32768, -9: -32768, 0: 0, float32(math.NaN()): 0, float32(math.Inf(1)): 32767} {
		if got := Int16(v); got != want {
			t.Errorf("%v is %d", v, got)
		}
	}
	if got := FromL16(nil, []byte{1}); len(got) != 0 {
		t.Errorf("half a sample gave %v", got)
	}
}

func BenchmarkResample(b *testing.B) {
	r, err := NewResampler(44100, 48000, 2)
	if err != nil {
		b.Fatal(err)
	}
	in, out := make([]float32, 2*1024), []float32(nil)
	for b.Loop() {
		out = r.Append(out[:0], in)
	}
}

func TestStretch(t *testing.T) {
	in := tone(48000, 2, 960, 500, 0.5)
	for _, n := range []int{952, 959, 960, 961, 968} {
		out := Stretch(in, 2, n)
		if len(out) != 2*n || out[0] != in[0] || out[2*n-1] != in[2*960-1] {
			t.Errorf("%d frames: ends are %v and %v", len(out)/2, out[0], out[len(out)-1])
		}
		if _, rest, _ := fit(Mono(out, 2), 48000, 500*960/float64(n)); db(rest) > -40 {
			t.Errorf("%d frames: %.1f dB are no tone", n, db(rest))
		}
	}
	if out := Stretch([]float32{1}, 1, 5); len(out) != 1 {
		t.Errorf("one frame became %v", out)
	}
}
