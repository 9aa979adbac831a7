package tlscert

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine stands in for names, addresses and clock. It is safe for all
// goroutines.
type machine struct {
	mu     sync.Mutex
	host   string
	addrs  []netip.Addr
	offset time.Duration
	log    bytes.Buffer
}

// today is some time at which the authority's files are made.
var today = time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)

func newMachine(addrs ...string) *machine {
	m := &machine{host: "lab"}
	m.offset = time.Until(today)
	m.at(addrs...)
	return m
}

func (m *machine) at(addrs ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addrs = nil
	for _, a := range addrs {
		m.addrs = append(m.addrs, netip.MustParseAddr(a))
	}
}

func (m *machine) called(host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.host = host
}

func (m *machine) step(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offset += d
}

func (m *machine) clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(m.offset)
}

// Write is the end of the log.
func (m *machine) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Write(p)
}

// logged counts the lines that have s in them.
func (m *machine) logged(s string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Count(m.log.String(), s)
}

func (m *machine) options(dir string) Options {
	return Options{
		Dir: dir,
		Hostname: func() string {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.host
		},
		Addresses: func() []netip.Addr {
			m.mu.Lock()
			defer m.mu.Unlock()
			return slices.Clone(m.addrs)
		},
		Clock: m.clock,
		Log:   slog.New(slog.NewTextHandler(m, nil)),
	}
}

func (m *machine) authority(t testing.TB, dir string) *Authority {
	t.Helper()
	o := m.options(dir)
	a, err := NewAuthority(AuthorityOptions{Dir: dir, Hostname: o.Hostname, Clock: o.Clock, Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (m *machine) manager(t testing.TB, o Options) *Manager {
	t.Helper()
	mgr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return mgr
}

// verify asks the standard library, as a client that trusts ca would.
func verify(ca *Authority, leaf *x509.Certificate, host string, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// hello is a handshake that reached the machine under an address.
func hello(name, local string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, Conn: localConn{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(local), 443))}}
}

type localConn struct {
	net.Conn
	addr net.Addr
}

func (c localConn) LocalAddr() net.Addr { return c.addr }

func put(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	// Replaced, as renewers do it, and so that the mode is that.
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".new", mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Mode().Perm(); got != mode {
		t.Errorf("%s has mode %o, want %o", filepath.Base(path), got, mode)
	}
}
