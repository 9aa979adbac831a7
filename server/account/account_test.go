package account

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"camwire/server/auth"

	"github.com/coder/websocket"
)

func cookieOf(t *testing.T, resp *http.Response) as {
	t.Helper()
	for _, c := range resp.Cookies() {
		if c.Name == auth.CookieName && c.Value != "" {
			return as{"Cookie", c.Name + "=" + c.Value}
		}
	}
	t.Fatal("no cookie")
	return nil
}

func basic(user, password string) as {
	return as{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

func TestSession(t *testing.T) {
	l := newLab(t)
	l.want(201, "POST", "/api/users", `{"name":"Bob","password":"correct horse","permissions":["view"],"cameras":["door","mobile_*"]}`, admin)
	for body, status := range map[string]int{
		`{"token":"` + adminToken + `"}`:                     204,
		`{"user":"bob","password":"correct horse"}`:          204,
		`{"user":"anybody","password":"` + adminToken + `"}`: 204,
		`{"token":"wrong"}`:                                  401,
		`{"user":"bob","password":"wrong"}`:                  401,
		`{"user":"eve","password":"wrong"}`:                  401,
		`{"token":""}`:                                       400,
		`{"user":"bob"}`:                                     400,
		`{"user":"bob","password":"a","token":"b"}`:          400,
		`{}`:                     400,
		``:                       400,
		`[]`:                     400,
		`{"token":"a"} trailing`: 400,
		`{"tokn":"a"}`:           400,
		`{"token":"` + strings.Repeat("a", maxBody): 413,
	} {
		resp, text := l.do("POST", "/api/session", body, nil)
		if resp.StatusCode != status || (status != 204) != strings.Contains(text, `"error"`) {
			t.Errorf("%.60s: %s %s", body, resp.Status, text)
		}
		if got := resp.Header.Get("Set-Cookie") != ""; got != (status == 204) {
			t.Errorf("%.60s: cookie %v", body, got)
		}
	}
	me := l.want(200, "GET", "/api/session", "", nil)
	if show(me["name"], me["kind"], me["permissions"], me["expires"]) != "anonymous anonymous [] <nil>" {
		t.Errorf("a stranger: %v", me)
	}
	resp, _ := l.do("POST", "/api/session", `{"user":"bob","password":"correct horse"}`, as{"Origin", l.url})
	bob := cookieOf(t, resp)
	me = l.want(200, "GET", "/api/session", "", bob)
	if show(me["name"], me["kind"], me["permissions"], me["cameras"], me["grants"]) !=
		"Bob user [view] [door mobile_*] [map[cameras:[door mobile_*] permissions:[view]]]" || me["expires"] == nil {
		t.Errorf("bob: %v", me)
	}
	me = l.want(200, "GET", "/api/session", "", admin)
	if show(me["name"], me["permissions"], me["cameras"], me["expires"]) != "admin [admin control playback publish view] [] <nil>" {
		t.Errorf("admin: %v", me)
	}
	l.want(401, "GET", "/api/session", "", bearer("wrong"))

	// Another site's page can neither sign in nor out in somebody's name.
	evil := append(as{"Origin", "http://evil.example"}, bob...)
	l.want(403, "POST", "/api/session", `{"user":"bob","password":"correct horse"}`, evil)
	l.want(403, "DELETE", "/api/session", "", evil)
	l.want(200, "GET", "/api/camera/snapshot/door", "", bob)

	resp, _ = l.do("DELETE", "/api/session", "", append(as{"Origin", l.url}, bob...))
	if resp.StatusCode != 204 || len(resp.Cookies()) != 1 || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign-out: %s %v", resp.Status, resp.Cookies())
	}
	l.want(401, "GET", "/api/camera/snapshot/door", "", bob)
	l.want(204, "DELETE", "/api/session", "", nil)
}

func TestGuessingIsSlowedDown(t *testing.T) {
	l := newLab(t)
	l.want(201, "POST", "/api/users", `{"name":"bob","password":"correct horse","permissions":["view"]}`, admin)
	for range 30 {
		resp, _ := l.do("POST", "/api/session", `{"user":"bob","password":"guess"}`, nil)
		if resp.StatusCode == 429 {
			if resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			return
		}
	}
	t.Error("30 guesses were looked at")
}

// Who may do what with which camera, by every kind of credentials.
func TestPermissionMatrix(t *testing.T) {
	l := newLab(t)
	view, _ := l.issue(auth.Grant{Permissions: []auth.Permission{auth.View}, Cameras: []string{"door"}})
	mobile, _ := l.issue(auth.Grant{Permissions: []auth.Permission{auth.View, auth.Control}, Cameras: []string{"mobile_*"}})
	publish, _ := l.issue(auth.Grant{Permissions: []auth.Permission{auth.Publish}})
	warden, _ := l.issue(auth.Grant{Permissions: []auth.Permission{auth.Admin}, Cameras: []string{"door"}})
	root, _ := l.issue(auth.Grant{Permissions: []auth.Permission{auth.Admin}})
	l.want(201, "POST", "/api/users", `{"name":"bob","password":"correct horse","permissions":["view"],"cameras":["hall"]}`, admin)
	resp, _ := l.do("POST", "/api/session", `{"token":"`+view+`"}`, nil)
	session := cookieOf(t, resp)
	paths := []string{
		"/api/camera/snapshot/door", "/api/camera/snapshot/hall", "/api/camera/snapshot/mobile_1", "/api/camera/snapshot/nowhere",
		"/deaf/mobile_1", "/api/users", "/api/camera/list",
	}
	const hangs = 426 // let in: it is no WebSocket
	for _, tt := range []struct {
		name  string
		who   as
		query string
		want  []int
	}{
		{"stranger", nil, "", []int{401, 401, 401, 401, 401, 401, 401}},
		{"wrong token", bearer("cw_wrong"), "", []int{401, 401, 401, 401, 401, 401, 401}},
		{"view door", bearer(view), "", []int{200, 403, 403, 403, 403, 403, 200}},
		{"the same as password", basic("x", view), "", []int{200, 403, 403, 403, 403, 403, 200}},
		{"the same in the query", nil, "?token=" + view, []int{200, 403, 403, 403, 403, 403, 200}},
		{"the same by cookie", session, "", []int{200, 403, 403, 403, 403, 403, 200}},
		{"mobile_*", bearer(mobile), "", []int{403, 403, 200, 403, hangs, 403, 200}},
		{"publish only", bearer(publish), "", []int{403, 403, 403, 403, 403, 403, 403}},
		{"bob", basic("Bob", "correct horse"), "", []int{403, 200, 403, 403, 403, 403, 200}},
		{"admin of door", bearer(warden), "", []int{200, 403, 403, 403, 403, 403, 200}},
		{"admin by token", bearer(root), "", []int{200, 200, 200, 404, hangs, 200, 200}},
		{"admin", admin, "", []int{200, 200, 200, 404, hangs, 200, 200}},
	} {
		for i, path := range paths {
			resp, text := l.do("GET", path+tt.query, "", tt.who)
			if resp.StatusCode != tt.want[i] {
				t.Errorf("%s: GET %s: %s %.100s, want %d", tt.name, path, resp.Status, text, tt.want[i])
			}
		}
	}
	// One who may administer one camera cannot make himself more.
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/api/tokens", `{"name":"x","permissions":["admin"]}`},
		{"POST", "/api/users", `{"name":"x","password":"correct horse","permissions":["admin"]}`},
		{"PATCH", "/api/users/door", `{"permissions":["admin"]}`},
		{"DELETE", "/api/tokens/door", ""},
		{"DELETE", "/api/camera/hall", ""},
	} {
		l.want(403, tt.method, tt.path, tt.body, bearer(warden))
	}
	l.want(200, "DELETE", "/api/camera/door", "", bearer(warden))
}

