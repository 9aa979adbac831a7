// Package auth decides who may do what. A Gate takes credentials, a permission
// and a camera and answers with an identity or a typed error; where the
// credentials came from (HTTP, RTSP) is only its edge's business. A Book keeps
// the users and tokens, and a Watch lasts as long as somebody's permission. It
// also holds the rules that keep other people's web pages out: which Origin may
// change something and which Host a request may name.
//
// It knows no route, no camera and no status code: package server maps its
// errors.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Permission is what a route asks for.
type Permission string

// Permissions. Admin implies all others. Public is for what anybody may have:
// the page itself, signing in, health.
const (
	View     Permission = "view"
	Publish  Permission = "publish"
	Control  Permission = "control"
	Playback Permission = "playback"
	Admin    Permission = "admin"
	Public   Permission = "public"
)

// Valid reports whether p is one of the permissions of this package.
func (p Permission) Valid() bool {
	switch p {
	case View, Publish, Control, Playback, Admin, Public:
		return true
	}
	return false
}

// Errors of a Gate. A refusal for too many wrong credentials is a
// *TooManyError.
var (
	// ErrUnauthorized: no credentials, or wrong ones.
	ErrUnauthorized = errors.New("sign in first: with a user's name and password, with the link that the server prints at start (\"camwire token\" shows it again), or with a token as \"Authorization: Bearer\", as password, or as ?token=")
	// ErrForbidden: known, but not allowed.
	ErrForbidden = errors.New("not allowed")
	// ErrOrigin: a change or a WebSocket asked for by another site's page.
	ErrOrigin = errors.New("the request comes from a page of another site: open the page from this server, or send the token as \"Authorization: Bearer\"")
	// ErrHost: the request names a host that this server does not go by.
	ErrHost = errors.New("unknown host name: use the IP address, a .local name, or add the name to the configuration")
)

// TooManyError refuses wrong credentials after too many of them.
type TooManyError struct {
	// RetryAfter is how long until the next attempt is looked at.
	RetryAfter time.Duration
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many wrong passwords or tokens from this address: try again in %d s", e.Seconds())
}

// Seconds is RetryAfter in whole seconds, at least 1, as the Retry-After
// header wants it.
func (e *TooManyError) Seconds() int {
	return max(1, int((e.RetryAfter+time.Second-1)/time.Second))
}

// Credentials are all that one request brought to prove who it is.
type Credentials struct {
	// Tokens were put into the request on purpose: a Bearer header, ?token=.
	Tokens []string
	// Logins are what a browser adds by itself once it knows them: Basic. The
	// password may be a token, whatever the user is.
	Logins []Login
	// Sessions are the values of the session cookies.
	Sessions []string
	// Foreign says that another site's page made a browser ask for a change
	// or a WebSocket: only Tokens count then.
	Foreign bool
	// Remote is the peer's address.
	Remote netip.Addr
}

// Login is a user with a password.
type Login struct{ User, Password string }

// Options of a Gate.
type Options struct {
	// Token is the admin token; see LoadToken.
	Token string
	// Dir is the data directory with users, tokens and sessions; "" keeps
	// none of them across restarts.
	Dir string
	// Policy is what can be changed later by SetPolicy.
	Policy Policy
	// Hostname is the machine's own name; default os.Hostname().
	Hostname string
	// Client fetches the keys of JWTs; default one with short time-outs that
	// follows no redirect away from https.
	Client *http.Client
	// Log gets wrong credentials; default none.
	Log *slog.Logger
}

// Policy is the part of the rules that may change while the gate works.
type Policy struct {
	// Anonymous is what strangers may do.
	Anonymous []Permission
	// Hosts are further host names that this server goes by, without port.
	Hosts []string
	// Origins are those of other pages that may use this server, exactly as
	// browsers write them: "http://mainsail.local", "https://x.example:81".
	Origins []string
	// JWT says whose JSON Web Tokens are taken; the zero value: nobody's.
	JWT JWT
}

