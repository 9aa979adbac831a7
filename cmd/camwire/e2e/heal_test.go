package e2e

import (
	"fmt"
	"strings"
	"testing"
)

const smallCamera = `cameras:
  - { id: cam, name: Bench, source: "test:?width=640&height=360&fps=15&gop=2&pattern=plain" }
`

// app opens the page of a camera, signed in.
func (s *server) app(t *testing.T, id string, init ...string) *page {
	t.Helper()
	b := needBrowser(t)
	needPages(t, s)
	p := b.open(t, s.base+"/e2e", init...)
	p.eval(t, "(token) => e2e.signIn(token)", s.token, nil)
	p.eval(t, "(path) => { setTimeout(() => location.assign(path)) }", "/camera/"+id, nil)
	eventually(t, "the app opens", func() (bool, string) {
		var ready bool
		err := p.try("(id) => document.querySelector('[data-camera]')?.dataset.camera === id", id, &ready)
		return err == nil && ready, fmt.Sprint(err)
	})
	return p
}

// TestServerRestart takes the server away without a word and brings it back:
// the open page heals by itself.
func TestServerRestart(t *testing.T) {
	end2end(t)
	s := start(t, smallCamera)
	p := s.app(t, "cam")
	p.playing(t, "webrtc")
	p.moving(t, "[data-camera] video", 640)

	s.kill()
	if groupAlive(s.cmd) {
		eventually(t, "the workers have ended with the server", func() (bool, string) { return !groupAlive(s.cmd), "" })
	}
	eventually(t, "the page says that the server is away", func() (bool, string) {
		now := p.player(t)
		return now.Banner != "" && now.State == "lost", fmt.Sprintf("%+v", now)
	})
	if !s.launch(t) {
		t.Fatal("the server does not start again")
	}
	p.playing(t, "webrtc")
	p.moving(t, "[data-camera] video", 640)
	eventually(t, "the banner goes away", func() (bool, string) {
		now := p.player(t)
		return now.Banner == "", now.Banner
	})
}

// TestFallback makes WebRTC impossible, at either end: the page falls back and
// says so.
func TestFallback(t *testing.T) {
	end2end(t)
	for _, tt := range []struct{ name, conf, init, why string }{
		{name: "server without WebRTC", conf: "webrtc: { address: \"\" }\n"},
		{name: "browser without WebRTC", init: "delete window.RTCPeerConnection; delete window.webkitRTCPeerConnection", why: "This browser cannot show"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, tt.conf+smallCamera)
			var init []string
			if tt.init != "" {
				init = append(init, tt.init)
			}
			p := s.app(t, "cam", init...)
			p.playing(t, "mjpeg")
			p.moving(t, "[data-camera] canvas[data-shown]", 640)
			var now player
			eventually(t, "the page says how the picture comes, and why so", func() (bool, string) {
				now = p.player(t)
				return now.Way == "MJPEG" && now.Why != "", fmt.Sprintf("%+v", now)
			})
			if !strings.Contains(now.Why, tt.why) {
				t.Errorf("the page gives as reason %q, want %q", now.Why, tt.why)
			}
		})
	}
}
