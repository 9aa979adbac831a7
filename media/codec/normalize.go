package codec

import (
	"bytes"
	"slices"
	"sync/atomic"
	"time"

	"camwire/media"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
)

// Stats counts what a Normalizer did since it was made.
type Stats struct {
	// Frames is the number of frames passed on.
	Frames uint64
	// Malformed is the number of units that could not be what they claimed,
	// and of frames for a track that does not exist.
	Malformed uint64
	// Empty is the number of frames without picture or sound: parameter sets
	// on their own (they are remembered), delimiters, or nothing but
	// malformed units.
	Empty uint64
	// Backwards is the number of frames dropped because their PTS ran
	// backwards.
	Backwards uint64
	// Discontinuities is the number of times the source's clock jumped.
	Discontinuities uint64
}

// Normalizer is a Sink between a source and the hub. It takes access units as
// they come and passes on frames that keep what package media promises: Key is
// right, a key frame carries the newest parameter sets, units that mean
// nothing to a decoder are gone, PTS grows, and the track list says what the
// stream is. Memory that the source handed over is never written to.
//
// Start of the next sink is called again, always before a key frame, when
// size, profile or parameters turn out to be others than announced, and at
// once when pictures turn out to be reordered.
//
// Start and Write follow the rules of media.Sink; Stats may be called from any
// goroutine.
type Normalizer struct {
	next   media.Sink
	in     media.Tracks // as the source announced them
	out    media.Tracks // as the next sink knows them
	states []trackState
	shared time.Duration // see timeline.place

	frames, malformed, empty, backwards, jumps atomic.Uint64
}

var _ media.Sink = (*Normalizer)(nil)

// trackState is what is remembered of one track.
type trackState struct {
	timeline
	params paramStore
	// reorder is SPS.Reorder of the active set. Where that is -1, reordered
	// tells what has been seen.
	reorder   int
	reordered bool
	sequence  []byte  // newest AV1 sequence header OBU, a copy
	av1       AV1Info // of sequence
}

// NewNormalizer returns a Normalizer that writes to next.
func NewNormalizer(next media.Sink) *Normalizer { return &Normalizer{next: next} }

// Stats returns the counters.
func (n *Normalizer) Stats() Stats {
	return Stats{
		Frames:          n.frames.Load(),
		Malformed:       n.malformed.Load(),
		Empty:           n.empty.Load(),
		Backwards:       n.backwards.Load(),
		Discontinuities: n.jumps.Load(),
	}
}

// Start takes the source's track list, fills in what its Params tell, and
// passes it on. With a list that equals the one before, as after a reconnect,
// the clock goes on and parameter sets known so far stay known.
func (n *Normalizer) Start(ts media.Tracks) {
	old := n.out
	if n.in == nil || !n.in.Equal(ts) {
		old = nil
		n.states = make([]trackState, len(ts))
		n.shared = 0
		for i := range n.states {
			n.states[i].reorder = -1
		}
	}
	n.in = slices.Clone(ts)
	n.out = slices.Clone(ts)
	for i := range n.out {
		t := &n.out[i]
		n.states[i].reordered = n.states[i].reordered || t.Reordered
		if old != nil {
			inherit(t, old[i])
		}
		n.states[i].prime(t)
	}
	n.next.Start(slices.Clone(n.out))
}

// inherit fills what a source left open with what its track was before.
func inherit(t *media.Track, old media.Track) {
	if len(t.Params) == 0 {
		t.Params = old.Params
		t.Reordered = old.Reordered
	}
	if t.Width == 0 || t.Height == 0 {
		t.Width, t.Height = old.Width, old.Height
	}
	if t.FPS == 0 {
		t.FPS = old.FPS
	}
}

// prime learns the parameters that were announced out of band.
func (st *trackState) prime(t *media.Track) {
	switch t.Codec {
	case media.H264, media.H265:
		is265 := t.Codec == media.H265
		var sps []byte
		for _, p := range t.Params {
			if !validNAL(p, is265) || !st.params.learn(p, is265) {
				continue
			}
			if sps == nil && (is265 && h265Type(p) == h265SPS || !is265 && h264Type(p) == h264SPS) {
				sps = p
			}
		}
		for i := range st.params.sps {
			if sps != nil && bytes.Equal(st.params.sps[i].nal, sps) {
				st.apply(t, &st.params.sps[i].sps)
			}
		}
	case media.AV1:
		if len(t.Params) > 0 {
			o, _, sized, _ := nextOBU(t.Params[0])
			if i, err := AV1Sequence(t.Params[0]); err == nil {
				st.learnAV1(withoutSize(o, t.Params[0], sized), i)
				st.applyAV1(t)
			}
		}
	case media.VP9:
		if len(t.Params) > 0 {
			if i, err := VP9Header(t.Params[0]); err == nil && i.Key {
				t.Width, t.Height = i.Width, i.Height
			}
		}
	}
}

// apply brings what the active SPS says into the track.
func (st *trackState) apply(t *media.Track, s *SPS) {
	t.Width, t.Height = s.Width, s.Height
	if s.FPS > 0 {
		t.FPS = s.FPS
	}
	st.reorder = s.Reorder
	t.Reordered = s.Reorder > 0 || s.Reorder < 0 && st.reordered
}

