package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"camwire/server"
	"camwire/server/auth"
	"camwire/server/live/socket"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
)

const (
	// idleTimeout ends a connection that sends no whole message for that long.
	idleTimeout = time.Minute
	// drainFactor bounds a message, in pictures of the largest size. What is
	// larger than a picture is read and thrown away, beyond this the
	// connection ends.
	drainFactor = 8
	// maxWaiting bounds the complaints that a sender has not read yet. It may
	// send and send and read none.
	maxWaiting = 16
	// nagInterval is how often one is told the same about each of its pictures.
	nagInterval = time.Second
)

// stream takes pictures over a WebSocket.
func (h *Handler) stream(c *gin.Context) {
	id := server.Camera(c)
	takeover := c.Query("takeover") == "1" // as in WHIP
	if err := h.desk.check(id, time.Now(), takeover); err != nil {
		server.Fail(c, err)
		return
	}
	if !auth.IsWebSocket(c.Request) {
		server.Fail(c, &server.StatusError{Status: http.StatusUpgradeRequired, Err: socket.ErrNoWebSocket})
		return
	}
	leave, err := enter(h.conns, "connections that send pictures")
	if err != nil {
		server.Fail(c, err)
		return
	}
	defer leave()
	conn, err := socket.Accept(c.Writer, c.Request, socket.Options{Stop: h.opts.Context, Deaf: true})
	if err != nil {
		return // Accept has answered
	}
	x := &session{
		h: h, id: id, conn: conn, complaints: make(chan string, maxWaiting),
		remote: c.Request.RemoteAddr, location: "sent by " + auth.Remote(c.Request).String(),
		from: &sender{takeover: takeover, end: func(why string) { conn.End(websocket.StatusNormalClosure, why) }},
	}
	x.serve()
}

// session is one connection that sends pictures.
type session struct {
	h          *Handler
	id         string
	conn       *socket.Conn
	from       *sender
	remote     string
	location   string // for people
	complaints chan string
	size       int       // of the last picture
	nagged     time.Time // when the last complaint of that kind went out

	taken, refused int
}

func (x *session) serve() {
	log := x.h.log.With("camera", x.id, "remote", x.remote)
	log.Debug("sender connected")
	told := make(chan struct{})
	go func() {
		defer close(told)
		x.complain()
	}()
	idle := time.AfterFunc(x.h.idle, func() {
		x.conn.End(websocket.StatusPolicyViolation, fmt.Sprintf("no picture for %v", x.h.idle))
	})
	defer func() {
		idle.Stop()
		x.h.desk.leave(x.id, x.from)
		x.conn.Close()
		<-told
	}()
	err := x.read(idle)
	log.Info("sender left", "pictures", x.taken, "refused", x.refused, "reason", err)
}

// read takes messages until the connection ends, and says why it did.
func (x *session) read(idle *time.Timer) error {
	// The connection ends its reads itself, with a goodbye. A context that
	// ends would cut it off.
	ctx := context.WithoutCancel(x.conn.Context())
	for x.conn.Context().Err() == nil {
		typ, r, err := x.conn.Reader(ctx)
		if err == nil {
			err = x.message(typ, r)
		}
		if err != nil {
			if x.conn.Context().Err() == nil {
				return err
			}
			break
		}
		idle.Reset(x.h.idle)
	}
	return context.Cause(x.conn.Context())
}

// message takes one message. The error is one of the connection; what is wrong
// with the picture is told to the sender.
func (x *session) message(typ websocket.MessageType, r io.Reader) error {
	if typ != websocket.MessageBinary {
		x.refuse("a text message is no picture: send each picture as one binary message")
		return x.drain(r)
	}
	limit := x.h.opts.MaxFrame
	b, err := slurp(r, x.size+x.size/8, limit)
	if errors.Is(err, errTooLarge) {
		if err := x.drain(r); err != nil {
			return err
		}
		x.refuse(fmt.Sprintf("picture skipped: it is larger than %d bytes", limit))
		return nil
	}
	if err != nil {
		return err
	}
	now := time.Now()
	x.size = len(b)
	p, err := parse(b)
	if err != nil {
		x.refuse("picture skipped: no JPEG that can be shown: " + err.Error())
		return nil
	}
	if err := x.h.desk.put(x.id, x.from, x.location, p, now); err != nil {
		x.nag(now, err)
		return nil
	}
	x.taken++
	return nil
}

// drain throws away the rest of a message.
func (x *session) drain(r io.Reader) error {
	most := drainFactor * int64(x.h.opts.MaxFrame)
	n, err := io.CopyN(io.Discard, r, most)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil && n == most:
		err = errors.New("a message without end")
		x.conn.End(websocket.StatusMessageTooBig, err.Error())
	}
	return err
}

// refuse counts a picture that was not taken and tells its sender.
func (x *session) refuse(words string) {
	x.refused++
	select {
	case x.complaints <- words:
	default: // it does not listen
	}
}

// nag tells what is wrong with every picture for a while.
func (x *session) nag(now time.Time, err error) {
	if now.Sub(x.nagged) < nagInterval {
		x.refused++
		return
	}
	x.nagged = now
	status, words := server.StatusOf(err)
	if status == http.StatusInternalServerError {
		x.h.log.Error("picture not taken", "camera", x.id, "error", err)
	}
	x.refuse("picture skipped: " + words)
}

// complain sends the complaints.
func (x *session) complain() {
	for {
		select {
		case <-x.conn.Context().Done():
			return
		case words := <-x.complaints:
			if x.conn.Complain(words) != nil {
				return // reading fails too, and says why
			}
		}
	}
}
