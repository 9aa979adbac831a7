package auth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// run lets a gate run until the returned function is called.
func run(t *testing.T, g *Gate) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestWatch(t *testing.T) {
	cheap(t)
	password := "battery staple"
	for _, tt := range []struct {
		name string
		// begin makes credentials, and what ends them.
		begin func(*testing.T, *Gate) (Credentials, func() error)
	}{
		{"token revoked", func(t *testing.T, g *Gate) (Credentials, func() error) {
			secret, id, _, err := g.Issue("x", viewer, 0)
			if err != nil {
				t.Fatal(err)
			}
			return Credentials{Tokens: []string{secret}}, func() error { return g.Book().RevokeToken(id) }
		}},
		{"token expired", func(t *testing.T, g *Gate) (Credentials, func() error) {
			secret, _, _, err := g.Issue("x", viewer, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return Credentials{Tokens: []string{secret}}, func() error { time.Sleep(time.Minute); return nil }
		}},
		{"session of an expired token", func(t *testing.T, g *Gate) (Credentials, func() error) {
			secret, _, _, err := g.Issue("x", viewer, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return Credentials{Sessions: []string{signIn(t, g, secret).Value}}, func() error { time.Sleep(time.Minute); return nil }
		}},
		{"signed out", func(t *testing.T, g *Gate) (Credentials, func() error) {
			c := signIn(t, g, testToken)
			return Credentials{Sessions: []string{c.Value}}, func() error {
				_, err := g.SignOut(with("DELETE", "http://cam/", c))
				return err
			}
		}},
		{"user removed", func(t *testing.T, g *Gate) (Credentials, func() error) {
			return addBob(t, g), func() error { return g.Book().RemoveUser("bob") }
		}},
		{"password changed", func(t *testing.T, g *Gate) (Credentials, func() error) {
			return addBob(t, g), func() error {
				_, err := g.Book().ChangeUser("bob", UserChange{Password: &password})
				return err
			}
		}},
		{"another camera", func(t *testing.T, g *Gate) (Credentials, func() error) {
			return addBob(t, g), func() error {
				_, err := g.Book().ChangeUser("bob", UserChange{Grant: func(g Grant) Grant { g.Cameras = []string{"hall"}; return g }})
				return err
			}
		}},
		{"strangers no longer", func(t *testing.T, g *Gate) (Credentials, func() error) {
			if err := g.SetPolicy(Policy{Anonymous: []Permission{View}}); err != nil {
				t.Fatal(err)
			}
			return Credentials{}, func() error { return g.SetPolicy(Policy{}) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, Policy{})
				defer run(t, g)()
				c, end := tt.begin(t, g)
				id, err := g.Authorize(c, View, "door")
				if err != nil {
					t.Fatal(err)
				}
				ctx, done := g.Watch(t.Context(), id, View, "door")
				time.Sleep(10 * watchInterval)
				if ctx.Err() != nil {
					t.Fatal("ended before its time")
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * watchInterval)
				if !errors.Is(context.Cause(ctx), ErrEnded) {
					t.Errorf("goes on: %v", context.Cause(ctx))
				}
				done()
				// Between the question and the watch it may have ended as well.
				ctx, done = g.Watch(t.Context(), id, View, "door")
				if !errors.Is(context.Cause(ctx), ErrEnded) {
					t.Error("a watch that began too late goes on")
				}
				done()
				if n := g.Watched(); n != 0 {
					t.Errorf("%d watches left", n)
				}
			})
		})
	}
}

func addBob(t *testing.T, g *Gate) Credentials {
	t.Helper()
	if _, err := g.Book().AddUser("bob", "correct horse", viewer); err != nil {
		t.Fatal(err)
	}
	return Credentials{Logins: []Login{{"Bob", "correct horse"}}}
}

// What another process changes reaches those who are being served.
func TestWatchSeesOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		g, err := New(Options{Token: testToken, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, g)()
		secret, tok, err := openBook(t, dir).IssueToken("x", viewer, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, done, err := g.Admit(t.Context(), nil, "anybody", secret, "", "view", "door")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		if err := openBook(t, dir).RevokeToken(tok.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * watchInterval)
		if !errors.Is(context.Cause(ctx), ErrEnded) {
			t.Errorf("goes on: %v", context.Cause(ctx))
		}
	})
}

// A page that watches for months keeps its session, though it asks for nothing.
func TestWatchKeepsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Policy{})
		c := signIn(t, g, testToken)
		id, err := g.Authorize(Credentials{Sessions: []string{c.Value}}, View, "door")
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := g.Watch(t.Context(), id, View, "door")
		defer done()
		for range 100 {
			time.Sleep(24 * time.Hour)
			g.recheck()
		}
		if ctx.Err() != nil {
			t.Errorf("ended: %v", context.Cause(ctx))
		}
	})
}

