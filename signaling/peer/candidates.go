package peer

import (
	"context"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// candidateLine is one a=candidate attribute without the "a=" (RFC 8839
// section 5.1).
func candidateLine(addr netip.AddrPort, tcp bool, localPref uint32) string {
	kind, transport, suffix := uint32(126), "udp", ""
	if tcp {
		// RFC 6544 section 4.2: TCP below UDP.
		kind, transport, suffix = 90, "tcp", " tcptype passive"
	}
	prio := kind<<24 | localPref<<8 | 255
	f := crc32.ChecksumIEEE([]byte(transport + addr.String()))
	return fmt.Sprintf("candidate:%d 1 %s %d %s %d typ host%s", f, transport, prio, addr.Addr(), addr.Port(), suffix)
}

// extraCandidates are the addresses that no interface of ours has but a viewer
// can reach: those of the configuration, and the one the page was opened with
// (a forwarded port, a container's host).
func (s *Server) extraCandidates(pageHost string, have func(netip.Addr) bool) []string {
	var out []string
	add := func(a netip.AddrPort) {
		if have(a.Addr()) {
			return
		}
		out = append(out, candidateLine(a, false, 65535))
		if s.tcp != nil {
			out = append(out, candidateLine(a, true, 65535))
		}
	}
	s.mu.Lock()
	extra := s.extra
	s.mu.Unlock()
	for _, a := range extra {
		add(a)
	}
	host := pageHost
	if h, _, err := net.SplitHostPort(pageHost); err == nil {
		host = h
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && a.Zone() == "" &&
		!a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() {
		add(netip.AddrPortFrom(a.Unmap(), s.port))
	}
	return out
}

// lookupInterval is how often names among the extra addresses are looked up.
const lookupInterval = time.Minute

// followNames keeps the extra addresses up to date until ctx is done: an answer
// never waits for a name server.
func (s *Server) followNames(ctx context.Context) {
	tick := time.NewTicker(lookupInterval)
	defer tick.Stop()
	for {
		var all []netip.AddrPort
		for _, x := range s.opts.ExtraAddresses {
			a, err := resolveExtra(ctx, x, s.port)
			if err != nil && ctx.Err() == nil {
				s.log.Warn("webrtc.extra_addresses: left out for now", "address", x, "error", err)
			}
			all = append(all, a...)
		}
		s.mu.Lock()
		s.extra = all
		s.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// resolveExtra reads "ip", "ip:port", "name" or "name:port".
func resolveExtra(ctx context.Context, x string, port uint16) ([]netip.AddrPort, error) {
	host := x
	if h, p, err := net.SplitHostPort(x); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", p, err)
		}
		host, port = h, uint16(n)
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var out []netip.AddrPort
	for _, a := range ips {
		out = append(out, netip.AddrPortFrom(a.Unmap(), port))
	}
	return out, err
}

// finishAnswer takes loopback candidates out of an answer that goes to another
// machine and puts the extra ones in.
func (s *Server) finishAnswer(sdp, pageHost string) string {
	local := loopback(pageHost)
	have := map[netip.Addr]bool{}
	lines := strings.SplitAfter(sdp, "\r\n")
	out := make([]string, 0, len(lines)+4)
	at := -1
	for _, l := range lines {
		if a, ok := candidateAddr(l); ok {
			if a.IsLoopback() && !local || a.Is6() && a.IsLinkLocalUnicast() {
				continue
			}
			have[a] = true
			at = len(out)
		} else if at < 0 && strings.HasPrefix(l, "a=ice-pwd:") {
			at = len(out)
		}
		out = append(out, l)
	}
	if at < 0 {
		return sdp
	}
	extra := s.extraCandidates(pageHost, func(a netip.Addr) bool { return have[a] })
	var b strings.Builder
	for i, l := range out {
		b.WriteString(l)
		if i == at {
			for _, e := range extra {
				b.WriteString("a=" + e + "\r\n")
			}
		}
	}
	return b.String()
}

// withoutLoopback takes the loopback candidates out of an offer that goes to
// another machine.
func withoutLoopback(sdp, host string) string {
	if loopback(host) {
		return sdp
	}
	var b strings.Builder
	for l := range strings.Lines(sdp) {
		if a, ok := candidateAddr(l); !ok || !a.IsLoopback() {
			b.WriteString(l)
		}
	}
	return b.String()
}

// candidateAddr returns the address of an a=candidate line.
func candidateAddr(line string) (netip.Addr, bool) {
	if !strings.HasPrefix(line, "a=candidate:") {
		return netip.Addr{}, false
	}
	f := strings.Fields(line)
	if len(f) < 6 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(f[4])
	return a.Unmap(), err == nil
}
