package tlscert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACMEOptions say for what and from whom certificates come.
type ACMEOptions struct {
	// Domains are the host names to have certificates for, each its own. They
	// must be public names that lead to this machine, without "*". Required.
	Domains []string
	// Email is where the ACME server writes to; default none.
	Email string
	// CacheDir keeps account and certificates, mode 0700; made when missing.
	// Required: servers count how often they are asked.
	CacheDir string
	// DirectoryURL is the ACME server's directory; default Let's Encrypt.
	DirectoryURL string
	// HTTPClient talks to the ACME server; default one with a timeout of 30 s
	// and the system's authorities.
	HTTPClient *http.Client
	// Log gets failures; nil discards them.
	Log *slog.Logger
}

// ACME is the Provider whose certificates come from an ACME server (RFC 8555),
// each with the first handshake that asks for its name, and again before it
// ends. It proves its names inside TLS (tls-alpn-01, RFC 8737): the server
// must reach the listener at port 443 of the name. To use it is to accept the
// terms of the ACME server.
type ACME struct {
	m       *autocert.Manager
	client  *http.Client
	log     *slog.Logger
	domains []string

	mu      sync.Mutex
	trouble once
}

var _ Provider = (*ACME)(nil)

// NewACME prepares; it asks no server yet.
func NewACME(o ACMEOptions) (*ACME, error) {
	a := &ACME{client: o.HTTPClient, log: orDiscard(o.Log)}
	for _, d := range o.Domains {
		name, err := publicName(d)
		if err != nil {
			return nil, err
		}
		a.domains = append(a.domains, name)
	}
	if len(a.domains) == 0 {
		return nil, errors.New("acme: no domain: name at least one under which this machine is known in public")
	}
	if o.CacheDir == "" {
		return nil, errors.New("acme: no folder to keep certificates in")
	}
	if err := os.MkdirAll(o.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	if st, err := os.Stat(o.CacheDir); err == nil && runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(o.CacheDir, 0o700); err != nil {
			return nil, fmt.Errorf("acme: %s holds private keys and is open to others: make it your own with mode 0700: %w", o.CacheDir, err)
		}
	}
	if a.client == nil {
		a.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout:     time.Minute,
		}}
	}
	a.m = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(o.CacheDir),
		HostPolicy: autocert.HostWhitelist(a.domains...),
		Email:      o.Email,
		// Empty means Let's Encrypt here, too.
		Client: &acme.Client{DirectoryURL: o.DirectoryURL, HTTPClient: a.client, UserAgent: "camwire"},
	}
	return a, nil
}

// publicName refuses what no ACME server can prove by tls-alpn-01.
func publicName(s string) (string, error) {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return "", fmt.Errorf("acme: %s is an address: only names can be proved; without acme Camwire's own authority is for addresses too", s)
	}
	name, err := cleanName(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("acme: %w", err)
	case strings.HasPrefix(name, "*"):
		return "", fmt.Errorf("acme: %s: names with a star cannot be proved inside TLS: write each name", s)
	case !strings.Contains(name, ".") || strings.HasSuffix(name, ".local"):
		return "", fmt.Errorf("acme: %s is known in this network only: use a public name, or Camwire's own authority without acme", s)
	}
	return name, nil
}

// GetCertificate answers a handshake. The first one for a name waits until the
// ACME server has answered, up to some minutes; a name that is not among the
// domains, and a client that sends none, gets an error.
func (a *ACME) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := a.m.GetCertificate(hello)
	if err == nil {
		return c, nil
	}
	// Of the names that strangers try, nobody wants to know.
	if name, nerr := cleanName(hello.ServerName); nerr == nil && slices.Contains(a.domains, name) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.trouble.pass(err.Error(), time.Now()) {
			a.log.Error("no certificate from the ACME server", "domain", name, "error", err, "hint", "it must reach this machine at port 443 of that name")
		}
	}
	return nil, err
}

// TLSConfig returns a new server configuration; see Provider. It also answers
// the ACME server's challenges.
func (a *ACME) TLSConfig() *tls.Config { return serverConfig(a.GetCertificate, acme.ALPNProto) }

// Run waits until ctx is done and returns nil. Renewals are made by autocert
// itself, by timers that cannot be stopped: the earliest acts weeks later.
func (a *ACME) Run(ctx context.Context) error {
	<-ctx.Done()
	a.client.CloseIdleConnections()
	return nil
}

// Both is the Provider of a machine that is known in public under some names
// and in its own network under others: the names of the ACME server's get its
// certificates, all others and bare addresses those of Camwire's own authority.
type Both struct {
	ACME *ACME
	Own  *Manager
}

var _ Provider = Both{}

// GetCertificate answers with the certificate that fits the name. Where the
// ACME server has none yet, the own one encrypts at least.
func (b Both) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, err := cleanName(hello.ServerName)
	if err != nil || !slices.Contains(b.ACME.domains, name) {
		return b.Own.GetCertificate(hello)
	}
	c, err := b.ACME.GetCertificate(hello)
	if err == nil || slices.Contains(hello.SupportedProtos, acme.ALPNProto) {
		return c, err
	}
	return b.Own.GetCertificate(hello)
}

// TLSConfig returns a new server configuration; see Provider.
func (b Both) TLSConfig() *tls.Config { return serverConfig(b.GetCertificate, acme.ALPNProto) }

// Run keeps both up to date until ctx is done.
func (b Both) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.ACME.Run(ctx) }) // always nil
	err := b.Own.Run(ctx)
	wg.Wait()
	return err
}
