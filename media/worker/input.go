//go:build cgo

package worker

import (
	"errors"
	"fmt"

	"camwire/media"
	"camwire/media/libav"
	"camwire/media/turbojpeg"
)

func openInput(t media.Track, maxPixels int) (input, error) {
	switch {
	case t.Codec == media.JPEG:
		d, err := turbojpeg.NewDecoder()
		if err != nil {
			return nil, err
		}
		d.MaxPixels = maxPixels
		return &jpegInput{d: d}, nil
	case t.Codec.Raw():
		if t.Width <= 0 || t.Height <= 0 || t.Width*t.Height > maxPixels {
			return nil, fmt.Errorf("raw picture of %dx%d", t.Width, t.Height)
		}
		return &rawInput{t: t}, nil
	}
	d, err := libav.Open(t.Codec, libav.Options{MaxPixels: maxPixels, Reordered: t.Reordered})
	if err != nil {
		return nil, err
	}
	in := &libavInput{t: t, d: d, params: t.Params}
	in.reset()
	return in, nil
}

// needKeyError is trouble that a key frame ends.
type needKeyError struct{ err error }

func (e *needKeyError) Error() string { return e.err.Error() }
func (e *needKeyError) Unwrap() error { return e.err }

const (
	// maxErrors since the last key frame are a broken stream; up to then the
	// decoder conceals and goes on.
	maxErrors = 3
	// maxBlank frames without a picture are more than any reordering takes.
	maxBlank = 20
)

// libavInput decodes H264, H265, VP8, VP9 and AV1.
type libavInput struct {
	t       media.Track
	d       *libav.Decoder
	buf     []byte
	params  [][]byte // still to be given to the decoder
	shut    bool     // nothing but a key frame may reach the decoder
	waiting bool     // for the first whole picture
	blank   int      // frames without one since then
	errs    int      // since the last key frame
}

// reset waits for a key frame. The H264 decoder itself holds pictures back until
// they are whole, and knows recovery points: streams with intra refresh have
// no key frames. The others would show what is left of a picture.
func (in *libavInput) reset() {
	in.shut = in.t.Codec != media.H264
	in.waiting, in.blank, in.errs = true, 0, 0
}

func (in *libavInput) decode(f packet, _ func(w, h int) (int, int), fn func(pic) error) error {
	if f.Key {
		in.errs, in.shut = 0, false
	}
	if in.shut {
		return &needKeyError{errors.New("it waits for a key frame")}
	}
	if err := in.join(f.Units); err != nil {
		return err
	}
	var fatal error
	corrupt := false
	err := in.d.Decode(in.buf, int64(f.ID), func(p *libav.Picture) error {
		if p.Corrupt {
			corrupt = true
			return nil
		}
		in.waiting, in.blank = false, 0
		fatal = fn(pic{Picture: p, codedWidth: p.Width, codedHeight: p.Height})
		return fatal
	})
	if fatal != nil {
		return fatal
	}
	if err == nil && corrupt {
		err = errors.New("picture is damaged")
	}
	if in.waiting {
		if f.Key && err != nil {
			return &needKeyError{err}
		}
		if in.blank++; in.blank > maxBlank {
			return &needKeyError{errors.New("no whole picture has come yet")}
		}
		return nil
	}
	if err == nil {
		return nil
	}
	if in.errs++; in.errs < maxErrors {
		return err
	}
	in.reset()
	in.d.Flush()
	return &needKeyError{err}
}

// join brings the units into the form that libavcodec reads.
func (in *libavInput) join(units [][]byte) error {
	in.buf = in.buf[:0]
	for _, u := range in.params {
		in.add(u)
	}
	for _, u := range units {
		in.add(u)
	}
	if len(in.buf) == 0 {
		return errors.New("frame is empty")
	}
	in.params = nil
	return nil
}

func (in *libavInput) add(u []byte) {
	if len(u) == 0 {
		return
	}
	switch in.t.Codec {
	case media.H264, media.H265:
		in.buf = append(append(in.buf, 0, 0, 0, 1), u...)
	case media.AV1:
		in.buf = appendOBU(in.buf, u)
	default:
		in.buf = append(in.buf, u...)
	}
}

func (in *libavInput) close() { in.d.Close() }

// appendOBU gives an OBU its size field back (AV1 specification sections 5.3.2
// and 4.10.5): frames carry OBUs without, a low-overhead stream needs it.
func appendOBU(b, u []byte) []byte {
	const hasSize, hasExtension = 0x02, 0x04
	if u[0]&hasSize != 0 {
		return append(b, u...)
	}
	header := 1
	if u[0]&hasExtension != 0 {
		header = 2
	}
	if len(u) < header {
		return b
	}
	b = append(append(b, u[0]|hasSize), u[1:header]...)
	n := len(u) - header
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(append(b, byte(n)), u[header:]...)
}

// jpegInput decodes JPEG, as small as the outputs allow.
type jpegInput struct {
	d   *turbojpeg.Decoder
	img *libav.Image
}

func (in *jpegInput) decode(f packet, needed func(w, h int) (int, int), fn func(pic) error) error {
	if len(f.Units) != 1 {
		return fmt.Errorf("JPEG frame has %d units", len(f.Units))
	}
	head, err := in.d.Header(f.Units[0])
	if err != nil {
		return err
	}
	denom := 1
	nw, nh := needed(head.Width, head.Height)
	if nw == 0 {
		return nil
	}
	for _, n := range []int{8, 4, 2} {
		if w, h := head.Scaled(n); w >= nw && h >= nh {
			denom = n
			break
		}
	}
	if err := in.decodeTo(f.Units[0], head, denom); err != nil {
		return err
	}
	p := in.img.Picture
	p.ID, p.Key = int64(f.ID), true
	return fn(pic{Picture: &p, codedWidth: head.Width, codedHeight: head.Height})
}

func (in *jpegInput) decodeTo(b []byte, head turbojpeg.Header, denom int) error {
	w, h := head.Scaled(denom)
	format := libav.Gray
	if !head.Gray {
		format = libav.FormatOf(head.Ratio)
	}
	if !in.img.Fits(format, w, h, true) {
		in.img.Free()
		var err error
		if in.img, err = libav.NewImage(format, w, h, true); err != nil {
			in.img = nil
			return err
		}
	}
	return in.d.Decode(b, head, in.img.Buffer())
}

func (in *jpegInput) close() {
	in.d.Close()
	in.img.Free()
}

// rawInput wraps uncompressed pictures. Their range is the one cameras and
// encoders agree on: limited.
type rawInput struct{ t media.Track }

func (in *rawInput) decode(f packet, _ func(w, h int) (int, int), fn func(pic) error) error {
	format := map[media.Codec]libav.Format{media.I420: libav.I420, media.NV12: libav.NV12, media.YUYV: libav.YUYV}[in.t.Codec]
	p, err := libav.Wrap(format, in.t.Width, in.t.Height, false, f.Units)
	if err != nil {
		return err
	}
	p.ID, p.Key = int64(f.ID), true
	return fn(pic{Picture: &p, codedWidth: p.Width, codedHeight: p.Height})
}

func (in *rawInput) close() {}
