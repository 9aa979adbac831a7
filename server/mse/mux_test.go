package mse

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/libav/libavtest"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
)

// mux runs frames through a muxer and returns the file and the kinds of buffer
// that were announced.
func mux(t testing.TB, m *muxer, track media.Track, frames []*media.Frame, jumped ...int) (file []byte, mimes []string) {
	t.Helper()
	var segments [][]byte
	for i, f := range frames {
		o, err := m.addVideo(track, f, slices.Contains(jumped, i))
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if o.mime != "" {
			mimes = append(mimes, o.mime)
		}
		file = append(append(file, o.init...), o.fragment...)
		segments = append(segments, o.fragment)
	}
	requireNoHoles(t, videoID, segments)
	return file, mimes
}

func TestEveryCodec(t *testing.T) {
	for c, want := range map[media.Codec]string{
		media.H264: `video/mp4; codecs="avc1.64000d"`,
		media.H265: `video/mp4; codecs="hvc1.1.6.L60.90"`,
		media.VP9:  `video/mp4; codecs="vp09.00.`,
		media.AV1:  `video/mp4; codecs="av01.0.`,
	} {
		t.Run(string(c), func(t *testing.T) {
			s := clip(t, libavtest.Spec{Codec: c, Frames: 40})
			// The times of frames that came are not touched.
			before := slices.Clone(s.frames[3].Units)
			file, mimes := mux(t, newMuxer(nil), s.tracks[0], s.frames)
			if len(mimes) != 1 || !strings.HasPrefix(mimes[0], want) {
				t.Errorf("%q, want %s", mimes, want)
			}
			video, _ := requireMP4(t, file)
			if len(video) != 40 || !video[0].key || video[1].key || !video[15].key {
				t.Fatalf("%d packets, %+v", len(video), video)
			}
			for i, p := range video {
				if want := time.Duration(i) * time.Second / 30; (p.pts - want).Abs() > time.Millisecond {
					t.Errorf("packet %d at %v, want %v", i, p.pts, want)
				}
			}
			if !slices.EqualFunc(before, s.frames[3].Units, bytes.Equal) {
				t.Error("the muxer has changed a frame")
			}
		})
	}
}

func TestReordered(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.H265} {
		t.Run(string(c), func(t *testing.T) {
			s := reordered(t, c, 45)
			if !s.tracks[0].Reordered {
				t.Fatal("no B-frames in the clip")
			}
			file, _ := mux(t, newMuxer(nil), s.tracks[0], s.frames)
			video, _ := requireMP4(t, file)
			var shown []time.Duration
			turns := 0
			for i, p := range video {
				if p.pts < p.dts {
					t.Errorf("packet %d is shown at %v, decoded at %v", i, p.pts, p.dts)
				}
				if i > 0 && p.pts < video[i-1].pts {
					turns++
				}
				shown = append(shown, p.pts)
			}
			slices.Sort(shown)
			if len(shown) != 45 || turns == 0 {
				t.Fatalf("%d packets, %d turns", len(shown), turns)
			}
			for i := range shown[1:] {
				if d := shown[i+1] - shown[i]; (d - time.Second/30).Abs() > 2*time.Millisecond {
					t.Errorf("picture %d is shown for %v", i, d)
				}
			}
		})
	}
}

func TestTimeHasNoHoles(t *testing.T) {
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 60})
	key := func(i int) bool { return s.frames[i].Key }
	if !key(15) || !key(30) || !key(45) {
		t.Fatal("the clip is not as it should be")
	}
	// A camera that trembles, loses two pictures, pauses, and is skipped.
	at := time.Duration(0)
	var frames []*media.Frame
	for i, f := range s.frames {
		at += 33 * time.Millisecond
		switch {
		case i == 7:
			at += 66 * time.Millisecond
		case i == 20:
			at += 700 * time.Millisecond
		case i == 25:
			at += 9 * time.Second
		case i >= 31 && i < 45:
			continue // missed: the next one is a key frame
		case i%2 == 0:
			at += 5 * time.Millisecond
		default:
			at -= 5 * time.Millisecond
		}
		frames = append(frames, &media.Frame{PTS: at, Key: f.Key, Units: f.Units})
	}
	m := newMuxer(nil)
	var outs []output
	var segments [][]byte
	var file []byte
	for i, f := range frames {
		o, err := m.addVideo(s.tracks[0], f, i == 31)
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, o)
		segments = append(segments, o.fragment)
		file = append(append(file, o.init...), o.fragment...)
	}
	requireNoHoles(t, videoID, segments)
	video, _ := requireMP4(t, file)
	if len(video) != 46 {
		t.Fatalf("%d packets", len(video))
	}
	for i, o := range outs {
		if want := i == 0 || i == 25 || i == 31; o.timed != want {
			t.Errorf("frame %d: new relation %v, want %v", i, o.timed, want)
		}
	}
	// Pauses of the camera up to a second are kept, so that sound and picture
	// stay together; a jump costs no time at all.
	if d := video[31].pts - video[30].pts; d > maxStep {
		t.Errorf("the jump takes %v of media time", d)
	}
	if d := video[26].pts - video[25].pts; d > maxStep {
		t.Errorf("the long pause takes %v of media time", d)
	}
	if end := video[24].pts; end < 1500*time.Millisecond || end > 1700*time.Millisecond {
		t.Errorf("frame 24 at %v of media time", end)
	}
}

