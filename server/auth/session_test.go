package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// with makes a request that carries cookies.
func with(method, target string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

func allowed(g *Gate, r *http.Request) error {
	_, err := g.Authorize(FromRequest(r), View, "door")
	return err
}

func TestCookie(t *testing.T) {
	g := newGate(t, Policy{})
	plain, _, err := g.SignIn(with("POST", "http://cam/"), Login{}, testToken)
	if err != nil {
		t.Fatal(err)
	}
	secure, _, err := g.SignIn(with("POST", "https://cam/"), Login{}, testToken)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*http.Cookie{plain, secure} {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge != 30*24*3600 || strings.Contains(c.Value, testToken) {
			t.Errorf("cookie %s", c)
		}
		if _, err := g.Authorize(FromRequest(with("GET", "http://cam/", c)), Admin, ""); err != nil {
			t.Errorf("cookie %s: %v", c.Name, err)
		}
	}
	if plain.Name != CookieName || plain.Secure {
		t.Errorf("without TLS: %s", plain)
	}
	if secure.Name != TLSCookieName || !secure.Secure {
		t.Errorf("with TLS: %s", secure)
	}
	gone, err := g.SignOut(with("DELETE", "https://cam/", plain, secure))
	if err != nil || len(gone) != 2 {
		t.Errorf("sign-out: %v, %v", gone, err)
	}
	for _, c := range gone {
		if c.MaxAge >= 0 || c.Value != "" {
			t.Errorf("sign-out keeps %s", c)
		}
	}
	// The cookies themselves are worth nothing any more.
	for _, c := range []*http.Cookie{plain, secure} {
		if err := allowed(g, with("GET", "http://cam/", c)); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("a copy of %s after the sign-out: %v", c.Name, err)
		}
	}
}

func TestSessionSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Policy{})
		c := signIn(t, g, testToken)
		for range 5 {
			time.Sleep(20 * 24 * time.Hour)
			r := with("GET", "http://cam/", c)
			id, err := g.Authorize(FromRequest(r), View, "")
			if err != nil {
				t.Fatal(err)
			}
			anew := g.Renew(r, id)
			if anew == nil || anew.Value != c.Value || anew.MaxAge != 30*24*3600 {
				t.Fatalf("not renewed: %v", anew)
			}
			if again := g.Renew(r, id); again != nil {
				t.Error("renewed with every request")
			}
		}
		time.Sleep(SessionLife)
		if err := allowed(g, with("GET", "http://cam/", c)); err == nil {
			t.Error("30 days without use, and still valid")
		}
		// Room is made for the next.
		signIn(t, g, testToken)
		if n := len(g.sessions.all); n != 1 {
			t.Errorf("%d sessions kept", n)
		}
	})
}

func TestSessionEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Policy{})
		secret, _, expires, err := g.Issue("phone", viewer, time.Hour)
		if err != nil || time.Until(expires) < time.Hour {
			t.Fatal(expires, err)
		}
		w := httptest.NewRecorder()
		if !g.FollowLink(w, with("GET", "http://cam/m?token="+secret)) || len(w.Result().Cookies()) != 1 {
			t.Fatal("the link does not sign in")
		}
		c := w.Result().Cookies()[0]
		if c.MaxAge > 3600 {
			t.Errorf("a cookie of %d s", c.MaxAge)
		}
		who, err := g.WhoIs(t.Context(), FromRequest(with("GET", "http://cam/", c)))
		if err != nil || who.Name != "phone" || who.Kind != ByToken || !who.Expires.Equal(expires) {
			t.Errorf("%+v, %v", who, err)
		}
		time.Sleep(time.Hour + time.Second)
		if err := allowed(g, with("GET", "http://cam/", c)); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("after its token: %v", err)
		}
		// A token that was right once is no guess, and its owner learns why.
		for range 2 * failureBurst {
			_, err = g.Authorize(Credentials{Tokens: []string{secret}}, View, "")
		}
		if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("an expired token: %v", err)
		}

		secret, id, _, err := g.Issue("long", viewer, 0)
		if err != nil {
			t.Fatal(err)
		}
		c = signIn(t, g, secret)
		if err := g.Book().RevokeToken(id); err != nil {
			t.Fatal(err)
		}
		if err := allowed(g, with("GET", "http://cam/", c)); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("after its token was revoked: %v", err)
		}
	})
}

