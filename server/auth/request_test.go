package auth

import (
	"errors"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestFromRequest(t *testing.T) {
	r := httptest.NewRequest("GET", "/?token=q", nil)
	r.Header.Set("Authorization", "bearer  b ")
	r.Header.Set("Cookie", CookieName+"=s1; "+CookieName+"=s2; other=x")
	r.RemoteAddr = "[::ffff:192.0.2.1]:99"
	c := FromRequest(r)
	if !slices.Equal(c.Tokens, []string{"b", "q"}) || c.Logins != nil || !slices.Equal(c.Sessions, []string{"s1", "s2"}) {
		t.Errorf("%+v", c)
	}
	if c.Remote != netip.MustParseAddr("192.0.2.1") || c.Foreign {
		t.Errorf("%+v", c)
	}
	r.Header.Del("Authorization")
	r.SetBasicAuth("u", "p")
	if c = FromRequest(r); !slices.Equal(c.Logins, []Login{{"u", "p"}}) || !slices.Equal(c.Tokens, []string{"q"}) {
		t.Errorf("%+v", c)
	}
}

func TestForeign(t *testing.T) {
	for _, tt := range []struct {
		method, origin string
		ws, want       bool
	}{
		{"GET", "http://evil.example", false, false},
		{"POST", "http://evil.example", false, true},
		{"DELETE", "http://cam:8080", false, false},
		{"DELETE", "http://cam", false, true},
		{"POST", "null", false, true},
		{"POST", "", false, false},
		{"GET", "http://evil.example", true, true},
		{"GET", "http://cam:8080", true, false},
		{"GET", "", true, false},
	} {
		r := httptest.NewRequest(tt.method, "http://cam:8080/x", nil)
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		if tt.ws {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "WebSocket")
		}
		if got := FromRequest(r).Foreign; got != tt.want {
			t.Errorf("%+v: foreign %v", tt, got)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, tt := range []struct {
		origin, scheme, host string
		want                 bool
	}{
		{"http://cam", "http", "cam", true},
		{"http://cam:80", "http", "cam", true},
		{"http://cam", "http", "cam:80", true},
		{"https://cam", "https", "cam:443", true},
		{"http://CAM.local:8080", "http", "cam.local:8080", true},
		{"http://cam.local.:8080", "http", "cam.local:8080", true},
		{"http://[::1]:8080", "http", "[0:0:0:0:0:0:0:1]:8080", true},
		{"https://cam", "http", "cam", false},
		{"http://cam:8080", "http", "cam:8081", false},
		{"http://cam.evil", "http", "cam", false},
		{"http://cam@evil", "http", "cam", false},
		{"http://cam/", "http", "cam", false},
		{"ftp://cam", "ftp", "cam", false},
		{"null", "http", "cam", false},
		{"http://", "http", "", false},
		{"", "http", "", false},
	} {
		if got := sameOrigin(tt.origin, tt.scheme, tt.host); got != tt.want {
			t.Errorf("sameOrigin(%q, %q, %q) = %v", tt.origin, tt.scheme, tt.host, got)
		}
	}
}

func TestBehindProxy(t *testing.T) {
	r := httptest.NewRequest("POST", "http://cam.home.arpa/x", nil)
	r.Header.Set("Origin", "https://cam.home.arpa")
	if SameOrigin(r) {
		t.Error("another scheme passed")
	}
	r.Header.Set("X-Forwarded-Proto", "https")
	if !SameOrigin(r) {
		t.Error("a proxy that ends TLS is refused")
	}
}

func TestCheckHost(t *testing.T) {
	g := newGate(t, Policy{Hosts: []string{"Cam.Example.com"}})
	for host, want := range map[string]bool{
		"192.168.1.4":            true,
		"192.168.1.4:8080":       true,
		"[fe80::1]:8080":         true,
		"[::1]":                  true,
		"localhost:8080":         true,
		"cam.localhost":          true,
		"raspberrypi":            true,
		"raspberrypi.local:80":   true,
		"raspberrypi.local.":     true,
		"cam.home.arpa":          true,
		"pi.example.org":         true, // the machine's own
		"PI.example.org:8443":    true,
		"cam.example.com":        true,
		"":                       true,
		"evil.example":           false,
		"local":                  true,
		"evil.example.local.de":  false,
		"192.168.1.4.nip.io":     false,
		"x.pi.example.org":       false,
		"evil.example:80:80":     false,
		"[::1":                   false,
		"a b":                    false,
		"evil.example/.local":    false,
		"evil.example#.local":    false,
		"user@host.local":        false,
		"::1":                    false,
		"cam:808080":             false,
		"cam:http":               false,
		strings.Repeat("a.", 99): false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		err := g.CheckHost(r)
		if (err == nil) != want || err != nil && !errors.Is(err, ErrHost) {
			t.Errorf("host %q: %v", host, err)
		}
	}
}

func TestChallenge(t *testing.T) {
	full := `Bearer, Basic realm="camwire"`
	for _, tt := range []struct {
		headers map[string]string
		want    string
	}{
		{nil, full},
		{map[string]string{"User-Agent": "curl/8"}, full},
		{map[string]string{"User-Agent": "Mozilla/5.0 (some program)"}, full},
		{map[string]string{"Sec-Fetch-Mode": "cors"}, "Bearer"},
		{map[string]string{"X-Requested-With": "XMLHttpRequest"}, "Bearer"},
		{map[string]string{"User-Agent": "Mozilla/5.0", "Accept-Language": "de"}, "Bearer"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		for k, v := range tt.headers {
			r.Header.Set(k, v)
		}
		if got := Challenge(r); got != tt.want {
			t.Errorf("%v: %q", tt.headers, got)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"cam.local:8080", "[::1]:80", "evil.example", "192.168.1.4", "a:b:c", "[", ":80", "x.local."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, ok := splitHost(s)
		if !ok {
			return
		}
		if host == "" || strings.ContainsAny(host, "/@?# ") || len(port) > 5 {
			t.Errorf("splitHost(%q) = %q, %q", s, host, port)
		}
		// What a browser would look up in the public DNS never passes.
		if strings.HasSuffix(host, ".example") && hostAllowed(host, "", nil) {
			t.Errorf("host %q allowed", s)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add("http://cam:8080", "cam:8080")
	f.Add("https://evil.example", "cam")
	f.Add("null", "")
	f.Add("http://[::1]", "[::1]:80")
	f.Fuzz(func(t *testing.T, origin, host string) {
		if !sameOrigin(origin, "http", host) {
			return
		}
		if !strings.HasPrefix(strings.ToLower(origin), "http://") {
			t.Errorf("origin %q passed for http", origin)
		}
		if sameOrigin(origin, "https", host) || sameOrigin(origin, "http", "other.example:81") && !strings.Contains(strings.ToLower(origin), "other.example") {
			t.Errorf("origin %q passes for anything", origin)
		}
	})
}
