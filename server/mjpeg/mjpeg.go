// Package mjpeg hands out JPEG pictures over plain HTTP, as an endless
// multipart stream and one at a time, for everything that cannot speak WebRTC.
// The pictures come from a stream derived from the camera's; how they are made
// is not this package's business, and one is made once however many look at it.
package mjpeg

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"
	"camwire/server/wish"

	"github.com/gin-gonic/gin"
)

const (
	// activeWithin is how fresh a camera's last frame is when the camera
	// counts as active.
	activeWithin = 10 * time.Second
	// DefaultMaxViewers bounds the endless streams of all cameras together.
	DefaultMaxViewers = 256
)

// Options of a Handler.
type Options struct {
	// Registry holds the cameras; required.
	Registry *stream.Registry
	// Name gives the name of the derived stream that has the pictures in this
	// width (pixels) and quality (1 to 100), 0 where the viewer does not mind;
	// required.
	Name func(width, quality int) string
	// MaxViewers bounds the streams at a time; default 256.
	MaxViewers int
	// Log gets the end of streams at debug level; default none.
	Log *slog.Logger
}

// Handler serves the pictures.
type Handler struct {
	reg     *stream.Registry
	name    func(width, quality int) string
	max     int64
	log     *slog.Logger
	viewers atomic.Int64
}

// New returns a handler. Registry and Name are required.
func New(o Options) *Handler {
	if o.MaxViewers <= 0 {
		o.MaxViewers = DefaultMaxViewers
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{reg: o.Registry, name: o.Name, max: int64(o.MaxViewers), log: o.Log}
}

// Addresses of mjpg-streamer. Rewrite leads those with a query at the top here.
const webcamPath = "/webcam/"

// Routes returns the addresses of streams and stills.
func (h *Handler) Routes() []server.Route {
	return []server.Route{
		{Method: http.MethodGet, Path: "/api/camera/mjpeg/:id", Perm: auth.View, Stream: true, Handler: h.stream},
		{Method: http.MethodGet, Path: "/api/camera/snapshot/:id", Perm: auth.View, Handler: h.still},
		{Method: http.MethodGet, Path: webcamPath, Perm: auth.View, Stream: true, Camera: h.queryCamera, Handler: h.webcam},
	}
}

// Rewrite gives requests in the form of mjpg-streamer, "/?action=…", an
// address of their own: what they ask for is no page.
func Rewrite(r *http.Request) {
	switch r.URL.Path {
	case "/webcam":
		r.URL.Path = webcamPath
	case "/":
		if r.URL.RawQuery != "" && r.URL.Query().Has("action") {
			r.URL.Path = webcamPath
		}
	}
}

// webcam answers as mjpg-streamer does.
func (h *Handler) webcam(c *gin.Context) {
	if server.Camera(c) == "" && !c.Request.URL.Query().Has("cam") {
		who := server.Identity(c)
		server.SetCamera(c, h.first(func(id string) bool { return who.May(auth.View, id) }))
	}
	switch action := c.Query("action"); action {
	case "stream":
		h.stream(c)
	case "snapshot":
		h.still(c)
	default:
		server.Fail(c, server.Errorf(http.StatusBadRequest, "action %q: use ?action=stream or ?action=snapshot, and &cam=<id> to choose a camera", action))
	}
}

// queryCamera is the camera of ?cam=. Without it, whoever asks needs to be known
// before one is chosen.
func (h *Handler) queryCamera(c *gin.Context) string { return c.Query("cam") }

// first returns the first camera that has a picture, or else the first one, of
// those that may be seen; empty if there is none.
func (h *Handler) first(may func(id string) bool) string {
	first := ""
	for _, s := range h.reg.List() {
		if !may(s.ID()) {
			continue
		}
		if first == "" {
			first = s.ID()
		}
		if last := s.Info().LastFrame; !last.IsZero() && time.Since(last) <= activeWithin {
			return s.ID()
		}
	}
	return first
}

// lease parses the query and takes a lease of the pictures it asks for.
func (h *Handler) lease(c *gin.Context, kind string) (*stream.Stream, *stream.Lease, wish.Wish, error) {
	// The permission was asked for a camera; if there is none, say that
	// instead of complaining about the empty id.
	id := server.Camera(c)
	if id == "" && !c.Request.URL.Query().Has("cam") {
		return nil, nil, wish.Wish{}, server.Errorf(http.StatusNotFound, "there is no camera yet: add one to the configuration")
	}
	s, err := h.reg.Get(id)
	if err != nil {
		return nil, nil, wish.Wish{}, err
	}
	q, err := wish.Parse(c.Request.URL.Query())
	if err != nil {
		return nil, nil, wish.Wish{}, &server.StatusError{Status: http.StatusBadRequest, Err: err}
	}
	l, err := s.LeaseDerived(h.name(q.Width, q.Quality), kind)
	if err != nil {
		if status, _ := server.StatusOf(err); status == http.StatusInternalServerError {
			// This build or this camera cannot make JPEG: worth knowing.
			err = &server.StatusError{Status: http.StatusServiceUnavailable, Err: err}
		}
		return nil, nil, wish.Wish{}, err
	}
	return s, l, q, nil
}

// noPicture says why there is none after waiting for it.
func noPicture(s *stream.Stream, l *stream.Lease, waited time.Duration) error {
	info, made := s.Info(), l.Stream().Info()
	why := string(info.State)
	if info.Reason != "" {
		why += ": " + info.Reason
	} else if info.State == stream.Live && made.Reason != "" {
		why = "no JPEG can be made of it: " + made.Reason
	}
	return server.Errorf(http.StatusServiceUnavailable, "camera %q has no picture after %v (%s)", s.ID(), waited, why)
}

// take counts a viewer in; it fails when there are too many.
func (h *Handler) take() error {
	if h.viewers.Add(1) > h.max {
		h.viewers.Add(-1)
		return server.OverLimit(server.LimitMJPEG, http.StatusServiceUnavailable,
			fmt.Errorf("%d MJPEG viewers are served already: try again later, or use WebRTC", h.max))
	}
	return nil
}