// Gate answers Authorize. All methods may be called from any goroutine.
type Gate struct {
	log        *slog.Logger
	client     *http.Client
	token      [sha256.Size]byte
	ownerPrint string
	hostname   string
	policy     atomic.Pointer[Policy]
	keys       atomic.Pointer[keySet] // of JWTs; nil: none are taken

	book     *Book
	sessions *sessions
	verifier *verifier
	watches  watches

	mu       sync.Mutex
	failures limiter
}

// Limits on wrong credentials per address: ten at once, then one every six
// seconds.
const (
	failureBurst    = 10
	failureInterval = 6 * time.Second
	failureEntries  = 4096
)

// New returns a gate.
func New(o Options) (*Gate, error) {
	if err := checkToken(o.Token); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Hostname == "" {
		// Without a name of its own the machine is still reached by address.
		o.Hostname, _ = os.Hostname()
	}
	if o.Client == nil {
		o.Client = newClient()
	}
	g := &Gate{
		log:        o.Log,
		client:     o.Client,
		token:      sha256.Sum256([]byte(o.Token)),
		ownerPrint: printOf(o.Token),
		hostname:   strings.ToLower(o.Hostname),
		verifier:   newVerifier(),
		watches:    watches{all: map[*watch]struct{}{}},
		failures:   limiter{burst: failureBurst, interval: failureInterval, max: failureEntries},
	}
	var err error
	if g.book, err = OpenBook(BookOptions{Dir: o.Dir, Log: o.Log}); err != nil {
		return nil, err
	}
	if g.sessions, err = openSessions(o.Dir, o.Log); err != nil {
		return nil, err
	}
	g.policy.Store(&Policy{})
	g.book.changed = g.recheck
	return g, g.SetPolicy(o.Policy)
}

// Book returns the users and tokens. What is changed there takes effect at once.
func (g *Gate) Book() *Book { return g.book }

// Issue makes a token that ends after ttl (0: never) and returns it, its id,
// and its end. The error wraps ErrInvalid or ErrFull.
func (g *Gate) Issue(name string, grant Grant, ttl time.Duration) (secret, id string, expires time.Time, err error) {
	if ttl < 0 {
		return "", "", time.Time{}, invalid("expires: a token cannot end %v ago", -ttl)
	}
	if ttl > 0 {
		// The end is kept in whole seconds.
		expires = time.Now().Add(ttl + time.Second - 1)
	}
	secret, t, err := g.book.IssueToken(name, grant, expires)
	return secret, t.ID, t.Expires, err
}

// Credentials are those of a request. A page of another site counts by what it
// was given on purpose only: one that is named in the policy by its token or as
// a stranger, any other by its token alone. What a browser adds by itself, the
// cookie and the password it remembers, is its user's and not the page's.
func (g *Gate) Credentials(r *http.Request) Credentials {
	c := FromRequest(r)
	if c.Foreign && g.AllowedOrigin(r.Header.Get("Origin")) {
		c.Foreign, c.Sessions, c.Logins = false, nil, nil
	}
	return c
}

// AllowedOrigin reports whether pages of that origin are named in the policy.
func (g *Gate) AllowedOrigin(origin string) bool {
	return origin != "" && slices.Contains(g.policy.Load().Origins, origin)
}

// SetPolicy replaces the policy for all requests to come.
func (g *Gate) SetPolicy(p Policy) error {
	n := Policy{Anonymous: slices.Clone(p.Anonymous), Origins: slices.Clone(p.Origins), JWT: p.JWT}
	for _, a := range p.Anonymous {
		if !a.Valid() {
			return fmt.Errorf("auth: unknown permission %q: use view, publish, control, playback or admin", a)
		}
	}
	for _, h := range p.Hosts {
		n.Hosts = append(n.Hosts, strings.ToLower(strings.TrimSuffix(h, ".")))
	}
	if p.JWT != g.policy.Load().JWT {
		keys, err := newKeySet(p.JWT, g.client, g.log)
		if err != nil {
			return err
		}
		g.keys.Store(keys)
	}
	g.policy.Store(&n)
	g.recheck()
	return nil
}

