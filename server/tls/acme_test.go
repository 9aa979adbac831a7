package tlscert

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/acme"
)

func TestACMEHostPolicy(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	// A directory that only counts: what follows is autocert's own business.
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "closed", http.StatusForbidden)
	}))
	defer ts.Close()
	m := newMachine()
	a, err := NewACME(ACMEOptions{
		Domains: []string{"Cams.Example.org"}, CacheDir: t.TempDir(), DirectoryURL: ts.URL,
		HTTPClient: ts.Client(), Log: slog.New(slog.NewTextHandler(m, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	running(t, a)
	for _, name := range []string{"", "other.example.org", "localhost", "10.0.0.1", "cams.example.org.evil.example"} {
		if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); err == nil {
			t.Errorf("a certificate for %q", name)
		}
	}
	if asked.Load() != 0 || m.logged("no certificate") != 0 {
		t.Errorf("strangers' names: %d requests, %d lines", asked.Load(), m.logged("no certificate"))
	}
	for range 3 {
		if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "cams.example.org"}); err == nil {
			t.Error("a certificate from nowhere")
		}
	}
	if asked.Load() == 0 || m.logged("no certificate") == 0 {
		t.Errorf("own name: %d requests, %d lines", asked.Load(), m.logged("no certificate"))
	}
}

func TestACMEOptions(t *testing.T) {
	t.Parallel()
	for want, domains := range map[string][]string{
		"no domain":                  nil,
		"is an address":              {"cams.example.org", "203.0.113.1"},
		"names with a star":          {"*.example.org"},
		"lab.local is known in this": {"lab.local"},
		"lab is known in this":       {"lab"},
		"is no host name":            {"https://cams.example.org"},
	} {
		if _, err := NewACME(ACMEOptions{Domains: domains, CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", domains, err, want)
		}
	}
	if _, err := NewACME(ACMEOptions{Domains: []string{"cams.example.org"}}); err == nil {
		t.Error("no cache and no error")
	}
	wide := t.TempDir()
	if err := os.Chmod(wide, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{wide, filepath.Join(t.TempDir(), "a", "b")} {
		a, err := NewACME(ACMEOptions{Domains: []string{"cams.example.org"}, CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		wantMode(t, dir, 0o700)
		if c := a.TLSConfig(); !slices.Equal(c.NextProtos, []string{"h2", "http/1.1", acme.ALPNProto}) || c.MinVersion != tls.VersionTLS12 {
			t.Errorf("%v, %x", c.NextProtos, c.MinVersion)
		}
	}
}
