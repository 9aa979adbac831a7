// Package jpegstream cuts a stream of bytes into JPEG pictures: a
// multipart/x-mixed-replace body as cameras send it, or pictures one behind
// the other without anything between them.
//
// It hands out each picture with its last byte, without waiting for what
// follows, and believes as little as possible of what surrounds the pictures:
// boundaries, lengths and types are wrong in many cameras. It knows neither
// HTTP nor processes, and decodes nothing.
package jpegstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"camwire/media/codec"
)

// Limits.
const (
	// DefaultMax is the largest picture in bytes unless New is told another.
	DefaultMax = 5 << 20

	firstBuffer = 64 << 10
	leastRead   = 4 << 10
	maxLine     = 8 << 10
	// misled is how many parts in a row may end elsewhere than their
	// Content-Length says before it is no longer believed.
	misled = 3
)

var (
	// ErrTooLarge is a picture above the limit.
	ErrTooLarge = errors.New("picture too large")
	// ErrNoPicture is a stream without pictures.
	ErrNoPicture = errors.New("no JPEG picture")
)

// Picture is one JPEG picture.
type Picture struct {
	// Data goes from SOI to EOI; zero bytes may follow. It is the caller's.
	Data []byte
	// Timestamp is what the part's X-Timestamp header said, without
	// monotonic reading; the zero time if it said nothing.
	Timestamp time.Time
}

// Reader reads pictures. It is for one goroutine at a time.
type Reader struct {
	src      io.Reader
	boundary string // without leading dashes; may be empty
	max      int

	buf  []byte
	r, w int // what is unread is buf[r:w]

	part    part
	skipped int    // bytes since the last picture that belong to none
	dropped uint64 // pictures that were cut off or broken
	wrong   int    // lengths in a row that were wrong
	wild    bool   // lengths are not believed
	foreign string // the type of the last part that was no picture
}

// part is what the headers before a picture said.
type part struct {
	open   bool // headers are being read
	length int64
	known  bool // length is
	typ    string
	stamp  time.Time
}

// New returns a Reader. boundary is the parameter of the Content-Type, with or
// without leading dashes, or empty when there is none or it is unknown. limit
// is the size of the largest picture in bytes; 0 means DefaultMax.
func New(src io.Reader, boundary string, limit int) *Reader {
	if limit <= 0 {
		limit = DefaultMax
	}
	return &Reader{
		src: src, boundary: strings.TrimLeft(boundary, "-"), max: limit,
		buf: make([]byte, min(firstBuffer, limit+maxLine)),
	}
}

// Dropped returns how many pictures were cut off or broken so far.
func (r *Reader) Dropped() uint64 { return r.dropped }

// Next returns the next whole picture. The error is io.EOF at the end,
// io.ErrUnexpectedEOF when that is inside a picture, ErrTooLarge, ErrNoPicture,
// or what the underlying reader said. After an error the stream is done.
func (r *Reader) Next() (Picture, error) {
	for {
		if r.skipped > r.max {
			return Picture{}, r.lost()
		}
		b := r.buf[r.r:r.w]
		if len(b) < len(soi) && (len(b) == 0 || bytes.HasPrefix(soi, b)) {
			if err := r.fill(); err != nil {
				return Picture{}, err
			}
			continue
		}
		if bytes.HasPrefix(b, soi) {
			if p, err := r.walk(); err != nil || p.Data != nil {
				return p, err
			}
			continue
		}
		end := bytes.IndexByte(b, '\n')
		if i := bytes.Index(b, soi); i >= 0 && (end < 0 || i < end) {
			r.skip(i)
			continue
		}
		if end < 0 {
			if len(b) >= maxLine {
				r.skip(len(b) - len(soi) + 1) // the rest may be the start of a picture
			} else if err := r.fill(); err != nil {
				return Picture{}, err
			}
			continue
		}
		body := r.line(string(bytes.TrimSpace(b[:min(end, maxLine)])))
		r.skip(end + 1)
		if body {
			if p, err := r.sized(); err != nil || p.Data != nil {
				return p, err
			}
		}
	}
}

func (r *Reader) lost() error {
	if r.foreign != "" {
		return fmt.Errorf("%w: the parts are %.60q", ErrNoPicture, r.foreign)
	}
	return fmt.Errorf("%w in %d bytes", ErrNoPicture, r.skipped)
}

// skip goes past n bytes that belong to no picture.
func (r *Reader) skip(n int) {
	r.r += n
	r.skipped += n
}

