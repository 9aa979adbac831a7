package connect

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"camwire/server"
	"camwire/server/auth"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

type fakeCA struct{}

func (fakeCA) DER() []byte          { return []byte("der") }
func (fakeCA) PEM() []byte          { return []byte("pem") }
func (fakeCA) MobileConfig() []byte { return []byte("profile") }
func (fakeCA) Fingerprint() string  { return "AB:CD" }

// issued is what a token was asked for.
type issued struct {
	name    string
	perms   []auth.Permission
	cameras []string
	ttl     time.Duration
}

type lab struct {
	*testing.T
	reach Reach
	ca    CA
	err   error
	asked []issued
	srv   *server.Server
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, ca: fakeCA{}, reach: Reach{
		Hosts: []string{"192.168.1.5", "lab.local"}, HTTPS: "[::]:8443", HTTP: "[::]:8080",
	}}
	gate, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Hosts: []string{"cam.example.org"}}})
	if err != nil {
		t.Fatal(err)
	}
	if l.srv, err = server.New(server.Options{Gate: gate}); err != nil {
		t.Fatal(err)
	}
	h := New(Options{
		Reach: func() Reach { return l.reach },
		CA:    func() CA { return l.ca },
		Issue: func(name string, perms []auth.Permission, cameras []string, ttl time.Duration) (string, time.Time, error) {
			l.asked = append(l.asked, issued{name, perms, cameras, ttl})
			return "cw_a+b", time.Unix(1_800_000_000, 0), l.err
		},
	})
	if err := l.srv.Register(h.Routes()); err != nil {
		t.Fatal(err)
	}
	return l
}

// do asks as the administrator, unless the header "Anonymous" is given.
func (l *lab) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	l.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if r.Header.Get("Anonymous") != "" {
		r.Header.Del("Authorization")
	}
	w := httptest.NewRecorder()
	l.srv.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%d: %v", w.Code, err)
	}
	return v
}

func TestAuthority(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct{ path, contentType, name, body string }{
		{"/api/ca.crt", "application/x-x509-ca-cert", "camwire-ca.crt", "der"},
		{"/api/ca.crt?format=der", "application/x-x509-ca-cert", "camwire-ca.crt", "der"},
		{"/api/ca.crt?format=pem", "application/x-pem-file", "camwire-ca.pem", "pem"},
		{"/api/ca.mobileconfig", "application/x-apple-aspen-config", "camwire.mobileconfig", "profile"},
	} {
		w := l.do("GET", "http://192.168.1.5:8080"+tt.path, "", "Anonymous", "1")
		if w.Code != 200 || w.Header().Get("Content-Type") != tt.contentType || w.Body.String() != tt.body ||
			!strings.Contains(w.Header().Get("Content-Disposition"), tt.name) {
			t.Errorf("%s: %d %v %q", tt.path, w.Code, w.Header(), w.Body)
		}
	}
	if w := l.do("GET", "http://192.168.1.5:8080/api/ca.crt?format=p12", ""); w.Code != 400 {
		t.Errorf("unknown format: %d", w.Code)
	}
	l.ca = nil
	for _, p := range []string{"/api/ca.crt", "/api/ca.mobileconfig"} {
		w := l.do("GET", "http://192.168.1.5:8080"+p, "")
		if w.Code != 404 || !strings.Contains(w.Body.String(), "no certificate authority of its own") {
			t.Errorf("%s without an authority: %d %s", p, w.Code, w.Body)
		}
	}
}

type caJSON struct {
	Fingerprint  string `json:"fingerprint"`
	CRT          string `json:"crt"`
	MobileConfig string `json:"mobileconfig"`
}

type describeJSON struct {
	HTTPS bool     `json:"https"`
	URLs  []string `json:"urls"`
	CA    *caJSON  `json:"ca"`
}

func TestDescribe(t *testing.T) {
	l := newLab(t)
	if w := l.do("GET", "http://192.168.1.5:8080/api/connect", "", "Anonymous", "1"); w.Code != 401 {
		t.Errorf("a stranger: %d", w.Code)
	}
	got := decode[describeJSON](t, l.do("GET", "http://localhost:8080/api/connect", ""))
	if !got.HTTPS || !slices.Equal(got.URLs, []string{"https://192.168.1.5:8443", "https://lab.local:8443"}) ||
		got.CA == nil || *got.CA != (caJSON{"AB:CD", "/api/ca.crt", "/api/ca.mobileconfig"}) {
		t.Errorf("%+v", got)
	}
	l.reach.HTTPS, l.ca = "", nil
	w := l.do("GET", "http://192.168.1.5:8080/api/connect", "")
	if s := w.Body.String(); s != `{"ca":null,"https":false,"urls":[]}` {
		t.Errorf("without HTTPS: %s", s)
	}
}

