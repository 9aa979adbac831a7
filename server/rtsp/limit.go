package rtsp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var errTooMany = errors.New("too many sessions")

// quota bounds something in all and per IP address.
type quota struct {
	all, each int

	mu sync.Mutex
	n  int
	by map[netip.Addr]int
}

func newQuota(all, each int) *quota {
	return &quota{all: all, each: each, by: map[netip.Addr]int{}}
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func (q *quota) take(a netip.Addr) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n >= q.all || q.by[a] >= q.each {
		return errTooMany
	}
	q.n++
	q.by[a]++
	return nil
}

func (q *quota) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

func (q *quota) give(a netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n--
	if q.by[a]--; q.by[a] <= 0 {
		delete(q.by, a)
	}
}

// listener refuses connections beyond the quota. To gortsplib any error of
// Accept is the end of the server, so errors that pass stay here.
type listener struct {
	net.Listener
	s      *Server
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil: // out of file descriptors, aborted handshake, …
			l.s.refused("accept", "", nil, err)
			select {
			case <-l.closed:
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		from := addrOf(c.RemoteAddr())
		if err := l.s.conns.take(from); err != nil {
			l.s.opts.Refused("connections")
			l.s.refused("connect", "", c.RemoteAddr(), err)
			_ = c.Close()
			continue
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetWriteBuffer(sendBuffer)
		}
		return &conn{
			Conn: c, idle: l.s.opts.IdleTimeout, request: l.s.opts.RequestTimeout,
			slow: func() { l.s.opts.Refused("request_time") }, release: func() { l.s.conns.give(from) },
		}, nil
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// conn closes a connection on which nothing happens, and one whose request does
// not come to an end. gortsplib waits for either for ever; here that holds only
// while media flow.
type conn struct {
	net.Conn
	idle, request time.Duration
	slow          func()
	streaming     atomic.Bool
	// begun is when the first byte came of a request that is not whole yet, in
	// unix nanoseconds; 0: there is none.
	begun   atomic.Int64
	once    sync.Once
	release func()
}

func (c *conn) Read(b []byte) (int, error) {
	if c.streaming.Load() {
		return c.Conn.Read(b)
	}
	begun := c.begun.Load()
	deadline := time.Now().Add(c.idle)
	if begun != 0 {
		// However often a byte comes: the whole request has this long.
		deadline = time.Unix(0, begun).Add(c.request)
	}
	_ = c.SetReadDeadline(deadline)
	n, err := c.Conn.Read(b)
	if n > 0 && begun == 0 {
		c.begun.Store(time.Now().UnixNano())
	}
	if begun != 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		c.slow()
	}
	return n, err
}

// whole notes that a request has come in. It is called while the request is
// handled, when nobody reads.
func (c *conn) whole() { c.begun.Store(0) }

// stream tells whether media flow. It is called while a request is handled,
// when nobody reads.
func (c *conn) stream(on bool) {
	c.streaming.Store(on)
	if on {
		_ = c.SetReadDeadline(time.Time{})
	}
}

func (c *conn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}
