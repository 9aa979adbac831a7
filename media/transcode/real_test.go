package transcode

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/hub"
	"camwire/media/libav/libavtest"
	"camwire/media/stream"
	"camwire/media/testsrc"
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

func workerOptions(t testing.TB) worker.Options {
	t.Helper()
	if err := worker.Available(); err != nil {
		t.Skip(err)
	}
	return worker.Options{
		Args: []string{}, Env: []string{childEnv + "=1"},
		HangTimeout: time.Minute, StartTimeout: time.Minute,
	}
}

// house is a registry whose derived streams come out of real workers.
type house struct {
	tr  *Transcoder
	reg *stream.Registry

	mu      sync.Mutex
	workers []*worker.Worker
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{tr: New(Options{Worker: workerOptions(t)})}
	h.tr.start = func(ctx context.Context, o worker.Options) (engine, error) {
		w, err := worker.Start(ctx, o)
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.workers = append(h.workers, w)
		return w, nil
	}
	h.reg = stream.New(stream.Config{Derive: h.tr.Derive})
	t.Cleanup(h.reg.Close)
	return h
}

// worker returns the i-th worker that was started, nil when there is none yet.
func (h *house) worker(i int) *worker.Worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i >= len(h.workers) {
		return nil
	}
	return h.workers[i]
}

