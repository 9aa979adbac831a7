package mse

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"camwire/media"
	"camwire/media/codec"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// errNoParams is a key frame that does not say how to decode it.
var errNoParams = errors.New("key frame without parameter sets")

const (
	videoID = 1
	audioID = 2
)

// output is what is to be sent for a frame, in the order of the fields; what
// is not needed is empty.
type output struct {
	mime     string // of a new buffer
	init     []byte
	fragment []byte
	// media is when the picture is shown, in media time; timed says that the
	// relation to the source's time is new.
	media time.Duration
	timed bool
}

// muxer makes fragments out of frames. It is pure: no clock, no goroutine.
type muxer struct {
	video timeline
	audio timeline
	sound *media.Track // nil: none

	mime   string
	params [][]byte // what the init segment was made of
	order  reorder
	shift  time.Duration // source time minus media time
	margin time.Duration // by which reordered pictures are shown later
	seq    uint32
}

// newMuxer returns a muxer; sound is the track whose frames addAudio gets, or
// nil.
func newMuxer(sound *media.Track) *muxer {
	m := &muxer{sound: sound, video: timeline{rate: videoRate}}
	if sound != nil {
		m.audio.rate = int64(audioRate(*sound))
	}
	return m
}

// addVideo takes the next frame of the video track; the first one must be a key
// frame. jumped says that frames are missing before it.
func (m *muxer) addVideo(t media.Track, f *media.Frame, jumped bool) (out output, err error) {
	if f.Key {
		if err := m.describe(t, f, &out); err != nil {
			return output{}, err
		}
	} else if m.params == nil {
		return output{}, nil // nobody could decode it
	}
	units, err := m.units(t.Codec, f)
	if err != nil || len(units) == 0 {
		return output{}, err
	}
	jumped = jumped || out.mime != ""
	dts := f.PTS
	if t.Reordered {
		dts = m.order.dts(t.Codec, f, jumped, m.video.step)
	}
	out.timed = m.advance(t, dts, jumped)
	begin, duration := m.video.place(dts - m.shift + m.video.step)
	offset := int64(0)
	if t.Reordered {
		// Shown exactly when the source says: the order hangs on it. The
		// guesses in decode times must not make one later than that.
		if m.margin == 0 {
			m.margin = 2 * m.video.step
		}
		offset = m.video.ticks(f.PTS-m.shift+m.margin) - begin
	}
	out.media = m.video.time(begin + offset)
	m.seq++
	out.fragment, err = (&sample{
		track: videoID, begin: uint64(begin), duration: uint32(duration), offset: int32(offset), key: f.Key,
		units: units, lengths: t.Codec == media.H264 || t.Codec == media.H265,
	}).marshal(m.seq)
	return out, err
}

// advance brings the video's timeline to a frame and reports whether media time
// now has another relation to the source's time.
func (m *muxer) advance(t media.Track, dts time.Duration, jumped bool) bool {
	v := &m.video
	if !v.started {
		step := firstStep
		if t.FPS > 0 {
			step = time.Duration(float64(time.Second) / t.FPS)
		}
		m.shift = dts
		v.start(dts, 0, step)
		return true
	}
	gap := dts - v.last
	v.last = dts
	// With sound, media time has to go on as the sound does.
	if jumped || gap <= 0 || gap > maxGap && m.sound == nil {
		m.shift = dts - v.time(v.next)
		return true
	}
	v.learn(gap)
	return false
}

