package tlscert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pollEvery is the time between two looks at names, addresses, files and
	// the clock. There is no notice of all of them, on any system.
	pollEvery = 10 * time.Second
	// arrivalPause is how long a handshake has to leave the making of a new
	// leaf to Run after another handshake has made one.
	arrivalPause = 10 * time.Second
	// maxArrivals bounds the addresses that only a handshake has told of.
	maxArrivals = 16
)

// Options of a Manager.
type Options struct {
	// Dir is the data directory; required without CertFile. See
	// AuthorityOptions.
	Dir string
	// Hostname is the machine's name; default os.Hostname.
	Hostname func() string
	// Addresses are those that the machine has now, the important ones first;
	// default those of its interfaces. At most 64 are used.
	Addresses func() []netip.Addr
	// ExtraNames are further host names and addresses that a leaf must be for:
	// those of a router that forwards a port, or of a proxy. A name may begin
	// with "*.".
	ExtraNames []string
	// CertFile and KeyFile are PEM files with a certificate chain and its key.
	// With them there is no authority, and the fields above mean nothing.
	CertFile, KeyFile string
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Log gets every change of certificate and what is wrong with one; nil
	// discards it.
	Log *slog.Logger
}

// Manager is the Provider that needs nobody else: its certificates come from
// its own Authority or from the operator's files.
type Manager struct {
	o      Options
	log    *slog.Logger
	ca     *Authority // nil: files
	extras subject
	cur    atomic.Pointer[tls.Certificate]

	files *pair // nil: authority

	mu       sync.Mutex   // held while a leaf is made
	arrivals []netip.Addr // local addresses of handshakes, newest first
	made     time.Time    // when a handshake made a leaf
	trouble  once

	ending once // for Run alone
}

var _ Provider = (*Manager)(nil)

// New loads or makes all that the first handshake needs. It fails where the
// files of the authority, or the operator's, cannot be used.
func New(o Options) (*Manager, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Hostname == nil {
		o.Hostname = hostname
	}
	if o.Addresses == nil {
		o.Addresses = interfaceAddresses
	}
	m := &Manager{o: o, log: orDiscard(o.Log)}
	open := m.openAuthority
	if o.CertFile != "" || o.KeyFile != "" {
		open = m.openFiles
	}
	if err := open(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Manager) openAuthority() error {
	names, addrs, err := splitNames(m.o.ExtraNames)
	if err != nil {
		return err
	}
	m.extras = subject{names: names, addrs: addrs}
	m.ca, err = NewAuthority(AuthorityOptions{Dir: m.o.Dir, Hostname: m.o.Hostname, Clock: m.o.Clock, Log: m.log})
	if err != nil {
		return err
	}
	m.restore()
	if err := m.refresh(); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

// restore takes the leaf of the run before: who has allowed it by hand in a
// browser need not do so again.
func (m *Manager) restore() {
	dir := folder{m.o.Dir}
	file, tightened, err := dir.secret(leafFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var leaf *tls.Certificate
	if err == nil {
		leaf, err = m.ca.parseLeaf(file)
	}
	if err != nil {
		m.log.Warn("the certificate of the last run cannot be used; making a new one", "file", dir.path(leafFile), "error", err)
		return
	}
	if tightened {
		m.log.Warn("the key of the certificate could be read by others; now it cannot", "file", dir.path(leafFile))
	}
	m.cur.Store(leaf)
}

// CA is the authority that phones are to trust; nil with the operator's own
// certificate.
func (m *Manager) CA() *Authority { return m.ca }

// Leaf is the certificate that is in use, for reading only: its DNSNames and
// IPAddresses are those under which pages are secure.
func (m *Manager) Leaf() *x509.Certificate { return m.cur.Load().Leaf }

// TLSConfig returns a new server configuration; see Provider.
func (m *Manager) TLSConfig() *tls.Config { return serverConfig(m.GetCertificate) }

// GetCertificate answers a handshake with the certificate in use. A browser
// that was given an address sends no name; when it reached the machine under
// an address that is new, a leaf for it is made at once.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if m.ca != nil {
		if a := arrival(hello); usable(a) && !covers(m.Leaf(), a) {
			m.arrived(a)
		}
	}
	return m.cur.Load(), nil
}

// arrival is the address that the client has in its URL as far as it can be
// known, or the zero value.
func arrival(hello *tls.ClientHelloInfo) netip.Addr {
	if hello == nil || hello.Conn == nil {
		return netip.Addr{}
	}
	local, ok := hello.Conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a := plain(local.AddrPort().Addr())
	// RFC 6066 section 3 forbids addresses here; some clients send them.
	if name, err := netip.ParseAddr(hello.ServerName); hello.ServerName != "" && (err != nil || plain(name) != a) {
		return netip.Addr{}
	}
	return a
}

func covers(leaf *x509.Certificate, a netip.Addr) bool {
	for _, ip := range leaf.IPAddresses {
		if b, ok := netip.AddrFromSlice(ip); ok && b.Unmap() == a {
			return true
		}
	}
	return false
}

// arrived notes an address that the machine has, though it is not in its list.
// Handshakes that wait here all go on with the leaf that the first has made.
func (m *Manager) arrived(a netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if covers(m.Leaf(), a) {
		return
	}
	m.arrivals = withFirst(m.arrivals, a, maxArrivals)
	now := m.o.Clock()
	if since := now.Sub(m.made); since >= 0 && since < arrivalPause {
		return // Run will see to it
	}
	m.made = now
	m.report(m.refreshLocked())
}

// withFirst puts a first in list, once, and drops what is over the limit.
func withFirst(list []netip.Addr, a netip.Addr, limit int) []netip.Addr {
	out := []netip.Addr{a}
	for _, b := range list {
		if b != a && len(out) < limit {
			out = append(out, b)
		}
	}
	return out
}

func (m *Manager) refresh() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refreshLocked()
}

