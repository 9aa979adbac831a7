package auth

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadToken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := ReadToken(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading before the first start: %v", err)
	}
	first, created, err := LoadToken(dir)
	if err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	if b, err := base64.RawURLEncoding.DecodeString(first); err != nil || len(b) != 32 {
		t.Errorf("token %q: %d bytes, %v", first, len(b), err)
	}
	path := filepath.Join(dir, TokenFile)
	mode := func() fs.FileMode {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode().Perm()
	}
	if mode() != 0o600 {
		t.Errorf("mode %o", mode())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	again, created, err := LoadToken(dir)
	if err != nil || created || again != first {
		t.Errorf("second start: %q, created %v, error %v", again, created, err)
	}
	if mode() != 0o600 {
		t.Errorf("mode %o after it was opened to all", mode())
	}
	if l, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(l) != 1 {
		t.Errorf("files left: %v, %v", l, err)
	}
}

func TestShortTokenIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, TokenFile), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadToken(dir); err == nil || !strings.Contains(err.Error(), TokenFile) {
		t.Errorf("error %v, want one that names the file", err)
	}
	if _, err := New(Options{Token: "secret"}); err == nil {
		t.Error("a gate with a short token")
	}
}

func TestLink(t *testing.T) {
	if got := Link("http://cam:8080/", "a-b_"); got != "http://cam:8080/?token=a-b_" {
		t.Error(got)
	}
}
