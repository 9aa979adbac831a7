//go:build cgo

package libav

/*
#cgo pkg-config: libavcodec libavutil libswscale
#cgo CFLAGS: -O3
#include "cwav.h"
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"camwire/media"
)

// ErrInvalid means that libavcodec could not make sense of the bytes.
var ErrInvalid = errors.New("libav: invalid data")

// Error is any other error code of the libraries.
type Error int

// Error gives the libraries' own words.
func (e Error) Error() string {
	var buf [128]C.char
	C.av_strerror(C.int(e), &buf[0], C.size_t(len(buf)))
	return "libav: " + C.GoString(&buf[0])
}

func toError(r C.int) error {
	if r == C.AVERROR_INVALIDDATA {
		return ErrInvalid
	}
	return Error(r)
}

// names lists the decoders to try for each codec, best first.
var names = map[media.Codec]string{
	media.H264: "h264",
	media.H265: "hevc",
	media.VP8:  "vp8",
	media.VP9:  "vp9",
	media.AV1:  "libdav1d,libaom-av1",
}

// Check reports whether the libraries found at run time are of the major
// versions this program was compiled with. Nothing else in this package may be used if not.
func Check() error {
	var built, found [3]C.uint
	if C.cwav_check(&built[0], &found[0]) != 0 {
		return nil
	}
	return fmt.Errorf("libav: built for libavcodec %d, libavutil %d, libswscale %d, but found %d, %d, %d: "+
		"install the matching FFmpeg libraries or build again with go build -a",
		built[0], built[1], built[2], found[0], found[1], found[2])
}

// Versions names the libraries found at run time, for logs.
func Versions() string {
	var built, found [3]C.uint
	C.cwav_check(&built[0], &found[0])
	return fmt.Sprintf("libavcodec %d, libavutil %d, libswscale %d", found[0], found[1], found[2])
}

// Setup silences the libraries' own log and limits each of their allocations
// to maxAlloc bytes. It holds for the whole process, so it is for the main
// function of a process whose only job is this.
func Setup(maxAlloc int64) { C.cwav_setup(C.int64_t(maxAlloc)) }

// Options for a Decoder.
type Options struct {
	// MaxPixels limits width × height; 0 means 64 Mi.
	MaxPixels int
	// Reordered says that the stream may have B-frames; pictures then come
	// late enough to be in order. Without it each comes at once.
	Reordered bool
}

// Decoder decodes one stream. It is for one goroutine.
type Decoder struct {
	d *C.cwav
}

// Open makes a decoder for H264, H265, VP8, VP9 or AV1.
func Open(c media.Codec, o Options) (*Decoder, error) {
	n, ok := names[c]
	if !ok {
		return nil, fmt.Errorf("libav: no decoder for %s", c)
	}
	if err := Check(); err != nil {
		return nil, err
	}
	if o.MaxPixels <= 0 {
		o.MaxPixels = 64 << 20
	}
	cs := C.CString(n)
	defer C.free(unsafe.Pointer(cs))
	var low, e C.int
	if !o.Reordered {
		low = 1
	}
	d := C.cwav_open(cs, C.int64_t(o.MaxPixels), low, &e)
	if d == nil {
		return nil, fmt.Errorf("libav: cannot open a decoder for %s: %w", c, toError(e))
	}
	return &Decoder{d: d}, nil
}

// Decode feeds one whole access unit (Annex B for H264 and H265, OBUs with
// size fields for AV1) and calls fn for each picture that comes out; with
// B-frames that is none at first. The id comes back in the Picture that was
// coded in this access unit. The picture is valid inside fn only. A picture
// can come out although an error is returned.
func (d *Decoder) Decode(au []byte, id int64, fn func(*Picture) error) error {
	if d.d == nil {
		return errors.New("libav: decoder is closed")
	}
	if len(au) == 0 || len(au) > 1<<30 {
		return ErrInvalid
	}
	sent := C.cwav_send(d.d, (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(au))), C.int(len(au)), C.int64_t(id))
	for {
		var c C.cwav_pic
		r := C.cwav_recv(d.d, &c)
		if r == 0 {
			break
		}
		if r < 0 {
			return toError(r)
		}
		p := Picture{
			Width: int(c.w), Height: int(c.h), Format: Format(c.fmt), FullRange: c.full != 0,
			ID: int64(c.id), Key: c.key != 0, Corrupt: c.corrupt != 0,
		}
		for i := range p.plane {
			p.plane[i], p.stride[i] = unsafe.Pointer(c.p[i]), int(c.stride[i])
		}
		if err := fn(&p); err != nil {
			return err
		}
	}
	if sent < 0 {
		return toError(sent)
	}
	return nil
}

// Flush forgets all pictures and waits for a key frame.
func (d *Decoder) Flush() {
	if d.d != nil {
		C.cwav_flush(d.d)
	}
}

// Close frees the decoder. It may be called more than once.
func (d *Decoder) Close() {
	C.cwav_close(d.d)
	d.d = nil
}
