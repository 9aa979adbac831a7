// Package rtsp takes in a camera by RTSP: it connects, chooses a video and an
// audio stream, and turns RTP packets into access units (Source). The second
// half of that is shared with whoever is published to (Receiver).
//
// It neither retries nor decides when to run (package stream does), does not
// look into pictures (package codec does), and serves nobody.
package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"camwire/media"
	"camwire/media/pin"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// Options of a Source.
type Options struct {
	// URL is rtsp://[user:password@]host[:port]/path, or rtsps://.
	URL string
	// Transport is "tcp", "udp" or "multicast"; empty means TCP, and UDP if
	// the camera refuses that.
	Transport string
	// Fingerprint is the SHA-256 of the camera's certificate, or of the
	// authority that signed it, for those that the system does not trust: most
	// cameras make their own. TLS 1.0, which is all that some old ones speak,
	// is accepted with it.
	Fingerprint string
	// ReadTimeout is how long an answer to a request may take; default 10 s.
	ReadTimeout time.Duration
	// SetupTimeout is how long connecting may take up to the answer to
	// PLAY; default 20 s.
	SetupTimeout time.Duration
	// SilenceTimeout is how long a running session may deliver no picture
	// before it counts as dead; default 10 s.
	SilenceTimeout time.Duration
	// Dial makes the connections; default is to dial any address. Whoever
	// takes URLs from strangers refuses here what they must not reach.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log; default none.
	Log *slog.Logger
}

// closeTimeout is how long the farewell (TEARDOWN) may take.
const closeTimeout = time.Second

// maxDials bounds the connections of one session: a camera may redirect, but
// not for ever.
const maxDials = 5

// Source pulls one camera. It is a media.Source; Run may be called again when
// it has returned.
type Source struct {
	opts       Options
	url        *base.URL
	host       string
	tls        *tls.Config
	transports []gortsplib.Transport
	playing    atomic.Pointer[Receiver] // where a key frame may be asked for
}

var (
	_ media.Source       = (*Source)(nil)
	_ media.KeyRequester = (*Source)(nil)
)

