package live

import (
	"context"
	"errors"
	"io"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/server/live/socket"
	"camwire/server/wish"

	"github.com/coder/websocket"
)

const (
	// writeTimeout is how long one picture may take to go out.
	writeTimeout = 10 * time.Second
	// look is how often a camera that sends nothing is asked why.
	look = time.Second
	// firstPicture is how long a camera may take to its first picture before
	// its viewers are told that there is none.
	firstPicture = 10 * time.Second
)

// watch serves one viewer until it or the camera is gone.
func (h *Handler) watch(conn *socket.Conn, w order, remote string) {
	v := &viewer{
		cursor: w.lease.Hub().NewCursor(hub.CursorOptions{Newest: true}),
		pace:   wish.Pacer{Interval: w.query.Interval},
		wrong:  func(silent time.Duration) string { return trouble(w, silent) },
		out:    conn,
		binary: w.query.binary,
		stats:  w.lease.Reader(),
	}
	if !v.binary {
		v.messages = h.shared.take(w.lease.Stream())
		defer h.shared.give(w.lease.Stream())
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		ignore(conn)
	}()
	defer func() { conn.Close(); <-read }()
	err := v.run(conn.Context())
	if errors.Is(err, hub.ErrClosed) {
		// The camera was removed: the last word before the end. If it does
		// not arrive, nobody is there.
		_ = conn.Complain("the camera was removed")
		conn.End(websocket.StatusNormalClosure, "the camera was removed")
	}
	h.log.Debug("ws viewer left", "camera", w.camera.ID(), "remote", remote, "skipped", v.cursor.Skipped(), "reason", err)
}

// ignore reads what a viewer says, so that pings and its goodbye are heard,
// until it has gone. Some clients send a word of greeting.
func ignore(conn *socket.Conn) {
	// The connection ends its reads itself, with a goodbye.
	ctx := context.WithoutCancel(conn.Context())
	for {
		_, r, err := conn.Reader(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			conn.End(websocket.StatusNormalClosure, "")
			return
		}
	}
}

// out is where a viewer's messages go; *socket.Conn.
type out interface {
	Send(typ websocket.MessageType, b []byte, within time.Duration) error
	Complain(words string) error
	Fit(message int)
}

// viewer sends pictures to one client.
type viewer struct {
	cursor   *hub.Cursor
	pace     wish.Pacer
	messages *messages // nil when the pictures are sent as they are
	binary   bool
	out      out
	// wrong says what is wrong with a camera that has been silent for so
	// long; empty: nothing.
	wrong func(silent time.Duration) string

	stats stream.Reader
	told  string // the last complaint, until the next picture
}

// run sends pictures until ctx is done, the client has gone or the camera has.
func (v *viewer) run(ctx context.Context) error {
	for {
		f, err := v.next(ctx)
		if err != nil {
			return err
		}
		if f.Size() == 0 {
			continue
		}
		typ, b := websocket.MessageBinary, jpegOf(f)
		if !v.binary {
			typ, b = websocket.MessageText, v.messages.of(f)
		}
		v.out.Fit(len(b))
		if err := v.out.Send(typ, b, writeTimeout); err != nil {
			return err
		}
		v.stats.Sent(f.Captured, v.cursor.Skipped())
		v.told = ""
		v.pace.Sent(time.Now())
	}
}

// next returns the picture to send next: the newest, as soon as the rate
// allows. It tells the client what is wrong while there is none.
func (v *viewer) next(ctx context.Context) (*media.Frame, error) {
	var held *media.Frame // there, but too early
	since := time.Now()
	for {
		deadline := time.Now().Add(look)
		if held != nil {
			deadline = v.pace.Latest()
		}
		wctx, cancel := context.WithDeadline(ctx, deadline)
		f, err := v.cursor.Next(wctx)
		cancel()
		switch {
		case err == nil:
			if held = f; v.pace.Ready(time.Now()) {
				return f, nil
			}
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		case held != nil:
			return held, nil
		default:
			words := v.wrong(time.Since(since))
			if words == "" || words == v.told {
				continue
			}
			v.told = words
			if err := v.out.Complain(words); err != nil {
				return nil, err
			}
		}
	}
}
