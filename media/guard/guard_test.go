package guard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want Class
	}{
		{"8.8.8.8", Public}, {"192.0.2.1", Public}, {"198.18.0.5", Public}, {"2606:4700::1", Public}, {"2001:db8::1", Public},
		{"10.0.0.1", Private}, {"172.16.0.1", Private}, {"172.31.255.255", Private}, {"172.32.0.1", Public},
		{"192.168.1.100", Private}, {"100.64.0.1", Private}, {"100.127.0.1", Private}, {"100.128.0.1", Public},
		{"fd12:3456::1", Private}, {"fc00::1", Private},
		{"127.0.0.1", Loopback}, {"127.255.255.254", Loopback}, {"::1", Loopback}, {"::ffff:127.0.0.1", Loopback},
		{"169.254.1.1", LinkLocal}, {"fe80::1", LinkLocal}, {"fe80::1%eth0", LinkLocal}, {"febf::1", LinkLocal}, {"::ffff:169.254.7.7", LinkLocal},
		{"169.254.169.254", Metadata}, {"::ffff:169.254.169.254", Metadata}, {"64:ff9b::a9fe:a9fe", Metadata},
		{"100.100.100.200", Metadata}, {"168.63.129.16", Metadata}, {"192.0.0.192", Metadata},
		{"fd00:ec2::254", Metadata}, {"fd00:ec2::23", Metadata}, {"fd20:ce::254", Metadata}, {"fd00:c1::a9fe:a9fe", Metadata}, {"fd00:42::42", Metadata},
		{"224.0.0.1", Multicast}, {"239.1.2.3", Multicast}, {"ff02::1", Multicast},
		{"0.0.0.0", Unspecified}, {"0.1.2.3", Unspecified}, {"::", Unspecified}, {"::ffff:0.0.0.0", Unspecified},
		{"255.255.255.255", Reserved}, {"240.0.0.1", Reserved}, {"192.0.0.8", Reserved},
		{"::7f00:1", Reserved}, {"::ffff:0:7f00:1", Reserved}, {"2002:7f00:1::", Reserved}, {"2001::1", Reserved},
		{"64:ff9b::7f00:1", Reserved}, {"64:ff9b:1::7f00:1", Reserved}, {"64:ff9b::808:808", Public}, {"64:ff9b::c0a8:101", Private},
		{"fec0::1", Reserved}, {"100::1", Reserved}, {"4000::1", Reserved},
	} {
		got := Classify(netip.MustParseAddr(tt.addr))
		if got != tt.want {
			t.Errorf("%s is %s, want %s", tt.addr, got, tt.want)
		}
		ok := tt.want == Public || tt.want == Private || tt.want == Loopback
		if got.Allowed() != ok {
			t.Errorf("%s allowed: %v", tt.addr, got.Allowed())
		}
	}
	if Classify(netip.Addr{}).Allowed() {
		t.Error("no address at all is allowed")
	}
}

// newGuard is on a machine with the address 192.168.1.5, and has three ports.
func newGuard(t testing.TB) *Guard {
	t.Helper()
	return New(Options{
		DataDir:   t.TempDir(),
		Ports:     func() []int { return []int{80, 8080, 8554} },
		Addresses: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.168.1.5")}, nil },
	})
}

