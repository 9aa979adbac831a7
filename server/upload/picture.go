package upload

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"camwire/media/codec"
	"camwire/media/mjpeg/jpegstream"
	"camwire/server"
)

// Bounds of a picture's size in pixels, so that nobody can make the server
// decode gigabytes. They are those of the decoders.
const (
	maxSide   = 16384
	maxPixels = 64 << 20
)

// picture is one whole JPEG.
type picture struct {
	data          []byte
	width, height int // pixels
}

var (
	errTooLarge = errors.New("too large")
	errNoEnd    = errors.New("the picture is cut off (no EOI)")
)

// parse checks that b is one whole JPEG with a size that can be afforded. It
// decodes nothing. What phones append behind the picture (depth maps, films)
// is left out, where the picture can be told from it.
func parse(b []byte) (picture, error) {
	w, h, err := codec.JPEGSize(b)
	if err != nil {
		return picture{}, err
	}
	if w > maxSide || h > maxSide || w*h > maxPixels {
		return picture{}, server.OverLimit(server.LimitPixels, http.StatusBadRequest, fmt.Errorf("the picture has %dx%d pixels: at most %d a side and %d in all are taken", w, h, maxSide, maxPixels))
	}
	if !codec.JPEGComplete(b) {
		n, ok := jpegstream.End(b)
		if !ok {
			return picture{}, errNoEnd
		}
		b = b[:n:n]
	}
	return picture{data: b, width: w, height: h}, nil
}

const (
	minBuffer = 16 << 10
	// tooRoomy is the unused part of a buffer in which a picture may stay: it
	// is kept as long as the picture is.
	tooRoomy = 4
)

// slurp reads r to its end into memory of its own; expect is how much that may
// be. Beyond limit it stops and returns errTooLarge. The buffer grows with what
// has come, not with what was announced.
func slurp(r io.Reader, expect, limit int) ([]byte, error) {
	b := make([]byte, 0, min(max(expect, minBuffer), limit)+1)
	for {
		if len(b) == cap(b) {
			// One more than the limit tells a picture of just that size from
			// one that is larger.
			grown := make([]byte, len(b), min(2*cap(b), limit+1))
			copy(grown, b)
			b = grown
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			if cap(b)-len(b) > len(b)/tooRoomy {
				b = append(make([]byte, 0, len(b)), b...)
			}
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}
