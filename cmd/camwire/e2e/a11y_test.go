package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// places is what the pages are looked at with: servers without a camera, with
// one, and with four, of which not all are well.
type places struct{ none, one, four *server }

// stand is a page in a state worth a look.
type stand struct {
	name string
	at   func(places) (s *server, path string)
	// ready is a condition in JavaScript; do is done when it holds, and then
	// there says that it has worked.
	ready, do, there string
	stranger         bool // who is not signed in
}

func four(path string) func(places) (*server, string) {
	return func(p places) (*server, string) { return p.four, path }
}

// has is the condition that the page has an element that is seen.
func has(selector string) string {
	return fmt.Sprintf("!!document.querySelector(%q)?.checkVisibility()", selector)
}

// stands are all pages of the app. ME stands for the name of who looks: two at
// once must not be the same camera.
func stands() []stand {
	const title = "h1"
	pictures := "[...document.querySelectorAll('a.tile [data-camera]')].filter((e) => e.dataset.state === 'live').length >= "
	return []stand{
		{name: "grid of none", at: func(p places) (*server, string) { return p.none, "/" }, ready: has("main a, main button")},
		{name: "grid of one", at: func(p places) (*server, string) { return p.one, "/" }, ready: pictures + "1"},
		{name: "grid of four", at: four("/"), ready: pictures + "2 && document.querySelectorAll('a.tile').length >= 4"},
		{
			name: "camera", at: four("/camera/cam"), ready: has("[data-camera][data-state=live]"),
			do: "document.querySelector('[aria-controls=camera-details]').click()", there: has("#camera-details"),
		},
		{
			name: "shortcuts", at: four("/camera/cam"), ready: has("[data-camera][data-state=live]"),
			do: "dispatchEvent(new KeyboardEvent('keydown', { key: '?' }))", there: has("dialog[open]"),
		},
		{name: "lost camera", at: four("/camera/away"), ready: has("[data-camera]:not([data-state=live])")},
		{name: "unknown camera", at: four("/camera/nobody"), ready: has(title)},
		{name: "edit", at: four("/cameras/added/edit"), ready: has("form input")},
		{name: "edit of the file's", at: four("/cameras/cam/edit"), ready: has(title)},
		{name: "add", at: four("/cameras/new?kind=ip"), ready: has("form input")},
		{name: "settings", at: four("/settings"), ready: has("#users .rows li")},
		{
			name: "users", at: four("/settings"), ready: has("#users .rows li"),
			do:    "document.querySelector('#users > .actions button').click(); document.querySelector('#users .rows button').click()",
			there: has("#users form"),
		},
		{
			name: "new token", at: four("/settings"), ready: has("#tokens"),
			do: "document.querySelector('#tokens > .actions button').click()", there: has("#tokens form"),
		},
		{name: "connect", at: four("/connect"), ready: has(title)},
		{name: "phone", at: four("/m"), ready: has(".shutter")},
		{
			name: "phone, live", at: four("/m"), ready: has(".shutter"),
			do: "document.querySelector('.shutter').click()", there: has(".shutter[data-running=true]"),
		},
		{name: "portal", at: four("/portal/cam?me=portalME"), ready: has("video")},
		{name: "kiosk", at: four("/kiosk/cam?me=portalME"), ready: has(title)},
		{name: "sign-in", at: four("/sign-in"), ready: has("input"), stranger: true},
		{name: "nothing", at: four("/nothing/here"), ready: has(title)},
	}
}

// TestAccessibility looks at every page as axe does (WCAG 2.2 A and AA, and good
// practice), and walks through it by keyboard. Each two of light or dark, wide
// or narrow, English or German come together once.
func TestAccessibility(t *testing.T) {
	end2end(t)
	needBrowser(t)
	if _, err := os.Stat(filepath.Join(shared.root, "frontend", "node_modules", "axe-core", "axe.min.js")); err != nil {
		skip(t, "frontend/node_modules has no axe-core: run npm ci in frontend")
	}
	all := places{
		none: start(t, "cameras: []\n"),
		one:  start(t, `cameras: [{ id: test, source: "test:?width=640&height=360&fps=10" }]`),
		four: start(t, `cameras:
  - { id: cam, name: Workbench, source: "test:?width=640&height=360&fps=10" }
  - { id: away, name: Door, source: "rtsp://127.0.0.1:9/stream" }
  - { id: off, name: Attic, source: "test:", enabled: false }
`),
	}
	needPages(t, all.four)
	for path, body := range map[string]string{
		"/api/cameras": `{"id":"added","name":"Garden","source":"test:?width=640&height=360&fps=10"}`,
		"/api/users":   `{"name":"grandma","password":"correct horse battery","permissions":["view"]}`,
		"/api/tokens":  `{"name":"printer","permissions":["view","publish"],"cameras":["cam"]}`,
	} {
		if res, answer := all.four.do(t, http.MethodPost, path, strings.NewReader(body), "Content-Type", "application/json"); res.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s %s", path, res.Status, answer)
		}
	}
	all.four.state(t, "added", "live")
	for i, on := range []screen{
		{Width: 1280, Height: 800, Dark: false, Locale: "en-US"},
		{Width: 1280, Height: 800, Dark: true, Locale: "de-DE"},
		{Width: 360, Height: 740, Dark: false, Locale: "de-DE"},
		{Width: 360, Height: 740, Dark: true, Locale: "en-US"},
	} {
		on.Still = true
		t.Run(fmt.Sprintf("%d-%s-dark-%v", on.Width, on.Locale[:2], on.Dark), func(t *testing.T) {
			t.Parallel()
			me := fmt.Sprint(i)
			var signedIn *page
			var at *server
			for _, x := range stands() {
				s, path := x.at(all)
				url := s.base + strings.ReplaceAll(path, "ME", me)
				if x.stranger {
					p := needBrowser(t).openOn(t, on, url)
					x.look(t, p)
					continue
				}
				if at != s {
					at, signedIn = s, s.visitor(t, on, me)
				}
				signedIn.visit(t, url)
				x.look(t, signedIn)
			}
		})
	}
}

