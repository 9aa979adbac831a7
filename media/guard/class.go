package guard

import "net/netip"

// Class is what kind of place an address is.
type Class string

// Classes of addresses. The values are words for a sentence.
const (
	Public      Class = "a public address"
	Private     Class = "a private address"
	Loopback    Class = "this machine"
	LinkLocal   Class = "a link-local address"
	Multicast   Class = "a multicast address"
	Unspecified Class = "no address of a machine"
	Metadata    Class = "the metadata service of a cloud"
	Reserved    Class = "a reserved address"
)

// Allowed reports whether cameras may be there. Loopback is: a camera server
// on the same machine is common.
func (c Class) Allowed() bool {
	switch c {
	case Public, Private, Loopback:
		return true
	}
	return false
}

// rule says what the addresses of a prefix are. The first that matches counts.
type rule struct {
	prefix netip.Prefix
	class  Class
}

// rules4 follow the IANA IPv4 special-purpose registry (RFC 6890). The ranges
// for documentation and benchmarks stay allowed: nobody is there, or somebody
// who chose to be.
func rules4() []rule {
	return []rule{
		{netip.MustParsePrefix("169.254.169.254/32"), Metadata}, // most clouds
		{netip.MustParsePrefix("100.100.100.200/32"), Metadata}, // Alibaba, within 100.64.0.0/10
		{netip.MustParsePrefix("168.63.129.16/32"), Metadata},   // Azure's host, a public address
		{netip.MustParsePrefix("192.0.0.192/32"), Metadata},     // Oracle
		{netip.MustParsePrefix("169.254.0.0/16"), LinkLocal},    // RFC 3927
		{netip.MustParsePrefix("0.0.0.0/8"), Unspecified},       // Linux takes 0.0.0.0 for loopback
		{netip.MustParsePrefix("127.0.0.0/8"), Loopback},
		{netip.MustParsePrefix("10.0.0.0/8"), Private},
		{netip.MustParsePrefix("172.16.0.0/12"), Private},
		{netip.MustParsePrefix("192.168.0.0/16"), Private},
		{netip.MustParsePrefix("100.64.0.0/10"), Private}, // RFC 6598; also VPNs
		{netip.MustParsePrefix("192.0.0.0/24"), Reserved}, // RFC 6890 section 2.1
		{netip.MustParsePrefix("224.0.0.0/4"), Multicast},
		{netip.MustParsePrefix("240.0.0.0/4"), Reserved}, // with the broadcast address
		{netip.MustParsePrefix("0.0.0.0/0"), Public},
	}
}

// rules6 allow little: what is not known to be in use for machines is refused.
// That takes in all ways of hiding an IPv4 address in an IPv6 one but NAT64,
// which networks without IPv4 depend on: ::/96 and ::ffff:0:0:0/96, 2001::/32
// (Teredo), 2002::/16 (6to4), 64:ff9b:1::/48.
func rules6() []rule {
	return []rule{
		{netip.MustParsePrefix("::1/128"), Loopback},
		{netip.MustParsePrefix("::/128"), Unspecified},
		{netip.MustParsePrefix("fe80::/10"), LinkLocal},
		{netip.MustParsePrefix("ff00::/8"), Multicast},
		{netip.MustParsePrefix("fd00:ec2::/32"), Metadata},          // Amazon
		{netip.MustParsePrefix("fd20:ce::254/128"), Metadata},       // Google
		{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), Metadata}, // Oracle
		{netip.MustParsePrefix("fd00:42::42/128"), Metadata},        // Scaleway
		{netip.MustParsePrefix("fc00::/7"), Private},                // RFC 4193
		{netip.MustParsePrefix("2001::/32"), Reserved},              // RFC 4380
		{netip.MustParsePrefix("2002::/16"), Reserved},              // RFC 7526
		{netip.MustParsePrefix("2000::/3"), Public},                 // RFC 4291 section 2.4
		{netip.MustParsePrefix("::/0"), Reserved},
	}
}

// Classify tells what kind of place an address is. An IPv4 address inside of
// an IPv6 one counts as itself (RFC 4291 section 2.5.5.2, RFC 6052).
func Classify(a netip.Addr) Class {
	if !a.IsValid() {
		return Unspecified
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return match(rules4(), a)
	}
	if netip.MustParsePrefix("64:ff9b::/96").Contains(a) {
		b := a.As16()
		inner := match(rules4(), netip.AddrFrom4([4]byte(b[12:])))
		if inner == Loopback {
			return Reserved // the translator's own, not ours
		}
		return inner
	}
	return match(rules6(), a)
}

func match(rules []rule, a netip.Addr) Class {
	for _, r := range rules {
		if r.prefix.Contains(a) {
			return r.class
		}
	}
	return Reserved
}
