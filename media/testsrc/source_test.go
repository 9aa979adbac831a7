package testsrc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/testsrc/clock"
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

func workerOptions() worker.Options {
	return worker.Options{
		Args: []string{}, Env: []string{childEnv + "=1"},
		HangTimeout: time.Minute, StartTimeout: time.Minute,
	}
}

// recorder is a sink that keeps everything and calls stop after enough frames.
type recorder struct {
	mu     sync.Mutex
	tracks []media.Tracks
	frames []*media.Frame
	enough int
	stop   func()
	each   func(*media.Frame)
}

func (r *recorder) Start(ts media.Tracks) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tracks = append(r.tracks, ts)
}

func (r *recorder) Write(f *media.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.frames) == r.enough {
		return
	}
	r.frames = append(r.frames, f)
	if r.each != nil {
		r.each(f)
	}
	if len(r.frames) == r.enough {
		r.stop()
	}
}

// record runs the source until it has delivered so many frames.
func record(t testing.TB, s *Source, frames int, each func(*media.Frame)) *recorder {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := &recorder{enough: frames, stop: cancel, each: each}
	if err := s.Run(ctx, r); err != nil {
		t.Fatal(err)
	}
	if len(r.frames) != frames {
		t.Fatalf("%d frames instead of %d", len(r.frames), frames)
	}
	return r
}

func newSource(t testing.TB, o Options) *Source {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lumaOf(f *media.Frame, w int) func(x, y int) uint8 {
	return func(x, y int) uint8 { return f.Units[0][y*w+x] }
}

func TestRawKeepsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := 0
		r := record(t, newSource(t, Options{Width: 320, Height: 180, FPS: 30, Codec: "raw"}), 300, func(*media.Frame) {
			if n++; n == 100 {
				time.Sleep(time.Second) // a suspended machine
			}
			time.Sleep(7 * time.Millisecond) // work does not add up
		})
		if want := (media.Tracks{{Codec: media.I420, ClockRate: 90000, Width: 320, Height: 180, FPS: 30}}); len(r.tracks) != 1 || r.tracks[0].String() != want.String() || r.tracks[0][0].Width != 320 {
			t.Fatalf("tracks %+v", r.tracks)
		}
		for i, f := range r.frames {
			due := began.Add(f.PTS)
			if d := f.Captured.Sub(due); d > time.Second/30 || d < -time.Millisecond {
				t.Fatalf("frame %d is %v off its time", i, d)
			}
			if i > 0 && i != 100 && (f.PTS-r.frames[i-1].PTS).Round(time.Millisecond) != 33*time.Millisecond {
				t.Fatalf("frame %d comes %v after the one before", i, f.PTS-r.frames[i-1].PTS)
			}
			if got, ok := clock.Read(lumaOf(f, 320), 320, 180, f.Captured); !ok || !got.Equal(f.Captured) {
				t.Fatalf("frame %d: clock %v, captured %v", i, got, f.Captured)
			}
			if !f.Key || len(f.Units) != 3 || len(f.Units[1]) != 160*90 {
				t.Fatalf("frame %d: not a key frame of three planes", i)
			}
		}
		if gap := r.frames[100].PTS - r.frames[99].PTS; gap < time.Second || gap > 1100*time.Millisecond {
			t.Fatalf("after a second's stop the next frame is %v on", gap)
		}
	})
}

func TestWithoutCodecs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, Options{})
		s.available = func() error { return errors.New("none here") }
		r := record(t, s, 12, nil)
		if tr := r.tracks[0][0]; tr.Codec != media.JPEG || tr.Width != 640 || tr.Height != 360 || tr.FPS != 10 {
			t.Fatalf("track %+v", tr)
		}
		for _, f := range r.frames {
			m, err := jpeg.Decode(bytes.NewReader(f.Units[0]))
			if err != nil {
				t.Fatal(err)
			}
			if m.Bounds().Dx() != 640 || m.Bounds().Dy() != 360 {
				t.Fatalf("picture of %v", m.Bounds())
			}
			got, ok := clock.Read(func(x, y int) uint8 { r, _, _, _ := m.At(x, y).RGBA(); return uint8(r >> 8) }, 640, 360, f.Captured)
			if !ok || !got.Equal(f.Captured) {
				t.Fatalf("clock %v, %v; captured %v", got, ok, f.Captured)
			}
		}
		if d := r.frames[11].PTS; d != 1100*time.Millisecond {
			t.Fatalf("12 frames in %v", d)
		}
	})
}

// fake is an engine that answers every frame with a picture, until it dies.
type fake struct {
	results chan worker.Result
	mu      sync.Mutex
	outputs []worker.Output
	keys    int
	bitrate int
	fed     int
	dieAt   int
	busyAt  int
	err     error
	closed  bool
}

func (e *fake) SetInput(media.Track) error { return nil }
func (e *fake) SetOutputs(o []worker.Output) error {
	e.outputs = o
	return nil
}

func (e *fake) Feed(f *media.Frame, _ bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fed++
	switch {
	case e.closed:
		return e.err
	case e.fed == e.busyAt:
		return worker.ErrBusy
	case e.fed == e.dieAt:
		e.end(errors.New("killed"))
		return e.err
	}
	e.results <- worker.Result{
		Output: output, Kind: worker.OutputH264, Key: e.fed == 1, PTS: f.PTS, Captured: f.Captured,
		Units: [][]byte{{0x67, 1}, {0x68, 1}, {0x65, 1}},
	}
	return nil
}

func (e *fake) end(err error) {
	if !e.closed {
		e.closed, e.err = true, err
		close(e.results)
	}
}

func (e *fake) RequestKey(uint32)             { e.keys++ }
func (e *fake) SetBitrate(_ uint32, bps int)  { e.bitrate = bps }
func (e *fake) Results() <-chan worker.Result { return e.results }
func (e *fake) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

