// Package socket is one WebSocket connection of ours: how it is taken over
// from HTTP, kept alive, told what is wrong and ended. What its messages mean
// is the business of whoever accepts it; who may open one, and from which
// Origin, was decided before.
package socket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// pingInterval keeps proxies from ending a connection on which nothing
	// happens; most of them wait for a minute.
	pingInterval = 20 * time.Second
	// pongTimeout is how long an answer to a ping may take. It waits behind
	// all that is queued for a slow peer.
	pongTimeout = 60 * time.Second
	// sayTimeout is how long a message of a few words may take to go out.
	sayTimeout = 5 * time.Second
	// closeTimeout is how long a peer may take to say goodbye. A stop waits
	// for it.
	closeTimeout = time.Second

	// maxReason is the room in a close frame (RFC 6455 section 5.5).
	maxReason = 123
)

// Options of a connection.
type Options struct {
	// Stop ends the connection when it is done, beside the request's own
	// context; nil: nothing else does.
	Stop context.Context //nolint:containedctx // the life of the server, not of a call
	// MaxMessage bounds a message from the peer in bytes; a larger one ends
	// the connection. 0: the reader takes care of it.
	MaxMessage int64
	// Deaf takes a peer that answers no ping as alive: one that sends large
	// messages over a slow link has no room for an answer.
	Deaf bool

	// For tests; 0 is the constant of the same name.
	pingInterval, pongTimeout time.Duration
}

// Conn is a WebSocket connection. All methods may be called from any
// goroutine, Reader and Read from one at a time.
type Conn struct {
	*websocket.Conn

	net    net.Conn
	ctx    context.Context //nolint:containedctx // the life of the connection
	cancel context.CancelCauseFunc
	stop   func() bool
	wg     sync.WaitGroup
	size   int // of the send buffer; only Fit uses it
}

// ending is why a connection of ours ends.
type ending struct {
	code   websocket.StatusCode
	reason string
}

func (e *ending) Error() string { return e.reason }

// ErrNoWebSocket are the words for a request that does not ask to become a
// WebSocket; its status is 426.
var ErrNoWebSocket = errors.New("this address is a WebSocket: connect to it with ws:// or wss://")

// Accept makes the request's connection a WebSocket. When it fails, it has
// answered the request. Call Close when done.
func Accept(w http.ResponseWriter, r *http.Request, o Options) (*Conn, error) {
	if o.pingInterval <= 0 {
		o.pingInterval = pingInterval
	}
	if o.pongTimeout <= 0 {
		o.pongTimeout = pongTimeout
	}
	t := &tap{ResponseWriter: w}
	ws, err := websocket.Accept(t, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // Origin was checked at the gate, with the cookie rule
		// Pictures do not get smaller.
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = -1
	}
	ws.SetReadLimit(o.MaxMessage)
	c := &Conn{Conn: ws, net: t.conn, stop: func() bool { return false }}
	c.ctx, c.cancel = context.WithCancelCause(r.Context())
	if o.Stop != nil {
		c.stop = context.AfterFunc(o.Stop, func() { c.cancel(context.Cause(o.Stop)) })
	}
	c.wg.Go(c.farewell)
	c.wg.Go(func() { c.ping(o) })
	return c, nil
}

// Context is done when the connection is to end: by End or Close, because the
// server stops, or because a ping found nobody. A peer that leaves is noticed
// by whoever reads.
func (c *Conn) Context() context.Context { return c.ctx }

// End ends the connection with a status and words for the peer. It does not
// wait. Only the first end counts.
func (c *Conn) End(code websocket.StatusCode, reason string) {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	c.cancel(&ending{code, reason})
}

// Close ends the connection if nothing else has, and waits for all that Accept
// has started.
func (c *Conn) Close() {
	c.stop()
	c.End(websocket.StatusNormalClosure, "")
	c.wg.Wait()
}

// farewell says goodbye when the connection ends. The peer has a short time to
// answer: a reader still gets what it has sent before.
func (c *Conn) farewell() {
	<-c.ctx.Done()
	code, reason := websocket.StatusGoingAway, "the server stops"
	var e *ending
	if errors.As(context.Cause(c.ctx), &e) {
		code, reason = e.code, e.reason
	}
	// Below TLS, which would try for seconds to say its own goodbye.
	t := time.AfterFunc(closeTimeout, func() { _ = raw(c.net).Close() })
	defer t.Stop()
	_ = c.Conn.Close(code, reason) // the peer may be gone already
}

// ping runs until the connection is closed.
func (c *Conn) ping(o Options) {
	tick := time.NewTicker(o.pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		// Not the connection's context: at its end it would cut off what is
		// being written, and with it the goodbye.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), o.pongTimeout)
		err := c.Ping(ctx)
		cancel()
		if err != nil && !(o.Deaf && errors.Is(err, context.DeadlineExceeded)) {
			c.End(websocket.StatusGoingAway, "no answer to a ping")
			return
		}
	}
}

// Send writes a message within a time; after that the connection is closed.
func (c *Conn) Send(typ websocket.MessageType, b []byte, within time.Duration) error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), within)
	defer cancel()
	return c.Write(ctx, typ, b)
}

// Complain sends {"type":"error","message":…}.
func (c *Conn) Complain(words string) error {
	b, err := json.Marshal(struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}{"error", words})
	if err != nil {
		return err
	}
	return c.Send(websocket.MessageText, b, sayTimeout)
}

// Bounds of the kernel's send buffer in bytes.
const (
	minSendBuffer = 32 << 10
	maxSendBuffer = 8 << 20
)

// Fit keeps the kernel from queueing seconds of pictures for a slow peer: what
// is in its buffer cannot be replaced by something newer. Linux doubles the
// value that it is given, so one message is what it gets. Only the goroutine
// that sends may call it.
func (c *Conn) Fit(message int) {
	n := min(max(message, minSendBuffer), maxSendBuffer)
	// Sizes differ from message to message; only a real change is worth a call.
	if n <= c.size && n > c.size/4 || n > c.size && n < c.size+c.size/4 {
		return
	}
	if b, ok := raw(c.net).(interface{ SetWriteBuffer(int) error }); ok && b.SetWriteBuffer(n) == nil {
		c.size = n
	}
}

// raw is the connection below TLS.
func raw(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// tap remembers the connection that is taken over.
type tap struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack takes the connection over.
func (t *tap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	t.conn = conn
	return conn, rw, err
}

// WriteHeaderNow sends the header, which gin's writer otherwise keeps until
// the body begins.
func (t *tap) WriteHeaderNow() {
	if g, ok := t.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		g.WriteHeaderNow()
	}
}
