package tlscert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Names of the files in <data directory>/tls.
const (
	caCertFile = "ca.crt"
	caKeyFile  = "ca.key"
	leafFile   = "leaf.pem"
)

const (
	caYears = 10
	// leafLife is the whole validity of a leaf. Apple's limit is 825 days for
	// authorities that the user has added and 398 for its own; whatever comes
	// next will hardly be longer.
	leafLife = 397 * 24 * time.Hour
	// backdate is how far a validity begins in the past: the clocks of
	// phones, and of small machines that have just been switched on, are off.
	backdate = 24 * time.Hour
	// caWarning is how long before its end the authority asks for a successor.
	caWarning = 365 * 24 * time.Hour
)

// startAgain is the way out of everything that is wrong with the authority's
// files.
const startAgain = "restore " + caCertFile + " and " + caKeyFile + " from one backup, or delete both: the next start makes a new authority, which every phone must trust anew"

// birth is the earliest time that can be true. A machine without a clock of
// its own wakes up long before; an authority that is made then would have
// ended when the network has set the clock.
var birth = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// AuthorityOptions say where an Authority lives.
type AuthorityOptions struct {
	// Dir is the data directory; the files are in its folder "tls". Both are
	// made when they are missing. Required.
	Dir string
	// Hostname is the machine's name, for the name of a new authority;
	// default os.Hostname.
	Hostname func() string
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Log gets what was made or repaired; nil discards it.
	Log *slog.Logger
}

func (o *AuthorityOptions) setDefaults() {
	if o.Hostname == nil {
		o.Hostname = hostname
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	o.Log = orDiscard(o.Log)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "" // there are other names and the addresses
	}
	return name
}

// Authority is a certificate authority (RFC 5280) that issues for this machine
// only. Who has its key can speak for any site towards the phones that trust
// it, so the key never leaves its file. An Authority does not change; it is
// safe for all goroutines.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority loads the authority from its files, and makes it (ECDSA P-256,
// 10 years) when there is none yet. A key file that others can read is
// tightened to mode 0600. Files that are broken, do not belong together or have
// ended are an error that names the file; they are never replaced by
// themselves, because phones trust them.
func NewAuthority(o AuthorityOptions) (*Authority, error) {
	if o.Dir == "" {
		return nil, errors.New("certificate authority: no data directory")
	}
	o.setDefaults()
	a, err := loadAuthority(o)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return a, nil
}

func loadAuthority(o AuthorityOptions) (*Authority, error) {
	dir := folder{o.Dir}
	keyPEM, tightened, keyErr := dir.secret(caKeyFile)
	if tightened {
		o.Log.Warn("the key of the certificate authority could be read by others; now it cannot", "file", dir.path(caKeyFile))
	}
	certPEM, certErr := dir.read(caCertFile)
	noKey, noCert := errors.Is(keyErr, fs.ErrNotExist), errors.Is(certErr, fs.ErrNotExist)
	switch {
	case noKey && noCert:
		return createAuthority(o, nil)
	case noKey:
		return nil, fmt.Errorf("%w: %s", keyErr, startAgain)
	case keyErr != nil:
		return nil, keyErr
	case noCert:
		// The power went between the two files. Nobody has seen a certificate
		// of this key, or trusts one with the same name and key.
		key, err := parseKey(keyPEM)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", dir.path(caKeyFile), err, startAgain)
		}
		return createAuthority(o, key)
	case certErr != nil:
		return nil, certErr
	}
	a, err := parseAuthority(certPEM, keyPEM)
	if err != nil {
		name := caCertFile
		if errors.Is(err, errKey) {
			name = caKeyFile
		}
		return nil, fmt.Errorf("%s: %w: %s", dir.path(name), err, startAgain)
	}
	now := o.Clock()
	switch {
	case now.After(a.cert.NotAfter):
		return nil, fmt.Errorf("%s: ended on %s: %s", dir.path(caCertFile), a.cert.NotAfter.Format(time.DateOnly), startAgain)
	case now.Before(a.cert.NotBefore):
		o.Log.Warn("the certificate authority is not valid yet: is the clock right?", "file", dir.path(caCertFile), "from", a.cert.NotBefore, "clock", now)
	}
	return a, nil
}

