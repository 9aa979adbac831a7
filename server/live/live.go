// Package live hands out JPEG pictures over WebSockets, as JSON messages for
// clients that know nothing else or as they are, at an address of the API and
// on a listener of its own. The pictures come from a stream derived from the
// camera's; how they are made is not this package's business, and a message is
// made once however many get it.
package live

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"
	"camwire/server/live/socket"

	"github.com/gin-gonic/gin"
)

// DefaultMaxViewers bounds the viewers of all cameras together.
const DefaultMaxViewers = 256

// kind is what viewers over WebSocket are counted as.
const kind = "ws"

// Options of a Handler.
type Options struct {
	// Registry holds the cameras; required.
	Registry *stream.Registry
	// Name gives the name of the derived stream that has the pictures in this
	// width (pixels) and quality (1 to 100), 0 where the viewer does not mind;
	// required.
	Name func(width, quality int) string
	// MaxViewers bounds the viewers at a time, those of a listener included;
	// default 256.
	MaxViewers int
	// Log gets the end of viewers at debug level; default none.
	Log *slog.Logger
}

// Handler serves the pictures.
type Handler struct {
	reg    *stream.Registry
	name   func(width, quality int) string
	log    *slog.Logger
	places chan struct{} // one for each viewer
	shared shared
}

// New returns a handler. Registry and Name are required.
func New(o Options) *Handler {
	if o.MaxViewers <= 0 {
		o.MaxViewers = DefaultMaxViewers
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{reg: o.Registry, name: o.Name, log: o.Log, places: make(chan struct{}, o.MaxViewers)}
}

// Routes returns the addresses of viewers.
func (h *Handler) Routes() []server.Route {
	return []server.Route{
		{Method: http.MethodGet, Path: "/api/camera/ws/:id", Perm: auth.View, Stream: true, Handler: h.serve},
	}
}

func (h *Handler) serve(c *gin.Context) {
	w, err := h.lease(server.Camera(c), c.Request.URL.Query())
	if err != nil {
		server.Fail(c, err)
		return
	}
	defer w.lease.Release()
	if !auth.IsWebSocket(c.Request) {
		server.Fail(c, &server.StatusError{Status: http.StatusUpgradeRequired, Err: socket.ErrNoWebSocket})
		return
	}
	leave, err := h.enter()
	if err != nil {
		server.Fail(c, err)
		return
	}
	defer leave()
	conn, err := accept(c.Writer, c.Request)
	if err != nil {
		return // it has answered
	}
	h.watch(conn, w, c.Request.RemoteAddr)
}

// maxMessage bounds what a viewer may say in bytes. Nobody listens to it.
const maxMessage = 64 << 10

func accept(w http.ResponseWriter, r *http.Request) (*socket.Conn, error) {
	return socket.Accept(w, r, socket.Options{MaxMessage: maxMessage})
}

// order is a viewer's camera and how it wants to see it.
type order struct {
	camera *stream.Stream
	lease  *stream.Lease // of the pictures
	query  query
}

// lease takes a lease of the pictures that a query asks for.
func (h *Handler) lease(id string, v url.Values) (order, error) {
	s, err := h.reg.Get(id)
	if err != nil {
		return order{}, err
	}
	q, err := parseQuery(v)
	if err != nil {
		return order{}, &server.StatusError{Status: http.StatusBadRequest, Err: err}
	}
	l, err := s.LeaseDerived(h.name(q.Width, q.Quality), kind)
	if err != nil {
		if status, _ := server.StatusOf(err); status == http.StatusInternalServerError {
			// This build or this camera cannot make JPEG: worth knowing.
			err = &server.StatusError{Status: http.StatusServiceUnavailable, Err: err}
		}
		return order{}, err
	}
	return order{s, l, q}, nil
}

// enter takes one of the places, or fails when there is none.
func (h *Handler) enter() (leave func(), err error) {
	select {
	case h.places <- struct{}{}:
		return func() { <-h.places }, nil
	default:
		return nil, server.OverLimit(server.LimitPictures, http.StatusServiceUnavailable,
			fmt.Errorf("%d viewers are served over WebSocket already: try again later, or use WebRTC", cap(h.places)))
	}
}

// trouble says what is wrong with a camera whose pictures have not come for
// some time; empty: nothing that one would know of.
func trouble(w order, silent time.Duration) string {
	info, made := w.camera.Info(), w.lease.Stream().Info()
	switch why := info.Reason; {
	case info.State == stream.Lost, info.State == stream.Failed, info.State == stream.Disabled:
		if why == "" {
			why = "no picture"
		}
		return fmt.Sprintf("camera %q is %s: %s", w.camera.ID(), info.State, why)
	case info.State == stream.Live && made.Reason != "":
		return fmt.Sprintf("camera %q: no JPEG can be made of it: %s", w.camera.ID(), made.Reason)
	case info.LastFrame.IsZero() && silent >= firstPicture:
		return fmt.Sprintf("camera %q has no picture yet (%s)", w.camera.ID(), info.State)
	}
	return ""
}