func TestSecure(t *testing.T) {
	l := newLab(t)
	type answer struct {
		URL *string `json:"url"`
		CA  *caJSON `json:"ca"`
	}
	got := decode[answer](t, l.do("GET", "http://lab.local:8080/api/connect/secure", "", "Anonymous", "1"))
	if got.URL == nil || *got.URL != "https://lab.local:8443" || got.CA == nil {
		t.Errorf("%+v", got)
	}
	l.reach.HTTPS = ""
	if got := decode[answer](t, l.do("GET", "http://lab.local:8080/api/connect/secure", "")); got.URL != nil {
		t.Errorf("without HTTPS: %q", *got.URL)
	}
}

type linkJSON struct {
	URL, Scan, Token, QR string
	URLs                 []string
	Expires              time.Time
}

func TestLink(t *testing.T) {
	l := newLab(t)
	w := l.do("POST", "http://localhost:8080/api/connect", "")
	if w.Code != 201 || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := decode[linkJSON](t, w)
	if got.URL != "https://192.168.1.5:8443/m?token=cw_a%2Bb" || got.Scan != "http://192.168.1.5:8080/m#token=cw_a%2Bb" ||
		got.Token != "cw_a+b" || got.Expires.Unix() != 1_800_000_000 || !strings.HasPrefix(got.QR, "<svg ") || len(got.URLs) != 2 {
		t.Errorf("%+v", got)
	}
	if u, err := url.Parse(got.URL); err != nil || u.Query().Get("token") != "cw_a+b" {
		t.Errorf("%v %v", u, err)
	}
	a := l.asked[0]
	if a.name != "phone" || !slices.Equal(a.perms, []auth.Permission{auth.Publish}) || !slices.Equal(a.cameras, []string{"mobile_*"}) || a.ttl != time.Hour {
		t.Errorf("asked for %+v", a)
	}
	l.do("POST", "http://localhost:8080/api/connect", `{"camera": "kitchen", "minutes": 5}`)
	a = l.asked[1]
	if a.name != "phone kitchen" || !slices.Equal(a.cameras, []string{"kitchen"}) || a.ttl != 5*time.Minute {
		t.Errorf("asked for %+v", a)
	}
}

func TestLinkWithoutOwnAuthority(t *testing.T) {
	l := newLab(t)
	l.ca = nil
	got := decode[linkJSON](t, l.do("POST", "http://cam.example.org:8080/api/connect", ""))
	if got.URL != "https://cam.example.org:8443/m?token=cw_a%2Bb" || got.Scan != got.URL {
		t.Errorf("%+v", got)
	}
}

func TestLinkBehindProxy(t *testing.T) {
	l := newLab(t)
	got := decode[linkJSON](t, l.do("POST", "http://cam.example.org/api/connect", "", "X-Forwarded-Proto", "https"))
	if got.URL != "https://cam.example.org/m?token=cw_a%2Bb" || got.Scan != got.URL {
		t.Errorf("%+v", got)
	}
}

func TestLinkRefused(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		body   string
		status int
		words  string
	}{
		{`{"minutes": 0}`, 400, "1 to 1440"},
		{`{"minutes": 1441}`, 400, "1 to 1440"},
		{`{"camera": "mobile_*"}`, 400, "letters, digits"},
		{`{"camera": "../x"}`, 400, "letters, digits"},
		{`{"cam": "x"}`, 400, "cam"},
		{`{} {}`, 400, "follows"},
		{`nonsense`, 400, "JSON"},
		{`{"camera": "` + strings.Repeat("x", 5000) + `"}`, 413, "larger"},
	} {
		w := l.do("POST", "http://192.168.1.5:8080/api/connect", tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.words) {
			t.Errorf("%.40s: %d %s", tt.body, w.Code, w.Body)
		}
	}
	if w := l.do("POST", "http://192.168.1.5:8080/api/connect", "", "Anonymous", "1"); w.Code != 401 {
		t.Errorf("a stranger: %d", w.Code)
	}
	if len(l.asked) != 0 {
		t.Errorf("tokens were made: %+v", l.asked)
	}
	l.err = errors.New("disk full")
	if w := l.do("POST", "http://192.168.1.5:8080/api/connect", ""); w.Code != 500 || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("no token: %d %s", w.Code, w.Body)
	}
	l.reach.HTTPS = ""
	if w := l.do("POST", "http://192.168.1.5:8080/api/connect", ""); w.Code != 409 || !strings.Contains(w.Body.String(), "https.address") {
		t.Errorf("without HTTPS: %d %s", w.Code, w.Body)
	}
}

