package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"camwire/server"
	"camwire/server/auth"
)

func TestUsers(t *testing.T) {
	l := newLab(t)
	if _, text := l.do("GET", "/api/users", "", admin); text != "[]" {
		t.Errorf("nobody: %s", text)
	}
	resp, text := l.do("POST", "/api/users", `{"name":"Bob","password":"correct horse","permissions":["view"],"cameras":["door"]}`, admin)
	if resp.StatusCode != 201 || resp.Header.Get("Location") != "/api/users/Bob" {
		t.Errorf("%s %v %s", resp.Status, resp.Header, text)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		words              string
	}{
		{"POST", "/api/users", `{"name":"bob","password":"correct horse","permissions":["view"]}`, 409, "Bob"},
		{"POST", "/api/users", `{"name":"a b","password":"correct horse","permissions":["view"]}`, 400, "user name"},
		{"POST", "/api/users", `{"name":"al","password":"short","permissions":["view"]}`, 400, "fewer than 8"},
		{"POST", "/api/users", `{"name":"al","password":"correct horse"}`, 400, "permissions"},
		{"POST", "/api/users", `{"name":"al","password":"correct horse","permissions":["fly"]}`, 400, "fly"},
		{"POST", "/api/users", `{"name":"al","password":"correct horse","permissions":["view"],"camera":["x"]}`, 400, "camera"},
		{"POST", "/api/users", `{`, 400, "JSON"},
		{"PATCH", "/api/users/bob", `{}`, 400, "nothing to change"},
		{"PATCH", "/api/users/bob", `{"permissions":[]}`, 400, "permissions"},
		{"PATCH", "/api/users/bob", `{"password":"short"}`, 400, "fewer than 8"},
		{"PATCH", "/api/users/eve", `{"password":"correct horse"}`, 404, "eve"},
		{"DELETE", "/api/users/eve", ``, 404, "eve"},
	} {
		resp, text := l.do(tt.method, tt.path, tt.body, admin)
		if resp.StatusCode != tt.status || !strings.Contains(text, `"error"`) || !strings.Contains(text, tt.words) {
			t.Errorf("%s %s %s: %s %s", tt.method, tt.path, tt.body, resp.Status, text)
		}
	}
	got := l.want(200, "PATCH", "/api/users/bob", `{"permissions":["view","publish"]}`, admin)
	if show(got["name"], got["permissions"], got["cameras"]) != "Bob [publish view] [door]" {
		t.Errorf("changed: %v", got)
	}
	l.want(200, "PATCH", "/api/users/bob", `{"cameras":[],"also":[{"permissions":["control"],"cameras":["hall"]}]}`, admin)
	_, text = l.do("GET", "/api/users", "", admin)
	var users []map[string]any
	if err := json.Unmarshal([]byte(text), &users); err != nil || len(users) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	if u := users[0]; show(u["name"], u["permissions"], u["cameras"], u["also"]) !=
		"Bob [publish view] [] [map[cameras:[hall] permissions:[control]]]" || u["created"] == nil || u["changed"] == nil {
		t.Errorf("%v", u)
	}
	for _, secret := range []string{"argon2", "hash", "correct"} {
		if strings.Contains(text, secret) {
			t.Errorf("the list holds %q: %s", secret, text)
		}
	}
	l.want(204, "DELETE", "/api/users/BOB", "", admin)
	l.want(401, "GET", "/api/camera/list", "", basic("bob", "correct horse"))
}

func TestTokens(t *testing.T) {
	l := newLab(t)
	if _, text := l.do("GET", "/api/tokens", "", admin); text != "[]" {
		t.Errorf("none: %s", text)
	}
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	var secrets []string
	for body, expires := range map[string]string{
		`{"name":"a","permissions":["view"],"cameras":["door"]}`:                           "<nil>",
		`{"name":"a","permissions":["view"],"expires":null}`:                               "<nil>",
		`{"name":"a","permissions":["view"],"expires":""}`:                                 "<nil>",
		`{"name":"a","permissions":["view"],"expires":"` + end.Format(time.RFC3339) + `"}`: end.Format(time.RFC3339),
		`{"name":"a","permissions":["view"],"expires":"1h"}`:                               "in an hour",
	} {
		got := l.want(201, "POST", "/api/tokens", body, admin)
		secret, _ := got["token"].(string)
		if !strings.HasPrefix(secret, auth.TokenPrefix) || got["id"] == "" || got["last_used"] != nil || got["expired"] != false {
			t.Errorf("%s: %v", body, got)
		}
		if expires == "in an hour" {
			if at, err := time.Parse(time.RFC3339, fmt.Sprint(got["expires"])); err != nil || at.Before(end.Add(-time.Minute)) || at.After(end.Add(time.Hour)) {
				t.Errorf("%s: expires %v", body, got["expires"])
			}
		} else if fmt.Sprint(got["expires"]) != expires {
			t.Errorf("%s: expires %v", body, got["expires"])
		}
		secrets = append(secrets, secret)
		l.want(200, "GET", "/api/camera/snapshot/door", "", bearer(secret))
	}
	for _, body := range []string{
		`{"permissions":["view"]}`, `{"name":"a"}`, `{"name":"a","permissions":["view"],"expires":"tomorrow"}`,
		`{"name":"a","permissions":["view"],"expires":"-1h"}`, `{"name":"a","permissions":["view"],"expires":"2001-01-01T00:00:00Z"}`,
		`{"name":"a","permissions":["view"],"expires":5}`,
	} {
		l.want(400, "POST", "/api/tokens", body, admin)
	}
	_, text := l.do("GET", "/api/tokens", "", admin)
	var tokens []map[string]any
	if err := json.Unmarshal([]byte(text), &tokens); err != nil || len(tokens) != len(secrets) {
		t.Fatalf("%v: %s", err, text)
	}
	for _, k := range tokens {
		if k["last_used"] == nil || k["token"] != nil {
			t.Errorf("%v", k)
		}
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("the list holds a secret: %s", text)
		}
	}
	l.want(204, "DELETE", "/api/tokens/"+tokens[0]["id"].(string), "", admin)
	l.want(404, "DELETE", "/api/tokens/"+tokens[0]["id"].(string), "", admin)
}

func TestExpiry(t *testing.T) {
	now := time.Now()
	for s, want := range map[string]bool{"720h": true, "1m30s": true, "0s": false, "-1h": false, "x": false, "2030-01-31": false, "2030-01-31T12:00:00+01:00": true} {
		_, err := expiry(s, now)
		var own *server.StatusError
		if (err == nil) != want || err != nil && (!errors.As(err, &own) || own.Status != http.StatusBadRequest) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzExpiry(f *testing.F) {
	for _, s := range []string{"720h", "2030-01-31T12:00:00Z", "", "9999999h", "-0s"} {
		f.Add(s)
	}
	now := time.Unix(1e9, 0)
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := expiry(s, now); err == nil && at.IsZero() {
			t.Errorf("%q is a token without an end", s)
		}
	})
}

// No route of this package is about a camera, whatever its parameter says.
func TestRoutesAreAboutNoCamera(t *testing.T) {
	l := newLab(t)
	for _, r := range Routes(Options{Gate: l.gate}) {
		if r.Camera == nil || r.Camera(nil) != "" || !r.Perm.Valid() || r.MaxBody != maxBody {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
}
