package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var viewer = Grant{Permissions: []Permission{View}}

func openBook(t *testing.T, dir string) *Book {
	t.Helper()
	b, err := OpenBook(BookOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBookUsers(t *testing.T) {
	cheap(t)
	for _, dir := range []string{"", t.TempDir()} {
		b := openBook(t, dir)
		if _, err := b.AddUser("Bob", "correct horse", Grant{Permissions: []Permission{View}, Cameras: []string{"door"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddUser("bob", "battery staple", viewer); !errors.Is(err, ErrExists) {
			t.Errorf("the same name in small letters: %v", err)
		}
		for _, bad := range []struct {
			name, password string
			grant          Grant
		}{
			{"", "correct horse", viewer}, {"a:b", "correct horse", viewer}, {"a b", "correct horse", viewer},
			{"anonymous", "correct horse", viewer}, {strings.Repeat("x", 65), "correct horse", viewer},
			{"eve", "short", viewer}, {"eve", "correct horse", Grant{}},
		} {
			if _, err := b.AddUser(bad.name, bad.password, bad.grant); !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		if _, err := b.AddUser("al", "correct horse", viewer); err != nil {
			t.Fatal(err)
		}
		if l := b.Users(); len(l) != 2 || l[0].Name != "al" || l[1].Name != "Bob" || l[1].Cameras[0] != "door" {
			t.Errorf("users %+v", l)
		}
		hash := b.current().users["bob"].Hash
		u, err := b.ChangeUser("BOB", UserChange{Grant: func(g Grant) Grant { g.Cameras = append(g.Cameras, "hall"); return g }})
		if err != nil || fmt.Sprint(u.Cameras) != "[door hall]" || b.current().users["bob"].Hash != hash {
			t.Errorf("changed %+v, %v", u, err)
		}
		password := "battery staple"
		if _, err := b.ChangeUser("bob", UserChange{Password: &password}); err != nil || b.current().users["bob"].Hash == hash {
			t.Errorf("password: %v", err)
		}
		if _, err := b.ChangeUser("bob", UserChange{Grant: func(Grant) Grant { return Grant{} }}); !errors.Is(err, ErrInvalid) {
			t.Errorf("no permission: %v", err)
		}
		if _, err := b.ChangeUser("eve", UserChange{}); !errors.Is(err, ErrUnknown) {
			t.Errorf("unknown: %v", err)
		}
		if err := b.RemoveUser("bOb"); err != nil {
			t.Error(err)
		}
		if err := b.RemoveUser("bob"); !errors.Is(err, ErrUnknown) {
			t.Errorf("removed twice: %v", err)
		}
		if dir == "" {
			continue
		}
		if l := openBook(t, dir).Users(); len(l) != 1 || l[0].Name != "al" {
			t.Errorf("after a restart: %+v", l)
		}
	}
}

func TestBookTokens(t *testing.T) {
	dir := t.TempDir()
	b := openBook(t, dir)
	secret, tok, err := b.IssueToken("script", viewer, time.Time{})
	if err != nil || !strings.HasPrefix(secret, TokenPrefix) || len(secret) != len(TokenPrefix)+43 {
		t.Fatalf("%q, %v", secret, err)
	}
	other, _, err := b.IssueToken("script", viewer, time.Time{})
	if err != nil || other == secret {
		t.Fatalf("%q, %v", other, err)
	}
	for _, bad := range []string{"", " ", "a\nb", strings.Repeat("x", 65), "\xff"} {
		if _, _, err := b.IssueToken(bad, viewer, time.Time{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("name %q: %v", bad, err)
		}
	}
	if _, _, err := b.IssueToken("late", viewer, time.Now().Add(-time.Hour)); !errors.Is(err, ErrInvalid) {
		t.Errorf("expired from the start: %v", err)
	}
	if r, ok := b.token(secret); !ok || r.ID != tok.ID {
		t.Error("the token is not found")
	}
	for _, s := range []string{"", TokenPrefix, secret[:len(secret)-1], secret + "x", strings.TrimPrefix(secret, TokenPrefix), strings.ToUpper(secret)} {
		if _, ok := b.token(s); ok {
			t.Errorf("%q is taken for it", s)
		}
	}
	b.use(tok.ID, time.Now())
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, AccountsFile))
	if err != nil || strings.Contains(string(data), strings.TrimPrefix(secret, TokenPrefix)) {
		t.Errorf("the file holds the secret, or cannot be read: %v", err)
	}
	again := openBook(t, dir)
	if l := again.Tokens(); len(l) != 2 || l[0].Used.IsZero() == l[1].Used.IsZero() {
		t.Errorf("after a restart: %+v", l)
	}
	for _, name := range []string{AccountsFile, lockFile} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	// What one process changes, the other one sees at its next look.
	if err := again.RevokeToken(tok.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.token(secret); ok {
		t.Error("revoked by another process, and still taken")
	}
	if err := b.RevokeToken(tok.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked twice: %v", err)
	}
	if err := b.RevokeToken(""); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked nothing: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, AccountsFile)); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.token(other); ok {
		t.Error("the file is gone, and its token still taken")
	}
}

func TestExpiredTokensAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBook(t, "")
		if _, _, err := b.IssueToken("short", viewer, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, _, err := b.IssueToken("next", viewer, time.Time{}); err != nil || len(b.Tokens()) != 2 {
			t.Errorf("%d tokens, %v", len(b.Tokens()), err)
		}
		time.Sleep(keepExpired)
		if _, _, err := b.IssueToken("third", viewer, time.Time{}); err != nil || len(b.Tokens()) != 2 {
			t.Errorf("%d tokens, %v", len(b.Tokens()), err)
		}
	})
}

// Processes that change the same file at the same time lose nothing of each
// other's.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	books := []*Book{openBook(t, dir), openBook(t, dir), openBook(t, dir)}
	const each = 10
	var wg sync.WaitGroup
	for i, b := range books {
		wg.Go(func() {
			for j := range each {
				if _, _, err := b.IssueToken(fmt.Sprintf("%d-%d", i, j), viewer, time.Time{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i, b := range books {
		if n := len(b.Tokens()); n != len(books)*each {
			t.Errorf("book %d has %d tokens", i, n)
		}
	}
}

// Entries that this version cannot read let nobody in, and survive a change.
func TestStrangeEntriesStay(t *testing.T) {
	dir := t.TempDir()
	strange := []any{
		map[string]any{"user": map[string]any{"name": "eve", "permissions": []string{"admin"}, "hash": "$argon2id$x"}},
		map[string]any{"token": map[string]any{"id": "1", "name": "n", "permissions": []string{"fly"}, "hash": strings.Repeat("00", 32)}},
		map[string]any{"token": map[string]any{"id": "2", "name": "n", "permissions": []string{"view"}, "hash": "00"}},
		map[string]any{},
	}
	data, err := json.Marshal(map[string]any{"version": 1, "entries": strange})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, AccountsFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	b := openBook(t, dir)
	if len(b.Users())+len(b.Tokens()) != 0 {
		t.Errorf("%+v %+v", b.Users(), b.Tokens())
	}
	if _, _, err := b.IssueToken("good", viewer, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n := len(openBook(t, dir).current().records); n != len(strange)+1 {
		t.Errorf("%d entries", n)
	}
}

// A broken file locks out whoever is in it, not the program.
func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	b := openBook(t, dir)
	secret, _, err := b.IssueToken("x", viewer, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, AccountsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.token(secret); ok {
		t.Error("a token of a broken file is taken")
	}
	if l, err := filepath.Glob(filepath.Join(dir, AccountsFile+".broken-*")); err != nil || len(l) != 1 {
		t.Errorf("put aside: %v, %v", l, err)
	}
	if _, _, err := b.IssueToken("y", viewer, time.Time{}); err != nil {
		t.Error(err)
	}
}

func FuzzToken(f *testing.F) {
	b, err := OpenBook(BookOptions{})
	if err != nil {
		f.Fatal(err)
	}
	secret, _, err := b.IssueToken("x", viewer, time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(secret[:len(secret)-1])
	f.Add(TokenPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		if _, ok := b.token(s); ok && s != secret {
			t.Errorf("%q is a token", s)
		}
	})
}
