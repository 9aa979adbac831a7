package command

import (
	"errors"
	"fmt"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/mjpeg/jpegstream"
)

// Limits of a picture: what a viewer's decoder can be asked to take.
const (
	maxSide   = 16384
	maxPixels = 64 << 20
)

// jpeg passes on pictures, each with its last byte.
func (e *emitter) jpeg() error {
	r := jpegstream.New(e.pipe, "", maxUnit)
	var dropped uint64
	started := false
	for {
		p, err := r.Next()
		if d := r.Dropped(); d != dropped {
			e.drop(d-dropped, "the pictures are cut off or broken")
			dropped = d
		}
		switch {
		case errors.Is(err, jpegstream.ErrTooLarge):
			return fmt.Errorf("%w: %w", ErrTooLarge, err)
		case errors.Is(err, jpegstream.ErrNoPicture):
			return fmt.Errorf("%w: %w", ErrFormat, err)
		case err != nil:
			return ended(err)
		}
		w, h, err := codec.JPEGSize(p.Data)
		switch {
		case err != nil:
			e.drop(1, err.Error())
			continue
		case w > maxSide || h > maxSide || w*h > maxPixels:
			e.drop(1, fmt.Sprintf("the pictures are %dx%d, at most %d per side and %d Mpixel are taken", w, h, maxSide, maxPixels>>20))
			continue
		}
		if !started {
			started = true
			e.sink.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000, Width: w, Height: h}})
		}
		e.write(&media.Frame{
			PTS: e.stamp(e.pipe.at), Arrived: e.pipe.at, Key: true, Units: [][]byte{p.Data},
		}, true)
	}
}
