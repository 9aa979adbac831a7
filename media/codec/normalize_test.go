package codec

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"camwire/media"
)

const ms = time.Millisecond

// start returns a Normalizer that has one track, and what it writes to.
func start(ts ...media.Track) (*Normalizer, *recorder) {
	r := &recorder{}
	n := NewNormalizer(r)
	n.Start(ts)
	return n, r
}

func h264Track() media.Track { return media.Track{Codec: media.H264, ClockRate: 90000} }

func write(n *Normalizer, pts time.Duration, units ...[]byte) {
	n.Write(&media.Frame{PTS: pts, Units: units})
}

func lastFrame(r *recorder) *media.Frame { return r.frames[len(r.frames)-1] }

func TestKeyFrameGetsNewestParams(t *testing.T) {
	n, r := start(h264Track())
	sps, pps := spsWithoutVUI(77, 0, 40, 30), ppsFor(0, 0)
	idr, p := h264Unit(0x65, 7, 0, 500), h264Unit(0x41, 5, 0, 100)

	write(n, 0, idr) // no parameters yet
	requireFalse(t, lastFrame(r).Key)
	write(n, 20*ms, sps, pps) // on their own: remembered, not passed on
	requireLen(t, r.frames, 1)
	requireEqual(t, uint64(1), n.Stats().Empty)
	write(n, 40*ms, idr)
	requireTrue(t, lastFrame(r).Key)
	requireEqual(t, [][]byte{sps, pps, idr}, lastFrame(r).Units)
	requireEqual(t, 640, r.tracks()[0].Width)
	requireEqual(t, 480, r.tracks()[0].Height)
	requireEqual(t, [][]byte{sps, pps}, r.tracks()[0].Params)
	requireLen(t, r.starts, 2)

	write(n, 80*ms, p)
	requireFalse(t, lastFrame(r).Key)
	requireEqual(t, [][]byte{p}, lastFrame(r).Units)

	// Only the PPS comes again, changed.
	pps2 := append(ppsFor(0, 0), 0x77)
	write(n, 120*ms, pps2, idr)
	requireEqual(t, [][]byte{sps, pps2, idr}, lastFrame(r).Units)
	requireLen(t, r.starts, 2, "a new PPS stays in band")
	requireEqual(t, [][]byte{sps, pps}, r.tracks()[0].Params, "the list given out before is not written to")

	// Twice in one access unit, behind an AUD, with filler and nonsense.
	sei := []byte{0x06, 5, 1, 9}
	write(n, 160*ms, []byte{0x09, 0xf0}, sps, pps, sps, sei, pps, idr, []byte{0x0c, 0xff}, nil, []byte{0xe5}, []byte{0x7c, 1})
	requireEqual(t, [][]byte{sps, pps, sei, idr}, lastFrame(r).Units)
	requireEqual(t, uint64(3), n.Stats().Malformed)

	// Another size: told before the frame.
	big := spsWithoutVUI(77, 0, 80, 45)
	write(n, 200*ms, big, pps, idr)
	requireLen(t, r.starts, 3)
	requireEqual(t, len(r.frames)-1, r.at[2])
	requireEqual(t, 1280, r.tracks()[0].Width)
}

func TestKeyFrameWithoutIDR(t *testing.T) {
	n, r := start(h264Track())
	sps, pps := spsWithoutVUI(77, 0, 40, 30), ppsFor(0, 0)
	intra, p := h264Unit(0x61, 7, 0, 500), h264Unit(0x41, 5, 0, 100)
	write(n, 0, sps, pps, intra, intra)
	requireTrue(t, lastFrame(r).Key, "I slices behind parameter sets")
	write(n, 40*ms, sps, pps, intra, p)
	requireFalse(t, lastFrame(r).Key, "intra refresh")
	requireEqual(t, [][]byte{sps, pps, intra, p}, lastFrame(r).Units)
	write(n, 80*ms, intra)
	requireFalse(t, lastFrame(r).Key, "without parameter sets")
}

