package peer

import (
	"errors"
	"net"
	"testing"
)

// script is a listener that answers as it is told.
type script struct {
	net.Listener
	next []any // a net.Conn or an error
}

func (s *script) Accept() (net.Conn, error) {
	if len(s.next) == 0 {
		return nil, net.ErrClosed
	}
	x := s.next[0]
	s.next = s.next[1:]
	if err, ok := x.(error); ok {
		return nil, err
	}
	return x.(net.Conn), nil
}

// from is a connection of some address.
type from struct {
	net.Conn
	addr   string
	closed bool
}

func (f *from) RemoteAddr() net.Addr { a, _ := net.ResolveTCPAddr("tcp", f.addr); return a }
func (f *from) Close() error         { f.closed = true; return nil }

func TestCountedListener(t *testing.T) {
	conns := make([]*from, 7)
	for i, a := range []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1", "192.0.2.1:4"} {
		conns[i] = &from{addr: a}
	}
	refused := 0
	l := newCountedListener(&script{next: []any{
		conns[0], errors.New("too many open files"), conns[1],
		conns[2], // a third of one address
		conns[3], conns[4],
		conns[5], // a fifth in all
	}}, 4, 2, func() { refused++ })
	var got []net.Conn
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		got = append(got, c)
	}
	if len(got) != 4 || !conns[2].closed || !conns[5].closed || refused != 2 {
		t.Fatalf("%d were taken, %d refused, closed: %v %v", len(got), refused, conns[2].closed, conns[5].closed)
	}
	_ = got[0].Close()
	_ = got[0].Close() // closing twice gives back once
	l.Listener = &script{next: []any{conns[6]}}
	if _, err := l.Accept(); err != nil {
		t.Errorf("a closed connection still counts: %v", err)
	}
	if l.n != 4 || l.by["192.0.2.1"] != 2 {
		t.Errorf("%d are counted, %v", l.n, l.by)
	}
}
