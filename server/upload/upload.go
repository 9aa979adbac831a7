// Package upload takes JPEG pictures that others send, one by one in a form or
// one after the other over a WebSocket, and makes a camera of them. Such a
// camera is like any other: how it is watched is not this package's business,
// nor is video that others publish (WHIP, RTSP).
package upload

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

const (
	// DefaultMaxFrame bounds one picture in bytes.
	DefaultMaxFrame = 5 << 20
	// DefaultMaxConns bounds the WebSockets, and the forms that are being read
	// at a time. Each may hold a picture in memory.
	DefaultMaxConns = 64
)

// Types of the cameras, as the list of cameras calls them.
const (
	typePost = "mobile"
	typeWS   = "mobile_ws"
)

// Options of a Handler.
type Options struct {
	// Registry holds the cameras; required.
	Registry *stream.Registry
	// Log gets who comes and goes; default none.
	Log *slog.Logger
	// MaxFrame bounds one picture in bytes; default 5 MiB.
	MaxFrame int
	// MaxConns bounds the WebSockets, and apart from them the forms, at a
	// time; default 64.
	MaxConns int
	// Context ends all WebSockets when it is done, beside the server's own
	// stop; default none.
	Context context.Context //nolint:containedctx // the life of the server, not of a call
}

// Handler takes the pictures.
type Handler struct {
	opts  Options
	log   *slog.Logger
	desk  *desk
	posts chan struct{} // one for each form that is being read
	conns chan struct{} // one for each WebSocket
	idle  time.Duration // idleTimeout, another in tests
}

// New returns a handler. Registry is required.
func New(o Options) *Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = DefaultMaxFrame
	}
	if o.MaxConns <= 0 {
		o.MaxConns = DefaultMaxConns
	}
	return &Handler{
		opts: o, log: o.Log, desk: newDesk(o.Registry),
		posts: make(chan struct{}, o.MaxConns), conns: make(chan struct{}, o.MaxConns),
		idle: idleTimeout,
	}
}

// Routes returns the addresses that take pictures.
func (h *Handler) Routes() []server.Route {
	return []server.Route{
		{
			Method: http.MethodPost, Path: "/api/camera/frame", Perm: auth.Publish, MaxBody: h.maxBody(),
			// Which camera it is for stands in the form, perhaps behind the
			// picture. Who may publish to none has no form read at all; for
			// which one is asked as soon as the form has told.
			Camera:  func(*gin.Context) string { return "" },
			Handler: h.post,
		},
		{Method: http.MethodGet, Path: "/api/camera/stream/:id", Perm: auth.Publish, Stream: true, Handler: h.stream},
	}
}

// maxBody is more than a form can need: a client that sends all before it reads
// learns that its picture is too large only if it gets rid of it.
func (h *Handler) maxBody() int64 { return 2*int64(h.opts.MaxFrame) + 64<<10 }

// enter takes one of the places, or fails when there is none.
func enter(places chan struct{}, what string) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, server.OverLimit(server.LimitUploads, http.StatusServiceUnavailable,
			fmt.Errorf("%d %s at a time are all that this server takes: try again later", cap(places), what))
	}
}

// mayPublish asks for the permission for one camera, where the route could ask
// only whether there is any.
func mayPublish(who auth.Identity, id string) error {
	if who.May(auth.Publish, id) {
		return nil
	}
	return fmt.Errorf("camera %q: %w: this needs the permission %s", id, auth.ErrForbidden, auth.Publish)
}