// openh264 counts the ids up with each IDR.
func TestParameterSetIDsThatChange(t *testing.T) {
	n, r := start(h264Track())
	for i := range uint32(70) {
		id := i % 32
		write(n, time.Duration(i)*40*ms, spsWithoutVUI(66, id, 40, 30), ppsFor(id, id), h264Unit(0x65, 7, id, 200))
		requireTrue(t, lastFrame(r).Key)
		requireLen(t, lastFrame(r).Units, 3)
	}
	requireLen(t, r.starts, 2)

	// Two PPS, of which the key frame uses the second; sent once only.
	n, r = start(h264Track())
	sps, pps0, pps1 := spsWithoutVUI(66, 3, 40, 30), ppsFor(0, 3), ppsFor(1, 3)
	write(n, 0, pps0, pps1)
	write(n, 40*ms, sps)
	idr := h264Unit(0x65, 7, 1, 200)
	write(n, 80*ms, idr)
	requireEqual(t, [][]byte{sps, pps0, pps1, idr}, lastFrame(r).Units)
	// Sent in the wrong order.
	write(n, 120*ms, idr, pps1, sps)
	requireEqual(t, [][]byte{sps, pps1, idr}, lastFrame(r).Units)
}

func TestReorderedWithoutVUI(t *testing.T) {
	sps, pps := spsWithoutVUI(77, 0, 40, 30), ppsFor(0, 0)
	idr, p, b := h264Unit(0x65, 7, 0, 500), h264Unit(0x41, 5, 0, 100), h264Unit(0x01, 6, 0, 100)

	n, r := start(h264Track())
	write(n, 0, sps, pps, idr)
	write(n, 120*ms, p)
	requireFalse(t, r.tracks()[0].Reordered)
	write(n, 40*ms, b)
	requireTrue(t, r.tracks()[0].Reordered)
	requireEqual(t, 40*ms, lastFrame(r).PTS)
	write(n, 80*ms, b)
	write(n, 240*ms, p)
	requireEqual(t, Stats{Frames: 5}, n.Stats())
	requireLen(t, r.starts, 3)
	// A reconnect does not forget it.
	n.Start(media.Tracks{h264Track()})
	requireTrue(t, r.tracks()[0].Reordered)
	requireEqual(t, 640, r.tracks()[0].Width)

	// B slices that do not reorder, and P slices that come late.
	n, r = start(h264Track())
	write(n, 0, sps, pps, idr)
	write(n, 40*ms, b)
	write(n, 80*ms, b)
	write(n, 60*ms, p)
	requireFalse(t, r.tracks()[0].Reordered)
	requireEqual(t, Stats{Frames: 3, Backwards: 1}, n.Stats())

	// Baseline has no B slices, whatever a slice header claims.
	n, r = start(h264Track())
	write(n, 0, spsWithoutVUI(66, 0, 40, 30), pps, idr)
	write(n, 80*ms, p)
	write(n, 40*ms, b)
	requireFalse(t, r.tracks()[0].Reordered)
	requireEqual(t, uint64(1), n.Stats().Backwards)
}

