package transcode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/media/worker"
)

// fake is an engine in the test's own process. Every frame costs it time; a
// wanted one gives a picture per output.
type fake struct {
	bench   *bench
	results chan worker.Result

	mu      sync.Mutex
	track   media.Track
	inputs  int
	outputs []worker.Output
	sets    int
	fed     []fedFrame
	begun   map[uint32]bool
	keys    []uint32
	err     error
}

type fedFrame struct {
	f    *media.Frame
	want bool
	at   time.Time
}

func (e *fake) SetInput(t media.Track) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.track, e.begun = t, map[uint32]bool{}
	e.inputs++
	return nil
}

func (e *fake) SetOutputs(o []worker.Output) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outputs = slices.Clone(o)
	e.sets++
	return nil
}

func (e *fake) FeedWait(ctx context.Context, f *media.Frame, want bool) error {
	select {
	case <-time.After(e.bench.cost):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	e.fed = append(e.fed, fedFrame{f, want, time.Now()})
	if n := e.bench.dieAfter; n > 0 && len(e.fed) >= n {
		e.end(errors.New("killed"))
		return e.err
	}
	if e.bench.trouble != nil {
		e.results <- worker.Result{Err: e.bench.trouble}
		return nil
	}
	if !want {
		return nil
	}
	for _, o := range e.outputs {
		r := worker.Result{Output: o.ID, Kind: o.Kind, PTS: f.PTS, Captured: f.Captured, Key: true, Width: 320, Height: 180, Units: [][]byte{tinyJPEG}}
		if o.Kind == worker.OutputH264 {
			r.Units = [][]byte{testSPS, testPPS, {0x65, 0x88, 0x84}}
			if r.Key = !e.begun[o.ID]; !r.Key {
				r.Units = [][]byte{{0x41, 0x9a, 0x24}}
			}
			e.begun[o.ID] = true
		}
		e.results <- r
	}
	return nil
}

func (e *fake) end(err error) {
	if e.err == nil {
		e.err = err
		close(e.results)
	}
}

func (e *fake) RequestKey(id uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys = append(e.keys, id)
}
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

var (
	// 320x180, constrained baseline.
	testSPS = []byte{
		0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
		0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80,
	}
	testPPS  = []byte{0x68, 0xcb, 0x83, 0xcb, 0x20}
	tinyJPEG = makeJPEG(320, 180, 80)
)

func makeJPEG(w, h, quality int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420), &jpeg.Options{Quality: quality}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// bench is a registry with one camera, and a Transcoder whose workers are fakes.
type bench struct {
	t        *testing.T
	tr       *Transcoder
	reg      *stream.Registry
	pub      *stream.Publication
	cam      *stream.Stream
	keyAsked int

	cost     time.Duration // of each frame
	dieAfter int           // frames
	trouble  error
	startErr error

	mu      sync.Mutex
	engines []*fake
	n       int
}

func newBench(t *testing.T, track media.Track, o stream.Options) *bench {
	t.Helper()
	b := &bench{t: t, tr: New(Options{}), cost: time.Millisecond}
	b.tr.available = func() error { return nil }
	b.tr.start = func(context.Context, worker.Options) (engine, error) {
		if b.startErr != nil {
			return nil, b.startErr
		}
		e := &fake{bench: b, results: make(chan worker.Result, 4096)}
		b.mu.Lock()
		b.engines = append(b.engines, e)
		b.mu.Unlock()
		return e, nil
	}
	b.reg = stream.New(stream.Config{Derive: b.tr.Derive})
	cam, err := b.reg.Add("cam", o)
	if err != nil {
		t.Fatal(err)
	}
	b.cam = cam
	b.pub, err = b.reg.Publish("cam", stream.PublishOptions{RequestKey: func() { b.keyAsked++ }})
	if err != nil {
		t.Fatal(err)
	}
	if track.Codec != "" {
		b.pub.Start(media.Tracks{track})
	}
	return b
}

// close ends the test; nothing may be left of the stages.
func (b *bench) close() {
	b.t.Helper()
	b.pub.Close()
	b.reg.Close()
	if s := b.tr.Stats(); s.Stages != 0 {
		b.t.Errorf("%d stages are left", s.Stages)
	}
	for _, e := range b.engines {
		if e.err == nil {
			b.t.Error("a worker is left")
		}
	}
}

func (b *bench) lease(name string) *stream.Lease {
	b.t.Helper()
	l, err := b.cam.LeaseDerived(name, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// vp8 writes the next frame, 33 ms after the one before.
func (b *bench) vp8(key bool) {
	b.n++
	unit := []byte{0x11, 0, 0, 1, 2, 3}
	if key {
		unit = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00, 1, 2}
	}
	b.write(unit)
}

func (b *bench) write(units ...[]byte) {
	b.pub.Write(&media.Frame{PTS: time.Since(epoch), Captured: time.Now(), Units: units})
}

var epoch = time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC)

func (b *bench) play(frames, gop int) {
	for i := range frames {
		b.vp8(i%gop == 0)
		time.Sleep(time.Second / 30)
	}
	synctest.Wait()
}

// last returns the newest worker.
func (b *bench) last() *fake {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.engines) == 0 {
		b.t.Fatal("no worker was started")
	}
	return b.engines[len(b.engines)-1]
}

