package codec

import "fmt"

// jpegHeaderLimit bounds the bytes that JPEGSize walks through.
const jpegHeaderLimit = 64 << 10

// JPEGSize returns width and height in pixels of a JPEG picture from its frame
// header (ITU-T T.81 section B.2.2), at most 65535 each: the caller sets the
// limit it can afford before anything is decoded. Only the markers are walked,
// at most 64 KiB of them. The error wraps ErrMalformed.
func JPEGSize(b []byte) (w, h int, err error) {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return 0, 0, fmt.Errorf("not a JPEG picture (no SOI): %w", ErrMalformed)
	}
	for i := 2; i < jpegHeaderLimit; {
		if i+4 > len(b) {
			return 0, 0, fmt.Errorf("JPEG ends in its header: %w", ErrMalformed)
		}
		if b[i] != 0xff {
			return 0, 0, fmt.Errorf("JPEG without marker at byte %d: %w", i, ErrMalformed)
		}
		m := b[i+1]
		switch {
		case m == 0xff: // fill byte
			i++
			continue
		case m == 0x01 || m >= 0xd0 && m <= 0xd7: // no length follows
			i += 2
			continue
		case m == 0 || m == 0xd8 || m == 0xd9 || m == 0xda:
			return 0, 0, fmt.Errorf("JPEG marker %#x before the frame header: %w", m, ErrMalformed)
		}
		n := int(b[i+2])<<8 | int(b[i+3])
		if n < 2 {
			return 0, 0, fmt.Errorf("JPEG marker %#x of length %d: %w", m, n, ErrMalformed)
		}
		if m < 0xc0 || m > 0xcf || m == 0xc4 || m == 0xc8 || m == 0xcc {
			i += 2 + n
			continue
		}
		if n < 8 || i+9 > len(b) {
			return 0, 0, fmt.Errorf("JPEG frame header cut off: %w", ErrMalformed)
		}
		h, w = int(b[i+5])<<8|int(b[i+6]), int(b[i+7])<<8|int(b[i+8])
		if w == 0 || h == 0 {
			return 0, 0, fmt.Errorf("JPEG of %dx%d: %w", w, h, ErrMalformed)
		}
		return w, h, nil
	}
	return 0, 0, fmt.Errorf("JPEG without frame header in the first %d bytes: %w", jpegHeaderLimit, ErrMalformed)
}

// JPEGComplete reports whether b begins with SOI and ends with EOI. Zero bytes
// behind it, with which USB cameras fill their last packet, are allowed.
func JPEGComplete(b []byte) bool {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return false
	}
	for len(b) > 4 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b[len(b)-2] == 0xff && b[len(b)-1] == 0xd9
}
