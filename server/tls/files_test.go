package tlscert

import (
	"context"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func decodePEM(t *testing.T, data []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

// issued returns a certificate and its key as an operator has them.
func issued(t *testing.T, m *machine, host string) (cert, key []byte) {
	t.Helper()
	leaf, file, err := m.authority(t, t.TempDir()).issue(newSubject(host), m.clock())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	return encodeCert(leaf.Leaf.Raw), pem.EncodeToMemory(block)
}

func ownOptions(m *machine, dir string) Options {
	o := m.options("")
	o.CertFile, o.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return o
}

func putPair(t *testing.T, o Options, cert, key []byte) {
	t.Helper()
	put(t, o.CertFile, cert, 0o644)
	put(t, o.KeyFile, key, 0o600)
}

func TestOwnFilesByLooking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		o := ownOptions(m, t.TempDir())
		cert1, key1 := issued(t, m, "one")
		cert2, key2 := issued(t, m, "two")
		putPair(t, o, cert1, key1)
		mgr := m.manager(t, o)
		mgr.files.notify = false
		if mgr.CA() != nil {
			t.Error("there is an authority")
		}
		running(t, mgr)
		expect := func(host string) {
			t.Helper()
			time.Sleep(pollEvery)
			synctest.Wait()
			if err := mgr.Leaf().VerifyHostname(host); err != nil {
				t.Error(err)
			}
			if c, err := mgr.GetCertificate(hello("", "10.0.0.1")); err != nil || c.Leaf != mgr.Leaf() {
				t.Errorf("handshake: %v", err)
			}
		}
		expect("one")
		put(t, o.CertFile, cert2, 0o644)
		expect("one")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := m.logged("new certificate cannot be used"); n != 1 {
			t.Errorf("%d lines about one broken pair", n)
		}
		put(t, o.KeyFile, key2, 0o600)
		expect("two")
		if err := os.Remove(o.KeyFile); err != nil {
			t.Fatal(err)
		}
		expect("two")
		putPair(t, o, cert1, key1)
		expect("one")
		if n := m.logged("new certificate cannot be used"); n != 2 {
			t.Errorf("%d lines about two troubles", n)
		}
		m.step(leafLife - 10*24*time.Hour)
		expect("one")
		if m.logged("the certificate ends soon") == 0 || m.logged("has ended") != 0 {
			t.Error("not a word before the end")
		}
		m.step(12 * 24 * time.Hour)
		expect("one")
		if m.logged("the certificate has ended") == 0 {
			t.Error("not a word about the end")
		}
	})
}

// told passes on what is logged.
type told struct {
	slog.Handler
	lines chan string
}

func (told) Enabled(context.Context, slog.Level) bool { return true }

func (h told) Handle(_ context.Context, r slog.Record) error {
	h.lines <- r.Message
	return nil
}

func TestOwnFilesByNotice(t *testing.T) {
	t.Parallel()
	m := newMachine()
	// As certbot has it: links to files elsewhere, which are replaced.
	live, archive := t.TempDir(), t.TempDir()
	o := ownOptions(m, live)
	lines := make(chan string, 100)
	o.Log = slog.New(told{slog.DiscardHandler, lines})
	install := func(host, version string) {
		t.Helper()
		cert, key := issued(t, m, host)
		for path, data := range map[string][]byte{o.CertFile: cert, o.KeyFile: key} {
			target := filepath.Join(archive, version+filepath.Base(path))
			put(t, target, data, 0o600)
			if err := os.Symlink(target, path+".link"); err != nil {
				t.Skipf("NOT CHECKED: no symbolic links here: %v", err)
			}
			if err := os.Rename(path+".link", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	install("one", "1")
	mgr := m.manager(t, o)
	mgr.files.every = time.Hour // looking is not what is to help here
	running(t, mgr)
	deadline := time.After(30 * time.Second)
	// The first may still be found by the look at the start.
	for _, host := range []string{"two", "three"} {
		install(host, host)
		for mgr.Leaf().VerifyHostname(host) != nil {
			select {
			case <-lines:
			case <-deadline:
				t.Fatalf("the certificate for %s is not used", host)
			}
		}
	}
}

func TestOwnFilesAtStart(t *testing.T) {
	t.Parallel()
	m := newMachine()
	cert, key := issued(t, m, "one")
	_, key2 := issued(t, m, "two")
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	for name, tc := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"other key":  {cert, key2, "private key does not match public key"},
		"swapped":    {key, cert, "may have been switched"},
		"locked key": {cert, locked, "openssl pkey"},
		"DER":        {decodePEM(t, cert), key, "must be PEM"},
		"empty":      {nil, nil, "must be PEM"},
	} {
		o := ownOptions(m, t.TempDir())
		putPair(t, o, tc.cert, tc.key)
		_, err := New(o)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), o.CertFile) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	o := ownOptions(m, t.TempDir())
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), o.CertFile) {
		t.Errorf("missing files: %v", err)
	}
	putPair(t, o, cert, key)
	m.step(2 * leafLife)
	mgr := m.manager(t, o)
	if mgr.Leaf().VerifyHostname("one") != nil || m.logged("the certificate has ended") != 1 {
		t.Error("an ended certificate must be used, with a warning")
	}
}
