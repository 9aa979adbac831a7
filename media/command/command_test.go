package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/codec"
)

func TestNew(t *testing.T) {
	for _, argv := range [][]string{nil, {}, {""}} {
		if _, err := New(Options{Argv: argv}); err == nil {
			t.Errorf("%q was taken", argv)
		}
	}
}

func wantError(t *testing.T, err, reason error, says ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, reason) {
		t.Fatalf("error %v, want %v", err, reason)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %q tells the password", err)
	}
}

func TestEnds(t *testing.T) {
	needShell(t)
	t.Setenv("CAMWIRE_TOKEN", "hunter2")
	j := saved(t, picture(t, 1))
	noisy := saved(t, noise(2*maxHead))
	for name, c := range map[string]struct {
		script string
		reason error
		says   []string
		frames int
	}{
		"status":            {"echo one >&2; echo two >&2; exit 3", ErrEnded, []string{`exec "sh": exit status 3: one | two`}, 0},
		"status 0":          {"exit 0", ErrEnded, []string{`exec "sh": ended (exit status 0)`}, 0},
		"pictures, then":    {"cat " + j + " " + j + "; echo why >&2; exit 1", ErrEnded, []string{"exit status 1: why"}, 2},
		"within a picture":  {"head -c 200 " + j, ErrEnded, []string{"exit status 0"}, 0},
		"by signal":         {"kill -9 $$", ErrEnded, []string{"signal: killed"}, 0},
		"something else":    {"cat " + noisy, ErrFormat, []string{"neither JPEG"}, 0},
		"closes its output": {"exec >&-; echo hello >&2; sleep 1000", ErrEnded, []string{"closed its standard output", "hello"}, 0},
		"silent":            {"sleep 1000", ErrSilent, []string{"no output for 3s"}, 0},
		"silent, later":     {"cat " + j + "; sleep 1000", ErrSilent, []string{"no output for 3s"}, 1},
		"secrets":           {"echo $CAMWIRE_TOKEN rtsp://admin:hunter2@cam/ >&2; exit 1", ErrEnded, []string{"rtsp://***@cam/"}, 0},
		"standard input":    {"cat; echo got to the end >&2; exit 4", ErrEnded, []string{"exit status 4: got to the end"}, 0},
		"left behind":       {"sleep 1000 & sleep 1000 & echo bye >&2; exit 5", ErrEnded, []string{"exit status 5: bye"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := shell(c.script)
			if errors.Is(c.reason, ErrSilent) {
				o.Silence = 3 * time.Second // a busy machine starts a shell slowly
			}
			o.Grace = 200 * time.Millisecond
			k, s, err := run(t, o, nil)
			wantError(t, err, c.reason, c.says...)
			if len(k.frames) != c.frames || s.Stats().Frames != uint64(c.frames) {
				t.Errorf("%d frames, %+v, want %d", len(k.frames), s.Stats(), c.frames)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	needShell(t)
	dir := t.TempDir()
	o := shell(`echo "$MINE in $(pwd)" >&2; exit 1`)
	o.Env, o.Dir = []string{"MINE=yours"}, dir
	_, _, err := run(t, o, nil)
	wantError(t, err, ErrEnded, "yours in", filepath.Base(dir))
	got := environment([]string{"A=1", "CAMWIRE_X=2", "B=3"}, []string{"C=4"})
	if !slices.Equal(got, []string{"A=1", "B=3", "C=4"}) {
		t.Error(got)
	}
}

func TestCannotStart(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for program, says := range map[string]string{
		"no-such-program-anywhere":   "not found: install it",
		filepath.Join(dir, "absent"): "not found",
		plain:                        "is the file executable?",
	} {
		_, _, err := run(t, Options{Argv: []string{program}}, nil)
		wantError(t, err, ErrStart, says)
	}
}

// alive tells whether a process runs; one that only waits to be reaped does
// not.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}

// TestChildrenDie proves that nothing is left behind, however stubborn.
func TestChildrenDie(t *testing.T) {
	needShell(t)
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("SKIPPED: there is no /proc")
	}
	j := saved(t, picture(t, 1))
	for name, script := range map[string]string{
		"obedient": "sleep 1000 & echo $! > PIDS; echo $$ >> PIDS; cat " + j + "; wait",
		"stubborn": "trap '' TERM; (trap '' TERM; while :; do sleep 1000; done) & echo $! > PIDS; echo $$ >> PIDS; cat " + j + "; while :; do wait; done",
		"floods":   "yes >&2 & echo $! > PIDS; echo $$ >> PIDS; cat " + j + "; while :; do cat " + j + "; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			o := shell(strings.ReplaceAll(script, "PIDS", pids))
			o.Grace = 100 * time.Millisecond
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			k := newSink()
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx, k) }()
			k.next(t)
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			b, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			list := strings.Fields(string(b))
			if len(list) != 2 {
				t.Fatalf("processes %q", list)
			}
			for _, f := range list {
				pid, err := strconv.Atoi(f)
				if err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(patience); alive(t, pid); time.Sleep(time.Millisecond) {
					if time.Now().After(end) { // killed, but a busy machine buries slowly
						t.Fatalf("process %d is still there", pid)
					}
				}
			}
		})
	}
}

// TestEscaped proves that a process that left the group does not hold up the
// end. It ends by itself when nobody reads any more.
func TestEscaped(t *testing.T) {
	needShell(t)
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("SKIPPED: there is no setsid")
	}
	j := saved(t, picture(t, 1))
	out := filepath.Join(t.TempDir(), "out")
	k, _, err := run(t, shell("setsid sh -c 'while cat "+j+"; do echo > "+out+"; sleep 0.05; done' & until test -e "+out+"; do sleep 0.05; done; echo gone >&2; exit 7"), nil)
	wantError(t, err, ErrEnded, "exit status 7", "gone")
	if len(k.frames) == 0 {
		t.Error("no frames")
	}
}

