// Package rtsp is Camwire's RTSP server: programs play cameras from it, and
// programs publish to it and so become cameras. One TCP port, optionally a
// pair of UDP ports beside it.
//
// It does not decode or encode (a derived stream does where a picture cannot
// go out as it is), does not know users (the caller authorizes), and does not
// pull from cameras (package media/rtsp does).
package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	source "camwire/media/rtsp"
	"camwire/media/stream"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
)

// Authorize decides whether somebody may do perm ("view" or "publish") with a
// camera. user and pass come from Basic authentication, token from ?token= in
// the URL; any may be empty. An error that wraps ErrForbidden is answered with
// 403, any other with 401.
type Authorize func(ctx context.Context, remote net.Addr, user, pass, token, perm, camera string) error

// Admit is Authorize for what lasts: life ends when the permission does, and end
// is called when it is not needed any more.
type Admit func(ctx context.Context, remote net.Addr, user, pass, token, perm, camera string) (life context.Context, end context.CancelFunc, err error)

// ErrForbidden is for an Authorize that knows who asks and refuses.
var ErrForbidden = errors.New("not allowed")

// Options of a Server.
type Options struct {
	// Address to listen on, host:port.
	Address string
	// UDP offers media over UDP too; without, clients get TCP only.
	UDP bool
	// UDPPort is the even one of two neighbouring UDP ports; 0 takes any.
	UDPPort int
	// Registry of the cameras.
	Registry *stream.Registry
	// Authorize; nil refuses everybody.
	Authorize Authorize
	// Admit ends sessions whose permission ends; nil: a session that has begun
	// goes on.
	Admit Admit
	// MaxSessions bounds players and publishers together, default 200;
	// MaxPerAddress those of one IP address, default 32. Connections are
	// bounded by twice as many.
	MaxSessions, MaxPerAddress int
	// WaitTimeout is how long a player waits for a camera that is just being
	// opened; default 10 s.
	WaitTimeout time.Duration
	// SilenceTimeout ends a publisher that sends no picture; default 10 s.
	SilenceTimeout time.Duration
	// IdleTimeout closes a connection that neither plays nor publishes and
	// asks nothing; default 60 s.
	IdleTimeout time.Duration
	// MaxLag is how far a player may fall behind before it jumps to the
	// newest key frame; default 1 s.
	MaxLag time.Duration
	// RequestTimeout is how long one request may take to come in; default 10 s.
	RequestTimeout time.Duration
	// Refused is told of every connection ("connections"), session
	// ("sessions") and slow request ("request_time") that was refused; may be
	// nil. It must not block.
	Refused func(limit string)
	// Log; default none.
	Log *slog.Logger
}

// sendBuffer bounds what the kernel holds for one TCP client, in bytes: what
// lies there is delay that nobody can jump over.
const sendBuffer = 256 << 10

// writeTimeout ends a TCP client that takes nothing.
const writeTimeout = 10 * time.Second

// Server serves RTSP. Run it once.
type Server struct {
	opts     Options
	log      *slog.Logger
	sessions *quota
	conns    *quota
	verbs    verbTable
	huffman  huffmanTables

	ready chan struct{}
	addr  net.Addr
	once  sync.Once

	srv *gortsplib.Server // set before the first request
	ctx context.Context   // ends when Run is to return

	refusals struct {
		sync.Mutex
		source.Throttle
	}
}

// New returns a server that does not listen yet.
func New(o Options) (*Server, error) {
	if o.Registry == nil {
		return nil, errors.New("rtsp: no registry of cameras")
	}
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		return nil, fmt.Errorf("rtsp: address %q: write host:port or :port: %w", o.Address, err)
	}
	if o.UDPPort < 0 || o.UDPPort > 65534 || o.UDPPort%2 != 0 {
		return nil, fmt.Errorf("rtsp: UDP port %d: must be an even number below 65535 (RTCP takes the next one)", o.UDPPort)
	}
	if o.Authorize == nil {
		o.Authorize = func(context.Context, net.Addr, string, string, string, string, string) error {
			return errors.New("nobody is let in")
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.WaitTimeout, 10*time.Second)
	def(&o.SilenceTimeout, 10*time.Second)
	def(&o.IdleTimeout, time.Minute)
	def(&o.MaxLag, time.Second)
	def(&o.RequestTimeout, 10*time.Second)
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	if o.MaxSessions <= 0 {
		o.MaxSessions = 200
	}
	if o.MaxPerAddress <= 0 {
		o.MaxPerAddress = 32
	}
	huffman, err := standardHuffman()
	if err != nil {
		return nil, fmt.Errorf("rtsp: %w", err)
	}
	return &Server{
		opts: o, log: o.Log,
		sessions: newQuota(o.MaxSessions, o.MaxPerAddress),
		conns:    newQuota(2*o.MaxSessions, 2*o.MaxPerAddress),
		verbs:    Verbs(),
		huffman:  huffman,
		ready:    make(chan struct{}),
	}, nil
}

