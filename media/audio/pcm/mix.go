package pcm

import (
	"encoding/binary"
	"math"
)

// MaxChannels is the largest number of channels that is dealt with.
const MaxChannels = 16

// Downmix makes two channels of more, in the order in which AAC decoders give
// them (left, right, centre, then with six and more the bass channel, then
// the surround pairs; an odd one in the middle). The weights are those of
// ITU-R BS.775, scaled so that nothing can clip. The bass channel is left out.
// One and two channels come back as they are.
func Downmix(in []float32, channels int) (out []float32, outChannels int) {
	if channels <= 2 {
		return in, channels
	}
	left, right := weights(channels)
	frames := len(in) / channels
	out = make([]float32, 0, 2*frames)
	for i := range frames {
		var l, r float32
		for c, v := range in[i*channels : (i+1)*channels] {
			l += left[c] * v
			r += right[c] * v
		}
		out = append(out, l, r)
	}
	return out, 2
}

func weights(channels int) (left, right []float32) {
	left, right = make([]float32, channels), make([]float32, channels)
	const side, middle = math.Sqrt2 / 2, 0.5
	left[0], right[1] = 1, 1
	left[2], right[2] = side, side
	next := 3
	if channels >= 6 {
		next = 4 // the bass channel
	}
	if (channels-next)%2 == 1 {
		left[next], right[next] = middle, middle
		next++
	}
	for ; next+1 < channels; next += 2 {
		left[next], right[next+1] = side, side
	}
	var sum float32
	for _, w := range left {
		sum += w
	}
	for i := range left {
		left[i] /= sum
		right[i] /= sum
	}
	return left, right
}

// Mono makes the mean of all channels.
func Mono(in []float32, channels int) []float32 {
	if channels <= 1 {
		return in
	}
	out := make([]float32, len(in)/channels)
	for i := range out {
		var sum float32
		for _, v := range in[i*channels : (i+1)*channels] {
			sum += v
		}
		out[i] = sum / float32(channels)
	}
	return out
}

// Stereo puts one channel on both sides.
func Stereo(in []float32) []float32 {
	out := make([]float32, 0, 2*len(in))
	for _, v := range in {
		out = append(out, v, v)
	}
	return out
}

// Int16 rounds a sample to 16 bits and clips what does not fit. What is no
// number is silence.
func Int16(v float32) int16 {
	f := math.RoundToEven(float64(v) * 32768)
	switch {
	case f >= math.MaxInt16:
		return math.MaxInt16
	case f <= math.MinInt16:
		return math.MinInt16
	case f != f:
		return 0
	}
	return int16(f)
}

// AppendL16 appends samples as 16 bits, big-endian (RFC 3551 section 4.5.11).
func AppendL16(out []byte, in []float32) []byte {
	for _, v := range in {
		out = binary.BigEndian.AppendUint16(out, uint16(Int16(v)))
	}
	return out
}

// FromL16 appends big-endian samples of 16 bits to out; half a sample at the
// end is left out.
func FromL16(out []float32, in []byte) []float32 {
	for ; len(in) >= 2; in = in[2:] {
		out = append(out, float32(int16(binary.BigEndian.Uint16(in)))/32768)
	}
	return out
}
