//go:build cgo

package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/libav/libavtest"
)

// ended reads until the worker has ended and gives its error.
func ended(w *Worker) error {
	for range w.Results() {
	}
	<-w.Done()
	return w.Err()
}

func TestKilledProcess(t *testing.T) {
	w := start(t)
	ok(t, syscall.Kill(w.PID(), syscall.SIGKILL))
	err := ended(w)
	var exit *ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error is %v", err)
	}
	if err := w.Feed(&media.Frame{}, true); !errors.As(err, &exit) {
		t.Errorf("Feed after the end: %v", err)
	}
	if err := w.SetOutputs(nil); !errors.As(err, &exit) {
		t.Errorf("SetOutputs after the end: %v", err)
	}
}

func TestCrashedProcess(t *testing.T) {
	w := start(t)
	ok(t, syscall.Kill(w.PID(), syscall.SIGSEGV))
	var exit *ExitError
	if err := ended(w); !errors.As(err, &exit) || !strings.Contains(exit.LastLine, "SIG") {
		t.Errorf("error is %v", err)
	}
}

func TestHungProcess(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.JPEG, Frames: 1})
	o := testOptions(t, "1")
	o.HangTimeout = 200 * time.Millisecond
	w, err := Start(t.Context(), o)
	ok(t, err)
	defer w.Close()
	ok(t, w.SetInput(clip.Track))
	ok(t, w.drain(t.Context()))
	ok(t, syscall.Kill(w.PID(), syscall.SIGSTOP))
	ok(t, w.Feed(clip.Frames[0], true))
	if err := ended(w); !errors.Is(err, ErrHung) {
		t.Errorf("error is %v", err)
	}
}

// TestHungWriter has the writer blocked in the pipe when the end comes.
func TestHungWriter(t *testing.T) {
	w := start(t)
	ok(t, w.SetInput(media.Track{Codec: media.I420, Width: 4000, Height: 3000}))
	ok(t, syscall.Kill(w.PID(), syscall.SIGSTOP))
	ok(t, w.Feed(&media.Frame{Units: [][]byte{make([]byte, 18_000_000)}}, true))
	ok(t, w.Close())
	if err := w.Err(); !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

func TestContextEndsWorker(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := Start(ctx, testOptions(t, "1"))
	ok(t, err)
	cancel()
	if err := ended(w); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	_, err := Start(t.Context(), testOptions(t, "refuse"))
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no codecs today") {
		t.Errorf("refusing process: %v", err)
	}
	o := testOptions(t, "1")
	o.Executable = "/nonexistent/camwire"
	if _, err = Start(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
	o = testOptions(t, "1")
	o.MaxPixels = -1
	if _, err = Start(t.Context(), o); err == nil {
		t.Error("negative limit was taken")
	}
	// A program that says nothing.
	o = Options{Executable: "/bin/sleep", Args: []string{"100"}, StartTimeout: 50 * time.Millisecond}
	if _, err = Start(t.Context(), o); !errors.Is(err, ErrHung) {
		t.Errorf("silent program: %v", err)
	}
	// A program that says something else.
	o = Options{Executable: "/bin/echo", Args: []string{"hello world"}, StartTimeout: time.Minute}
	if _, err = Start(t.Context(), o); !errors.Is(err, ErrProtocol) {
		t.Errorf("talking program: %v", err)
	}
}

func TestLyingProcess(t *testing.T) {
	w, err := Start(t.Context(), testOptions(t, "liar"))
	if err == nil {
		err = ended(w)
	}
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("error is %v", err)
	}
}

func TestSandbox(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc")
	}
	w := start(t)
	status := func(what string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", w.PID(), what))
		ok(t, err)
		return string(b)
	}
	text := status("status")
	if !strings.Contains(text, "NoNewPrivs:\t1") {
		t.Error("the process may gain privileges")
	}
	if !raceEnabled && !strings.Contains(text, "Seccomp:\t2") {
		t.Error("the process has no filter for system calls")
	}
	text = status("limits")
	for name, limit := range map[string]string{"Max core file size": "0", "Max open files": "16", "Max file size": "0"} {
		i := strings.Index(text, name)
		if f := strings.Fields(text[i+len(name):]); f[0] != limit || f[1] != limit {
			t.Errorf("%s: %s", name, f[0])
		}
	}
	if strings.Contains(status("environ"), "HOME=") {
		t.Error("the server's environment was passed on")
	}
}