// Authorize is AuthorizeContext for callers without a context.
func (g *Gate) Authorize(c Credentials, p Permission, camera string) (Identity, error) {
	return g.AuthorizeContext(context.Background(), c, p, camera)
}

// AuthorizeContext answers whether somebody with these credentials may use a
// permission on a camera ("" where the question is not about one, see
// Grant.May). The error is or wraps ErrUnauthorized, ErrForbidden, ErrOrigin, a
// *TooManyError or that of ctx, which bounds the wait for a password's turn.
//
// Wrong credentials do not take away what strangers may do.
func (g *Gate) AuthorizeContext(ctx context.Context, c Credentials, p Permission, camera string) (Identity, error) {
	if !p.Valid() {
		return Identity{}, fmt.Errorf("%w: no such permission %q", ErrForbidden, p)
	}
	if p == Public && !c.Foreign {
		return g.anonymous(), nil
	}
	id, err := g.identify(ctx, c)
	switch {
	case err != nil && c.Foreign:
		if errors.Is(err, ErrUnauthorized) && len(c.Tokens) == 0 {
			err = ErrOrigin
		}
		return Identity{}, err
	case err != nil:
		if a := g.anonymous(); a.May(p, camera) {
			return a, nil
		}
		return Identity{}, err
	case !c.Foreign:
		id = id.alsoMay(g.anonymous())
	}
	if !id.May(p, camera) {
		return id, forbidden(id, p, camera)
	}
	return id, nil
}

func forbidden(id Identity, p Permission, camera string) error {
	switch {
	case camera == "" && id.grant.holds(p):
		return fmt.Errorf("%w: this needs the permission %s for all cameras", ErrForbidden, p)
	case camera == "":
		return fmt.Errorf("%w: this needs the permission %s", ErrForbidden, p)
	}
	return fmt.Errorf("%w: this needs the permission %s for camera %q", ErrForbidden, p, clip(camera, maxName))
}

// WhoIs finds out whose credentials these are: a stranger's when there are
// none. The error is that of wrong ones.
func (g *Gate) WhoIs(ctx context.Context, c Credentials) (Identity, error) {
	id, err := g.identify(ctx, c)
	switch {
	case err == nil:
		return id.alsoMay(g.anonymous()), nil
	case errors.Is(err, ErrUnauthorized) && len(c.Tokens)+len(c.Logins) == 0:
		return g.anonymous(), nil
	}
	return Identity{}, err
}

// alsoMay adds to an identity what a stranger may: nobody may less.
func (i Identity) alsoMay(o Identity) Identity {
	if len(o.grant.Permissions) > 0 {
		i.grant.Also = append(slices.Clone(i.grant.Also), Grant{Permissions: o.grant.Permissions, Cameras: o.grant.Cameras})
	}
	return i
}

// Check is Authorize for protocols with a user and a password. The password may
// be a token, whatever the user is.
func (g *Gate) Check(ctx context.Context, remote net.Addr, user, pass, token, perm, camera string) error {
	_, err := g.AuthorizeContext(ctx, loginCredentials(remote, user, pass, token), Permission(perm), camera)
	return err
}

func loginCredentials(remote net.Addr, user, pass, token string) Credentials {
	c := Credentials{Remote: addrOf(remote)}
	if token != "" {
		c.Tokens = append(c.Tokens, token)
	}
	if pass != "" {
		c.Logins = append(c.Logins, Login{user, pass})
	}
	return c
}

