package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestCascade: a camera of one server is a source of another one, by WebRTC.
// The far server dies and comes back; who watches at the near one stays.
func TestCascade(t *testing.T) {
	beside(t)
	needBrowser(t)
	far := start(t, `cameras:
  - { id: cam, source: "test:?width=640&height=360&fps=20" }
`)
	far.state(t, "cam", "live")
	near := start(t, fmt.Sprintf(`cameras:
  - { id: other_place, source: "whep:http://any:%s@127.0.0.1:%d/whep/cam" }
  - { id: no_such, source: "whep:http://any:%s@127.0.0.1:%d/whep/none" }
  - { id: stranger, source: "whep:http://any:hunter2@127.0.0.1:%d/whep/cam" }
`, far.token, far.http, far.token, far.http, far.http))
	if c := near.state(t, "other_place", "live"); c.Type != "whep" || c.Codec != "H264" {
		t.Errorf("%+v", c)
	}
	p := near.page(t)
	p.whep(t, "/whep/other_place", 0)
	p.moving(t, "#video", 640)

	for id, word := range map[string]string{"no_such": "no such camera", "stranger": "check user and password"} {
		c := near.state(t, id, "failed")
		if c.Error == nil || !strings.Contains(*c.Error, word) {
			t.Errorf("%s: %+v", id, c)
		}
		if c.Error != nil && strings.Contains(*c.Error, "hunter2") {
			t.Errorf("%s: the error holds the password", id)
		}
	}

	far.kill()
	near.state(t, "other_place", "lost")
	if !far.launch(t) {
		t.Fatal("the far server does not come back")
	}
	near.state(t, "other_place", "live")
	p.moving(t, "#video", 640)
	p.connected(t)
}