func TestSlowCamera(t *testing.T) {
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 10})
	for i, f := range s.frames {
		f.PTS = time.Duration(i) * 10 * time.Second
	}
	file, _ := mux(t, newMuxer(nil), s.tracks[0], s.frames)
	video, _ := requireMP4(t, file)
	for i, p := range video {
		if p.dur > maxStep {
			t.Errorf("picture %d takes %v: a page would play through it before it shows the next", i, p.dur)
		}
	}
}

func TestSound(t *testing.T) {
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 60})
	aacTrack, packets := aac(t, 44100, 90)
	for _, tt := range []struct {
		track  media.Track
		mime   string
		packet func(i int) []byte
		length time.Duration
	}{
		{media.Track{Codec: media.Opus, ClockRate: 48000, Channels: 2}, ",opus", func(int) []byte { return silence() }, 20 * time.Millisecond},
		{aacTrack, ",mp4a.40.2", func(i int) []byte { return packets[i] }, 1024 * time.Second / 44100},
	} {
		t.Run(string(tt.track.Codec), func(t *testing.T) {
			m := newMuxer(&tt.track)
			var file []byte
			var mimes []string
			var segments [][]byte
			sent := 0
			sound := func(until time.Duration) {
				for ; time.Duration(sent)*tt.length < until; sent++ {
					at := time.Duration(sent) * tt.length
					if at > 500*time.Millisecond && at < 800*time.Millisecond {
						continue // lost
					}
					o, err := m.addAudio(&media.Frame{Units: [][]byte{tt.packet(sent)}}, at)
					if err != nil {
						t.Fatal(err)
					}
					file = append(file, o.fragment...)
					if o.fragment != nil {
						segments = append(segments, o.fragment)
					}
				}
			}
			for i, f := range s.frames {
				if i > 31 && i < 45 {
					sent = int(f.PTS / tt.length) // skipped together
					continue
				}
				o, err := m.addVideo(s.tracks[0], f, i == 45)
				if err != nil {
					t.Fatal(err)
				}
				if o.mime != "" {
					mimes = append(mimes, o.mime)
				}
				file = append(append(file, o.init...), o.fragment...)
				sound(f.PTS)
			}
			if len(mimes) != 1 || !strings.HasSuffix(mimes[0], tt.mime+`"`) {
				t.Errorf("%q", mimes)
			}
			requireNoHoles(t, audioID, segments)
			video, audio := requireMP4(t, file)
			if len(video) != 47 || len(audio) < 45 {
				t.Fatalf("%d pictures, %d packets", len(video), len(audio))
			}
			if d := video[46].pts - audio[len(audio)-1].pts; d.Abs() > 70*time.Millisecond {
				t.Errorf("sound and picture are %v apart", d)
			}
		})
	}
}

func TestNewParameters(t *testing.T) {
	small := clip(t, libavtest.Spec{Codec: media.H264, Frames: 5})
	large := clip(t, libavtest.Spec{Codec: media.H264, Frames: 5, Size: "640x480"})
	m := newMuxer(nil)
	inits := 0
	for round, s := range []*taken{small, small, large} {
		for i, f := range s.frames {
			o, err := m.addVideo(s.tracks[0], &media.Frame{PTS: time.Duration(5*round+i) * time.Second / 30, Key: f.Key, Units: f.Units}, false)
			if err != nil {
				t.Fatal(err)
			}
			if len(o.init) > 0 {
				inits++
			}
			// What is in the sample entry is not in the samples.
			if bytes.Contains(o.fragment, m.params[0]) {
				t.Error("the fragment repeats the SPS")
			}
		}
	}
	if inits != 2 {
		t.Errorf("%d initialization segments instead of 2", inits)
	}
}

