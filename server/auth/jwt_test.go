package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer signs JWTs and publishes its keys.
type issuer struct {
	method jwt.SigningMethod
	key    crypto.Signer
	kid    string
}

func (i issuer) jwk() map[string]string {
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]string{"kid": i.kid, "use": "sig", "alg": i.method.Alg()}
	switch k := i.key.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		m["kty"], m["crv"], m["x"], m["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	return m
}

func (i issuer) sign(t *testing.T, c jwt.MapClaims) string {
	t.Helper()
	tok := jwt.NewWithClaims(i.method, c)
	if i.kid != "" {
		tok.Header["kid"] = i.kid
	}
	s, err := tok.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keySetOf(t testing.TB, keys ...map[string]string) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var issuers = sync.OnceValues(func() ([]issuer, error) {
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, d, err3 := ed25519.GenerateKey(rand.Reader)
	return []issuer{{jwt.SigningMethodRS256, r, "r"}, {jwt.SigningMethodES256, e, "e"}, {jwt.SigningMethodEdDSA, d, "d"}}, errors.Join(err1, err2, err3)
})

func allIssuers(t testing.TB) []issuer {
	t.Helper()
	l, err := issuers()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func writeKeys(t *testing.T, path string, keys ...map[string]string) {
	t.Helper()
	// As editors do it: a new file in the place of the old one.
	tmp := path + ".new"
	if err := os.WriteFile(tmp, keySetOf(t, keys...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

func claimsFor(cameras ...string) jwt.MapClaims {
	return jwt.MapClaims{
		"sub": "robot", "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://issuer", "aud": []string{"camwire", "x"},
		"camwire": map[string]any{"permissions": []string{"view"}, "cameras": cameras},
	}
}

func without(c jwt.MapClaims, key string) jwt.MapClaims { delete(c, key); return c }

func and(c jwt.MapClaims, key string, v any) jwt.MapClaims { c[key] = v; return c }

func TestJWT(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	all := allIssuers(t)
	writeKeys(t, path, all[0].jwk(), all[1].jwk(), all[2].jwk())
	g := newGate(t, Policy{JWT: JWT{JWKS: path, Issuer: "https://issuer", Audience: "camwire"}})
	now := time.Now()
	for _, i := range all {
		good := i.sign(t, claimsFor("door"))
		for name, c := range map[string]Credentials{
			"bearer": {Tokens: []string{good}}, "password": {Logins: []Login{{"anybody", good}}},
			"session": {Sessions: []string{signIn(t, g, good).Value}},
		} {
			id, err := g.Authorize(c, View, "door")
			if err != nil || id.Name != "robot" || id.Kind != ByJWT || id.Expires.IsZero() {
				t.Errorf("%s as %s: %+v, %v", i.kid, name, id, err)
			}
			if _, err := g.Authorize(c, View, "hall"); !errors.Is(err, ErrForbidden) {
				t.Errorf("%s as %s: another camera: %v", i.kid, name, err)
			}
		}
		for name, c := range map[string]jwt.MapClaims{
			"no exp":         without(claimsFor(), "exp"),
			"expired":        and(claimsFor(), "exp", now.Add(-time.Minute).Unix()),
			"milliseconds":   and(claimsFor(), "exp", now.Add(time.Hour).UnixMilli()),
			"not yet":        and(claimsFor(), "nbf", now.Add(time.Hour).Unix()),
			"no sub":         without(claimsFor(), "sub"),
			"long sub":       and(claimsFor(), "sub", strings.Repeat("x", maxSubject+1)),
			"issuer":         and(claimsFor(), "iss", "https://evil"),
			"no issuer":      without(claimsFor(), "iss"),
			"audience":       and(claimsFor(), "aud", "other"),
			"no audience":    without(claimsFor(), "aud"),
			"claim":          and(claimsFor(), "camwire", "admin"),
			"no permissions": and(claimsFor(), "camwire", map[string]any{"cameras": []string{"door"}}),
			"misspelt":       and(claimsFor(), "camwire", map[string]any{"permissions": []string{"view"}, "camera": []string{"door"}}),
		} {
			// However often: who holds a signed token does not guess.
			for range failureBurst + 1 {
				if _, err := g.Authorize(Credentials{Tokens: []string{i.sign(t, c)}}, View, "door"); !errors.Is(err, ErrUnauthorized) {
					t.Fatalf("%s, %s: %v", i.kid, name, err)
				}
			}
		}
		if _, err := g.Authorize(Credentials{Tokens: []string{i.sign(t, without(claimsFor(), "camwire"))}}, View, "door"); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s without the claim: %v", i.kid, err)
		}
	}
}

// What nobody with a key in the set has signed is worth nothing.
func TestForgedJWT(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	all := allIssuers(t)
	symmetric := map[string]string{"kty": "oct", "kid": "h", "k": base64.RawURLEncoding.EncodeToString([]byte("secret")), "alg": "HS256"}
	writeKeys(t, path, all[0].jwk(), all[1].jwk(), symmetric)
	public, err := json.Marshal(all[0].jwk())
	if err != nil {
		t.Fatal(err)
	}
	hmac := func(kid string, key []byte) string {
		tok := jwt.NewWithClaims(jwt.SigningMethodHS256, claimsFor())
		tok.Header["kid"] = kid
		s, err := tok.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claimsFor()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	good := all[0].sign(t, claimsFor())
	parts := strings.Split(good, ".")
	other := strings.Split(all[0].sign(t, and(claimsFor(), "sub", "admin")), ".")
	critical := jwt.NewWithClaims(jwt.SigningMethodRS256, claimsFor())
	critical.Header["kid"], critical.Header["crit"] = "r", []string{"b64"}
	crit, err := critical.SignedString(all[0].key)
	if err != nil {
		t.Fatal(err)
	}
	ps256, err := jwt.NewWithClaims(jwt.SigningMethodPS256, claimsFor()).SignedString(all[0].key)
	if err != nil {
		t.Fatal(err)
	}
	stranger := allIssuers(t)[2]
	stranger.kid = "r"
	for name, tok := range map[string]string{
		"symmetric":              hmac("h", []byte("secret")),
		"public key as secret":   hmac("r", public),
		"n as secret":            hmac("r", []byte(all[0].jwk()["n"])),
		"none":                   none,
		"none, with a signature": none + "AAAA",
		"key not in the set":     all[2].sign(t, claimsFor()),
		"borrowed kid":           stranger.sign(t, claimsFor()),
		"another's signature":    parts[0] + "." + other[1] + "." + parts[2],
		"no signature":           parts[0] + "." + parts[1] + ".",
		"PS256":                  ps256,
		"crit":                   crit,
		"cut":                    good[:len(good)-2],
		"too long":               "ey" + strings.Repeat("A", maxJWT) + ".A.A",
		"garbage":                "ey.ey.ey",
	} {
		g := newGate(t, Policy{JWT: JWT{JWKS: path}})
		if id, err := g.Authorize(Credentials{Tokens: []string{tok}}, View, "door"); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if n := len(g.failures.until); n != 1 {
			t.Errorf("%s: not counted as a guess", name)
		}
	}
	// Without a set nobody's JWT is taken.
	if _, err := newGate(t, Policy{}).Authorize(Credentials{Tokens: []string{good}}, View, "door"); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("without keys: %v", err)
	}
}

func TestJWTKeysChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		all := allIssuers(t)
		g := newGate(t, Policy{JWT: JWT{JWKS: path}})
		defer run(t, g)()
		by := func(i issuer) error {
			_, err := g.Authorize(Credentials{Tokens: []string{i.sign(t, claimsFor())}}, View, "door")
			return err
		}
		if err := by(all[0]); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("without the file: %v", err)
		}
		writeKeys(t, path, all[0].jwk())
		if err := by(all[0]); err != nil {
			t.Fatal(err)
		}
		good := all[0].sign(t, claimsFor())
		ctx, done, err := g.Admit(t.Context(), nil, "", "", good, "view", "door")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		session := signIn(t, g, good).Value
		// A set that cannot be read leaves those before in force.
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := by(all[0]); err != nil {
			t.Errorf("with a broken file: %v", err)
		}
		writeKeys(t, path, all[1].jwk())
		if err := by(all[0]); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("a key that is gone: %v", err)
		}
		if err := by(all[1]); err != nil {
			t.Errorf("a new key: %v", err)
		}
		time.Sleep(2 * watchInterval)
		if !errors.Is(context.Cause(ctx), ErrEnded) {
			t.Error("what rested on a key that is gone goes on")
		}
		if _, err := g.Authorize(Credentials{Sessions: []string{session}}, View, "door"); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("its session: %v", err)
		}
	})
}

func TestJWTEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		i := allIssuers(t)[1]
		writeKeys(t, path, i.jwk())
		g := newGate(t, Policy{JWT: JWT{JWKS: path}})
		defer run(t, g)()
		session := signIn(t, g, i.sign(t, claimsFor()))
		if session.MaxAge > int((time.Hour+clockLeeway)/time.Second) {
			t.Errorf("a cookie of %d s", session.MaxAge)
		}
		id, err := g.Authorize(Credentials{Sessions: []string{session.Value}}, View, "door")
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := g.Watch(t.Context(), id, View, "door")
		defer done()
		time.Sleep(time.Hour + clockLeeway + 2*watchInterval)
		if !errors.Is(context.Cause(ctx), ErrEnded) {
			t.Error("it goes on after exp")
		}
	})
}

func TestJWKSByURL(t *testing.T) {
	all := allIssuers(t)
	var keys atomic.Pointer[[]byte]
	var fetches atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetches.Add(1)
		if b := keys.Load(); b != nil {
			_, _ = w.Write(*b)
			return
		}
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	client := srv.Client()
	client.Transport.(*http.Transport).DisableKeepAlives = true
	g, err := New(Options{Token: testToken, Client: client, Policy: Policy{JWT: JWT{JWKS: srv.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	by := func(i issuer) error {
		_, err := g.Authorize(Credentials{Tokens: []string{i.sign(t, claimsFor())}}, View, "door")
		return err
	}
	set := g.keys.Load()
	// later lets the time pass after which keys may be fetched again.
	later := func() {
		set.mu.Lock()
		defer set.mu.Unlock()
		set.tried = set.tried.Add(-retryKeysAfter)
	}
	for range 3 {
		if err := by(all[0]); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("without keys: %v", err)
		}
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("asked %d times in a row", n)
	}
	first := keySetOf(t, all[0].jwk())
	keys.Store(&first)
	later()
	if err := by(all[0]); err != nil {
		t.Fatal(err)
	}
	if err := by(all[0]); err != nil || fetches.Load() != 2 {
		t.Errorf("%v, asked %d times", err, fetches.Load())
	}
	// A new key is fetched when its first token comes, but not with each that
	// names a key which does not exist.
	second := keySetOf(t, all[0].jwk(), all[1].jwk())
	keys.Store(&second)
	later()
	if err := by(all[1]); err != nil || fetches.Load() != 3 {
		t.Errorf("a new key: %v, asked %d times", err, fetches.Load())
	}
	for range 5 {
		if err := by(all[2]); err == nil {
			t.Error("an unknown key")
		}
	}
	if n := fetches.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
	// While the keys cannot be fetched, those known stay, for a day.
	keys.Store(nil)
	later()
	if err := by(all[2]); err == nil || by(all[0]) != nil || fetches.Load() != 4 {
		t.Errorf("%v, asked %d times", err, fetches.Load())
	}
	later()
	set.mu.Lock()
	set.fetched = set.fetched.Add(-dropKeysAfter)
	set.mu.Unlock()
	if err := by(all[0]); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("after a day: %v", err)
	}
}

func TestJWTOptions(t *testing.T) {
	for _, bad := range []JWT{{JWKS: "http://issuer/keys"}, {JWKS: "ftp://issuer/keys"}, {JWKS: "https://"}, {Issuer: "x"}, {Audience: "x"}} {
		if _, err := New(Options{Token: testToken, Policy: Policy{JWT: bad}}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	c := newClient()
	for target, want := range map[string]bool{"https://b/": true, "http://b/": false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckRedirect(r, []*http.Request{r}); (err == nil) != want {
			t.Errorf("redirect to %s: %v", target, err)
		}
	}
}

func TestKeySet(t *testing.T) {
	all := allIssuers(t)
	good := all[0].jwk()
	change := func(k map[string]string, key, value string) map[string]string {
		n := map[string]string{}
		for a, b := range k {
			n[a] = b
		}
		n[key] = value
		return n
	}
	for name, k := range map[string]map[string]string{
		"encryption":  change(good, "use", "enc"),
		"another alg": change(good, "alg", "RS512"),
		"no n":        change(good, "n", ""),
		"short":       change(good, "n", good["n"][:64]),
		"even":        change(good, "e", "Ag"),
		"one":         change(good, "e", "AQ"),
		"huge e":      change(good, "e", "AQAAAAAAAAE"),
		"off curve":   change(all[1].jwk(), "y", all[1].jwk()["x"]),
		"P-521":       change(all[1].jwk(), "crv", "P-521"),
		"Ed448":       change(all[2].jwk(), "crv", "Ed448"),
		"short x":     change(all[2].jwk(), "x", "AAAA"),
		"symmetric":   {"kty": "oct", "k": "AAAA"},
	} {
		if keys, err := parseKeySet(keySetOf(t, k)); err == nil {
			t.Errorf("%s: taken as %+v", name, keys)
		}
		if keys, err := parseKeySet(keySetOf(t, k, good)); err != nil || len(keys) != 1 {
			t.Errorf("%s: spoils the good one: %v", name, err)
		}
	}
}

func FuzzKeySet(f *testing.F) {
	for _, i := range allIssuers(f) {
		f.Add(keySetOf(f, i.jwk()))
	}
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseKeySet(data)
		if err != nil {
			return
		}
		for _, k := range keys {
			switch k.key.(type) {
			case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
			default:
				t.Errorf("a key of type %T", k.key)
			}
		}
	})
}

func FuzzJWT(f *testing.F) {
	all := allIssuers(f)
	set, err := newKeySet(JWT{JWKS: "unused"}, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	if err := set.load(keySetOf(f, all[1].jwk())); err != nil {
		f.Fatal(err)
	}
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.")
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6ImUifQ.eyJzdWIiOiJ4IiwiZXhwIjo5OTk5OTk5OTk5fQ.AAAA")
	f.Fuzz(func(t *testing.T, tok string) {
		if !looksLikeJWT(tok) {
			return
		}
		var c claims
		if _, _, err := set.parser.ParseUnverified(tok, &c); err != nil {
			return
		}
		for _, k := range set.keys {
			if _, err := set.parser.ParseWithClaims(tok, &c, func(*jwt.Token) (any, error) { return k.key, nil }); err == nil {
				t.Errorf("%q is signed", tok)
			}
		}
	})
}
