package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// elementVideo and elementCanvas are where the element's picture is.
const (
	elementVideo  = "camwire-view >>> video[data-shown]"
	elementCanvas = "camwire-view >>> canvas[data-shown]"
)

// countAll notes what a page opens, and what the element in it says.
const countAll = `{
	window.sockets = []
	window.peers = []
	const { RTCPeerConnection, WebSocket } = window
	window.RTCPeerConnection = class extends RTCPeerConnection { constructor(...a) { super(...a); peers.push(this) } }
	window.WebSocket = class extends WebSocket { constructor(...a) { super(...a); sockets.push(this) } }
	window.heard = []
	for (const type of ['camwire-state', 'camwire-error', 'camwire-delay']) {
		addEventListener(type, (e) => heard.push({ type, ...e.detail }))
	}
}`

// foreign serves a page of another origin with one script tag and an element
// in it. The token is set as a property: the page does not hold it.
func foreign(t *testing.T, s *server, attributes, token string) (origin string, open func() *page) {
	t.Helper()
	html := fmt.Sprintf(`<!doctype html><meta charset="utf-8"><title>Dashboard</title>
<script src="%s/camwire-view.js"></script>
<div id="first"><camwire-view %s style="display: block; width: 640px; height: 360px"></camwire-view></div>
<div id="second"></div>
<script>document.querySelector('camwire-view').token = %q</script>`, s.base, attributes, token)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(html))
	}))
	t.Cleanup(web.Close)
	return web.URL, func() *page { return needBrowser(t).open(t, web.URL+"/dashboard", countAll) }
}

// heard is an event of the element.
type heard struct {
	Type, State, Rung, Code, Detail string
	Delay                           float64
}

