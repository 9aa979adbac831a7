// Package guard judges sources that come from the network rather than from the
// owner's configuration file. Camwire stands inside the LAN and opens what it is
// told to open; whoever may only talk to its API must not use that to reach
// what only this machine can reach: its own listeners, the neighbours' link,
// the metadata service of a cloud, files outside of the data directory, or a
// program.
//
// Check judges what is written, before anything is opened; DialContext judges
// every address that is really dialled, so that a name which resolves to
// something else later, or a redirect, is caught as well. The package opens no
// camera and knows neither configuration nor API. Sources of the
// configuration file need no guard: whoever can write it owns the machine.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrForbidden is wrapped by every refusal of this package.
var ErrForbidden = errors.New("not allowed for a camera added through the API")

// Error is a refusal. Its text is meant for the person who asked; it holds no
// part of a URL but the scheme and a numeric address.
type Error struct {
	// Reason says what is wrong, and the way out where there is one.
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Unwrap makes errors.Is(err, ErrForbidden) work.
func (e *Error) Unwrap() error { return ErrForbidden }

func refuse(format string, args ...any) error { return &Error{Reason: fmt.Sprintf(format, args...)} }

// Options of a Guard.
type Options struct {
	// DataDir is the only folder below which images: and watch: may read;
	// empty: they may nowhere.
	DataDir string
	// Ports returns the TCP ports that this program listens on. It is asked
	// at each check, because listeners move. Nil: there are none.
	Ports func() []int
	// Addresses returns the addresses of this machine; default those of its
	// interfaces, as they are at the moment of the check.
	Addresses func() ([]netip.Addr, error)
	// Resolver resolves names; default net.DefaultResolver.
	Resolver *net.Resolver
	// Timeout of one dial with the resolving before it; default 10 s.
	Timeout time.Duration
}

// Guard judges sources and dials what it has judged. All methods may be called
// from any goroutine.
type Guard struct{ opts Options }

// New returns a guard.
func New(o Options) *Guard {
	if o.Ports == nil {
		o.Ports = func() []int { return nil }
	}
	if o.Addresses == nil {
		o.Addresses = interfaceAddresses
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return &Guard{opts: o}
}

func interfaceAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out, nil
}

// Check judges a source as a camera's entry has it: a number, /dev/…, usb:,
// rtsp://, rtsps://, http://, https://, whep:http(s)://, images:, watch: or
// test:. What it does not know it refuses. Names are not resolved here:
// DialContext judges what they turn out to be. The error is an *Error.
func (g *Guard) Check(source string) error {
	if n, err := strconv.Atoi(source); err == nil && n >= 0 {
		return nil
	}
	if strings.HasPrefix(source, "/") {
		return checkDevice(source)
	}
	scheme, rest, _ := strings.Cut(source, ":")
	switch scheme {
	case "usb":
		if strings.HasPrefix(rest, "/") {
			return checkDevice(rest)
		}
		return nil
	case "test":
		return nil
	case "rtsp", "rtsps", "http", "https":
		return g.checkURL(source, scheme)
	case "whep":
		inner, _, _ := strings.Cut(rest, ":")
		if inner != "http" && inner != "https" {
			return refuse("whep: wants an http:// or https:// address after it")
		}
		return g.checkURL(rest, inner)
	case "images":
		return g.checkFiles(rest, true)
	case "watch":
		return g.checkFiles(rest, false)
	case "exec":
		return refuse("commands are taken from the configuration file only")
	}
	return refuse("this kind of source is taken from the configuration file only")
}

// defaultPort follows RFC 2326 section 3.2, the IANA registration of rtsps
// (322), and RFC 9110 section 4.2.
func defaultPort(scheme string) uint16 {
	switch scheme {
	case "rtsp":
		return 554
	case "rtsps":
		return 322
	case "https":
		return 443
	default:
		return 80
	}
}

func (g *Guard) checkURL(s, scheme string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != scheme || u.Opaque != "" {
		return refuse("%s:// is not followed by a readable address", scheme)
	}
	port := defaultPort(scheme)
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return refuse("the port must be 1 to 65535")
		}
		port = uint16(n)
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if a, err := netip.ParseAddr(host); err == nil {
		return g.CheckAddr(netip.AddrPortFrom(a, port))
	}
	switch {
	case host == "":
		return refuse("the host is missing")
	case endsInNumber(host):
		// Some resolvers take 2130706433, 0x7f.1 and 127.1 for 127.0.0.1.
		return refuse("the host is neither a name nor a complete IP address: write four numbers from 0 to 255")
	case host == "localhost" || strings.HasSuffix(host, ".localhost"): // RFC 6761 section 6.3
		return g.CheckAddr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
	}
	return nil
}

// endsInNumber tells hosts that a resolver may read as an IPv4 address in one
// of its old forms (URL Standard, "ends in a number checker").
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last != "" && strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(last, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// CheckAddr judges one address with its port. The error is an *Error.
func (g *Guard) CheckAddr(ap netip.AddrPort) error {
	a := ap.Addr().Unmap().WithZone("")
	class := Classify(a)
	if !class.Allowed() {
		return refuse("%s is %s: no camera is reached there through the API", a, class)
	}
	if !slices.Contains(g.opts.Ports(), int(ap.Port())) {
		return nil
	}
	own := class == Loopback
	if !own {
		mine, err := g.opts.Addresses()
		if err != nil {
			return refuse("whether %s is this machine itself cannot be told: choose another port for the camera", a)
		}
		own = slices.ContainsFunc(mine, func(m netip.Addr) bool { return m.Unmap().WithZone("") == a })
	}
	if own {
		return refuse("port %d of this machine is Camwire's own: its cameras can be watched without adding them again", ap.Port())
	}
	return nil
}

// DialContext connects to a host by TCP. The name is resolved once, and every
// address is judged at the moment when it is dialled; of several that a name
// has, those that are allowed are tried. It fits http.Transport and every
// other place that takes a dial function. A refusal is an *Error.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, refuse("network %q: sources are reached by TCP", network)
	}
	d := net.Dialer{
		Timeout:  g.opts.Timeout,
		Resolver: g.opts.Resolver,
		// What arrives here goes into connect(2) as it is: nothing can come
		// between the judgement and the connection.
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return refuse("the host is missing")
			}
			return g.CheckAddr(ap)
		},
	}
	c, err := d.DialContext(ctx, network, address)
	var no *Error
	if errors.As(err, &no) {
		return nil, no
	}
	return c, err
}
