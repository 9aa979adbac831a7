package pin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// sign makes a certificate; without a parent it signs itself.
func sign(t *testing.T, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out, key
}

func TestVerify(t *testing.T) {
	ca, key := sign(t, nil, nil)
	leaf, _ := sign(t, ca, key)
	other, _ := sign(t, nil, nil)
	print := func(c *x509.Certificate) []byte {
		b, err := Parse(hexOf(c))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, x := range map[string]struct {
		chain []*x509.Certificate
		want  []byte
		ok    bool
	}{
		"the certificate itself":           {[]*x509.Certificate{leaf}, print(leaf), true},
		"its authority":                    {[]*x509.Certificate{leaf, ca}, print(ca), true},
		"an authority that is not shown":   {[]*x509.Certificate{leaf}, print(ca), false},
		"another certificate":              {[]*x509.Certificate{other}, print(leaf), false},
		"an authority that did not sign":   {[]*x509.Certificate{other, ca}, print(ca), false},
		"no certificate":                   {nil, print(ca), false},
		"the authority beside the leaf":    {[]*x509.Certificate{leaf, other, ca}, print(ca), true},
		"a stranger's beside the real one": {[]*x509.Certificate{other, leaf, ca}, print(leaf), false},
	} {
		err := verify(x.chain, x.want)
		if (err == nil) != x.ok || err != nil && !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	hex := strings.Repeat("Ab", 32)
	colons := strings.TrimSuffix(strings.Repeat("aB:", 32), ":")
	for _, s := range []string{hex, colons} {
		if b, err := Parse(s); err != nil || len(b) != 32 || b[31] != 0xab {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "ab", hex + "00", strings.Replace(hex, "A", "x", 1)} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
	if _, err := Config("nonsense"); err == nil {
		t.Error("a bad fingerprint makes no settings")
	}
	if c, err := Config(""); err != nil || c.InsecureSkipVerify {
		t.Error("without a fingerprint the system decides")
	}
}
