package tlscert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAuthorityIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	m := newMachine()
	a := m.authority(t, dir)
	c := a.cert
	if got, want := a.Name(), "Camwire CA lab 2026"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	if pub, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		t.Errorf("key %T, want P-256", c.PublicKey)
	}
	if !c.IsCA || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign || len(c.SubjectKeyId) == 0 || len(c.ExtKeyUsage) != 0 {
		t.Errorf("CA %v, path length zero %v, usage %b, key id %x, extended %v", c.IsCA, c.MaxPathLenZero, c.KeyUsage, c.SubjectKeyId, c.ExtKeyUsage)
	}
	if want := c.NotBefore.Add(backdate).AddDate(10, 0, 0); !c.NotAfter.Equal(want) || !c.NotBefore.Before(m.clock().Add(-backdate+time.Second)) {
		t.Errorf("valid from %v until %v", c.NotBefore, c.NotAfter)
	}
	wantMode(t, dir, 0o700)
	wantMode(t, filepath.Join(dir, "tls"), 0o700)
	wantMode(t, filepath.Join(dir, "tls", "ca.key"), 0o600)

	if b := m.authority(t, dir); !bytes.Equal(a.DER(), b.DER()) {
		t.Error("the second start made another authority")
	}
	entries, err := os.ReadDir(filepath.Join(dir, "tls"))
	if err != nil || len(entries) != 2 {
		t.Errorf("folder has %v (%v), want the two files", entries, err)
	}
	if bytes.Contains(a.PEM(), []byte("PRIVATE")) {
		t.Error("PEM has the key in it")
	}
}

func TestAuthorityTightensItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMachine()
	m.authority(t, dir)
	key := filepath.Join(dir, "tls", "ca.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	m.authority(t, dir)
	wantMode(t, key, 0o600)
	if m.logged("could be read by others") != 1 {
		t.Error("not a word about it")
	}
}

func TestAuthorityAfterPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMachine()
	a := m.authority(t, dir)
	if err := os.Remove(filepath.Join(dir, "tls", "ca.crt")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "tls", "ca.crt.tmp"), []byte("half"), 0o600)
	b := m.authority(t, dir)
	leaf, _, err := b.issue(newSubject("lab"), m.clock())
	if err != nil {
		t.Fatal(err)
	}
	// Who has trusted the first certificate of the key still does.
	if err := verify(a, leaf.Leaf, "lab", m.clock()); err != nil {
		t.Error(err)
	}
}

func TestAuthorityClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMachine()
	m.step(time.Unix(0, 0).Sub(today)) // a machine without a clock of its own
	a := m.authority(t, dir)
	if a.cert.NotAfter.Before(today.AddDate(5, 0, 0)) {
		t.Errorf("made without a clock, it ends on %v", a.NotAfter())
	}
	leaf, _, err := a.issue(newSubject("lab"), m.clock())
	if err != nil {
		t.Fatal(err)
	}
	if l := leaf.Leaf; l.NotBefore.Before(a.cert.NotBefore) || !l.NotAfter.After(l.NotBefore) {
		t.Errorf("leaf from %v until %v", l.NotBefore, l.NotAfter)
	}
	m.step(-24 * time.Hour)
	m.authority(t, dir)
	if m.logged("is the clock right?") == 0 {
		t.Error("not a word about the clock")
	}
	if _, _, err := a.issue(newSubject("lab"), a.NotAfter().Add(time.Hour)); err == nil {
		t.Error("an ended authority issues")
	}
}

