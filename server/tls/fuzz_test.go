package tlscert

import (
	"testing"
)

// FuzzFiles gives the loaders two files. What they take must be usable.
func FuzzFiles(f *testing.F) {
	m := newMachine()
	dir := f.TempDir()
	a := m.authority(f, dir)
	caKey := get(f, folder{dir}.path(caKeyFile))
	_, file, err := a.issue(newSubject("lab"), m.clock())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.PEM(), caKey)
	f.Add(file, file)
	f.Add(caKey, a.PEM())
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	f.Add([]byte{}, []byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		if b, err := parseAuthority(cert, key); err == nil {
			leaf, _, err := b.issue(newSubject("lab"), b.cert.NotBefore)
			if err == nil {
				err = leaf.Leaf.CheckSignatureFrom(b.cert)
			}
			if err != nil && b.cert.NotAfter.After(b.cert.NotBefore) {
				t.Errorf("loaded but cannot issue: %v", err)
			}
		}
		if c, err := parsePair(cert, key); err == nil && (c.Leaf == nil || c.PrivateKey == nil) {
			t.Error("a pair that is none")
		}
		if c, err := a.parseLeaf(cert); err == nil && c.Leaf.CheckSignatureFrom(a.cert) != nil {
			t.Error("a leaf of another authority")
		}
	})
}
