package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestWHIP: a browser sends each of its codecs by plain WHIP, and the pictures
// come out of every output.
func TestWHIP(t *testing.T) {
	beside(t)
	needBrowser(t)
	needFFmpeg(t)
	s := start(t, `cameras: [{ id: other, source: "test:", enabled: false }]`)
	for _, codec := range []string{"H264", "VP8", "VP9", "AV1"} {
		t.Run(codec, func(t *testing.T) {
			sender := s.page(t)
			var made struct{ Location, Answer string }
			sender.eval(t, "(o) => e2e.whip(o)", map[string]any{"url": "/whip/" + codec, "mime": "video/" + codec, "audio": true}, &made)
			if !strings.HasPrefix(made.Location, "/whip/"+codec+"/") {
				t.Errorf("Location %q", made.Location)
			}
			if c := s.state(t, codec, "live"); c.Codec != codec || c.Type != "webrtc" {
				t.Errorf("%+v", c)
			}
			watcher := s.page(t)
			watcher.whep(t, "/whep/"+codec, 0)
			watcher.advancing(t, "#video")
			watcher.eval(t, "(url) => e2e.img(url)", "/api/camera/mjpeg/"+codec, nil)
			watcher.advancing(t, "#img")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=codec_name",
				"-of", "csv=p=0", s.rtspURL(codec)).CombinedOutput()
			got, want := strings.ToLower(string(out)), strings.ToLower(codec)
			if codec == "AV1" {
				want = "" // FFmpeg 5 does not know it in RTP
			}
			if err != nil || !strings.Contains(got, want) || !strings.Contains(got, "opus") {
				t.Errorf("ffprobe: %v: %s", err, out)
			}
			if res, body := s.do(t, http.MethodDelete, made.Location, nil, "Authorization", "Bearer "+s.token); res.StatusCode != http.StatusOK {
				t.Errorf("DELETE: %s %s", res.Status, body)
			}
			s.state(t, codec, "lost")
		})
	}
}

// TestWHIPSimulcast: of several layers everybody gets the largest as long as
// their links carry it.
func TestWHIPSimulcast(t *testing.T) {
	beside(t)
	needBrowser(t)
	s := start(t, `cameras: [{ id: other, source: "test:", enabled: false }]`)
	sender := s.page(t)
	sender.eval(t, "(o) => e2e.whip(o)", map[string]any{
		"url": "/whip/cam", "mime": "video/VP8", "layers": []map[string]any{{"rid": "h", "scale": 1}, {"rid": "l", "scale": 2}},
	}, nil)
	s.state(t, "cam", "live")
	watcher := s.page(t)
	watcher.whep(t, "/whep/cam", 0)
	eventually(t, "the large layer is shown", func() (bool, string) {
		var now sight
		watcher.eval(t, "() => ({ at: 0, ...e2e.look('#video') })", nil, &now)
		return now.Width == 640, fmt.Sprintf("%d pixels wide", now.Width)
	})
	watcher.advancing(t, "#video")
	// The sender gives the large one up, as it does when its link gets narrow.
	sender.eval(t, `async () => {
		const s = out.getSenders()[0]
		const p = s.getParameters()
		p.encodings[0].active = false
		await s.setParameters(p)
	}`, nil, nil)
	eventually(t, "the small layer takes its place", func() (bool, string) {
		var now sight
		watcher.eval(t, "() => ({ at: 0, ...e2e.look('#video') })", nil, &now)
		return now.Width == 320, fmt.Sprintf("%d pixels wide", now.Width)
	})
	watcher.advancing(t, "#video")
	sender.eval(t, `async () => {
		const s = out.getSenders()[0]
		const p = s.getParameters()
		p.encodings[0].active = true
		await s.setParameters(p)
	}`, nil, nil)
	eventually(t, "the large layer is back", func() (bool, string) {
		var now sight
		watcher.eval(t, "() => ({ at: 0, ...e2e.look('#video') })", nil, &now)
		return now.Width == 640, fmt.Sprintf("%d pixels wide", now.Width)
	})
	watcher.connected(t)
}

// TestWHIPLoss: packets that are lost on the way in are asked for, and who
// watches sees no freeze.
func TestWHIPLoss(t *testing.T) {
	end2end(t)
	needBrowser(t)
	s := start(t, `cameras: [{ id: other, source: "test:", enabled: false }]`)
	relay := relayUDP(t, s.webrtc, 0)
	relay.up = 0.05
	sender := s.page(t, throughRelay(relay.port))
	sender.eval(t, "(o) => e2e.whip(o)", map[string]any{"url": "/whip/cam", "mime": "video/VP8"}, nil)
	s.state(t, "cam", "live")
	watcher := s.page(t)
	watcher.whep(t, "/whep/cam", 0)
	watcher.advancing(t, "#video")
	var samples []sight
	watcher.eval(t, "(o) => e2e.sample(o)", map[string]any{"selector": "#video", "every": 100, "duration": 10000}, &samples)
	if f := longestFreeze(samples); f > 2*time.Second {
		t.Errorf("the picture stood still for %v", f)
	}
	if relay.dropped.Load() == 0 {
		t.Error("nothing was lost")
	}
	t.Logf("%d packets dropped, longest freeze %v", relay.dropped.Load(), longestFreeze(samples))
}
