//go:build cgo

package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/libav"
	"camwire/media/libav/libavtest"
)

// childEnv makes the test binary a codec worker.
const childEnv = "CAMWIRE_TEST_CODEC_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "1":
		if err := Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case "liar":
		// Answers a frame that was never fed.
		s := newServer(os.Stdin, os.Stdout)
		if s.greet() == nil && s.ready() == nil {
			_ = doneMessage(7).writeTo(s.out)
			_ = s.out.Flush()
			_ = s.serve(context.Background())
		}
		return
	case "refuse":
		fmt.Fprintln(os.Stderr, "no codecs today")
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

// logBuffer is a log that tests can look at.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func testOptions(t testing.TB, mode string) Options {
	buf := &logBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("worker log:", buf.b.String())
		}
	})
	return Options{
		Args: []string{}, Env: []string{childEnv + "=" + mode}, HangTimeout: time.Minute, StartTimeout: time.Minute,
		Log: slog.New(slog.NewTextHandler(buf, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func start(t testing.TB) *Worker {
	t.Helper()
	w, err := Start(t.Context(), testOptions(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// feedAll feeds frames and gives back all results for them; a last frame that
// the decoder cannot read ends the sequence, so decoders with delay are asked
// for what they have come to by themselves.
func feedAll(t testing.TB, w *Worker, frames []*media.Frame, want bool) (good []Result, bad []Result) {
	t.Helper()
	fed := make(chan error, 1)
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		for _, f := range frames {
			if err := w.FeedWait(t.Context(), f, want); err != nil {
				fed <- err
				return
			}
		}
		fed <- w.drain(t.Context())
	}()
	for {
		select {
		case r, open := <-w.Results():
			if !open {
				t.Fatalf("worker ended: %v", w.Err())
			}
			if r.Err != nil {
				bad = append(bad, r)
			} else {
				good = append(good, r)
			}
		case err := <-fed:
			<-idle
			ok(t, err)
			for len(w.Results()) > 0 {
				if r := <-w.Results(); r.Err != nil {
					bad = append(bad, r)
				} else {
					good = append(good, r)
				}
			}
			return good, bad
		}
	}
}

// drain waits until nothing is in flight.
func (w *Worker) drain(ctx context.Context) error {
	for {
		w.mu.Lock()
		n, room := len(w.flying), w.room
		w.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-room:
		case <-w.dead:
			return w.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func decodeJPEG(t testing.TB, b []byte) *image.YCbCr {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(b))
	ok(t, err)
	return m.(*image.YCbCr)
}

func TestEveryCodecBecomesJPEG(t *testing.T) {
	x264 := func(s string) []string { return strings.Fields("-c:v libx264 -preset veryfast -g 15 " + s) }
	for name, s := range map[string]libavtest.Spec{
		"H264 high":       {Codec: media.H264},
		"H264 baseline":   {Codec: media.H264, Args: x264("-profile:v baseline")},
		"H264 two slices": {Codec: media.H264, Args: x264("-bf 0 -x264-params slices=2")},
		"H264 B-frames":   {Codec: media.H264, Args: x264("-bf 3 -b_strategy 0"), Reordered: true},
		"H264 odd size":   {Codec: media.H264, Size: "321x243", Args: x264("-bf 0 -pix_fmt yuv444p")},
		"H265":            {Codec: media.H265},
		"VP8":             {Codec: media.VP8},
		"VP9":             {Codec: media.VP9},
		"AV1":             {Codec: media.AV1},
		"JPEG 4:2:0":      {Codec: media.JPEG},
		"JPEG 4:2:2":      {Codec: media.JPEG, Args: strings.Fields("-pix_fmt yuvj422p -c:v mjpeg -q:v 4")},
		"JPEG 4:4:4":      {Codec: media.JPEG, Args: strings.Fields("-pix_fmt yuvj444p -c:v mjpeg -q:v 4")},
		"JPEG odd size":   {Codec: media.JPEG, Size: "321x243"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s.Size == "" {
				s.Size = "320x240"
			}
			clip := libavtest.Make(t, s)
			if s.Reordered {
				// x264's order with three B-frames; PTS is not needed here
				// beyond being the same for all.
				for _, f := range clip.Frames {
					f.PTS = 0
				}
			}
			w := start(t)
			ok(t, w.SetInput(clip.Track))
			ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputJPEG, Quality: 95}, {ID: 2, Kind: OutputJPEG, Width: 160}, {ID: 3, Kind: OutputGray, Width: 80, Height: 60}}))
			good, bad := feedAll(t, w, clip.Frames, true)
			for _, r := range bad {
				t.Error(r.Err)
			}
			counts := map[uint32]int{}
			var full, small *image.YCbCr
			var gray Result
			for _, r := range good {
				counts[r.Output]++
				if counts[r.Output] == 1 {
					switch r.Output {
					case 1:
						full = decodeJPEG(t, r.Units[0])
					case 2:
						small = decodeJPEG(t, r.Units[0])
					case 3:
						gray = r
					}
				}
				if !r.Key || r.Captured.IsZero() {
					t.Error("result without key mark or time")
				}
			}
			most := len(clip.Frames)
			for id := uint32(1); id <= 3; id++ {
				if n := counts[id]; n < most-4 || n > most || !s.Reordered && n != most {
					t.Errorf("output %d: %d pictures out of %d frames", id, n, most)
				}
			}
			var sw, sh int
			if _, err := fmt.Sscanf(s.Size, "%dx%d", &sw, &sh); err != nil {
				t.Fatal(err)
			}
			ref := libavtest.FullRange(libavtest.Picture(t, s.Size, sw, sh, 0))
			if got := libavtest.PSNR(full, ref); got < 25 {
				t.Errorf("full size: %v, PSNR %.1f dB", full.Rect, got)
			}
			ref = libavtest.FullRange(libavtest.Picture(t, s.Size, 160, small.Rect.Dy(), 0))
			if got := libavtest.PSNR(small, ref); got < 22 || small.Rect.Dx() != 160 || small.Rect.Dy() < 119 || small.Rect.Dy() > 122 {
				t.Errorf("small: %v, PSNR %.1f dB", small.Rect, got)
			}
			m := image.NewYCbCr(image.Rect(0, 0, 80, 60), image.YCbCrSubsampleRatio420)
			copy(m.Y, gray.Units[0])
			ref = libavtest.FullRange(libavtest.Picture(t, s.Size, 80, 60, 0))
			if got := libavtest.PSNR(m, ref); got < 20 || gray.Width != 80 || gray.Height != 60 {
				t.Errorf("gray: PSNR %.1f dB", got)
			}
		})
	}
}

func TestH264IsDecodableAndKeysComeOnRequest(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.JPEG, Size: "321x241"})
	w := start(t)
	ok(t, w.SetInput(clip.Track))
	out := Output{ID: 9, Kind: OutputH264, FPS: 30, Bitrate: 2_000_000}
	ok(t, w.SetOutputs([]Output{out}))
	good, bad := feedAll(t, w, clip.Frames[:10], true)
	if len(bad) > 0 || len(good) != 10 {
		t.Fatalf("%d results, trouble %v", len(good), bad)
	}
	d, err := libav.Open(media.H264, libav.Options{})
	ok(t, err)
	defer d.Close()
	for i, r := range good {
		if r.Key != (i == 0) || r.Width != 320 || r.Height != 240 || r.PTS != clip.Frames[i].PTS {
			t.Errorf("picture %d: %+v", i, r)
		}
		m, err := libav.DecodeYCbCr(d, annexB(r.Units))
		ok(t, err)
		if i == 0 {
			if r.Units[0][0]&0x1f != 7 || r.Units[1][0]&0x1f != 8 || r.Units[0][1] != 66 || r.Units[0][2]&0x40 == 0 {
				t.Errorf("key frame starts with % x, % x: want constrained baseline SPS and PPS", r.Units[0][:4], r.Units[1][:2])
			}
			// In limited range: the stream says nothing else.
			ref := libavtest.Picture(t, "321x241", 321, 241, 0)
			ref.Rect = image.Rect(0, 0, 320, 240)
			if got := libavtest.PSNR(m, ref); got < 25 {
				t.Errorf("PSNR %.1f dB", got)
			}
		}
	}

	w.RequestKey(9)
	w.RequestKey(9)
	good, _ = feedAll(t, w, clip.Frames[10:15], true)
	for i, r := range good {
		if r.Key != (i == 0) {
			t.Errorf("after request: picture %d key %v", i, r.Key)
		}
	}
	// The same output with another bit rate keeps its encoder: no key frame.
	out.Bitrate = 300_000
	ok(t, w.SetOutputs([]Output{out, {ID: 1, Kind: OutputJPEG}}))
	w.SetBitrate(9, 200_000)
	good, _ = feedAll(t, w, clip.Frames[15:20], true)
	for _, r := range good {
		if r.Output == 9 && r.Key {
			t.Error("change of bit rate made a key frame")
		}
	}
	// A new epoch makes one.
	ok(t, w.SetInput(clip.Track))
	good, _ = feedAll(t, w, clip.Frames[20:22], true)
	if len(good) != 4 || !good[0].Key {
		t.Errorf("after new input: %d results, key %v", len(good), good[0].Key)
	}
	// want=false makes nothing.
	good, _ = feedAll(t, w, clip.Frames[22:25], false)
	if len(good) != 0 {
		t.Errorf("unwanted frames made %d results", len(good))
	}
}

