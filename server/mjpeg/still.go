package mjpeg

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server"

	"github.com/gin-gonic/gin"
)

const (
	// fresh is how old a picture may be that is handed out without waiting
	// for the next.
	fresh = time.Second
	// stillWait is how long a request waits for a picture.
	stillWait = 5 * time.Second
	// stillTimeout is how long a client may take to read it.
	stillTimeout = 30 * time.Second
)

// still serves one picture.
func (h *Handler) still(c *gin.Context) {
	s, lease, _, err := h.lease(c, "snapshot")
	if err != nil {
		server.Fail(c, err)
		return
	}
	defer lease.Release()
	f, err := newest(c.Request.Context(), s, lease)
	if err != nil {
		server.Fail(c, err)
		return
	}
	age := max(time.Since(f.Captured), 0)
	hd := c.Writer.Header()
	hd.Set("Content-Type", "image/jpeg")
	hd.Set("Content-Length", strconv.Itoa(f.Size()))
	hd.Set("Cache-Control", "no-cache, no-store")
	hd.Set("X-Frame-Age-Ms", strconv.FormatInt(age.Milliseconds(), 10))
	hd.Set("X-Frame-Timestamp", string(appendTimestamp(nil, f.Captured)))
	// The address of mjpg-streamer is that of streams too, which have no limit.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(stillTimeout))
	c.Status(http.StatusOK)
	for _, u := range f.Units {
		if _, err := c.Writer.Write(u); err != nil {
			return // the client has gone
		}
	}
}

// newest returns the newest picture, waiting for the next one where the newest
// is not new. A picture that is old because the camera sends one a minute is
// still what the camera shows now; the answer says how old it is.
func newest(ctx context.Context, s *stream.Stream, l *stream.Lease) (*media.Frame, error) {
	wctx, cancel := context.WithTimeout(ctx, stillWait)
	defer cancel()
	cur := l.Hub().NewCursor(hub.CursorOptions{Newest: true})
	var old *media.Frame
	for {
		f, err := cur.Next(wctx)
		switch {
		case err == nil:
			if f.Size() == 0 {
				continue
			}
			if time.Since(f.Captured) <= fresh || current(s, f) && !dead(s, f) {
				return f, nil
			}
			old = f
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			if old != nil && !dead(s, old) {
				return old, nil
			}
			return nil, noPicture(s, l, stillWait)
		default:
			return nil, err
		}
	}
}

// current reports whether a picture is of the newest frame that the camera has
// sent. Making a picture keeps the time of its frame, give or take rounding.
func current(s *stream.Stream, f *media.Frame) bool {
	newest := s.Hub().Latest()
	return newest != nil && !f.Captured.Add(time.Millisecond).Before(newest.Captured)
}

// dead reports whether a picture is the last one of a camera that is being
// tried again in vain: handing it out would look like a camera that works. What
// a publisher sent last stays, it may be meant to come once a minute.
func dead(s *stream.Stream, f *media.Frame) bool {
	info := s.Info()
	return s.Options().Source != nil && (info.State == stream.Lost || info.State == stream.Failed) &&
		time.Since(f.Captured) > activeWithin
}