func TestCheck(t *testing.T) {
	g := newGuard(t)
	for _, s := range []string{
		"0", "255", "/dev/video0", "/dev/v4l/by-id/usb-046d-video-index0", "usb:C920", "usb:046d:082d", "test:", "test:?codec=raw",
		"rtsp://192.168.1.100:554/stream1", "rtsp://user:secret@camera.local/x", "rtsps://[fd00::5]/x", "http://192.168.1.101/video.mjpeg",
		"https://example.com/cam", "whep:https://portal.example/whep/door", "whep:http://192.168.1.9:8080/whep/x",
		"rtsp://127.0.0.1:9554/other", "http://localhost:9000/", "http://192.168.1.5:81/", "http://192.168.1.6:8080/",
		"http://[::1]:9000/", "http://10.local:8080/",
	} {
		if err := g.Check(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "-1", "1.5", "exec:ffmpeg -i x", "exec:[\"sh\"]", "file:///etc/passwd", "gopher://192.168.1.1/", "ftp://192.168.1.1/", "unix:/run/x",
		"RTSP://192.168.1.1/", "whep:rtsp://192.168.1.1/", "whep:exec:sh", "whep:",
		"/etc/passwd", "/dev/watchdog", "/dev/video/../sda", "/dev/../etc/passwd", "/dev/sda", "usb:/dev/sda",
		"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://[::ffff:169.254.169.254]/",
		"whep:http://169.254.169.254/", "rtsp://[fe80::1%25eth0]/", "rtsp://224.1.1.1/", "http://0.0.0.0/", "http://[::]:8080/", "http://255.255.255.255/",
		"rtsp://127.0.0.1:8554/door", "rtsp://192.168.1.5:8554/door", "http://localhost:8080/", "http://LOCALHOST.:8080/", "http://x.localhost:8080/",
		"http://127.0.0.1/", "http://[::1]:8080/", "http://[::ffff:127.0.0.1]:8080/", "http://127.99.1.2:8080/",
		"http://2130706433/", "http://0x7f000001/", "http://127.1/", "http://0x7f.1/", "http://127.0.0.0x1:9/", "http://1.2.3.4.5/",
		"http:///x", "http://", "http:192.168.1.1", "http://host:0/", "http://host:70000/", "http://us er@host/",
		"images:/etc/*.jpg", "watch:/", "watch:",
	} {
		err := g.Check(s)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrForbidden) || e.Reason == "" {
			t.Errorf("%s: %v", s, err)
		}
	}
	secret := "rtsp://admin:hunter2@169.254.1.1/x?pw=hunter2"
	if err := g.Check(secret); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the password is told: %v", err)
	}
}

func TestUnknownOwnAddresses(t *testing.T) {
	g := New(Options{
		Ports:     func() []int { return []int{8080} },
		Addresses: func() ([]netip.Addr, error) { return nil, errors.New("no netlink") },
	})
	if err := g.Check("http://192.168.1.9:8080/"); err == nil {
		t.Error("a port of ours on an address that may be ours")
	}
	if err := g.Check("http://192.168.1.9:8081/"); err != nil {
		t.Error(err)
	}
}

func TestOwnInterfacesAreFound(t *testing.T) {
	all, err := New(Options{}).opts.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.IsLoopback() {
			return
		}
	}
	t.Errorf("no loopback among %v", all)
}

