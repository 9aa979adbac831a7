// Package account is the HTTP end of who may do what: signing in and out, who
// one is, and for administrators the users and tokens. What they mean is
// decided by server/auth, which also keeps them.
package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// maxBody bounds a request's body in bytes; a JWT may be long.
const maxBody = 32 << 10

// Options of the routes.
type Options struct {
	// Gate knows who is who; required.
	Gate *auth.Gate
	// Version of the program, told to whoever may do something here.
	Version string
	// Log gets what administrators change; default none.
	Log *slog.Logger
}

type handler struct {
	gate *auth.Gate
	book *auth.Book
	log  *slog.Logger

	version string
}

// Routes returns the addresses of this package.
func Routes(o Options) []server.Route {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := handler{gate: o.Gate, book: o.Gate.Book(), log: o.Log, version: o.Version}
	const session, users, tokens = "/api/session", "/api/users", "/api/tokens"
	rs := []server.Route{
		{Method: http.MethodGet, Path: session, Perm: auth.Public, Handler: h.whoAmI},
		{Method: http.MethodPost, Path: session, Perm: auth.Public, Handler: h.signIn},
		{Method: http.MethodDelete, Path: session, Perm: auth.Public, Handler: h.signOut},

		{Method: http.MethodGet, Path: users, Perm: auth.Admin, Handler: h.users},
		{Method: http.MethodPost, Path: users, Perm: auth.Admin, Handler: h.addUser},
		{Method: http.MethodPatch, Path: users + "/:name", Perm: auth.Admin, Handler: h.changeUser},
		{Method: http.MethodDelete, Path: users + "/:name", Perm: auth.Admin, Handler: h.removeUser},
		{Method: http.MethodGet, Path: tokens, Perm: auth.Admin, Handler: h.tokens},
		{Method: http.MethodPost, Path: tokens, Perm: auth.Admin, Handler: h.issueToken},
		{Method: http.MethodDelete, Path: tokens + "/:token", Perm: auth.Admin, Handler: h.revokeToken},
	}
	for i := range rs {
		rs[i].MaxBody = maxBody
		// Nothing here is about a camera: an administrator of some cameras
		// must not make himself one of all.
		rs[i].Camera = func(*gin.Context) string { return "" }
	}
	return rs
}

// me is who somebody is.
type me struct {
	Name string    `json:"name"`
	Kind auth.Kind `json:"kind"`
	// Permissions are those for any camera at all, Cameras those with any
	// permission ([]: all). Grants tells exactly which goes with which.
	Permissions []auth.Permission `json:"permissions"`
	Cameras     []string          `json:"cameras"`
	Grants      []auth.Grant      `json:"grants"`
	// Expires is when the session or token ends unless it is used before,
	// null for never.
	Expires *string `json:"expires"`
	// Version of the server.
	Version string `json:"version"`
}

func (h handler) whoAmI(c *gin.Context) {
	id, err := h.gate.WhoIs(c.Request.Context(), auth.FromRequest(c.Request))
	if err != nil {
		server.Fail(c, err)
		return
	}
	if k := h.gate.Renew(c.Request, id); k != nil {
		http.SetCookie(c.Writer, k)
	}
	answer(c, http.StatusOK, me{
		Name: id.Name, Kind: id.Kind,
		Permissions: id.Permissions(), Cameras: id.Cameras(), Grants: id.Grants(), Expires: moment(id.Expires),
		Version: h.version,
	})
}

// signIn turns a token, or a user's password, into a session.
func (h handler) signIn(c *gin.Context) {
	var body struct {
		User     string `json:"user"`
		Password string `json:"password"`
		Token    string `json:"token"`
	}
	err := read(c, &body)
	byToken, byPassword := body.Token != "", body.User != "" && body.Password != ""
	if err == nil && byToken == byPassword {
		err = server.Errorf(http.StatusBadRequest, `send {"user": "…", "password": "…"} or {"token": "…"} as JSON`)
	}
	if err != nil {
		server.Fail(c, err)
		return
	}
	k, _, err := h.gate.SignIn(c.Request, auth.Login{User: body.User, Password: body.Password}, body.Token)
	if err != nil {
		server.Fail(c, err)
		return
	}
	http.SetCookie(c.Writer, k)
	c.Header("Cache-Control", "no-store")
	c.Status(http.StatusNoContent)
}

// signOut ends the session, here and for whoever has a copy of its cookie.
func (h handler) signOut(c *gin.Context) {
	cookies, err := h.gate.SignOut(c.Request)
	for _, k := range cookies {
		http.SetCookie(c.Writer, k)
	}
	if err != nil {
		server.Fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.Status(http.StatusNoContent)
}

// read reads a JSON object, strictly: a misspelt "cameras" would mean all of
// them.
func read(c *gin.Context, v any) error {
	d := json.NewDecoder(c.Request.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		_, more := d.Token()
		if errors.Is(more, io.EOF) {
			return nil
		}
		err = more
		if err == nil {
			err = errors.New("something follows the object")
		}
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the body is empty")
	}
	return server.Errorf(http.StatusBadRequest, "the body cannot be read as JSON: %w", err)
}

func answer(c *gin.Context, status int, v any) {
	c.Header("Cache-Control", "no-store")
	c.JSON(status, v)
}

// fail answers with an error of the book.
func fail(c *gin.Context, err error) {
	for _, s := range []struct {
		kind   error
		status int
	}{
		{auth.ErrInvalid, http.StatusBadRequest},
		{auth.ErrUnknown, http.StatusNotFound},
		{auth.ErrExists, http.StatusConflict},
		{auth.ErrFull, http.StatusConflict},
	} {
		if errors.Is(err, s.kind) {
			err = &server.StatusError{Status: s.status, Err: err}
			break
		}
	}
	server.Fail(c, err)
}

// changed logs what an administrator has done.
func (h handler) changed(c *gin.Context, what string, attrs ...any) {
	who := server.Identity(c)
	by := fmt.Sprintf("%s (%s)", who.Name, who.Kind)
	h.log.Info(what, append(attrs, "by", by, "remote", auth.Remote(c.Request).String())...)
}