// New checks the options. The error wraps ErrURL and does not hold the URL.
func New(o Options) (*Source, error) {
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	conf, err := pin.Config(o.Fingerprint)
	if err != nil {
		return nil, err
	}
	if o.Fingerprint != "" {
		conf.MinVersion = tls.VersionTLS10
	}
	s := &Source{opts: o, url: u, host: hostPort(u), tls: conf}
	switch strings.ToLower(o.Transport) {
	case "":
		s.transports = []gortsplib.Transport{gortsplib.TransportTCP, gortsplib.TransportUDP}
	case "tcp":
		s.transports = []gortsplib.Transport{gortsplib.TransportTCP}
	case "udp":
		s.transports = []gortsplib.Transport{gortsplib.TransportUDP}
	case "multicast":
		s.transports = []gortsplib.Transport{gortsplib.TransportUDPMulticast}
	default:
		return nil, fmt.Errorf("transport %q: must be tcp, udp, multicast or empty", o.Transport)
	}
	if s.opts.ReadTimeout <= 0 {
		s.opts.ReadTimeout = 10 * time.Second
	}
	if s.opts.SetupTimeout <= 0 {
		s.opts.SetupTimeout = 20 * time.Second
	}
	if s.opts.SilenceTimeout <= 0 {
		s.opts.SilenceTimeout = 10 * time.Second
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Run plays the camera until ctx is done, which returns nil, or the session
// fails, which returns an *Error.
func (s *Source) Run(ctx context.Context, sink media.Sink) error {
	var err error
	for i, t := range s.transports {
		err = s.play(ctx, sink, t)
		if ctx.Err() != nil {
			return nil
		}
		if i+1 < len(s.transports) && errors.Is(err, ErrTransport) {
			s.opts.Log.Info("RTSP transport refused, trying the next one", "host", s.host, "transport", t.String())
			continue
		}
		break
	}
	return err
}

// RequestKey asks the camera for a key frame by RTCP. Over TCP only servers
// that are known to take it are asked: to some cameras a packet that comes
// back over the same connection is an error.
func (s *Source) RequestKey() {
	if r := s.playing.Load(); r != nil {
		r.RequestKey()
	}
}

// takesFeedback judges by the Server header of an answer.
func takesFeedback(server string) bool {
	server = strings.ToLower(server)
	return strings.Contains(server, "camwire") || strings.Contains(server, "gstreamer")
}

var errSetupTimeout = errors.New("setting up the session took too long")

// play is one session over one transport.
func (s *Source) play(ctx context.Context, sink media.Sink, transport gortsplib.Transport) error {
	overUDP := transport != gortsplib.TransportTCP
	dialer := &dialer{host: s.url.Hostname(), timeout: s.opts.ReadTimeout, connect: s.opts.Dial}
	var (
		receiver *Receiver
		feedback atomic.Bool // key frames may be asked for
		answered atomic.Bool
	)
	feedback.Store(overUDP)
	client := &gortsplib.Client{
		Scheme:            s.url.Scheme,
		Host:              s.url.Host,
		Transport:         &transport,
		ReadTimeout:       s.opts.ReadTimeout,
		WriteTimeout:      s.opts.ReadTimeout,
		UserAgent:         "camwire",
		TLSConfig:         s.tls,
		DialContext:       dialer.dial,
		OnPacketsLost:     func(uint64) {}, // Receiver counts, also over TCP
		OnTransportSwitch: func(error) {},
		OnDecodeError:     func(err error) { receiver.DecodeError(err) },
		OnResponse: func(res *base.Response) {
			answered.Store(true)
			if v := res.Header["Server"]; len(v) > 0 {
				feedback.CompareAndSwap(false, takesFeedback(v[0]))
			}
		},
	}
	if err := client.Start2(); err != nil {
		return explain(s.host, s.url.User != nil, overUDP, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	setup := time.AfterFunc(s.opts.SetupTimeout, func() { cancel(errSetupTimeout) })
	defer setup.Stop()
	var wg sync.WaitGroup
	wg.Go(func() { // gortsplib knows no contexts: this is how one stops it
		<-ctx.Done()
		dialer.hangUp(client.Close)
	})
	err := s.negotiate(client, sink, &receiver)
	if err == nil && setup.Stop() {
		if feedback.Load() {
			s.playing.Store(receiver)
		}
		wg.Go(func() { cancel(client.Wait()) })
		err = receiver.Watch(ctx, s.opts.SilenceTimeout)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.playing.Store(nil)
	cancel(nil)
	wg.Wait()
	if receiver != nil {
		receiver.Close()
		s.opts.Log.Debug("RTSP session ended", "host", s.host, "stats", receiver.Stats())
	}
	err = explain(s.host, s.url.User != nil, overUDP, err)
	if e := (*Error)(nil); s.url.Scheme == "rtsps" && !answered.Load() && errors.As(err, &e) &&
		(errors.Is(err, ErrClosed) || errors.Is(err, errSetupTimeout)) {
		e.Reason, e.Text = ErrTLS, "accepts the connection but does not seem to speak TLS there: write rtsp:// or another port"
	}
	return err
}

// negotiate goes from OPTIONS to PLAY.
func (s *Source) negotiate(client *gortsplib.Client, sink media.Sink, out **Receiver) error {
	desc, _, err := client.Describe(s.url.Clone())
	if err != nil {
		return err
	}
	receiver, err := NewReceiver(desc, s.opts.Log)
	if err != nil {
		return err
	}
	*out = receiver
	for _, m := range receiver.Medias() {
		// gortsplib goes on with a nil URL where the camera's control
		// attribute makes none, and crashes on the next 401.
		if u, err := m.URL(desc.BaseURL); err != nil || u == nil {
			return fmt.Errorf("%w: control attribute %.40q in its SDP makes no URL", ErrProtocol, m.Control)
		}
		if _, err := client.Setup(desc.BaseURL, m, 0, 0); err != nil {
			return err
		}
	}
	if err := receiver.Attach(client, sink); err != nil {
		return err
	}
	if _, err := client.Play(nil); err != nil {
		return err
	}
	s.opts.Log.Debug("RTSP session plays", "host", s.host, "tracks", receiver.Tracks().String())
	return nil
}

// dialer makes the connections of one session and can break them, which is the
// only way to get gortsplib out of a TLS handshake that never ends.
type dialer struct {
	host    string
	timeout time.Duration
	connect func(ctx context.Context, network, address string) (net.Conn, error) // nil: any address

	mu     sync.Mutex
	conns  []net.Conn
	dials  int
	closed bool
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.dials++
	n := d.dials
	d.mu.Unlock()
	switch {
	case n > maxDials:
		return nil, fmt.Errorf("%w: it redirects in circles", ErrProtocol)
	case host != d.host:
		// Following would hand the password to a host that nobody named.
		return nil, fmt.Errorf("%w: it redirects to %.80q: if that is right, write that host in source", ErrProtocol, host)
	}
	connect := d.connect
	if connect == nil {
		connect = (&net.Dialer{Timeout: d.timeout}).DialContext
	}
	c, err := connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	d.conns = append(d.conns, c)
	return c, nil
}

// hangUp runs the polite farewell and cuts the line when it takes too long.
func (d *dialer) hangUp(farewell func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		farewell()
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	d.mu.Lock()
	d.closed = true
	conns := slices.Clone(d.conns)
	d.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	<-done
}
