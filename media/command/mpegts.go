package command

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"camwire/media"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/substructs"
)

// Bounds of what is kept back while the sound's parameters are not known: they
// come with its first packet.
const (
	holdFrames = 64
	holdBytes  = 8 << 20
	holdFor    = time.Second
)

// transport passes on the first video and the first audio stream of MPEG-TS
// that Camwire knows.
func (e *emitter) transport() error {
	d := newDemuxer(e.pipe)
	t := &transport{emitter: e, demuxer: d}
	d.tables, d.unit = t.choose, t.unit
	d.lost = func(why string) { e.drop(1, why) }
	return d.run()
}

// transport turns the units of a demuxer into frames.
type transport struct {
	*emitter
	demuxer *demuxer

	video, audio uint16 // their PIDs; audio is 0 when there is none
	list         media.Tracks
	started      bool
	held         []*media.Frame
	heldBytes    int

	clock   int64 // the newest time stamp without its wrapping
	running bool
}

// choose takes a new program map.
func (t *transport) choose(streams []stream) error {
	var video, audio media.Track
	var others []string
	t.video, t.audio = 0, 0
	for _, s := range streams {
		track, other := known(s)
		switch {
		case other != "":
			others = append(others, other)
		case track.Codec.Audio() && t.audio == 0:
			t.audio, audio = s.pid, track
		case !track.Codec.Audio() && t.video == 0:
			t.video, video = s.pid, track
		}
	}
	if t.video == 0 {
		have := "nothing else either"
		if len(others) > 0 {
			have = "only " + strings.Join(others, ", ")
		}
		return fmt.Errorf("%w: MPEG-TS without H.264 or H.265 (there is %s)", ErrFormat, have)
	}
	t.list = media.Tracks{video}
	if t.audio == 0 {
		t.demuxer.want(t.video)
	} else {
		t.list = append(t.list, audio)
		t.demuxer.want(t.video, t.audio)
	}
	t.started, t.held, t.heldBytes = false, nil, 0
	t.startIfReady()
	return nil
}

// known says what a stream is: a track, or the name of something else. The
// parameters of AAC are in its packets.
func known(s stream) (t media.Track, other string) {
	switch s.kind {
	case 0x1b:
		return media.Track{Codec: media.H264, ClockRate: 90000}, ""
	case 0x24:
		return media.Track{Codec: media.H265, ClockRate: 90000}, ""
	case 0x0f:
		return media.Track{Codec: media.AAC}, ""
	case 0x06: // private data, by ETSI TS Opus 0.1.3-draft
		ext := s.descriptor(0x7f)
		var d substructs.OpusAudioDescriptor
		if !bytes.Equal(s.descriptor(0x05), []byte("Opus")) || len(ext) < 2 || ext[0] != 0x80 || d.Unmarshal(ext[1:]) != nil {
			return t, "private data"
		}
		return media.Track{Codec: media.Opus, ClockRate: 48000, Channels: max(d.ChannelCount(), 1)}, ""
	case 0x01, 0x02:
		return t, "MPEG-2 video"
	case 0x10:
		return t, "MPEG-4 part 2 video"
	case 0x03, 0x04:
		return t, "MPEG audio"
	case 0x11:
		return t, "AAC in LATM"
	case 0x81:
		return t, "AC-3"
	}
	return t, fmt.Sprintf("stream type %#x", s.kind)
}

// startIfReady tells the sink of the tracks once all is known of them.
func (t *transport) startIfReady() {
	for _, track := range t.list {
		if track.ClockRate == 0 {
			return
		}
	}
	t.start()
}

func (t *transport) start() {
	t.started = true
	t.sink.Start(slices.Clone(t.list))
	for _, f := range t.held {
		t.write(f, f.Track == 0)
	}
	t.held, t.heldBytes = nil, 0
}

// unit takes what the demuxer found.
func (t *transport) unit(pid uint16, pts int64, body []byte, at time.Time) error {
	when := t.time(pts)
	switch {
	case pid != t.video:
		t.sound(when, body, at)
		return nil
	case len(body) == 0:
		return nil
	}
	units, err := split(body)
	if err != nil {
		return err
	}
	t.put(&media.Frame{PTS: when, Arrived: at, Units: units})
	return nil
}