func TestPTS(t *testing.T) {
	n, r := start(media.Track{Codec: media.VP8, ClockRate: 90000, FPS: 25}, media.Track{Codec: media.Opus, ClockRate: 48000, Channels: 2})
	key := []byte{0x10, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0}
	sound := []byte{0xf8, 1, 2} // CELT, one frame of 20 ms
	put := func(track int, pts time.Duration) {
		u := [][]byte{key}
		if track == 1 {
			u = [][]byte{sound}
		}
		n.Write(&media.Frame{Track: track, PTS: pts, Units: u})
	}
	var got [2][]time.Duration
	collect := func() {
		for _, f := range r.frames {
			got[f.Track] = append(got[f.Track], f.PTS)
		}
		r.frames = nil
	}
	put(0, 1000*ms)
	put(1, 1000*ms)
	put(0, 1040*ms)
	put(1, 1020*ms)
	put(0, 1010*ms) // late
	put(0, 1040*ms) // the same again
	put(1, 1020*ms)
	put(0, 9000*ms) // a pause
	put(1, 9000*ms)
	collect()
	requireEqual(t, []time.Duration{1000 * ms, 1040 * ms, 1040*ms + time.Second/90000 + 1, 9000 * ms}, got[0])
	requireEqual(t, []time.Duration{1000 * ms, 1020 * ms, 1040 * ms, 9000 * ms}, got[1])
	requireEqual(t, Stats{Frames: 8, Backwards: 1}, n.Stats())

	// The clock starts anew: both tracks go on, and stay together.
	got = [2][]time.Duration{}
	put(0, 9040*ms)
	put(1, 9020*ms)
	put(0, 0)
	put(1, 0)
	put(0, 40*ms)
	put(1, 20*ms)
	collect()
	requireEqual(t, []time.Duration{9040 * ms, 9080 * ms, 9120 * ms}, got[0])
	requireEqual(t, []time.Duration{9020 * ms, 9080 * ms, 9100 * ms}, got[1])
	requireEqual(t, uint64(2), n.Stats().Discontinuities)

	// Far ahead is another clock, too.
	got = [2][]time.Duration{}
	put(1, time.Hour)
	put(0, time.Hour)
	put(1, time.Hour+20*ms)
	put(0, time.Hour+40*ms)
	collect()
	requireEqual(t, []time.Duration{9120*ms + time.Second/90000 + 1, 9160 * ms}, got[0])
	requireEqual(t, []time.Duration{9120 * ms, 9140 * ms}, got[1])
}

func TestPTSExtremes(t *testing.T) {
	n, r := start(media.Track{Codec: media.PCMU, ClockRate: 8000, Channels: 1})
	for _, pts := range []time.Duration{0, 1<<63 - 1, -1 << 63, 5, -5, 1 << 62, -1 << 62} {
		write(n, pts, make([]byte, 160))
	}
	last := time.Duration(-1)
	for _, f := range r.frames {
		requireTrue(t, f.PTS > last)
		last = f.PTS
	}
	requireAtMost(t, last, time.Second)
}

func TestStartAgain(t *testing.T) {
	sps, pps := spsWithoutVUI(77, 0, 40, 30), ppsFor(0, 0)
	n, r := start(h264Track())
	write(n, 10*time.Second, sps, pps, h264Unit(0x65, 7, 0, 100))
	n.Start(media.Tracks{h264Track()})
	requireEqual(t, [][]byte{sps, pps}, r.tracks()[0].Params, "an equal list keeps what is known")
	write(n, 0, h264Unit(0x65, 7, 0, 100))
	requireTrue(t, lastFrame(r).Key)
	requireEqual(t, 10*time.Second+40*ms, lastFrame(r).PTS)

	n.Start(media.Tracks{{Codec: media.H265, ClockRate: 90000}})
	requireTrue(t, r.tracks()[0].Params == nil)
	n.Start(media.Tracks{h264Track()})
	write(n, 0, h264Unit(0x65, 7, 0, 100))
	requireFalse(t, lastFrame(r).Key, "another list forgets it")
	requireEqual(t, time.Duration(0), lastFrame(r).PTS)

	n.Write(&media.Frame{Track: 1, Units: [][]byte{{1}}})
	n.Write(&media.Frame{Track: -1})
	requireEqual(t, uint64(2), n.Stats().Malformed)
	NewNormalizer(r).Write(&media.Frame{})
}

