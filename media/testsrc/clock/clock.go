// Package clock writes the time into a picture so that a program can read it
// back after encoding, scaling, and a trip over a network: the delay from the
// source to the eye is then the difference to the reader's own clock. It knows
// pixels only; where pictures come from and go is not its business.
//
// The clock is a band at the very top of the picture: two rows of 40 blocks
// over the whole width. Block i covers the columns from i*width/40 to
// (i+1)*width/40. A white block in the upper row is a one; the block under it
// is always its complement, so that a reader compares the two and needs no
// threshold that brightness, contrast or range could spoil.
//
//	blocks 0 … 33   unix time in milliseconds modulo 2^34, highest bit first
//	blocks 34 … 39  CRC-6 of those 34 bits, polynomial x^6+x+1, highest bit first,
//	                register preset to all ones
//
// 2^34 ms are 198 days; a reader takes the instant nearest to its own clock.
//
// A block is a multiple of 16 pixels high, the smallest that is not lower than
// it is wide, so that blocks and macroblocks of the encoder share their
// horizontal edges. Scaled pictures keep the proportion of height to width,
// which lies between 1 and 2, but hide its exact value: a reader tries 1, 1.4
// and 2 and takes the first that gives 40 clear pairs and a right CRC.
//
// clock.mjs beside this file is the same reader for a browser's canvas.
package clock

import (
	"image"
	"time"
)

const (
	columns = 40
	crcBits = 6
	span    = 1 << (columns - crcBits) // ms

	// Limited-range luma. Full range would be clipped by some encoders.
	black, white = 16, 235

	// MinWidth is the least width in pixels of a picture that holds a clock:
	// blocks of 8 pixels are the smallest that survive 4:2:0 and quantizing.
	MinWidth = 320

	// minContrast is the least difference in luma between a block and its
	// complement; drawn are 219.
	minContrast = 50
)

// proportions of height to width of a block that a reader tries.
var proportions = [...]float64{1, 1.4, 2}

// Height returns how many rows of pixels the clock takes in a picture of the
// given width.
func Height(width int) int { return 2 * blockHeight(width) }

func blockHeight(width int) int {
	w := (width + columns - 1) / columns
	return max((w+15)/16, 1) * 16
}

// Draw writes t into the top of a luma plane of limited range. It does nothing
// when the picture is narrower than MinWidth or too low. The chroma under the
// band must be neutral; see Height.
func Draw(y []byte, stride, width, height int, t time.Time) {
	if width < MinWidth || height < Height(width) || len(y) < stride*(height-1)+width {
		return
	}
	bits := encode(t)
	bh := blockHeight(width)
	upper, lower := y[:width], y[bh*stride:bh*stride+width]
	for i := range columns {
		u, l := byte(black), byte(white)
		if bits>>(columns-1-i)&1 == 1 {
			u, l = l, u
		}
		for x := i * width / columns; x < (i+1)*width/columns; x++ {
			upper[x], lower[x] = u, l
		}
	}
	for r := 1; r < bh; r++ {
		copy(y[r*stride:r*stride+width], upper)
		copy(y[(bh+r)*stride:(bh+r)*stride+width], lower)
	}
}

// Read finds the time in a picture of w x h pixels whose brightness luma tells,
// and returns the instant nearest to near that fits. It reports false when the
// picture holds no clock or the clock is damaged. Luma is called for points
// inside the picture only.
func Read(luma func(x, y int) uint8, w, h int, near time.Time) (time.Time, bool) {
	if w < columns*2 {
		return time.Time{}, false
	}
	for _, p := range proportions {
		if bits, ok := sample(luma, w, h, p); ok {
			ms := int64(bits >> crcBits)
			if crc(bits>>crcBits) == bits&(1<<crcBits-1) {
				return nearest(ms, near), true
			}
		}
	}
	return time.Time{}, false
}

// ReadImage reads the clock of a decoded picture.
func ReadImage(m *image.YCbCr, near time.Time) (time.Time, bool) {
	b := m.Bounds()
	return Read(func(x, y int) uint8 { return m.Y[m.YOffset(b.Min.X+x, b.Min.Y+y)] }, b.Dx(), b.Dy(), near)
}

func sample(luma func(x, y int) uint8, w, h int, proportion float64) (uint64, bool) {
	bw := float64(w) / columns
	bh := bw * proportion
	if int(2*bh) > h {
		return 0, false
	}
	var bits uint64
	for i := range columns {
		x := (float64(i) + 0.5) * bw
		u := mean(luma, x, bh*0.5, bw/6)
		l := mean(luma, x, bh*1.5, bw/6)
		d := u - l
		if d < minContrast && d > -minContrast {
			return 0, false
		}
		bits <<= 1
		if d > 0 {
			bits |= 1
		}
	}
	return bits, true
}

// mean of nine points around x, y.
func mean(luma func(x, y int) uint8, x, y, d float64) int {
	sum := 0
	for j := -1.0; j <= 1; j++ {
		for i := -1.0; i <= 1; i++ {
			sum += int(luma(int(x+i*d), int(y+j*d)))
		}
	}
	return sum / 9
}

func encode(t time.Time) uint64 {
	ms := uint64(t.UnixMilli()) & (span - 1)
	return ms<<crcBits | crc(ms)
}

func crc(v uint64) uint64 {
	r := uint64(1<<crcBits - 1)
	for i := columns - crcBits - 1; i >= 0; i-- {
		top := r>>(crcBits-1)&1 ^ v>>i&1
		r = r << 1 & (1<<crcBits - 1)
		if top == 1 {
			r ^= 0b000011
		}
	}
	return r
}

// nearest returns the instant closest to near that is ms modulo span.
func nearest(ms int64, near time.Time) time.Time {
	n := near.UnixMilli()
	d := (ms - n) % span
	switch {
	case d > span/2:
		d -= span
	case d < -span/2:
		d += span
	}
	return time.UnixMilli(n + d)
}
