package alsa

import "encoding/binary"

// sampleFormat is a format of sound/asound.h (SNDRV_PCM_FORMAT_…).
type sampleFormat int

const (
	s16le  sampleFormat = 2
	s24le  sampleFormat = 6 // in the lower three bytes of four
	s32le  sampleFormat = 10
	s24le3 sampleFormat = 32 // in three bytes
)

// formats are those that are understood, best first.
var formats = []sampleFormat{s16le, s24le3, s24le, s32le}

// bytes is the size of a sample.
func (f sampleFormat) bytes() int {
	switch f {
	case s16le:
		return 2
	case s24le3:
		return 3
	}
	return 4
}

// appendSamples appends whole samples of b to out.
func (f sampleFormat) appendSamples(out []float32, b []byte) []float32 {
	n := f.bytes()
	for ; len(b) >= n; b = b[n:] {
		var v int32 // at the upper end of 32 bits
		switch f {
		case s16le:
			v = int32(binary.LittleEndian.Uint16(b)) << 16
		case s24le3:
			v = int32(b[0])<<8 | int32(b[1])<<16 | int32(b[2])<<24
		case s24le:
			v = int32(binary.LittleEndian.Uint32(b) << 8)
		default:
			v = int32(binary.LittleEndian.Uint32(b))
		}
		out = append(out, float32(v)/(1<<31))
	}
	return out
}
