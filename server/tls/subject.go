package tlscert

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxAddresses bounds the addresses of a leaf, the loopback's aside. A machine
// full of containers has hundreds; a certificate of that size costs each
// handshake a round trip.
const maxAddresses = 64

// subject is whom a leaf speaks for. It is a value: change a copy.
type subject struct {
	common string
	names  []string     // host names, ASCII, lower case
	addrs  []netip.Addr // without zone, IPv4 not mapped
}

// subjectOf reads the subject of a certificate.
func subjectOf(c *x509.Certificate) subject {
	s := subject{common: c.Subject.CommonName, names: c.DNSNames}
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			s.addrs = append(s.addrs, a.Unmap())
		}
	}
	return s
}

// missing returns the first of want that s does not have, "" for none.
func (s subject) missing(want subject) string {
	for _, n := range want.names {
		if !slices.Contains(s.names, n) {
			return n
		}
	}
	for _, a := range want.addrs {
		if !slices.Contains(s.addrs, a) {
			return a.String()
		}
	}
	return ""
}

// with adds addresses up to the limit.
func (s subject) with(addrs []netip.Addr) subject {
	s.addrs = slices.Clone(s.addrs)
	for _, a := range addrs {
		if a = plain(a); usable(a) && !slices.Contains(s.addrs, a) && len(s.addrs) < maxAddresses+2 {
			s.addrs = append(s.addrs, a)
		}
	}
	return s
}

func (s subject) netIPs() []net.IP {
	ips := make([]net.IP, len(s.addrs))
	for i, a := range s.addrs {
		ips[i] = a.AsSlice()
	}
	return ips
}

// plain is an address as it stands in a certificate.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// usable says whether somebody can put the address into a browser. The
// link-local ones of IPv6 need a zone, which no browser takes (RFC 6874 never
// came to be); those of IPv4 are what a direct cable gives.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !(a.Is6() && a.IsLinkLocalUnicast())
}

// newSubject is what a machine of that name is known by in itself. A name that
// cannot be one is left out.
func newSubject(host string) subject {
	s := subject{
		common: "Camwire",
		names:  []string{"localhost"},
		addrs:  []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()},
	}
	name, err := cleanName(host)
	if err != nil || strings.HasPrefix(name, "*") {
		return s
	}
	s.common = name
	// mDNS (RFC 6762) knows a machine by its first label.
	first, _, _ := strings.Cut(name, ".")
	for _, n := range []string{name, first, first + ".local"} {
		if !slices.Contains(s.names, n) {
			s.names = append(s.names, n)
		}
	}
	return s
}

// cleanName brings a host name into the form of certificates: lower case,
// ASCII (RFC 5891), no dot at its end. The first label may be "*".
func cleanName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "."))
	if strings.IndexFunc(name, func(r rune) bool { return r >= 0x80 }) >= 0 {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", fmt.Errorf("%q is no host name: %w", s, err)
		}
		name = ascii
	}
	rest := strings.TrimPrefix(name, "*.")
	if rest == "" || len(name) > 253 {
		return "", fmt.Errorf("%q is no host name", s)
	}
	for label := range strings.SplitSeq(rest, ".") {
		if !validLabel(label) {
			return "", fmt.Errorf("%q is no host name: letters, digits and hyphens, with single dots between", s)
		}
	}
	return name, nil
}

// validLabel allows the underscore: machines have it in their names, and
// browsers take it.
func validLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	return strings.IndexFunc(l, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}

// splitNames sorts what the operator wrote into names and addresses.
func splitNames(in []string) (names []string, addrs []netip.Addr, err error) {
	for _, s := range in {
		if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			if a = plain(a); !usable(a) {
				return nil, nil, fmt.Errorf("certificate: nobody can open a page at the address %s: leave it out", s)
			}
			addrs = append(addrs, a)
			continue
		}
		n, err := cleanName(s)
		if err != nil {
			return nil, nil, fmt.Errorf("certificate: %w; write names without scheme, port or path", err)
		}
		names = append(names, n)
	}
	if len(names) > maxAddresses || len(addrs) > maxAddresses {
		return nil, nil, fmt.Errorf("certificate: %d extra names and addresses, at most %d of each fit", len(in), maxAddresses)
	}
	return names, addrs, nil
}

// interfaceAddresses are those under which this machine can be reached, the
// likeliest first.
func interfaceAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // looked at again soon
	}
	// A file of Linux; elsewhere there is none and all addresses count.
	table, _ := os.ReadFile("/proc/net/if_inet6")
	passing := passingAddresses(table)
	var out []netip.Addr
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if ip = plain(ip); !ok || !usable(ip) || ip.IsLoopback() || passing[ip] {
			continue
		}
		out = append(out, ip)
	}
	slices.SortFunc(out, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Compare(b))
	})
	return slices.Compact(out)
}

func rank(a netip.Addr) int {
	switch {
	case a.Is4() && a.IsPrivate():
		return 0
	case a.Is4() && !a.IsLinkLocalUnicast():
		return 1
	case a.IsPrivate():
		return 2
	case a.Is6():
		return 3
	}
	return 4
}

// passingAddresses reads /proc/net/if_inet6 and returns the addresses that
// nobody is told of: temporary ones (RFC 8981), of which there is a new one
// each day, and those that are not in use yet or are in conflict (RFC 4862).
func passingAddresses(table []byte) map[netip.Addr]bool {
	// include/uapi/linux/if_addr.h
	const temporary, dadFailed, tentative = 0x01, 0x08, 0x40
	out := map[netip.Addr]bool{}
	for sc := bufio.NewScanner(bytes.NewReader(table)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 6 {
			continue
		}
		raw, err := hex.DecodeString(f[0])
		flags, ferr := strconv.ParseUint(f[4], 16, 32)
		a, ok := netip.AddrFromSlice(raw)
		if err != nil || ferr != nil || !ok {
			continue
		}
		if flags&(temporary|dadFailed|tentative) != 0 {
			out[plain(a)] = true
		}
	}
	return out
}
