package codec

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"
)

// VP8Header reads the start of a VP8 frame (RFC 6386 section 9.1). Width and
// height in pixels are those of a key frame; other frames do not carry them
// and answer 0. The error wraps ErrMalformed.
func VP8Header(frame []byte) (key bool, width, height int, err error) {
	if len(frame) < 3 {
		return false, 0, 0, fmt.Errorf("VP8 frame of %d bytes: %w", len(frame), ErrMalformed)
	}
	if frame[0]&1 != 0 {
		return false, 0, 0, nil
	}
	if len(frame) < 10 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return false, 0, 0, fmt.Errorf("VP8 key frame without start code: %w", ErrMalformed)
	}
	width = int(frame[6]) | int(frame[7]&0x3f)<<8
	height = int(frame[8]) | int(frame[9]&0x3f)<<8
	if width == 0 || height == 0 {
		return false, 0, 0, fmt.Errorf("VP8 key frame of %dx%d: %w", width, height, ErrMalformed)
	}
	return true, width, height, nil
}

// VP9Info is what a VP9 frame says about itself.
type VP9Info struct {
	Key     bool
	Profile int // 0..3, of every frame
	// Of key frames only: size in pixels, bits per sample, and chroma
	// subsampling as the MP4 vpcC box counts it (1 is 4:2:0).
	Width, Height, BitDepth, Subsampling int
}

// vp9HeaderSize is enough for all of the uncompressed header that VP9Header
// reads (VP9 bitstream specification, section 6.2).
const vp9HeaderSize = 10

// VP9Header reads the start of the uncompressed header of a VP9 frame or
// superframe. The error wraps ErrMalformed.
func VP9Header(frame []byte) (VP9Info, error) {
	var h vp9.Header
	if err := h.Unmarshal(frame); err != nil {
		return VP9Info{}, fmt.Errorf("VP9 frame: %w (%w)", ErrMalformed, err)
	}
	i := VP9Info{Profile: int(h.Profile)}
	if h.ShowExistingFrame || h.NonKeyFrame {
		return i, nil
	}
	i.Key, i.Width, i.Height = true, h.Width(), h.Height()
	i.BitDepth, i.Subsampling = int(h.ColorConfig.BitDepth), int(h.ChromaSubsampling())
	if i.Width > maxDimension || i.Height > maxDimension {
		return VP9Info{}, fmt.Errorf("VP9 key frame of %dx%d: %w", i.Width, i.Height, ErrMalformed)
	}
	return i, nil
}