func TestLifetime(t *testing.T) {
	g := newGate(t, Policy{})
	secret, tok, _, err := g.Issue("x", viewer, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := g.Authorize(Credentials{Tokens: []string{secret}}, View, "door")
	if err != nil {
		t.Fatal(err)
	}
	request, over := context.WithCancel(g.WithIdentity(t.Context(), id, View, "door"))
	if who, ok := FromContext(request); !ok || who.Name != "x" {
		t.Errorf("%+v, %v", who, ok)
	}
	life, end := Lifetime(request)
	defer end()
	over()
	if life.Err() != nil {
		t.Error("it ends with the request")
	}
	if err := g.Book().RevokeToken(tok); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(context.Cause(life), ErrEnded) {
		t.Errorf("goes on after the token was revoked: %v", context.Cause(life))
	}
	free, end := Lifetime(t.Context())
	if free.Err() != nil {
		t.Error("without an identity it has ended")
	}
	end()
	if free.Err() == nil {
		t.Error("it cannot be ended")
	}
}

// Passwords can be guessed: who has guessed too often is not even asked. A right
// token, a session, and a password that was right a short time ago still pass.
func TestGuessedPasswords(t *testing.T) {
	cheap(t)
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, Policy{})
		good := addBob(t, g)
		good.Remote = netip.MustParseAddr("192.0.2.1")
		bad := Credentials{Logins: []Login{{"bob", "wrong horse"}}, Remote: netip.MustParseAddr("192.0.2.7")}
		if _, err := g.Authorize(good, View, ""); err != nil {
			t.Fatal(err)
		}
		session := signIn(t, g, testToken).Value
		for range failureBurst {
			if _, err := g.Authorize(bad, View, ""); !errors.Is(err, ErrUnauthorized) {
				t.Fatal(err)
			}
		}
		var many *TooManyError
		if _, err := g.Authorize(bad, View, ""); !errors.As(err, &many) {
			t.Fatalf("error %v after %d failures", err, failureBurst)
		}
		good.Remote = bad.Remote
		if _, err := g.Authorize(good, View, ""); err != nil {
			t.Errorf("right a short time ago: %v", err)
		}
		for _, c := range []Credentials{{Tokens: []string{testToken}}, {Logins: []Login{{"bob", testToken}}}, {Sessions: []string{session}}} {
			c.Remote = bad.Remote
			if _, err := g.Authorize(c, View, ""); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if _, err := g.Book().AddUser("al", "correct horse", viewer); err != nil {
			t.Fatal(err)
		}
		al := Credentials{Logins: []Login{{"al", "correct horse"}}, Remote: bad.Remote}
		if _, err := g.Authorize(al, View, ""); !errors.As(err, &many) {
			t.Errorf("a password from an address that guesses: %v", err)
		}
		al.Remote = netip.MustParseAddr("192.0.2.8")
		if _, err := g.Authorize(al, View, ""); err != nil {
			t.Errorf("from another address: %v", err)
		}
	})
}

// One who may do less than the server asks is told so, and may do what strangers
// may.
func TestGrantedLess(t *testing.T) {
	cheap(t)
	g := newGate(t, Policy{Anonymous: []Permission{Playback}})
	c := addBob(t, g)
	if _, err := g.Book().ChangeUser("bob", UserChange{Grant: func(g Grant) Grant { g.Cameras = []string{"door"}; return g }}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		perm   Permission
		camera string
		want   error
	}{
		{View, "door", nil}, {View, "", nil}, {View, "hall", ErrForbidden}, {Publish, "door", ErrForbidden},
		{Admin, "", ErrForbidden}, {Playback, "hall", nil},
	} {
		id, err := g.Authorize(c, tt.perm, tt.camera)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || id.Name != "bob" {
			t.Errorf("%s on %q: %v as %q", tt.perm, tt.camera, err, id.Name)
		}
	}
	remote := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4}
	for _, tt := range []struct {
		user, pass string
		want       error
	}{{"bob", "correct horse", nil}, {"BOB", "correct horse", nil}, {"bob", "wrong horse", ErrUnauthorized}, {"", "correct horse", ErrUnauthorized}} {
		if err := g.Check(t.Context(), remote, tt.user, tt.pass, "", "view", "door"); !errors.Is(err, tt.want) {
			t.Errorf("%s:%s: %v", tt.user, tt.pass, err)
		}
	}
	// Another site's page gets nothing from what the browser adds by itself.
	c.Foreign = true
	if _, err := g.Authorize(c, View, "door"); !errors.Is(err, ErrOrigin) {
		t.Errorf("foreign: %v", err)
	}
}
