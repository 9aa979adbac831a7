package worker

import (
	"encoding/binary"
	"fmt"

	"camwire/media/audio/pcm"
)

// soundBlock is decoded sound on its way to the parent.
type soundBlock struct {
	Frame    uint64
	Rate     int // in Hz
	Channels int // 1 or 2
	PCM      []byte
}

// maxSound bounds the samples of one block in bytes: the longest frame of AAC
// has 2048 for each channel.
const maxSound = 1 << 16

func (m soundBlock) message() message {
	b := newMessage(msgSound, 13)
	b = binary.LittleEndian.AppendUint64(b, m.Frame)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Rate))
	return seal(append(b, byte(m.Channels)), [][]byte{m.PCM})
}

func parseSound(p []byte) (soundBlock, error) {
	f := fields{b: p}
	m := soundBlock{Frame: f.u64(), Rate: int(f.u32()), Channels: int(f.u8())}
	m.PCM = f.b
	switch {
	case f.bad:
		return m, errMalformed
	case m.Rate < pcm.MinRate || m.Rate > pcm.MaxRate || m.Channels < 1 || m.Channels > 2:
		return m, fmt.Errorf("%w: sound of %d Hz and %d channels", errMalformed, m.Rate, m.Channels)
	case len(m.PCM) == 0 || len(m.PCM) > maxSound || len(m.PCM)%(2*m.Channels) != 0:
		return m, fmt.Errorf("%w: %d bytes of sound", errMalformed, len(m.PCM))
	}
	return m, nil
}

// resolveSound gives decoded sound its times.
func (w *Worker) resolveSound(m soundBlock) (Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.talks(); err != nil {
		return Result{}, err
	}
	o := w.past[m.Frame%history]
	if o.id != m.Frame || m.Frame >= w.nextID || !w.input.Codec.Audio() {
		return Result{}, fmt.Errorf("%w: sound of an unknown frame", errMalformed)
	}
	return Result{
		Kind: OutputPCM, PTS: o.pts, Captured: o.captured, Arrived: o.arrived, Key: true,
		Units: [][]byte{m.PCM}, Rate: m.Rate, Channels: m.Channels,
	}, nil
}
