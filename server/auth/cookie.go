package auth

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// Names of the session cookie. Cookies do not know ports: without a name of
// its own the cookie of the TLS listener would keep the plain one of the same
// host from being set, as a browser lets nothing insecure replace a Secure
// cookie (RFC 6265bis section 5.7).
const (
	CookieName    = "camwire_session"
	TLSCookieName = "__Host-camwire_session"
)

// SignIn checks what somebody typed, or followed a link with, and begins a
// session for the browser that made the request: the cookie is its proof. Its
// life is SessionLife from its last use, or that of the token where it ends
// sooner. Either the login or the token counts; the error is that of
// AuthorizeContext.
func (g *Gate) SignIn(r *http.Request, l Login, token string) (*http.Cookie, Identity, error) {
	c := Credentials{Remote: Remote(r)}
	if token != "" {
		c.Tokens = []string{token}
	} else if l.Password != "" {
		c.Logins = []Login{l}
	}
	id, err := g.identify(r.Context(), c)
	if err != nil {
		return nil, Identity{}, err
	}
	// The one before is left behind by this browser.
	if err := g.endSessions(r); err != nil {
		g.log.Warn("an old session was not ended", "error", err)
	}
	now := time.Now()
	p := id.proof
	p.Expires = id.Expires
	value, session, err := g.sessions.begin(p, now)
	if err != nil {
		// It lasts until the next start at least.
		g.log.Warn("a session was not written down", "error", err)
	}
	g.log.Info("signed in", "name", id.Name, "kind", string(id.Kind), "remote", c.Remote.String())
	end, _ := g.sessions.end(session, now)
	return cookie(r, value, end.Sub(now)), id.by(session, end), nil
}

// Renew returns the cookie of the session that an identity came by, to be set
// anew because the session lasts longer now; nil when there is no need.
func (g *Gate) Renew(r *http.Request, id Identity) *http.Cookie {
	now := time.Now()
	s := id.proof.session
	if !g.sessions.touch(s, now, true) {
		return nil
	}
	for _, v := range FromRequest(r).Sessions {
		if end, ok := g.sessions.end(s, now); ok && sessionOf(v) == s {
			return cookie(r, v, end.Sub(now))
		}
	}
	return nil
}

// SignOut ends the session that a request came with, for whoever may have
// copied its cookie too, and returns the cookies that make the browser forget
// it.
func (g *Gate) SignOut(r *http.Request) ([]*http.Cookie, error) {
	err := g.endSessions(r)
	g.recheck() // what the session's page still receives
	plain, own := emptyCookie(r), emptyCookie(r)
	plain.Name, plain.Secure = CookieName, false
	plain.MaxAge, own.MaxAge = -1, -1
	if own.Name == plain.Name {
		return []*http.Cookie{plain}, err
	}
	return []*http.Cookie{plain, own}, err
}

func (g *Gate) endSessions(r *http.Request) error {
	var all error
	for _, v := range FromRequest(r).Sessions {
		_, err := g.sessions.remove(v)
		all = errors.Join(all, err)
	}
	return all
}

func cookie(r *http.Request, value string, life time.Duration) *http.Cookie {
	c := emptyCookie(r)
	c.Value = value
	c.MaxAge = max(1, int(life/time.Second))
	return c
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
// session and sends the browser to the same address without it, so that it
// stays neither in the address bar nor in the history. It reports false, and
// has written nothing, when there is no token. A wrong token sets no cookie;
// the page then asks to sign in.
func (g *Gate) FollowLink(w http.ResponseWriter, r *http.Request) bool {
	q := r.URL.Query()
	if !q.Has("token") {
		return false
	}
	if t := q.Get("token"); t != "" && r.Method == http.MethodGet {
		if c, _, err := g.SignIn(r, Login{}, t); err == nil {
			http.SetCookie(w, c)
		}
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