func TestGOP(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.JPEG, Frames: 25})
	w := start(t)
	ok(t, w.SetInput(clip.Track))
	ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputH264, FPS: 10, GOP: time.Second}}))
	good, _ := feedAll(t, w, clip.Frames, true)
	for i, r := range good {
		if r.Key != (i%10 == 0) {
			t.Errorf("picture %d: key %v", i, r.Key)
		}
	}
}

func annexB(units [][]byte) (b []byte) {
	for _, u := range units {
		b = append(append(b, 0, 0, 0, 1), u...)
	}
	return b
}

func TestSizeChangesInMidStream(t *testing.T) {
	a := libavtest.Make(t, libavtest.Spec{Codec: media.H264, Frames: 5})
	b := libavtest.Make(t, libavtest.Spec{Codec: media.H264, Frames: 5, Size: "640x360"})
	w := start(t)
	ok(t, w.SetInput(a.Track))
	ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputH264}, {ID: 2, Kind: OutputJPEG, Width: 1000}}))
	for _, f := range b.Frames {
		f.PTS += time.Second
	}
	good, bad := feedAll(t, w, append(a.Frames, b.Frames...), true)
	if len(bad) > 0 || len(good) != 20 {
		t.Fatalf("%d results, %v", len(good), bad)
	}
	for i, r := range good {
		width := 320
		if i >= 10 {
			width = 640
		}
		if r.Width != width {
			t.Errorf("result %d is %d wide, want %d", i, r.Width, width)
		}
		if r.Output == 1 && r.Key != (i == 0 || i == 10) {
			t.Errorf("result %d: key %v", i, r.Key)
		}
	}
}

