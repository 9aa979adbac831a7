// Package auth decides who may do what. A Gate takes credentials, a permission
// and a camera and answers with an identity or a typed error; where the
// credentials came from (HTTP, RTSP) is only its edge's business. It also
// holds the rules that keep other people's web pages out: which Origin may
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
	ErrUnauthorized = errors.New("sign in first: open the link with the admin token that the server prints at start (or that \"camwire token\" shows), or send the token as \"Authorization: Bearer\", as password, or as ?token=")
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

// Identity is somebody the gate knows, or a stranger with the permissions that
// strangers have.
type Identity struct {
	// Name is for logs: "admin", "anonymous".
	Name string

	perms []Permission
}

// May reports whether the identity has a permission for a camera; an empty
// camera asks whether it has it for any.
func (i Identity) May(p Permission, _ string) bool {
	return p == Public || slices.Contains(i.perms, p) || slices.Contains(i.perms, Admin)
}

// Credentials are all that one request brought to prove who it is.
type Credentials struct {
	// Tokens were put into the request on purpose: a Bearer header, ?token=.
	Tokens []string
	// Passwords are what a browser adds by itself once it knows them: Basic.
	Passwords []string
	// Sessions are the values of the session cookies.
	Sessions []string
	// Foreign says that another site's page made a browser ask for a change
	// or a WebSocket: only Tokens count then.
	Foreign bool
	// Remote is the peer's address.
	Remote netip.Addr
}

// Options of a Gate.
type Options struct {
	// Token is the admin token; see LoadToken.
	Token string
	// Policy is what can be changed later by SetPolicy.
	Policy Policy
	// Hostname is the machine's own name; default os.Hostname().
	Hostname string
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
}

// Gate answers Authorize. All methods may be called from any goroutine.
type Gate struct {
	log      *slog.Logger
	token    [sha256.Size]byte
	sessions sessionKey
	hostname string
	policy   atomic.Pointer[Policy]

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
	g := &Gate{
		log:      o.Log,
		token:    sha256.Sum256([]byte(o.Token)),
		sessions: newSessionKey(o.Token),
		hostname: strings.ToLower(o.Hostname),
		failures: limiter{burst: failureBurst, interval: failureInterval, max: failureEntries},
	}
	return g, g.SetPolicy(o.Policy)
}

// AllowedOrigin reports whether pages of that origin are named in the policy.
func (g *Gate) AllowedOrigin(origin string) bool {
	return origin != "" && slices.Contains(g.policy.Load().Origins, origin)
}

// SetPolicy replaces the policy for all requests to come.
func (g *Gate) SetPolicy(p Policy) error {
	n := Policy{Anonymous: slices.Clone(p.Anonymous), Origins: slices.Clone(p.Origins)}
	for _, a := range p.Anonymous {
		if !a.Valid() {
			return fmt.Errorf("auth: unknown permission %q: use view, publish, control, playback or admin", a)
		}
	}
	for _, h := range p.Hosts {
		n.Hosts = append(n.Hosts, strings.ToLower(strings.TrimSuffix(h, ".")))
	}
	g.policy.Store(&n)
	return nil
}

// Authorize answers whether somebody with these credentials may use a
// permission on a camera ("" where the question is not about one). The error
// is or wraps ErrUnauthorized, ErrForbidden, ErrOrigin or a *TooManyError.
//
// Wrong credentials do not take away what strangers may do.
func (g *Gate) Authorize(c Credentials, p Permission, camera string) (Identity, error) {
	if !p.Valid() {
		return Identity{}, fmt.Errorf("%w: no such permission %q", ErrForbidden, p)
	}
	if p == Public && !c.Foreign {
		return g.anonymous(), nil
	}
	id, err := g.identify(c)
	if err == nil {
		if id.May(p, camera) {
			return id, nil
		}
		return id, fmt.Errorf("%w: this needs the permission %s", ErrForbidden, p)
	}
	if c.Foreign {
		if errors.Is(err, ErrUnauthorized) && len(c.Tokens) == 0 {
			err = ErrOrigin
		}
		return Identity{}, err
	}
	if id = g.anonymous(); id.May(p, camera) {
		return id, nil
	}
	return Identity{}, err
}

// Check is Authorize for protocols with a user and a password. The user does
// not matter as long as there are only tokens.
func (g *Gate) Check(_ context.Context, remote net.Addr, _, pass, token, perm, camera string) error {
	c := Credentials{Remote: addrOf(remote)}
	if token != "" {
		c.Tokens = append(c.Tokens, token)
	}
	if pass != "" {
		c.Passwords = append(c.Passwords, pass)
	}
	_, err := g.Authorize(c, Permission(perm), camera)
	return err
}

// SignIn checks a token that somebody typed or followed a link with.
func (g *Gate) SignIn(remote netip.Addr, token string) error {
	_, err := g.identify(Credentials{Tokens: []string{token}, Remote: remote})
	return err
}

func (g *Gate) anonymous() Identity {
	return Identity{Name: "anonymous", perms: g.policy.Load().Anonymous}
}

// identify finds out whose credentials these are. A right token passes even
// while its address has too many failures: it is too long to be guessed, and
// behind one proxy or router a stranger must not lock out the owner.
func (g *Gate) identify(c Credentials) (Identity, error) {
	admin := Identity{Name: "admin", perms: []Permission{Admin}}
	given := c.Tokens
	if !c.Foreign {
		given = slices.Concat(c.Tokens, c.Passwords)
		for _, s := range c.Sessions {
			if g.sessions.valid(s, time.Now()) {
				return admin, nil
			}
		}
	}
	for _, t := range given {
		if g.isToken(t) {
			return admin, nil
		}
	}
	if len(given) == 0 {
		// An expired cookie is no attempt to guess.
		return Identity{}, ErrUnauthorized
	}
	return Identity{}, g.failed(c.Remote)
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