func (e *fake) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end(worker.ErrClosed)
	return nil
}

func withFake(t *testing.T, o Options, e *fake) *Source {
	e.results = make(chan worker.Result, 64)
	s := newSource(t, o)
	s.available = func() error { return nil }
	s.start = func(context.Context, worker.Options) (engine, error) { return e, nil }
	return s
}

func TestWorkerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{dieAt: 20}
		s := withFake(t, Options{Width: 320, Height: 180}, e)
		r := &recorder{enough: -1}
		err := s.Run(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("ended with %v", err)
		}
		if len(r.frames) != 19 || len(r.tracks) != 1 || len(r.tracks[0][0].Params) != 2 {
			t.Fatalf("%d frames, tracks %v", len(r.frames), r.tracks)
		}
		s.RequestKey() // has no effect, and does no harm
		if e.keys != 0 {
			t.Fatal("key request for a dead worker")
		}
	})
}

func TestBusyWorkerLosesPicturesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{busyAt: 5}
		s := withFake(t, Options{Width: 320, Height: 180, GOP: 3 * time.Second, FPS: 25, Bitrate: 700_000}, e)
		n := 0
		r := record(t, s, 10, func(*media.Frame) {
			if n++; n == 3 {
				s.RequestKey()
				s.SetBitrate(400_000)
			}
		})
		if gap := r.frames[4].PTS - r.frames[3].PTS; gap != 80*time.Millisecond {
			t.Fatalf("gap of %v", gap)
		}
		if e.keys != 1 || e.bitrate != 400_000 {
			t.Fatalf("%d key requests, bitrate %d", e.keys, e.bitrate)
		}
		s.SetBitrate(10)
		if s.limit != 10 || s.MaxBitrate() != 700_000 || s.bitrateLocked() != leastBitrate {
			t.Fatalf("held down to %d of %d", s.bitrateLocked(), s.MaxBitrate())
		}
		s.SetBitrate(0)
		if s.bitrateLocked() != 700_000 {
			t.Fatalf("bit rate %d without a limit", s.bitrateLocked())
		}
		if o := e.outputs[0]; o.GOP != 3*time.Second || o.FPS != 25 || o.Bitrate != 700_000 {
			t.Fatalf("output %+v", o)
		}
	})
}

func TestBitrateOutlivesARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{}
		s := withFake(t, Options{Width: 320, Height: 180, Bitrate: 700_000}, e)
		s.SetBitrate(300_000)
		record(t, s, 4, nil)
		if e.bitrate != 300_000 {
			t.Fatalf("bit rate %d", e.bitrate)
		}
	})
	if s := newSource(t, Options{Codec: "jpeg"}); s.MaxBitrate() != 0 {
		t.Fatalf("JPEG with a bit rate of %d", s.MaxBitrate())
	}
}

func TestNoWorker(t *testing.T) {
	s := newSource(t, Options{})
	s.available = func() error { return nil }
	s.start = func(context.Context, worker.Options) (engine, error) { return nil, errors.New("no such program") }
	if err := s.Run(t.Context(), &recorder{}); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Fatalf("ended with %v", err)
	}
}

func TestRealEncoder(t *testing.T) {
	if err := worker.Available(); err != nil {
		t.Skip(err)
	}
	for _, o := range []Options{
		{Width: 640, Height: 360, FPS: 60, Codec: "h264", GOP: 500 * time.Millisecond},
		{Width: 1280, Height: 720, FPS: 30, Codec: "h264"},
		{Width: 640, Height: 480, FPS: 60, Codec: "jpeg"},
	} {
		t.Run(fmt.Sprintf("%s-%d", o.Codec, o.Width), func(t *testing.T) {
			o.Worker = workerOptions()
			s := newSource(t, o)
			n := 0
			r := record(t, s, 50, func(*media.Frame) {
				if n++; n == 10 {
					s.RequestKey()
				}
			})
			keys := 0
			for i, f := range r.frames {
				if f.Key {
					keys++
				}
				if i > 0 && f.PTS <= r.frames[i-1].PTS {
					t.Fatalf("frame %d: PTS %v after %v", i, f.PTS, r.frames[i-1].PTS)
				}
			}
			tr := r.tracks[0][0]
			if o.Codec == "h264" && (tr.Codec != media.H264 || len(tr.Params) != 2 || keys < 2 || keys > 5) {
				t.Fatalf("%d key frames, track %+v", keys, tr)
			}
			readClocks(t, tr, r.frames)
		})
	}
}

// readClocks decodes frames and compares the clock in each picture with Captured.
func readClocks(t *testing.T, tr media.Track, frames []*media.Frame) {
	t.Helper()
	w, err := worker.Start(t.Context(), workerOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.SetInput(tr); err != nil {
		t.Fatal(err)
	}
	if err := w.SetOutputs([]worker.Output{{ID: 1, Kind: worker.OutputGray}}); err != nil {
		t.Fatal(err)
	}
	fed := make(chan error, 1)
	go func() {
		for _, f := range frames {
			if err := w.FeedWait(t.Context(), f, true); err != nil {
				fed <- err
				return
			}
		}
		fed <- nil
	}()
	for i := range frames {
		r, ok := <-w.Results()
		if !ok || r.Err != nil {
			t.Fatalf("decoder: %v, %v", r.Err, w.Err())
		}
		got, ok := clock.Read(func(x, y int) uint8 { return r.Units[0][y*r.Width+x] }, r.Width, r.Height, r.Captured)
		if !ok || !got.Equal(r.Captured) {
			t.Fatalf("picture %d: clock %v, %v; captured %v", i, got, ok, r.Captured)
		}
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
}
