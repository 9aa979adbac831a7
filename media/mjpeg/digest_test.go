package mjpeg

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
)

func TestParseChallenges(t *testing.T) {
	type p = map[string]string
	for in, want := range map[string][]challenge{
		`Basic realm="cam"`: {{"basic", p{"realm": "cam"}}},
		`Digest realm="a, \"b\"", NONCE="x==", qop="auth,auth-int", stale=TRUE, Basic realm=x`: {
			{"digest", p{"realm": `a, "b"`, "nonce": "x==", "qop": "auth,auth-int", "stale": "TRUE"}}, {"basic", p{"realm": "x"}}},
		`Digest nonce = "1" ,realm= "y"`: {{"digest", p{"nonce": "1", "realm": "y"}}},
		`Negotiate`:                      {{"negotiate", p{}}},
		`Negotiate YWJj==, Basic`:        {{"negotiate", p{}}, {"ywjj", p{}}, {"basic", p{}}},
		`Digest realm="open`:             {{"digest", p{"realm": "open"}}},
		``:                               nil,
		`, ,`:                            nil,
	} {
		got := parseChallenges([]string{in})
		if strings.HasPrefix(in, "Negotiate Y") {
			// What a token68 becomes does not matter, what follows it does.
			if len(got) == 0 || got[0].scheme != "negotiate" {
				t.Errorf("%q: %v", in, got)
			}
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// TestVectors are the examples of RFC 7616 section 3.9.1 and RFC 2069 section
// 2.4 (as corrected by its erratum).
func TestVectors(t *testing.T) {
	const nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
	for name, c := range map[string]struct {
		params                      string
		uri, user, password, cnonce string
		want                        string
	}{
		"MD5": {`realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="` + nonce + `", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"/dir/index.html", "Mufasa", "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "8ca523f5e9506fed4657c9700eebdbec"},
		"SHA-256": {`realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="` + nonce + `", opaque="x"`,
			"/dir/index.html", "Mufasa", "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		"RFC 2069": {`realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"`,
			"/dir/index.html", "Mufasa", "CircleOfLife", "", "1949323746fe6a43ef61f9606e7febea"},
	} {
		cs := parseChallenges([]string{"Digest " + c.params})
		d, _ := newDigest(cs[0])
		if d == nil {
			t.Fatalf("%s: not answerable", name)
		}
		d.cnonce = c.cnonce
		if got := d.authorize("GET", c.uri, c.user, c.password); !strings.Contains(got, `response="`+c.want+`"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// guard is a camera that checks digests with a second pair of eyes: its own
// computation from the header's fields.
type guard struct {
	challenges []string
	asked      atomic.Int32
	stale      atomic.Bool // the next answer is refused as stale
	counts     []string
}

func (g *guard) ask(w http.ResponseWriter, stale bool) {
	g.asked.Add(1)
	for _, c := range g.challenges {
		if stale {
			c += ", stale=true"
		}
		w.Header().Add("WWW-Authenticate", c)
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func (g *guard) check(w http.ResponseWriter, r *http.Request) bool {
	h := r.Header.Get("Authorization")
	user, password, basic := r.BasicAuth()
	switch {
	case h == "":
		g.ask(w, false)
		return false
	case basic:
		if user != "admin" || password != "hunter2" {
			g.ask(w, false)
			return false
		}
		return true
	case g.stale.Swap(false):
		g.ask(w, true)
		return false
	}
	cs := parseChallenges([]string{h})
	p := cs[0].params
	d, _ := newDigest(challenge{"digest", map[string]string{"realm": p["realm"], "nonce": p["nonce"], "algorithm": p["algorithm"]}})
	a1 := d.sum("admin:" + p["realm"] + ":hunter2")
	if d.session {
		a1 = d.sum(a1 + ":" + p["nonce"] + ":" + p["cnonce"])
	}
	a2 := d.sum("GET:" + r.URL.RequestURI())
	want := d.sum(a1 + ":" + p["nonce"] + ":" + a2)
	if p["qop"] != "" {
		want = d.sum(strings.Join([]string{a1, p["nonce"], p["nc"], p["cnonce"], p["qop"], a2}, ":"))
		g.counts = append(g.counts, p["nc"])
	}
	if p["response"] != want || p["uri"] != r.URL.RequestURI() || p["username"] == "" {
		g.ask(w, false)
		return false
	}
	return true
}

func TestAuthentication(t *testing.T) {
	a := picture(t, 1)
	for name, c := range map[string]struct {
		challenges []string
		user       string
		stale      bool
		says       string // of the error
		asked      int32
	}{
		"basic":               {challenges: []string{`Basic realm="cam"`}, user: "admin:hunter2", asked: 1},
		"basic, encoded":      {challenges: []string{`Basic realm="cam"`}, user: "admin:h%75nter2", asked: 1},
		"digest":              {challenges: []string{`Digest realm="cam", nonce="n", qop="auth", opaque="o"`}, user: "admin:hunter2", asked: 1},
		"digest without qop":  {challenges: []string{`Digest realm="cam", nonce="n"`}, user: "admin:hunter2", asked: 1},
		"digest session":      {challenges: []string{`Digest realm="cam", nonce="n", qop="auth", algorithm=MD5-sess`}, user: "admin:hunter2", asked: 1},
		"digest SHA-256":      {challenges: []string{`Digest realm="c", nonce="n", qop="auth", algorithm=SHA-256`}, user: "admin:hunter2", asked: 1},
		"digest SHA-512-256":  {challenges: []string{`Digest realm="c", nonce="n", qop="auth", algorithm=SHA-512-256`}, user: "admin:hunter2", asked: 1},
		"several":             {challenges: []string{`Basic realm="c"`, `Digest realm="c", nonce="n", algorithm=MD5`, `Digest realm="c", nonce="n", qop="auth", algorithm=SHA-256`}, user: "admin:hunter2", asked: 1},
		"stale":               {challenges: []string{`Digest realm="cam", nonce="n", qop="auth"`}, user: "admin:hunter2", stale: true, asked: 2},
		"wrong password":      {challenges: []string{`Digest realm="cam", nonce="n", qop="auth"`}, user: "admin:s3cret", says: "check user and password", asked: 2},
		"wrong basic":         {challenges: []string{`Basic realm="cam"`}, user: "admin:s3cret", says: "check user and password", asked: 2},
		"no password":         {challenges: []string{`Basic realm="cam"`}, says: "wants user and password", asked: 1},
		"nothing we can":      {challenges: []string{`Negotiate`, `Digest nonce="n", qop="auth-int"`, `Digest nonce="n", algorithm=X`}, user: "admin:hunter2", says: "401", asked: 1},
		"asks without asking": {user: "admin:hunter2", says: "401", asked: 1},
		"realm with a quote":  {challenges: []string{`Digest realm="my \"cam\"", nonce="n", qop="auth"`}, user: "admin:hunter2", asked: 1},
		"user without pass":   {challenges: []string{`Basic realm="cam"`}, user: "admin", says: "check user and password", asked: 2},
	} {
		t.Run(name, func(t *testing.T) {
			g := &guard{challenges: c.challenges}
			g.stale.Store(c.stale)
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if g.check(w, r) {
					w.Header().Set("Content-Type", "image/jpeg")
					_, _ = w.Write(a)
				}
			}) + "/private?a=b&c=d"
			if c.user != "" {
				url = with(url, c.user)
			}
			k, _, err := pull(t, Options{URL: url, FPS: 60}, 3)
			if c.says != "" {
				wantError(t, err, ErrUnauthorized, c.says)
			} else if err != nil || len(k.frames) != 3 {
				t.Errorf("%d frames, %v", len(k.frames), err)
			}
			if g.asked.Load() != c.asked {
				t.Errorf("asked %d times, want %d", g.asked.Load(), c.asked)
			}
			for i, nc := range g.counts {
				if nc != fmt.Sprintf("%08x", i+1) {
					t.Errorf("nonce counts %v", g.counts)
					break
				}
			}
		})
	}
}

// TestRedirects proves that only the origin that was configured sees the
// password.
func TestRedirects(t *testing.T) {
	a := picture(t, 1)
	var elsewhereSaw atomic.Value
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		elsewhereSaw.Store(r.Header.Get("Authorization"))
		if r.URL.Path == "/closed" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
			return
		}
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(a)
	})
	url := with(serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
			return
		}
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/there":
			http.Redirect(w, r, strings.Replace(elsewhere, "://", "://a:b@", 1)+"/end", http.StatusTemporaryRedirect)
		case "/closed":
			http.Redirect(w, r, elsewhere+"/closed", http.StatusSeeOther)
		case "/file":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(301)
		case "/nowhere":
			w.WriteHeader(301)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusMovedPermanently)
		case "/end":
			w.Header().Set("Content-Type", "image/jpeg")
			_, _ = w.Write(a)
		}
	}), "admin:hunter2")
	for path, c := range map[string]struct {
		reason error
		says   string
	}{
		"/here": {}, "/there": {},
		"/closed":  {ErrUnauthorized, "write that address"},
		"/file":    {ErrRedirect, "no HTTP address"},
		"/nowhere": {ErrRedirect, "no HTTP address"},
		"/round":   {ErrRedirect, "in circles"},
	} {
		elsewhereSaw.Store("")
		_, _, err := pull(t, Options{URL: url + path}, 1)
		if c.reason != nil {
			wantError(t, err, c.reason, c.says)
		} else if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if s := elsewhereSaw.Load(); s != "" {
			t.Errorf("%s: the other host was told %q", path, s)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Digest realm="a, \"b\"", nonce="x==", qop="auth,auth-int", stale=TRUE, Basic realm=x`)
	f.Add(`Negotiate YWJj==, Basic`)
	f.Add(`Digest nonce = "1" ,realm= "y", algorithm=MD5-sess`)
	f.Fuzz(func(t *testing.T, h string) {
		var c credentials
		c.user, c.password, c.given = "admin", "hunter2", true
		ok, _ := c.learn([]string{h})
		req, err := http.NewRequest("GET", "http://127.0.0.1/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		c.authorize(req)
		got := req.Header.Get("Authorization")
		if ok != (got != "") {
			t.Fatalf("answerable %v, answer %q", ok, got)
		}
		if strings.Contains(got, "hunter2") {
			t.Fatalf("%q tells the password", got)
		}
	})
}
