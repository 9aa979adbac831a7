package tlscert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// running runs p until the test ends, and waits for it.
func running(t *testing.T, p Provider) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestDue(t *testing.T) {
	t.Parallel()
	m := newMachine()
	a := m.authority(t, t.TempDir())
	want := newSubject("lab").with([]netip.Addr{netip.MustParseAddr("10.0.0.1")})
	pair, _, err := a.issue(want, today)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pair.Leaf
	const day = 24 * time.Hour
	less := newSubject("lab")
	more := want.with([]netip.Addr{netip.MustParseAddr("10.0.0.2")})
	late, _, err := a.issue(want, a.NotAfter().Add(-30*day))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		now    time.Time
		leaf   *x509.Certificate
		want   subject
		reason string
		aged   bool
	}{
		{"fresh", today, leaf, want, "", false},
		{"address gone", today, leaf, less, "", false},
		{"address came", today, leaf, more, "10.0.0.2 is new", false},
		{"host renamed", today, leaf, newSubject("shop"), "shop is new", false},
		{"before two thirds", leaf.NotBefore.Add(leafLife/3*2 - time.Second), leaf, want, "", false},
		{"at two thirds", leaf.NotBefore.Add(leafLife / 3 * 2), leaf, more, "the old one is near its end", true},
		{"ended", leaf.NotAfter.Add(time.Hour), leaf, want, "the old one is near its end", true},
		{"clock a little back", today.Add(-23 * time.Hour), leaf, want, "", false},
		{"clock not set", time.Unix(0, 0), leaf, want, "", false},
		{"clock not set, address came", time.Unix(0, 0), leaf, more, "10.0.0.2 is new", false},
		{"made with the clock ahead", today, late.Leaf, want, "the old one is not valid yet", true},
		{"as long as the authority", a.NotAfter().Add(-day), late.Leaf, want, "", false},
	} {
		reason, aged := due(tc.now, tc.leaf, a.cert, tc.want)
		if reason != tc.reason || aged != tc.aged {
			t.Errorf("%s: %q, %v, want %q, %v", tc.name, reason, aged, tc.reason, tc.aged)
		}
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine("10.0.0.1")
		mgr := m.manager(t, m.options(t.TempDir()))
		running(t, mgr)
		first := mgr.Leaf()
		// The clock goes on by a day, the ticker by its pace: years of polls
		// would take minutes.
		pass := func(days int) {
			m.step(time.Duration(days)*24*time.Hour - pollEvery)
			time.Sleep(pollEvery)
			synctest.Wait()
		}
		pass(200)
		if mgr.Leaf() != first {
			t.Fatal("renewed too early")
		}
		// Three years: never without a valid leaf, and not one too many.
		seen := map[*x509.Certificate]bool{}
		for range 3 * 365 {
			pass(1)
			l, now := mgr.Leaf(), m.clock()
			seen[l] = true
			if left := l.NotAfter.Sub(now); left < leafLife/3-25*time.Hour {
				t.Fatalf("%v left at %v", left, now)
			}
		}
		if len(seen) < 4 || len(seen) > 6 {
			t.Errorf("%d leaves in three years", len(seen))
		}
		if err := verify(mgr.CA(), mgr.Leaf(), "10.0.0.1", m.clock()); err != nil {
			t.Error(err)
		}
	})
}

func TestClockSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		m := newMachine("10.0.0.1")
		mgr := m.manager(t, m.options(t.TempDir()))
		running(t, mgr)
		ok := func(when string) {
			t.Helper()
			time.Sleep(pollEvery)
			synctest.Wait()
			if err := verify(mgr.CA(), mgr.Leaf(), "10.0.0.1", m.clock()); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		ok("at the start")
		m.step(500 * day)
		ok("after a step ahead")
		m.step(-400 * day)
		ok("after the step back")
		m.step(time.Unix(0, 0).Sub(m.clock()))
		before := mgr.Leaf()
		time.Sleep(time.Minute)
		synctest.Wait()
		if mgr.Leaf() != before {
			t.Error("a clock that is not set has cost the leaf")
		}
		m.step(today.Sub(m.clock()) + day)
		ok("with the clock set")
	})
}

func TestAddressesChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine("10.0.0.1")
		mgr := m.manager(t, m.options(t.TempDir()))
		running(t, mgr)
		look := func() *x509.Certificate {
			time.Sleep(pollEvery)
			synctest.Wait()
			return mgr.Leaf()
		}
		first := look()
		m.at()
		if look() != first {
			t.Error("an address that went has cost a leaf")
		}
		m.at("192.168.7.2", "fe80::1", "::", "224.0.0.1")
		second := look()
		if second == first {
			t.Fatal("no leaf for the new address")
		}
		if n := len(second.IPAddresses); n != 4 { // loopback, old and new
			t.Errorf("%d addresses: %v", n, second.IPAddresses)
		}
		for _, a := range []string{"192.168.7.2", "10.0.0.1"} {
			if err := verify(mgr.CA(), second, a, m.clock()); err != nil {
				t.Error(err)
			}
		}
		m.at("10.0.0.1")
		if look() != second {
			t.Error("an address that came back has cost a leaf")
		}
		m.called("shop")
		third := look()
		if err := verify(mgr.CA(), third, "shop.local", m.clock()); err != nil {
			t.Error(err)
		}
		// With the age goes what is gone for good.
		m.step(leafLife / 3 * 2)
		fourth := look()
		if err := verify(mgr.CA(), fourth, "192.168.7.2", m.clock()); err == nil {
			t.Error("an address that is long gone stays for ever")
		}
		if m.logged("made a new certificate") != 4 {
			t.Errorf("%d lines for four leaves", m.logged("made a new certificate"))
		}
	})
}

func TestArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine("10.0.0.1")
		mgr := m.manager(t, m.options(t.TempDir()))
		answer := func(name, local string) *x509.Certificate {
			t.Helper()
			c, err := mgr.GetCertificate(hello(name, local))
			if err != nil {
				t.Fatal(err)
			}
			return c.Leaf
		}
		first := mgr.Leaf()
		for _, h := range [][2]string{{"", "10.0.0.1"}, {"", "::ffff:10.0.0.1"}, {"lab.local", "10.0.0.2"}, {"stranger.example", "10.0.0.2"}, {"10.0.0.9", "10.0.0.2"}, {"", "fe80::1"}} {
			if answer(h[0], h[1]) != first {
				t.Errorf("name %q at %s has cost a leaf", h[0], h[1])
			}
		}
		if c, err := mgr.GetCertificate(nil); err != nil || c.Leaf != first {
			t.Errorf("without a hello: %v", err)
		}
		if err := verify(mgr.CA(), answer("", "10.0.0.2"), "10.0.0.2", m.clock()); err != nil {
			t.Error(err)
		}
		// The next one at once must wait for Run.
		second := mgr.Leaf()
		if answer("10.0.0.3", "10.0.0.3") != second {
			t.Error("no limit for leaves by handshakes")
		}
		time.Sleep(arrivalPause)
		running(t, mgr)
		synctest.Wait()
		if err := verify(mgr.CA(), mgr.Leaf(), "10.0.0.3", m.clock()); err != nil {
			t.Error(err)
		}
		third := mgr.Leaf()
		time.Sleep(time.Hour)
		synctest.Wait()
		if mgr.Leaf() != third {
			t.Error("an address that only a handshake told of has cost a second leaf")
		}
	})
}

func TestConcurrentHandshakes(t *testing.T) {
	t.Parallel()
	m := newMachine("10.0.0.1")
	mgr := m.manager(t, m.options(t.TempDir()))
	running(t, mgr)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				local := fmt.Sprintf("10.0.%d.%d", i%4, 1+g%2)
				if c, err := mgr.GetCertificate(hello("", local)); err != nil || c == nil || mgr.Leaf() == nil {
					t.Errorf("no certificate: %v", err)
				}
				if i%10 == 0 {
					m.step(arrivalPause)
					m.at("10.0.0.1", fmt.Sprintf("10.9.%d.%d", g, i))
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			mgr.poll()
		}
	})
	wg.Wait()
}

// TestOneLeafForAll: those who come at the same moment get the same leaf.
func TestOneLeafForAll(t *testing.T) {
	t.Parallel()
	m := newMachine("10.0.0.1")
	mgr := m.manager(t, m.options(t.TempDir()))
	got := make([]*tls.Certificate, 20)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i], _ = mgr.GetCertificate(hello("", "10.0.0.2")) })
	}
	wg.Wait()
	for _, c := range got {
		if c != got[0] || verify(mgr.CA(), c.Leaf, "10.0.0.2", m.clock()) != nil {
			t.Fatal("different leaves, or not for the address")
		}
	}
}

func TestLeafIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMachine("10.0.0.1")
	first := m.manager(t, m.options(dir)).Leaf()
	path := filepath.Join(dir, "tls", "leaf.pem")
	wantMode(t, path, 0o600)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if !m.manager(t, m.options(dir)).Leaf().Equal(first) {
		t.Error("the next start made another leaf")
	}
	wantMode(t, path, 0o600)

	for name, data := range map[string][]byte{"broken": []byte("x"), "empty": nil, "of another authority": nil} {
		if strings.HasPrefix(name, "of") {
			other := t.TempDir()
			m.manager(t, m.options(other))
			data = get(t, filepath.Join(other, "tls", "leaf.pem"))
		}
		put(t, path, data, 0o600)
		mgr := m.manager(t, m.options(dir))
		if err := verify(mgr.CA(), mgr.Leaf(), "10.0.0.1", m.clock()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m.logged("last run cannot be used") != 3 {
		t.Error("not a word about the broken files")
	}
}

func TestLeafThatCannotBeKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMachine("10.0.0.1")
	m.authority(t, dir)
	// A folder with something in it: no rename replaces that.
	if err := os.MkdirAll(filepath.Join(dir, "tls", "leaf.pem", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	mgr := m.manager(t, m.options(dir))
	if err := verify(mgr.CA(), mgr.Leaf(), "10.0.0.1", m.clock()); err != nil {
		t.Error(err)
	}
	if m.logged("could not be kept") != 1 {
		t.Error("not a word about it")
	}
	if _, err := os.Stat(filepath.Join(dir, "tls", "leaf.pem.tmp")); err == nil {
		t.Error("a file with a key is left behind")
	}
}

func TestAuthorityEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine("10.0.0.1")
		mgr := m.manager(t, m.options(t.TempDir()))
		running(t, mgr)
		m.step(mgr.CA().NotAfter().Sub(m.clock()) - 100*24*time.Hour)
		for range 49 {
			m.step(time.Hour - pollEvery)
			time.Sleep(pollEvery)
			synctest.Wait()
		}
		if n := m.logged("the certificate authority ends on"); n != 3 {
			t.Errorf("%d warnings in two days", n)
		}
		if !mgr.Leaf().NotAfter.Equal(mgr.CA().NotAfter()) {
			t.Error("a leaf outlives its authority")
		}
		m.step(200 * 24 * time.Hour)
		m.at("10.0.0.2")
		last := mgr.Leaf()
		time.Sleep(time.Hour)
		synctest.Wait()
		if mgr.Leaf() != last || m.logged("no new certificate") != 1 {
			t.Errorf("%d errors in an hour", m.logged("no new certificate"))
		}
	})
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"nothing":     {Options{}, "no data directory"},
		"bad name":    {Options{Dir: t.TempDir(), ExtraNames: []string{"https://x/"}}, `"https://x/" is no host name`},
		"bad address": {Options{Dir: t.TempDir(), ExtraNames: []string{"fe80::1"}}, "nobody can open a page at the address fe80::1"},
		"too many":    {Options{Dir: t.TempDir(), ExtraNames: make100()}, "at most 64"},
		"no key":      {Options{CertFile: "x"}, "give both files"},
	} {
		if m, err := New(tc.o); err == nil || m != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func make100() []string {
	s := make([]string, 100)
	for i := range s {
		s[i] = fmt.Sprintf("n%d.example", i)
	}
	return s
}

// TestBrowse goes the whole way: a listener, a client that trusts the
// authority, and an address that the manager did not know of.
func TestBrowse(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("NOT CHECKED: this system has no second loopback address: %v", err)
	}
	mgr, err := New(Options{Dir: t.TempDir(), Addresses: func() []netip.Addr { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %x", r.Proto, r.TLS.Version)
		}),
	}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(tls.NewListener(ln, mgr.TLSConfig())) }()
	defer func() {
		hs.Close()
		<-served
	}()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(mgr.CA().PEM())
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, tc := range []struct {
		version uint16
		h2      bool
		want    string
	}{
		{tls.VersionTLS13, true, "HTTP/2.0 304"},
		{tls.VersionTLS12, false, "HTTP/1.1 303"},
		{tls.VersionTLS11, false, ""},
	} {
		tr := &http.Transport{
			ForceAttemptHTTP2: tc.h2,
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS11, MaxVersion: tc.version},
		}
		body := ""
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.2:"+port, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := tr.RoundTrip(req); err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			body = string(b)
		} else if tc.want != "" {
			t.Error(err)
		}
		tr.CloseIdleConnections()
		if body != tc.want {
			t.Errorf("got %q, want %q", body, tc.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	mgr, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(mgr.CA(), mgr.Leaf(), "127.0.0.1", time.Now()); err != nil {
		t.Error(err)
	}
	if der := mgr.CA().DER(); !bytes.Equal(decodePEM(t, mgr.CA().PEM()), der) {
		t.Error("PEM and DER differ")
	}
}
