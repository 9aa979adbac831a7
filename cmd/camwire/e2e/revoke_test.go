package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestRevocation: who loses a permission loses what it has begun with it, by
// whatever protocol, and nobody else does.
func TestRevocation(t *testing.T) {
	beside(t)
	needBrowser(t)
	needFFmpeg(t)
	s := start(t, `cameras: [{ id: cam, source: "test:?width=640&height=360" }, { id: other, source: "test:?width=640&height=360" }]`)
	s.state(t, "cam", "live")
	s.state(t, "other", "live")
	res, body := s.do(t, http.MethodPost, "/api/tokens", strings.NewReader(`{"name":"guest","permissions":["view","publish"],"cameras":["cam","phone"]}`),
		"Authorization", "Bearer "+s.token, "Content-Type", "application/json")
	var token struct{ ID, Token string }
	if err := json.Unmarshal(body, &token); err != nil || res.StatusCode != http.StatusCreated || token.Token == "" {
		t.Fatalf("%s %v %s", res.Status, err, body)
	}
	owner := s.page(t)
	owner.whep(t, "/whep/cam", 0)
	owner.moving(t, "#video", 640)

	guest := needBrowser(t).open(t, s.base+"/e2e")
	guest.eval(t, "(token) => e2e.signIn(token)", token.Token, nil)
	guest.whep(t, "/whep/cam", 0)
	guest.moving(t, "#video", 640)
	var status int
	guest.eval(t, "async () => (await fetch('/api/camera/snapshot/other')).status", nil, &status)
	if status != http.StatusForbidden {
		t.Errorf("another camera: %d", status)
	}
	var seen []string
	guest.eval(t, "async () => (await (await fetch('/api/camera/list')).json()).map((c) => c.device_id)", nil, &seen)
	if strings.Join(seen, " ") != "cam" {
		t.Errorf("the guest's list: %q", seen)
	}
	guest.eval(t, "(o) => e2e.whip(o)", map[string]any{"url": "/whip/phone", "mime": "video/VP8"}, nil)
	s.state(t, "phone", "live")

	player := exec.Command("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i",
		fmt.Sprintf("rtsp://guest:%s@127.0.0.1:%d/cam", token.Token, s.rtsp), "-c", "copy", "-f", "null", "-")
	own(player)
	if err := player.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- player.Wait() }()
	t.Cleanup(func() { killGroup(player) })
	eventually(t, "RTSP plays", func() (bool, string) {
		n := s.camera(t, "cam").Views["rtsp"]
		return n == 1, fmt.Sprintf("%d viewers", n)
	})

	if res, body := s.do(t, http.MethodDelete, "/api/tokens/"+token.ID, nil, "Authorization", "Bearer "+s.token); res.StatusCode >= 300 {
		t.Fatalf("%s %s", res.Status, body)
	}
	select {
	case <-over:
	case <-time.After(patience):
		t.Error("RTSP goes on without a permission")
	}
	s.state(t, "phone", "lost")
	eventually(t, "only the owner is left", func() (bool, string) {
		v := s.camera(t, "cam").Views
		return v["webrtc"] == 1 && v["rtsp"] == 0, fmt.Sprint(v)
	})
	owner.moving(t, "#video", 640)
	owner.connected(t)
}