func TestFiles(t *testing.T) {
	data, outside := t.TempDir(), t.TempDir()
	g := New(Options{DataDir: data})
	for _, d := range []string{"ftp/door", "a[b]"} {
		if err := os.MkdirAll(filepath.Join(data, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"out": outside, "in": filepath.Join(data, "ftp"), "later": filepath.Join(outside, "later")} {
		if err := os.Symlink(target, filepath.Join(data, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{
		"watch:" + data, "watch:" + data + "/ftp", "watch:" + data + "/ftp/door/new/deep", "watch:" + data + "/in/door", "watch:" + data + "/a[b]",
		"images:" + data + "/*.jpg", "images:" + data + "/ftp/*/x?.jpg", "images:" + data + "/ftp/door/..jpg", "images:" + data + "/./ftp//x.jpg",
	} {
		if err := g.Check(s); err != nil {
			t.Errorf("%s: %v", strings.ReplaceAll(s, data, "DATA"), err)
		}
	}
	for _, s := range []string{
		"watch:" + outside, "watch:" + data + "x", "watch:" + filepath.Dir(data), "watch:" + data + "/..", "watch:" + data + "/ftp/../../x",
		"watch:" + data + "/out", "watch:" + data + "/out/new", "images:" + data + "/out/*.jpg", "images:" + data + "/*/../../*.jpg", "images:*.jpg",
		"images:/*", "watch:" + data + "/later", "watch:" + data + "/later/x",
	} {
		if err := g.Check(s); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", strings.ReplaceAll(s, data, "DATA"), err)
		}
	}
	if err := New(Options{}).Check("watch:" + data); !errors.Is(err, ErrForbidden) {
		t.Error("files without a data directory")
	}
}

// dns answers A questions on a socket; it gives each answer of a name in turn,
// the last one for ever.
type dns struct {
	conn    net.PacketConn
	answers map[string][][]string
}

func newDNS(t *testing.T, answers map[string][][]string) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dns{c, answers}
	done := make(chan struct{})
	go func() { defer close(done); d.serve() }()
	t.Cleanup(func() { c.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func (d *dns) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		name := strings.TrimSuffix(q.Name.String(), ".")
		out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		if l := d.answers[name]; q.Type == dnsmessage.TypeA && len(l) > 0 {
			for _, a := range l[0] {
				out.Answers = append(out.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
				})
			}
			if len(l) > 1 {
				d.answers[name] = l[1:]
			}
		}
		b, err := out.Pack()
		if err == nil {
			_, _ = d.conn.WriteTo(b, from)
		}
	}
}

func listen(t *testing.T) (port string, accepted func() bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, func() bool {
		c, err := l.Accept()
		if err == nil {
			c.Close()
		}
		return err == nil
	}
}

func TestDial(t *testing.T) {
	port, accepted := listen(t)
	g := New(Options{Resolver: newDNS(t, map[string][][]string{
		"camera.test":  {{"127.0.0.1"}},
		"mixed.test":   {{"169.254.169.254", "127.0.0.1"}},
		"evil.test":    {{"169.254.169.254"}},
		"rebound.test": {{"127.0.0.1"}, {"169.254.169.254"}},
	})})
	for _, host := range []string{"127.0.0.1", "camera.test", "mixed.test", "rebound.test"} {
		c, err := g.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		if !accepted() {
			t.Errorf("%s: not connected", host)
		}
		c.Close()
	}
	for _, address := range []string{
		"169.254.169.254:80", "evil.test:80", "rebound.test:80", "[fe80::1%lo]:80", "0.0.0.0:" + port, "[::]:" + port, ":" + port, "[::ffff:0.0.0.0]:" + port, "224.0.0.1:80",
	} {
		c, err := g.DialContext(t.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := g.DialContext(t.Context(), "udp", "127.0.0.1:"+port); !errors.Is(err, ErrForbidden) {
		t.Errorf("udp: %v", err)
	}
	if _, err := g.DialContext(t.Context(), "tcp", "unknown.test:80"); err == nil || errors.Is(err, ErrForbidden) {
		t.Errorf("a name that is none: %v", err)
	}
}

func TestDialOwnPort(t *testing.T) {
	port, _ := listen(t)
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	g := New(Options{
		Ports:    func() []int { return []int{n} },
		Resolver: newDNS(t, map[string][][]string{"me.test": {{"127.0.0.2"}}}),
	})
	for _, host := range []string{"127.0.0.1", "me.test"} {
		if c, err := g.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, ErrForbidden) {
			if err == nil {
				c.Close()
			}
			t.Errorf("%s: %v", host, err)
		}
	}
}

// A redirect is dialled, and so judged, like everything else.
func TestRedirect(t *testing.T) {
	far := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusFound))
	defer far.Close()
	tr := &http.Transport{DialContext: New(Options{}).DialContext}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(far.URL)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, ErrForbidden) {
		t.Error(err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		"0", "/dev/video0", "usb:x", "test:?a=b", "rtsp://u:p@192.168.1.1/x", "http://[::1]:80/", "whep:https://x/y", "images:/a/*.jpg", "watch:/a/../b",
		"http://2130706433/", "exec:sh", "http://%31%32%37.0.0.1/", "http://[fe80::1%25x]/",
	} {
		f.Add(s)
	}
	g := New(Options{
		DataDir: "data", Ports: func() []int { return []int{8080} },
		Addresses: func() ([]netip.Addr, error) { return nil, nil },
	})
	f.Fuzz(func(t *testing.T, s string) {
		if err := g.Check(s); err != nil {
			if !errors.Is(err, ErrForbidden) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		lower := strings.ToLower(strings.TrimSpace(s))
		if strings.HasPrefix(lower, "exec") || strings.HasPrefix(lower, "file") {
			t.Errorf("%q passes", s)
		}
		u, err := url.Parse(strings.TrimPrefix(s, "whep:"))
		if err != nil || u.Host == "" {
			return
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && strings.Contains(s, "://") && !strings.HasPrefix(s, "usb:") && !strings.HasPrefix(s, "test:") {
			if !Classify(a).Allowed() {
				t.Errorf("%q passes to %s", s, Classify(a))
			}
		}
	})
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::1", "fe80::1%x"} {
		a := netip.MustParseAddr(s)
		f.Add(a.AsSlice())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		c := Classify(a)
		plain := a.Unmap()
		bad := plain.IsMulticast() || plain.IsLinkLocalUnicast() || plain.IsUnspecified()
		if bad && c.Allowed() {
			t.Errorf("%s is %s", a, c)
		}
		if plain.IsLoopback() != (c == Loopback) {
			t.Errorf("%s is %s", a, c)
		}
	})
}