func TestAuthorityBadFiles(t *testing.T) {
	t.Parallel()
	other := newMachine()
	otherDir := t.TempDir()
	other.authority(t, otherDir)
	otherMgr := other.manager(t, other.options(otherDir))
	otherFile := func(t *testing.T, name string) []byte { return get(t, filepath.Join(otherDir, "tls", name)) }
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, m *machine, dir string)
		want  []string
	}{
		{"no key", func(t *testing.T, _ *machine, dir string) {
			if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
				t.Fatal(err)
			}
		}, []string{"ca.key: no such file", "restore ca.crt and ca.key"}},
		{"another key", func(t *testing.T, _ *machine, dir string) {
			put(t, filepath.Join(dir, "ca.key"), otherFile(t, "ca.key"), 0o600)
		}, []string{"ca.key: unusable key: it does not belong to ca.crt: restore"}},
		{"empty key", func(t *testing.T, _ *machine, dir string) {
			put(t, filepath.Join(dir, "ca.key"), nil, 0o600)
		}, []string{"ca.key: unusable key: no PEM private key"}},
		{"empty key and no certificate", func(t *testing.T, _ *machine, dir string) {
			put(t, filepath.Join(dir, "ca.key"), nil, 0o600)
			if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
				t.Fatal(err)
			}
		}, []string{"ca.key: unusable key: no PEM private key"}},
		{"garbage in the certificate", func(t *testing.T, _ *machine, dir string) {
			put(t, filepath.Join(dir, "ca.crt"), []byte("hello"), 0o600)
		}, []string{"ca.crt: no PEM certificate"}},
		{"changed byte", func(t *testing.T, _ *machine, dir string) {
			p := filepath.Join(dir, "ca.crt")
			der := decodePEM(t, get(t, p))
			der[bytes.Index(der, []byte("lab"))] = 'L'
			put(t, p, encodeCert(der), 0o644)
		}, []string{"ca.crt: not signed by its own key"}},
		{"a leaf", func(t *testing.T, _ *machine, dir string) {
			put(t, filepath.Join(dir, "ca.crt"), encodeCert(otherMgr.Leaf().Raw), 0o644)
		}, []string{"ca.crt: not the certificate of an authority"}},
		{"folder for a file", func(t *testing.T, _ *machine, dir string) {
			if err := errors.Join(os.Remove(filepath.Join(dir, "ca.crt")), os.Mkdir(filepath.Join(dir, "ca.crt"), 0o700)); err != nil {
				t.Fatal(err)
			}
		}, []string{"ca.crt: not a regular file"}},
		{"way out of the folder", func(t *testing.T, _ *machine, dir string) {
			p := filepath.Join(dir, "ca.key")
			if err := errors.Join(os.Rename(p, filepath.Join(dir, "..", "..", "k")), os.Symlink("../../k", p)); err != nil {
				t.Skip(err)
			}
		}, []string{"ca.key: path escapes"}},
		{"too large", func(t *testing.T, _ *machine, dir string) {
			put(t, filepath.Join(dir, "ca.crt"), bytes.Repeat([]byte("x"), maxFile+1), 0o644)
		}, []string{"ca.crt: more than 1048576 bytes"}},
		{"ended", func(_ *testing.T, m *machine, _ string) {
			m.step(11 * 365 * 24 * time.Hour)
		}, []string{"ca.crt: ended on 20", "restore ca.crt and ca.key"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			m := newMachine()
			m.authority(t, dir)
			tc.spoil(t, m, filepath.Join(dir, "tls"))
			_, err := New(m.options(dir))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range append(tc.want, dir) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
}

func TestMobileConfig(t *testing.T) {
	t.Parallel()
	m := newMachine()
	m.called("r&d<1>")
	dir := t.TempDir()
	a := m.authority(t, dir)
	got := a.MobileConfig()
	if !bytes.Equal(got, m.authority(t, dir).MobileConfig()) {
		t.Error("it differs from call to call")
	}
	values := map[string][]string{}
	var key, text string
	d := xml.NewDecoder(bytes.NewReader(got))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			text = ""
		case xml.CharData:
			text += string(tok)
		case xml.EndElement:
			if tok.Name.Local == "key" {
				key = text
			} else {
				values[key] = append(values[key], text)
			}
		}
	}
	der, err := base64.StdEncoding.DecodeString(values["PayloadContent"][0])
	if err != nil || !bytes.Equal(der, a.DER()) {
		t.Errorf("other certificate (%v)", err)
	}
	if want := []string{"com.apple.security.root", "Configuration"}; !slices.Equal(values["PayloadType"], want) {
		t.Errorf("types %q", values["PayloadType"])
	}
	if n := values["PayloadDisplayName"]; n[0] != a.Name() || !strings.Contains(n[0], "r&d<1>") {
		t.Errorf("display name %q", n)
	}
	ids := values["PayloadUUID"]
	form := regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)
	if len(ids) != 2 || ids[0] == ids[1] || !form.MatchString(ids[0]) || !form.MatchString(ids[1]) {
		t.Errorf("UUIDs %q", ids)
	}
	sum := sha256.Sum256(a.DER())
	if f := a.Fingerprint(); len(f) != 32*3-1 || !strings.HasPrefix(f, fmt.Sprintf("%02X:%02X:", sum[0], sum[1])) {
		t.Errorf("fingerprint %q", f)
	}
}

