package audio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/audio/pcm"
	"camwire/media/hub"
	"camwire/media/libav/libavtest"
	"camwire/media/stream"
	"camwire/media/worker"
)

// childEnv makes the test binary a codec worker.
const childEnv = "CAMWIRE_TEST_CODEC_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := worker.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait: the machine may be slow and busy.
const patience = time.Minute

func converter(t testing.TB, withWorker bool) *Converter {
	t.Helper()
	if err := worker.Available(); err != nil && withWorker {
		t.Skip(err)
	}
	c := New(Options{Worker: worker.Options{
		Args: []string{}, Env: []string{childEnv + "=1"}, HangTimeout: patience, StartTimeout: patience,
	}})
	c.maxLag = patience // a test leaves nothing out, however slow the machine is
	return c
}

// radio is a source that plays a clip beside a picture: a second ahead of
// whoever listens, and slowly while nobody does.
type radio struct {
	clip  libavtest.Clip
	runs  atomic.Int32
	alone bool // no picture
	kill  chan error

	heard atomic.Int64 // PTS up to which somebody has heard it
	more  chan struct{}
}

func newRadio(c libavtest.Clip) *radio {
	return &radio{clip: c, kill: make(chan error), more: make(chan struct{}, 1)}
}

// listened tells how far somebody has heard.
func (r *radio) listened(pts time.Duration) {
	r.heard.Store(int64(pts))
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// pause waits for the time of a frame.
func (r *radio) pause(ctx context.Context, pts time.Duration) error {
	slow := time.NewTimer(20 * time.Millisecond)
	defer slow.Stop()
	for time.Duration(r.heard.Load())+time.Second < pts {
		select {
		case <-r.more:
		case <-slow.C:
			return nil
		case err := <-r.kill:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// origin is where the clock of a camera happens to stand.
const origin = 1234 * time.Second

func (r *radio) Run(ctx context.Context, s media.Sink) error {
	r.runs.Add(1)
	list := media.Tracks{r.clip.Track}
	if !r.alone {
		list = media.Tracks{{Codec: media.VP8, ClockRate: 90000}, r.clip.Track}
	}
	s.Start(list)
	for i, f := range r.clip.Frames {
		if err := r.pause(ctx, origin+f.PTS); err != nil {
			return err
		}
		if !r.alone && i%4 == 0 {
			s.Write(&media.Frame{PTS: origin + f.PTS, Key: true, Units: [][]byte{picture}})
		}
		s.Write(&media.Frame{Track: len(list) - 1, PTS: origin + f.PTS, Captured: f.Captured, Key: true, Units: f.Units})
	}
	select {
	case err := <-r.kill:
		return err
	case <-ctx.Done():
		return nil
	}
}

// picture is the least that passes for a key frame of VP8 (RFC 6386 section 9.1).
var picture = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0}

func camera(t testing.TB, c *Converter, src media.Source) *stream.Stream {
	t.Helper()
	reg := stream.New(stream.Config{Hub: hub.Options{Tail: patience}, Derive: func(s *stream.Stream, name string) (media.Source, error) {
		if name != Name {
			return nil, errors.New("no such stream")
		}
		return c.Derive(s)
	}})
	t.Cleanup(reg.Close)
	s, err := reg.Add("cam", stream.Options{Source: src, OnDemand: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listen reads n packets.
func listen(t testing.TB, cam *stream.Stream, n int, each func(time.Duration)) (media.Tracks, []*media.Frame) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lease, err := cam.LeaseDerived(Name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	c := lease.Hub().NewCursor(hub.CursorOptions{})
	var frames []*media.Frame
	for len(frames) < n {
		f, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("after %d packets: %v (%s)", len(frames), err, lease.Stream().Info().Reason)
		}
		frames = append(frames, f)
		if each != nil {
			each(f.PTS)
		}
	}
	return c.Tracks(), frames
}

// raw makes a clip of a microphone's samples.
func raw(seconds int, channels int, hz float64) libavtest.Clip {
	c := libavtest.Clip{Track: media.Track{Codec: media.L16, ClockRate: 48000, Channels: channels}}
	for i := range int64(seconds * 50) {
		b := pcm.AppendL16(nil, tone(48000, channels, i*960, 960, hz))
		c.Frames = append(c.Frames, &media.Frame{PTS: span(i*960, 48000), Units: [][]byte{b}})
	}
	return c
}

// TestListen: what a camera says is heard at the same time with the same level.
func TestListen(t *testing.T) {
	aac := func(rate, channels int) func(t *testing.T) libavtest.Clip {
		return func(t *testing.T) libavtest.Clip {
			return libavtest.MakeAAC(t, libavtest.SoundSpec{Rate: rate, Channels: channels, Hz: 100, Seconds: 8})
		}
	}
	for _, c := range []struct {
		name     string
		clip     func(*testing.T) libavtest.Clip
		level    float64
		channels int
		delay    time.Duration // of the coder that made the clip
		worker   bool
	}{
		{"AAC 8 kHz", aac(8000, 1), 0.125, 1, span(1024, 8000), true},
		{"AAC 16 kHz", aac(16000, 1), 0.125, 1, span(1024, 16000), true},
		{"AAC 44.1 kHz", aac(44100, 2), 0.125, 2, span(1024, 44100), true},
		{"AAC 48 kHz 5.1", aac(48000, 6), 0.125, 2, span(1024, 48000), true},
		{"L16", func(*testing.T) libavtest.Clip { return raw(8, 1, 100) }, 0.25, 1, 0, false},
		{"L16 stereo", func(*testing.T) libavtest.Clip { return raw(8, 2, 100) }, 0.25, 2, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conv := converter(t, c.worker)
			clip := c.clip(t)
			start := time.Now().Add(-time.Minute)
			for _, f := range clip.Frames {
				f.Captured = start.Add(f.PTS)
			}
			r := newRadio(clip)
			cam := camera(t, conv, r)
			ts, frames := listen(t, cam, 200, r.listened)
			if len(ts) != 1 || ts[0].Codec != media.Opus || ts[0].ClockRate != 48000 || ts[0].Channels != c.channels {
				t.Fatalf("tracks are %+v", ts)
			}
			steady(t, frames)
			for i, f := range frames {
				if d := f.Captured.Sub(start) - (f.PTS - origin); d < -time.Millisecond || d > time.Millisecond {
					t.Fatalf("packet %d: Captured is off by %v", i, d)
				}
			}
			x := pcm.Mono(heard(t, frames, c.channels), c.channels)
			from := 4800 * 5
			level, rest, phase := fit(x[from:from+3*48000], 100)
			if math.Abs(level-c.level) > 0.02*c.level+0.004 || rest > 0.1*c.level {
				t.Errorf("level %.4f instead of %.4f, beside the tone %.4f", level, c.level, rest)
			}
			at := frames[0].PTS - origin + span(int64(from), rate) - c.delay
			want := 2 * math.Pi * 100 * at.Seconds()
			if late := -math.Remainder(phase-want, 2*math.Pi) / (2 * math.Pi * 100) * 1e3; math.Abs(late) > 0.5 {
				t.Errorf("heard %.2f ms late", late)
			}
		})
	}
}

// TestNobodyListens: the camera runs only for a listener.
func TestNobodyListens(t *testing.T) {
	r := newRadio(raw(1, 1, 100))
	cam := camera(t, converter(t, false), r)
	if r.runs.Load() != 0 {
		t.Error("the camera runs for nobody")
	}
	listen(t, cam, 3, nil)
	if r.runs.Load() != 1 {
		t.Errorf("the camera ran %d times", r.runs.Load())
	}
	if v := cam.Info().Viewers; len(v) != 0 {
		t.Errorf("viewers are %v", v)
	}
}

// TestRestart: the sound goes on after the camera has been away.
func TestRestart(t *testing.T) {
	r := newRadio(raw(5, 1, 100))
	r.alone = true
	cam := camera(t, converter(t, false), r)
	n := 0
	_, frames := listen(t, cam, 200, func(pts time.Duration) {
		if n++; n == 40 {
			r.kill <- errors.New("cable pulled")
			return
		}
		r.listened(pts)
	})
	for i, f := range frames {
		if i > 0 && f.PTS <= frames[i-1].PTS {
			t.Errorf("packet %d at %v comes after %v", i, f.PTS, frames[i-1].PTS)
		}
	}
	if r.runs.Load() != 2 {
		t.Errorf("the camera ran %d times", r.runs.Load())
	}
}

// reason waits for why a derived stream fails.
func reason(t *testing.T, c *Converter, clip libavtest.Clip) string {
	t.Helper()
	cam := camera(t, c, newRadio(clip))
	lease, err := cam.LeaseDerived(Name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	for end := time.Now().Add(patience); ; {
		i := lease.Stream().Info()
		if i.Reason != "" {
			return i.Reason
		}
		if time.Now().After(end) {
			t.Fatalf("still %s", i.State)
		}
		<-time.After(time.Millisecond)
	}
}

// TestCannot: what cannot be converted says why.
func TestCannot(t *testing.T) {
	conv := converter(t, false)
	clip := func(tr media.Track) libavtest.Clip {
		c := libavtest.Clip{Track: tr}
		for i := range 200 {
			c.Frames = append(c.Frames, &media.Frame{PTS: time.Duration(i) * 20 * time.Millisecond, Units: [][]byte{{1, 2, 3, 4}}})
		}
		return c
	}
	if r := reason(t, conv, clip(media.Track{Codec: media.Opus, ClockRate: 48000, Channels: 1})); !strings.Contains(r, `camera "cam", opus: the camera's sound is opus already`) {
		t.Error(r)
	}
	if r := reason(t, conv, clip(media.Track{Codec: media.JPEG, ClockRate: 90000})); !strings.Contains(r, "has no sound") {
		t.Error(r)
	}
	if r := reason(t, conv, clip(media.Track{Codec: media.L16, ClockRate: 47999, Channels: 1})); !strings.Contains(r, "47999") {
		t.Error(r)
	}
	conv.available = func() error { return worker.ErrUnavailable }
	if r := reason(t, conv, clip(media.Track{Codec: media.AAC, ClockRate: 48000, Channels: 1})); !strings.Contains(r, worker.ErrUnavailable.Error()) {
		t.Error(r)
	}
	if _, err := conv.Derive(nil); err == nil {
		t.Error("no camera taken")
	}
}

// fakeEngine answers as it is told.
type fakeEngine struct {
	results chan worker.Result
	fed     atomic.Int32
	input   media.Track
	err     error
}

func (e *fakeEngine) SetInput(t media.Track) error  { e.input = t; return nil }
func (e *fakeEngine) Results() <-chan worker.Result { return e.results }
func (e *fakeEngine) Err() error                    { return e.err }
func (e *fakeEngine) Close() error                  { return nil }
func (e *fakeEngine) FeedWait(ctx context.Context, f *media.Frame, _ bool) error {
	if len(f.Units[0]) > 100 {
		return worker.ErrTooLarge
	}
	e.fed.Add(1)
	return ctx.Err()
}

// TestWorkerEnds: the end of the process ends the run, with its reason.
func TestWorkerEnds(t *testing.T) {
	conv := converter(t, false)
	conv.available = func() error { return nil }
	conv.start = func(context.Context, worker.Options) (engine, error) {
		e := &fakeEngine{results: make(chan worker.Result), err: worker.ErrHung}
		close(e.results)
		return e, nil
	}
	clip := libavtest.Clip{Track: media.Track{Codec: media.AAC, ClockRate: 48000, Channels: 1}}
	for range 100 {
		clip.Frames = append(clip.Frames, &media.Frame{Units: [][]byte{bytes.Repeat([]byte{1}, 101)}}, &media.Frame{Units: [][]byte{{1}}})
	}
	if r := reason(t, conv, clip); !strings.Contains(r, worker.ErrHung.Error()) {
		t.Error(r)
	}
}

// TestTrouble: bad frames are left out and told, too many in a row end it.
func TestTrouble(t *testing.T) {
	d := &decoding{packer: newPacker(&shelf{})}
	trouble := worker.Result{Err: &worker.TroubleError{Text: "input is not decodable", Count: 30}}
	if err := d.take(trouble); err != nil || d.tell != 30 {
		t.Errorf("%v, %d to tell", err, d.tell)
	}
	good := worker.Result{Kind: worker.OutputPCM, Rate: 48000, Channels: 1, Units: [][]byte{make([]byte, 2048)}}
	if err := d.take(good); err != nil || d.bad != 0 {
		t.Errorf("%v, %d bad", err, d.bad)
	}
	// Two blocks of one frame follow one another.
	good.Captured = time.Now()
	if err := errors.Join(d.take(good), d.take(good)); err != nil {
		t.Error(err)
	}
	if want := span(3*1024, 48000); (want-d.end).Abs() > time.Microsecond || d.line.n != 3*1024 || d.line.drift != 0 {
		t.Errorf("end %v instead of %v, %d samples, drift %v", d.end, want, d.line.n, d.line.drift)
	}
	now := time.Now()
	if err := d.note(trouble.Err, now); err != nil {
		t.Error(err)
	}
	if err := d.note(trouble.Err, now.Add(time.Second)); err != nil {
		t.Error(err)
	}
	if err := d.note(trouble.Err, now.Add(3*time.Second)); err == nil || !strings.Contains(err.Error(), "not decodable") {
		t.Error(err)
	}
}
