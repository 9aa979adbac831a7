package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestStalledViewers puts viewers that have stopped reading beside good ones:
// the good ones must not notice.
func TestStalledViewers(t *testing.T) {
	end2end(t)
	needFFmpeg(t)
	const (
		fps     = 25
		alone   = 6 * time.Second
		beside  = 14 * time.Second // longer than any write may take
		growth  = 96 << 20         // bytes of memory that are still no leak
		bitrate = 3_000_000        // fills every buffer in seconds
	)
	s := start(t, fmt.Sprintf(`cameras:
  - { id: cam, source: "test:?width=640&height=360&fps=%d&bitrate=%d&gop=2" }
`, fps, bitrate))
	s.state(t, "cam", "live")
	good := view(t, s, "cam", viewOptions{})
	jpeg := watchMJPEG(t, s, "/api/camera/mjpeg/cam")
	good.watches(t, 2*fps)
	jpeg.watches(t, 2*fps)

	before := measure(t, good, jpeg, alone)
	t.Logf("alone: %+v", before)
	rss := memory(t, s)

	web, rtsp, ice := relayTCP(t, s.http), relayTCP(t, s.rtsp), relayTCP(t, s.webrtc)
	stallMJPEG(t, s, web)
	stallRTSP(t, s, rtsp)
	bad := view(t, s, "cam", viewOptions{port: ice.port, tcp: true})
	bad.watches(t, fps)
	web.flows(t, "the MJPEG client", 100<<10)
	rtsp.flows(t, "the RTSP client", 100<<10)
	for _, v := range []*valve{web, rtsp, ice} {
		v.stall()
	}
	stuck := bad.count()
	after := measure(t, good, jpeg, beside)
	t.Logf("beside stalled viewers: %+v", after)
	if n := bad.count().packets - stuck.packets; n > 1000 {
		t.Errorf("the stalled WebRTC viewer got %d packets: it was not stalled", n)
	}
	if after.missing > before.missing {
		t.Errorf("the good WebRTC viewer lost %d packets", after.missing)
	}
	// Frames per second, and the worst gap, within what a busy machine does
	// to a run without stalled viewers too.
	for _, c := range []struct {
		name          string
		before, after float64
		gapB, gapA    time.Duration
	}{
		{"WebRTC", before.rtcFPS, after.rtcFPS, before.rtcGap, after.rtcGap},
		{"MJPEG", before.jpegFPS, after.jpegFPS, before.jpegGap, after.jpegGap},
	} {
		if c.after < c.before*0.9 {
			t.Errorf("the good %s viewer fell from %.1f to %.1f fps", c.name, c.before, c.after)
		}
		if c.gapA > 2*c.gapB+500*time.Millisecond {
			t.Errorf("the good %s viewer missed %v, and %v before", c.name, c.gapA, c.gapB)
		}
	}
	if runtime.GOOS == "linux" {
		now := memory(t, s)
		t.Logf("memory: %d MB before, %d MB after", rss>>20, now>>20)
		if now > rss+growth {
			t.Errorf("the server grew from %d to %d MB", rss>>20, now>>20)
		}
	}
	eventually(t, "the stalled clients are dropped", func() (bool, string) {
		c := s.camera(t, "cam")
		return c.Views["mjpeg"] == 1 && c.Views["rtsp"] == 0, fmt.Sprint(c.Views)
	})
	// This one still says that it is there: its checks go through. It ends
	// with its connection.
	ice.close()
	eventually(t, "the stalled WebRTC viewer is gone", func() (bool, string) {
		c := s.camera(t, "cam")
		return c.Views["webrtc"] == 1, fmt.Sprint(c.Views)
	})
}

// quality is what the good viewers got.
type quality struct {
	rtcFPS, jpegFPS float64
	rtcGap, jpegGap time.Duration
	missing         int
}

func measure(t *testing.T, v *viewer, m *mjpegViewer, d time.Duration) quality {
	t.Helper()
	v.restart()
	m.restart()
	from := time.Now()
	pause(t, d)
	seconds := time.Since(from).Seconds()
	c := v.count()
	frames, gap := m.count()
	return quality{
		rtcFPS: float64(c.frames) / seconds, rtcGap: c.largest, missing: c.missing,
		jpegFPS: float64(frames) / seconds, jpegGap: gap,
	}
}

// stallMJPEG reads through the valve, in vain once it is shut.
func stallMJPEG(t *testing.T, s *server, v *valve) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/api/camera/mjpeg/cam", v.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	endless := *client
	endless.Timeout = 0
	res, err := endless.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(io.Discard, res.Body) }()
	t.Cleanup(func() { _ = res.Body.Close(); <-done })
}

// stallRTSP lets ffmpeg play through the valve.
func stallRTSP(t *testing.T, s *server, v *valve) {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-hide_banner", "-loglevel", "error", "-rtsp_transport", "tcp",
		"-i", fmt.Sprintf("rtsp://e2e:%s@127.0.0.1:%d/cam", s.token, v.port), "-c", "copy", "-f", "null", "-")
	own(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { killGroup(cmd); _ = cmd.Wait() })
}

// memory is the resident memory of the server process in bytes.
func memory(t *testing.T, s *server) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