// TestOpenSSL asks a second implementation, in its strictest mode.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("NOT CHECKED: openssl is not installed, nobody but Go has verified the certificates")
	}
	dir := t.TempDir()
	m := newMachine("192.168.1.20", "2001:db8::20")
	mgr := m.manager(t, m.options(dir))
	ca, leaf := filepath.Join(dir, "tls", "ca.crt"), filepath.Join(dir, "leaf.crt")
	put(t, leaf, encodeCert(mgr.Leaf().Raw), 0o644)
	run := func(args ...string) (string, error) {
		args = append([]string{"verify", "-x509_strict", "-purpose", "sslserver", "-attime", fmt.Sprint(m.clock().Unix()), "-CAfile", ca}, args...)
		out, err := exec.CommandContext(context.Background(), bin, append(args, leaf)...).CombinedOutput()
		return string(out), err
	}
	for _, name := range mgr.Leaf().DNSNames {
		if out, err := run("-verify_hostname", name); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	for _, ip := range mgr.Leaf().IPAddresses {
		if out, err := run("-verify_ip", ip.String()); err != nil {
			t.Errorf("%s: %v\n%s", ip, err, out)
		}
	}
	if out, err := run("-verify_ip", "192.168.1.21"); err == nil {
		t.Errorf("a stranger's address passes\n%s", out)
	}
	pair := filepath.Join(dir, "tls", "leaf.pem")
	if out, err := exec.CommandContext(context.Background(), bin, "pkey", "-in", pair, "-noout", "-check").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestLeafFitsClients(t *testing.T) {
	t.Parallel()
	m := newMachine("10.0.0.7", "2001:db8::7", "169.254.3.4")
	m.called("Cam.Home.Arpa")
	o := m.options(t.TempDir())
	o.ExtraNames = []string{"cams.example.org", "*.lab.example.org", "Küche.local", "203.0.113.9", "[2001:db8::99]"}
	mgr := m.manager(t, o)
	l := mgr.Leaf()
	for _, host := range []string{
		"cam.home.arpa", "cam", "cam.local", "localhost", "127.0.0.1", "::1", "10.0.0.7", "2001:db8::7", "169.254.3.4",
		"cams.example.org", "door.lab.example.org", "xn--kche-0ra.local", "203.0.113.9", "2001:db8::99",
	} {
		if err := verify(mgr.CA(), l, host, m.clock()); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"10.0.0.8", "example.org", "other.local"} {
		if err := verify(mgr.CA(), l, host, m.clock()); err == nil {
			t.Errorf("%s passes", host)
		}
	}
	if life := l.NotAfter.Sub(l.NotBefore); life > 397*24*time.Hour || life < 390*24*time.Hour {
		t.Errorf("valid for %v", life)
	}
	if l.NotBefore.After(m.clock().Add(-23 * time.Hour)) {
		t.Errorf("not backdated: %v", l.NotBefore)
	}
	if l.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(l.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || l.IsCA {
		t.Errorf("usage %b, extended %v, CA %v", l.KeyUsage, l.ExtKeyUsage, l.IsCA)
	}
}

func TestManyAddresses(t *testing.T) {
	t.Parallel()
	m := newMachine()
	for i := range 300 {
		m.addrs = append(m.addrs, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	mgr := m.manager(t, m.options(t.TempDir()))
	if n := len(mgr.Leaf().IPAddresses); n != maxAddresses+2 {
		t.Errorf("%d addresses, want %d", n, maxAddresses+2)
	}
	first := mgr.Leaf()
	mgr.poll()
	if mgr.Leaf() != first {
		t.Error("what does not fit is tried again and again")
	}
	// One that a client has come to is worth more than one in the list.
	if _, err := mgr.GetCertificate(hello("", "10.1.1.20")); err != nil {
		t.Fatal(err)
	}
	if err := verify(mgr.CA(), mgr.Leaf(), "10.1.1.20", m.clock()); err != nil {
		t.Error(err)
	}
}
