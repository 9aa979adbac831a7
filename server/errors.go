package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// StatusError is an error of a handler that knows its status and may be told
// to the client as it is.
type StatusError struct {
	Status int
	Err    error
	// Limit names the limit that was met; "" for other errors.
	Limit string
}

func (e *StatusError) Error() string { return e.Err.Error() }

// Unwrap returns the error without its status.
func (e *StatusError) Unwrap() error { return e.Err }

// Errorf makes a StatusError; the text goes to the client.
func Errorf(status int, format string, args ...any) error {
	return &StatusError{Status: status, Err: fmt.Errorf(format, args...)}
}

// statusClientGone is logged for a request whose client did not wait; nobody
// gets to see it.
const statusClientGone = 499

// statuses says which error is which status. All of them were written for the
// people who see them.
var statuses = []struct {
	err    error
	status int
}{
	{stream.ErrBadID, http.StatusBadRequest},
	{stream.ErrUnknown, http.StatusNotFound},
	{stream.ErrClosed, http.StatusNotFound},
	{hub.ErrClosed, http.StatusNotFound},
	{stream.ErrExists, http.StatusConflict},
	{stream.ErrPublished, http.StatusConflict},
	{stream.ErrNotPushable, http.StatusConflict},
	{stream.ErrDisabled, http.StatusConflict},
	{stream.ErrTooMany, http.StatusServiceUnavailable},
	{stream.ErrFull, http.StatusServiceUnavailable},
	{auth.ErrHost, http.StatusMisdirectedRequest},
	{auth.ErrOrigin, http.StatusForbidden},
	{auth.ErrForbidden, http.StatusForbidden},
	{auth.ErrUnauthorized, http.StatusUnauthorized},
}

// StatusOf maps an error to a status and to the words for the client. What it
// does not know is 500 and says nothing: the details are for the log.
func StatusOf(err error) (status int, words string) {
	var own *StatusError
	var many *auth.TooManyError
	var large *http.MaxBytesError
	var body *bodyError
	switch {
	case errors.As(err, &own):
		return own.Status, own.Error()
	case errors.As(err, &many):
		return http.StatusTooManyRequests, many.Error()
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is larger than %d bytes", large.Limit)
	case errors.As(err, &body) && body.slow():
		return http.StatusRequestTimeout, "the request's body took too long to come"
	case errors.As(err, &body):
		return http.StatusBadRequest, "the request's body was cut off, or cannot be read"
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status, err.Error()
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return statusClientGone, "request cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "it took too long"
	}
	return http.StatusInternalServerError, "internal error, the server's log says more"
}

// Fail answers a request with an error: {"error": …}, with "device_id" where
// the request is about a camera. Nothing runs after it, and nothing is written
// when the answer has begun.
func Fail(c *gin.Context, err error) {
	status, words := StatusOf(err)
	_ = c.Error(err) // for the log
	c.Abort()
	if c.Writer.Written() {
		return
	}
	h := c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	var many *auth.TooManyError
	switch {
	case errors.As(err, &many):
		h.Set("Retry-After", strconv.Itoa(many.Seconds()))
	case retryLater(status):
		h.Set("Retry-After", "5")
	case status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", auth.Challenge(c.Request))
	}
	body := gin.H{"error": words}
	if id := Camera(c); id != "" {
		body["device_id"] = id
	}
	c.JSON(status, body)
}

// observe logs requests and turns a panic of a handler into its own 500. The
// query is not logged: it may hold a token.
func (s *Server) observe(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			s.countRefusal(c)
			s.logRequest(c)
			return
		}
		if e, ok := p.(error); ok && errors.Is(e, http.ErrAbortHandler) {
			panic(p)
		}
		s.log.LogAttrs(c.Request.Context(), slog.LevelError, "handler crashed",
			slog.String("method", c.Request.Method), slog.String("path", c.Request.URL.Path),
			slog.Any("panic", p), slog.String("stack", stack()))
		Fail(c, errCrash)
	}()
	c.Next()
}

var errCrash = errors.New("handler crashed")

func (s *Server) logRequest(c *gin.Context) {
	status, level := c.Writer.Status(), slog.LevelDebug
	if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout {
		level = slog.LevelError
	}
	ctx := c.Request.Context()
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", c.Request.Method), slog.String("path", c.Request.URL.Path),
		slog.String("remote", c.Request.RemoteAddr), slog.Int("status", status),
	}
	if e := c.Errors.Last(); e != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}
