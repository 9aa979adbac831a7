package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const testToken = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

func newGate(t *testing.T, p Policy) *Gate {
	t.Helper()
	g, err := New(Options{Token: testToken, Policy: p, Hostname: "pi.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAuthorize(t *testing.T) {
	strict := newGate(t, Policy{})
	open := newGate(t, Policy{Anonymous: []Permission{View}})
	session := signIn(t, strict, testToken).Value
	for _, tt := range []struct {
		name string
		gate *Gate
		c    Credentials
		perm Permission
		want error
	}{
		{"nothing", strict, Credentials{}, View, ErrUnauthorized},
		{"public", strict, Credentials{}, Public, nil},
		{"token", strict, Credentials{Tokens: []string{testToken}}, Admin, nil},
		{"token for another permission", strict, Credentials{Tokens: []string{testToken}}, Publish, nil},
		{"password", strict, Credentials{Logins: []Login{{"anybody", testToken}}}, View, nil},
		{"wrong", strict, Credentials{Tokens: []string{"no"}}, View, ErrUnauthorized},
		{"one of two right", strict, Credentials{Tokens: []string{"no", testToken}}, View, nil},
		{"session", strict, Credentials{Sessions: []string{session}}, Admin, nil},
		{"broken session", strict, Credentials{Sessions: []string{session[1:], "", "%"}}, View, ErrUnauthorized},
		{"anonymous may view", open, Credentials{}, View, nil},
		{"anonymous may not publish", open, Credentials{}, Publish, ErrUnauthorized},
		{"a wrong token takes nothing away", open, Credentials{Tokens: []string{"no"}}, View, nil},
		{"no such permission", open, Credentials{Tokens: []string{testToken}}, "fly", ErrForbidden},
		{"no permission", open, Credentials{Tokens: []string{testToken}}, "", ErrForbidden},

		{"foreign session", strict, Credentials{Sessions: []string{session}, Foreign: true}, View, ErrOrigin},
		{"foreign password", strict, Credentials{Logins: []Login{{"anybody", testToken}}, Foreign: true}, View, ErrOrigin},
		{"foreign stranger", open, Credentials{Foreign: true}, View, ErrOrigin},
		{"foreign sign-in", open, Credentials{Foreign: true}, Public, ErrOrigin},
		{"foreign token", strict, Credentials{Tokens: []string{testToken}, Foreign: true}, Admin, nil},
		{"foreign wrong token", open, Credentials{Tokens: []string{"no"}, Foreign: true}, View, ErrUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := tt.gate.Authorize(tt.c, tt.perm, "door")
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil && !id.May(tt.perm, "door") {
				t.Errorf("identity %+v may not do what it was let in for", id)
			}
		})
	}
}

func TestSetPolicy(t *testing.T) {
	g := newGate(t, Policy{})
	if err := g.SetPolicy(Policy{Anonymous: []Permission{"look"}}); err == nil || !strings.Contains(err.Error(), `"look"`) {
		t.Errorf("error %v, want one that names the permission", err)
	}
	if err := g.SetPolicy(Policy{Anonymous: []Permission{Playback}}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Authorize(Credentials{}, Playback, ""); err != nil {
		t.Error(err)
	}
	if _, err := g.Authorize(Credentials{}, View, ""); err == nil {
		t.Error("view without being allowed")
	}
}

func TestCheck(t *testing.T) {
	g := newGate(t, Policy{})
	remote := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4}
	for _, tt := range []struct {
		pass, token string
		want        error
	}{{"", "", ErrUnauthorized}, {testToken, "", nil}, {"", testToken, nil}, {"x", "", ErrUnauthorized}} {
		if err := g.Check(context.Background(), remote, "anybody", tt.pass, tt.token, "publish", "door"); !errors.Is(err, tt.want) {
			t.Errorf("pass %q token %q: %v, want %v", tt.pass, tt.token, err, tt.want)
		}
	}
}

func TestTooManyFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Policy{})
		bad := Credentials{Tokens: []string{"wrong"}, Remote: netip.MustParseAddr("192.0.2.7")}
		for range failureBurst {
			if _, err := g.Authorize(bad, View, ""); !errors.Is(err, ErrUnauthorized) {
				t.Fatal(err)
			}
		}
		var many *TooManyError
		if _, err := g.Authorize(bad, View, ""); !errors.As(err, &many) {
			t.Fatalf("error %v after %d failures", err, failureBurst)
		}
		if s := many.Seconds(); s < 1 || s > int(failureInterval/time.Second) {
			t.Errorf("Retry-After %d s", s)
		}
		good := bad
		good.Tokens = []string{testToken}
		if _, err := g.Authorize(good, View, ""); err != nil {
			t.Errorf("a right token from there: %v", err)
		}
		other := bad
		other.Remote = netip.MustParseAddr("192.0.2.8")
		if _, err := g.Authorize(other, View, ""); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("another address: %v", err)
		}
		time.Sleep(many.RetryAfter)
		if _, err := g.Authorize(bad, View, ""); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("after the time it said: %v", err)
		}
	})
}

