package pcm

// Stretch makes n frames of the given ones, by linear interpolation: for a
// difference of a percent at most, to follow a clock that is a little off.
func Stretch(in []float32, channels, n int) []float32 {
	have := len(in) / channels
	if have == n || have < 2 || n < 2 {
		return in
	}
	out := make([]float32, n*channels)
	for i := range n {
		at := float64(i) * float64(have-1) / float64(n-1)
		k := min(int(at), have-2)
		part := float32(at - float64(k))
		for c := range channels {
			a, b := in[k*channels+c], in[(k+1)*channels+c]
			out[i*channels+c] = a + (b-a)*part
		}
	}
	return out
}
