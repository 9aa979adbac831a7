package libavtest

import (
	"image"
	"math"
)

// PSNR compares the luma of two pictures of the same size, in dB; 100 if equal.
func PSNR(a, b *image.YCbCr) float64 {
	if a.Rect.Dx() != b.Rect.Dx() || a.Rect.Dy() != b.Rect.Dy() {
		return 0
	}
	sum := 0.0
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			d := float64(a.Y[y*a.YStride+x]) - float64(b.Y[y*b.YStride+x])
			sum += d * d
		}
	}
	if sum == 0 {
		return 100
	}
	return 10 * math.Log10(255*255*float64(a.Rect.Dx()*a.Rect.Dy())/sum)
}

// FullRange returns a full-range copy of a limited-range picture.
func FullRange(m *image.YCbCr) *image.YCbCr {
	out := *m
	conv := func(in []byte, zero, scale, offset float64) []byte {
		b := make([]byte, len(in))
		for i, v := range in {
			b[i] = byte(math.Round(min(max((float64(v)-zero)*scale+offset, 0), 255)))
		}
		return b
	}
	out.Y = conv(m.Y, 16, 255.0/219, 0)
	out.Cb = conv(m.Cb, 128, 255.0/224, 128)
	out.Cr = conv(m.Cr, 128, 255.0/224, 128)
	return &out
}