func TestBases(t *testing.T) {
	hosts := []string{"192.168.1.5", "fd00::5", "lab.local"}
	for _, tt := range []struct {
		name, target string
		reach        Reach
		secure       bool
		want         string
	}{
		{"the host of the request first", "http://lab.local:8080/", Reach{hosts, ":8443", ":8080"}, true,
			"https://lab.local:8443 https://192.168.1.5:8443 https://[fd00::5]:8443"},
		{"the usual ports are left out", "http://localhost/", Reach{hosts, "0.0.0.0:443", ":80"}, true,
			"https://192.168.1.5 https://[fd00::5] https://lab.local"},
		{"plain", "http://localhost:8080/", Reach{hosts, ":8443", "[::]:8080"}, false,
			"http://192.168.1.5:8080 http://[fd00::5]:8080 http://lab.local:8080"},
		{"bound to one address", "http://192.168.1.5:8080/", Reach{hosts, "10.0.0.9:8443", ":8080"}, true, "https://10.0.0.9:8443"},
		{"bound to one address that has a name", "http://lab.local:8080/", Reach{hosts, "10.0.0.9:8443", ":8080"}, true,
			"https://lab.local:8443 https://10.0.0.9:8443"},
		{"bound to this machine alone", "http://127.0.0.1:8080/", Reach{hosts, "127.0.0.1:8443", "127.0.0.1:8080"}, true, "https://127.0.0.1:8443"},
		{"nothing listens", "http://lab.local:8080/", Reach{hosts, "", ":8080"}, true, ""},
		{"nothing plain listens", "https://lab.local:8443/", Reach{hosts, ":8443", ""}, false, ""},
		{"a forwarded port", "https://cam.example.org:4443/", Reach{hosts, ":8443", ""}, true,
			"https://cam.example.org:4443 https://cam.example.org:8443 https://192.168.1.5:8443 https://[fd00::5]:8443 https://lab.local:8443"},
		{"an IPv6 address", "http://[fd00::5]:8080/", Reach{nil, ":8443", ":8080"}, true, "https://[fd00::5]:8443"},
	} {
		r := httptest.NewRequest(http.MethodGet, tt.target, nil)
		if got := strings.Join(bases(r, tt.reach, tt.secure), " "); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestHosts(t *testing.T) {
	var ips []net.IP
	for _, s := range []string{"127.0.0.1", "::1", "172.17.0.1", "10.0.0.7", "192.168.1.5", "fd00::5", "2001:db8::5", "fe80::1", "169.254.3.4", "203.0.113.9"} {
		ips = append(ips, net.ParseIP(s))
	}
	leaf := &x509.Certificate{IPAddresses: ips, DNSNames: []string{"localhost", "lab", "lab.local", "cam.example.org", "*.example.org"}}
	got := strings.Join(Hosts(leaf, netip.Addr{}, true), " ")
	if want := "192.168.1.5 10.0.0.7 203.0.113.9 172.17.0.1 lab.local cam.example.org fd00::5 2001:db8::5 169.254.3.4 lab"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := Hosts(leaf, netip.MustParseAddr("172.17.0.1"), true)[0]; got != "172.17.0.1" {
		t.Errorf("the main address is not first, but %s", got)
	}
	if got := Hosts(leaf, netip.Addr{}, false)[:3]; !slices.Equal(got, []string{"lab.local", "cam.example.org", "lab"}) {
		t.Errorf("a certificate from elsewhere: %v", got)
	}
	if got := Hosts(nil, netip.Addr{}, true); got != nil {
		t.Errorf("no certificate: %v", got)
	}
}

func TestOnlyAdminsAndAuthorityArePublic(t *testing.T) {
	public := []string{"/api/ca.crt", "/api/ca.mobileconfig", "/api/connect/secure"}
	for _, r := range New(Options{}).Routes() {
		want := auth.Admin
		if slices.Contains(public, r.Path) {
			want = auth.Public
		}
		if r.Perm != want {
			t.Errorf("%s %s: %s", r.Method, r.Path, r.Perm)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{"", "{}", `{"camera":"a","minutes":60}`, `{"minutes":1e9}`, `[`, `{"minutes":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var q request
		if err := q.read(strings.NewReader(s)); err != nil {
			if status, _ := server.StatusOf(err); status != 400 {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if q.Minutes != nil && (*q.Minutes < 1 || *q.Minutes > MaxMinutes) || q.Camera != "" && !validID.MatchString(q.Camera) {
			t.Errorf("%q was taken", s)
		}
	})
}
