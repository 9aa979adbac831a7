// Package pin verifies the certificate of a camera or of another server by its
// fingerprint, where it is one that no public authority has signed. Trusting
// everybody is not among the choices.
package pin

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrMismatch says that none of the certificates has the fingerprint.
var ErrMismatch = errors.New("the certificate is another one than expected")

// Parse reads a SHA-256 fingerprint as browsers and openssl show it: 64
// hexadecimal digits, with or without colons between the bytes.
func Parse(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.ReplaceAll(s, ":", ""), " ", ""))
	if err != nil || len(b) != sha256.Size {
		return nil, errors.New("a fingerprint is the SHA-256 of the certificate: 64 hexadecimal digits, colons between them allowed")
	}
	return b, nil
}

// Config returns the settings of a TLS client that talks to whoever has the
// certificate with that fingerprint, or one signed by it. An empty fingerprint
// asks the system's authorities.
func Config(fingerprint string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if fingerprint == "" {
		return c, nil
	}
	want, err := Parse(fingerprint)
	if err != nil {
		return nil, err
	}
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(s tls.ConnectionState) error { return verify(s.PeerCertificates, want) }
	return c, nil
}

// Of returns the fingerprint of the certificate that a handshake has failed on,
// so that an error can tell what to write, or "".
func Of(err error) string {
	var cert *tls.CertificateVerificationError
	if !errors.As(err, &cert) || len(cert.UnverifiedCertificates) == 0 {
		return ""
	}
	return hexOf(cert.UnverifiedCertificates[0])
}

func hexOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

func verify(chain []*x509.Certificate, want []byte) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w: there is none", ErrMismatch)
	}
	for i, cert := range chain {
		have := sha256.Sum256(cert.Raw)
		if !bytes.Equal(have[:], want) {
			continue
		}
		if i == 0 {
			return nil // the very certificate; its names and dates do not matter
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(cert)
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		// Who holds the authority decides whom it signs; the name by which the
		// server is reached may be any.
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
			return fmt.Errorf("%w: %w", ErrMismatch, err)
		}
		return nil
	}
	return fmt.Errorf("%w: it shows %s", ErrMismatch, hexOf(chain[len(chain)-1]))
}
