package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// JWT says whose JSON Web Tokens (RFC 7519) are taken: those signed by a key of
// a set, with RS256, ES256 or EdDSA and nothing else. A token has the claims
// sub, exp and camwire, which is a Grant: {"permissions": ["view"],
// "cameras": ["door"]}.
type JWT struct {
	// JWKS is the JSON Web Key Set (RFC 7517): a file, read again when it
	// changes, or an https URL, fetched again from time to time. "" takes no
	// JWTs.
	JWKS string
	// Issuer and Audience have to be in the claims iss and aud; "" asks for
	// neither. Where the issuer serves others too, both are needed.
	Issuer, Audience string
}

const (
	maxJWT     = 8 << 10 // bytes
	maxSubject = 128
	// clockLeeway is how far apart the clocks of issuer and server may be.
	clockLeeway = 30 * time.Second

	// Keys of a URL are fetched again after refreshKeysAfter, and sooner for
	// a key that is not among them, but never again within retryKeysAfter:
	// strangers can ask for such keys. Those that could not be fetched again
	// are used until dropKeysAfter.
	refreshKeysAfter = 15 * time.Minute
	retryKeysAfter   = 30 * time.Second
	dropKeysAfter    = 24 * time.Hour
	fetchTimeout     = 5 * time.Second
)

// newClient returns a client for key sets.
func newClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		// One request every few minutes: a connection kept open is of no use.
		Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" || len(via) >= 3 {
				return errors.New("redirected too often or away from https")
			}
			return nil
		},
	}
}

// keySet checks JWTs. The zero of it, nil, holds no key.
type keySet struct {
	opts   JWT
	remote bool // a URL
	client *http.Client
	log    *slog.Logger
	parser *jwt.Parser
	config string // print of the options

	fetching sync.Mutex // one at a time; taken before mu

	mu      sync.Mutex
	keys    []verifyKey
	info    os.FileInfo
	tried   time.Time // when they were last asked for
	fetched time.Time // when they last came
	failure string    // logged once
}

func newKeySet(o JWT, c *http.Client, log *slog.Logger) (*keySet, error) {
	if o.JWKS == "" {
		if o.Issuer != "" || o.Audience != "" {
			return nil, errors.New("auth: jwt: issuer and audience need jwks: the keys of the issuer")
		}
		return nil, nil
	}
	k := &keySet{opts: o, client: c, log: log, config: printOf(o.JWKS, o.Issuer, o.Audience)}
	if scheme, _, ok := strings.Cut(o.JWKS, "://"); ok {
		u, err := url.Parse(o.JWKS)
		if err != nil || scheme != "https" || u.Host == "" {
			return nil, errors.New("auth: jwt: jwks has to be a file or an https URL: whoever can change the keys on their way can sign in")
		}
		k.remote = true
	}
	opts := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"RS256", "ES256", "EdDSA"}),
		jwt.WithExpirationRequired(), jwt.WithLeeway(clockLeeway),
	}
	if o.Issuer != "" {
		opts = append(opts, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		opts = append(opts, jwt.WithAudience(o.Audience))
	}
	k.parser = jwt.NewParser(opts...)
	return k, nil
}

// looksLikeJWT tells a JWT (header.claims.signature, the header begins with
// {") from the tokens of our own.
func looksLikeJWT(s string) bool {
	return len(s) <= maxJWT && strings.HasPrefix(s, "ey") && strings.Count(s, ".") == 2
}

// claims are those that count here.
type claims struct {
	jwt.RegisteredClaims
	Camwire json.RawMessage `json:"camwire"`
}

// identify finds whose token this is. The error is errNoToken, or wraps
// ErrUnauthorized for one that is signed and yet not valid.
func (k *keySet) identify(ctx context.Context, token string) (Identity, error) {
	var c claims
	unchecked, _, err := k.parser.ParseUnverified(token, &c)
	if err != nil {
		return Identity{}, errNoToken
	}
	if _, critical := unchecked.Header["crit"]; critical {
		// RFC 7515 section 4.1.11: what must be understood is not.
		return Identity{}, errNoToken
	}
	kid, _ := unchecked.Header["kid"].(string)
	for _, key := range k.candidates(ctx, unchecked.Method.Alg(), kid) {
		c = claims{}
		_, err := k.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return key.key, nil })
		switch {
		case err == nil:
			return k.identity(c, key)
		case errors.Is(err, jwt.ErrTokenExpired):
			return Identity{}, &problem{ErrUnauthorized, "the JWT has expired: ask its issuer for a new one"}
		case errors.Is(err, jwt.ErrTokenInvalidClaims):
			k.log.Info("a JWT with a good signature was refused", "error", err)
			return Identity{}, &problem{ErrUnauthorized, "the JWT is not meant for this server: its exp, nbf, iss or aud is missing or does not fit"}
		}
	}
	return Identity{}, errNoToken
}

