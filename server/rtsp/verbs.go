package rtsp

import (
	"errors"
	"net/url"
	"strings"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// Permissions a verb can need.
const (
	// Public verbs tell nothing about cameras and change nothing but the
	// caller's own session.
	Public  = "public"
	View    = "view"
	Publish = "publish"
)

// Verb says what a request needs: as part of playing, and as part of
// publishing. Empty means that the verb has no place there and is refused.
type Verb struct{ Play, Publish string }

type verbTable map[base.Method]Verb

// Verbs returns what each RTSP method needs. A method that is not listed is
// refused.
func Verbs() map[base.Method]Verb {
	return map[base.Method]Verb{
		base.Options:      {Play: Public, Publish: Public},
		base.Describe:     {Play: View},
		base.Announce:     {Publish: Publish},
		base.Setup:        {Play: View, Publish: Publish},
		base.Play:         {Play: View},
		base.Record:       {Publish: Publish},
		base.Pause:        {Play: View, Publish: Publish},
		base.GetParameter: {Play: Public, Publish: Public}, // keep-alive
		base.SetParameter: {Play: Public, Publish: Public}, // answered with 501
		base.Teardown:     {Play: Public, Publish: Public}, // the session id is the secret
	}
}

// grant is what a connection has been allowed.
type grant struct{ user, pass, token, perm, camera string }

// authorize checks one request. A nil response means: go on.
func (s *Server) authorize(c *gortsplib.ServerConn, req *base.Request, path, query string, publishing bool) (camera string, res *base.Response, err error) {
	camera = strings.Trim(path, "/")
	perm := s.verbs[req.Method].Play
	if publishing {
		perm = s.verbs[req.Method].Publish
	}
	switch perm {
	case Public:
		return camera, nil, nil
	case "":
		return camera, response(base.StatusMethodNotValidInThisState, ""), nil
	}
	g := grant{perm: perm, camera: camera, token: tokenOf(query)}
	var a headers.Authorization
	if a.Unmarshal(req.Header["Authorization"]) == nil && a.Method == headers.AuthMethodBasic {
		g.user, g.pass = a.Username, a.BasicPass
	}
	st := stateOf(c)
	err = s.opts.Authorize(s.ctx, c.NetConn().RemoteAddr(), g.user, g.pass, g.token, perm, camera)
	switch {
	case err == nil:
		st.granted = &g
		return camera, nil, nil
	case errors.Is(err, ErrForbidden):
		s.refused(string(req.Method), camera, c.NetConn().RemoteAddr(), err)
		return camera, response(base.StatusForbidden, ""), nil
	}
	if g.user != "" || g.pass != "" || g.token != "" {
		// The first request of most clients comes without credentials.
		s.refused(string(req.Method), camera, c.NetConn().RemoteAddr(), err)
	}
	// gortsplib adds the challenge, or closes when there were credentials.
	return camera, response(base.StatusUnauthorized, ""), liberrors.ErrServerAuth{}
}

// tokenOf finds ?token=. Clients append "/" and the track to a query.
func tokenOf(query string) string {
	q, err := url.ParseQuery(strings.TrimRight(query, "/"))
	if err != nil {
		return ""
	}
	return q.Get("token")
}

func response(code base.StatusCode, text string) *base.Response {
	return &base.Response{StatusCode: code, StatusMessage: text, Header: base.Header{}}
}
