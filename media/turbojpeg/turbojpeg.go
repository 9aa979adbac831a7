//go:build cgo

package turbojpeg

/*
#cgo pkg-config: libturbojpeg
#cgo CFLAGS: -O2
#include <stdlib.h>
#include <turbojpeg.h>

// The flag came with libjpeg-turbo 2.1.
#ifndef TJFLAG_LIMITSCANS
#define TJFLAG_LIMITSCANS 0
#endif

typedef struct { tjhandle h; unsigned char *buf; unsigned long cap; } cwtj;

// The JPEG lies in t->buf until the next call.
static int cwtj_encode(cwtj *t, const unsigned char *y, const unsigned char *u, const unsigned char *v,
                       int ys, int cs, int w, int h, int sub, int q, unsigned long *n) {
  unsigned long need = tjBufSize(w, h, sub);
  if (need == (unsigned long)-1 || need > 0x7fffffff) return -1;
  if (t->cap < need) {
    tjFree(t->buf);
    t->cap = 0;
    t->buf = tjAlloc((int)need);
    if (!t->buf) return -1;
    t->cap = need;
  }
  const unsigned char *p[3] = {y, u, v};
  int s[3] = {ys, cs, cs};
  *n = t->cap;
  return tjCompressFromYUVPlanes(t->h, p, w, s, h, sub, &t->buf, n, q, TJFLAG_NOREALLOC);
}

static int cwtj_decode(tjhandle t, const unsigned char *b, unsigned long n, unsigned char *y, unsigned char *u, unsigned char *v,
                       int ys, int cs, int w, int h) {
  unsigned char *p[3] = {y, u, v};
  int s[3] = {ys, cs, cs};
  // Hundreds of progressive scans would keep the decoder busy for minutes.
  return tjDecompressToYUVPlanes(t, b, n, p, w, s, h, TJFLAG_LIMITSCANS);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"image"
	"strings"
	"unsafe"
)

// MaxSide is the largest width or height in pixels, MaxPixels the largest
// product of both.
const (
	MaxSide   = 16384
	MaxPixels = 64 << 20
)

// Errors that callers tell apart.
var (
	// ErrInvalid means that the bytes are no JPEG that can be decoded.
	ErrInvalid = errors.New("turbojpeg: invalid JPEG")
	// ErrDamaged means that there is a picture but part of it is missing.
	ErrDamaged = errors.New("turbojpeg: damaged JPEG")
	// ErrTooLarge means that the picture is over the limits.
	ErrTooLarge = errors.New("turbojpeg: picture is too large")
)

// Encoder makes JPEGs. It is for one goroutine.
type Encoder struct{ t C.cwtj }

// NewEncoder makes an encoder; Close it.
func NewEncoder() (*Encoder, error) {
	e := &Encoder{}
	if e.t.h = C.tjInitCompress(); e.t.h == nil {
		return nil, errors.New("turbojpeg: cannot make an encoder: out of memory")
	}
	return e, nil
}

// Close frees the encoder. It may be called more than once.
func (e *Encoder) Close() {
	if e.t.h != nil {
		C.tjDestroy(e.t.h)
		C.tjFree(e.t.buf)
		e.t = C.cwtj{}
	}
}

// Encode makes a baseline JPEG out of full-range samples, with quality 1 to
// 100. The result is a copy. Planes of odd size are best given with the row
// and column that complete the last sampling block, else they are copied.
func (e *Encoder) Encode(m *image.YCbCr, quality int) ([]byte, error) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if err := limit(w, h, MaxPixels); err != nil {
		return nil, err
	}
	if e.t.h == nil {
		return nil, errors.New("turbojpeg: encoder is closed")
	}
	sub, err := subsampling(m.SubsampleRatio)
	if err != nil {
		return nil, err
	}
	if !roomy(m, sub, w, h) {
		if m, err = padded(m, sub, w, h); err != nil {
			return nil, err
		}
	}
	return e.encode(m.Y, m.Cb, m.Cr, m.YStride, m.CStride, w, h, sub, quality)
}

// EncodeGray makes a JPEG with luma only.
func (e *Encoder) EncodeGray(m *image.Gray, quality int) ([]byte, error) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if err := limit(w, h, MaxPixels); err != nil {
		return nil, err
	}
	if e.t.h == nil {
		return nil, errors.New("turbojpeg: encoder is closed")
	}
	if m.Stride < w || len(m.Pix) < m.Stride*(h-1)+w {
		return nil, errors.New("turbojpeg: plane is too short")
	}
	return e.encode(m.Pix, nil, nil, m.Stride, 0, w, h, C.TJSAMP_GRAY, quality)
}

func (e *Encoder) encode(y, cb, cr []byte, ys, cs, w, h int, sub C.int, quality int) ([]byte, error) {
	var n C.ulong
	if C.cwtj_encode(&e.t, ptr(y), ptr(cb), ptr(cr), C.int(ys), C.int(cs), C.int(w), C.int(h),
		sub, C.int(min(max(quality, 1), 100)), &n) != 0 {
		return nil, fmt.Errorf("turbojpeg: cannot encode %dx%d: %s", w, h, lastError(e.t.h))
	}
	return C.GoBytes(unsafe.Pointer(e.t.buf), C.int(n)), nil
}

// Header is what a JPEG says of itself.
type Header struct {
	Width, Height int
	// Ratio is the chroma subsampling; Gray says that there is no chroma.
	Ratio image.YCbCrSubsampleRatio
	Gray  bool
}

// Decoder reads JPEGs. It is for one goroutine.
type Decoder struct {
	// MaxPixels limits width × height; 0 means the constant MaxPixels.
	MaxPixels int

	h C.tjhandle
}

// NewDecoder makes a decoder; Close it.
func NewDecoder() (*Decoder, error) {
	h := C.tjInitDecompress()
	if h == nil {
		return nil, errors.New("turbojpeg: cannot make a decoder: out of memory")
	}
	return &Decoder{h: h}, nil
}

// Close frees the decoder. It may be called more than once.
func (d *Decoder) Close() {
	if d.h != nil {
		C.tjDestroy(d.h)
		d.h = nil
	}
}

// Header reads the header and checks the limits: nothing of the picture's
// size has been allocated then.
func (d *Decoder) Header(b []byte) (Header, error) {
	if d.h == nil {
		return Header{}, errors.New("turbojpeg: decoder is closed")
	}
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return Header{}, fmt.Errorf("%w: it does not begin with FF D8", ErrInvalid)
	}
	var w, h, sub, space C.int
	if C.tjDecompressHeader3(d.h, ptr(b), C.ulong(len(b)), &w, &h, &sub, &space) != 0 {
		err := fmt.Errorf("%w: %s", ErrInvalid, lastError(d.h))
		return Header{}, errors.Join(err, d.renew())
	}
	most := d.MaxPixels
	if most <= 0 || most > MaxPixels {
		most = MaxPixels
	}
	if err := limit(int(w), int(h), most); err != nil {
		return Header{}, err
	}
	r := Header{Width: int(w), Height: int(h)}
	if space != C.TJCS_YCbCr && space != C.TJCS_GRAY {
		return r, fmt.Errorf("%w: its colours are neither YCbCr nor gray", ErrInvalid)
	}
	switch sub {
	case C.TJSAMP_420:
		r.Ratio = image.YCbCrSubsampleRatio420
	case C.TJSAMP_422:
		r.Ratio = image.YCbCrSubsampleRatio422
	case C.TJSAMP_444:
		r.Ratio = image.YCbCrSubsampleRatio444
	case C.TJSAMP_440:
		r.Ratio = image.YCbCrSubsampleRatio440
	case C.TJSAMP_411:
		r.Ratio = image.YCbCrSubsampleRatio411
	case C.TJSAMP_GRAY:
		r.Gray = true
	default:
		return r, fmt.Errorf("%w: unusual chroma subsampling", ErrInvalid)
	}
	return r, nil
}

// renew replaces the library's decoder: after a bad header it would go on in
// the middle of that one, and refuse the next good JPEG as well.
func (d *Decoder) renew() error {
	C.tjDestroy(d.h)
	if d.h = C.tjInitDecompress(); d.h == nil {
		return errors.New("turbojpeg: cannot make a decoder: out of memory")
	}
	return nil
}

// Scaled is the size of the picture divided by denom, which is 1, 2, 4 or 8.
func (h Header) Scaled(denom int) (width, height int) {
	return (h.Width + denom - 1) / denom, (h.Height + denom - 1) / denom
}

// Decode reads the JPEG that Header was read from into dst, whose size is
// Header.Scaled(1, 2, 4 or 8) and whose ratio is the header's. The planes must
// have room for whole sampling blocks (libav.Image.Buffer has, Shape makes
// such). With Gray only Y is written. ErrDamaged means that something is in
// dst but not all of it is good.
func (d *Decoder) Decode(b []byte, head Header, dst *image.YCbCr) error {
	if d.h == nil {
		return errors.New("turbojpeg: decoder is closed")
	}
	if len(b) < 4 {
		return ErrInvalid
	}
	w, h := dst.Rect.Dx(), dst.Rect.Dy()
	sub := C.int(C.TJSAMP_GRAY)
	if !head.Gray {
		if dst.SubsampleRatio != head.Ratio {
			return errors.New("turbojpeg: picture has another subsampling than the JPEG")
		}
		var err error
		if sub, err = subsampling(head.Ratio); err != nil {
			return err
		}
	}
	// What is in b may differ from the header that the room was made for.
	again, err := d.Header(b)
	if err != nil {
		return err
	}
	if again != head || !scaledSize(head, w, h) || !roomy(dst, sub, w, h) {
		return errors.New("turbojpeg: picture does not fit the JPEG")
	}
	if C.cwtj_decode(d.h, ptr(b), C.ulong(len(b)), ptr(dst.Y), ptr(dst.Cb), ptr(dst.Cr),
		C.int(dst.YStride), C.int(dst.CStride), C.int(w), C.int(h)) == 0 {
		return nil
	}
	text := lastError(d.h)
	switch {
	case C.tjGetErrorCode(d.h) != C.TJERR_WARNING:
		return fmt.Errorf("%w: %s", ErrInvalid, text)
	case strings.Contains(text, "extraneous bytes"):
		// Some cameras pad before a marker; every pixel is there.
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, text)
}

// Shape allocates a picture for Decode in Go memory.
func Shape(head Header, denom int) (*image.YCbCr, error) {
	w, h := head.Scaled(denom)
	if head.Gray {
		head.Ratio = image.YCbCrSubsampleRatio420
	}
	if _, err := subsampling(head.Ratio); err != nil {
		return nil, err
	}
	m := image.NewYCbCr(image.Rect(0, 0, (w+3)&^3, (h+3)&^3), head.Ratio)
	m.Rect = image.Rect(0, 0, w, h)
	return m, nil
}

func scaledSize(head Header, w, h int) bool {
	for _, n := range []int{1, 2, 4, 8} {
		if x, y := head.Scaled(n); x == w && y == h {
			return true
		}
	}
	return false
}

func limit(w, h, pixels int) error {
	if w <= 0 || h <= 0 {
		return fmt.Errorf("%w: it is %d by %d pixels", ErrInvalid, w, h)
	}
	if w > MaxSide || h > MaxSide || w*h > pixels {
		return fmt.Errorf("%w: %d by %d pixels", ErrTooLarge, w, h)
	}
	return nil
}

func subsampling(r image.YCbCrSubsampleRatio) (C.int, error) {
	switch r {
	case image.YCbCrSubsampleRatio420:
		return C.TJSAMP_420, nil
	case image.YCbCrSubsampleRatio422:
		return C.TJSAMP_422, nil
	case image.YCbCrSubsampleRatio444:
		return C.TJSAMP_444, nil
	case image.YCbCrSubsampleRatio440:
		return C.TJSAMP_440, nil
	case image.YCbCrSubsampleRatio411:
		return C.TJSAMP_411, nil
	}
	return 0, fmt.Errorf("turbojpeg: no subsampling %v", r)
}

// roomy reports whether the planes hold whole sampling blocks, which is what
// the library reads and writes.
func roomy(m *image.YCbCr, sub C.int, w, h int) bool {
	fits := func(i C.int, b []byte, stride int) bool {
		pw, ph := int(C.tjPlaneWidth(i, C.int(w), sub)), int(C.tjPlaneHeight(i, C.int(h), sub))
		return pw > 0 && ph > 0 && stride >= pw && cap(b) >= stride*(ph-1)+pw
	}
	if sub == C.TJSAMP_GRAY {
		return fits(0, m.Y, m.YStride)
	}
	return fits(0, m.Y, m.YStride) && fits(1, m.Cb, m.CStride) && fits(2, m.Cr, m.CStride)
}

// padded copies a picture of odd size and repeats its edges.
func padded(m *image.YCbCr, sub C.int, w, h int) (*image.YCbCr, error) {
	out := &image.YCbCr{SubsampleRatio: m.SubsampleRatio, Rect: image.Rect(0, 0, w, h)}
	sx, sy := factors(m.SubsampleRatio)
	plane := func(i C.int, b []byte, stride, w, h int) ([]byte, int, error) {
		pw, ph := int(C.tjPlaneWidth(i, C.int(out.Rect.Dx()), sub)), int(C.tjPlaneHeight(i, C.int(out.Rect.Dy()), sub))
		if stride < w || len(b) < stride*(h-1)+w {
			return nil, 0, errors.New("turbojpeg: plane is too short")
		}
		d := make([]byte, pw*ph)
		for y := range ph {
			row := b[min(y, h-1)*stride:]
			n := copy(d[y*pw:(y+1)*pw], row[:w])
			for x := n; x < pw; x++ {
				d[y*pw+x] = row[w-1]
			}
		}
		return d, pw, nil
	}
	var err error
	if out.Y, out.YStride, err = plane(0, m.Y, m.YStride, w, h); err != nil {
		return nil, err
	}
	if out.Cb, out.CStride, err = plane(1, m.Cb, m.CStride, (w+sx-1)/sx, (h+sy-1)/sy); err != nil {
		return nil, err
	}
	out.Cr, _, err = plane(2, m.Cr, m.CStride, (w+sx-1)/sx, (h+sy-1)/sy)
	return out, err
}

func factors(r image.YCbCrSubsampleRatio) (x, y int) {
	switch r {
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	}
	return 1, 1
}

func ptr(b []byte) *C.uchar { return (*C.uchar)(unsafe.Pointer(unsafe.SliceData(b))) }

func lastError(h C.tjhandle) string { return C.GoString(C.tjGetErrorStr2(h)) }