// frames reads what is in a lease's ring right now.
func frames(l *stream.Lease) []*media.Frame {
	c := l.Hub().NewCursor(hub.CursorOptions{})
	var list []*media.Frame
	for {
		f, err := c.Try()
		if f == nil || err != nil {
			return list
		}
		list = append(list, f)
	}
}

var vp8 = media.Track{Codec: media.VP8, ClockRate: 90000, FPS: 30}

func TestNoViewerNoWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		b.play(60, 30)
		if s := b.tr.Stats(); s != (Stats{}) {
			t.Fatalf("work without a viewer: %+v", s)
		}
		leases := []*stream.Lease{b.lease("jpeg"), b.lease("jpeg-160-75"), b.lease("h264")}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		b.play(60, 30)
		e := b.last()
		if s := b.tr.Stats(); s.Workers != 1 || s.Stages != 1 {
			t.Fatalf("%+v for one camera", s)
		}
		// The group of pictures that was there, and each frame that came, once.
		if len(e.fed) != 30+60 {
			t.Fatalf("fed %d frames", len(e.fed))
		}
		if len(e.outputs) != 3 {
			t.Fatalf("outputs %+v", e.outputs)
		}
		for _, l := range leases {
			if i := l.Stream().Info(); i.State != stream.Live || i.Frames < 60 || i.Tracks[0].Width != 320 {
				t.Fatalf("%s: %+v", i.ID, i)
			}
			l.Release()
		}
		time.Sleep(stream.DefaultLinger + time.Second)
		synctest.Wait()
		if s := b.tr.Stats(); s.Stages != 0 || e.Err() == nil {
			t.Fatalf("still at work: %+v", s)
		}
		fed := b.tr.Stats().Fed
		b.play(30, 30)
		if b.tr.Stats().Fed != fed {
			t.Fatal("fed without a viewer")
		}
	})
}

// A newcomer gets the newest picture at once and none of the past.
func TestCatchesUpWithoutSlideshow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		b.play(50, 50)
		newest := b.cam.Hub().Latest()
		l := b.lease("jpeg")
		defer l.Release()
		time.Sleep(120 * time.Millisecond)
		synctest.Wait()
		e := b.last()
		for i, f := range e.fed {
			if f.want != (i == 49) {
				t.Errorf("frame %d of 50: wanted %v", i, f.want)
			}
		}
		got := frames(l)
		if len(got) != 1 || !got[0].Captured.Equal(newest.Captured) {
			t.Fatalf("%d pictures", len(got))
		}
	})
}

// A worker slower than the stream gets key frames and what it can manage.
func TestSlowWorkerJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		b.cost = 80 * time.Millisecond
		l := b.lease("jpeg")
		defer l.Release()
		synctest.Wait()
		b.play(600, 30)
		e := b.last()
		previous, pictures := uint64(0), 0
		for i, f := range e.fed {
			if i > 0 && f.f.Seq != previous+1 && !f.f.Key {
				t.Fatalf("frame %d follows %d and is no key frame", f.f.Seq, previous)
			}
			previous = f.f.Seq
			if f.want {
				pictures++
				if late := f.at.Sub(f.f.Captured); late > 1500*time.Millisecond {
					t.Fatalf("picture of a frame %v old", late)
				}
			}
		}
		if pictures < 20 {
			t.Fatalf("%d pictures in 20 s", pictures)
		}
	})
}

func TestSlowWorkerTakesNewestRawPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, media.Track{Codec: media.I420, ClockRate: 90000, Width: 4, Height: 2, FPS: 30}, stream.Options{})
		defer b.close()
		b.cost = 100 * time.Millisecond
		l := b.lease("h264")
		defer l.Release()
		synctest.Wait()
		for range 90 {
			b.write(make([]byte, 8), make([]byte, 2), make([]byte, 2))
			time.Sleep(time.Second / 30)
		}
		synctest.Wait()
		e := b.last()
		if n := len(e.fed); n < 25 || n > 32 {
			t.Fatalf("fed %d frames in 3 s", n)
		}
		for _, f := range e.fed {
			if late := f.at.Sub(f.f.Captured); late > 140*time.Millisecond || !f.want {
				t.Fatalf("fed a frame %v old, wanted %v", late, f.want)
			}
		}
	})
}

func TestCrashHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		j, h := b.lease("jpeg"), b.lease("h264")
		defer j.Release()
		defer h.Release()
		synctest.Wait()
		b.dieAfter = 45
		b.play(46, 30)
		b.dieAfter = 0
		b.play(60, 30)
		if s := b.tr.Stats(); s.Workers != 2 {
			t.Fatalf("%+v", s)
		}
		if f := b.engines[1].fed[0]; !f.f.Key {
			t.Fatal("the second worker began without a key frame")
		}
		for _, l := range []*stream.Lease{j, h} {
			if i := l.Stream().Info(); i.State != stream.Live || i.Restarts != 0 {
				t.Fatalf("%s: %s %s, %d restarts", i.ID, i.State, i.Reason, i.Restarts)
			}
		}
		list := frames(h)
		if len(list) == 0 || !list[0].Key {
			t.Fatal("H.264 does not go on with a key frame")
		}
	})
}

func TestBackoffAndGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		l := b.lease("jpeg")
		defer l.Release()
		synctest.Wait()
		b.play(30, 30)
		b.startErr = errors.New("out of processes")
		b.last().Close()
		b.play(30*4, 30)
		if i := l.Stream().Info(); i.State != stream.Lost || !strings.Contains(i.Reason, "out of processes") {
			t.Fatalf("%s: %s", i.State, i.Reason)
		}
		b.startErr = nil
		b.play(30*12, 30)
		if i := l.Stream().Info(); i.State != stream.Live {
			t.Fatalf("%s: %s", i.State, i.Reason)
		}
	})
}

func TestNoDecoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		b.tr.available = func() error { return fmt.Errorf("%w: install libavcodec", worker.ErrUnavailable) }
		l := b.lease("h264")
		defer l.Release()
		b.play(10, 30)
		i := l.Stream().Info()
		if i.State != stream.Failed || !strings.Contains(i.Reason, "install libavcodec") || !strings.Contains(i.Reason, `camera "cam"`) {
			t.Fatalf("%s: %s", i.State, i.Reason)
		}
	})
}

func TestNothingDecodable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		b.trouble = &worker.TroubleError{Text: "input is not decodable", Count: 1, NeedKey: true}
		l := b.lease("jpeg")
		defer l.Release()
		synctest.Wait()
		b.play(30*6, 30)
		i := l.Stream().Info()
		if i.State != stream.Failed || !strings.Contains(i.Reason, "input is not decodable") {
			t.Fatalf("%s: %s", i.State, i.Reason)
		}
		if b.keyAsked < 5 || b.keyAsked > 14 {
			t.Fatalf("asked the camera for a key frame %d times in 6 s", b.keyAsked)
		}
	})
}

