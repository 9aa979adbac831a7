// Package api is the JSON surface: what cameras there are and how they are,
// removing one, health. Pictures are in server/mjpeg, video in signaling, who
// signs in and may do what in server/account.
package api

import (
	"net/http"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// Options of the API.
type Options struct {
	// Registry holds the cameras; required.
	Registry *stream.Registry
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

func (h handler) health(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"status": "ok"})
}
