// Package tlscert has the certificates of Camwire's HTTPS listener: its own
// small certificate authority with a leaf that follows the machine's names and
// addresses, a certificate that the operator keeps in files, or one from an
// ACME server. All three change while the listener runs.
//
// It opens no port and knows no route: handing out the authority's certificate
// over HTTP, and telling people how to trust it, is for package server.
package tlscert

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"
)

// Media types of what a phone downloads.
const (
	// CertType is that of Authority.PEM and Authority.DER.
	CertType = "application/x-x509-ca-cert"
	// MobileConfigType is that of Authority.MobileConfig.
	MobileConfigType = "application/x-apple-aspen-config"
)

// Provider is where a TLS listener has its certificates from:
//
//	ln = tls.NewListener(ln, p.TLSConfig())
//
// GetCertificate and TLSConfig may be used from any goroutine, before, during
// and after Run.
type Provider interface {
	// GetCertificate answers one handshake, as tls.Config wants it.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// TLSConfig returns a new configuration for a server, TLS 1.2 or later,
	// HTTP/2 and HTTP/1.1.
	TLSConfig() *tls.Config
	// Run keeps the certificates up to date until ctx is done, and returns nil
	// then.
	Run(ctx context.Context) error
}

func serverConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), protos ...string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     append([]string{"h2", "http/1.1"}, protos...),
		GetCertificate: get,
	}
}

// repeat is how long a message that has not changed is kept back.
const repeat = 24 * time.Hour

// once lets a message through when it is new or has not been seen for a while.
// The zero value is ready.
type once struct {
	last string
	at   time.Time
}

// pass reports whether msg should be told at now. An empty msg means that all
// is well again.
func (o *once) pass(msg string, now time.Time) bool {
	if since := now.Sub(o.at); msg == o.last && since >= 0 && since < repeat {
		return false
	}
	o.last, o.at = msg, now
	return msg != ""
}

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
