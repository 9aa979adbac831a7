package e2e

import (
	"strings"
	"testing"
)

// TestFirstStart is what a newcomer does: start the program in an empty folder
// and open the link that it prints.
func TestFirstStart(t *testing.T) {
	beside(t)
	s := &server{dir: t.TempDir(), log: &logBuffer{}}
	t.Cleanup(func() {
		s.end()
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.log.tail())
		}
	})
	s.args = []string{"--http", "127.0.0.1:0", "--rtsp", "127.0.0.1:0", "--webrtc", "127.0.0.1:0", "--set", "https.address="}
	if !s.launch(t) {
		t.Fatal("the server does not start")
	}
	if out := s.out.String(); !strings.Contains(out, "keep them to yourself") || !strings.Contains(out, "Cameras: test") {
		t.Errorf("the first start says\n%s", out)
	}
	if strings.Contains(s.log.String(), s.token) {
		t.Error("the token is in the log")
	}
	needPages(t, s)
	p := needBrowser(t).open(t, s.link())
	p.playing(t, "webrtc")
	p.moving(t, "[data-camera] video", 0)
	var address string
	p.eval(t, "() => location.href", nil, &address)
	if strings.Contains(address, s.token) {
		t.Errorf("the token stays in the address bar: %s", hideToken(address))
	}
}
