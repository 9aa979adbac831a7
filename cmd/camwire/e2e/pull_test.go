package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestPull watches an IP camera that goes away and comes back as another one.
func TestPull(t *testing.T) {
	beside(t)
	needBrowser(t)
	needFFmpeg(t)
	const user, pass = "operator", "s3cret-Pa55word"
	far := runFar(t, 0, user, pass)
	pub := publish(t, far.url("stream1"), 640, 360, 15, h264High)
	s := start(t, fmt.Sprintf(`cameras:
  - id: door
    name: Door
    source: %s
`, far.url("stream1")))
	s.state(t, "door", "live")
	p := s.page(t)
	p.whep(t, "/whep/door", 0)
	p.moving(t, "#video", 640)

	port := far.port(t)
	far.off()
	pub.kill()
	c := s.state(t, "door", "lost")
	if c.Error == nil || *c.Error == "" {
		t.Error("the list does not say why the camera is lost")
	}
	far = runFar(t, port, user, pass)
	publish(t, far.url("stream1"), 800, 450, 15, h264Baseline)
	p.moving(t, "#video", 800)
	p.connected(t)
	if c := s.state(t, "door", "live"); c.Width != 800 {
		t.Errorf("the list says %d pixels, want 800", c.Width)
	}

	for _, path := range []string{"/api/camera/list", "/api/camera/server/status"} {
		if _, body := s.get(t, path); strings.Contains(string(body), pass) {
			t.Errorf("%s tells the password: %s", path, body)
		}
	}
	if _, body := s.get(t, "/api/camera/server/status"); !strings.Contains(string(body), far.addr) {
		t.Errorf("the status does not tell the source: %s", body)
	}
	if strings.Contains(s.log.String(), pass) || strings.Contains(s.out.String(), pass) {
		t.Error("the password is in the log")
	}
}

// TestPullWrongPassword says what is wrong, and where to mend it.
func TestPullWrongPassword(t *testing.T) {
	beside(t)
	far := runFar(t, 0, "operator", "right")
	far.pass = "wr0ng-Pa55word"
	s := start(t, fmt.Sprintf("cameras:\n  - { id: door, source: %q }\n", far.url("stream1")))
	c := s.state(t, "door", "failed")
	if c.Error == nil || !strings.Contains(*c.Error, "401") || !strings.Contains(*c.Error, "password") {
		t.Errorf("the camera failed with %v, want words about the password", c.Error)
	}
	if _, body := s.get(t, "/api/camera/list"); strings.Contains(string(body), far.pass) || strings.Contains(s.log.String(), far.pass) {
		t.Error("the password is told")
	}
}
