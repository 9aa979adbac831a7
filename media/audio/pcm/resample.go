package pcm

import (
	"fmt"
	"math"
)

const (
	// halfTaps is how many samples on each side of a point the filter looks
	// at, where it need not also cut off what the new rate cannot hold.
	halfTaps = 32
	// beta of the Kaiser window: a stop band 80 dB down.
	beta = 7.86
	// band is where the filter is half way down, as a part of the lower of the
	// two rates. With the two constants above nothing up to 0.42 is weakened
	// and nothing from 0.5 on is left.
	band = 0.461
	// maxPhases bounds the table of the filter. All rates of sound cards and
	// of AAC (ISO/IEC 14496-3 table 1.18) stay below it.
	maxPhases = 2000
)

// Rates that can be resampled from and to, in Hz.
const (
	MinRate = 4000
	MaxRate = 192000
)

// Resampler changes the sample rate, with linear phase and without shifting
// the sound in time: the first sample out is the first sample in. What it has
// not given out yet needs samples that are still to come, at most 32 of the
// lower of the two rates.
type Resampler struct {
	channels  int
	up, down  int // output rate / input rate, in lowest terms
	taps      int // per phase
	filter    []float32
	buf       []float32 // input that is still needed
	at, phase int       // the next output's place: frame in buf, part of a frame in 1/up
}

// NewResampler returns a Resampler between two rates in Hz. It fails for rates
// without a small common ratio, which no device has.
func NewResampler(from, to, channels int) (*Resampler, error) {
	if from < MinRate || to < MinRate || from > MaxRate || to > MaxRate || channels < 1 || channels > MaxChannels {
		return nil, fmt.Errorf("sound of %d Hz and %d channels cannot be resampled to %d Hz", from, channels, to)
	}
	g := gcd(from, to)
	r := &Resampler{channels: channels, up: to / g, down: from / g}
	if r.up > maxPhases {
		return nil, fmt.Errorf("sound of %d Hz has an unusual sample rate that cannot be resampled to %d Hz", from, to)
	}
	r.design(min(1, float64(to)/float64(from)))
	r.Reset()
	return r, nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// design makes the table: a sinc at the distances of the taps from the output
// sample, under a Kaiser window. Narrow is the output's part of the band.
func (r *Resampler) design(narrow float64) {
	half := int(math.Ceil(halfTaps / narrow))
	r.taps = 2 * half
	if r.up == r.down {
		return
	}
	r.filter = make([]float32, r.up*r.taps)
	row := make([]float64, r.taps)
	for p := range r.up {
		sum := 0.0
		for k := range row {
			x := float64(k-(half-1)) - float64(p)/float64(r.up)
			row[k] = sinc(2*band*narrow*x) * kaiser(x/float64(half))
			sum += row[k]
		}
		for k, v := range row { // every phase lets a constant through as it is
			r.filter[p*r.taps+k] = float32(v / sum)
		}
	}
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the window at x between -1 and 1.
func kaiser(x float64) float64 {
	if x <= -1 || x >= 1 {
		return 0
	}
	return bessel0(beta*math.Sqrt(1-x*x)) / bessel0(beta)
}

// bessel0 is the modified Bessel function of the first kind, order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}

// Delay is how many samples of the input it holds back.
func (r *Resampler) Delay() int {
	if r.up == r.down {
		return 0
	}
	return r.taps / 2
}

// Reset forgets what came so far: the next sample in is a first one.
func (r *Resampler) Reset() {
	r.at, r.phase = 0, 0
	r.buf = append(r.buf[:0], make([]float32, (r.taps/2-1)*r.channels)...)
}

// Append resamples in, whole frames, and appends the result to out.
func (r *Resampler) Append(out, in []float32) []float32 {
	if r.up == r.down {
		return append(out, in...)
	}
	r.buf = append(r.buf, in...)
	frames := len(r.buf) / r.channels
	for r.at+r.taps <= frames {
		h := r.filter[r.phase*r.taps : (r.phase+1)*r.taps]
		for c := range r.channels {
			x := r.buf[r.at*r.channels+c:]
			var y float32
			for k, v := range h {
				y += v * x[k*r.channels]
			}
			out = append(out, y)
		}
		r.phase += r.down
		r.at += r.phase / r.up
		r.phase %= r.up
	}
	n := min(r.at, frames)
	r.buf = r.buf[:copy(r.buf, r.buf[n*r.channels:])]
	r.at -= n
	return out
}
