//go:build cgo

package libav

/*
#include "cwav.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"image"
	"unsafe"
)

// Format is how the pixels of a picture lie in memory. It is libavutil's
// number; decoders may deliver others than the ones named here.
type Format int

// Formats that this package names.
const (
	I420 Format = C.AV_PIX_FMT_YUV420P
	I422 Format = C.AV_PIX_FMT_YUV422P
	I444 Format = C.AV_PIX_FMT_YUV444P
	I440 Format = C.AV_PIX_FMT_YUV440P
	I411 Format = C.AV_PIX_FMT_YUV411P
	Gray Format = C.AV_PIX_FMT_GRAY8
	NV12 Format = C.AV_PIX_FMT_NV12
	YUYV Format = C.AV_PIX_FMT_YUYV422
)

// FormatOf gives the planar format for a subsampling, 4:4:4 for unknown ones.
func FormatOf(r image.YCbCrSubsampleRatio) Format {
	for _, f := range []Format{I420, I422, I440, I411} {
		if f.ratio() == r {
			return f
		}
	}
	return I444
}

func (f Format) ratio() image.YCbCrSubsampleRatio {
	switch f {
	case I420:
		return image.YCbCrSubsampleRatio420
	case I422:
		return image.YCbCrSubsampleRatio422
	case I440:
		return image.YCbCrSubsampleRatio440
	case I411:
		return image.YCbCrSubsampleRatio411
	}
	return image.YCbCrSubsampleRatio444
}

// shift gives the subsampling of the chroma planes as powers of two.
func (f Format) shift() (x, y int, planar bool) {
	switch f {
	case I420:
		return 1, 1, true
	case I422:
		return 1, 0, true
	case I444:
		return 0, 0, true
	case I440:
		return 0, 1, true
	case I411:
		return 2, 0, true
	}
	return 0, 0, false
}

// luma reports whether the first plane is 8-bit luma and nothing else.
func (f Format) luma() bool {
	_, _, planar := f.shift()
	return planar || f == Gray || f == NV12
}

// Picture is a view of a picture; whose memory it is depends on where it
// came from.
type Picture struct {
	Width, Height int
	Format        Format
	// FullRange says that luma and chroma use 0 to 255 instead of 16 to 235
	// and 16 to 240.
	FullRange bool
	// ID is what Decode was given with the access unit of this picture.
	ID int64
	// Key marks an intra picture, Corrupt one that the decoder knows to be
	// damaged (only H264 and AV1 decoders do).
	Key, Corrupt bool

	plane  [4]unsafe.Pointer
	stride [4]int
}

// Wrap makes a Picture of tightly packed planes in Go memory: three for I420,
// two for NV12, one for YUYV. Planes that are too short are an error, what is
// too long is ignored. The scaler reads whole vectors: the planes' memory must
// go on for 64 bytes after the last plane (capacity is enough).
func Wrap(f Format, width, height int, fullRange bool, planes [][]byte) (Picture, error) {
	if width <= 0 || height <= 0 || width > 1<<15 || height > 1<<15 {
		return Picture{}, fmt.Errorf("libav: picture of %dx%d", width, height)
	}
	cw, ch := (width+1)/2, (height+1)/2
	var stride, rows []int
	switch f {
	case I420:
		stride, rows = []int{width, cw, cw}, []int{height, ch, ch}
	case NV12:
		stride, rows = []int{width, 2 * cw}, []int{height, ch}
	case YUYV:
		stride, rows = []int{4 * cw}, []int{height}
	default:
		return Picture{}, fmt.Errorf("libav: cannot wrap format %d", f)
	}
	p := Picture{Width: width, Height: height, Format: f, FullRange: fullRange}
	if len(planes) != len(stride) {
		return Picture{}, fmt.Errorf("libav: %d planes instead of %d", len(planes), len(stride))
	}
	for i, b := range planes {
		if len(b) < stride[i]*rows[i] {
			return Picture{}, fmt.Errorf("libav: plane %d of a %dx%d picture has %d bytes instead of %d",
				i, width, height, len(b), stride[i]*rows[i])
		}
		p.plane[i], p.stride[i] = unsafe.Pointer(unsafe.SliceData(b)), stride[i]
	}
	return p, nil
}

// Crop returns a view of the upper left part.
func (p Picture) Crop(width, height int) Picture {
	p.Width, p.Height = min(width, p.Width), min(height, p.Height)
	return p
}

// YCbCr is a view of the same memory for planar 8-bit formats, else nil. The
// range is what FullRange says, whereas Go's image package means full.
func (p *Picture) YCbCr() *image.YCbCr {
	sx, sy, planar := p.Format.shift()
	if !planar || p.stride[0] <= 0 || p.stride[1] <= 0 || p.stride[1] != p.stride[2] {
		return nil
	}
	cw, ch := (p.Width+1<<sx-1)>>sx, (p.Height+1<<sy-1)>>sy
	// The last row ends with the picture: its padding need not be ours.
	view := func(i, w, h int) []byte {
		return unsafe.Slice((*byte)(p.plane[i]), p.stride[i]*(h-1)+w)
	}
	return &image.YCbCr{
		Y: view(0, p.Width, p.Height), Cb: view(1, cw, ch), Cr: view(2, cw, ch),
		YStride: p.stride[0], CStride: p.stride[1], SubsampleRatio: p.Format.ratio(), Rect: image.Rect(0, 0, p.Width, p.Height),
	}
}

// Buffer is YCbCr for an Image, with the padding at the right and at the
// bottom included: JPEG decoders store whole sampling blocks. A Gray image has
// no chroma planes.
func (m *Image) Buffer() *image.YCbCr {
	rows := (m.Height + 3) &^ 3
	view := func(i, w, h int) []byte {
		return unsafe.Slice((*byte)(m.plane[i]), m.stride[i]*(h-1)+w)
	}
	if m.Format == Gray {
		return &image.YCbCr{Y: view(0, m.Width+64, rows), YStride: m.stride[0], Rect: image.Rect(0, 0, m.Width, m.Height)}
	}
	v := m.YCbCr()
	if v == nil {
		return nil
	}
	sx, sy, _ := m.Format.shift()
	crows := (rows + 1<<sy - 1) >> sy
	cwidth := (m.Width + 64 + 1<<sx - 1) >> sx
	v.Y, v.Cb, v.Cr = view(0, m.Width+64, rows), view(1, cwidth, crows), view(2, cwidth, crows)
	return v
}

// Luma is a view of the luma plane and its stride, nil if there is none.
func (p *Picture) Luma() ([]byte, int) {
	if !p.Format.luma() || p.stride[0] <= 0 {
		return nil, 0
	}
	return unsafe.Slice((*byte)(p.plane[0]), p.stride[0]*(p.Height-1)+p.Width), p.stride[0]
}

// Image is a picture that owns its memory, aligned as the libraries like it.
type Image struct {
	Picture
}

// NewImage allocates a picture of one of the planar formats or Gray.
func NewImage(f Format, width, height int, fullRange bool) (*Image, error) {
	if _, _, planar := f.shift(); !planar && f != Gray {
		return nil, fmt.Errorf("libav: cannot allocate format %d", f)
	}
	var p [4]*C.uint8_t
	var s [4]C.int
	if width <= 0 || height <= 0 || width > 1<<15 || height > 1<<15 {
		return nil, fmt.Errorf("libav: picture of %dx%d", width, height)
	}
	if r := C.cwav_buffer(C.int(f), C.int(width), C.int(height), &p[0], &s[0]); r < 0 {
		return nil, toError(r)
	}
	m := &Image{Picture{Width: width, Height: height, Format: f, FullRange: fullRange}}
	for i := range p {
		m.plane[i], m.stride[i] = unsafe.Pointer(p[i]), int(s[i])
	}
	return m, nil
}

// Fits reports whether the image has this shape.
func (m *Image) Fits(f Format, width, height int, fullRange bool) bool {
	return m != nil && m.Format == f && m.Width == width && m.Height == height && m.FullRange == fullRange
}

// Free gives the memory back. It may be called more than once, and on nil.
func (m *Image) Free() {
	if m != nil {
		C.av_free(m.plane[0])
		m.Picture = Picture{}
	}
}

// Converter brings pictures into the size, format and range of an Image. It
// keeps what it needs for the last pair of shapes. It is for one goroutine.
type Converter struct {
	c        *C.struct_SwsContext
	src, dst shape
}

type shape struct {
	w, h int
	f    Format
	full bool
}

func (p *Picture) shape() shape { return shape{p.Width, p.Height, p.Format, p.FullRange} }

// Convert writes src into dst.
func (c *Converter) Convert(dst *Image, src *Picture) error {
	if src.Width <= 0 || dst.Width <= 0 {
		return errors.New("libav: empty picture")
	}
	if convertPlain(dst, src) {
		return nil
	}
	if c.c == nil || c.src != src.shape() || c.dst != dst.shape() {
		c.Close()
		flags := C.int(C.SWS_BILINEAR)
		if dst.Width*4 <= src.Width {
			flags = C.SWS_AREA // looks at every pixel, whatever the factor
		}
		var e C.int
		c.c = C.cwav_scaler(C.int(src.Width), C.int(src.Height), C.int(src.Format), toInt(src.FullRange),
			C.int(dst.Width), C.int(dst.Height), C.int(dst.Format), toInt(dst.FullRange), flags, &e)
		if c.c == nil {
			return fmt.Errorf("libav: cannot scale %dx%d to %dx%d: %w", src.Width, src.Height, dst.Width, dst.Height, toError(e))
		}
		c.src, c.dst = src.shape(), dst.shape()
	}
	s, d := src.ptr, dst.ptr
	r := C.cwav_scale(c.c, C.int(src.Height), s(0), s(1), s(2), s(3),
		C.int(src.stride[0]), C.int(src.stride[1]), C.int(src.stride[2]), C.int(src.stride[3]),
		d(0), d(1), d(2), C.int(dst.stride[0]), C.int(dst.stride[1]), C.int(dst.stride[2]))
	if r < 0 {
		return toError(r)
	}
	return nil
}

// Close frees what Convert kept. The Converter can be used again.
func (c *Converter) Close() {
	C.sws_freeContext(c.c)
	c.c = nil
}

func (p *Picture) ptr(i int) *C.uint8_t { return (*C.uint8_t)(p.plane[i]) }

func toInt(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// convertPlain does what needs no scaler: the same size with another range or
// another owner.
func convertPlain(dst *Image, src *Picture) bool {
	if dst.Width != src.Width || dst.Height != src.Height || !src.Format.luma() || src.stride[0] <= 0 {
		return false
	}
	sx, sy, planar := dst.Format.shift()
	if dst.Format != Gray && (!planar || dst.Format != src.Format) {
		return false
	}
	one := func(i, w, h int, chroma bool) {
		d, ds, s, ss := dst.ptr(i), C.int(dst.stride[i]), src.ptr(i), C.int(src.stride[i])
		cw, ch := C.int(w), C.int(h)
		switch {
		case dst.FullRange == src.FullRange:
			C.cwav_copy(d, ds, s, ss, cw, ch)
		case dst.FullRange && chroma:
			C.cwav_chroma_full(d, ds, s, ss, cw, ch)
		case dst.FullRange:
			C.cwav_luma_full(d, ds, s, ss, cw, ch)
		case chroma:
			C.cwav_chroma_limited(d, ds, s, ss, cw, ch)
		default:
			C.cwav_luma_limited(d, ds, s, ss, cw, ch)
		}
	}
	one(0, src.Width, src.Height, false)
	if planar {
		cw, ch := (src.Width+1<<sx-1)>>sx, (src.Height+1<<sy-1)>>sy
		one(1, cw, ch, true)
		one(2, cw, ch, true)
	}
	return true
}

// DecodeYCbCr decodes one key frame and returns a copy of its picture, for
// tests and tools. The samples are in the range the stream has.
func DecodeYCbCr(d *Decoder, au []byte) (*image.YCbCr, error) {
	var out *image.YCbCr
	err := d.Decode(au, 0, func(p *Picture) error {
		v := p.YCbCr()
		if v == nil {
			return fmt.Errorf("libav: format %d is not planar 8-bit", p.Format)
		}
		out = &image.YCbCr{
			Y: append([]byte(nil), v.Y...), Cb: append([]byte(nil), v.Cb...), Cr: append([]byte(nil), v.Cr...),
			YStride: v.YStride, CStride: v.CStride, SubsampleRatio: v.SubsampleRatio, Rect: v.Rect,
		}
		return nil
	})
	if err == nil && out == nil {
		err = errors.New("libav: no picture yet")
	}
	return out, err
}