func TestPictures(t *testing.T) {
	needShell(t)
	a, b := picture(t, 1), picture(t, 2)
	huge := bytes.Clone(a)
	copy(huge[bytes.Index(huge, []byte{0xff, 0xc0})+5:], []byte{0x40, 0x01, 0x00, 0x10})
	part := []byte("\r\n--b\r\nContent-Type: image/jpeg\r\nContent-Length: " + strconv.Itoa(len(b)) + "\r\n\r\n")
	for name, all := range map[string][]byte{
		"one behind the other": slices.Concat(a, huge, a[:300], b),
		"multipart":            slices.Concat(part[2:], b, part, b),
	} {
		k, s, err := run(t, Options{Argv: []string{"cat", saved(t, all)}}, nil)
		wantError(t, err, ErrEnded, "exit status 0")
		if len(k.frames) != 2 || !bytes.Equal(k.frames[1].Units[0], b) {
			t.Errorf("%s: %d frames", name, len(k.frames))
		}
		if n := s.Stats().Dropped; name != "multipart" && n != 2 {
			t.Errorf("%s: %d dropped", name, n)
		}
		if ts := k.tracks; len(ts) != 1 || ts[0].Codec != media.JPEG || ts[0].Width != 64 || ts[0].Height != 48 {
			t.Errorf("%s: %+v", name, ts)
		}
	}
}

// TestStamp proves that pictures of one read do not share a time.
func TestStamp(t *testing.T) {
	begun := time.Unix(1000, 0)
	e := &emitter{begun: begun}
	last := time.Duration(-1)
	for i := range 100 {
		pts := e.stamp(begun.Add(time.Duration(i/10) * 20 * time.Microsecond))
		if pts <= last {
			t.Fatalf("%v after %v", pts, last)
		}
		last = pts
	}
	if pts := e.stamp(begun.Add(time.Second)); pts != time.Second {
		t.Errorf("%v after a pause", pts)
	}
}

// TestFFmpeg takes in what a real program delivers, through the normalizer that
// stands before every hub.
func TestFFmpeg(t *testing.T) {
	needFFmpeg(t)
	const want = 20
	input := []string{"ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-threads", "1"}
	x264 := []string{"-map", "0", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"}
	x265 := []string{"-map", "0", "-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-x265-params", "log-level=none:keyint=10:pools=1"}
	for name, c := range map[string]struct {
		args   []string
		tracks string
	}{
		"mjpeg":           {[]string{"-map", "0", "-c:v", "mjpeg", "-f", "mjpeg", "-"}, "JPEG"},
		"mpjpeg":          {[]string{"-map", "0", "-c:v", "mjpeg", "-f", "mpjpeg", "-"}, "JPEG"},
		"h264":            {append(slices.Clone(x264), "-f", "h264", "-"), "H264"},
		"h264, slices":    {append(slices.Clone(x264), "-x264-params", "slices=4", "-f", "h264", "-"), "H264"},
		"hevc":            {append(slices.Clone(x265), "-f", "hevc", "-"), "H265"},
		"ts, h264, aac":   {append(slices.Clone(x264), "-map", "1", "-c:a", "aac", "-f", "mpegts", "-"), "H264+AAC"},
		"ts, h265, opus":  {append(slices.Clone(x265), "-map", "1", "-c:a", "libopus", "-f", "mpegts", "-"), "H265+opus"},
		"ts, h264":        {append(slices.Clone(x264), "-f", "mpegts", "-"), "H264"},
		"ts, b-frames":    {[]string{"-map", "0", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "10", "-f", "mpegts", "-"}, "H264"},
		"ts, muxed tight": {append(slices.Clone(x264), "-muxrate", "1000000", "-f", "mpegts", "-"), "H264"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := New(Options{Argv: append(slices.Clone(input), c.args...), Silence: patience})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			k := newSink()
			video, audio := 0, 0
			k.cancel, k.enough = cancel, func(f *media.Frame) bool {
				if f.Track == 0 {
					video++
				} else {
					audio++
				}
				return video >= want && (audio >= 10 || !strings.Contains(c.tracks, "+"))
			}
			norm := codec.NewNormalizer(k)
			if err := s.Run(ctx, norm); err != nil {
				t.Fatal(err)
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Fatalf("%d pictures and %d packets of sound, then nothing", video, audio)
			}
			if n := norm.Stats(); n.Malformed != 0 || n.Empty != 0 || n.Backwards != 0 || n.Discontinuities != 0 || s.Stats().Dropped != 0 {
				t.Errorf("%+v, %+v", n, s.Stats())
			}
			if k.tracks.String() != c.tracks || k.tracks[0].Width != 128 || k.tracks[0].Height != 96 {
				t.Errorf("tracks %v %+v", k.tracks, k.tracks)
			}
			keys, last, first := 0, time.Duration(-1), true
			for _, f := range k.frames {
				if f.Track != 0 {
					continue
				}
				if first && !f.Key {
					t.Error("it does not begin with a key frame")
				}
				first = false
				if f.Key {
					keys++
				}
				if !k.tracks[0].Reordered && f.PTS <= last {
					t.Errorf("PTS %v after %v", f.PTS, last)
				}
				last = f.PTS
				if f.Arrived.IsZero() {
					t.Error("no time of arrival")
				}
			}
			if keys < 2 {
				t.Errorf("%d key frames", keys)
			}
		})
	}
}