// refreshLocked makes a new leaf when there is a reason to.
func (m *Manager) refreshLocked() error {
	now, want := m.o.Clock(), m.want()
	reason := "there was none"
	if old := m.cur.Load(); old != nil {
		why, aged := due(now, old.Leaf, m.ca.cert, want)
		if why == "" {
			return nil
		}
		reason = why
		if !aged {
			// Who moves between two networks, or switches a VPN on and off,
			// needs no third leaf. What is gone for good goes with the age.
			want = want.with(subjectOf(old.Leaf).addrs)
		}
	}
	leaf, file, err := m.ca.issue(want, now)
	if err != nil {
		return err
	}
	m.cur.Store(leaf)
	m.log.Info("made a new certificate", "because", reason, "names", leaf.Leaf.DNSNames, "addresses", want.addrs, "until", leaf.Leaf.NotAfter.Format(time.DateOnly))
	if err := (folder{m.o.Dir}).write(leafFile, file, 0o600); err != nil {
		m.log.Warn("the new certificate is in use but could not be kept; the next start makes another", "error", err)
	}
	return nil
}

// want is whom the leaf has to be for now. m.mu is held.
func (m *Manager) want() subject {
	s := newSubject(m.o.Hostname())
	for _, n := range m.extras.names {
		if ext := (subject{names: []string{n}}); s.missing(ext) != "" {
			s.names = append(s.names, n)
		}
	}
	return s.with(m.extras.addrs).with(m.arrivals).with(m.o.Addresses())
}

// due decides whether a leaf has to be replaced; an empty reason means no. Aged
// says that it is for the time and not for whom it is for.
func due(now time.Time, leaf, ca *x509.Certificate, want subject) (reason string, aged bool) {
	begun := !now.Before(leaf.NotBefore)
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case now.Before(ca.NotBefore):
		// The clock has not been set yet: it says nothing about the leaf.
	case !begun:
		// Made when the clock was ahead.
		return "the old one is not valid yet", true
	case leaf.NotAfter.Before(ca.NotAfter) && !now.Before(leaf.NotBefore.Add(life/3*2)):
		return "the old one is near its end", true
	}
	if n := subjectOf(leaf).missing(want); n != "" {
		return n + " is new", false
	}
	return "", false
}

// report logs what keeps a leaf from being made. m.mu is held.
func (m *Manager) report(err error) {
	msg := ""
	if err != nil {
		msg = err.Error()
	}
	if m.trouble.pass(msg, m.o.Clock()) {
		m.log.Error("no new certificate; the old one stays in use", "error", err)
	}
}

// Run follows names, addresses, files and the clock until ctx is done, and
// returns nil then. Without it everything stays as New has found it.
func (m *Manager) Run(ctx context.Context) error {
	if m.files != nil {
		return m.followFiles(ctx)
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		m.poll()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (m *Manager) poll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report(m.refreshLocked())
	now, msg := m.o.Clock(), ""
	if left := m.ca.cert.NotAfter.Sub(now); left < caWarning {
		msg = "the certificate authority ends on " + m.ca.cert.NotAfter.Format(time.DateOnly)
	}
	if m.ending.pass(msg, now) {
		m.log.Warn(msg, "do", "delete "+caCertFile+" and "+caKeyFile+", start again and let every phone trust the new one", "folder", folder{m.o.Dir}.path(""))
	}
}