func (h *house) add(t testing.TB, src media.Source) *stream.Stream {
	t.Helper()
	s, err := h.reg.Add("cam", stream.Options{Source: src})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// taken is what came out of a derived stream.
type taken struct {
	track  media.Track
	frames []*media.Frame
}

// takeAll reads n frames of each derived stream at the same time.
func takeAll(t *testing.T, cam *stream.Stream, names []string, n int) map[string]taken {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	out := map[string]taken{}
	for _, name := range names {
		all.Go(func() {
			got, err := take(t.Context(), cam, name, n)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = got
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return out
}

func take(ctx context.Context, cam *stream.Stream, name string, n int) (got taken, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	l, err := cam.LeaseDerived(name, "test")
	if err != nil {
		return got, err
	}
	defer l.Release()
	c := l.Hub().NewCursor(hub.CursorOptions{})
	for len(got.frames) < n {
		f, err := c.Next(ctx)
		if err != nil {
			return got, fmt.Errorf("%w after %d frames; %s", err, len(got.frames), l.Stream().Info().Reason)
		}
		got.frames = append(got.frames, f)
	}
	got.track = c.Tracks()[0]
	return got, nil
}

func growing(t *testing.T, name string, list []*media.Frame) {
	t.Helper()
	for i := range list {
		if i > 0 && list[i].PTS <= list[i-1].PTS {
			t.Errorf("%s: PTS %v after %v", name, list[i].PTS, list[i-1].PTS)
		}
	}
}

// pictures decodes frames into grey pictures.
func pictures(t testing.TB, tr media.Track, list []*media.Frame) []worker.Result {
	t.Helper()
	w, err := worker.Start(t.Context(), workerOptions(t))
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
		for _, f := range list {
			if err := w.FeedWait(t.Context(), f, true); err != nil {
				fed <- err
				return
			}
		}
		fed <- nil
	}()
	out := make([]worker.Result, len(list))
	for i := range list {
		r, ok := <-w.Results()
		if !ok || r.Err != nil {
			t.Fatalf("frame %d of %s cannot be decoded: %v, %v", i, tr.Codec, r.Err, w.Err())
		}
		out[i] = r
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	return out
}

func checkClocks(t *testing.T, tr media.Track, list []*media.Frame) {
	t.Helper()
	for i, r := range pictures(t, tr, list) {
		got, ok := clock.Read(func(x, y int) uint8 { return r.Units[0][y*r.Width+x] }, r.Width, r.Height, r.Captured)
		if !ok || !got.Equal(r.Captured) {
			t.Fatalf("%s picture %d of %dx%d: clock %v, %v; captured %v", tr.Codec, i, r.Width, r.Height, got, ok, r.Captured)
		}
	}
}

// The time in the picture is the frame's Captured after every way through.
func TestClockThroughEveryWay(t *testing.T) {
	for _, c := range []string{"raw", "h264", "jpeg"} {
		t.Run(c, func(t *testing.T) {
			h := newHouse(t)
			src, err := testsrc.New(testsrc.Options{Width: 640, Height: 360, FPS: 30, Codec: c, Worker: workerOptions(t)})
			if err != nil {
				t.Fatal(err)
			}
			cam := h.add(t, src)
			names := []string{"jpeg", JPEGName(320, 75), H264Name}
			for name, got := range takeAll(t, cam, names, 30) {
				if w := map[bool]int{true: 320, false: 640}[name == JPEGName(320, 75)]; got.track.Width != w {
					t.Errorf("%s is %d wide", name, got.track.Width)
				}
				growing(t, name, got.frames)
				if name == H264Name && (!got.frames[0].Key || len(got.track.Params) != 2) {
					t.Errorf("begins without a key frame; track %+v", got.track)
				}
				checkClocks(t, got.track, got.frames)
			}
			if s := h.tr.Stats(); s.Workers != 1 || (c == "jpeg") != (s.Passed > 0) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestKeyFrameOnDemand(t *testing.T) {
	h := newHouse(t)
	src, err := testsrc.New(testsrc.Options{Width: 320, Height: 180, FPS: 60, Codec: "raw"})
	if err != nil {
		t.Fatal(err)
	}
	cam := h.add(t, src)
	l, err := cam.LeaseDerived(H264Name, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	c := l.Hub().NewCursor(hub.CursorOptions{})
	var keys []int
	for i := range 60 {
		f, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.Key {
			keys = append(keys, i)
		}
		if i == 10 {
			l.RequestKey()
		}
	}
	if len(keys) != 2 || keys[0] != 0 || keys[1] > 40 {
		t.Fatalf("key frames at %v", keys)
	}
}

func TestWorkerKilled(t *testing.T) {
	h := newHouse(t)
	src, err := testsrc.New(testsrc.Options{Width: 320, Height: 180, FPS: 60, GOP: 200 * time.Millisecond, Worker: workerOptions(t)})
	if err != nil {
		t.Fatal(err)
	}
	cam := h.add(t, src)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	killed := make(chan struct{})
	names := []string{"jpeg", H264Name}
	got := make([]taken, len(names))
	for i, name := range names {
		all.Go(func() {
			l, err := cam.LeaseDerived(name, "test")
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Release()
			c := l.Hub().NewCursor(hub.CursorOptions{})
			for n := 0; len(got[i].frames) < 30; n++ {
				f, err := c.Next(ctx)
				if err != nil {
					t.Errorf("%s: %v, %s", name, err, l.Stream().Info().Reason)
					return
				}
				if name == "jpeg" && n == 20 {
					if p, err := os.FindProcess(h.worker(0).PID()); err != nil || p.Kill() != nil {
						t.Errorf("the worker cannot be killed: %v", err)
					}
					close(killed)
				}
				select {
				case <-killed:
					if h.worker(1) != nil && (len(got[i].frames) > 0 || f.Key) {
						got[i].frames = append(got[i].frames, f)
					}
				default:
				}
			}
			if i := l.Stream().Info(); i.State != stream.Live || i.Restarts != 0 {
				t.Errorf("%s: %s %s, %d restarts", name, i.State, i.Reason, i.Restarts)
			}
			got[i].track = c.Tracks()[0]
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, g := range got {
		checkClocks(t, g.track, g.frames)
	}
	if n := h.tr.Stats().Workers; n != 2 {
		t.Errorf("%d workers", n)
	}
}

// clipSource plays a clip over and over.
type clipSource struct {
	track  media.Track
	frames []*media.Frame
	length time.Duration
	pause  time.Duration
}

func (c *clipSource) Run(ctx context.Context, s media.Sink) error {
	s.Start(media.Tracks{c.track})
	tick := time.NewTicker(c.pause)
	defer tick.Stop()
	for round := 0; ; round++ {
		for _, f := range c.frames {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			s.Write(&media.Frame{PTS: f.PTS + time.Duration(round)*c.length, Units: f.Units})
		}
	}
}

func TestEveryCodec(t *testing.T) {
	if testing.Short() {
		t.Skip("makes and decodes long clips")
	}
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1, media.JPEG} {
		t.Run(string(c), func(t *testing.T) {
			clip := libavtest.Make(t, libavtest.Spec{Codec: c, Frames: 60, Size: "322x242"})
			everyOutput(t, &clipSource{track: clip.Track, frames: clip.Frames, length: 2 * time.Second, pause: 10 * time.Millisecond}, 322, 242)
		})
	}
}

func TestBFrames(t *testing.T) {
	if testing.Short() {
		t.Skip("makes and decodes long clips")
	}
	for name, args := range map[string]string{
		"H264": "-c:v libx264 -profile:v high -bf 3 -b_strategy 0 -g 15 -bsf:v h264_mp4toannexb",
		"H265": "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=15:bframes=3:b-adapt=0:pools=1 -bsf:v hevc_mp4toannexb",
	} {
		t.Run(name, func(t *testing.T) {
			track, frames := reordered(t, media.Codec(name), strings.Fields(args))
			everyOutput(t, &clipSource{track: track, frames: frames, length: 2 * time.Second, pause: 10 * time.Millisecond}, 320, 240)
		})
	}
}

// reordered makes a clip with B-frames; the times come from its container.
func reordered(t *testing.T, c media.Codec, args []string) (media.Track, []*media.Frame) {
	t.Helper()
	for _, p := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	run := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, errs.String())
		}
		return string(out)
	}
	dir := t.TempDir()
	mp4, raw := filepath.Join(dir, "a.mp4"), filepath.Join(dir, "a.raw")
	split := len(args) - 2
	run("ffmpeg", append(append([]string{"-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30", "-frames:v", "60", "-pix_fmt", "yuv420p"}, args[:split]...), mp4)...)
	run("ffmpeg", append(append([]string{"-loglevel", "error", "-i", mp4, "-c", "copy"}, args[split:]...), "-f", map[media.Codec]string{media.H264: "h264", media.H265: "hevc"}[c], raw)...)
	rows, err := csv.NewReader(strings.NewReader(run("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time,size", "-of", "csv=p=0", mp4))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	var frames []*media.Frame
	slice := false
	for _, nal := range libavtest.NALs(b) {
		isSlice := c == media.H264 && (nal[0]&31 == 1 || nal[0]&31 == 5) || c == media.H265 && nal[0]>>1&63 < 32
		if len(frames) == 0 || slice {
			frames = append(frames, &media.Frame{})
		}
		slice = isSlice
		f := frames[len(frames)-1]
		f.Units = append(f.Units, nal)
	}
	if len(frames) != 60 || len(rows) != 60 {
		t.Fatalf("%d frames, %d times", len(frames), len(rows))
	}
	backwards := false
	for i, f := range frames {
		s, err := strconv.ParseFloat(rows[i][0], 64)
		if err != nil {
			t.Fatal(err)
		}
		f.PTS = time.Duration(s * float64(time.Second))
		backwards = backwards || i > 0 && f.PTS < frames[i-1].PTS
	}
	if !backwards {
		t.Fatal("the clip has no B-frames")
	}
	return media.Track{Codec: c, ClockRate: 90000, FPS: 30, Reordered: true}, frames
}

// everyOutput looks at what comes out of a camera.
func everyOutput(t *testing.T, src media.Source, w, h int) {
	t.Helper()
	small := JPEGName(160, 75)
	got := takeAll(t, newHouse(t).add(t, src), []string{small, H264Name}, 45)
	for _, f := range got[small].frames {
		if jw, jh, err := codec.JPEGSize(f.Units[0]); err != nil || jw != 160 || jh != (160*h+w/2)/w {
			t.Fatalf("JPEG of %dx%d, %v", jw, jh, err)
		}
	}
	out := got[H264Name]
	growing(t, H264Name, out.frames)
	if out.track.Reordered || out.track.Width != w&^1 || out.track.Height != h&^1 {
		t.Errorf("H.264 track %+v", out.track)
	}
	for i, r := range pictures(t, out.track, out.frames) {
		sum := 0
		for _, v := range r.Units[0] {
			sum += int(v)
		}
		if m := sum / len(r.Units[0]); m < 60 || m > 200 {
			t.Errorf("picture %d has a mean of %d", i, m)
		}
	}
}