// Connections returns how many there are.
func (s *Server) Connections() int { return s.conns.count() }

// Sessions returns how many play or publish.
func (s *Server) Sessions() int { return s.sessions.count() }

// Addr waits until Run listens and returns the TCP address, or nil if it could
// not listen.
func (s *Server) Addr() net.Addr {
	<-s.ready
	return s.addr
}

// Run listens and serves until ctx is done, which returns nil, or listening
// fails. It returns when all sessions and everything else has stopped.
func (s *Server) Run(ctx context.Context) error {
	first := false
	s.once.Do(func() { first = true })
	if !first {
		return errors.New("rtsp: Run called twice")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.ctx = ctx
	if err := s.listen(); err != nil {
		close(s.ready)
		return err
	}
	close(s.ready)
	s.log.Info("RTSP server listens", "address", s.addr.String(), "udp", s.opts.UDP)
	ended := make(chan error, 1)
	go func() { ended <- s.srv.Wait() }()
	var err error
	select {
	case <-ctx.Done():
		s.srv.Close()
		<-ended
	case err = <-ended:
		err = fmt.Errorf("rtsp: server ended: %w", err)
	}
	return err
}

func (s *Server) listen() error {
	ln, err := net.Listen("tcp", s.opts.Address)
	if err != nil {
		return fmt.Errorf("rtsp: cannot listen (is another program using the port?): %w", err)
	}
	s.addr = ln.Addr()
	s.srv = &gortsplib.Server{
		Handler:      &handler{s},
		RTSPAddress:  ln.Addr().String(),
		ReadTimeout:  s.opts.SilenceTimeout,
		WriteTimeout: writeTimeout,
		// Reports are sent by the players: gortsplib would send the first
		// one after ten seconds, too late to bring sound and picture together.
		DisableRTCPSenderReports: true,
		AuthMethods:              []auth.VerifyMethod{auth.VerifyMethodBasic},
		Listen: func(string, string) (net.Listener, error) {
			return &listener{Listener: ln, s: s, closed: make(chan struct{})}, nil
		},
	}
	var pair [2]net.PacketConn
	if s.opts.UDP {
		host, _, _ := net.SplitHostPort(s.opts.Address)
		if pair, err = udpPair(host, s.opts.UDPPort); err != nil {
			_ = ln.Close()
			return fmt.Errorf("rtsp: cannot listen for UDP: %w", err)
		}
		next := 0
		s.srv.UDPRTPAddress, s.srv.UDPRTCPAddress = pair[0].LocalAddr().String(), pair[1].LocalAddr().String()
		s.srv.ListenPacket = func(string, string) (net.PacketConn, error) {
			next++
			return pair[next-1], nil
		}
	}
	if err = s.srv.Start(); err != nil {
		_ = ln.Close()
		for _, c := range pair {
			if c != nil {
				_ = c.Close()
			}
		}
		s.addr = nil
		return fmt.Errorf("rtsp: %w", err)
	}
	return nil
}

// udpPair binds an even port and the next one (RFC 3550 section 11).
func udpPair(host string, port int) (pair [2]net.PacketConn, err error) {
	bind := func(port int) (net.PacketConn, error) {
		c, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port)))
		if u, ok := c.(*net.UDPConn); ok {
			// A picture comes in one burst. What the system allows will do.
			_ = u.SetReadBuffer(1 << 20)
		}
		return c, err
	}
	for range 50 {
		var a, b net.PacketConn
		if a, err = bind(port); err != nil {
			return pair, err
		}
		p := a.LocalAddr().(*net.UDPAddr).Port
		if b, err = bind(p ^ 1); err == nil {
			if p%2 != 0 {
				a, b = b, a
			}
			return [2]net.PacketConn{a, b}, nil
		}
		_ = a.Close()
		if port != 0 {
			break
		}
	}
	return pair, err
}