// addAudio takes the next packet of the sound, and its time on the clock of the
// video.
func (m *muxer) addAudio(f *media.Frame, pts time.Duration) (output, error) {
	if m.sound == nil || m.params == nil || f.Size() == 0 {
		return output{}, nil
	}
	a := &m.audio
	at := pts - m.shift
	length := packetLength(*m.sound, f)
	if !a.started {
		if at < 0 {
			return output{}, nil // of the time before the first picture
		}
		// From the first picture on: a page waits where one of the two is missing.
		a.start(pts, 0, length)
	}
	// After a jump media time has turned back a little for the sound: what has
	// been heard already is not played again.
	if end := at + length; a.ticks(end) <= a.next {
		return output{}, nil
	}
	begin, duration := a.place(at + length)
	m.seq++
	b, err := (&sample{
		track: audioID, begin: uint64(begin), duration: uint32(duration), key: true, units: f.Units,
	}).marshal(m.seq)
	return output{fragment: b}, err
}

// describe makes the initialization segment for a key frame where it differs
// from the one that was sent.
func (m *muxer) describe(t media.Track, f *media.Frame, out *output) error {
	c, params, err := videoCodec(t.Codec, f)
	if err != nil {
		return err
	}
	if m.params != nil && slices.EqualFunc(m.params, params, bytes.Equal) {
		return nil
	}
	t.Params = params
	mime := codec.MIME(t)
	if mime == "" {
		return fmt.Errorf("%s: %w", t.Codec, errNoParams)
	}
	i := fmp4.Init{Tracks: []*fmp4.InitTrack{{ID: videoID, TimeScale: videoRate, Codec: c}}}
	if m.sound != nil {
		ac, err := audioCodec(*m.sound)
		if err != nil {
			return err
		}
		i.Tracks = append(i.Tracks, &fmp4.InitTrack{ID: audioID, TimeScale: uint32(m.audio.rate), Codec: ac})
		mime += "," + codec.MIME(*m.sound)
	}
	mime = `video/mp4; codecs="` + mime + `"`
	var b seekablebuffer.Buffer
	if err := i.Marshal(&b); err != nil {
		return fmt.Errorf("init segment of %s: %w", t.Codec, err)
	}
	if mime != m.mime {
		out.mime = mime
	}
	out.init = b.Bytes()
	m.mime, m.params = mime, cloneAll(params)
	return nil
}

// units are those of a frame that belong into its sample.
func (m *muxer) units(c media.Codec, f *media.Frame) ([][]byte, error) {
	switch c {
	case media.H264, media.H265:
		// What stands in the sample entry must not come again in the sample:
		// ISO/IEC 14496-15 sections 5.3.3 and 8.3.3, for avc1 and hvc1.
		units := make([][]byte, 0, len(f.Units))
		for _, u := range f.Units {
			if len(u) > 0 && !slices.ContainsFunc(m.params, func(p []byte) bool { return bytes.Equal(p, u) }) {
				units = append(units, u)
			}
		}
		return units, nil
	case media.AV1:
		b, err := av1.Bitstream(f.Units).Marshal() // with size fields
		return [][]byte{b}, err
	}
	return f.Units, nil
}

// videoCodec reads the decoder's configuration out of a key frame.
func videoCodec(c media.Codec, f *media.Frame) (codecs.Codec, [][]byte, error) {
	missing := fmt.Errorf("%s: %w", c, errNoParams)
	pick := func(is func(u []byte) bool) []byte {
		i := slices.IndexFunc(f.Units, func(u []byte) bool { return len(u) > 1 && is(u) })
		if i < 0 {
			return nil
		}
		return f.Units[i]
	}
	switch c {
	case media.H264:
		nal := func(typ byte) []byte { return pick(func(u []byte) bool { return u[0]&31 == typ }) }
		sps, pps := nal(7), nal(8)
		if sps == nil || pps == nil {
			return nil, nil, missing
		}
		return &codecs.H264{SPS: sps, PPS: pps}, [][]byte{sps, pps}, nil
	case media.H265:
		nal := func(typ byte) []byte { return pick(func(u []byte) bool { return u[0]>>1&63 == typ }) }
		vps, sps, pps := nal(32), nal(33), nal(34)
		if vps == nil || sps == nil || pps == nil {
			return nil, nil, missing
		}
		return &codecs.H265{VPS: vps, SPS: sps, PPS: pps}, [][]byte{vps, sps, pps}, nil
	case media.AV1:
		seq := pick(func(u []byte) bool { return u[0]>>3&15 == 1 })
		if seq == nil {
			return nil, nil, missing
		}
		return &codecs.AV1{SequenceHeader: seq}, [][]byte{seq}, nil
	case media.VP9:
		b := whole(f)
		i, err := codec.VP9Header(b)
		if err != nil {
			return nil, nil, err
		}
		if !i.Key {
			return nil, nil, missing
		}
		return &codecs.VP9{
			Width: i.Width, Height: i.Height, Profile: uint8(i.Profile),
			BitDepth: uint8(i.BitDepth), ChromaSubsampling: uint8(i.Subsampling),
		}, [][]byte{b[:min(len(b), 10)]}, nil
	}
	return nil, nil, fmt.Errorf("%s cannot be carried in MP4", c)
}

