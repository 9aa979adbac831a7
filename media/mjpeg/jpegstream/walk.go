package jpegstream

import "bytes"

// soi is how every JPEG picture begins: SOI and the first byte of the marker
// that must follow it (ITU-T T.81 section B.2.1).
var soi = []byte{0xff, 0xd8, 0xff}

// progress is what a walk over the markers came to.
type progress int

const (
	more   progress = iota // the bytes end before the picture does
	whole                  // EOI was found
	broken                 // no picture can look like this
	anew                   // another picture begins before this one ended
)

// walker goes from marker to marker through a picture that grows. It finds the
// end of the picture itself and not that of the thumbnail inside it, and needs
// no byte behind the end. The zero value is ready for a picture from its SOI on.
type walker struct {
	pos  int  // where to go on
	scan bool // pos is in entropy-coded data
	data bool // there was a scan: this is a picture and not only its header
}

// step goes on in b, which always begins with the same bytes. With whole and
// anew, at is the index behind the picture or of the new one.
func (w *walker) step(b []byte) (p progress, at int) {
	if w.pos == 0 {
		w.pos = 2
	}
	for {
		if w.scan {
			if w.pos >= len(b) {
				return more, 0
			}
			i := bytes.IndexByte(b[w.pos:], 0xff)
			if i < 0 {
				w.pos = len(b)
				return more, 0
			}
			w.pos += i
		}
		if w.pos+2 > len(b) {
			return more, 0
		}
		if b[w.pos] != 0xff {
			return broken, 0
		}
		switch m := b[w.pos+1]; {
		case m == 0xff: // fill byte
			w.pos++
		case m == 0x00 && w.scan, m >= 0xd0 && m <= 0xd7, m == 0x01:
			w.pos += 2
		case m == 0xd8:
			return anew, w.pos
		case m == 0xd9 && w.data:
			return whole, w.pos + 2
		case m == 0x00 || m == 0xd9:
			return broken, 0
		default:
			if w.pos+4 > len(b) {
				return more, 0
			}
			n := int(b[w.pos+2])<<8 | int(b[w.pos+3])
			if n < 2 {
				return broken, 0
			}
			w.scan = m == 0xda
			w.data = w.data || w.scan
			w.pos += 2 + n
		}
	}
}

// End returns the number of bytes of the picture with which b begins, and
// whether all of it is there. Whatever follows it does not matter: phones
// append depth maps and films.
func End(b []byte) (n int, ok bool) {
	if !bytes.HasPrefix(b, soi) {
		return 0, false
	}
	var w walker
	p, n := w.step(b)
	return n, p == whole
}
