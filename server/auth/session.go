package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// SessionLife is how long a cookie lasts.
const SessionLife = 30 * 24 * time.Hour

// Names of the session cookie. Cookies do not know ports: without a name of
// its own the cookie of the TLS listener would keep the plain one of the same
// host from being set, as a browser lets nothing insecure replace a Secure
// cookie (RFC 6265bis section 5.7).
const (
	CookieName    = "camwire_session"
	TLSCookieName = "__Host-camwire_session"
)

// sessionKey makes and checks cookie values. They need no table: a value is
// its own end and a code over it, so it outlives a restart and dies with the
// token that it was made for.
type sessionKey [sha256.Size]byte

func newSessionKey(token string) sessionKey {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("camwire session 1"))
	return sessionKey(m.Sum(nil))
}

func (k sessionKey) code(end []byte) []byte {
	m := hmac.New(sha256.New, k[:])
	m.Write(end)
	return m.Sum(nil)
}

func (k sessionKey) make(now time.Time) string {
	v := binary.BigEndian.AppendUint64(nil, uint64(now.Add(SessionLife).Unix()))
	return base64.RawURLEncoding.EncodeToString(append(v, k.code(v)...))
}

func (k sessionKey) valid(value string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(b) != 8+sha256.Size || !hmac.Equal(b[8:], k.code(b[:8])) {
		return false
	}
	return now.Unix() < int64(binary.BigEndian.Uint64(b))
}

// Cookie returns a new session cookie for whoever made the request. The caller
// has checked the token.
func (g *Gate) Cookie(r *http.Request) *http.Cookie {
	c := emptyCookie(r)
	c.Value = g.sessions.make(time.Now())
	c.MaxAge = int(SessionLife / time.Second)
	return c
}

// SignOut returns the cookies that make a browser forget its session.
func (g *Gate) SignOut(r *http.Request) []*http.Cookie {
	plain, own := emptyCookie(r), emptyCookie(r)
	plain.Name, plain.Secure = CookieName, false
	plain.MaxAge, own.MaxAge = -1, -1
	if own.Name == plain.Name {
		return []*http.Cookie{plain}
	}
	return []*http.Cookie{plain, own}
}

func emptyCookie(r *http.Request) *http.Cookie {
	c := &http.Cookie{
		Name: CookieName, Path: "/",
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if scheme(r) == "https" {
		c.Name, c.Secure = TLSCookieName, true
	}
	return c
}

// FollowLink handles a page opened with ?token=: it turns the token into a
// cookie and sends the browser to the same address without it, so that it
// stays neither in the address bar nor in the history. It reports false, and
// has written nothing, when there is no token. A wrong token sets no cookie;
// the page then asks to sign in.
func (g *Gate) FollowLink(w http.ResponseWriter, r *http.Request) bool {
	q := r.URL.Query()
	if !q.Has("token") {
		return false
	}
	if g.SignIn(Remote(r), q.Get("token")) == nil {
		http.SetCookie(w, g.Cookie(r))
	}
	q.Del("token")
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", (&url.URL{Path: localPath(r.URL.Path), RawQuery: q.Encode()}).String())
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// localPath makes sure that a redirect stays here: "//host/" would name another
// server.
func localPath(p string) string {
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}
