//go:build cgo

package libav

/*
#include "cwsnd.h"
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"camwire/media"
)

// Limits of sound.
const (
	// MaxChannels is the largest number of channels of decoded sound.
	MaxChannels = 16
	// MaxSoundConfig is the largest AudioSpecificConfig in bytes.
	MaxSoundConfig = 1024

	// maxSamples of one frame, all channels together: HE-AAC has 2048 each.
	maxSamples = 2048 * MaxChannels
	maxRate    = 192000
)

// Sound is decoded sound.
type Sound struct {
	Rate     int // in Hz
	Channels int
	// Samples are between -1 and 1 or a little beyond, channels interleaved.
	Samples []float32
}

// SoundDecoder decodes one stream of AAC. It is for one goroutine.
type SoundDecoder struct {
	d   *C.cwsnd
	buf []float32
}

// OpenSound makes a decoder for AAC without ADTS headers. Config is the
// AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).
func OpenSound(c media.Codec, config []byte) (*SoundDecoder, error) {
	if c != media.AAC {
		return nil, fmt.Errorf("libav: no decoder for %s", c)
	}
	if len(config) == 0 || len(config) > MaxSoundConfig {
		return nil, fmt.Errorf("libav: an AudioSpecificConfig has 1 to %d bytes, not %d", MaxSoundConfig, len(config))
	}
	if err := Check(); err != nil {
		return nil, err
	}
	name := C.CString("aac")
	defer C.free(unsafe.Pointer(name))
	var e C.int
	d := C.cwsnd_open(name, (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(config))), C.int(len(config)), maxSamples, &e)
	if d == nil {
		return nil, fmt.Errorf("libav: cannot open a decoder for %s with config %x: %w", c, config[:min(len(config), 16)], toError(e))
	}
	return &SoundDecoder{d: d}, nil
}

// Decode decodes one access unit and calls fn with what comes out, usually
// once. The samples are valid inside fn only. Rate and channels can change
// from one unit to the next: the additions of HE-AAC are found in the stream.
func (d *SoundDecoder) Decode(au []byte, fn func(Sound) error) error {
	if d.d == nil {
		return errors.New("libav: decoder is closed")
	}
	if len(au) == 0 || len(au) > 1<<20 {
		return ErrInvalid
	}
	sent := C.cwsnd_send(d.d, (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(au))), C.int(len(au)))
	for {
		var b C.cwsnd_block
		r := C.cwsnd_recv(d.d, &b)
		if r == 0 {
			break
		}
		if r < 0 {
			return toError(r)
		}
		if b.channels > MaxChannels || b.samples > maxSamples/b.channels || b.rate > maxRate {
			return fmt.Errorf("libav: sound of %d channels, %d samples at %d Hz is over the limits", b.channels, b.samples, b.rate)
		}
		s := Sound{Rate: int(b.rate), Channels: int(b.channels)}
		s.Samples = d.interleave(unsafe.Slice(b.plane, s.Channels), int(b.samples))
		if err := fn(s); err != nil {
			return err
		}
	}
	if sent < 0 {
		return toError(sent)
	}
	return nil
}

func (d *SoundDecoder) interleave(planes []*C.float, samples int) []float32 {
	d.buf = append(d.buf[:0], make([]float32, samples*len(planes))...)
	for c, p := range planes {
		for i, v := range unsafe.Slice((*float32)(unsafe.Pointer(p)), samples) {
			d.buf[i*len(planes)+c] = v
		}
	}
	return d.buf
}

// Flush forgets what came before, as after a loss.
func (d *SoundDecoder) Flush() {
	if d.d != nil {
		C.cwsnd_flush(d.d)
	}
}

// Close frees the decoder. It may be called more than once.
func (d *SoundDecoder) Close() {
	C.cwsnd_close(d.d)
	d.d = nil
}