func TestSimpleCodecs(t *testing.T) {
	for _, c := range []struct {
		codec     media.Codec
		unit      []byte
		key, keep bool
	}{
		{media.VP8, []byte{0x10, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0}, true, true},
		{media.VP8, []byte{0x11, 0, 0}, false, true},
		{media.VP8, []byte{0x10, 0, 0, 0, 0, 0, 64, 1, 240, 0}, false, false},
		{media.VP9, []byte{0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0e, 0xf6}, true, true},
		{media.VP9, []byte{0x86, 0}, false, true},
		{media.VP9, []byte{0x12, 0}, false, false},
		{media.JPEG, jpegHead(320, 240), true, true},
		{media.JPEG, []byte("GIF89a"), false, false},
		{media.Opus, []byte{1}, true, true},
		{media.AAC, []byte{1}, true, true},
		{media.AAC, nil, true, false},
		{media.NV12, []byte{1}, true, true},
		{media.NV12, nil, true, false},
	} {
		n, r := start(media.Track{Codec: c.codec, ClockRate: 90000, Width: 320, Height: 240})
		write(n, 0, c.unit)
		requireEqual(t, c.keep, len(r.frames) == 1, "%s %x", c.codec, c.unit)
		if !c.keep {
			requireEqual(t, uint64(1), n.Stats().Empty)
			continue
		}
		requireEqual(t, c.key, r.frames[0].Key)
		requireEqual(t, 320, r.tracks()[0].Width)
		requireEqual(t, 240, r.tracks()[0].Height)
	}
}

func TestG711IsCut(t *testing.T) {
	n, r := start(media.Track{Codec: media.PCMA, ClockRate: 8000, Channels: 1})
	long := slices.Repeat([]byte{1, 2}, 500)
	write(n, 0, long)
	write(n, 125*ms, long[:160])
	requireLen(t, r.frames, 4)
	var b []byte
	for i, f := range r.frames[:3] {
		requireEqual(t, time.Duration(i)*60*ms, f.PTS)
		b = append(b, f.Units[0]...)
	}
	requireTrue(t, bytes.Equal(long, b))
}

func TestAV1Units(t *testing.T) {
	clip := makeClip(t, media.AV1, "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime")
	whole := clip.normalized(t)
	seq := whole.tracks()[0].Params[0]

	// Without the sequence header in band, and with units of their own.
	n, r := start(media.Track{Codec: media.AV1, ClockRate: 90000, Params: [][]byte{seq}})
	requireEqual(t, 320, r.tracks()[0].Width)
	for _, f := range whole.frames {
		units := slices.DeleteFunc(slices.Clone(f.Units), func(u []byte) bool { return bytes.Equal(u, seq) })
		write(n, f.PTS, append([][]byte{{0x10}}, units...)...)
		requireEqual(t, f.Key, lastFrame(r).Key)
		requireEqual(t, f.Units, lastFrame(r).Units)
	}
	requireLen(t, r.starts, 1)
	write(n, time.Minute, []byte{0x12, 0}, []byte{0xff}, []byte{0x0a, 9})
	requireEqual(t, Stats{Frames: uint64(len(whole.frames)), Malformed: 2, Empty: 1}, n.Stats())
}

// Inter frames that need no change cost nothing.
func TestNormalizeAllocations(t *testing.T) {
	n := NewNormalizer(discard{})
	n.Start(media.Tracks{h264Track()})
	sei, p := []byte{6, 1, 1, 1}, h264Unit(0x41, 5, 0, 1000)
	write(n, 0, spsWithoutVUI(77, 0, 40, 30), ppsFor(0, 0), h264Unit(0x65, 7, 0, 100))
	f := &media.Frame{Units: [][]byte{sei, p}}
	allocs := testing.AllocsPerRun(100, func() {
		f.PTS += 40 * ms
		n.Write(f)
	})
	requireAtMost(t, allocs, 1)
}

type discard struct{}

func (discard) Start(media.Tracks) {}
func (discard) Write(*media.Frame) {}

func BenchmarkNormalize(b *testing.B) {
	n := NewNormalizer(discard{})
	n.Start(media.Tracks{h264Track()})
	write(n, 0, spsWithoutVUI(77, 0, 40, 30), ppsFor(0, 0), h264Unit(0x65, 7, 0, 100))
	f := &media.Frame{Units: [][]byte{{6, 1, 1, 1}, h264Unit(0x41, 5, 0, 10000)}}
	b.ReportAllocs()
	for b.Loop() {
		f.PTS += 40 * ms
		n.Write(f)
	}
}