func TestRawInput(t *testing.T) {
	ref := libavtest.Picture(t, "320x240", 320, 240, 3)
	cb, cr := ref.Cb, ref.Cr
	nv := make([]byte, 2*len(cb))
	yuyv := make([]byte, 2*len(ref.Y))
	for i := range cb {
		nv[2*i], nv[2*i+1] = cb[i], cr[i]
	}
	for i := range len(yuyv) / 4 {
		x, y := i%160, i/160
		copy(yuyv[4*i:], []byte{ref.Y[2*i], cb[y/2*160+x], ref.Y[2*i+1], cr[y/2*160+x]})
	}
	w := start(t)
	ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputJPEG, Quality: 95}, {ID: 2, Kind: OutputH264, Bitrate: 8_000_000}}))
	want := libavtest.FullRange(ref)
	for c, units := range map[media.Codec][][]byte{
		media.I420: {ref.Y, cb, cr},
		media.NV12: {append(append([]byte(nil), ref.Y...), nv...)},
		media.YUYV: {yuyv},
	} {
		ok(t, w.SetInput(media.Track{Codec: c, Width: 320, Height: 240}))
		good, bad := feedAll(t, w, []*media.Frame{{Units: units}}, true)
		if len(good) != 2 || len(bad) != 0 {
			t.Fatalf("%s: %d results, %v", c, len(good), bad)
		}
		m := decodeJPEG(t, good[0].Units[0])
		if got := libavtest.PSNR(m, want); got < 30 {
			t.Errorf("%s: PSNR %.1f dB", c, got)
		}
		for _, x := range []int{20, 100, 300} {
			if d := int(m.Cb[60*m.CStride+x/2]) - int(want.Cb[60*want.CStride+x/2]); d < -12 || d > 12 {
				t.Errorf("%s: Cb at %d is off by %d", c, x, d)
			}
		}
		d, err := libav.Open(media.H264, libav.Options{})
		ok(t, err)
		m, err = libav.DecodeYCbCr(d, annexB(good[1].Units))
		d.Close()
		ok(t, err)
		if got := libavtest.PSNR(m, ref); got < 28 {
			t.Errorf("%s: H264 PSNR %.1f dB", c, got)
		}
	}
	if err := w.Feed(&media.Frame{Units: [][]byte{make([]byte, 10)}}, true); err == nil {
		t.Error("short raw picture was taken")
	}
}

