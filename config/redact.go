package config

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// mask stands in for a secret.
const mask = "***"

// Redact masks user and password and the values of query parameters that look
// like secrets in a source or URL. Where a URL is malformed, as with an
// unescaped # or @ in the password, it masks too much rather than too little.
// Of a command only the program's name stays.
func Redact(source string) string {
	if rest, ok := strings.CutPrefix(source, "exec:"); ok {
		argv, err := splitArgv(rest)
		if err != nil {
			return "exec:" + mask
		}
		return fmt.Sprintf("exec:%s (arguments: %d)", path.Base(argv[0]), len(argv)-1)
	}
	if strings.HasPrefix(source, "turn") || strings.HasPrefix(source, "stun") {
		if i := strings.LastIndex(source, "@"); i >= 0 {
			scheme, _, _ := strings.Cut(source, ":")
			return scheme + ":" + mask + source[i:]
		}
		return source
	}
	head, rest, ok := strings.Cut(source, "://")
	if !ok {
		// No URL as it stands, yet it may be one whose slashes were forgotten.
		if i := strings.LastIndex(source, "@"); i >= 0 && !strings.HasPrefix(source, "/") && !localSource(source) {
			return mask + source[i:]
		}
		return source
	}
	if localSource(head) {
		return source
	}
	rest = maskUser(rest)
	before, query, hasQuery := strings.Cut(rest, "?")
	out := head + "://" + maskPath(before)
	if hasQuery {
		out += "?" + maskQuery(query)
	}
	return out
}

// localSource tells the kinds that name something on this machine.
func localSource(s string) bool {
	for _, p := range []string{"usb:", "images:", "watch:"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// maskUser takes what follows :// and masks everything before the @ of the user.
func maskUser(rest string) string {
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	beforeQuery, _, _ := strings.Cut(rest, "?")
	at := -1
	if strings.ContainsAny(authority, "@:") {
		// A password may hold a raw /, so the @ of the user may come after one.
		at = strings.LastIndex(beforeQuery, "@")
		if at < 0 {
			// … or a raw ?. A host with a port looks the same up to its digits,
			// but has a path before its query.
			_, port, _ := strings.Cut(authority, ":")
			if !validPort(port, 0) || strings.HasPrefix(rest[len(authority):], "?") {
				at = strings.LastIndex(rest, "@")
			}
		}
	}
	if at < 0 {
		return rest
	}
	return mask + rest[at:]
}

// secretKey matches the names of parameters that hold secrets. "pas" and "usr"
// catch loginpas= and loginusr= of CGI cameras.
var secretKey = regexp.MustCompile(`(?i)tok|pas|pwd|pw$|secret|key|auth|sig|cred|session|jwt|user|usr|login`)

// pathPair matches the key=value pairs that some recorders put into the path:
// rtsp://host/user=admin_password=xyz_channel=1.
var pathPair = regexp.MustCompile(`(?i)([a-z0-9.-]*(?:tok|pas|pwd|secret|auth|cred|user|usr|login)[a-z0-9.-]*)=[^&;/#]*`)

func maskPath(s string) string { return pathPair.ReplaceAllString(s, "$1="+mask) }

func maskQuery(s string) string {
	pairs := strings.Split(s, "&")
	for i, p := range pairs {
		key, _, ok := strings.Cut(p, "=")
		if !ok {
			continue
		}
		name := key
		if n, err := url.QueryUnescape(key); err == nil {
			name = n
		}
		if secretKey.MatchString(name) {
			pairs[i] = key + "=" + mask
		}
	}
	return strings.Join(pairs, "&")
}
