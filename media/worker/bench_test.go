//go:build cgo

package worker

import (
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/libav/libavtest"
)

// bench feeds one group of pictures again and again, one frame in flight.
func bench(b *testing.B, s libavtest.Spec, outputs ...Output) {
	s.Size, s.Frames = "1280x720", 60
	clip := libavtest.Make(b, s)
	w := start(b)
	ok(b, w.SetInput(clip.Track))
	ok(b, w.SetOutputs(outputs))
	var inside time.Duration
	b.ResetTimer()
	for i := range b.N {
		f := clip.Frames[i%len(clip.Frames)]
		ok(b, w.Feed(&media.Frame{PTS: time.Duration(i) * time.Second / 30, Key: f.Key, Units: f.Units}, true))
		for range outputs {
			r := <-w.Results()
			ok(b, r.Err)
			inside += r.DecodeTime + r.EncodeTime
		}
		ok(b, w.drain(b.Context()))
	}
	b.ReportMetric(float64(inside.Microseconds())/1000/float64(b.N), "codec-ms/op")
}

var (
	benchH264 = libavtest.Spec{Codec: media.H264, Args: strings.Fields("-c:v libx264 -profile:v high -preset veryfast -bf 0 -g 60 -b:v 2500k -x264-params slices=1")}
	benchJPEG = libavtest.Spec{Codec: media.JPEG}
)

func BenchmarkH264ToJPEG(b *testing.B) { bench(b, benchH264, Output{ID: 1, Kind: OutputJPEG}) }
func BenchmarkH264ToSmallJPEG(b *testing.B) {
	bench(b, benchH264, Output{ID: 1, Kind: OutputJPEG, Width: 640})
}
func BenchmarkH264ToGray(b *testing.B) {
	bench(b, benchH264, Output{ID: 1, Kind: OutputGray, Width: 320})
}
func BenchmarkH264ToH264(b *testing.B) {
	bench(b, benchH264, Output{ID: 1, Kind: OutputH264, Bitrate: 2_500_000})
}
func BenchmarkJPEGToH264(b *testing.B) {
	bench(b, benchJPEG, Output{ID: 1, Kind: OutputH264, Bitrate: 2_500_000})
}
func BenchmarkJPEGToSmallJPEG(b *testing.B) {
	bench(b, benchJPEG, Output{ID: 1, Kind: OutputJPEG, Width: 320})
}
