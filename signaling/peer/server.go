// Package peer makes WebRTC connections: one UDP and one TCP port for all of
// them, viewers that read a stream's hub with a cursor of their own, RTP sent
// in batches. It knows nothing of HTTP: offers come in as text, answers go out
// as text. Nothing else in Camwire imports pion/webrtc.
package peer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// Options of a Server. The zero value listens on an ephemeral port.
type Options struct {
	// Address is where UDP and TCP listen, both on the same port: ":8555".
	Address string
	// ExtraAddresses are offered as host candidates too: the public side of
	// a forwarded port. "host", "ip" or "ip:port".
	ExtraAddresses []string
	// ICEServers are told to browsers; none by default, so that nothing
	// leaves the LAN. The server itself needs none: it has its addresses.
	ICEServers []ICEServer
	// MaxViewers bounds the connections in all; default 1000. MaxPerAddress
	// those of one remote address; default 128.
	MaxViewers, MaxPerAddress int
	// RefusedTCP is told of each TCP connection beyond twice as many; may be
	// nil. It must not block.
	RefusedTCP func()
	Log        *slog.Logger
}

// ICEServer is a STUN or TURN server (RFC 7064, RFC 7065).
type ICEServer struct {
	URLs       []string
	Username   string
	Credential string
}

// Errors of offers. They tell the caller's fault from ours.
var (
	ErrBadOffer = errors.New("bad offer")
	ErrNoCodec  = errors.New("no codec in common")
	ErrTooMany  = errors.New("too many WebRTC connections")
	ErrClosed   = errors.New("closed")
)

// Server owns the two sockets.
type Server struct {
	opts Options
	log  *slog.Logger
	udp  *batchConn
	mux  *ice.UDPMuxDefault
	tcp  ice.TCPMux // nil where the TCP port could not be had
	cert webrtc.Certificate
	port uint16

	mu     sync.Mutex
	conns  map[closer]struct{}
	byAddr map[string]int
	extra  []netip.AddrPort // ExtraAddresses, looked up
	closed bool
	wg     sync.WaitGroup     // connections and followNames
	cancel context.CancelFunc // ends followNames
}

// New opens the sockets. Close releases them.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxViewers <= 0 {
		o.MaxViewers = 1000
	}
	if o.MaxPerAddress <= 0 {
		o.MaxPerAddress = 128
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("webrtc: make a key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("webrtc: make a certificate: %w", err)
	}
	s := &Server{
		opts: o, log: o.Log, cert: *cert,
		conns: map[closer]struct{}{}, byAddr: map[string]int{},
	}
	if err := s.listen(o.Address); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if len(o.ExtraAddresses) > 0 {
		s.wg.Go(func() { s.followNames(ctx) })
	}
	return s, nil
}

func (s *Server) listen(address string) error {
	la, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return fmt.Errorf("webrtc.address %q: %w", address, err)
	}
	conn, err := net.ListenUDP("udp", la)
	if err != nil {
		return fmt.Errorf("webrtc.address %q: UDP: %w", address, err)
	}
	// A burst of a group of pictures for several newcomers must fit.
	_ = conn.SetWriteBuffer(4 << 20) // the kernel's own limit applies; less is no error
	_ = conn.SetReadBuffer(1 << 20)
	s.udp = newBatchConn(conn)
	s.port = conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	s.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: s.udp, Logger: quiet{}})

	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = ""
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(s.port))))
	if err != nil {
		// UDP is what matters; without TCP only networks that block UDP lose.
		s.log.Warn("WebRTC over TCP is off: the port is taken", "address", address, "error", err)
		return nil
	}
	s.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener: newCountedListener(lowLatencyListener{ln}, 2*s.opts.MaxViewers, 2*s.opts.MaxPerAddress, s.opts.RefusedTCP), ReadBufferSize: 32, Logger: quiet{},
		FirstStunBindTimeout: 5 * time.Second,
	})
	return nil
}

// Port returns the UDP and TCP port number.
func (s *Server) Port() int { return int(s.port) }

// ICEServers returns what a browser should be told.
func (s *Server) ICEServers() []ICEServer { return s.opts.ICEServers }

// closer is a connection: a viewer, a publisher.
type closer interface{ Close() }

// Close ends all connections, then the sockets.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	all := make([]closer, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(c.Close)
	}
	wg.Wait()
	s.cancel()
	s.wg.Wait()
	err := s.mux.Close()
	if s.tcp != nil {
		err = errors.Join(err, s.tcp.Close())
	}
	return err
}

// Connections returns how many there are, viewers and publishers.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// admit counts a connection in, or says why not.
func (s *Server) admit(c closer, remote string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case len(s.conns) >= s.opts.MaxViewers:
		return fmt.Errorf("%w: the server takes %d", ErrTooMany, s.opts.MaxViewers)
	case remote != "" && s.byAddr[remote] >= s.opts.MaxPerAddress:
		return fmt.Errorf("%w: %d from one address", ErrTooMany, s.opts.MaxPerAddress)
	}
	s.conns[c] = struct{}{}
	s.byAddr[remote]++
	s.wg.Add(1)
	return nil
}

func (s *Server) dismiss(c closer, remote string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; !ok {
		return
	}
	delete(s.conns, c)
	if s.byAddr[remote]--; s.byAddr[remote] <= 0 {
		delete(s.byAddr, remote)
	}
	s.wg.Done()
}

// settings are those of every connection.
func (s *Server) settings() webrtc.SettingEngine {
	var e webrtc.SettingEngine
	e.LoggerFactory = quietFactory{}
	e.SetICEUDPMux(s.mux)
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if s.tcp != nil {
		e.SetICETCPMux(s.tcp)
		types = append(types, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	e.SetNetworkTypes(types)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetIncludeLoopbackCandidate(true) // taken out of answers to others
	e.DisableActiveTCP(true)
	// AES-GCM costs about half of AES-CM with HMAC-SHA1 on machines with
	// AES instructions; browsers offer both.
	e.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	e.SetICETimeouts(5*time.Second, 15*time.Second, 2*time.Second)
	e.SetHostAcceptanceMinWait(0)
	e.SetDTLSRetransmissionInterval(100 * time.Millisecond) // a lost flight costs a LAN viewer 100 ms, not a second
	e.SetReceiveMTU(1500)
	e.SetDTLSConnectContextMaker(func() (context.Context, func()) {
		return context.WithTimeout(context.Background(), 10*time.Second)
	})
	return e
}

// lowLatencyListener keeps backlogs out of the kernel's send buffers.
type lowLatencyListener struct{ net.Listener }

func (l lowLatencyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetNoDelay(true)
		_ = limitUnsent(t) // an old kernel without it has a longer queue, no more
	}
	return boundedConn{c, tcpWriteTimeout}, nil
}

// boundedConn ends a connection that takes nothing for a while: pion sets no
// deadline, and a viewer that hangs in a write can neither jump nor be closed.
type boundedConn struct {
	net.Conn
	patience time.Duration
}

const tcpWriteTimeout = 5 * time.Second

func (c boundedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close() // after a part of a packet the framing is lost
	}
	return n, err
}

// loopback reports whether a Host header or address means this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// quiet drops pion's own log: what matters reaches us as errors and states.
type quiet struct{}

func (quiet) Trace(string)          {}
func (quiet) Tracef(string, ...any) {}
func (quiet) Debug(string)          {}
func (quiet) Debugf(string, ...any) {}
func (quiet) Info(string)           {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Warn(string)           {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Error(string)          {}
func (quiet) Errorf(string, ...any) {}

type quietFactory struct{}

func (quietFactory) NewLogger(string) logging.LeveledLogger { return quiet{} }
