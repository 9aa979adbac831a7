// Package mse hands a camera's video to browsers as fragmented MP4 over a
// WebSocket, for Media Source Extensions: where WebRTC is blocked, or for a
// codec that WebRTC does not carry. Nothing is decoded here: frames go straight
// from the hub into fragments, one for each frame, and what a browser cannot
// take comes from a stream derived from the camera's. How that is made, and who
// may watch, is not this package's business.
//
// The protocol, in the order of a viewer's life:
//
//	server: {"type":"state","state":"live"}            how the camera is, and each change of it
//	server: {"type":"mime","mime":"video/mp4; …"}      what follows needs this kind of buffer
//	server: binary                                     an initialization segment (ISO/IEC 14496-12, 8.16)
//	server: binary …                                   media segments, moof and mdat of one frame
//	server: {"type":"time","media":1.5,"captured":…}   the picture at that second was taken then, unix ms
//	client: {"type":"ping","t":…}                      answered by {"type":"pong","t":…,"server":unix ms}
//	client: {"type":"audio","on":true}                 sound as well, from now on
//	server: {"type":"error","error":…,"code":…}        the last words before an end
//
// A further "mime" means that the buffer has to be made anew; a further
// initialization segment without one belongs into the buffer as it comes. Time
// in the media never runs backwards and has no holes: where a viewer has missed
// something, what follows is joined to what it had.
package mse

import (
	"fmt"
	"log/slog"
	"net/http"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"
	"camwire/server/live/socket"

	"github.com/gin-gonic/gin"
)

// DefaultMaxViewers bounds the viewers of all cameras together.
const DefaultMaxViewers = 256

const (
	// kind is what these viewers are counted as.
	kind = "mse"
	// maxMessage bounds what a viewer may say in bytes.
	maxMessage = 16 << 10
)

// Options of a Handler.
type Options struct {
	// Registry holds the cameras; required.
	Registry *stream.Registry
	// H264 and Opus are the names of the derived streams that carry what a
	// browser cannot take as it is; default "h264" and "opus".
	H264, Opus string
	// MaxViewers bounds the viewers at a time; default 256.
	MaxViewers int
	// Log gets the end of viewers at debug level; default none.
	Log *slog.Logger
}

// Handler serves the viewers.
type Handler struct {
	opts   Options
	log    *slog.Logger
	places chan struct{} // one for each viewer
}

// New returns a handler. Registry is required.
func New(o Options) *Handler {
	if o.MaxViewers <= 0 {
		o.MaxViewers = DefaultMaxViewers
	}
	if o.H264 == "" {
		o.H264 = "h264"
	}
	if o.Opus == "" {
		o.Opus = "opus"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{opts: o, log: o.Log, places: make(chan struct{}, o.MaxViewers)}
}

// Routes returns the address of viewers.
func (h *Handler) Routes() []server.Route {
	return []server.Route{
		{Method: http.MethodGet, Path: "/api/camera/mse/:id", Perm: auth.View, Stream: true, Handler: h.serve},
	}
}

func (h *Handler) serve(c *gin.Context) {
	q, err := parseQuery(c.Request.URL.Query())
	if err != nil {
		server.Fail(c, &server.StatusError{Status: http.StatusBadRequest, Err: err})
		return
	}
	camera, err := h.opts.Registry.Get(server.Camera(c))
	if err != nil {
		server.Fail(c, err)
		return
	}
	lease, err := camera.Lease(kind)
	if err != nil {
		server.Fail(c, err)
		return
	}
	defer lease.Release()
	if !auth.IsWebSocket(c.Request) {
		server.Fail(c, &server.StatusError{Status: http.StatusUpgradeRequired, Err: socket.ErrNoWebSocket})
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		server.Fail(c, server.OverLimit(server.LimitMSE, http.StatusServiceUnavailable,
			fmt.Errorf("%d viewers are served by MSE already: try again later, or use WebRTC", cap(h.places))))
		return
	}
	conn, err := socket.Accept(c.Writer, c.Request, socket.Options{MaxMessage: maxMessage})
	if err != nil {
		return // it has answered
	}
	v := newViewer(h, camera, lease, conn, q)
	err = v.serve(conn)
	h.log.Debug("mse viewer left", "camera", camera.ID(), "remote", c.Request.RemoteAddr, "skipped", v.skipped, "reason", err)
}