// put passes on a frame, or keeps it until the tracks are known. Sound that
// does not begin soon is left out.
func (t *transport) put(f *media.Frame) {
	if t.started {
		t.write(f, f.Track == 0)
		return
	}
	t.held = append(t.held, f)
	t.heldBytes += f.Size()
	if len(t.held) >= holdFrames || t.heldBytes >= holdBytes || f.Arrived.Sub(t.held[0].Arrived) >= holdFor {
		t.drop(1, "its sound does not begin")
		t.demuxer.want(t.video)
		t.list, t.audio = t.list[:1], 0
		t.start()
	}
}

// split returns the NAL units of a picture.
func split(b []byte) ([][]byte, error) {
	var units [][]byte
	i := bytes.Index(b, startCode)
	for i >= 0 {
		b = b[i+len(startCode):]
		i = bytes.Index(b, startCode)
		u := b
		if i >= 0 {
			u = b[:i]
		}
		if u = bytes.TrimRight(u, "\x00"); len(u) > 0 {
			units = append(units, u[:len(u):len(u)])
		}
		if len(units) > maxNALs {
			return nil, fmt.Errorf("%w: more than %d units", ErrTooLarge, maxNALs)
		}
	}
	return units, nil
}

// sound takes packets that share a time stamp and follow one another.
func (t *transport) sound(when time.Duration, body []byte, at time.Time) {
	if t.list[1].Codec == media.Opus {
		t.opus(when, body, at)
		return
	}
	var packets mpeg4audio.ADTSPackets
	if err := packets.Unmarshal(body); err != nil {
		t.drop(1, err.Error())
		return
	}
	if len(packets) > 0 && t.list[1].ClockRate == 0 {
		if !t.describe(packets[0]) {
			return
		}
	}
	for _, p := range packets {
		t.put(&media.Frame{Track: 1, PTS: when, Arrived: at, Key: true, Units: [][]byte{p.AU}})
		when += mpeg4audio.SamplesPerAccessUnit * time.Second / time.Duration(t.list[1].ClockRate)
	}
}

// describe learns the parameters of AAC from a packet.
func (t *transport) describe(p *mpeg4audio.ADTSPacket) bool {
	params, err := mpeg4audio.AudioSpecificConfig{
		Type: p.Type, SampleRate: p.SampleRate, ChannelConfig: p.ChannelConfig,
	}.Marshal()
	if err != nil || p.SampleRate <= 0 {
		t.drop(1, "AAC that makes no sense")
		return false
	}
	channels := int(p.ChannelConfig)
	if channels == 7 {
		channels = 8 // ISO/IEC 14496-3 table 1.19
	}
	track := &t.list[1]
	track.ClockRate, track.Channels, track.Params = p.SampleRate, max(channels, 1), [][]byte{params}
	t.startIfReady()
	return true
}

func (t *transport) opus(when time.Duration, body []byte, at time.Time) {
	for len(body) > 0 {
		var au substructs.OpusAccessUnit
		n, err := au.Unmarshal(body)
		if err != nil || n <= 0 {
			t.drop(1, "Opus that makes no sense")
			return
		}
		body = body[n:]
		if len(au.Packet) == 0 {
			continue
		}
		t.put(&media.Frame{Track: 1, PTS: when, Arrived: at, Key: true, Units: [][]byte{au.Packet}})
		when += time.Duration(opus.PacketDuration2(au.Packet)) * time.Second / 48000
	}
}

// time turns a time stamp of 33 bits at 90 kHz into a PTS.
func (t *transport) time(pts int64) time.Duration {
	const wrap = 1 << 33
	if !t.running {
		t.running, t.clock = true, pts
	}
	d := (pts - t.clock) & (wrap - 1)
	if d >= wrap/2 {
		d -= wrap
	}
	t.clock += d
	return time.Duration(t.clock/90000)*time.Second + time.Duration(t.clock%90000)*time.Second/90000
}