// visitor is an administrator's page, signed in, that has been a phone before.
func (s *server) visitor(t *testing.T, on screen, me string) *page {
	t.Helper()
	p := needBrowser(t).openOn(t, on, s.base+"/e2e", fmt.Sprintf(`localStorage.setItem('camwire.phone', JSON.stringify({ id: 'phone%s', mode: 'live' }))`, me))
	p.eval(t, "(token) => e2e.signIn(token)", s.token, nil)
	return p
}

// look reports all that is in somebody's way.
func (x stand) look(t *testing.T, p *page) {
	t.Helper()
	holds := func(condition string) {
		t.Helper()
		eventually(t, x.name+": "+condition, func() (bool, string) {
			var ok bool
			err := p.try("() => !!("+condition+")", nil, &ok)
			return err == nil && ok, fmt.Sprint(err)
		})
	}
	holds(x.ready)
	if x.do != "" {
		p.eval(t, "() => { "+x.do+" }", nil, nil)
		holds(x.there)
	}
	var seen, walked struct{ Findings []string }
	p.ask(t, "inspect", &seen)
	p.ask(t, "walk", &walked)
	for _, f := range append(seen.Findings, walked.Findings...) {
		t.Errorf("%s: %s", x.name, f)
	}
}

// TestKeyboard goes from the grid to a camera and back without a mouse.
func TestKeyboard(t *testing.T) {
	beside(t)
	needBrowser(t)
	s := start(t, `cameras:
  - { id: left, source: "test:?width=640&height=360&fps=10" }
  - { id: right, source: "test:?width=640&height=360&fps=10" }
`)
	needPages(t, s)
	p := needBrowser(t).open(t, s.link())
	at := func() (path, focus string) {
		t.Helper()
		var now [2]string
		p.eval(t, "() => [location.pathname, document.activeElement?.getAttribute('href') ?? document.activeElement?.tagName ?? '']", nil, &now)
		return now[0], now[1]
	}
	comes := func(what, path, focus string) {
		t.Helper()
		eventually(t, what, func() (bool, string) {
			p, f := at()
			return p == path && (focus == "" || f == focus), p + " with the focus on " + f
		})
	}
	has := func(what, condition string) {
		t.Helper()
		eventually(t, what, func() (bool, string) {
			var ok bool
			p.eval(t, "() => !!("+condition+")", nil, &ok)
			return ok, ""
		})
	}
	has("two tiles", "document.querySelectorAll('a.tile').length === 2")
	for i := 0; ; i++ {
		if _, focus := at(); focus == "/camera/left" {
			break
		}
		if i == 30 {
			t.Fatal("Tab does not come to the first camera")
		}
		p.press(t, "Tab")
	}
	p.press(t, "ArrowRight")
	comes("an arrow goes to the next camera", "/", "/camera/right")
	p.press(t, "Enter")
	comes("Enter opens the camera", "/camera/right", "")
	has("the camera's page", "document.querySelector('[data-camera=right]')")
	p.press(t, "i")
	has("i opens the details", "document.querySelector('#camera-details')")
	p.press(t, "Escape")
	has("Esc closes them", "!document.querySelector('#camera-details')")
	comes("and nothing else", "/camera/right", "")
	p.press(t, "?")
	has("? opens the list of keys", "document.querySelector('dialog[open]')")
	p.press(t, "Escape")
	has("Esc closes it", "!document.querySelector('dialog[open]')")
	comes("and nothing else", "/camera/right", "")
	p.press(t, "l")
	has("l shows still pictures", "document.querySelector('[data-camera][data-rung=stills][data-state=live]')")
	p.press(t, "l")
	has("and the live one again", "document.querySelector('[data-camera][data-rung=webrtc][data-state=live]')")
	p.press(t, "+")
	has("+ zooms", "document.querySelector('.lens').style.transform.includes('scale')")
	p.press(t, "Escape")
	comes("Esc goes back to where the keyboard was", "/", "/camera/right")
}
