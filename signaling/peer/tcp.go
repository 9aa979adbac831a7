package peer

import (
	"errors"
	"net"
	"sync"
	"time"
)

// countedListener bounds the TCP connections in all and of one address: each
// costs a file, and pion takes as many as come. To its mux any error of Accept
// is the end of ICE-TCP, so those that pass stay here.
type countedListener struct {
	net.Listener
	all, each int
	refused   func()

	once   sync.Once
	closed chan struct{}

	mu sync.Mutex
	n  int
	by map[string]int
}

func newCountedListener(ln net.Listener, all, each int, refused func()) *countedListener {
	if refused == nil {
		refused = func() {}
	}
	return &countedListener{Listener: ln, all: all, each: each, refused: refused, closed: make(chan struct{}), by: map[string]int{}}
}

func (l *countedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil: // out of files, a connection that has gone already
			select {
			case <-l.closed:
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		from := RemoteAddr(c.RemoteAddr().String())
		if l.take(from) {
			return &countedConn{Conn: c, give: func() { l.give(from) }}, nil
		}
		l.refused()
		_ = c.Close()
	}
}

func (l *countedListener) take(from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.all || l.by[from] >= l.each {
		return false
	}
	l.n++
	l.by[from]++
	return true
}

func (l *countedListener) give(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.by[from]--; l.by[from] <= 0 {
		delete(l.by, from)
	}
}

// Close closes the listener, not the connections.
func (l *countedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type countedConn struct {
	net.Conn
	once sync.Once
	give func()
}

func (c *countedConn) Close() error {
	c.once.Do(c.give)
	return c.Conn.Close()
}