func TestNoKeyNoPicture(t *testing.T) {
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 3})
	m := newMuxer(nil)
	if o, err := m.addVideo(s.tracks[0], s.frames[1], false); err != nil || o.init != nil || o.fragment != nil {
		t.Errorf("%+v %v", o, err)
	}
	bare := &media.Frame{Key: true, Units: [][]byte{{0x65, 1, 2, 3}}}
	if _, err := m.addVideo(s.tracks[0], bare, false); !errors.Is(err, errNoParams) {
		t.Error(err)
	}
}

// FuzzMuxer feeds frames that no camera should send.
func FuzzMuxer(f *testing.F) {
	for i := range 4 {
		f.Add(uint8(i), true, []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9}, []byte{0x68, 0xce}, int64(0), int64(33e6))
	}
	f.Add(uint8(1), false, []byte{0x40, 1, 2}, []byte{0x42, 1}, int64(-1e12), int64(1e15))
	list := []media.Codec{media.H264, media.H265, media.VP9, media.AV1}
	f.Fuzz(func(t *testing.T, c uint8, reordered bool, a, b []byte, first, second int64) {
		track := media.Track{Codec: list[int(c)%len(list)], ClockRate: 90000, Reordered: reordered}
		sound := media.Track{Codec: media.Opus, ClockRate: 48000, Channels: 2}
		m := newMuxer(&sound)
		end := int64(-1)
		for i, pts := range []int64{first, second, first + second, second} {
			fr := &media.Frame{PTS: time.Duration(pts % 1e15), Key: i%2 == 0, Units: [][]byte{a, b, append([]byte{0x65}, a...)}}
			_, _ = m.addVideo(track, fr, false)
			if m.video.next < end {
				t.Fatalf("media time runs backwards: %d after %d", m.video.next, end)
			}
			end = m.video.next
			if len(b) > 0 {
				_, _ = m.addAudio(&media.Frame{Units: [][]byte{b}}, time.Duration(pts%1e15))
			}
		}
	})
}

// TestFragmentIsTheLibrarys compares what is written here by hand with what
// mediacommon makes of the same.
func TestFragmentIsTheLibrarys(t *testing.T) {
	for i, s := range []sample{
		{track: 1, begin: 1 << 40, duration: 3000, key: true, units: [][]byte{{1, 2, 3}}},
		{track: 1, begin: 0, duration: 1, offset: -7, units: [][]byte{{1}, {2, 3}}, lengths: true},
		{track: 2, begin: 960, duration: 960, key: true, offset: 5},
		{track: 1, begin: 90, duration: 90, units: [][]byte{bytes.Repeat([]byte{9}, 70_000)}},
	} {
		got, err := s.marshal(uint32(i))
		if err != nil {
			t.Fatal(err)
		}
		payload := slices.Concat(s.units...)
		if s.lengths {
			if payload, err = h264.AVCC(s.units).Marshal(); err != nil {
				t.Fatal(err)
			}
		}
		var want seekablebuffer.Buffer
		err = fmp4.Part{SequenceNumber: uint32(i), Tracks: []*fmp4.PartTrack{{ID: int(s.track), BaseTime: s.begin, Samples: []*fmp4.Sample{
			{Duration: s.duration, PTSOffset: s.offset, IsNonSyncSample: !s.key, Payload: payload},
		}}}}.Marshal(&want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("sample %d:\n%x\n%x", i, got[:min(len(got), 200)], want.Bytes()[:min(want.Len(), 200)])
		}
	}
}

func BenchmarkFragment(b *testing.B) {
	s := clip(b, libavtest.Spec{Codec: media.H264, Frames: 15, Size: "1280x720"})
	m := newMuxer(nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f := s.frames[i%len(s.frames)]
		x := &media.Frame{PTS: time.Duration(i) * time.Second / 30, Key: f.Key, Units: f.Units}
		if _, err := m.addVideo(s.tracks[0], x, false); err != nil {
			b.Fatal(err)
		}
	}
}
