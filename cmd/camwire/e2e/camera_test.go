package e2e

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/testsrc"
)

// Encoders of ffmpeg. Key frames come every two seconds at 15 fps.
var (
	h264Baseline = []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-g", "30"}
	h264High     = []string{"-c:v", "libx264", "-preset", "superfast", "-profile:v", "high", "-bf", "0", "-g", "30",
		"-x264-params", "rc-lookahead=0:sync-lookahead=0:sliced-threads=0:threads=1"}
	h264B = []string{"-c:v", "libx264", "-preset", "superfast", "-profile:v", "high", "-bf", "3", "-g", "30",
		"-x264-params", "b-adapt=0:rc-lookahead=4:sync-lookahead=0:threads=1"}
	h264Slices = []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30", "-x264-params", "slices=2:threads=1"}
	h265       = []string{"-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency",
		"-x265-params", "log-level=error:keyint=30:min-keyint=30:pools=1:frame-threads=1"}
	vp8 = []string{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1500k", "-g", "30", "-lag-in-frames", "0", "-auto-alt-ref", "0"}
)

// publisher is an ffmpeg that plays camera.
type publisher struct {
	cmd  *exec.Cmd
	log  *logBuffer
	stop func() // ends it politely, waits, and may be called again
	kill func() // takes its power away
}

// publish starts ffmpeg with the test picture, whose clock is this machine's,
// and lets it publish to an RTSP address until the test ends.
func publish(t *testing.T, url string, width, height int, fps float64, encoder []string) *publisher {
	t.Helper()
	needFFmpeg(t)
	src, err := testsrc.New(testsrc.Options{Codec: "raw", Width: width, Height: height, FPS: fps, Pattern: "plain"})
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-hide_banner", "-loglevel", "warning", "-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0",
		"-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", fmt.Sprintf("%dx%d", width, height),
		"-framerate", strconv.FormatFloat(fps, 'f', -1, 64), "-i", "pipe:0", "-an"}
	args = append(args, encoder...)
	args = append(args, "-f", "rtsp", "-rtsp_transport", "tcp", url)
	p := &publisher{cmd: exec.Command("ffmpeg", args...), log: &logBuffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	own(p.cmd)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	fed, exited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(fed)
		defer stdin.Close()
		_ = src.Run(ctx, &pipeSink{w: stdin, cancel: cancel})
	}()
	go func() {
		defer close(exited)
		<-fed // Wait closes the pipe under the feet of the writer
		_ = p.cmd.Wait()
	}()
	p.kill = func() {
		killGroup(p.cmd)
		cancel()
		<-exited
	}
	p.stop = func() {
		cancel()
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
		}
		p.kill()
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("ffmpeg %s:\n%s", strings.Join(encoder, " "), p.log.tail())
		}
	})
	return p
}

// pipeSink writes planes to a pipe. It may block: the source draws for nobody
// else.
type pipeSink struct {
	w      io.Writer
	cancel context.CancelFunc // called when nobody reads any more
}

func (*pipeSink) Start(media.Tracks) {}

func (p *pipeSink) Write(f *media.Frame) {
	for _, u := range f.Units {
		if _, err := p.w.Write(u); err != nil {
			p.cancel()
			return
		}
	}
}

// run runs a program to its end and returns its output.
func run(t *testing.T, timeout time.Duration, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr logBuffer
	cmd.Stderr = &stderr
	own(cmd)
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w (after at most %v)\n%s", name, err, timeout, &stderr)
	}
	return string(out), err
}
