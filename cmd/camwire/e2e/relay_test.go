package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lossyRelay stands between browsers and the server's UDP port and loses a
// part of what the server sends, the same packets in every run as far as the
// order of packets is the same.
type lossyRelay struct {
	port    int
	passed  atomic.Int64 // packets from the server that went on
	dropped atomic.Int64 // packets that did not, either way
	down    atomic.Bool  // nothing goes through, either way

	front  *net.UDPConn
	server *net.UDPAddr
	loss   float64    // of what the server sends
	up     float64    // of what is sent to it; set before the first packet
	random *rand.Rand // under mu

	mu    sync.Mutex
	backs map[netip.AddrPort]*net.UDPConn // by the client's address
	wg    sync.WaitGroup
}

// relayUDP runs a relay to a UDP port of this machine until the test ends.
func relayUDP(t *testing.T, to int, loss float64) *lossyRelay {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = front.SetReadBuffer(4 << 20) // what is lost here nobody has counted
	r := &lossyRelay{
		port: front.LocalAddr().(*net.UDPAddr).Port, front: front, loss: loss,
		server: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to},
		random: rand.New(rand.NewPCG(7, 11)), //nolint:gosec // repeatable is what is wanted
		backs:  map[netip.AddrPort]*net.UDPConn{},
	}
	r.wg.Go(r.fromClients)
	t.Cleanup(func() {
		_ = front.Close()
		r.mu.Lock()
		for _, c := range r.backs {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *lossyRelay) fromClients() {
	buf := make([]byte, 65536)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r.mu.Lock()
		lose := r.random.Float64() < r.up || r.down.Load()
		r.mu.Unlock()
		if lose {
			r.dropped.Add(1)
			continue
		}
		if back := r.back(from); back != nil {
			_, _ = back.Write(buf[:n]) // a network loses packets
		}
	}
}

// back is the socket that speaks to the server for one client.
func (r *lossyRelay) back(client netip.AddrPort) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.backs[client]; c != nil {
		return c
	}
	c, err := net.DialUDP("udp", nil, r.server)
	if err != nil {
		return nil
	}
	_ = c.SetReadBuffer(4 << 20)
	r.backs[client] = c
	r.wg.Go(func() { r.fromServer(c, client) })
	return c
}

func (r *lossyRelay) fromServer(back *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, 65536)
	for {
		n, err := back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r.mu.Lock()
		lose := r.random.Float64() < r.loss || r.down.Load()
		r.mu.Unlock()
		if lose {
			r.dropped.Add(1)
			continue
		}
		r.passed.Add(1)
		_, _ = r.front.WriteToUDPAddrPort(buf[:n], client)
	}
}

// valve is a TCP relay that can be shut: nothing is taken from the server any
// more, as by a client that has stopped reading. What the client sends still
// goes through.
type valve struct {
	port int
	shut chan struct{} // closed by stall

	ln    net.Listener
	once  sync.Once
	done  chan struct{}
	mu    sync.Mutex
	conns []net.Conn
	over  bool
	wg    sync.WaitGroup
	taken atomic.Int64 // bytes from the server
}

// relayTCP runs a valve to a TCP port of this machine until the test ends.
func relayTCP(t *testing.T, to int) *valve {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{port: ln.Addr().(*net.TCPAddr).Port, ln: ln, shut: make(chan struct{}), done: make(chan struct{})}
	v.wg.Go(func() {
		for {
			front, err := ln.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", to))
			if err != nil {
				_ = front.Close()
				continue
			}
			// The stall is to be felt after kilobytes, not megabytes.
			_ = back.(*net.TCPConn).SetReadBuffer(16 << 10)
			if !v.keep(front, back) {
				return
			}
			v.wg.Go(func() { _, _ = io.Copy(back, front); _ = back.Close() })
			v.wg.Go(func() { v.fromServer(front, back) })
		}
	})
	t.Cleanup(v.close)
	return v
}

// keep remembers connections to close, or closes them if it is too late.
func (v *valve) keep(conns ...net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.conns = append(v.conns, conns...)
	if v.over {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	return !v.over
}

func (v *valve) fromServer(front, back net.Conn) {
	defer front.Close()
	buf := make([]byte, 16<<10)
	for {
		select {
		case <-v.shut:
			<-v.done
			return
		default:
		}
		n, err := back.Read(buf)
		if err != nil {
			return
		}
		v.taken.Add(int64(n))
		if _, err := front.Write(buf[:n]); err != nil {
			return
		}
	}
}

// stall shuts the valve.
func (v *valve) stall() { v.once.Do(func() { close(v.shut) }) }

// flows waits until some bytes have come from the server.
func (v *valve) flows(t *testing.T, what string, bytes int64) {
	t.Helper()
	eventually(t, what+" gets something", func() (bool, string) {
		n := v.taken.Load()
		return n >= bytes, fmt.Sprintf("%d bytes", n)
	})
}

// close breaks all connections; it may be called again.
func (v *valve) close() {
	_ = v.ln.Close()
	v.mu.Lock()
	if !v.over {
		v.over = true
		close(v.done)
	}
	for _, c := range v.conns {
		_ = c.Close()
	}
	v.mu.Unlock()
	v.wg.Wait()
}

// longestFreeze is the longest time for which samples show the same clock, or
// none.
func longestFreeze(samples []sight) time.Duration {
	var longest time.Duration
	if len(samples) == 0 {
		return longest
	}
	var last *float64
	since := samples[0].At
	for _, s := range samples {
		longest = max(longest, time.Duration(s.At-since)*time.Millisecond)
		if s.Clock != nil && (last == nil || *s.Clock != *last) {
			last, since = s.Clock, s.At
		}
	}
	return longest
}
