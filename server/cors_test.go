package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

func TestCORSOnlyForNamedOrigins(t *testing.T) {
	gate, err := auth.New(auth.Options{
		Token: strings.Repeat("x", 43),
		Policy: auth.Policy{
			Anonymous: []auth.Permission{auth.View},
			Origins:   []string{"http://mainsail.local:81"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	called := 0
	if err := s.Register([]Route{{
		Method: http.MethodPost, Path: "/whep/:id", Perm: auth.View,
		Handler: func(c *gin.Context) { called++; c.Status(http.StatusCreated) },
	}}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, method, origin string
		preflight            bool
		status, calls        int
		allowed              bool
	}{
		{"preflight of a named origin", "OPTIONS", "http://mainsail.local:81", true, 204, 0, true},
		{"offer of a named origin", "POST", "http://mainsail.local:81", false, 201, 1, true},
		{"offer of our own page", "POST", "http://cam.local:8080", false, 201, 1, false},
		{"another port", "POST", "http://mainsail.local:82", false, 403, 0, false},
		{"another scheme", "POST", "https://mainsail.local:81", false, 403, 0, false},
		{"a stranger", "POST", "https://evil.example", false, 403, 0, false},
		{"null", "POST", "null", false, 403, 0, false},
	} {
		called = 0
		r := httptest.NewRequest(x.method, "http://cam.local:8080/whep/door", nil)
		r.Header.Set("Origin", x.origin)
		if x.preflight {
			r.Header.Set("Access-Control-Request-Method", "POST")
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		got := w.Header().Get("Access-Control-Allow-Origin")
		if w.Code != x.status || called != x.calls || (got == x.origin) != x.allowed || got == "*" {
			t.Errorf("%s: status %d, called %d, allowed %q", x.name, w.Code, called, got)
		}
		if w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: cookies are shared", x.name)
		}
		if w.Header().Get("Vary") != "Origin" {
			t.Errorf("%s: a cache could mix up origins", x.name)
		}
	}
	// The preflight of a stranger gets no further than any other request.
	r := httptest.NewRequest(http.MethodOptions, "http://cam.local:8080/whep/door", nil)
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Header().Get("Access-Control-Allow-Methods") != "" {
		t.Error("a stranger's preflight was allowed")
	}
}

// TestNamedOriginHasNoCookie: a page that is let in by name acts for itself, not
// for whoever looks at it.
func TestNamedOriginHasNoCookie(t *testing.T) {
	token := strings.Repeat("x", 43)
	gate, err := auth.New(auth.Options{
		Token:  token,
		Policy: auth.Policy{Anonymous: []auth.Permission{auth.View}, Origins: []string{"http://cam.local:81"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register([]Route{{
		Method: http.MethodPost, Path: "/change", Perm: auth.Admin,
		Handler: func(c *gin.Context) { c.Status(http.StatusNoContent) },
	}}); err != nil {
		t.Fatal(err)
	}
	ask := func(origin string, prepare func(*http.Request)) int {
		r := httptest.NewRequest(http.MethodPost, "http://cam.local:8080/change", nil)
		r.Header.Set("Origin", origin)
		prepare(r)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	cookie, _, err := gate.SignIn(httptest.NewRequest(http.MethodPost, "http://cam.local:8080/", nil), auth.Login{}, token)
	if err != nil {
		t.Fatal(err)
	}
	withCookie := func(r *http.Request) { r.AddCookie(cookie) }
	if code := ask("http://cam.local:8080", withCookie); code != http.StatusNoContent {
		t.Errorf("our own page with the cookie: %d", code)
	}
	if code := ask("http://cam.local:81", withCookie); code == http.StatusNoContent {
		t.Error("a named page acts with the cookie of whoever looks at it")
	}
	if code := ask("http://cam.local:81", func(r *http.Request) { r.SetBasicAuth("any", token) }); code == http.StatusNoContent {
		t.Error("a named page acts with the password that the browser remembers")
	}
	if code := ask("http://cam.local:81", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }); code != http.StatusNoContent {
		t.Errorf("a named page with a token of its own: %d", code)
	}
}