// hears waits for an event of the element.
func (p *page) hears(t *testing.T, what string, is func(heard) bool) heard {
	t.Helper()
	var found heard
	eventually(t, what, func() (bool, string) {
		var all []heard
		p.eval(t, "() => heard", nil, &all)
		for _, h := range all {
			if is(h) {
				found = h
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", all)
	})
	return found
}

// TestElement puts a camera into a page of another origin that the
// configuration names: it shows the time as it passes, in all four ways, keeps
// its state, and goes without a trace.
func TestElement(t *testing.T) {
	beside(t)
	needBrowser(t)
	s := start(t, smallCamera)
	needPages(t, s)
	s.state(t, "cam", "live")
	origin, open := foreign(t, s, `camera="cam" muted controls`, s.token)
	if u, err := url.Parse(s.base); err != nil || origin == "http://"+u.Host {
		t.Fatalf("%s is no other origin: %v", origin, err)
	}
	s.configure(t, smallCamera, origin)
	s.letsIn(t, origin)
	p := open()
	p.moving(t, elementVideo, 640)
	p.hears(t, "that it is live by WebRTC", func(h heard) bool { return h.Type == "camwire-state" && h.State == "live" && h.Rung == "webrtc" })
	delay := p.hears(t, "the delay", func(h heard) bool { return h.Type == "camwire-delay" && h.Delay > 0 })
	if time.Duration(delay.Delay)*time.Millisecond > maxAge {
		t.Errorf("a delay of %.0f ms", delay.Delay)
	}
	var html string
	p.eval(t, "() => document.querySelector('camwire-view').outerHTML", nil, &html)
	if strings.Contains(html, s.token) {
		t.Error("the token stands in the page")
	}

	// Moved within the page it keeps its connection.
	p.eval(t, `() => {
		const view = document.querySelector('camwire-view')
		window.before = { peers: peers.length, video: view.shadowRoot.querySelector('video[data-shown]') }
		document.querySelector('#second').append(view)
	}`, nil, nil)
	p.moving(t, elementVideo, 640)
	var same bool
	p.eval(t, "() => peers.length === before.peers && document.querySelector('camwire-view').shadowRoot.querySelector('video[data-shown]') === before.video", nil, &same)
	if !same {
		t.Error("the element has made its connection anew when it was moved")
	}

	for _, x := range []struct{ rung, shown string }{{"mse", elementVideo}, {"mjpeg", elementCanvas}, {"stills", elementCanvas}, {"auto", elementVideo}} {
		p.eval(t, "(rung) => { document.querySelector('camwire-view').rung = rung }", x.rung, nil)
		want := x.rung
		if want == "auto" {
			want = "webrtc"
		}
		eventually(t, "the picture comes by "+want, func() (bool, string) {
			var st struct{ State, Rung string }
			p.eval(t, "() => document.querySelector('camwire-view').status", nil, &st)
			return st.Rung == want && st.State == "live", fmt.Sprintf("%+v", st)
		})
		p.eval(t, "(o) => e2e.moving(o)", map[string]any{
			"selector": x.shown, "distinct": 3, "width": 640, "maxAge": maxAge.Milliseconds(), "timeout": patience.Milliseconds(),
		}, nil)
	}
	var size int
	p.eval(t, "async () => { const b = await document.querySelector('camwire-view').picture(); return b.type === 'image/jpeg' ? b.size : 0 }", nil, &size)
	if size < 1000 {
		t.Errorf("picture() gives a JPEG of %d bytes", size)
	}
	elementState(t, p)
	elementGoes(t, s, p)
}

// elementState takes the state of one element to another one.
func elementState(t *testing.T, p *page) {
	t.Helper()
	p.eval(t, "() => document.querySelector('camwire-view').shadowRoot.querySelector('.stage').focus()", nil, nil)
	p.press(t, "+", "+", "ArrowRight")
	var saved, again json.RawMessage
	p.eval(t, "() => document.querySelector('camwire-view').exportState()", nil, &saved)
	var state struct {
		Camera, Mode, Rung string
		Zoom               float64
		Pan                struct{ X, Y float64 }
		Muted              bool
	}
	if err := json.Unmarshal(saved, &state); err != nil {
		t.Fatal(err)
	}
	if state.Camera != "cam" || state.Mode != "live" || state.Rung != "auto" || !state.Muted || state.Zoom <= 1 || state.Pan.X <= 0.5 {
		t.Errorf("exportState gives %s", saved)
	}
	p.eval(t, `(state) => {
		const old = document.querySelector('camwire-view')
		const view = document.createElement('camwire-view')
		view.style.cssText = old.style.cssText
		view.token = old.token
		view.restoreState(JSON.parse(JSON.stringify(state)))
		old.replaceWith(view)
	}`, saved, nil)
	p.moving(t, elementVideo, 640)
	p.eval(t, "() => document.querySelector('camwire-view').exportState()", nil, &again)
	if string(again) != string(saved) {
		t.Errorf("restored: %s, want %s", again, saved)
	}
	var transform string
	p.eval(t, "() => document.querySelector('camwire-view').shadowRoot.querySelector('.box').style.transform", nil, &transform)
	if !strings.Contains(transform, "scale") {
		t.Errorf("the restored picture is not zoomed: %q", transform)
	}
}

// elementGoes takes the element out of the page: nothing of it is left, there
// or at the server.
func elementGoes(t *testing.T, s *server, p *page) {
	t.Helper()
	p.eval(t, `() => {
		window.gone = new WeakRef(document.querySelector('camwire-view'))
		window.before = undefined
		document.querySelector('camwire-view').remove()
	}`, nil, nil)
	eventually(t, "nobody watches", func() (bool, string) {
		v := s.camera(t, "cam").Views
		return sum(v) == 0, fmt.Sprint(v)
	})
	eventually(t, "all connections are closed", func() (bool, string) {
		var open struct{ Peers, Sockets int }
		p.eval(t, `() => ({
			peers: peers.filter((c) => c.connectionState !== 'closed').length,
			sockets: sockets.filter((c) => c.readyState !== WebSocket.CLOSED).length,
		})`, nil, &open)
		return open.Peers == 0 && open.Sockets == 0, fmt.Sprintf("%+v", open)
	})
	// A timer or a listener that is left would hold it.
	eventually(t, "the element is garbage", func() (bool, string) {
		p.cdp(t, "HeapProfiler.collectGarbage", nil)
		var held bool
		p.eval(t, "() => { peers.length = sockets.length = 0; return window.gone.deref() !== undefined }", nil, &held)
		return !held, ""
	})
}

// letsIn waits until the server knows the pages of an origin.
func (s *server) letsIn(t *testing.T, origin string) {
	t.Helper()
	eventually(t, "the server lets pages of "+origin+" in", func() (bool, string) {
		res, _ := s.do(t, http.MethodGet, "/api/camera/list", nil, "Origin", origin)
		got := res.Header.Get("Access-Control-Allow-Origin")
		return got == origin, fmt.Sprintf("%q", got)
	})
}

// TestElementRefused: a page of an origin that is not named sees not even what
// every stranger may see, and one that is named not what its token is not for.
// It is told.
func TestElementRefused(t *testing.T) {
	beside(t)
	needBrowser(t)
	const open = "auth: { anonymous: [view] }\n"
	for _, tt := range []struct {
		name, conf, attributes string
		named                  bool
		is                     func(heard) bool
	}{
		{"origin", open, `camera="cam" muted`, false, func(h heard) bool { return h.State == "lost" || h.State == "failed" }},
		{"token", "", `camera="cam" muted`, true, func(h heard) bool { return h.Code == "unauthorized" }},
		{"camera", open, `camera="nobody" muted`, true, func(h heard) bool { return h.Code == "unknown-camera" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, tt.conf+smallCamera)
			needPages(t, s)
			s.state(t, "cam", "live")
			origin, visit := foreign(t, s, tt.attributes, "")
			if tt.named {
				s.configure(t, tt.conf+smallCamera, origin)
				s.letsIn(t, origin)
			}
			p := visit()
			p.hears(t, "an error", func(h heard) bool { return h.Type == "camwire-error" && tt.is(h) })
			var all []heard
			p.eval(t, "() => heard", nil, &all)
			for _, h := range all {
				if h.State == "live" {
					t.Errorf("it was live: %+v", h)
				}
			}
			if n := sum(s.camera(t, "cam").Views); n != 0 {
				t.Errorf("%d viewers", n)
			}
		})
	}
}
