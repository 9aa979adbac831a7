package auth

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// maxGiven bounds how many cookies of our name are tried.
const maxGiven = 4

// FromRequest collects the credentials of an HTTP request: Authorization
// (Bearer, RFC 6750 section 2.1, or Basic, RFC 7617, with a password or a token
// as such), ?token=, and the session cookie.
func FromRequest(r *http.Request) Credentials {
	c := Credentials{
		Remote:  Remote(r),
		Foreign: Changes(r) && !SameOrigin(r),
	}
	if user, pass, ok := r.BasicAuth(); ok {
		c.Logins = append(c.Logins, Login{user, pass})
	} else if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		c.Tokens = append(c.Tokens, strings.TrimSpace(token))
	}
	if strings.Contains(r.URL.RawQuery, "token") {
		if t := r.URL.Query().Get("token"); t != "" {
			c.Tokens = append(c.Tokens, t)
		}
	}
	// Over TLS the plain cookie of the same host comes as well.
	for _, name := range []string{TLSCookieName, CookieName} {
		for _, k := range r.CookiesNamed(name) {
			if len(c.Sessions) < maxGiven {
				c.Sessions = append(c.Sessions, k.Value)
			}
		}
	}
	return c
}

// Remote is the peer's address. Forwarded headers are not believed: anybody can
// send them.
func Remote(r *http.Request) netip.Addr { return parseRemote(r.RemoteAddr) }

// Changes reports whether a request changes something or opens a WebSocket:
// the ones that a page of another site must not make in somebody's name.
func Changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return IsWebSocket(r)
	}
	return true
}

// IsWebSocket reports whether a request wants to become a WebSocket (RFC 6455
// section 4.1).
func IsWebSocket(r *http.Request) bool {
	for _, v := range r.Header.Values("Upgrade") {
		if strings.Contains(strings.ToLower(v), "websocket") {
			return true
		}
	}
	return false
}

// SameOrigin reports whether a request was not made by a page of another
// origin: scheme, host and port are all equal, or there is no Origin, as from
// programs. Browsers send one with every WebSocket and every change.
func SameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	return origins[0] != "" && sameOrigin(origins[0], scheme(r), r.Host)
}

func sameOrigin(origin, scheme, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" {
		return false
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Scheme != scheme {
		return false
	}
	a, aok := authority(u.Host, u.Scheme)
	b, bok := authority(host, scheme)
	return aok && bok && a == b
}

// authority writes host and port in one form: lower case, with the port.
func authority(hostport, scheme string) (string, bool) {
	host, port, ok := splitHost(hostport)
	if !ok {
		return "", false
	}
	if port == "" {
		port = "80"
		if scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(host, port), true
}

// splitHost takes a Host header apart (RFC 9110 section 7.2): the host in
// lower case without brackets and final dot, and the port or "".
func splitHost(s string) (host, port string, ok bool) {
	if strings.ContainsAny(s, " \t\r\n/\\@?#,") {
		return "", "", false
	}
	host = s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		for _, c := range port {
			if c < '0' || c > '9' {
				return "", "", false
			}
		}
		if len(port) > 5 {
			return "", "", false
		}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		if !found || err != nil || !a.Is6() {
			return "", "", false
		}
		return a.String(), port, true
	}
	if strings.ContainsAny(host, "[]:") {
		return "", "", false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host, port, host != ""
}

// scheme is the one that the client used. Behind a proxy that ends TLS only
// the proxy's header knows it. A page of another site cannot set that header
// without asking first (it is not safelisted by CORS) and never for a form or
// a WebSocket, so believing it opens nothing.
func scheme(r *http.Request) string {
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}

// CheckHost refuses a request that names a host which is not this server. A
// page whose name its owner suddenly resolves to an address in the LAN (DNS
// rebinding) is of the same origin for the browser; only the name gives it
// away. The error wraps ErrHost.
func (g *Gate) CheckHost(r *http.Request) error {
	if r.Host == "" {
		return nil // HTTP/1.0 without Host: no browser
	}
	host, _, ok := splitHost(r.Host)
	if ok && hostAllowed(host, g.hostname, g.policy.Load().Hosts) {
		return nil
	}
	return fmt.Errorf("host %q: %w", clip(r.Host, 100), ErrHost)
}

// hostAllowed knows the names that a stranger cannot own: addresses, names
// without a dot, and the endings that are never delegated in the public DNS
// (RFC 6761, RFC 6762, RFC 8375, .internal and .home by ICANN; .lan and
// .localdomain are what routers use and nobody has).
func hostAllowed(host, hostname string, names []string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if !strings.Contains(host, ".") {
		return true
	}
	for _, end := range []string{".localhost", ".local", ".home.arpa", ".internal", ".lan", ".home", ".localdomain"} {
		if strings.HasSuffix(host, end) {
			return true
		}
	}
	if host == hostname {
		return true
	}
	for _, n := range names {
		if host == n {
			return true
		}
	}
	return false
}

// Challenge returns the WWW-Authenticate value for a 401. Browsers get no Basic:
// they would put their password box over the page, which has a sign-in of its
// own. They tell themselves by Sec-Fetch-Mode, but not to plain-HTTP addresses
// of the LAN (Fetch Metadata section 4 leaves out what is not trustworthy), so
// their User-Agent and the Accept-Language that programs do not send count too.
func Challenge(r *http.Request) string {
	h := r.Header
	if h.Get("Sec-Fetch-Mode") != "" || h.Get("X-Requested-With") != "" ||
		strings.HasPrefix(h.Get("User-Agent"), "Mozilla/") && h.Get("Accept-Language") != "" {
		return "Bearer"
	}
	return `Bearer, Basic realm="camwire"`
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