func TestCapOfRate(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.JPEG, Frames: 30})
	w := start(t)
	ok(t, w.SetInput(clip.Track))
	ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputGray, Width: 64, FPS: 5}, {ID: 2, Kind: OutputJPEG, FPS: 25}}))
	good, _ := feedAll(t, w, clip.Frames, true)
	n := map[uint32]int{}
	for _, r := range good {
		n[r.Output]++
	}
	if n[1] != 5 || n[2] < 24 || n[2] > 26 {
		t.Errorf("one second at 30/s gave %v, want 5 and 25", n)
	}
}

func TestBusyAndSlowConsumer(t *testing.T) {
	t.Parallel()
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.JPEG, Frames: 30})
	o := testOptions(t, "1")
	o.HangTimeout = 2 * time.Second // ample for a process that works on a busy machine
	w, err := Start(t.Context(), o)
	ok(t, err)
	defer w.Close()
	if err := w.Feed(clip.Frames[0], true); !errors.Is(err, ErrNoInput) {
		t.Errorf("frame before input: %v", err)
	}
	ok(t, w.SetInput(clip.Track))
	list := make([]Output, 20)
	for i := range list {
		list[i] = Output{ID: uint32(i), Kind: OutputJPEG}
	}
	ok(t, w.SetOutputs(list))
	// Nobody reads: 20 results per frame fill the channel, and then Feed says so.
	ok(t, w.Feed(clip.Frames[0], true))
	ok(t, w.Feed(clip.Frames[1], true))
	if err := w.Feed(clip.Frames[2], true); !errors.Is(err, ErrBusy) {
		t.Errorf("third frame: %v, want ErrBusy", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*o.HangTimeout)
	defer cancel()
	if err := w.FeedWait(ctx, clip.Frames[2], true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("FeedWait: %v", err)
	}
	if err := w.Err(); err != nil {
		t.Fatalf("the consumer's delay was held against the worker: %v", err)
	}
	good, _ := feedAll(t, w, clip.Frames[2:4], true)
	if len(good) != 80 {
		t.Errorf("%d results instead of 80", len(good))
	}
}
