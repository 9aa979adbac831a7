// Package api is the JSON surface: what cameras there are and how they are,
// removing one, signing in and out, health. Pictures are in server/mjpeg, video
// in signaling.
package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// maxSessionBody bounds the body of a sign-in in bytes.
const maxSessionBody = 4 << 10

// Options of the API.
type Options struct {
	// Registry holds the cameras; required.
	Registry *stream.Registry
	// Gate checks tokens; required.
	Gate *auth.Gate
	// Remove removes a camera; default Registry.Remove.
	Remove func(id string) error
}

type handler struct{ Options }

// Routes returns the addresses of the API.
func Routes(o Options) []server.Route {
	if o.Remove == nil {
		o.Remove = o.Registry.Remove
	}
	h := handler{o}
	return []server.Route{
		{Method: http.MethodGet, Path: "/api/camera/list", Perm: auth.View, Handler: h.list},
		{Method: http.MethodGet, Path: "/api/camera/server/status", Perm: auth.View, Handler: h.status},
		{Method: http.MethodDelete, Path: "/api/camera/:id", Perm: auth.Admin, Handler: h.remove},
		// The form that an existing dashboard uses.
		{Method: http.MethodDelete, Path: "/api/camera/camera/:id", Perm: auth.Admin, Handler: h.remove},
		{Method: http.MethodPost, Path: "/api/session", Perm: auth.Public, MaxBody: maxSessionBody, Handler: h.signIn},
		{Method: http.MethodDelete, Path: "/api/session", Perm: auth.Public, Handler: h.signOut},
		{Method: http.MethodGet, Path: "/healthz", Perm: auth.Public, Handler: h.health},
	}
}

// remove takes a camera out: its frames, its viewers, its entry.
func (h handler) remove(c *gin.Context) {
	id := server.Camera(c)
	// Of a bad id and an unknown one each has its own answer.
	if _, err := h.Registry.Get(id); err != nil {
		server.Fail(c, err)
		return
	}
	if err := h.Remove(id); err != nil {
		server.Fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"status": "ok", "device_id": id})
}

// signIn turns a token into a cookie.
func (h handler) signIn(c *gin.Context) {
	var body struct {
		Token string `json:"token"`
	}
	d := json.NewDecoder(c.Request.Body)
	err := d.Decode(&body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		server.Fail(c, err)
		return
	case err != nil || body.Token == "" || !atEnd(d):
		server.Fail(c, server.Errorf(http.StatusBadRequest, `send {"token": "…"} as JSON`))
		return
	}
	if err := h.Gate.SignIn(auth.Remote(c.Request), body.Token); err != nil {
		server.Fail(c, err)
		return
	}
	http.SetCookie(c.Writer, h.Gate.Cookie(c.Request))
	c.Header("Cache-Control", "no-store")
	c.Status(http.StatusNoContent)
}

// signOut makes the browser forget its session.
func (h handler) signOut(c *gin.Context) {
	for _, k := range h.Gate.SignOut(c.Request) {
		http.SetCookie(c.Writer, k)
	}
	c.Status(http.StatusNoContent)
}

func (h handler) health(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"status": "ok"})
}

func atEnd(d *json.Decoder) bool {
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}
