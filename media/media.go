// Package media is the vocabulary that every other room of Camwire speaks:
// codecs, tracks, frames, and the two small interfaces between which a frame
// travels. It knows nothing of HTTP, WebRTC, configuration or goroutines, and
// imports the standard library only.
package media

import (
	"context"
	"strings"
)

// Codec names how the units of a track are coded. The names are those of the
// RTP payload format registry where there is one.
type Codec string

// Codecs that Camwire knows.
const (
	H264 Codec = "H264"
	H265 Codec = "H265"
	VP8  Codec = "VP8"
	VP9  Codec = "VP9"
	AV1  Codec = "AV1"
	JPEG Codec = "JPEG"

	// I420, NV12 and YUYV are uncompressed pictures. They never leave the
	// machine: a viewer gets them encoded.
	I420 Codec = "I420"
	NV12 Codec = "NV12"
	YUYV Codec = "YUYV"

	Opus Codec = "opus"
	PCMU Codec = "PCMU"
	PCMA Codec = "PCMA"
	AAC  Codec = "AAC"
	// L16 is uncompressed sound, 16 bits a sample, big-endian, channels
	// interleaved (RFC 3551 section 4.5.11).
	L16 Codec = "L16"
)

// Audio reports whether the codec carries sound.
func (c Codec) Audio() bool {
	switch c {
	case Opus, PCMU, PCMA, AAC, L16:
		return true
	}
	return false
}

// Raw reports whether the codec is an uncompressed picture format.
func (c Codec) Raw() bool {
	switch c {
	case I420, NV12, YUYV:
		return true
	}
	return false
}

// Intra reports whether every frame of the codec can be decoded by itself.
func (c Codec) Intra() bool { return c == JPEG || c.Raw() || c.Audio() }

// Track describes one elementary stream. It is a value: change a copy.
type Track struct {
	Codec Codec

	// ClockRate is the RTP clock rate in Hz; 90000 for all video.
	ClockRate int
	// Channels is the number of audio channels; 0 for video.
	Channels int

	// Params are the codec's parameters as they are known at the start of
	// the epoch, without start codes or length prefixes:
	// H264: SPS, PPS. H265: VPS, SPS, PPS. AV1: sequence header OBU.
	// VP9: the header bytes of the newest key frame. AAC: AudioSpecificConfig.
	// All others: none. They may be missing when a source has not told them
	// yet; key frames always carry them in band.
	Params [][]byte

	// Width and Height are in pixels, 0 while unknown.
	Width, Height int
	// FPS is the nominal rate in frames per second, 0 while unknown.
	FPS float64
	// Reordered says that pictures are shown in another order than they are
	// coded (B-frames). WebRTC cannot carry that (RFC 7742 section 6.2 asks
	// for no more than constrained baseline; browsers have no reorder delay).
	Reordered bool
}

// Equal reports whether two tracks need the same decoder: the same codec and
// clock. A new parameter set of the same codec stays in band and is no change
// of track, except where it changes the order of pictures.
func (t Track) Equal(o Track) bool {
	return t.Codec == o.Codec && t.ClockRate == o.ClockRate &&
		t.Channels == o.Channels && t.Reordered == o.Reordered
}

// Tracks is the track list of one epoch.
type Tracks []Track

// Video returns the index of the first video track, or -1.
func (ts Tracks) Video() int {
	for i, t := range ts {
		if !t.Codec.Audio() {
			return i
		}
	}
	return -1
}

// Audio returns the index of the first audio track, or -1.
func (ts Tracks) Audio() int {
	for i, t := range ts {
		if t.Codec.Audio() {
			return i
		}
	}
	return -1
}

// Equal reports whether both lists need the same decoders in the same order.
func (ts Tracks) Equal(o Tracks) bool {
	if len(ts) != len(o) {
		return false
	}
	for i := range ts {
		if !ts[i].Equal(o[i]) {
			return false
		}
	}
	return true
}

// String lists the codecs, for logs: "H264+opus".
func (ts Tracks) String() string {
	s := make([]string, len(ts))
	for i, t := range ts {
		s[i] = string(t.Codec)
	}
	return strings.Join(s, "+")
}

// Sink takes what a source delivers. All calls come from one goroutine at a
// time, Start before the first Write and again whenever the track list
// changes. Neither call ever blocks. The sink owns the frame from Write on.
type Sink interface {
	Start(Tracks)
	Write(*Frame)
}

// Source delivers frames until ctx is done or it fails. Run returns only when
// everything it started has stopped. It is called again by its supervisor
// after a pause, so it must leave nothing behind.
type Source interface {
	Run(ctx context.Context, s Sink) error
}

// KeyRequester is a Source that can ask its far end for a key frame. Calls
// may come from any goroutine, also while Run is not running, and never block.
type KeyRequester interface {
	RequestKey()
}

// BitrateSetter is a Source that encodes, and whose bit rate can follow what
// the links to its viewers carry.
type BitrateSetter interface {
	// SetBitrate sets the target in bit/s; the source keeps it within what
	// makes sense for its pictures. 0 means that nothing limits it. The target
	// outlives a Run. Calls may come from any goroutine, also while Run is
	// not running, and never block.
	SetBitrate(bps int)
	// MaxBitrate returns the target in bit/s while nothing limits it; 0 while
	// that is unknown. It never blocks either.
	MaxBitrate() int
}