func TestHostileInput(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	huge := libavtest.Make(t, libavtest.Spec{Codec: media.JPEG, Frames: 1}).Frames[0].Units[0]
	huge = append([]byte(nil), huge...)
	for i := 2; i+9 < len(huge); i += 2 + int(binary.BigEndian.Uint16(huge[i+2:])) {
		if huge[i+1] == 0xc0 {
			binary.BigEndian.PutUint16(huge[i+5:], 50000)
			binary.BigEndian.PutUint16(huge[i+7:], 50000)
			break
		}
	}
	w := start(t)
	ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputJPEG}}))
	trouble := func(name string, c media.Codec, units ...[]byte) {
		t.Helper()
		ok(t, w.SetInput(media.Track{Codec: c}))
		var frames []*media.Frame
		for range maxBlank + 2 { // H265 and AV1 skip what they do not know
			frames = append(frames, &media.Frame{Key: true, Units: units})
		}
		good, bad := feedAll(t, w, frames, true)
		var e *TroubleError
		if len(good) != 0 || len(bad) != 1 || !errors.As(bad[0].Err, &e) || e.Count < 1 {
			t.Errorf("%s: %d pictures, news %v", name, len(good), bad)
			return
		}
		t.Logf("%s: %v", name, e)
	}
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1, media.JPEG} {
		trouble("noise as "+string(c), c, noise(3000))
		trouble("nothing as "+string(c), c)
		trouble("one byte as "+string(c), c, []byte{0})
	}
	trouble("JPEG of 50000 x 50000", media.JPEG, huge)
	trouble("no such codec", "H999", []byte{1})
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1, media.JPEG} {
		clip := libavtest.Make(t, libavtest.Spec{Codec: c, Frames: 10})
		ok(t, w.SetInput(clip.Track))
		var frames []*media.Frame
		for i, f := range clip.Frames {
			g := &media.Frame{Key: f.Key, PTS: f.PTS}
			for _, u := range f.Units {
				u = append([]byte(nil), u[:1+r.IntN(len(u))]...)
				if i%2 == 0 {
					u[r.IntN(len(u))] ^= 0x55
				}
				g.Units = append(g.Units, u)
			}
			frames = append(frames, g)
		}
		feedAll(t, w, frames, true)
		// It must still be good for a whole stream.
		ok(t, w.SetInput(clip.Track))
		good, bad := feedAll(t, w, clip.Frames, true)
		if len(good) != 10 {
			t.Errorf("%s after damage: %d pictures, %v", c, len(good), bad)
		}
	}
	if err := w.Feed(&media.Frame{Units: [][]byte{make([]byte, MaxUnit+1)}}, true); !errors.Is(err, ErrTooLarge) {
		t.Errorf("huge frame: %v", err)
	}
}

// TestNoKeyFrame says that the caller is told to ask for one.
func TestNoKeyFrame(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1} {
		clip := libavtest.Make(t, libavtest.Spec{Codec: c, Frames: 30})
		w := start(t)
		ok(t, w.SetInput(media.Track{Codec: c}))
		ok(t, w.SetOutputs([]Output{{ID: 1, Kind: OutputJPEG}}))
		first := 1
		for !clip.Frames[first].Key {
			first++
		}
		for i := range clip.Frames {
			clip.Frames[i].PTS = time.Duration(i) * time.Second / 30
		}
		frames := append([]*media.Frame(nil), clip.Frames[1:first]...)
		for len(frames) < 30 {
			frames = append(frames, clip.Frames[first-1])
		}
		good, bad := feedAll(t, w, frames, true)
		var e *TroubleError
		if len(good) != 0 || len(bad) == 0 || !errors.As(bad[0].Err, &e) || !e.NeedKey {
			t.Errorf("%s: %d pictures, news %v", c, len(good), bad)
		}
		good, _ = feedAll(t, w, clip.Frames[first:], true)
		if len(good) != len(clip.Frames)-first {
			t.Errorf("%s: %d pictures after the key frame", c, len(good))
		}
	}
}

func TestOutputsAreChecked(t *testing.T) {
	w := start(t)
	for _, o := range []Output{
		{ID: 1}, {ID: 1, Kind: 9}, {ID: 1, Kind: OutputJPEG, Width: -1}, {ID: 1, Kind: OutputJPEG, Quality: 101},
		{ID: 1, Kind: OutputH264, FPS: -1}, {ID: 1, Kind: OutputH264, Bitrate: -1}, {ID: 1, Kind: OutputH264, GOP: -1},
		{ID: 1, Kind: OutputH264, Height: MaxSide + 1},
	} {
		if err := w.SetOutputs([]Output{o}); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if err := w.SetOutputs([]Output{{ID: 1, Kind: OutputJPEG}, {ID: 1, Kind: OutputGray}}); err == nil {
		t.Error("two outputs with one ID were taken")
	}
	for _, tr := range []media.Track{{}, {Codec: media.Opus}, {Codec: media.I420}, {Codec: media.NV12, Width: 16000, Height: 16000}} {
		if err := w.SetInput(tr); err == nil {
			t.Errorf("%+v was taken", tr)
		}
	}
}