// fill reads once. It moves what is unread only when the buffer is nearly full,
// and enlarges it only when it is.
func (r *Reader) fill() error {
	switch {
	case r.r == r.w:
		r.r, r.w = 0, 0
	case len(r.buf)-r.w < leastRead && r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	if r.w == len(r.buf) {
		r.buf = append(r.buf, make([]byte, min(len(r.buf), r.max+maxLine))...)
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		switch {
		case n > 0:
			return nil
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// line takes a line between pictures, and reports whether a body of known
// length follows it.
func (r *Reader) line(s string) (body bool) {
	switch {
	case s == "":
		body = r.part.open && r.part.known && !r.wild
		r.part.open = false
		return body
	case strings.HasPrefix(s, "--"), r.boundary != "" && strings.TrimSuffix(s, "--") == r.boundary:
		// Also one that was never announced: some send another boundary than
		// their Content-Type says.
		r.part = part{open: true}
		return false
	}
	key, value, ok := strings.Cut(s, ":")
	if !ok {
		return false
	}
	value = strings.TrimSpace(value)
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "content-length":
		n, err := strconv.ParseInt(value, 10, 64)
		r.part.length, r.part.known = n, err == nil && n >= 0
	case "content-type":
		typ, _, _ := strings.Cut(value, ";")
		r.part.typ = strings.ToLower(strings.TrimSpace(typ))
	case "x-timestamp":
		r.part.stamp = parseStamp(value)
	default:
		return false
	}
	r.part.open = true // headers without a boundary before them
	return false
}

// parseStamp reads unix seconds with a fraction.
func parseStamp(s string) time.Time {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v < 1e10) {
		return time.Time{}
	}
	whole, fraction := math.Modf(v)
	return time.Unix(int64(whole), int64(fraction*1e9))
}

// pictureType tells the types under which JPEG comes, among them none at all.
func pictureType(typ string) bool {
	switch typ {
	case "", "image/jpeg", "image/jpg", "image/pjpeg", "image/x-jpeg", "application/octet-stream", "video/x-jpeg":
		return true
	}
	return false
}

// sized reads a body of the length that its headers told. It returns no
// picture where the body is none.
func (r *Reader) sized() (Picture, error) {
	p := r.part
	r.part = part{}
	if !pictureType(p.typ) {
		r.foreign = p.typ
		return Picture{}, r.discard(p.length)
	}
	if p.length > int64(r.max) {
		return Picture{}, fmt.Errorf("%w: %d bytes announced, at most %d are taken", ErrTooLarge, p.length, r.max)
	}
	if p.length == 0 {
		return Picture{}, nil
	}
	// A second empty line before the body is not counted in its length.
	for {
		for r.r < r.w && (r.buf[r.r] == '\r' || r.buf[r.r] == '\n') {
			r.skip(1)
		}
		if r.r < r.w {
			break
		}
		if r.skipped > r.max {
			return Picture{}, r.lost()
		}
		if err := r.fill(); err != nil {
			return Picture{}, err
		}
	}
	data := make([]byte, p.length)
	n := copy(data, r.buf[r.r:r.w])
	r.r += n
	if _, err := io.ReadFull(r.src, data[n:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Picture{}, err
	}
	if !codec.JPEGComplete(data) {
		r.dropped++
		r.skipped += len(data)
		if r.wrong++; r.wrong >= misled {
			r.wild = true
		}
		return Picture{}, nil
	}
	r.wrong, r.skipped = 0, 0
	return Picture{Data: data, Timestamp: p.stamp}, nil
}

// discard goes past a body that is no picture.
func (r *Reader) discard(n int64) error {
	if n > int64(r.max) {
		return fmt.Errorf("%w: the parts are %.60q", ErrNoPicture, r.foreign)
	}
	for n > 0 {
		if r.r == r.w {
			if err := r.fill(); err != nil {
				return err
			}
		}
		take := min(int(n), r.w-r.r)
		r.skip(take)
		n -= int64(take)
	}
	return nil
}

// walk reads a picture from its SOI to its EOI. It returns no picture where
// that turns out to be broken.
func (r *Reader) walk() (Picture, error) {
	stamp := r.part.stamp
	r.part = part{}
	var w walker
	for {
		switch p, at := w.step(r.buf[r.r:r.w]); p {
		case whole:
			if at > r.max {
				return Picture{}, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, at, r.max)
			}
			data := bytes.Clone(r.buf[r.r : r.r+at])
			r.r += at
			r.skipped = 0
			return Picture{Data: data, Timestamp: stamp}, nil
		case anew:
			r.dropped++
			r.skip(at)
			return Picture{}, nil
		case broken:
			r.dropped++
			r.skip(2)
			return Picture{}, nil
		}
		if r.w-r.r > r.max {
			return Picture{}, fmt.Errorf("%w: no end after %d bytes", ErrTooLarge, r.max)
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Picture{}, err
		}
	}
}
