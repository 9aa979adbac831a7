package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	idPattern   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$`)
)

// Validate checks one entry with the rules of the file. The API takes cameras
// through it too; it must refuse commands (KindExec) on its own.
func (c Camera) Validate() []Problem {
	col := newCollector()
	validate(col, field{fields: describe(reflect.TypeFor[Camera]())}, reflect.ValueOf(c), "")
	return col.problems
}

// validateAll checks a merged configuration.
func validateAll(col *collector, c *Config) {
	validate(col, root(), reflect.ValueOf(c).Elem(), "")
	duplicateIDs(col, c.Cameras)
	listeners(col, c)
	if (c.HTTPS.Cert == "") != (c.HTTPS.Key == "") {
		path, missing := "https.cert", "key"
		if c.HTTPS.Cert == "" {
			path, missing = "https.key", "cert"
		}
		col.wrong(path, "needs https."+missing+" beside it", "set both, or neither to use Camwire's own CA")
	}
	if a := c.HTTPS.ACME; len(a.Domains) > 0 && c.HTTPS.Cert != "" {
		col.wrong("https.acme.domains", "cannot be together with https.cert", "remove one of them")
	} else if len(a.Domains) == 0 && (a.Email != "" || a.Directory != "") {
		col.wrong("https.acme.domains", "is missing", "name the public host names of this machine")
	}
	if j := c.Auth.JWT; j.JWKS == "" && (j.Issuer != "" || j.Audience != "") {
		path := "auth.jwt.issuer"
		if j.Issuer == "" {
			path = "auth.jwt.audience"
		}
		col.wrong(path, "needs auth.jwt.jwks beside it", "name the file or https URL with the issuer's keys")
	}
	for i, s := range c.WebRTC.ICEServers {
		path := joinIndex("webrtc.ice_servers", i)
		if col.spoiled[path] {
			continue
		}
		if len(s.URLs) == 0 {
			col.wrong(path, "lacks urls", `write for example urls: ["stun:192.0.2.1:3478"]`)
		}
		turn := slices.ContainsFunc(s.URLs, func(u string) bool { return strings.HasPrefix(u, "turn") })
		if turn && (s.Username == "" || s.Credential == "") {
			col.wrong(path, "is a TURN server without username and credential", "set both; browsers refuse it otherwise")
		}
	}
}

// validate applies the tags of f's fields to v.
func validate(col *collector, f field, v reflect.Value, path string) {
	for _, c := range f.fields {
		p, cv := join(path, c.name), v.Field(c.index)
		switch {
		case c.typ.Kind() == reflect.Struct:
			validate(col, c, cv, p)
		case c.fields != nil:
			for i := range cv.Len() {
				if e := joinIndex(p, i); !col.spoiled[e] {
					validate(col, c, cv.Index(i), e)
				}
			}
		case c.typ.Kind() == reflect.Slice:
			for i := range cv.Len() {
				validateValue(col, c, cv.Index(i), joinIndex(p, i))
			}
		default:
			validateValue(col, c, cv, p)
		}
	}
}

func validateValue(col *collector, f field, v reflect.Value, path string) {
	if col.spoiled[path] {
		return
	}
	switch v.Kind() {
	case reflect.Int:
		validateRange(col, f, float64(v.Int()), path)
	case reflect.Float64:
		validateRange(col, f, v.Float(), path)
	case reflect.String:
		s := v.String()
		if f.max != nil && len(s) > int(*f.max) {
			col.wrong(path, fmt.Sprintf("is %d bytes long, at most %d are allowed", len(s), int(*f.max)), "")
		}
		if f.enum != nil && !slices.Contains(f.enum, s) {
			hint := didYouMean(s, f.enum)
			if hint == "" {
				hint = "known are " + strings.Join(f.enum, ", ")
			}
			col.wrong(path, fmt.Sprintf("unknown value %q", printable(s)), hint)
		}
		message, hint := check(f.check, s)
		if message != "" {
			col.wrong(path, message, hint)
		}
	}
}

func validateRange(col *collector, f field, n float64, path string) {
	// Negated, so that NaN fails too.
	if f.min != nil && f.max != nil && !(n >= *f.min && n <= *f.max) {
		col.wrong(path, fmt.Sprintf("must be %v to %v, is %v", *f.min, *f.max, n), "")
	}
}

// check applies the named check to a text. An empty message means it passed.
func check(name, s string) (message, hint string) {
	switch name {
	case "required":
		if s == "" {
			return "must not be empty", "remove the key for its default"
		}
	case "id":
		return checkID(s)
	case "source":
		var se *sourceError
		if _, err := ParseSource(s); errors.As(err, &se) {
			return se.message, se.hint
		}
	case "fingerprint":
		return checkFingerprint(s)
	case "microphone":
		if s != "" && s != "auto" && s != "off" && !microphonePattern.MatchString(s) {
			return "is no microphone", "write auto for the camera's own, off, or card and device such as hw:1,0"
		}
	case "address":
		return checkAddress(s)
	case "host":
		if !validHost(s) {
			return fmt.Sprintf("%q is neither an IP address nor a host name", printable(s)), "write it without scheme and port"
		}
	case "origin":
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != s {
			return fmt.Sprintf("%q is no origin", printable(s)), "write scheme, host and port if it is not the usual one: http://mainsail.local:81"
		}
	case "ice":
		return checkICE(s)
	case "https":
		if u, err := url.Parse(s); s != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			return "is no https URL", ""
		}
	case "jwks":
		scheme, _, ok := strings.Cut(s, "://")
		if u, err := url.Parse(s); ok && (err != nil || scheme != "https" || u.Host == "") {
			return "is neither a file nor an https URL", "whoever can change the keys on their way can sign in, so plain http is not taken"
		}
	}
	return "", ""
}

func checkID(s string) (message, hint string) {
	switch {
	case s == "":
		return "is missing", "give the camera a short name for its URLs, for example \"door\""
	case !idPattern.MatchString(s):
		return fmt.Sprintf("%q is no id", printable(s)), "use 1 to 64 letters, digits, _ or -"
	}
	return "", ""
}

// microphonePattern is card and device, as ALSA numbers them.
var microphonePattern = regexp.MustCompile(`^hw:(1?[0-9]?[0-9]|2[0-4][0-9]|25[0-5]),(1?[0-9]?[0-9]|2[0-4][0-9]|25[0-5])$`)

// checkFingerprint accepts "" and a SHA-256 with or without colons.
func checkFingerprint(s string) (message, hint string) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if s != "" && (err != nil || len(b) != 32) {
		return "is no SHA-256 fingerprint", "64 hexadecimal digits, colons between them allowed; the error of the camera tells which"
	}
	return "", ""
}

// checkAddress accepts "", ":port" and "host:port".
func checkAddress(s string) (message, hint string) {
	if s == "" {
		return "", ""
	}
	message = fmt.Sprintf("%q is no address to listen on", printable(s))
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		switch {
		case validPort(s, 0):
			return message, fmt.Sprintf("did you mean %q?", ":"+s)
		case strings.Contains(s, "://"):
			return message, `write it without scheme, for example ":8080"`
		}
		return message, `write "host:port" or ":port"; an IPv6 address wants brackets, as in "[::1]:8080"`
	}
	if !validPort(port, 0) {
		return message, "the port must be a number from 0 to 65535"
	}
	if host != "" && !validHost(host) {
		return message, "the host must be an IP address or a host name"
	}
	return "", ""
}

func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	// Digits and dots alone are a mistyped IPv4 address, never a name.
	return len(s) <= 253 && hostPattern.MatchString(s) && strings.Trim(s, "0123456789.") != ""
}

func validPort(s string, least uint64) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n >= least
}

// checkICE accepts the URLs of RFC 7064 and RFC 7065.
func checkICE(s string) (message, hint string) {
	message, hint = "is no URL of a STUN or TURN server", `write for example "stun:192.0.2.1:3478" or "turn:host:3478?transport=tcp"`
	scheme, rest, _ := strings.Cut(s, ":")
	if !slices.Contains([]string{"stun", "stuns", "turn", "turns"}, scheme) {
		return message, hint
	}
	if strings.HasPrefix(rest, "//") {
		return message, "write it without //"
	}
	if strings.Contains(rest, "@") {
		return message, "put the user into username and credential"
	}
	hostport, query, hasQuery := strings.Cut(rest, "?")
	if hasQuery {
		q, err := url.ParseQuery(query)
		t := q.Get("transport")
		if err != nil || len(q) != 1 || t != "udp" && t != "tcp" || strings.HasPrefix(scheme, "stun") {
			return message, hint
		}
	}
	host := hostport
	if h, port, err := net.SplitHostPort(hostport); err == nil {
		if !validPort(port, 1) {
			return message, "the port must be a number from 1 to 65535"
		}
		host = h
	}
	if !validHost(strings.Trim(host, "[]")) {
		return message, hint
	}
	return "", ""
}

// duplicateIDs drops the later of two entries.
func duplicateIDs(col *collector, cameras []Camera) {
	first := map[string]int{}
	for i, c := range cameras {
		if c.ID == "" {
			continue
		}
		j, ok := first[c.ID]
		if !ok {
			first[c.ID] = i
			continue
		}
		hint := "give each camera its own id"
		if at := col.at(joinIndex("cameras", j) + ".id"); at.line > 0 {
			hint = fmt.Sprintf("the first one is in line %d", at.line)
		}
		col.wrong(joinIndex("cameras", i)+".id", fmt.Sprintf("%q is taken", printable(c.ID)), hint)
	}
}

// listeners reports addresses that cannot be had at the same time, and a
// configuration in which nothing could be seen.
func listeners(col *collector, c *Config) {
	type listener struct{ path, address string }
	all := []listener{
		{"http.address", c.HTTP.Address}, {"https.address", c.HTTPS.Address},
		{"webrtc.address", c.WebRTC.Address}, {"rtsp.address", c.RTSP.Address},
		{"websocket.address", c.WebSocket.Address},
	}
	if c.HTTP.Address == "" && c.HTTPS.Address == "" {
		col.wrong("http.address", "and https.address are both empty", "nobody could reach Camwire; set one of them")
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if clash(a.address, b.address) {
				path, other := a.path, b.path
				if _, ok := col.set[path]; !ok { // blame the one that somebody wrote
					path, other = other, path
				}
				col.wrong(path, fmt.Sprintf("has the port of %s", other), "choose another port")
			}
		}
	}
}

func clash(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || wildcard(hostA) || wildcard(hostB)
}

func wildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
