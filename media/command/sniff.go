package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"camwire/media"
	"camwire/media/codec"
)

// format is what a program delivers.
type format int

const (
	formatUnknown format = iota
	formatJPEG           // pictures one behind the other, or multipart
	formatTS
	formatH264
	formatH265
)

// String names the format.
func (f format) String() string {
	return [...]string{"unknown", "JPEG", "MPEG-TS", "H.264", "H.265"}[f]
}

// sniff reads until it is known what comes. It leaves all that it has read from
// there on in the pipe's head.
func (p *pipe) sniff() (format, error) {
	var head []byte
	buf := make([]byte, 64<<10)
	looked := 0
	for {
		n, err := p.Read(buf)
		head = append(head, buf[:n]...)
		end := err != nil || len(head) > maxHead
		// A program that writes in small pieces would be looked at again and
		// again: only when there is a fair part more.
		if !end && len(head) < looked+looked/8 {
			continue
		}
		looked = len(head)
		if f, from := detect(head, end); f != formatUnknown {
			p.head = head[from:]
			return f, nil
		}
		if err != nil {
			return formatUnknown, err
		}
		if len(head) > maxHead {
			return formatUnknown, fmt.Errorf("%w: neither JPEG, H.264, H.265 nor MPEG-TS in the first %d KiB of its standard output, which begins with %.24q",
				ErrFormat, maxHead>>10, head)
		}
	}
}

const (
	// tsProbe is how many bytes three sync bytes of MPEG-TS need.
	tsProbe = 2*packetSize + 1
	// enough is how many bytes show MPEG-TS also where they begin within a
	// packet.
	enough = tsProbe + packetSize
)

// detect tells what b is, and where it begins: text may come before it. It
// returns formatUnknown while it needs more bytes; final says that there are
// none.
func detect(b []byte, final bool) (format, int) {
	if len(b) < enough && !final {
		return formatUnknown, 0
	}
	best, from := formatUnknown, len(b)
	if i := tsIndex(b); i >= 0 {
		best, from = formatTS, i
	}
	// Coded data may hold by chance what other formats begin with: the
	// earliest one is it.
	if i := bytes.Index(b, []byte{0xff, 0xd8, 0xff}); i >= 0 && i < from {
		best, from = formatJPEG, i
	}
	if i := bytes.Index(b, startCode); i >= 0 && i < from {
		f := nalFormat(b[i:], final)
		switch {
		case f != formatUnknown:
			best, from = f, i
		case i < len(startCode) && !final: // with or without a zero before it
			return formatUnknown, 0
		}
	}
	if best == formatJPEG {
		return best, 0 // the headers of a multipart stream are of use
	}
	return best, from
}

func tsIndex(b []byte) int {
	for i := 0; i+tsProbe <= len(b); i++ {
		j := bytes.IndexByte(b[i:len(b)-tsProbe+1], syncByte)
		if j < 0 {
			return -1
		}
		i += j
		if b[i+packetSize] == syncByte && b[i+2*packetSize] == syncByte {
			return i
		}
	}
	return -1
}

// nalFormat looks for a sequence parameter set, which no other codec's stream
// holds by chance.
func nalFormat(b []byte, final bool) format {
	for {
		i := bytes.Index(b, startCode)
		if i < 0 {
			return formatUnknown
		}
		b = b[i+len(startCode):]
		end := bytes.Index(b, startCode)
		if end < 0 {
			if !final {
				return formatUnknown
			}
			end = len(b)
		}
		nal := bytes.TrimRight(b[:end], "\x00")
		switch {
		case len(nal) < 4:
		case nal[0]&0x9f == 7:
			if _, err := codec.ParseSPS(media.H264, nal); err == nil {
				return formatH264
			}
		case nal[0]&0xfe == 33<<1:
			if _, err := codec.ParseSPS(media.H265, nal); err == nil {
				return formatH265
			}
		}
	}
}

// ended turns the end of a stream that is cut off into a plain end: with what
// status the program ended says more.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}