// Somebody who joins at a camera that is slow need not wait for its next frame.
func TestJoinsBetweenRareFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		j := b.lease("jpeg")
		defer j.Release()
		synctest.Wait()
		for i := range 3 {
			b.vp8(i == 0)
			time.Sleep(10 * time.Second)
		}
		h := b.lease("h264")
		defer h.Release()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		got := frames(h)
		if len(got) != 1 || !got[0].Key {
			t.Fatalf("%d frames", len(got))
		}
		if n := j.Stream().Info().Frames; n != 3 {
			t.Fatalf("the other output has %d pictures of 3 frames", n)
		}
		b.vp8(false)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := frames(h); len(got) != 2 || got[1].PTS <= got[0].PTS {
			t.Fatalf("%d frames after the next one", len(got))
		}
	})
}

func TestKeyRequestAndBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, vp8, stream.Options{})
		defer b.close()
		h := b.lease("h264")
		defer h.Release()
		synctest.Wait()
		b.play(30, 30)
		e := b.last()
		h.RequestKey()
		if len(e.keys) != 1 || e.keys[0] != e.outputs[0].ID {
			t.Fatalf("key requests %v, outputs %+v", e.keys, e.outputs)
		}
		id, was := e.outputs[0].ID, e.outputs[0].Bitrate
		h.Stream().Options().Source.(media.BitrateSetter).SetBitrate(200_000)
		synctest.Wait()
		if o := e.outputs[0]; o.Bitrate != 200_000 || o.ID != id {
			t.Fatalf("output %+v", o)
		}
		h.Stream().Options().Source.(media.BitrateSetter).SetBitrate(90_000_000)
		synctest.Wait()
		if o := e.outputs[0]; o.Bitrate != was {
			t.Fatalf("output %+v, it was %d", o, was)
		}
	})
}

func TestCapsOfJPEG(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, media.Track{Codec: media.I420, ClockRate: 90000, Width: 640, Height: 480, FPS: 30}, stream.Options{FPS: 5, Width: 320, Height: 180, Quality: 60})
		defer b.close()
		l, same := b.lease("jpeg"), b.lease("jpeg-0-60")
		defer l.Release()
		defer same.Release()
		synctest.Wait()
		raw := [][]byte{make([]byte, 640*480), make([]byte, 320*240), make([]byte, 320*240)}
		play := func() {
			for range 60 {
				b.write(raw...)
				time.Sleep(time.Second / 30)
			}
			synctest.Wait()
		}
		play()
		e := b.last()
		if len(e.outputs) != 1 || e.outputs[0].Width != 0 || e.outputs[0].Height != 180 || e.outputs[0].Quality != 60 {
			t.Fatalf("outputs %+v", e.outputs)
		}
		if n := len(e.fed); n < 9 || n > 11 {
			t.Fatalf("fed %d frames in 2 s", n)
		}
		if i := same.Stream().Info(); i.Frames != l.Stream().Info().Frames || i.Tracks[0].FPS != 5 {
			t.Fatalf("%+v", i)
		}
		h := b.lease("h264")
		defer h.Release()
		play()
		if n := len(e.fed); n < 66 || e.outputs[0].FPS != 5 {
			t.Fatalf("fed %d frames in 4 s, outputs %+v", n, e.outputs)
		}
	})
}

// One camera more than may be decoded at a time is refused with a reason, and
// has its turn when another ends.
func TestTooManyCameras(t *testing.T) {
	tc := New(Options{MaxStages: 1})
	tc.available = func() error { return nil }
	reg := stream.New(stream.Config{})
	defer reg.Close()
	var cams [2]*stream.Stream
	for i := range cams {
		var err error
		if cams[i], err = reg.Add(fmt.Sprintf("cam%d", i), stream.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := tc.attach(t.Context(), cams[0])
	if err != nil {
		t.Fatal(err)
	}
	if again, err := tc.attach(t.Context(), cams[0]); err != nil || again != first {
		t.Errorf("a second output of the same camera: %v", err)
	} else {
		tc.detach(again)
	}
	if _, err := tc.attach(t.Context(), cams[1]); !errors.Is(err, ErrBusy) {
		t.Errorf("a second camera: %v", err)
	}
	tc.detach(first)
	second, err := tc.attach(t.Context(), cams[1])
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	tc.detach(second)
}
