package audio

import (
	"errors"
	"fmt"
	"time"

	"github.com/thesyncim/gopus"

	"camwire/media"
	"camwire/media/audio/pcm"
)

const (
	rate   = 48000 // of Opus in RTP, whatever it codes (RFC 7587 section 4.1)
	packet = 960   // samples of 20 ms

	monoBitrate, stereoBitrate = 32000, 64000
	// loss in percent is what the encoder reckons with for its forward error
	// correction.
	loss = 5
	// complexity of 10: what is above costs more than anybody hears.
	complexity = 5
	// maxPacket is the most that one frame of Opus can have (RFC 6716 section 3.4).
	maxPacket = 1275
)

// errAnew ends a session because the camera's clock has jumped.
var errAnew = errors.New("the time stamps of the camera's sound have jumped, it begins anew")

// block is a piece of sound.
type block struct {
	pts      time.Duration // of the first sample
	captured time.Time     // the same; may be zero
	rate     int           // in Hz
	channels int           // 1 or 2
	samples  []float32     // interleaved
}

func (b block) frames() int64 { return int64(len(b.samples) / b.channels) }

// blockOf makes a block of 16-bit samples.
func blockOf(l16 []byte, rate, channels int) block {
	samples := pcm.FromL16(make([]float32, 0, len(l16)/2), l16)
	samples = samples[:len(samples)/channels*channels]
	samples, channels = pcm.Downmix(samples, channels)
	return block{rate: rate, channels: channels, samples: samples}
}

// rawBlock makes a block of a frame of media.L16.
func rawBlock(t media.Track, f *media.Frame) block {
	b := block{rate: t.ClockRate, channels: 1}
	if len(f.Units) == 1 {
		b = blockOf(f.Units[0], t.ClockRate, min(max(t.Channels, 1), pcm.MaxChannels))
	}
	b.pts, b.captured = f.PTS, f.Captured
	return b
}

// packer makes packets of Opus out of blocks. It is for one goroutine.
type packer struct {
	sink     media.Sink
	enc      *gopus.Encoder
	channels int
	out      []byte

	line      line
	resampler *pcm.Resampler
	skip      int           // samples to leave out before the next packet, see begin
	queue     []float32     // 48 kHz, less than a packet
	pts       time.Duration // of the next packet
	offset    time.Time     // Captured at PTS 0; zero while unknown
}

func newPacker(sink media.Sink) *packer { return &packer{sink: sink, out: make([]byte, maxPacket)} }

// add takes the next block and writes the packets that are full.
func (p *packer) add(b block) error {
	if b.frames() == 0 {
		return nil
	}
	if p.enc == nil || b.channels > p.channels {
		if err := p.open(b.channels); err != nil {
			return err
		}
	}
	if b.channels < p.channels {
		b.samples, b.channels = pcm.Stereo(b.samples), p.channels
	}
	if b.rate != p.line.rate {
		r, err := pcm.NewResampler(b.rate, rate, p.channels)
		if err != nil {
			return err
		}
		p.resampler, p.line = r, line{rate: b.rate}
	}
	s := p.line.place(b.pts, b.frames())
	switch {
	case s.anew:
		return errAnew
	case s.jump:
		if err := p.begin(b.pts); err != nil {
			return err
		}
	case s.fill > 0:
		silence := make([]float32, s.fill*int64(p.channels))
		p.queue = p.resampler.Append(p.queue, silence)
	}
	p.offset = time.Time{}
	if !b.captured.IsZero() {
		p.offset = b.captured.Add(-b.pts)
	}
	samples := pcm.Stretch(b.samples[s.cut*int64(p.channels):], p.channels, int(s.total))
	p.queue = p.resampler.Append(p.queue, samples)
	return p.flush()
}

// open makes an encoder.
func (p *packer) open(channels int) error {
	enc, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: rate, Channels: channels, Application: gopus.ApplicationAudio})
	if err != nil {
		return fmt.Errorf("encoder of Opus: %w", err)
	}
	bitrate := monoBitrate
	if channels == 2 {
		bitrate = stereoBitrate
	}
	enc.SetVBR(true)
	enc.SetVBRConstraint(true)
	enc.SetDTX(false)
	enc.SetFEC(true)
	err = errors.Join(enc.SetFrameSize(packet), enc.SetBitrate(bitrate), enc.SetComplexity(complexity), enc.SetPacketLoss(loss))
	if err != nil {
		return fmt.Errorf("encoder of Opus: %w", err)
	}
	p.enc, p.channels = enc, channels
	p.line, p.queue, p.resampler = line{}, nil, nil
	p.sink.Start(media.Tracks{{Codec: media.Opus, ClockRate: rate, Channels: channels}})
	return nil
}

// begin starts at another time: what is left of before is filled up with
// silence.
//
// A decoder gives the sound late by what the encoder looks ahead. The first
// samples are left out by that much, so that what is heard at a packet's time
// is what belongs there.
func (p *packer) begin(pts time.Duration) error {
	if len(p.queue) > 0 {
		p.queue = append(p.queue, make([]float32, packet*p.channels-len(p.queue))...)
		if err := p.flush(); err != nil {
			return err
		}
		p.queue = p.queue[:0]
	}
	p.resampler.Reset()
	p.pts, p.skip = pts, p.enc.Lookahead()
	return nil
}

// flush writes the packets that are full.
func (p *packer) flush() error {
	rest := p.queue
	if n := min(p.skip, len(rest)/p.channels); n > 0 {
		p.skip -= n
		rest = rest[n*p.channels:]
	}
	for len(rest) >= packet*p.channels {
		n, err := p.enc.Encode(rest[:packet*p.channels], p.out)
		if err != nil {
			return fmt.Errorf("encoder of Opus: %w", err)
		}
		f := &media.Frame{PTS: p.pts, Key: true, Units: [][]byte{append([]byte(nil), p.out[:n]...)}}
		if !p.offset.IsZero() {
			f.Captured = p.offset.Add(p.pts)
		}
		p.sink.Write(f)
		p.pts += span(packet, rate)
		rest = rest[packet*p.channels:]
	}
	p.queue = p.queue[:copy(p.queue, rest)]
	return nil
}