// audioCodec is the configuration of a sound that takes says can be carried.
func audioCodec(t media.Track) (codecs.Codec, error) {
	switch t.Codec {
	case media.Opus:
		return &codecs.Opus{ChannelCount: max(t.Channels, 1)}, nil
	case media.AAC:
		var c mpeg4audio.AudioSpecificConfig
		if len(t.Params) == 0 {
			return nil, errors.New("AAC without its configuration")
		}
		if err := c.Unmarshal(t.Params[0]); err != nil {
			return nil, fmt.Errorf("AAC: %w", err)
		}
		return &codecs.MPEG4Audio{Config: c}, nil
	}
	return nil, fmt.Errorf("%s cannot be carried in MP4", t.Codec)
}

// audioRate is the timescale of a sound in ticks per second.
func audioRate(t media.Track) int {
	if t.Codec == media.Opus {
		return 48000 // RFC 7587 section 4.1, whatever it was recorded at
	}
	return max(t.ClockRate, 8000)
}

// packetLength is how long a packet of sound lasts.
func packetLength(t media.Track, f *media.Frame) time.Duration {
	if t.Codec == media.Opus {
		if d := opus.PacketDuration2(f.Units[0]); d > 0 {
			return time.Duration(d) * time.Second / 48000
		}
		return 20 * time.Millisecond
	}
	return time.Duration(mpeg4audio.SamplesPerAccessUnit) * time.Second / time.Duration(audioRate(t))
}

// reorder finds decode times where pictures are shown in another order than
// they come.
type reorder struct {
	extract func(units [][]byte, pts int64) (int64, error)
	last    time.Duration
}

// dts returns the decode time of a frame, which never runs backwards without a
// jump and never lies behind the time of presentation. step is the expected
// distance of two frames.
func (r *reorder) dts(c media.Codec, f *media.Frame, jumped bool, step time.Duration) time.Duration {
	fresh := r.extract == nil || jumped
	if fresh {
		switch c {
		case media.H264:
			x := &h264.DTSExtractor{}
			x.Initialize()
			r.extract = x.Extract
		case media.H265:
			x := &h265.DTSExtractor{}
			x.Initialize()
			r.extract = x.Extract
		default:
			return f.PTS
		}
	}
	d, err := r.extract(f.Units, int64(f.PTS))
	dts := time.Duration(d)
	if err != nil {
		dts = f.PTS
		if !fresh {
			dts = min(r.last+max(step, time.Millisecond), f.PTS)
		}
	}
	if !fresh && dts <= r.last {
		dts = r.last + time.Millisecond
	}
	r.last = dts
	return dts
}

// whole returns a frame in one piece. It nearly always is.
func whole(f *media.Frame) []byte {
	if len(f.Units) == 1 {
		return f.Units[0]
	}
	return bytes.Join(f.Units, nil)
}

func cloneAll(in [][]byte) [][]byte {
	out := make([][]byte, len(in))
	for i, b := range in {
		out[i] = bytes.Clone(b)
	}
	return out
}