func TestLimiterIsBounded(t *testing.T) {
	l := limiter{burst: 2, interval: time.Minute, max: 8}
	now := time.Unix(1e9, 0)
	a := netip.MustParseAddr("10.0.0.0")
	for i := range 1000 {
		a = a.Next()
		now = now.Add(time.Millisecond)
		if wait := l.fail(now, a); wait != 0 {
			t.Fatalf("event %d: first of its address has to wait %v", i, wait)
		}
		if len(l.until) > l.max {
			t.Fatalf("%d addresses remembered", len(l.until))
		}
	}
	// The newest ones are those remembered.
	if l.fail(now, a); l.fail(now, a) == 0 {
		t.Error("the address of the last event was forgotten")
	}
}

func TestLimiterTakesAnIPv6NetworkAsOne(t *testing.T) {
	l := limiter{burst: 2, interval: time.Minute, max: 8}
	now := time.Unix(1e9, 0)
	l.fail(now, netip.MustParseAddr("2001:db8::1"))
	l.fail(now, netip.MustParseAddr("2001:db8::2"))
	if l.fail(now, netip.MustParseAddr("2001:db8::3")) == 0 {
		t.Error("three addresses of one network were not limited")
	}
	if l.fail(now, netip.MustParseAddr("2001:db8:0:1::1")) != 0 {
		t.Error("another network was limited")
	}
}

func TestFollowLink(t *testing.T) {
	g := newGate(t, Policy{})
	for _, tt := range []struct {
		target, location string
		cookie           bool
	}{
		{"/?token=" + testToken, "/", true},
		{"/camera/door?token=" + testToken + "&a=1", "/camera/door?a=1", true},
		{"/camera/?token=" + testToken, "/camera/", true},
		{"//evil.example/?token=" + testToken, "/evil.example/", true},
		{"/%5Cevil.example/?token=" + testToken, "/%5Cevil.example/", true},
		{"/?token=wrong", "/", false},
		{"/?token=", "/", false},
	} {
		r := httptest.NewRequest("GET", "http://cam"+tt.target, nil)
		w := httptest.NewRecorder()
		if !g.FollowLink(w, r) {
			t.Fatalf("%s: not followed", tt.target)
		}
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != tt.location {
			t.Errorf("%s: %d to %q, want %q", tt.target, w.Code, w.Header().Get("Location"), tt.location)
		}
		if got := len(w.Result().Cookies()) == 1; got != tt.cookie {
			t.Errorf("%s: cookie set: %v", tt.target, got)
		}
	}
	if g.FollowLink(httptest.NewRecorder(), httptest.NewRequest("GET", "/?a=1", nil)) {
		t.Error("followed without a token")
	}
}

// signIn returns the cookie that a browser gets for a token.
func signIn(t *testing.T, g *Gate, token string) *http.Cookie {
	t.Helper()
	c, _, err := g.SignIn(httptest.NewRequest("POST", "http://cam/", nil), Login{}, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
