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
	"camwire/server/wish"

	"github.com/gin-gonic/gin"
)

const (
	// boundary separates the parts. Letters only: some parsers trip over
	// anything else.
	boundary = "camwireframe"
	// ContentType of a stream.
	ContentType = "multipart/x-mixed-replace; boundary=" + boundary

	// keepAlive is the silence after which the last frame is sent again.
	keepAlive = 15 * time.Second
	// writeTimeout is how long one part may take to go out.
	writeTimeout = 10 * time.Second
	// firstPicture is how long a program waits for an answer when the camera
	// has no picture.
	firstPicture = 10 * time.Second
)

// out takes the pieces of one part, in order, and sends them with one write. It
// returns when the kernel has them.
type out interface {
	send(pieces ...[]byte) error
}

// stream serves the endless answer.
func (h *Handler) stream(c *gin.Context) {
	if c.Request.Method == http.MethodHead {
		setHeader(c.Writer.Header(), c.Request)
		c.Status(http.StatusOK)
		return
	}
	if err := h.take(); err != nil {
		server.Fail(c, err)
		return
	}
	defer h.viewers.Add(-1)
	s, lease, q, err := h.lease(c, "mjpeg")
	if err != nil {
		server.Fail(c, err)
		return
	}
	defer lease.Release()
	v := &viewer{
		cursor: lease.Hub().NewCursor(hub.CursorOptions{Newest: true}),
		early:  forImage(c.Request),
		pace:   wish.Pacer{Interval: q.Interval},
		stats:  lease.Reader(),
	}
	// A program learns why there is no picture. An <img> would stay broken
	// until somebody reloads the page: it waits for as long as it takes.
	if !v.early {
		if v.held, err = first(c.Request.Context(), v.cursor, s, lease); err != nil {
			server.Fail(c, err)
			return
		}
	}
	ctx, o, done, err := open(c.Writer, c.Request)
	if err != nil {
		server.Fail(c, err)
		return
	}
	err = v.run(ctx, o)
	done()
	h.log.Debug("mjpeg viewer left", "camera", s.ID(), "remote", c.Request.RemoteAddr, "skipped", v.cursor.Skipped(), "error", err)
}

// first waits for the picture that the answer begins with.
func first(ctx context.Context, cur *hub.Cursor, s *stream.Stream, l *stream.Lease) (*media.Frame, error) {
	wctx, cancel := context.WithTimeout(ctx, firstPicture)
	defer cancel()
	f, err := cur.Next(wctx)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = noPicture(s, l, firstPicture)
	}
	return f, err
}

// setHeader fills the header of a stream.
func setHeader(h http.Header, r *http.Request) {
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
	// nginx would collect frames until its buffer is full.
	h.Set("X-Accel-Buffering", "no")
	if r.ProtoMajor == 1 {
		// Over HTTP/2 this would close the page's other streams too.
		h.Set("Connection", "close")
	}
}

// viewer is one endless answer.
type viewer struct {
	cursor *hub.Cursor
	// early sends the next part's beginning right after each frame, without
	// Content-Length: an <img> shows a frame only when the next one begins.
	early bool
	pace  wish.Pacer
	// held is a frame that is there but not sent yet.
	held  *media.Frame
	stats stream.Reader

	last     *media.Frame
	lastSent time.Time
	head     []byte
}

const (
	delimiter = "--" + boundary + "\r\n"
	partType  = "Content-Type: image/jpeg\r\n"
	lineEnd   = "\r\n"

	// endOfPart goes out with its frame. Readers that search for the boundary
	// instead of believing Content-Length then have the frame at once, and
	// not with the next one.
	endOfPart = lineEnd + delimiter
	// earlyPart is all of a part's header that can be sent before its frame
	// is known.
	earlyPart = partType + lineEnd
)

// run sends frames until ctx is done, the client has gone or the camera has. It
// sends no closing delimiter: to whoever watches, a stream that ends is one to
// be asked for again.
func (v *viewer) run(ctx context.Context, o out) error {
	if v.early {
		if err := o.send([]byte(delimiter + earlyPart)); err != nil {
			return err
		}
	}
	f := v.held
	for {
		if f == nil {
			var err error
			if f, err = v.next(ctx); err != nil {
				return err
			}
		}
		if err := v.send(o, f); err != nil {
			return err
		}
		f = nil
	}
}

// next returns the frame to send next: the newest as soon as the rate allows,
// or the last one again after a long silence.
func (v *viewer) next(ctx context.Context) (*media.Frame, error) {
	v.held = nil
	for {
		deadline := v.lastSent.Add(keepAlive)
		switch {
		case v.held != nil:
			deadline = v.pace.Latest()
		case v.last == nil:
			deadline = time.Now().Add(time.Hour) // nothing to repeat
		}
		wctx, cancel := context.WithDeadline(ctx, deadline)
		f, err := v.cursor.Next(wctx)
		cancel()
		switch {
		case err == nil:
			if v.held = f; v.pace.Ready(time.Now()) {
				return f, nil
			}
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		case v.held != nil:
			return v.held, nil
		case v.last != nil:
			return v.last, nil
		}
	}
}

// send writes one part.
func (v *viewer) send(o out, f *media.Frame) error {
	size := f.Size()
	if size == 0 {
		return nil // nobody could show it, and it would end an early part
	}
	v.held = nil
	pieces := make([][]byte, 0, 2+len(f.Units))
	if v.early {
		pieces = append(append(pieces, f.Units...), []byte(endOfPart+earlyPart))
	} else {
		v.head = v.head[:0]
		if v.last == nil {
			v.head = append(v.head, delimiter...)
		}
		v.head = append(v.head, partType+"Content-Length: "...)
		v.head = strconv.AppendInt(v.head, int64(size), 10)
		v.head = append(v.head, "\r\nX-Timestamp: "...)
		v.head = appendTimestamp(v.head, f.Captured)
		v.head = append(v.head, "\r\n\r\n"...)
		pieces = append(append(append(pieces, v.head), f.Units...), []byte(endOfPart))
	}
	err := o.send(pieces...)
	if err == nil && f != v.last {
		v.stats.Sent(f.Captured, v.cursor.Skipped())
	}
	v.last, v.lastSent = f, time.Now()
	v.pace.Sent(v.lastSent)
	return err
}

// appendTimestamp writes unix seconds with six digits behind the point.
func appendTimestamp(b []byte, t time.Time) []byte {
	us := t.UnixMicro()
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	frac := us % 1e6
	for d := int64(100000); d > 0; d /= 10 {
		b = append(b, byte('0'+frac/d%10))
	}
	return b
}
