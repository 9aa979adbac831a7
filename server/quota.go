package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"camwire/server/auth"
)

// quota bounds something in all and of one address. The addresses of this
// machine count in all only: behind a reverse proxy everybody has them.
type quota struct {
	all, each int

	mu sync.Mutex
	n  int
	by map[netip.Addr]int
}

func newQuota(all, each int) *quota {
	return &quota{all: all, each: each, by: map[netip.Addr]int{}}
}

// quotaError says which bound was met.
type quotaError struct {
	what string
	most int
	each bool // of one address
}

func (e *quotaError) Error() string {
	if e.each {
		return fmt.Sprintf("%d %s are all that one address gets: close some, or try again later", e.most, e.what)
	}
	return fmt.Sprintf("%d %s are all that this server takes: try again later", e.most, e.what)
}

func (q *quota) take(a netip.Addr, what string) *quotaError {
	a = network(a)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.n >= q.all:
		return &quotaError{what: what, most: q.all}
	case q.by[a] >= q.each && !a.IsLoopback():
		return &quotaError{what: what, most: q.each, each: true}
	}
	q.n++
	q.by[a]++
	return nil
}

func (q *quota) give(a netip.Addr) {
	a = network(a)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n--
	if q.by[a]--; q.by[a] <= 0 {
		delete(q.by, a)
	}
}

func (q *quota) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// network is what one bound is for: an IPv4 address, or the /64 that one IPv6
// host can pick all its addresses from (RFC 4291 section 2.5.4).
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr()
}

// enterSocket takes a place for a WebSocket, until leave is called.
func (s *Server) enterSocket(r *http.Request) (leave func(), err error) {
	from := auth.Remote(r)
	if over := s.sockets.take(from, "WebSockets"); over != nil {
		status := http.StatusServiceUnavailable
		if over.each {
			status = http.StatusTooManyRequests
		}
		return nil, OverLimit(LimitSockets, status, over)
	}
	return func() { s.sockets.give(from) }, nil
}

// WebSockets returns how many are open.
func (s *Server) WebSockets() int { return s.sockets.count() }

// Conns bounds the connections of all HTTP servers that it is bound to
// together. It leaves the connections themselves as they are: what serves them
// looks for their type.
type Conns struct {
	quota    *quota
	refusals *Refusals

	mu    sync.Mutex
	taken map[net.Conn]struct{}     // given away by net/http, to a handler that runs
	fresh map[net.Conn]*http.Server // opened, and nothing asked yet
}

// Bounds of Conns.
const (
	DefaultMaxConns      = 2048
	DefaultConnsEach     = 256
	DefaultMaxWebSockets = 512
	DefaultSocketsEach   = 128
)

// NewConns bounds connections in all and of one address; 0 means the defaults.
// Refusals may be nil.
func NewConns(all, each int, r *Refusals) *Conns {
	if all <= 0 {
		all = DefaultMaxConns
	}
	if each <= 0 {
		each = DefaultConnsEach
	}
	return &Conns{quota: newQuota(all, each), refusals: r, taken: map[net.Conn]struct{}{}, fresh: map[net.Conn]*http.Server{}}
}

// Open returns how many connections there are.
func (c *Conns) Open() int { return c.quota.count() }

// Bind puts the bound between a server and its listener, and returns the
// listener to serve. The server's ConnState and Handler are wrapped, its
// ConnContext is replaced.
func (c *Conns) Bind(hs *http.Server, ln net.Listener) net.Listener {
	hs.ConnContext = withConn
	inner, state := hs.Handler, hs.ConnState
	hs.ConnState = func(conn net.Conn, st http.ConnState) {
		c.mu.Lock()
		if st == http.StateNew {
			c.fresh[conn] = hs
		} else {
			delete(c.fresh, conn)
		}
		c.mu.Unlock()
		switch st {
		case http.StateClosed:
			c.quota.give(addrOf(conn.RemoteAddr()))
		case http.StateHijacked:
			c.mu.Lock()
			c.taken[conn] = struct{}{}
			c.mu.Unlock()
		}
		if state != nil {
			state(conn, st)
		}
	}
	hs.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// net/http forgets a connection that its handler takes over. All of
		// ours end with their handler.
		defer c.release(Conn(r.Context()))
		inner.ServeHTTP(w, r)
	})
	return &boundListener{Listener: ln, c: c}
}

// Forget closes the connections of a server on which nothing was asked yet.
// Browsers open some in advance; http.Server.Shutdown waits 5 s for each.
func (c *Conns) Forget(hs *http.Server) {
	c.mu.Lock()
	var list []net.Conn
	for conn, of := range c.fresh {
		if of == hs {
			list = append(list, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range list {
		_ = conn.Close() // its ConnState follows
	}
}

func (c *Conns) release(conn net.Conn) {
	if conn == nil {
		return
	}
	c.mu.Lock()
	_, ours := c.taken[conn]
	delete(c.taken, conn)
	c.mu.Unlock()
	if ours {
		c.quota.give(addrOf(conn.RemoteAddr()))
	}
}

type boundListener struct {
	net.Listener
	c *Conns
}

func (l *boundListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		over := l.c.quota.take(addrOf(conn.RemoteAddr()), "connections")
		if over == nil {
			return conn, nil
		}
		l.c.refusals.Count(LimitConns)
		turnAway(conn, over)
	}
}

// turnAway says why in the little way that costs nothing: a fresh connection
// has room for it, so the write does not wait. Over TLS there would be a
// handshake first.
func turnAway(conn net.Conn, over *quotaError) {
	if t, isTLS := conn.(interface{ NetConn() net.Conn }); isTLS {
		_ = t.NetConn().Close()
		return
	}
	body := fmt.Sprintf("{\"error\":%q}\n", over.Error())
	_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"+
		"Content-Length: %d\r\nRetry-After: 5\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = conn.Close()
}
