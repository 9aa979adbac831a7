package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func pages(t *testing.T) *Handler {
	t.Helper()
	h, err := New(Options{
		Files: fstest.MapFS{
			"index.html":            {Data: []byte("<html>")},
			"index.html.gz":         {Data: []byte("gz-html")},
			"favicon.svg":           {Data: []byte("<svg/>")},
			"assets/app-1a2b.js":    {Data: []byte("plain-js")},
			"assets/app-1a2b.js.br": {Data: []byte("br-js")},
			"assets/app-1a2b.js.gz": {Data: []byte("gz-js")},
			"data.tar.gz":           {Data: []byte("archive")},
			".gitkeep":              {},
		},
		FollowLink: func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("token") {
				w.WriteHeader(http.StatusSeeOther)
				return true
			}
			return false
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	h := pages(t)
	html := []string{"Accept", "text/html,*/*;q=0.8"}
	for _, tt := range []struct {
		path   string
		header []string
		status int
		body   string
		kind   string
	}{
		{"/", nil, 200, "<html>", "text/html; charset=utf-8"},
		{"/index.html", nil, 200, "<html>", "text/html; charset=utf-8"},
		{"/camera/door", html, 200, "<html>", "text/html; charset=utf-8"},
		{"/a/../camera", html, 200, "<html>", "text/html; charset=utf-8"},
		{"/camera/door", nil, 404, "", ""},
		{"/assets/old-ffff.js", []string{"Accept", "*/*"}, 404, "", ""},
		{"/favicon.svg", nil, 200, "<svg/>", "image/svg+xml"},
		{"/assets/app-1a2b.js", nil, 200, "plain-js", "text/javascript; charset=utf-8"},
		{"/assets/app-1a2b.js.br", nil, 404, "", ""},
		{"/data.tar.gz", nil, 200, "archive", ""},
		{"/.gitkeep", nil, 404, "", ""},
		{"/?token=x", nil, 303, "", ""},
		{"/camera/door?token=x", html, 303, "", ""},
		{"/assets/app-1a2b.js?token=x", nil, 200, "plain-js", ""},
	} {
		w := get(h, "GET", tt.path, tt.header...)
		if w.Code != tt.status || tt.status == 200 && w.Body.String() != tt.body {
			t.Errorf("%s: %d %q", tt.path, w.Code, w.Body)
		}
		if tt.kind != "" && w.Header().Get("Content-Type") != tt.kind {
			t.Errorf("%s: %q", tt.path, w.Header().Get("Content-Type"))
		}
		if w.Code != 200 {
			continue
		}
		want := "no-cache"
		if strings.HasPrefix(tt.path, "/assets/") {
			want = "public, max-age=31536000, immutable"
		}
		if got := w.Header().Get("Cache-Control"); got != want {
			t.Errorf("%s: Cache-Control %q", tt.path, got)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: header %v", tt.path, w.Header())
		}
	}
	policy := get(h, "GET", "/").Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'self'", "frame-ancestors 'self'", "connect-src 'self' ws: wss:"} {
		if !strings.Contains(policy, want) {
			t.Errorf("CSP %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "script-src") || strings.Contains(policy, "unsafe-eval") {
		t.Errorf("CSP %q", policy)
	}
}

// A page without encryption looks whether the secure one is trusted.
func TestPolicyByEncryption(t *testing.T) {
	h := pages(t)
	for target, want := range map[string]string{
		"http://cam/":  "connect-src 'self' ws: wss: https:",
		"https://cam/": "connect-src 'self' ws: wss:",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasSuffix(policy, want) {
			t.Errorf("%s: CSP %q", target, policy)
		}
	}
}

func TestEncodings(t *testing.T) {
	h := pages(t)
	for _, tt := range []struct{ path, accept, encoding, body string }{
		{"/assets/app-1a2b.js", "gzip, deflate, br, zstd", "br", "br-js"},
		{"/assets/app-1a2b.js", "gzip", "gzip", "gz-js"},
		{"/assets/app-1a2b.js", "br;q=0, gzip;q=0.5", "gzip", "gz-js"},
		{"/assets/app-1a2b.js", "*", "br", "br-js"},
		{"/assets/app-1a2b.js", "identity", "", "plain-js"},
		{"/assets/app-1a2b.js", "", "", "plain-js"},
		{"/", "br, gzip", "gzip", "gz-html"},
	} {
		w := get(h, "GET", tt.path, "Accept-Encoding", tt.accept)
		if w.Header().Get("Content-Encoding") != tt.encoding || w.Body.String() != tt.body {
			t.Errorf("%s for %q: %q %q", tt.path, tt.accept, w.Header().Get("Content-Encoding"), w.Body)
		}
		if w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Vary %q", w.Header().Get("Vary"))
		}
		tag := w.Header().Get("ETag")
		again := get(h, "GET", tt.path, "Accept-Encoding", tt.accept, "If-None-Match", tag)
		if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("%s again: %d", tt.path, again.Code)
		}
		// Another form is another thing.
		if other := get(h, "GET", tt.path, "Accept-Encoding", "identity", "If-None-Match", tag); (other.Code == 304) != (tt.encoding == "") {
			t.Errorf("%s: the plain form has the tag of %q", tt.path, tt.encoding)
		}
	}
}

func TestOverASocket(t *testing.T) {
	s := httptest.NewServer(pages(t))
	defer s.Close()
	for _, method := range []string{"GET", "HEAD"} {
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/assets/app-1a2b.js", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "br")
		r.Header.Set("Range", "bytes=1-2")
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || resp.ContentLength != 5 || method == "GET" && string(b) != "br-js" {
			t.Errorf("%s: %s, %d bytes, %q, %v", method, resp.Status, resp.ContentLength, b, err)
		}
	}
}

func TestNoIndex(t *testing.T) {
	if _, err := New(Options{Files: fstest.MapFS{"a.js": {}}}); err == nil || !strings.Contains(err.Error(), index) {
		t.Error(err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no files and no error")
	}
}

func FuzzServe(f *testing.F) {
	f.Add("/", "br", "text/html")
	f.Add("/assets/../index.html", "gzip;q=0", "*/*")
	f.Add("/..%2f", "*;q=,br", "")
	h, err := New(Options{Files: fstest.MapFS{"index.html": {Data: []byte("x")}, "index.html.br": {Data: []byte("y")}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, encoding, accept string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = path
		r.Header["Accept-Encoding"], r.Header["Accept"] = []string{encoding}, []string{accept}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 404 {
			t.Errorf("%d", w.Code)
		}
		if w.Header().Get("Content-Encoding") == "br" && !strings.Contains(encoding, "*") && !strings.Contains(strings.ToLower(encoding), "br") {
			t.Errorf("br for %q", encoding)
		}
	})
}
