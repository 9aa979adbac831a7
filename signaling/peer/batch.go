package peer

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// batchConn is the UDP socket that all peers share. Packets of a registered
// SSRC are held back until the one with the marker bit, which ends the access
// unit (RFC 3550 section 5.1; the header is in the clear under SRTP), and then
// leave in one system call as UDP generic segmentation offload. One call per
// frame instead of one per packet is most of what a viewer costs.
//
// Everything else (STUN, DTLS, RTCP, retransmissions, audio) passes at once.
type batchConn struct {
	*net.UDPConn
	noGSO bool // the kernel cannot segment

	mu   sync.RWMutex
	held map[uint32]*batch
}

const (
	maxSegments  = 64    // UDP_MAX_SEGMENTS of Linux before 6.x
	maxBatchSize = 64000 // below the 65,507 bytes of one UDP send
)

// batch is the part of an access unit of one SSRC that has not left yet. Only
// the goroutine that writes this SSRC touches it.
type batch struct {
	buf   *[]byte // from batchPool while something is held
	seg   int     // size of all segments but the last
	count int
	addr  netip.AddrPort
	plain bool // the way to addr cannot take segments
	oob   [32]byte
}

func newBatchConn(c *net.UDPConn) *batchConn {
	b := &batchConn{UDPConn: c, held: map[uint32]*batch{}}
	if !gsoSupported(c) {
		b.noGSO = true
	}
	return b
}

// register begins to hold back packets of an SSRC, whose writer promises to
// end every access unit with the marker bit.
func (c *batchConn) register(ssrc uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[ssrc] = &batch{}
}

func (c *batchConn) unregister(ssrc uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, ssrc)
}

// ReadFromAddrPort and WriteToAddrPort make the address handling of pion/ice
// free of allocation.
func (c *batchConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return c.ReadFromUDPAddrPort(b)
}

func (c *batchConn) WriteToAddrPort(p []byte, addr netip.AddrPort) (int, error) {
	if c.noGSO || !isRTP(p) {
		return c.WriteToUDPAddrPort(p, addr)
	}
	c.mu.RLock()
	b := c.held[binary.BigEndian.Uint32(p[8:])]
	c.mu.RUnlock()
	if b == nil {
		return c.WriteToUDPAddrPort(p, addr)
	}
	return len(p), c.hold(b, p, addr)
}

// WriteTo is the same for callers with a net.Addr.
func (c *batchConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if u, ok := addr.(*net.UDPAddr); ok {
		return c.WriteToAddrPort(p, u.AddrPort())
	}
	return c.UDPConn.WriteTo(p, addr)
}

// isRTP tells RTP from STUN, DTLS (RFC 7983) and RTCP (RFC 5761 section 4).
func isRTP(p []byte) bool {
	return len(p) >= 12 && p[0]>>6 == 2 && (p[1]&0x7f < 64 || p[1]&0x7f > 95)
}

func (c *batchConn) hold(b *batch, p []byte, addr netip.AddrPort) error {
	marker := p[1]&0x80 != 0
	if b.count > 0 && (addr != b.addr || len(p) > b.seg || b.count == maxSegments || len(*b.buf)+len(p) > maxBatchSize) {
		if err := c.flush(b); err != nil {
			return err
		}
	}
	if b.count == 0 {
		if marker {
			_, err := c.WriteToUDPAddrPort(p, addr) // a single packet needs no copy
			return err
		}
		if addr != b.addr {
			b.addr, b.plain = addr, false
		}
		b.buf = batchPool.Get().(*[]byte)
		b.seg = len(p)
	}
	*b.buf = append(*b.buf, p...)
	b.count++
	if marker || len(p) < b.seg { // a shorter segment can only be the last
		return c.flush(b)
	}
	return nil
}

// release sends what is held of an SSRC, for a packet that is no part of a
// frame. Its writer calls it.
func (c *batchConn) release(ssrc uint32) error {
	c.mu.RLock()
	b := c.held[ssrc]
	c.mu.RUnlock()
	if b == nil || b.count == 0 {
		return nil
	}
	return c.flush(b)
}

func (c *batchConn) flush(b *batch) error {
	all, n := *b.buf, b.count
	defer func() {
		*b.buf = all[:0]
		batchPool.Put(b.buf)
		b.buf, b.count = nil, 0
	}()
	if n == 1 {
		_, err := c.WriteToUDPAddrPort(all, b.addr)
		return err
	}
	if !b.plain {
		_, _, err := c.WriteMsgUDPAddrPort(all, segmentControl(b.oob[:], b.seg), b.addr)
		if err == nil || !isNoGSO(err) {
			return err
		}
		// This way cannot (a tunnel, a small MTU, no checksum offload): packet
		// by packet from here on, until the viewer moves.
		b.plain = true
	}
	for rest := all; len(rest) > 0; {
		k := min(b.seg, len(rest))
		if _, err := c.WriteToUDPAddrPort(rest[:k], b.addr); err != nil {
			return err
		}
		rest = rest[k:]
	}
	return nil
}

var batchPool = sync.Pool{New: func() any {
	b := make([]byte, 0, maxBatchSize)
	return &b
}}

func isNoGSO(err error) bool {
	for _, e := range []syscall.Errno{syscall.EIO, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.ENOPROTOOPT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