// Write passes on the frame, possibly with other Units, or drops it.
func (n *Normalizer) Write(f *media.Frame) {
	if f.Track < 0 || f.Track >= len(n.out) {
		n.malformed.Add(1)
		return
	}
	st := &n.states[f.Track]
	t := n.out[f.Track]
	if !n.inspect(f, st, &t) {
		n.empty.Add(1)
		return
	}
	if !n.place(f, st, t) {
		return
	}
	n.update(f.Track, t)
	if t.Codec == media.PCMU || t.Codec == media.PCMA {
		n.writeG711(f, t)
		return
	}
	n.pass(f)
}

func (n *Normalizer) pass(f *media.Frame) {
	n.frames.Add(1)
	n.next.Write(f)
}

// inspect reads the frame, puts its units and Key right and notes in t what it
// says about the track. False means that nothing is left of it.
func (n *Normalizer) inspect(f *media.Frame, st *trackState, t *media.Track) bool {
	switch t.Codec {
	case media.H264, media.H265:
		return n.inspectNAL(f, st, t)
	case media.AV1:
		return n.inspectAV1(f, st, t)
	case media.I420, media.NV12, media.YUYV:
		f.Key = true
		return f.Size() > 0
	}

	unit := joined(f)
	if len(unit) == 0 {
		return false
	}
	switch t.Codec {
	case media.VP8:
		key, w, h, err := VP8Header(unit)
		if err != nil {
			n.malformed.Add(1)
			return false
		}
		if f.Key = key; key {
			t.Width, t.Height = w, h
		}
	case media.VP9:
		i, err := VP9Header(unit)
		if err != nil {
			n.malformed.Add(1)
			return false
		}
		if f.Key = i.Key; i.Key {
			t.Width, t.Height = i.Width, i.Height
			t.Params = replaceParams(t.Params, unit[:min(len(unit), vp9HeaderSize)])
		}
	case media.JPEG:
		w, h, err := JPEGSize(unit)
		if err != nil {
			n.malformed.Add(1)
			return false
		}
		f.Key = true
		t.Width, t.Height = w, h
	default: // sound
		f.Key = true
	}
	return true
}

// joined makes one unit of a frame that is one, and returns it.
func joined(f *media.Frame) []byte {
	switch len(f.Units) {
	case 0:
		return nil
	case 1:
	default:
		f.Units = [][]byte{slices.Concat(f.Units...)}
	}
	return f.Units[0]
}

// replaceParams returns params holding copies of the given ones, the same
// slice where nothing has changed.
func replaceParams(params [][]byte, with ...[]byte) [][]byte {
	if slices.EqualFunc(params, with, bytes.Equal) {
		return params
	}
	c := make([][]byte, len(with))
	for i := range with {
		c[i] = bytes.Clone(with[i])
	}
	return c
}

// place gives the frame its PTS. False means that it came too late.
func (n *Normalizer) place(f *media.Frame, st *trackState, t media.Track) bool {
	clock := t.ClockRate
	if clock <= 0 {
		clock = 90000
	}
	nominal := nominalStep(t, f)
	tick := time.Second/time.Duration(clock) + 1
	if t.Codec.Audio() {
		tick = nominal
	}
	pts, v := st.place(f.PTS, nominal, tick, f.Arrived, t.Reordered, &n.shared)
	switch v {
	case backwards:
		n.backwards.Add(1)
		return false
	case discontinuity:
		n.jumps.Add(1)
	}
	f.PTS = pts
	return true
}

// nominalStep is how long a frame lasts by what is known of its track.
func nominalStep(t media.Track, f *media.Frame) time.Duration {
	d := 20 * time.Millisecond
	clock := time.Duration(max(t.ClockRate, 1))
	switch {
	case !t.Codec.Audio():
		d = 40 * time.Millisecond
		if t.FPS > 0 {
			d = time.Duration(float64(time.Second) / t.FPS)
		}
	case t.Codec == media.Opus && len(f.Units) > 0:
		d = time.Duration(opus.PacketDuration2(f.Units[0])) * time.Second / 48000
	case t.Codec == media.AAC:
		d = 1024 * time.Second / clock
	case t.Codec == media.PCMU, t.Codec == media.PCMA:
		d = time.Duration(f.Size()/max(t.Channels, 1)) * time.Second / clock
	case t.Codec == media.L16:
		d = time.Duration(f.Size()/2/max(t.Channels, 1)) * time.Second / clock
	}
	return min(max(d, time.Millisecond), time.Second)
}

// update takes over what a frame said about its track and tells the next sink
// where that matters to its readers.
func (n *Normalizer) update(i int, t media.Track) {
	old := n.out[i]
	n.out[i] = t
	if t.Equal(old) && t.Width == old.Width && t.Height == old.Height &&
		(slices.EqualFunc(t.Params, old.Params, bytes.Equal) || FMTP(t) == FMTP(old)) {
		return
	}
	n.next.Start(slices.Clone(n.out))
}

// g711Samples is the most that one G.711 frame may hold, 60 ms at 8 kHz, so
// that it fits an RTP packet. Some cameras send a quarter of a second at once.
const g711Samples = 480

func (n *Normalizer) writeG711(f *media.Frame, t media.Track) {
	channels := max(t.Channels, 1)
	unit := f.Units[0]
	piece := g711Samples * channels
	if len(unit) <= piece {
		n.pass(f)
		return
	}
	clock := time.Duration(max(t.ClockRate, 1))
	for done := 0; done < len(unit); done += piece {
		n.pass(&media.Frame{
			Track:    f.Track,
			PTS:      f.PTS + time.Duration(done/channels)*time.Second/clock,
			Captured: f.Captured,
			Arrived:  f.Arrived,
			Key:      true,
			Units:    [][]byte{unit[done:min(done+piece, len(unit))]},
		})
	}
}
