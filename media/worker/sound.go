//go:build cgo

package worker

import (
	"errors"
	"fmt"

	"camwire/media"
	"camwire/media/audio/pcm"
	"camwire/media/libav"
)

// soundInput decodes AAC to at most two channels.
type soundInput struct {
	d   *libav.SoundDecoder
	buf []byte
}

func openSound(t media.Track) (*soundInput, error) {
	if len(t.Params) == 0 {
		return nil, fmt.Errorf("%s without its AudioSpecificConfig", t.Codec)
	}
	d, err := libav.OpenSound(t.Codec, t.Params[0])
	if err != nil {
		return nil, err
	}
	return &soundInput{d: d}, nil
}

func (in *soundInput) close() { in.d.Close() }

// frame decodes one frame of sound and sends what comes of it.
func (p *pipeline) soundFrame(f packet) error {
	if len(f.Units) != 1 {
		p.tellInput(fmt.Errorf("frame of sound has %d units", len(f.Units)))
		return nil
	}
	var fatal error
	err := p.sound.d.Decode(f.Units[0], func(s libav.Sound) error {
		if !f.Want {
			return nil
		}
		if s.Rate < pcm.MinRate || s.Rate > pcm.MaxRate {
			return fmt.Errorf("sound of %d Hz", s.Rate)
		}
		samples, channels := pcm.Downmix(s.Samples, s.Channels)
		p.sound.buf = pcm.AppendL16(p.sound.buf[:0], samples)
		if len(p.sound.buf) > maxSound {
			return errors.New("frame of sound is too long")
		}
		fatal = p.send(soundBlock{Frame: f.ID, Rate: s.Rate, Channels: channels, PCM: p.sound.buf}.message())
		return fatal
	})
	if fatal != nil {
		return fatal
	}
	if err != nil {
		p.tellInput(err)
	}
	return nil
}