func createAuthority(o AuthorityOptions, key crypto.Signer) (*Authority, error) {
	dir := folder{o.Dir}
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		keyPEM, err := encodeKey(k)
		if err != nil {
			return nil, err
		}
		if err := dir.write(caKeyFile, keyPEM, 0o600); err != nil {
			return nil, err
		}
		key = k
	}
	now := latest(o.Clock(), birth).UTC().Truncate(time.Second)
	template := authorityTemplate(o.Hostname(), now)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &Authority{cert: cert, key: key}
	if err := dir.write(caCertFile, a.PEM(), 0o644); err != nil {
		return nil, err
	}
	o.Log.Info("made a certificate authority", "name", a.Name(), "file", dir.path(caCertFile), "sha256", a.Fingerprint(), "until", cert.NotAfter.Format(time.DateOnly))
	return a, nil
}

// authorityTemplate has no name constraints: which names and addresses the
// machine will have in ten years is not known, and old phones refuse them.
func authorityTemplate(host string, now time.Time) *x509.Certificate {
	name := "Camwire CA"
	if host = printable(host, 64-len(name)-len(" 2006 ")); host != "" {
		name += " " + host
	}
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name + now.Format(" 2006"), Organization: []string{"Camwire"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.AddDate(caYears, 0, 0),
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
}

// printable keeps what may stand in a common name, at most n bytes of it: 64
// are its limit as a whole (RFC 5280, appendix A.1, ub-common-name).
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), n)]
}

// errKey marks what is wrong with the key and not with the certificate.
var errKey = errors.New("unusable key")

func parseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate in it")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("not the certificate of an authority")
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%w: it does not belong to %s", errKey, caCertFile)
	}
	// Also tells a certificate of which a byte has changed on the disk.
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("not signed by its own key: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%w: no PEM private key (PKCS #8) in it", errKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: a %T cannot sign", errKey, key)
	}
	return signer, nil
}

func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// issue makes a leaf with a key of its own. The file has both, the key first.
func (a *Authority) issue(s subject, now time.Time) (leaf *tls.Certificate, file []byte, err error) {
	if now.After(a.cert.NotAfter) {
		return nil, nil, fmt.Errorf("the certificate authority ended on %s: delete %s and %s in the folder %q of the data directory and start again; every phone must then trust the new one", a.cert.NotAfter.Format(time.DateOnly), caCertFile, caKeyFile, subdir)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	from, until := a.validity(now)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject:               pkix.Name{CommonName: printable(s.common, 64), Organization: []string{"Camwire"}},
		NotBefore:             from,
		NotAfter:              until,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              s.names,
		IPAddresses:           s.netIPs(),
	}, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM := encodeCert(der)
	pair, err := keyPair(certPEM, keyPEM)
	if err != nil {
		return nil, nil, err
	}
	a.show(pair)
	return pair, append(keyPEM, certPEM...), nil
}

// validity of a leaf made now. It stays within the authority's, which also
// keeps it right when the clock has not been set yet.
func (a *Authority) validity(now time.Time) (from, until time.Time) {
	from = latest(now.Add(-backdate), a.cert.NotBefore).UTC().Truncate(time.Second)
	until = from.Add(leafLife)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	return from, until
}

// parseLeaf reads back what issue wrote.
func (a *Authority) parseLeaf(file []byte) (*tls.Certificate, error) {
	pair, err := keyPair(file, file)
	if err != nil {
		return nil, err
	}
	if err := pair.Leaf.CheckSignatureFrom(a.cert); err != nil {
		return nil, fmt.Errorf("not from this authority: %w", err)
	}
	a.show(pair)
	return pair, nil
}

// show makes the authority a part of what clients get to see, so that one that
// knows only its fingerprint can check the leaf.
func (a *Authority) show(leaf *tls.Certificate) {
	leaf.Certificate = append(leaf.Certificate, a.cert.Raw)
}

// keyPair is tls.X509KeyPair with Leaf always set: a program that embeds this
// package may have GODEBUG x509keypairleaf=0.
func keyPair(cert, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// Name is the authority's common name, as phones show it: "Camwire CA lab 2026".
func (a *Authority) Name() string { return a.cert.Subject.CommonName }

// NotAfter is the end of the authority's validity.
func (a *Authority) NotAfter() time.Time { return a.cert.NotAfter }

// DER returns the authority's certificate, without its key. The bytes are the
// caller's.
func (a *Authority) DER() []byte { return bytes.Clone(a.cert.Raw) }

// PEM returns the same as text.
func (a *Authority) PEM() []byte { return encodeCert(a.cert.Raw) }

// Fingerprint is the SHA-256 of DER as phones show it, "AB:CD:…", to be
// compared by eye.
func (a *Authority) Fingerprint() string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(a.cert.Raw)), " ", ":")
}
