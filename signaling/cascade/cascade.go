// Package cascade plays a camera of another Camwire, or of any other server
// that speaks WHEP (draft-ietf-wish-whep), as a source of this one.
package cascade

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"camwire/media"
	"camwire/media/pin"
	"camwire/signaling/peer"
)

const (
	sdpType = "application/sdp"
	// exchangeTimeout bounds one HTTP request.
	exchangeTimeout = 10 * time.Second
	goodbyeTimeout  = time.Second
)

// Errors of a source. What Run returns wraps one of them, or is of package
// peer.
var (
	ErrURL     = errors.New("not a usable WHEP address")
	ErrReach   = errors.New("the other server cannot be reached")
	ErrRefused = errors.New("the other server refuses")
)

// Options of a source.
type Options struct {
	// URL is where offers are posted: https://host:8443/whep/door. User and
	// password in it are sent by Basic; ?token= is sent as it is.
	URL string
	// Fingerprint is the SHA-256 of the other server's certificate or of the
	// authority that signed it; empty: the system must trust it.
	Fingerprint string
	// Server is whose sockets are used; nil: WebRTC is switched off.
	Server *peer.Server
	// Dial opens connections for HTTP; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// source is a peer.Pull that knows where its answers come from.
type source struct {
	*peer.Pull
	url  *url.URL
	http *http.Client
	log  *slog.Logger
}

var (
	_ media.Source       = (*source)(nil)
	_ media.KeyRequester = (*source)(nil)
)

// New returns a source. The error wraps ErrURL.
func New(o Options) (media.Source, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf(`%w: write for example "whep:https://host:8443/whep/door"`, ErrURL)
	}
	if o.Server == nil {
		return nil, fmt.Errorf("%w: WebRTC is switched off here (webrtc.address)", ErrURL)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	conf, err := pin.Config(o.Fingerprint)
	if err != nil {
		return nil, fmt.Errorf("%w: fingerprint: %w", ErrURL, err)
	}
	s := &source{url: u, log: o.Log, http: &http.Client{
		Timeout:       exchangeTimeout,
		CheckRedirect: stay,
		Transport:     &http.Transport{DialContext: o.Dial, TLSClientConfig: conf, DisableKeepAlives: true},
	}}
	s.Pull = &peer.Pull{Server: o.Server, URL: u, Exchange: s.exchange}
	return s, nil
}

// stay follows redirects within the server that was named, and no others: they
// would get the password or the token.
func stay(req *http.Request, via []*http.Request) error {
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) > 5 {
		return fmt.Errorf("%w: it sends to %s: write that address", ErrRefused, req.URL.Host)
	}
	return nil
}

// exchange posts the offer and returns the answer.
func (s *source) exchange(ctx context.Context, offer string) (string, func(), error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), strings.NewReader(offer))
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	req.Header.Set("Content-Type", sdpType)
	res, err := s.http.Do(req)
	if err != nil {
		return "", nil, s.explain(err)
	}
	defer res.Body.Close()
	end := s.goodbye(res)
	body, err := io.ReadAll(io.LimitReader(res.Body, peer.MaxOffer+1))
	if err != nil {
		end()
		return "", nil, s.explain(err)
	}
	typ, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK:
		return "", nil, s.refused(res.StatusCode)
	case typ != sdpType:
		end()
		return "", nil, fmt.Errorf("%w: %s answers with %q and not with %s: is the path that of WHEP?", ErrRefused, s.url.Host, typ, sdpType)
	case len(body) > peer.MaxOffer:
		end()
		return "", nil, fmt.Errorf("%w: %s sends an answer of more than %d bytes", ErrRefused, s.url.Host, peer.MaxOffer)
	}
	return string(body), end, nil
}

// goodbye returns what ends the session on the other side. Without it, it
// would last until its WebRTC connection is found dead.
func (s *source) goodbye(res *http.Response) func() {
	loc, err := res.Location()
	if err != nil || loc.Scheme != s.url.Scheme || loc.Host != s.url.Host {
		return func() {} // the secrets are for the server that was named
	}
	if loc.RawQuery == "" {
		loc.RawQuery = s.url.RawQuery // the token
	}
	if loc.User == nil {
		loc.User = s.url.User
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, loc.String(), nil)
		if err != nil {
			return
		}
		res, err := s.http.Do(req)
		if err != nil {
			s.log.Debug("the session on the other server was not ended", "host", loc.Host, "error", s.explain(err))
			return
		}
		_ = res.Body.Close()
	}
}

// refused says what a status means for whoever wrote the address.
func (s *source) refused(status int) error {
	hint := "its log says why"
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint = "check user and password, or the token, in source"
	case http.StatusNotFound:
		hint = "there is no such camera: check the path in source"
	case http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		hint = "is the path that of WHEP? Write for example https://host:8443/whep/door"
	case http.StatusNotAcceptable:
		hint = "it has the camera in no codec that WebRTC carries"
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		hint = "it has too much to do"
	}
	return fmt.Errorf("%w: %s answers %d %s: %s", ErrRefused, s.url.Host, status, http.StatusText(status), hint)
}

// explain makes the network's and TLS' errors fit to be read. Their own text
// may hold the address with its secrets.
func (s *source) explain(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrRefused):
		return err
	case errors.Is(err, pin.ErrMismatch):
		return fmt.Errorf("%w: %s: %w: compare with the fingerprint on its page \"Connect a phone\"", ErrReach, s.url.Host, err)
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &cert):
		return fmt.Errorf("%w: this machine does not trust the certificate of %s: set fingerprint to that of its authority, which its page \"Connect a phone\" shows", ErrReach, s.url.Host)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%w: %s speaks no HTTPS on this port: write http:// or take the port of HTTPS", ErrReach, s.url.Host)
	}
	return fmt.Errorf("%w: %s: %w", ErrReach, s.url.Host, err)
}
