package command

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"camwire/media"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
)

const videoPID = 256

// tsWriter makes MPEG-TS of which the video units do not tell their length.
type tsWriter struct {
	t     testing.TB
	b     bytes.Buffer
	w     *mpegts.Writer
	video *mpegts.Track
	audio *mpegts.Track
}

func newTSWriter(t testing.TB) *tsWriter {
	t.Helper()
	w := &tsWriter{t: t, video: &mpegts.Track{PID: videoPID, Codec: &codecs.H264{}}, audio: &mpegts.Track{PID: 257, Codec: &codecs.MPEG4Audio{
		Config: mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2, ChannelCount: 2},
	}}}
	w.w = &mpegts.Writer{W: &w.b, Tracks: []*mpegts.Track{w.video, w.audio}}
	if err := w.w.Initialize(); err != nil {
		t.Fatal(err)
	}
	return w
}

// picture returns the packets of one picture.
func (w *tsWriter) picture(pts int64, units ...[]byte) []byte {
	w.t.Helper()
	if err := w.w.WriteH264(w.video, pts, pts, units); err != nil {
		w.t.Fatal(err)
	}
	return w.take()
}

func (w *tsWriter) sound(pts int64, aus ...[]byte) []byte {
	w.t.Helper()
	if err := w.w.WriteMPEG4Audio(w.audio, pts, aus); err != nil {
		w.t.Fatal(err)
	}
	return w.take()
}

func (w *tsWriter) take() []byte {
	b := bytes.Clone(w.b.Bytes())
	w.b.Reset()
	// Open the length of video units, as ffmpeg and cameras do.
	for p := range slices.Chunk(b, packetSize) {
		if pl, _ := payloadOf(p); p[1]&0x40 != 0 && p[1]&0x1f == videoPID>>8 && p[2] == videoPID&0xff && len(pl) > 6 {
			pl[4], pl[5] = 0, 0
		}
	}
	return b
}

// TestTransportDelay proves that a picture does not wait for the next one, and
// that invented packets disturb nothing.
func TestTransportDelay(t *testing.T) {
	e, out, k := plumb(t)
	w := newTSWriter(t)
	done := make(chan error, 1)
	go func() { done <- e.transport() }()
	write := func(b []byte) {
		t.Helper()
		_, err := out.Write(b)
		must(t, 0, err)
	}
	write(w.picture(0, sps264, pps264, slice264(true, 900)))
	write(w.sound(0, []byte{1, 2, 3}, []byte{4, 5}))
	for i := range 40 { // the continuity counter wraps
		f := k.next(t)
		for f.Track == 1 {
			f = k.next(t)
		}
		if n := len(f.Units[len(f.Units)-1]); n != 900+i {
			t.Fatalf("picture %d: %d bytes", i, n)
		}
		b := w.picture(int64(i+1)*3600, slice264(true, 901+i))
		half := len(b) / 2 / packetSize * packetSize
		write(b[:half+17]) // torn in a packet, and without the filled one
		write(b[half+17:])
	}
	out.Close()
	if err := <-done; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := e.source.Stats(); n.Dropped != 0 || n.Frames != 43 {
		t.Errorf("%+v", n)
	}
	var aac []*media.Frame
	var last time.Time
	for _, f := range k.frames {
		if f.Track == 1 {
			aac = append(aac, f)
			continue
		}
		if f.Arrived.Before(last) {
			t.Error("time runs back")
		}
		last = f.Arrived
	}
	if len(aac) != 2 || !bytes.Equal(aac[1].Units[0], []byte{4, 5}) || aac[1].PTS-aac[0].PTS != 1024*time.Second/48000 {
		t.Errorf("sound %+v", aac)
	}
	if ts := k.tracks; len(ts) != 2 || ts[0].Codec != media.H264 || ts[1].Codec != media.AAC || ts[1].ClockRate != 48000 || ts[1].Channels != 2 || len(ts[1].Params) != 1 {
		t.Errorf("tracks %+v", ts)
	}
}

