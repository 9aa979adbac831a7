package connect

import (
	"cmp"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Hosts are the names and addresses that a certificate is for and a phone can
// use, the likeliest first. Prefer is the machine's main address and comes
// before all others (see MainAddress). Issued says that the certificate is one
// of our own authority: it follows the addresses, which need no name service;
// in a certificate from elsewhere the names come first.
func Hosts(leaf *x509.Certificate, prefer netip.Addr, issued bool) []string {
	if leaf == nil {
		return nil
	}
	type host struct {
		name string
		rank int
	}
	var l []host
	for _, ip := range leaf.IPAddresses {
		a, ok := netip.AddrFromSlice(ip)
		if a = a.Unmap(); !ok || a.IsLoopback() || a.IsUnspecified() || a.Is6() && a.IsLinkLocalUnicast() {
			continue
		}
		rank := rankAddr(a)
		if a == prefer.Unmap() {
			rank = 0
		}
		l = append(l, host{a.String(), rank})
	}
	for _, n := range leaf.DNSNames {
		if n == "localhost" || strings.Contains(n, "*") {
			continue
		}
		rank := rankName(n)
		if !issued {
			rank -= 100
		}
		l = append(l, host{n, rank})
	}
	slices.SortStableFunc(l, func(a, b host) int { return cmp.Compare(a.rank, b.rank) })
	out := make([]string, len(l))
	for i, h := range l {
		out[i] = h.name
	}
	return out
}

// rankAddr puts the address ranges of homes before those of companies and of
// container bridges (172.16/12, where Docker begins).
func rankAddr(a netip.Addr) int {
	b := a.As16()
	switch {
	case a.Is4() && a.IsPrivate() && b[12] == 192:
		return 1
	case a.Is4() && a.IsPrivate() && b[12] == 10:
		return 2
	case a.Is4() && !a.IsPrivate() && !a.IsLinkLocalUnicast():
		return 3
	case a.Is4() && a.IsPrivate():
		return 4
	case a.Is6() && a.IsPrivate():
		return 7
	case a.Is6():
		return 8
	}
	return 9 // 169.254/16: a cable between two machines
}

// rankName: phones resolve .local by mDNS, bare names only with luck.
func rankName(n string) int {
	switch {
	case strings.HasSuffix(n, ".local"):
		return 5
	case strings.Contains(n, "."):
		return 6
	}
	return 10
}

// MainAddress is the address from which this machine would talk to another
// network; invalid where there is no way to one. Nothing is sent.
func MainAddress() netip.Addr {
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // RFC 5737, RFC 3849
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(far)))
		if err != nil {
			continue
		}
		a, ok := c.LocalAddr().(*net.UDPAddr)
		_ = c.Close() // nothing was sent that could be lost
		if ok {
			return a.AddrPort().Addr().Unmap().WithZone("")
		}
	}
	return netip.Addr{}
}

// bases are scheme, host and port of the secure or the plain pages, best first.
// The host of the request comes before all others: it has just been seen to
// work, and the gate has checked that it is ours.
func bases(r *http.Request, reach Reach, secure bool) []string {
	scheme, listen := "http", reach.HTTP
	if secure {
		scheme, listen = "https", reach.HTTPS
	}
	out := []string{}
	add := func(s string) {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if secure {
		add(own(r, reach))
	}
	bound, port, err := net.SplitHostPort(listen)
	if err != nil {
		return out
	}
	if a, err := netip.ParseAddr(bound); err == nil && !a.IsUnspecified() {
		// It listens on one address: no other leads to it.
		if !a.IsLoopback() || len(out) == 0 {
			add(base(scheme, a.String(), port))
		}
		return out
	}
	if h := host(r); h != "" && !local(h) && !proxied(r) {
		add(base(scheme, h, port))
	}
	for _, h := range reach.Hosts {
		add(base(scheme, h, port))
	}
	return out
}

// own is the secure address under the host of the request; "" where there is
// none that another device could use.
func own(r *http.Request, reach Reach) string {
	h := host(r)
	switch {
	case h == "":
		return ""
	case r.TLS != nil, proxied(r):
		if local(h) {
			return ""
		}
		return (&url.URL{Scheme: "https", Host: r.Host}).String()
	}
	bound, port, err := net.SplitHostPort(reach.HTTPS)
	if err != nil {
		return ""
	}
	if a, err := netip.ParseAddr(bound); err == nil && !a.IsUnspecified() {
		if b, err := netip.ParseAddr(h); err == nil && a.Unmap() != b.Unmap() {
			return "" // it listens on another address
		}
	}
	if local(h) {
		return ""
	}
	return base("https", h, port)
}

func base(scheme, host, port string) string {
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// host is the one of the Host header, without port and brackets.
func host(r *http.Request) string {
	u := url.URL{Host: r.Host}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

// local reports a name that leads every machine to itself (RFC 6761 section
// 6.3), and so no phone to this one.
func local(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.IsLoopback() || a.IsUnspecified()
	}
	return h == "localhost" || strings.HasSuffix(h, ".localhost")
}

// proxied reports that a proxy before this server ended TLS.
func proxied(r *http.Request) bool {
	return r.TLS == nil && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func escape(token string) string { return url.QueryEscape(token) }
