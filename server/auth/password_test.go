package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHashPassword(t *testing.T) {
	a, err := hashPassword("correct horse")
	if err != nil || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", a, err)
	}
	if b, _ := hashPassword("correct horse"); a == b {
		t.Error("two hashes of one password are alike: there is no salt")
	}
	v := newVerifier()
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false, "correct horse ": false} {
		if got, err := v.check(t.Context(), password, a, nobodyBlocked); got != want || err != nil {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", maxPassword+1)} {
		if _, err := hashPassword(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}

func nobodyBlocked() error { return nil }

// A hash of another program is understood, and one that would take all memory
// is not.
func TestParseHash(t *testing.T) {
	// Made by the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	ok, err := newVerifier().check(t.Context(), "password", reference, nobodyBlocked)
	if !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	for _, s := range []string{
		"", "$", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		strings.Replace(reference, "v=19", "v=16", 1), strings.Replace(reference, "m=65536", "m=4294967295", 1),
		strings.Replace(reference, "t=2", "t=0", 1), strings.Replace(reference, "p=1", "p=0", 1),
		strings.Replace(reference, "t=2", "t=02", 1), reference + "=", reference[:60], reference + "$x",
	} {
		if _, err := parseHash(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestRightPasswordsAreRemembered(t *testing.T) {
	cheap(t)
	synctest.Test(t, func(t *testing.T) {
		hash, err := hashPassword("correct horse")
		if err != nil {
			t.Fatal(err)
		}
		v := newVerifier()
		hashed := 0
		count := func() error { hashed++; return nil }
		for range 5 {
			if ok, err := v.check(t.Context(), "correct horse", hash, count); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if hashed != 1 {
			t.Errorf("%d hashes for five questions", hashed)
		}
		other, err := hashPassword("correct horse")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.check(t.Context(), "correct horse", other, count); err != nil || hashed != 2 {
			t.Errorf("%d hashes after a new password, %v", hashed, err)
		}
		time.Sleep(rememberFor)
		if ok, err := v.check(t.Context(), "correct horse", hash, count); !ok || err != nil || hashed != 3 {
			t.Errorf("%v, %v, %d hashes after the time", ok, err, hashed)
		}
		for range 3 {
			if ok, _ := v.check(t.Context(), "wrong horse", hash, count); ok {
				t.Error("a wrong one passes")
			}
		}
		if hashed != 6 {
			t.Errorf("wrong ones are remembered")
		}
		for i := range maxRemembered + 10 {
			v.remember(v.entry(strings.Repeat("x", i), "h"), time.Now())
		}
		if n := len(v.right); n > maxRemembered {
			t.Errorf("%d remembered", n)
		}
	})
}

// An unknown user has to cost as much as a wrong password: both hash once.
func TestUnknownUserCostsAHash(t *testing.T) {
	cheap(t)
	b, err := OpenBook(BookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddUser("bob", "correct horse", Grant{Permissions: []Permission{View}}); err != nil {
		t.Fatal(err)
	}
	v := newVerifier()
	for _, name := range []string{"bob", "eve", ""} {
		hashed := 0
		_, ok, err := b.login(t.Context(), v, name, "wrong horse", func() error { hashed++; return nil })
		if ok || err != nil || hashed != 1 {
			t.Errorf("%q: %v, %v, %d hashes", name, ok, err, hashed)
		}
	}
	// The hash of nobody is never right, whatever it is compared with.
	if ok, _ := v.check(t.Context(), "x", "", nobodyBlocked); ok {
		t.Error("nobody has signed in")
	}
}

// However many ask at once, few hashes are computed at a time, few wait, and a
// burst of one right password is one hash.
func TestHashesAreBounded(t *testing.T) {
	cheap(t)
	synctest.Test(t, func(t *testing.T) {
		hash, err := hashPassword("correct horse")
		if err != nil {
			t.Fatal(err)
		}
		v := newVerifier()
		var mu sync.Mutex
		running, most, busy := 0, 0, 0
		release := make(chan struct{})
		ask := func(ctx context.Context, password string) {
			_, err := v.check(ctx, password, hash, func() error {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				<-release
				mu.Lock()
				running--
				mu.Unlock()
				return nil
			})
			if errors.Is(err, errBusy) {
				mu.Lock()
				busy++
				mu.Unlock()
			}
		}
		var wg sync.WaitGroup
		const all = hashesAtOnce + hashesWaiting + 10
		for range all {
			wg.Go(func() { ask(t.Context(), "correct horse") })
		}
		synctest.Wait()
		if most != hashesAtOnce || busy != 10 {
			t.Errorf("%d at once, %d turned away", most, busy)
		}
		// Somebody who goes away gives up the place.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		<-v.queue
		ask(ctx, "other")
		v.queue <- struct{}{}
		close(release)
		wg.Wait()
		if most != hashesAtOnce {
			t.Errorf("%d at once", most)
		}
	})
}

func FuzzHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAA$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err != nil {
			return
		}
		if h.String() != s || h.memory > maxCost.memory || h.time > maxCost.time || h.threads > maxCost.threads {
			t.Errorf("%q: %+v", s, h.costs)
		}
	})
}