// TestClockWraps goes over the end of the 33 bits.
func TestClockWraps(t *testing.T) {
	e, out, k := plumb(t)
	w := newTSWriter(t)
	const end = 1 << 33
	b := slices.Concat(w.picture(end-3600, sps264, pps264, slice264(true, 9)), w.sound(end-3600, []byte{1}), w.picture(0, slice264(true, 9)), w.picture(3600, slice264(true, 9)))
	go func() {
		_, _ = out.Write(b)
		out.Close()
	}()
	if err := e.transport(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	var pts []time.Duration
	for _, f := range k.frames {
		if f.Track == 0 {
			pts = append(pts, f.PTS-k.frames[0].PTS)
		}
	}
	if !slices.Equal(pts, []time.Duration{0, 40 * time.Millisecond, 80 * time.Millisecond}) {
		t.Errorf("%v", pts)
	}
}

func TestTransportGarbage(t *testing.T) {
	e, out, k := plumb(t)
	w := newTSWriter(t)
	first := w.picture(0, sps264, pps264, slice264(true, 9))
	null := append([]byte{syncByte, 0x1f, 0xff, 0x10}, bytes.Repeat([]byte{0xff}, packetSize-4)...)
	b := slices.Concat(first, w.sound(0, []byte{1}), []byte{syncByte, 1, 2}, bytes.Repeat([]byte("x"), 500), null,
		w.picture(3600, slice264(true, 700)), bytes.Repeat(null, 3), w.picture(7200, slice264(true, 9)))
	go func() {
		_, _ = out.Write(b)
		out.Close()
	}()
	if err := e.transport(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	n := 0
	for _, f := range k.frames {
		if f.Track == 0 {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d pictures, want 3", n)
	}
}

func TestTransportLimits(t *testing.T) {
	feed := func(head []byte, body func(i int) []byte) error {
		e, out, _ := plumb(t)
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			_, err := out.Write(head)
			for i := 0; err == nil && i < 40; i++ {
				_, err = out.Write(body(i))
			}
			out.Close()
		}()
		err := e.transport()
		e.pipe.file.(*os.File).Close()
		<-stop
		return err
	}
	w := newTSWriter(t)
	head := slices.Concat(w.picture(0, sps264, pps264, slice264(true, 9)), w.sound(0, []byte{1}), w.picture(3600, slice264(true, 400)))
	cc := head[len(head)-packetSize+3] & 0x0f
	mebibyte := func(i int) []byte {
		b := make([]byte, 0, 1<<20)
		for len(b) < 1<<20 {
			cc = (cc + 1) & 0x0f
			n := len(b)
			b = append(b, syncByte, 1, 0, 0x10|cc)
			b = append(b, bytes.Repeat([]byte{0x55}, packetSize-4)...)
			if i == 0 && n == 0 {
				b[1] |= 0x40
				copy(b[4:], []byte{0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0})
			}
		}
		return b
	}
	if err := feed(head, mebibyte); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a picture without end: %v", err)
	}
	if err := feed(nil, mebibyte); !errors.Is(err, io.EOF) {
		t.Errorf("a stream without tables: %v", err)
	}
	var b bytes.Buffer
	other := &mpegts.Writer{W: &b, Tracks: []*mpegts.Track{{PID: 256, Codec: &codecs.MPEG1Video{}}}}
	if err := other.Initialize(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.WriteTables(); err != nil {
		t.Fatal(err)
	}
	if err := feed(b.Bytes(), func(int) []byte { return nil }); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "MPEG-2 video") {
		t.Errorf("a stream of another codec: %v", err)
	}
}

func TestPayloadOf(t *testing.T) {
	packet := func(b ...byte) []byte {
		return append(b, bytes.Repeat([]byte{0xff}, packetSize-len(b))...)
	}
	for name, c := range map[string]struct {
		in     []byte
		size   int
		filled bool
	}{
		"full":                {packet(0x47, 1, 0, 0x10), 184, false},
		"one byte":            {packet(0x47, 1, 0, 0x30, 0), 183, true},
		"flags only":          {packet(0x47, 1, 0, 0x30, 1, 0), 182, false},
		"filled":              {packet(0x47, 1, 0, 0x30, 100, 0), 83, true},
		"clock":               {packet(0x47, 1, 0, 0x30, 7, 0x10), 176, false},
		"clock and filled":    {packet(0x47, 1, 0, 0x30, 8, 0x10), 175, true},
		"private":             {packet(0x47, 1, 0, 0x30, 4, 0x02, 2, 1, 1), 179, false},
		"private beyond":      {packet(0x47, 1, 0, 0x30, 1, 0x02), 182, false},
		"longer than allowed": {packet(0x47, 1, 0, 0x30, 184, 0), 0, false},
	} {
		if p, filled := payloadOf(c.in); len(p) != c.size || filled != c.filled {
			t.Errorf("%s: %d, %v; want %d, %v", name, len(p), filled, c.size, c.filled)
		}
	}
}

// bytesFile is a pipe that holds bytes.
type bytesFile struct{ *bytes.Reader }

func (bytesFile) SetReadDeadline(time.Time) error { return nil }

// demux returns the frames of MPEG-TS that is there at once.
func demux(t testing.TB, b []byte) (*sink, *Source, error) {
	t.Helper()
	s, err := New(Options{Argv: []string{"test"}})
	if err != nil {
		t.Fatal(err)
	}
	k := newSink()
	p := newPipe(bytesFile{bytes.NewReader(b)}, patience)
	return k, s, (&emitter{source: s, sink: k, pipe: p, begun: p.begun}).transport()
}

// reference reads the same with mediacommon, without the times.
func reference(t *testing.T, b []byte) (frames []string) {
	t.Helper()
	r := &mpegts.Reader{R: bytes.NewReader(b)}
	if err := r.Initialize(); err != nil {
		t.Fatal(err)
	}
	add := func(track int, units [][]byte) error {
		frames = append(frames, fmt.Sprintf("%d %x", track, slices.Concat(units...)))
		return nil
	}
	for _, tr := range r.Tracks() {
		switch tr.Codec.(type) {
		case *codecs.H264:
			r.OnDataH264(tr, func(_, _ int64, au [][]byte) error { return add(0, au) })
		case *codecs.H265:
			r.OnDataH265(tr, func(_, _ int64, au [][]byte) error { return add(0, au) })
		case *codecs.MPEG4Audio:
			r.OnDataMPEG4Audio(tr, func(_ int64, aus [][]byte) error {
				for _, au := range aus {
					_ = add(1, [][]byte{au})
				}
				return nil
			})
		case *codecs.Opus:
			r.OnDataOpus(tr, func(_ int64, packets [][]byte) error {
				for _, p := range packets {
					_ = add(1, [][]byte{p})
				}
				return nil
			})
		}
	}
	for {
		if err := r.Read(); err != nil {
			return frames
		}
	}
}

// TestAgainstReference proves that another reader finds the same in what a real
// program writes.
func TestAgainstReference(t *testing.T) {
	needFFmpeg(t)
	for _, args := range [][]string{
		{"-c:v", "libx264", "-c:a", "aac"},
		{"-c:v", "libx264", "-bf", "2", "-b:v", "8M", "-c:a", "aac", "-muxrate", "12M"},
		{"-c:v", "libx265", "-x265-params", "log-level=none:pools=1", "-c:a", "libopus", "-ac", "2"},
		{"-c:v", "libx264", "-omit_video_pes_length", "0", "-an"},
	} {
		args = slices.Concat([]string{"-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=2",
			"-f", "lavfi", "-i", "sine=duration=2:sample_rate=48000", "-threads", "1", "-preset", "ultrafast"}, args, []string{"-f", "mpegts", "-"})
		b, err := exec.CommandContext(t.Context(), "ffmpeg", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		k, s, err := demux(t, b)
		if !errors.Is(err, io.EOF) || s.Stats().Dropped != 0 {
			t.Fatal(err, s.Stats())
		}
		want := reference(t, b)
		for track := range k.tracks {
			// The order of two tracks may differ, that within one may not.
			prefix := fmt.Sprintf("%d ", track)
			var x, y []string
			for _, f := range k.frames {
				if f.Track == track {
					units := slices.Clone(f.Units)
					// mediacommon takes away the delimiter.
					if track == 0 && len(units[0]) <= 3 && (units[0][0] == 9 || units[0][0] == 35<<1) {
						units = units[1:]
					}
					x = append(x, prefix+fmt.Sprintf("%x", slices.Concat(units...)))
				}
			}
			for _, f := range want {
				if strings.HasPrefix(f, prefix) {
					y = append(y, f)
				}
			}
			if !slices.Equal(x, y) || len(x) < 40 {
				t.Errorf("%q: track %d: %d frames, the reference has %d", args, track, len(x), len(y))
			}
		}
	}
}

// TestSilentTrack proves that pictures do not wait for sound that never begins.
func TestSilentTrack(t *testing.T) {
	w := newTSWriter(t)
	var b []byte
	for i := range 2 * holdFrames {
		b = append(b, w.picture(int64(i)*3600, slice264(true, 100+i))...)
	}
	k, _, err := demux(t, b)
	if !errors.Is(err, io.EOF) || len(k.frames) != 2*holdFrames || len(k.tracks) != 1 {
		t.Errorf("%v, %d frames, tracks %v", err, len(k.frames), k.tracks)
	}
}

// TestLostPackets proves that a picture with a hole is not passed on.
func TestLostPackets(t *testing.T) {
	w := newTSWriter(t)
	first := slices.Concat(w.picture(0, sps264, pps264, slice264(true, 9)), w.sound(0, []byte{1}))
	second := w.picture(3600, slice264(true, 3000))
	third := w.picture(7200, slice264(true, 500))
	hole := slices.Concat(second[:3*packetSize], second[5*packetSize:])
	k, s, err := demux(t, slices.Concat(first, hole, third, third[len(third)-packetSize:]))
	if !errors.Is(err, io.EOF) || s.Stats().Dropped != 1 {
		t.Errorf("%v, %+v", err, s.Stats())
	}
	var sizes []int
	for _, f := range k.frames {
		if f.Track == 0 {
			sizes = append(sizes, len(f.Units[len(f.Units)-1]))
		}
	}
	if !slices.Equal(sizes, []int{9, 500}) {
		t.Errorf("pictures of %v bytes", sizes)
	}
}

// TestNewProgram proves that other tables in mid-stream are followed.
func TestNewProgram(t *testing.T) {
	w := newTSWriter(t)
	b := slices.Concat(w.picture(0, sps264, pps264, slice264(true, 9)), w.sound(0, []byte{1}), w.picture(3600, slice264(true, 50)))
	var out bytes.Buffer
	h265 := &mpegts.Track{PID: 300, Codec: &codecs.H265{}}
	other := &mpegts.Writer{W: &out, Tracks: []*mpegts.Track{h265}}
	if err := other.Initialize(); err != nil {
		t.Fatal(err)
	}
	if err := other.WriteH265(h265, 7200, 7200, [][]byte{slice265(true, 70)}); err != nil {
		t.Fatal(err)
	}
	k, s, err := demux(t, append(b, out.Bytes()...))
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if f := k.frames[len(k.frames)-1]; k.tracks.String() != "H265" || len(f.Units[len(f.Units)-1]) != 70 {
		t.Errorf("tracks %v, %+v, %+v", k.tracks, f, s.Stats())
	}
}

func BenchmarkTransport(b *testing.B) {
	w := newTSWriter(b)
	in := slices.Concat(w.picture(0, sps264, pps264, slice264(true, 500_000)), w.sound(0, []byte{1}))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, _, err := demux(b, in); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
}

func FuzzTransport(f *testing.F) {
	w := newTSWriter(f)
	f.Add(slices.Concat(w.picture(0, sps264, pps264, slice264(true, 9)), w.sound(0, []byte{1}), w.picture(3600, slice264(true, 400))))
	f.Add(slices.Concat(w.picture(0, slice264(true, 900)), []byte{0x47}, w.picture(1, slice264(true, 9))))
	f.Fuzz(func(t *testing.T, in []byte) {
		k, _, err := demux(t, in)
		if err == nil {
			t.Fatal("it never ends")
		}
		total := 0
		for _, fr := range k.frames {
			total += fr.Size()
			if fr.Track >= len(k.tracks) && fr.Track > 1 {
				t.Fatalf("track %d", fr.Track)
			}
		}
		if total > len(in) {
			t.Fatal("more came out than went in")
		}
	})
}

// FuzzTables gives tables a right checksum, so that they are looked into.
func FuzzTables(f *testing.F) {
	f.Add([]byte{0x02, 0xb0, 0x12, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0}, byte(2))
	f.Add([]byte{0x00, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0}, byte(0))
	f.Fuzz(func(t *testing.T, in []byte, kind byte) {
		if len(in) < 8 || len(in) > maxSection {
			return
		}
		n := len(in) + 4 - 3
		in[0], in[1], in[2], in[5] = kind, in[1]&0xf0|byte(n>>8), byte(n), in[5]|1
		table := binary.BigEndian.AppendUint32(bytes.Clone(in), checksum(in))
		var s section
		got := s.add(append([]byte{0}, table...), true, kind)
		if got == nil && len(table) >= 12 && len(table) <= maxSection {
			t.Fatalf("refused %x", table)
		}
		if got == nil {
			return
		}
		streams, _ := parsePMT(got)
		for _, st := range streams {
			known(st)
		}
		(&demuxer{}).programs(got)
	})
}