func (k *keySet) identity(c claims, key verifyKey) (Identity, error) {
	if c.Subject == "" || len(c.Subject) > maxSubject || !utf8.ValidString(c.Subject) {
		return Identity{}, &problem{ErrUnauthorized, "the JWT has no sub, or one that is too long"}
	}
	var g Grant // without the claim: somebody known who may nothing
	if len(c.Camwire) > 0 && string(c.Camwire) != "null" {
		var err error
		if g, err = ParseGrant(c.Camwire); err != nil {
			return Identity{}, &problem{ErrUnauthorized, "the JWT's claim camwire is wrong: " + err.Error()}
		}
	}
	expires := c.ExpiresAt.Time.Add(clockLeeway).UTC()
	if expires.Year() > lastYear {
		return Identity{}, &problem{ErrUnauthorized, "the exp of the JWT is in no year that is near: it counts seconds, not milliseconds"}
	}
	return Identity{
		Name: c.Subject, Kind: ByJWT, Expires: expires, grant: g,
		proof: proof{Kind: ByJWT, Subject: c.Subject, Print: k.print(key), Grant: &g, Expires: expires},
	}, nil
}

// print names a key together with the options: when either goes, what rested
// on it ends.
func (k *keySet) print(key verifyKey) string { return k.config + key.print }

// holds reports whether the key of that print is still in force.
func (k *keySet) holds(print string) bool {
	if k == nil {
		return false
	}
	k.refresh(context.Background(), false)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		if k.print(key) == print {
			return true
		}
	}
	return false
}

// candidates returns the keys that may have signed a token.
func (k *keySet) candidates(ctx context.Context, alg, kid string) []verifyKey {
	k.refresh(ctx, false)
	l := k.match(alg, kid)
	if len(l) == 0 && k.remote {
		k.refresh(ctx, true) // the issuer may have a new key
		l = k.match(alg, kid)
	}
	return l
}

func (k *keySet) match(alg, kid string) []verifyKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	var l []verifyKey
	for _, key := range k.keys {
		// A key without a name may be anybody's.
		if key.alg == alg && (kid == "" || key.id == "" || key.id == kid) {
			l = append(l, key)
		}
	}
	return l
}

// refresh sees to it that the keys are those of the file or URL, as far as they
// can be had. Whoever misses a key waits for the network; the others go on with
// the keys there are. The wait is bounded, and so seldom that nobody can make a
// habit of it.
func (k *keySet) refresh(ctx context.Context, missing bool) {
	if !k.remote {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.note(k.read())
		return
	}
	if missing || k.empty() {
		k.fetching.Lock()
	} else if !k.fetching.TryLock() {
		return
	}
	defer k.fetching.Unlock()
	now := time.Now()
	if !k.due(now, missing) {
		return
	}
	data, err := k.fetch(context.WithoutCancel(ctx))
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		err = k.load(data)
	}
	if err == nil {
		k.fetched = now
	} else if now.Sub(k.fetched) >= dropKeysAfter {
		k.keys = nil
	}
	k.note(err)
}

func (k *keySet) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.keys) == 0
}

// due reports whether the keys are to be fetched now, and notes that they are.
func (k *keySet) due(now time.Time, missing bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := missing || k.fetched.IsZero() || now.Sub(k.fetched) >= refreshKeysAfter
	if !due || !k.tried.IsZero() && now.Sub(k.tried) < retryKeysAfter {
		return false
	}
	k.tried = now
	return true
}

// note logs a failure once. The caller holds mu.
func (k *keySet) note(err error) {
	if err == nil {
		k.failure = ""
		return
	}
	if k.failure != err.Error() {
		k.failure = err.Error()
		k.log.Error("the keys of JWTs (auth.jwt.jwks) cannot be read; those known before stay in force", "keys", len(k.keys), "error", err)
	}
}

func (k *keySet) load(data []byte) error {
	keys, err := parseKeySet(data)
	if err != nil {
		return err
	}
	k.keys = keys
	return nil
}

// read reads the file if it has changed. Without the file there are no keys.
func (k *keySet) read() error {
	info, err := os.Stat(k.opts.JWKS)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			k.keys, k.info = nil, nil
		}
		return err
	}
	if k.info != nil && same(info, k.info) {
		return nil
	}
	if !info.Mode().IsRegular() {
		return errors.New("is no file") // opening a pipe would wait for ever
	}
	f, err := os.Open(k.opts.JWKS)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeySet+1))
	if err == nil && len(data) > maxKeySet {
		err = fmt.Errorf("has more than %d bytes", maxKeySet)
	}
	if err != nil {
		return err
	}
	if err := k.load(data); err != nil {
		return err
	}
	k.info = info
	return nil
}

func (k *keySet) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.opts.JWKS, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", r.URL.Redacted(), resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err == nil && len(data) > maxKeySet {
		err = fmt.Errorf("has more than %d bytes", maxKeySet)
	}
	return data, err
}

// keysInterval is how often refreshKeys looks whether keys are due.
const keysInterval = 10 * time.Second

// refreshKeys fetches keys before somebody has to wait for them, until ctx is
// done.
func (g *Gate) refreshKeys(ctx context.Context) {
	t := time.NewTicker(keysInterval)
	defer t.Stop()
	for {
		if k := g.keys.Load(); k != nil {
			k.refresh(ctx, false)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
