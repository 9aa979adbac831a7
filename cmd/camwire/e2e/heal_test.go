package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
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
	beside(t)
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

// What a browser lacks, by a script that takes it away before the page looks.
const (
	noWebRTC = "delete window.RTCPeerConnection; delete window.webkitRTCPeerConnection"
	noMSE    = "delete window.MediaSource; delete window.ManagedMediaSource; delete window.WebKitMediaSource"
)

// Where the picture of the page of a camera is, by the rung that shows it.
const (
	appVideo  = "[data-camera] video[data-shown]"
	appCanvas = "[data-camera] canvas[data-shown]"
)

// TestFallback makes the better ways impossible, at either end: the page takes
// the next one and says so.
func TestFallback(t *testing.T) {
	beside(t)
	for _, tt := range []struct {
		name, conf       string
		init             []string
		rung, shown, way string
		why              string
	}{
		{
			name: "server without WebRTC", conf: "webrtc: { address: \"\" }\n",
			rung: "mse", shown: appVideo, way: "MSE",
		},
		{
			name: "browser without WebRTC", init: []string{noWebRTC},
			rung: "mse", shown: appVideo, way: "MSE", why: "This browser cannot show",
		},
		{
			name: "browser without WebRTC and MSE", init: []string{noWebRTC, noMSE},
			rung: "mjpeg", shown: appCanvas, way: "MJPEG", why: "This browser cannot show",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, tt.conf+smallCamera)
			p := s.app(t, "cam", tt.init...)
			p.playing(t, tt.rung)
			p.moving(t, tt.shown, 640)
			var now player
			eventually(t, "the page says how the picture comes, and why so", func() (bool, string) {
				now = p.player(t)
				return now.Way == tt.way && now.Why != "", fmt.Sprintf("%+v", now)
			})
			if !strings.Contains(now.Why, tt.why) {
				t.Errorf("the page gives as reason %q, want %q", now.Why, tt.why)
			}
			s.watchedBy(t, "cam", tt.rung)
		})
	}
}

// watchedBy waits until one viewer of that kind is all that a camera has: what
// a page has given up it has closed.
func (s *server) watchedBy(t *testing.T, id, kind string) {
	t.Helper()
	eventually(t, "the only viewer is one by "+kind, func() (bool, string) {
		v := s.camera(t, id).Views
		return v[kind] == 1 && sum(v) == 1, fmt.Sprint(v)
	})
}

// sum is the number of viewers of all kinds.
func sum(views map[string]int) int {
	n := 0
	for _, v := range views {
		n += v
	}
	return n
}

// TestBlocked: a firewall lets no media packets through, neither by UDP nor by
// TCP, while HTTP goes. The page shows the camera all the same, is back on
// WebRTC when it can be, and survives that the way is barred again.
func TestBlocked(t *testing.T) {
	beside(t)
	needBrowser(t)
	s := start(t, smallCamera)
	relay := relayUDP(t, s.webrtc, 0)
	relay.down.Store(true)
	p := s.app(t, "cam", onlyBy(relay.port))
	p.playing(t, "mse")
	p.moving(t, appVideo, 640)
	eventually(t, "the page has seen that the network is the reason", func() (bool, string) {
		now := p.player(t)
		return now.Rung == "mse" && now.Why != "" && !strings.Contains(now.Why, "Nothing better has arrived yet"), fmt.Sprintf("%+v", now)
	})
	if relay.dropped.Load() == 0 {
		t.Error("no packet came to the relay: WebRTC was not tried")
	}
	p.moving(t, appVideo, 640)

	relay.down.Store(false)
	p.playing(t, "webrtc")
	p.moving(t, appVideo, 640)
	s.watchedBy(t, "cam", "webrtc")
	eventually(t, "nothing is left to explain", func() (bool, string) {
		now := p.player(t)
		return now.Way == "WebRTC" && now.Why == "", fmt.Sprintf("%+v", now)
	})

	relay.down.Store(true)
	p.playing(t, "mse")
	p.moving(t, appVideo, 640)
}

// onlyBy leaves a page one way for WebRTC: UDP to a port of this machine. What
// it has for addresses itself the server does not learn, or it would try them.
func onlyBy(port int) string {
	return throughRelay(port) + `;{
		const { prototype } = RTCPeerConnection
		prototype.addIceCandidate = () => Promise.resolve()
		Object.defineProperty(prototype, 'onicecandidate', { set() {}, get: () => null, configurable: true })
	}`
}

// TestServerRestartMSE is the same as TestServerRestart where there is no
// WebRTC.
func TestServerRestartMSE(t *testing.T) {
	beside(t)
	s := start(t, smallCamera)
	p := s.app(t, "cam", noWebRTC)
	p.playing(t, "mse")
	p.moving(t, appVideo, 640)
	s.kill()
	eventually(t, "the page says that the server is away", func() (bool, string) {
		now := p.player(t)
		return now.Banner != "" && now.State == "lost", fmt.Sprintf("%+v", now)
	})
	if !s.launch(t) {
		t.Fatal("the server does not start again")
	}
	p.playing(t, "mse")
	p.moving(t, appVideo, 640)
	eventually(t, "the banner goes away", func() (bool, string) {
		now := p.player(t)
		return now.Banner == "", now.Banner
	})
}

// TestHidden: a page that nobody sees costs nothing after a while, and is live
// at once when somebody looks again.
func TestHidden(t *testing.T) {
	beside(t)
	for _, tt := range []struct{ rung, init string }{{"webrtc", ""}, {"mse", noWebRTC}} {
		t.Run(tt.rung, func(t *testing.T) {
			s := start(t, smallCamera)
			// The half minute that a page waits is a moment here.
			p := s.app(t, "cam", tt.init, `{
				const wait = window.setTimeout
				window.setTimeout = (what, ms, ...rest) => wait(what, ms === 30000 ? 300 : ms, ...rest)
				window.hide = (hidden) => {
					Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
					Object.defineProperty(document, 'visibilityState', { value: hidden ? 'hidden' : 'visible', configurable: true })
					document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))
				}
			}`)
			p.playing(t, tt.rung)
			p.moving(t, appVideo, 640)
			p.eval(t, "() => hide(true)", nil, nil)
			eventually(t, "nobody watches", func() (bool, string) {
				v := s.camera(t, "cam").Views
				return sum(v) == 0, fmt.Sprint(v)
			})
			p.eval(t, "() => hide(false)", nil, nil)
			p.playing(t, tt.rung)
			p.moving(t, appVideo, 640)
			s.watchedBy(t, "cam", tt.rung)
		})
	}
}

// TestAsleep stops a page altogether, as a phone in a pocket or a closed laptop
// does, longer than any connection waits for a word. Awake again it is live, and
// not with pictures of the time between.
func TestAsleep(t *testing.T) {
	beside(t)
	for _, tt := range []struct{ rung, init string }{{"webrtc", ""}, {"mse", noWebRTC}} {
		t.Run(tt.rung, func(t *testing.T) {
			t.Parallel()
			s := start(t, smallCamera)
			p := s.app(t, "cam", tt.init)
			p.playing(t, tt.rung)
			p.moving(t, appVideo, 640)
			p.cdp(t, "Page.setWebLifecycleState", map[string]any{"state": "frozen"})
			pause(t, asleep)
			p.cdp(t, "Page.setWebLifecycleState", map[string]any{"state": "active"})
			p.playing(t, tt.rung)
			p.moving(t, appVideo, 640)
			s.watchedBy(t, "cam", tt.rung)
		})
	}
}

// asleep is this long by the watch: a page gives a server up after six seconds
// of silence.
const asleep = 8 * time.Second