func TestSessionOfAUser(t *testing.T) {
	cheap(t)
	g := newGate(t, Policy{})
	if _, err := g.Book().AddUser("Bob", "correct horse", viewer); err != nil {
		t.Fatal(err)
	}
	in := func(name, password string) (*http.Cookie, error) {
		c, _, err := g.SignIn(with("POST", "http://cam/"), Login{name, password}, "")
		return c, err
	}
	for _, bad := range []Login{{"bob", "wrong horse"}, {"eve", "correct horse"}, {"bob", ""}, {"", "correct horse"}} {
		if _, err := in(bad.User, bad.Password); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	c, err := in("bob", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if err := allowed(g, with("GET", "http://cam/", c)); err != nil {
		t.Fatal(err)
	}
	// Permissions are those of now, the password that of the sign-in.
	if _, err := g.Book().ChangeUser("bob", UserChange{Grant: func(Grant) Grant { return Grant{Permissions: []Permission{Publish}} }}); err != nil {
		t.Fatal(err)
	}
	if err := allowed(g, with("GET", "http://cam/", c)); !errors.Is(err, ErrForbidden) {
		t.Errorf("after view was taken away: %v", err)
	}
	password := "battery staple"
	if _, err := g.Book().ChangeUser("bob", UserChange{Password: &password}); err != nil {
		t.Fatal(err)
	}
	if err := allowed(g, with("GET", "http://cam/", c)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("after a new password: %v", err)
	}
	if c, err = in("bob", password); err != nil {
		t.Fatal(err)
	}
	if err := g.Book().RemoveUser("bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Book().AddUser("bob", password, viewer); err != nil {
		t.Fatal(err)
	}
	if err := allowed(g, with("GET", "http://cam/", c)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("a session of a removed user serves the next one of that name: %v", err)
	}
}

func TestSessionsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	open := func(token string) *Gate {
		g, err := New(Options{Token: token, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g := open(testToken)
	stays, goes := signIn(t, g, testToken), signIn(t, g, testToken)
	if _, err := g.SignOut(with("DELETE", "http://cam/", goes)); err != nil {
		t.Fatal(err)
	}
	g = open(testToken)
	if err := allowed(g, with("GET", "http://cam/", stays)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := allowed(g, with("GET", "http://cam/", goes)); err == nil {
		t.Error("a restart brings back a session that was signed out")
	}
	data, err := os.ReadFile(filepath.Join(dir, SessionsFile))
	if err != nil || strings.Contains(string(data), stays.Value) || strings.Contains(string(data), testToken) {
		t.Errorf("the file holds secrets, or cannot be read: %v", err)
	}
	// Another admin token ends what rested on the old one.
	if err := allowed(open(testToken+"x"), with("GET", "http://cam/", stays)); err == nil {
		t.Error("a session of another admin token")
	}
	// What is broken is no reason not to start.
	if err := os.WriteFile(filepath.Join(dir, SessionsFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := allowed(open(testToken), with("GET", "http://cam/", stays)); err == nil {
		t.Error("a session of a broken file")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Policy{})
		first := signIn(t, g, testToken)
		secret, _, _, err := g.Issue("other", viewer, 0)
		if err != nil {
			t.Fatal(err)
		}
		other := signIn(t, g, secret)
		for range maxOwn {
			time.Sleep(time.Second)
			signIn(t, g, testToken)
		}
		if n := len(g.sessions.all); n != maxOwn+1 {
			t.Errorf("%d sessions", n)
		}
		if allowed(g, with("GET", "http://cam/", first)) == nil || allowed(g, with("GET", "http://cam/", other)) != nil {
			t.Error("not the oldest of the same owner made room")
		}
	})
}

func FuzzSession(f *testing.F) {
	g, err := New(Options{Token: testToken, Policy: Policy{}})
	if err != nil {
		f.Fatal(err)
	}
	c, _, err := g.SignIn(with("POST", "http://cam/"), Login{}, testToken)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add("AAAA")
	f.Add(c.Value[1:])
	f.Fuzz(func(t *testing.T, v string) {
		if _, err := g.Authorize(Credentials{Sessions: []string{v}}, View, ""); err == nil && v != c.Value {
			t.Errorf("made-up session %q is valid", v)
		}
	})
}