// identify finds out whose credentials these are. A right token passes even
// while its address has too many failures: it is too long to be guessed, and
// behind one proxy or router a stranger must not lock out the owner. So does a
// password that was right a short time ago.
func (g *Gate) identify(ctx context.Context, c Credentials) (Identity, error) {
	logins := c.Logins
	if c.Foreign {
		logins = nil
	}
	now := time.Now()
	tokens := slices.Clone(c.Tokens)
	for _, l := range logins {
		tokens = append(tokens, l.Password)
	}
	var ended error
	for _, t := range tokens {
		id, err := g.byToken(ctx, t, now)
		if err == nil {
			return id, nil
		}
		// What was right once is no attempt to guess, and its owner is told.
		if !errors.Is(err, errNoToken) && ended == nil {
			ended = err
		}
	}
	if !c.Foreign {
		for _, s := range c.Sessions {
			if id, ok := g.bySession(s, now); ok {
				return id, nil
			}
		}
	}
	for _, l := range logins {
		if l.User == "" {
			continue
		}
		if id, ok, err := g.byPassword(ctx, c.Remote, l); ok || err != nil {
			return id, err
		}
	}
	switch {
	case ended != nil:
		return Identity{}, ended
	case len(tokens) == 0:
		// An expired cookie is no attempt to guess.
		return Identity{}, ErrUnauthorized
	}
	return Identity{}, g.failed(c.Remote)
}

// errNoToken is for what is no token that this gate ever gave out.
var errNoToken = errors.New("no token of this server")

// byToken finds whose a token is: the administrator's, one of the book, or a
// JWT.
func (g *Gate) byToken(ctx context.Context, t string, now time.Time) (Identity, error) {
	if g.isToken(t) {
		return g.owner(), nil
	}
	if r, ok := g.book.token(t); ok {
		if r.expired(now) {
			return Identity{}, &problem{ErrUnauthorized, "the token has expired: ask for a new one"}
		}
		g.book.use(r.ID, now)
		return tokenIdentity(r), nil
	}
	if keys := g.keys.Load(); keys != nil && looksLikeJWT(t) {
		return keys.identify(ctx, t)
	}
	return Identity{}, errNoToken
}

// bySession finds whose a session cookie is.
func (g *Gate) bySession(cookie string, now time.Time) (Identity, bool) {
	p, ok := g.sessions.find(cookie, now)
	if !ok {
		return Identity{}, false
	}
	id, ok := g.resolve(p, now)
	if !ok {
		if p.Kind != ByJWT { // its keys may be out of reach for a while
			g.sessions.forget(p.session)
		}
		return Identity{}, false
	}
	g.sessions.touch(p.session, now, false)
	return id, true
}

// byPassword finds a user by name and password.
func (g *Gate) byPassword(ctx context.Context, remote netip.Addr, l Login) (Identity, bool, error) {
	u, ok, err := g.book.login(ctx, g.verifier, l.User, l.Password, func() error { return g.blocked(remote) })
	if errors.Is(err, errBusy) {
		return Identity{}, false, &TooManyError{RetryAfter: time.Second}
	}
	if !ok || err != nil {
		return Identity{}, false, err
	}
	return userIdentity(u), true, nil
}

// blocked refuses an address that has sent too many wrong credentials, before a
// password of its is looked at: that one can be guessed.
func (g *Gate) blocked(remote netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait := g.failures.wait(time.Now(), remote); wait > 0 {
		return &TooManyError{RetryAfter: wait}
	}
	return nil
}

// failed counts wrong credentials and says how to refuse them.
func (g *Gate) failed(remote netip.Addr) error {
	g.mu.Lock()
	wait := g.failures.fail(time.Now(), remote)
	g.mu.Unlock()
	if wait > 0 {
		return &TooManyError{RetryAfter: wait}
	}
	g.log.Warn("wrong password or token", "remote", remote.String())
	return fmt.Errorf("wrong password or token: %w", ErrUnauthorized)
}

func (g *Gate) isToken(t string) bool {
	// Comparing hashes keeps the length of the token out of the timing too.
	h := sha256.Sum256([]byte(t))
	return subtle.ConstantTimeCompare(h[:], g.token[:]) == 1
}

func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	return parseRemote(a.String())
}

// parseRemote reads "address:port"; the zero address stands for all peers that
// have none, so that they share one limit.
func parseRemote(s string) netip.Addr {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
