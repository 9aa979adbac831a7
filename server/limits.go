package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"camwire/media/stream"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// Limit is one bound on what strangers and mistakes may cost.
type Limit struct {
	// Name stands in the metric camwire_refused_total and in the log.
	Name string
	// Bound is the default, in words.
	Bound string
	// Answer is what somebody beyond it gets.
	Answer string
}

// Names of limits. Those that other packages keep are here too: the table is
// one, and so is the metric.
const (
	LimitHeader      = "header"
	LimitHeaderTime  = "header_time"
	LimitConns       = "connections"
	LimitSockets     = "websockets"
	LimitBody        = "body"
	LimitBodyTime    = "body_time"
	LimitFrame       = "frame"
	LimitPixels      = "pixels"
	LimitFrameRate   = "frame_rate"
	LimitSDP         = "sdp"
	LimitWebRTC      = "webrtc_sessions"
	LimitICETCP      = "webrtc_tcp_connections"
	LimitMJPEG       = "mjpeg_viewers"
	LimitPictures    = "websocket_viewers"
	LimitMSE         = "mse_viewers"
	LimitUploads     = "uploads"
	LimitSizes       = "sizes"
	LimitCameras     = "cameras"
	LimitSignIn      = "sign_in"
	LimitRTSPConns   = "rtsp_connections"
	LimitRTSPSession = "rtsp_sessions"
	LimitRTSPTime    = "rtsp_request_time"
	LimitDecoders    = "decoders"
	LimitSlowReader  = "slow_reader"
)

// Limits is the table of all limits of the network surfaces: what is counted,
// how much of it is taken, and how the rest is refused. Endless answers (MJPEG,
// WebSockets) are excepted from the time for an answer: a write that takes
// longer than ten seconds ends them instead.
func Limits() []Limit {
	return []Limit{
		{LimitHeader, "32 KiB of request header", "431"},
		{LimitHeaderTime, "10 s for a request's header, TLS handshake included; 2 min between two requests", "the connection is closed"},
		{LimitConns, "2048 HTTP connections, 256 of one address; those of this machine count in all only", "503 over HTTP, over TLS the connection is closed"},
		{LimitSockets, "512 WebSockets, 128 of one address", "503 in all, 429 for one address"},
		{LimitBody, "1 MiB where a route says nothing else", "413"},
		{LimitBodyTime, "30 s for a request's body", "408, or the connection is closed"},
		{LimitSlowReader, "30 s for an answer to be read, 10 s for each part of an endless one", "the connection is closed"},
		{LimitFrame, "5 MiB for an uploaded picture", "413; over a WebSocket an error message, and the picture is skipped"},
		{LimitPixels, "64 million pixels and 16384 on a side, read from the picture's header before anything is decoded; 16 million for a picture that is decoded", "400; over a WebSocket an error message, and the picture is skipped"},
		{LimitFrameRate, "120 uploaded pictures a second for one camera", "429; over a WebSocket an error message, and the picture is skipped"},
		{LimitSDP, "128 KiB for an offer", "413"},
		{LimitWebRTC, "1000 WebRTC sessions, 128 of one address", "503"},
		{LimitICETCP, "2000 TCP connections for WebRTC media, 256 of one address", "the connection is closed"},
		{LimitMJPEG, "256 MJPEG streams", "503"},
		{LimitPictures, "256 viewers of pictures over WebSocket", "503"},
		{LimitMSE, "256 viewers of fragmented MP4", "503"},
		{LimitUploads, "64 WebSockets that send pictures, 64 forms being read", "503"},
		{LimitSizes, "12 different JPEG sizes and qualities of one camera at a time", "503"},
		{LimitDecoders, "one codec process for a camera, 64 in all", "503, or no picture and the reason in the camera's state"},
		{LimitCameras, "256 cameras made by publishers", "503"},
		{LimitSignIn, "10 wrong passwords or tokens of one address (IPv6: of one /64), then one every 6 s", "429"},
		{LimitRTSPConns, "400 RTSP connections, 64 of one address", "the connection is closed"},
		{LimitRTSPSession, "200 RTSP players and publishers, 32 of one address", "453"},
		{LimitRTSPTime, "10 s for an RTSP request, 60 s between two while nothing plays", "the connection is closed"},
	}
}

// Refusals counts what was refused, by the name of the limit. All methods may
// be called from any goroutine, and on nil.
type Refusals struct{ n map[string]*atomic.Uint64 }

// NewRefusals returns a counter of all limits.
func NewRefusals() *Refusals {
	r := &Refusals{n: map[string]*atomic.Uint64{}}
	for _, l := range Limits() {
		r.n[l.Name] = new(atomic.Uint64)
	}
	return r
}

// Count counts one refusal; a name that is no limit is not counted.
func (r *Refusals) Count(limit string) {
	if r == nil {
		return
	}
	if n := r.n[limit]; n != nil {
		n.Add(1)
	}
}

// Snapshot returns the counts of all limits.
func (r *Refusals) Snapshot() map[string]uint64 {
	out := map[string]uint64{}
	if r != nil {
		for k, n := range r.n {
			out[k] = n.Load()
		}
	}
	return out
}

// OverLimit makes a StatusError of a limit.
func OverLimit(limit string, status int, err error) error {
	return &StatusError{Status: status, Err: err, Limit: limit}
}

// countRefusal finds out which limit, if any, a request was refused by.
func (s *Server) countRefusal(c *gin.Context) {
	if c.Writer.Status() < http.StatusBadRequest {
		return
	}
	if last := c.Errors.Last(); last != nil {
		s.opts.Refusals.Count(limitOf(last.Err))
		return
	}
	// The ends of signaling answer for themselves.
	if p := c.FullPath(); strings.Contains(p, "/whep") || strings.Contains(p, "/whip") {
		switch c.Writer.Status() {
		case http.StatusRequestEntityTooLarge:
			s.opts.Refusals.Count(LimitSDP)
		case http.StatusServiceUnavailable:
			s.opts.Refusals.Count(LimitWebRTC)
		}
	}
}

// limitOf names the limit that an error is about; "" for none.
func limitOf(err error) string {
	var own *StatusError
	for e := err; errors.As(e, &own); e = own.Err {
		if own.Limit != "" {
			return own.Limit
		}
	}
	var many *auth.TooManyError
	var large *http.MaxBytesError
	var body *bodyError
	switch {
	case errors.As(err, &many):
		return LimitSignIn
	case errors.As(err, &large):
		return LimitBody
	case errors.As(err, &body) && body.slow():
		return LimitBodyTime
	case errors.Is(err, stream.ErrTooMany):
		return LimitSizes
	case errors.Is(err, stream.ErrFull):
		return LimitCameras
	}
	return ""
}

// retryLater are the statuses with which a Retry-After belongs.
func retryLater(status int) bool {
	return slices.Contains([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}, status)
}
