package mjpeg

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"camwire/server"
)

// Bounds of the kernel's send buffer in bytes.
const (
	minSendBuffer = 32 << 10
	maxSendBuffer = 4 << 20
)

// open begins the answer. Over HTTP/1 it takes the connection from net/http,
// for three reasons: no chunked encoding, which simple clients cannot read; one
// writev per part; and a write that can be ended. The context returned ends
// with the request's and when the client goes away; done must be called when
// nothing is sent any more, and waits for all that open has started.
func open(w http.ResponseWriter, r *http.Request) (ctx context.Context, o out, done func(), err error) {
	setHeader(w.Header(), r)
	if r.ProtoMajor != 1 {
		w.WriteHeader(http.StatusOK)
		p := &plain{w: w, rc: http.NewResponseController(w), buffer: sendBuffer{conn: server.Conn(r.Context())}}
		return r.Context(), p, func() {}, p.rc.Flush()
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return nil, nil, nil, errors.New("mjpeg: the connection cannot be taken over")
	}
	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("mjpeg: %w", err)
	}
	ctx, cancel := context.WithCancel(r.Context())
	h := &taken{ctx: ctx, conn: conn, buffer: sendBuffer{conn: conn}, pending: statusLine(w.Header(), r)}
	// A write that waits for a slow client ends with the context.
	unblocked := make(chan struct{})
	unblock := context.AfterFunc(ctx, func() {
		defer close(unblocked)
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer cancel()
		// Nothing is to be read; the end is what counts. Somebody who talks
		// on and on is not listening.
		buf := make([]byte, 512)
		for n := rw.Reader.Buffered(); n < 64<<10; {
			k, err := conn.Read(buf)
			if err != nil {
				return
			}
			n += k
		}
	}()
	return ctx, h, func() {
		if unblock() {
			_ = conn.Close()
		} else {
			<-unblocked
			// TLS would try for seconds to say goodbye to a client that does
			// not listen.
			_ = rawConn(conn).Close()
		}
		<-gone
		cancel()
	}, nil
}

// statusLine is the head of an answer on a connection taken over.
func statusLine(h http.Header, r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.%d 200 OK\r\n", r.ProtoMinor)
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	_ = h.Write(&b) // a bytes.Buffer takes everything
	b.WriteString(lineEnd)
	return b.Bytes()
}

// taken writes to a connection of its own.
type taken struct {
	ctx     context.Context
	conn    net.Conn
	buffer  sendBuffer
	pending []byte // the head of the answer goes out with the first part
	parts   net.Buffers
	joined  []byte
}

func (t *taken) send(pieces ...[]byte) error {
	if t.pending != nil {
		pieces = append([][]byte{t.pending}, pieces...)
		t.pending = nil
	}
	t.buffer.fit(pieces)
	if err := t.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	// In this order: a stop either is seen here, or finds the deadline above
	// and takes it away.
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if _, plainTCP := t.conn.(*net.TCPConn); !plainTCP {
		// TLS would make a record and a system call of each piece.
		t.joined = t.joined[:0]
		for _, p := range pieces {
			t.joined = append(t.joined, p...)
		}
		_, err := t.conn.Write(t.joined)
		return err
	}
	t.parts = append(t.parts[:0], pieces...)
	parts := t.parts // WriteTo eats the slice it is given
	_, err := parts.WriteTo(t.conn)
	clear(t.parts) // do not hold the frame until the next one
	return err
}

// plain writes through net/http: HTTP/2.
type plain struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	buffer sendBuffer
}

func (p *plain) send(pieces ...[]byte) error {
	p.buffer.fit(pieces)
	if err := p.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	for _, b := range pieces {
		if _, err := p.w.Write(b); err != nil {
			return err
		}
	}
	return p.rc.Flush()
}

// sendBuffer keeps the kernel from queueing seconds of pictures for a slow
// client: what is in its buffer cannot be replaced by something newer.
type sendBuffer struct {
	conn net.Conn
	set  int
}

// fit makes the buffer about two parts large. Linux doubles the value that it
// is given, so one part is what it gets.
func (s *sendBuffer) fit(pieces [][]byte) {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	size = min(max(size, minSendBuffer), maxSendBuffer)
	// Sizes differ from frame to frame; only a real change is worth a call.
	if s.conn == nil || size <= s.set && size > s.set/4 || size > s.set && size < s.set+s.set/4 {
		return
	}
	if b, ok := rawConn(s.conn).(interface{ SetWriteBuffer(int) error }); ok {
		if b.SetWriteBuffer(size) == nil {
			s.set = size
			return
		}
	}
	s.conn = nil // not that kind of connection
}

// rawConn is the connection below TLS.
func rawConn(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
