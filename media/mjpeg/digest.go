package mjpeg

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// maxChallenge bounds the bytes of WWW-Authenticate that are read.
const maxChallenge = 8 << 10

// challenge is one way in which a server lets itself be convinced (RFC 9110
// section 11.3).
type challenge struct {
	scheme string            // lower case
	params map[string]string // keys in lower case, values unquoted
}

// parseChallenges reads WWW-Authenticate headers. One header may hold several
// challenges, separated by the same comma as their parameters.
func parseChallenges(headers []string) []challenge {
	var cs []challenge
	for _, h := range headers {
		s := scanner{h[:min(len(h), maxChallenge)]}
		for {
			s.trim(" \t,")
			word := s.token()
			if word == "" {
				break
			}
			s.trim(" \t")
			if !s.eat('=') {
				cs = append(cs, challenge{strings.ToLower(word), map[string]string{}})
				continue
			}
			s.trim(" \t=") // a token68 ends in several
			value := s.value()
			if len(cs) > 0 {
				cs[len(cs)-1].params[strings.ToLower(word)] = value
			}
		}
	}
	return cs
}

// scanner takes a header apart.
type scanner struct{ s string }

func (s *scanner) trim(set string) { s.s = strings.TrimLeft(s.s, set) }

func (s *scanner) eat(c byte) bool {
	if s.s == "" || s.s[0] != c {
		return false
	}
	s.s = s.s[1:]
	return true
}

// token reads up to a separator. It takes more characters than RFC 9110
// section 5.6.2 allows, as some cameras do not quote what they should.
func (s *scanner) token() string {
	n := strings.IndexAny(s.s, " \t,=\"")
	if n < 0 {
		n = len(s.s)
	}
	if n == 0 && s.s != "" { // a stray quote or equals sign
		n = 1
	}
	t := s.s[:n]
	s.s = s.s[n:]
	return t
}

func (s *scanner) value() string {
	if !s.eat('"') {
		n := strings.IndexAny(s.s, " \t,")
		if n < 0 {
			n = len(s.s)
		}
		v := s.s[:n]
		s.s = s.s[n:]
		return v
	}
	var b strings.Builder
	for i := 0; i < len(s.s); i++ {
		switch c := s.s[i]; {
		case c == '"':
			s.s = s.s[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(s.s):
			i++
			b.WriteByte(s.s[i])
		default:
			b.WriteByte(c)
		}
	}
	s.s = ""
	return b.String()
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// hashes are the algorithms of RFC 7616 section 6.1, the preferred ones first.
var hashes = []struct {
	name string
	sum  func(string) string
}{
	{"SHA-512-256", func(s string) string { h := sha512.Sum512_256([]byte(s)); return hex.EncodeToString(h[:]) }},
	{"SHA-256", func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }},
	{"MD5", func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }},
}

// digest answers challenges of RFC 7616, or of RFC 2069 where the server
// names no qop.
type digest struct {
	realm, nonce, opaque string
	algorithm            string // as the server wrote it, may be empty
	sum                  func(string) string
	session              bool // the "-sess" form
	qop, userhash        bool
	count                uint32 // requests with this nonce
	cnonce               string
}

// newDigest returns nil where the challenge cannot be answered, and how much it
// is liked: less is better.
func newDigest(c challenge) (*digest, int) {
	d := &digest{
		realm: c.params["realm"], nonce: c.params["nonce"], opaque: c.params["opaque"],
		algorithm: c.params["algorithm"], userhash: strings.EqualFold(c.params["userhash"], "true"),
	}
	name := d.algorithm
	if name == "" {
		name = "MD5"
	}
	if n := len(name) - len("-sess"); n > 0 && strings.EqualFold(name[n:], "-sess") {
		name, d.session = name[:n], true
	}
	rank := -1
	for i, h := range hashes {
		if strings.EqualFold(h.name, name) {
			d.sum, rank = h.sum, i
		}
	}
	if qop, ok := c.params["qop"]; ok && strings.TrimSpace(qop) != "" {
		for _, q := range strings.Split(qop, ",") {
			d.qop = d.qop || strings.EqualFold(strings.TrimSpace(q), "auth")
		}
		if !d.qop {
			return nil, 0
		}
	}
	if rank < 0 || d.nonce == "" {
		return nil, 0
	}
	d.cnonce = rand.Text()
	return d, rank
}

// authorize returns the Authorization header of the next request (RFC 7616
// section 3.4).
func (d *digest) authorize(method, uri, user, password string) string {
	d.count++
	nc := fmt.Sprintf("%08x", d.count)
	a1 := d.sum(user + ":" + d.realm + ":" + password)
	if d.session {
		a1 = d.sum(a1 + ":" + d.nonce + ":" + d.cnonce)
	}
	a2 := d.sum(method + ":" + uri)
	response := d.sum(a1 + ":" + d.nonce + ":" + a2)
	if d.qop {
		response = d.sum(a1 + ":" + d.nonce + ":" + nc + ":" + d.cnonce + ":auth:" + a2)
	}
	name := user
	if d.userhash {
		name = d.sum(user + ":" + d.realm)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username=%s, realm=%s, nonce=%s, uri=%s, response="%s"`,
		quote(name), quote(d.realm), quote(d.nonce), quote(uri), response)
	if d.algorithm != "" {
		b.WriteString(", algorithm=" + d.algorithm)
	}
	if d.opaque != "" {
		b.WriteString(", opaque=" + quote(d.opaque))
	}
	if d.qop {
		b.WriteString(", qop=auth, nc=" + nc)
	}
	if d.qop || d.session {
		b.WriteString(", cnonce=" + quote(d.cnonce))
	}
	if d.userhash {
		b.WriteString(", userhash=true")
	}
	return b.String()
}

// credentials are the user and password of a source, and what its server wants
// to see of them. The password leaves in clear only when the server asks for
// Basic and nothing better.
type credentials struct {
	user, password string
	given          bool
	basic          bool
	digest         *digest
}

// authorize sets the header of a request, once the server has asked.
func (c *credentials) authorize(r *http.Request) {
	switch {
	case c.digest != nil:
		r.Header.Set("Authorization", c.digest.authorize(r.Method, r.URL.RequestURI(), c.user, c.password))
	case c.basic:
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.password)))
	}
}

// learn takes the challenges of a 401 answer. Answerable says that the next
// request can meet one of them, stale that the one before failed only because
// its nonce had grown old (RFC 7616 section 3.3).
func (c *credentials) learn(headers []string) (answerable, stale bool) {
	c.basic, c.digest = false, nil
	best := len(hashes)
	for _, ch := range parseChallenges(headers) {
		switch ch.scheme {
		case "basic":
			c.basic = true
		case "digest":
			if d, rank := newDigest(ch); d != nil && rank < best {
				c.digest, best = d, rank
				stale = strings.EqualFold(ch.params["stale"], "true")
			}
		}
	}
	return c.basic || c.digest != nil, stale
}