// open begins an endless answer and reads the first of it.
func (l *lab) open(path string, who as) *http.Response {
	l.Helper()
	resp := l.request("GET", path, "", who)
	if resp.StatusCode != 200 {
		l.Fatalf("%s: %s", path, resp.Status)
	}
	l.read(resp)
	return resp
}

func (l *lab) read(resp *http.Response) {
	l.Helper()
	if _, err := resp.Body.Read(make([]byte, 64)); err != nil {
		l.Fatal(err)
	}
}

func ends(t *testing.T, what string, resp *http.Response) {
	t.Helper()
	within(t, what, func() {
		b := make([]byte, 4096)
		for {
			if _, err := resp.Body.Read(b); err != nil {
				return
			}
		}
	})
}

func TestRevocationEndsARunningStream(t *testing.T) {
	l := newLab(t)
	const path = "/api/camera/mjpeg/door"
	see := auth.Grant{Permissions: []auth.Permission{auth.View}}
	secret, id := l.issue(see)
	other, _ := l.issue(see)
	stays, goes := l.open(path, bearer(other)), l.open(path, bearer(secret))
	l.want(204, "DELETE", "/api/tokens/"+id, "", admin)
	ends(t, "token revoked", goes)
	l.want(401, "GET", path, "", bearer(secret))

	// Another process takes it back, and only the file tells.
	secret, id = l.issue(see)
	goes = l.open(path+"?token="+secret, nil)
	elsewhere, err := auth.OpenBook(auth.BookOptions{Dir: l.dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.RevokeToken(id); err != nil {
		t.Fatal(err)
	}
	ends(t, "token revoked elsewhere", goes)

	l.want(201, "POST", "/api/users", `{"name":"bob","password":"correct horse","permissions":["view"]}`, admin)
	resp, _ := l.do("POST", "/api/session", `{"user":"bob","password":"correct horse"}`, nil)
	session := cookieOf(t, resp)
	goes = l.open(path, session)
	l.want(204, "DELETE", "/api/session", "", session)
	ends(t, "signed out", goes)

	goes = l.open(path, basic("bob", "correct horse"))
	l.want(200, "PATCH", "/api/users/bob", `{"cameras":["hall"]}`, admin)
	ends(t, "another camera", goes)
	goes = l.open("/api/camera/mjpeg/hall", basic("bob", "correct horse"))
	l.want(204, "DELETE", "/api/users/bob", "", admin)
	ends(t, "user removed", goes)

	l.read(stays)
}

func TestRevocationEndsWebSockets(t *testing.T) {
	l := newLab(t)
	secret, id := l.issue(auth.Grant{Permissions: []auth.Permission{auth.View, auth.Control}, Cameras: []string{"door"}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, path := range []string{"/attentive/door", "/deaf/door"} {
		conn, resp, err := websocket.Dial(ctx, l.url+path, &websocket.DialOptions{
			HTTPClient: l.client, HTTPHeader: http.Header{"Authorization": {"Bearer " + secret}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body != nil {
			resp.Body.Close()
		}
		defer func() { _ = conn.CloseNow() }()
	}
	if n := l.gate.Watched(); n != 2 {
		t.Errorf("%d watched", n)
	}
	l.want(204, "DELETE", "/api/tokens/"+id, "", admin)
	for range 2 {
		select {
		case <-l.left:
		case <-ctx.Done():
			t.Fatal("a WebSocket goes on")
		}
	}
}
