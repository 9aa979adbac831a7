package rtsp

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"

	"camwire/media"
	"camwire/media/codec"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmpeg4audio"
	"github.com/pion/rtp"
)

// Field widths of RFC 3640 section 3.3.6 (AAC-hbr).
const (
	aacSizeBits  = 13
	aacIndexBits = 3
)

// payloader returns what cuts the frames of a track, for media.Frame.RTP: it
// runs once per frame, however many players and WebRTC viewers there are.
func payloader(t media.Track, huffman huffmanTables) func(*media.Frame) [][]byte {
	switch t.Codec {
	case media.JPEG:
		return func(f *media.Frame) [][]byte {
			p, err := jpegPayloads(f, huffman)
			if err != nil {
				return nil
			}
			return p
		}
	case media.AAC:
		return aacPayloads
	}
	return func(f *media.Frame) [][]byte { return codec.Packetize(t, f, codec.MTU) }
}

func aacPayloads(f *media.Frame) [][]byte {
	for _, u := range f.Units {
		if len(u) == 0 || len(u) >= 1<<aacSizeBits {
			return nil
		}
	}
	if len(f.Units) != 1 {
		return nil
	}
	var ssrc uint32
	var seq uint16
	e := rtpmpeg4audio.Encoder{
		SizeLength: aacSizeBits, IndexLength: aacIndexBits, IndexDeltaLength: aacIndexBits,
		SSRC: &ssrc, InitialSequenceNumber: &seq, PayloadMaxSize: codec.MTU,
	}
	if e.Init() != nil {
		return nil
	}
	pkts, err := e.Encode(f.Units)
	if err != nil {
		return nil
	}
	return payloads(pkts)
}

func payloads(pkts []*rtp.Packet) [][]byte {
	out := make([][]byte, len(pkts))
	for i, p := range pkts {
		out[i] = p.Payload
	}
	return out
}

// jpegPayloads cuts a JPEG picture (RFC 2435). That format leaves headers and
// Huffman tables out, so it carries baseline pictures of at most 2040 pixels a
// side with the tables of the standard only.
func jpegPayloads(f *media.Frame, std huffmanTables) (out [][]byte, err error) {
	if len(f.Units) != 1 {
		return nil, errors.New("not one JPEG picture")
	}
	if err := std.check(f.Units[0]); err != nil {
		return nil, err
	}
	// The encoder trusts the lengths inside the picture, which a stranger
	// may have made.
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("malformed JPEG: %v", p)
		}
	}()
	var ssrc uint32
	var seq uint16
	e := rtpmjpeg.Encoder{SSRC: &ssrc, InitialSequenceNumber: &seq, PayloadMaxSize: codec.MTU}
	if err := e.Init(); err != nil {
		return nil, err
	}
	pkts, err := e.Encode(f.Units[0])
	if err != nil {
		return nil, err
	}
	return payloads(pkts), nil
}

// huffmanTables holds DHT entries by class and number.
type huffmanTables map[byte][]byte

// standardHuffman returns the tables of ITU-T T.81 annex K.3. The standard
// library's encoder uses no others.
func standardHuffman() (huffmanTables, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 16, 16), image.YCbCrSubsampleRatio420), nil); err != nil {
		return nil, fmt.Errorf("standard Huffman tables: %w", err)
	}
	std := huffmanTables{}
	err := eachTable(b.Bytes(), func(id byte, table []byte) error {
		std[id] = table
		return nil
	})
	if err != nil || len(std) != 4 {
		return nil, fmt.Errorf("standard Huffman tables: %d found: %w", len(std), err)
	}
	return std, nil
}

// check returns an error for a picture with Huffman tables of its own.
// Pictures without any mean the standard ones, as USB cameras do.
func (std huffmanTables) check(picture []byte) error {
	return eachTable(picture, func(id byte, table []byte) error {
		if !bytes.Equal(std[id], table) {
			return errors.New("JPEG with Huffman tables of its own")
		}
		return nil
	})
}

// eachTable calls do for each Huffman table before the scan (T.81 section
// B.2.4.2): its class and number, and its counts and symbols.
func eachTable(b []byte, do func(id byte, table []byte) error) error {
	errShort := errors.New("JPEG ends in its header")
	for i := 2; ; {
		if i+4 > len(b) {
			return errShort
		}
		marker, n := b[i+1], int(b[i+2])<<8|int(b[i+3])
		if b[i] != 0xff || n < 2 || i+2+n > len(b) {
			return errShort
		}
		if marker == 0xda {
			return nil
		}
		seg := b[i+4 : i+2+n]
		for marker == 0xc4 && len(seg) > 0 {
			if len(seg) < 17 {
				return errShort
			}
			size := 17
			for _, c := range seg[1:17] {
				size += int(c)
			}
			if size > len(seg) {
				return errShort
			}
			if err := do(seg[0], seg[1:size]); err != nil {
				return err
			}
			seg = seg[size:]
		}
		i += 2 + n
	}
}
