// Package app wires the rooms of Camwire together: configuration to cameras
// and listeners, and a stop that ends everything in order. Nothing else knows
// all of them.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"camwire/cmd/camwire/systemd"
	"camwire/config"
	"camwire/frontend"
	"camwire/media"
	"camwire/media/audio"
	"camwire/media/guard"
	"camwire/media/stream"
	"camwire/media/transcode"
	"camwire/media/worker"
	"camwire/server"
	"camwire/server/account"
	"camwire/server/api"
	"camwire/server/auth"
	"camwire/server/cameras"
	"camwire/server/connect"
	"camwire/server/live"
	"camwire/server/mjpeg"
	"camwire/server/mse"
	"camwire/server/openapi"
	"camwire/server/rtsp"
	"camwire/server/store"
	tlscert "camwire/server/tls"
	"camwire/server/upload"
	"camwire/server/web"
	"camwire/signaling/peer"
	"camwire/signaling/whep"
	"camwire/signaling/whip"
	"camwire/signaling/ws"
)

// stopTimeout bounds a stop in all.
const stopTimeout = 5 * time.Second

// Options of Run.
type Options struct {
	// Watcher loads the configuration, and reloads it.
	Watcher *config.Watcher
	Version string
	// Out takes the few words for a person at the terminal.
	Out io.Writer
	// Ready is called when all listeners are open; may be nil.
	Ready func(Addresses)
}

// Addresses are where Camwire listens; empty where it does not.
type Addresses struct {
	HTTP, HTTPS, RTSP, WebSocket string
	WebRTC                       int
	Token                        string
}

// app is one running Camwire.
type app struct {
	opts   Options
	log    *slog.Logger
	level  *slog.LevelVar
	conf   atomic.Pointer[config.Config]
	gate   *auth.Gate
	reg    *stream.Registry
	worker worker.Options
	guard  *guard.Guard
	cams   *cameras.Cameras
	kept   *store.List[cameras.Entry]
	media  *peer.Server // nil: WebRTC is off
	server *server.Server
	live   *live.Listener
	token  string

	conns      *server.Conns
	refusals   *server.Refusals
	rtspServer atomic.Pointer[rtsp.Server]
	started    atomic.Bool
	connect    *connect.Handler
	certs      atomic.Pointer[tlscert.Manager] // nil: HTTPS is off

	http, https, rtsp, websocket *unit
}

// Run starts Camwire and returns when ctx is done and everything has stopped,
// or at once when it cannot start.
func Run(ctx context.Context, o Options) error {
	conf, problems, err := o.Watcher.Load()
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	log := newLogger(conf.Log, level, os.Stderr)
	for _, p := range problems {
		log.Error("camera left out", "problem", p.String())
	}
	return newApp(o, conf, log, level).run(ctx)
}

func newApp(o Options, conf config.Config, log *slog.Logger, level *slog.LevelVar) *app {
	a := &app{
		opts: o, log: log, level: level,
		worker: worker.Options{Log: log, Running: new(atomic.Int64)}, refusals: server.NewRefusals(),
	}
	a.conf.Store(&conf)
	a.conns = server.NewConns(0, 0, a.refusals)
	return a
}

// config is the one in force; a reload replaces it.
func (a *app) config() config.Config { return *a.conf.Load() }

func (a *app) run(ctx context.Context) error {
	token, created, err := auth.LoadToken(a.config().DataDir)
	if err != nil {
		return err
	}
	a.token = token
	a.gate, err = auth.New(auth.Options{Token: token, Dir: a.config().DataDir, Policy: policy(a.config()), Log: a.log})
	if err != nil {
		return err
	}
	tc := transcode.New(transcode.Options{Log: a.log, Worker: a.worker})
	sound := audio.New(audio.Options{Log: a.log, Worker: a.worker})
	a.reg = stream.New(stream.Config{Log: a.log, Derive: func(s *stream.Stream, name string) (media.Source, error) {
		if name == audio.Name {
			return sound.Derive(s)
		}
		return tc.Derive(s, name)
	}})
	ctx, cancel := context.WithCancel(ctx)
	gated := make(chan struct{})
	go func() {
		defer close(gated)
		_ = a.gate.Run(ctx) // until ctx ends, for no other reason
	}()
	defer func() { cancel(); <-gated }()
	if err := a.open(ctx, tc); err != nil {
		cancel()
		return errors.Join(err, a.stop())
	}
	a.greet(created)
	if a.opts.Ready != nil {
		a.opts.Ready(a.addresses())
	}
	manager, err := systemd.New(os.Getenv, a.log)
	if err != nil {
		a.log.Warn("the service manager is not told anything", "error", err)
	}
	manager.Ready(fmt.Sprintf("%d cameras", len(a.reg.List())))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		manager.Watch(ctx, a.alive)
	}()
	defer func() { cancel(); <-watched }()
	a.opts.Watcher.Log = a.log
	a.opts.Watcher.Notify = a.reload
	err = a.opts.Watcher.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	a.log.Info("stopping")
	manager.Stopping()
	cancel()
	return errors.Join(err, a.stop())
}

// open makes everything that runs until ctx ends. What it has made when it
// fails, stop ends.
func (a *app) open(ctx context.Context, tc *transcode.Transcoder) error {
	var err error
	if a.config().WebRTC.Address != "" {
		a.media, err = peer.New(peer.Options{
			Address: a.config().WebRTC.Address, ExtraAddresses: a.config().WebRTC.ExtraAddresses,
			ICEServers: iceServers(a.config().WebRTC.ICEServers), Log: a.log,
			RefusedTCP: func() { a.refusals.Count(server.LimitICETCP) },
		})
		if err != nil {
			return err
		}
	}
	a.guard = guard.New(guard.Options{DataDir: a.config().DataDir, Ports: a.ports})
	if err := a.openCameras(); err != nil {
		return err
	}
	if err := a.buildServer(ctx, tc); err != nil {
		return err
	}
	if err := a.listen(ctx); err != nil {
		return err
	}
	a.setCameras(a.config())
	a.started.Store(true)
	return nil
}

// buildServer makes the HTTP end with all its routes.
func (a *app) buildServer(ctx context.Context, tc *transcode.Transcoder) error {
	pages, err := web.New(web.Options{Files: frontend.Files(), FollowLink: a.gate.FollowLink})
	if err != nil {
		return err
	}
	o := server.Options{
		Gate: a.gate, Log: a.log, Rewrite: mjpeg.Rewrite, App: pages, Drain: stopTimeout / 2,
		Conns: a.conns, Refusals: a.refusals,
	}
	if a.media != nil {
		o.WHEP = whep.New(whep.Options{Registry: a.reg, Peer: a.media, Lifetime: auth.Lifetime, Log: a.log})
		o.WHIP = whip.New(whip.Options{Registry: a.reg, Peer: a.media, Lifetime: auth.Lifetime, Log: a.log})
		o.Signal = ws.New(ws.Options{Registry: a.reg, Peer: a.media, Log: a.log, Context: ctx})
	}
	if a.server, err = server.New(o); err != nil {
		return err
	}
	a.connect = a.phones()
	pictures := live.New(live.Options{Registry: a.reg, Name: transcode.JPEGName, Log: a.log})
	a.live = live.NewListener(live.ListenerOptions{Handler: pictures, Gate: a.gate, Conns: a.conns, Log: a.log})
	return errors.Join(
		a.server.Register(api.Routes(api.Options{Registry: a.reg, Remove: a.cams.Drop})),
		a.server.Register(a.connect.Routes()),
		a.server.Register(account.Routes(account.Options{Gate: a.gate, Version: a.opts.Version, Log: a.log})),
		a.server.Register(mjpeg.New(mjpeg.Options{Registry: a.reg, Name: transcode.JPEGName, Log: a.log}).Routes()),
		a.server.Register(upload.New(upload.Options{Registry: a.reg, Log: a.log, Context: ctx}).Routes()),
		a.server.Register(pictures.Routes()),
		a.server.Register(mse.New(mse.Options{Registry: a.reg, Log: a.log}).Routes()),
		a.server.Register(a.cams.Routes()),
		a.server.Register(a.readiness().Routes()),
		a.server.Register(a.metrics(tc).Routes()),
		a.server.Register(openapi.New().Routes()),
	)
}

// listen opens the listeners of the configuration.
func (a *app) listen(ctx context.Context) error {
	unit := func(start func(context.Context) (service, error), want func() string) *unit {
		return &unit{ctx: ctx, start: start, want: want, log: a.log}
	}
	a.http = unit(a.startHTTP, func() string { return a.config().HTTP.Address })
	a.https = unit(a.startHTTPS, func() string { return a.config().HTTPS.Address })
	a.https.check = a.checkHTTPS
	a.rtsp = unit(a.startRTSP, func() string { return a.config().RTSP.Address })
	a.websocket = unit(a.startWebSocket, func() string { return a.config().WebSocket.Address })
	for _, u := range a.units() {
		if err := u.restart(); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) units() []*unit { return []*unit{a.http, a.https, a.rtsp, a.websocket} }

// ports are those that Camwire itself listens on.
func (a *app) ports() []int {
	var out []int
	if a.media != nil {
		out = append(out, a.media.Port())
	}
	for _, u := range a.units() {
		if _, p, err := net.SplitHostPort(u.address()); err == nil {
			if n, err := strconv.Atoi(p); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

func tcp(key, address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w: is another Camwire running? Choose another address with --set %[1]s=ADDRESS", key, address, err)
	}
	return ln, nil
}

func (a *app) startHTTP(ctx context.Context) (service, error) {
	addr := a.config().HTTP.Address
	if addr == "" {
		return service{}, nil
	}
	ln, err := tcp("http.address", addr)
	if err != nil {
		return service{}, err
	}
	return service{run: func() error { return a.server.Run(ctx, ln) }, addr: ln.Addr}, nil
}

func (a *app) startHTTPS(ctx context.Context) (service, error) {
	c := a.config().HTTPS
	if c.Address == "" {
		return service{}, nil
	}
	m, own, err := a.certificates(c)
	if err != nil {
		return service{}, fmt.Errorf("https: %w", err)
	}
	ln, err := tcp("https.address", c.Address)
	if err != nil {
		return service{}, err
	}
	a.certs.Store(own)
	run := func() error {
		// The certificates are kept for as long as somebody may be served.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		kept := make(chan error, 1)
		go func() { kept <- m.Run(ctx) }()
		err := a.server.Run(ctx, tls.NewListener(ln, m.TLSConfig()))
		cancel()
		if e := <-kept; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
		return err
	}
	return service{run: run, addr: ln.Addr}, nil
}

// checkHTTPS finds out whether there are certificates.
func (a *app) checkHTTPS() error {
	c := a.config().HTTPS
	if c.Address == "" {
		return nil
	}
	if _, _, err := a.certificates(c); err != nil {
		return fmt.Errorf("https: %w", err)
	}
	return nil
}

// certificates are those of the operator's files, of an ACME server for public
// names, and of Camwire's own authority for everything else.
func (a *app) certificates(c config.HTTPS) (all tlscert.Provider, own *tlscert.Manager, err error) {
	own, err = tlscert.New(tlscert.Options{
		Dir: a.config().DataDir, CertFile: c.Cert, KeyFile: c.Key, ExtraNames: a.config().HTTP.Hosts, Log: a.log,
	})
	if err != nil {
		return nil, nil, err
	}
	if len(c.ACME.Domains) == 0 {
		return own, own, nil
	}
	acme, err := tlscert.NewACME(tlscert.ACMEOptions{
		Domains: c.ACME.Domains, Email: c.ACME.Email, DirectoryURL: c.ACME.Directory,
		CacheDir: filepath.Join(a.config().DataDir, "acme"), Log: a.log,
	})
	if err != nil {
		return nil, nil, err
	}
	return tlscert.Both{ACME: acme, Own: own}, own, nil
}

func (a *app) startRTSP(ctx context.Context) (service, error) {
	addr := a.config().RTSP.Address
	if addr == "" {
		return service{}, nil
	}
	s, err := rtsp.New(rtsp.Options{Address: addr, UDP: true, Registry: a.reg, Authorize: a.checkRTSP, Admit: a.gate.Admit, Log: a.log,
		Refused: func(limit string) { a.refusals.Count("rtsp_" + limit) },
	})
	if err != nil {
		return service{}, fmt.Errorf("rtsp.address %q: %w", addr, err)
	}
	a.rtspServer.Store(s)
	return service{run: func() error { return s.Run(ctx) }, addr: s.Addr}, nil
}

// checkRTSP is the gate in the words of the RTSP server.
func (a *app) checkRTSP(ctx context.Context, remote net.Addr, user, pass, token, perm, camera string) error {
	err := a.gate.Check(ctx, remote, user, pass, token, perm, camera)
	if errors.Is(err, auth.ErrForbidden) {
		return fmt.Errorf("%w (%w)", rtsp.ErrForbidden, err)
	}
	return err
}

func (a *app) startWebSocket(ctx context.Context) (service, error) {
	addr := a.config().WebSocket.Address
	if addr == "" {
		return service{}, nil
	}
	ln, err := tcp("websocket.address", addr)
	if err != nil {
		return service{}, err
	}
	return service{run: func() error { return a.live.Run(ctx, ln) }, addr: ln.Addr}, nil
}

// stop ends the listeners, then the cameras and their viewers, all within
// stopTimeout.
func (a *app) stop() error {
	done := make(chan error, 1)
	go func() {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var all error
		note := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			all = errors.Join(all, err)
		}
		for _, u := range a.units() {
			wg.Go(func() { note(u.stop()) })
		}
		if a.media != nil {
			wg.Go(func() { note(a.media.Close()) })
		}
		wg.Wait()
		a.reg.Close()
		if a.kept != nil {
			note(a.kept.Close())
		}
		done <- all
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(stopTimeout):
		return fmt.Errorf("something did not end within %v", stopTimeout)
	}
}

// service is something that listens: run returns when it has ended, addr waits
// until it listens and returns nil when it could not.
type service struct {
	run  func() error
	addr func() net.Addr
}

// unit is a service that can be replaced while the rest goes on.
type unit struct {
	ctx   context.Context
	start func(context.Context) (service, error)
	check func() error  // finds out what is wrong before anything is stopped; may be nil
	want  func() string // the address of the configuration
	log   *slog.Logger

	mu     sync.Mutex // guards addr and failed
	addr   string
	failed error // why it ended although nobody stopped it
	cancel context.CancelFunc
	done   chan error
}

// address is where it listens, "" where it does not.
func (u *unit) address() string {
	if u == nil {
		return ""
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.addr
}

func (u *unit) setAddress(s string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.addr = s
}

func (u *unit) setFailed(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failed = err
}

// trouble says why a listener that should be there is not.
func (u *unit) trouble() error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}

// ended notes the end of the service that is in use; ctx is its own.
func (u *unit) ended(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	u.setFailed(fmt.Errorf("the listener on %s has ended", u.want()))
	u.log.Error("a listener has ended", "error", err)
}

// restart replaces what runs by what the configuration now says. The new one is
// opened before the old one is closed, so that a mistake costs nobody the page
// on which it could be seen; only where both want the same port the old one
// must go first.
func (u *unit) restart() error {
	if u.check != nil {
		if err := u.check(); err != nil {
			return err
		}
	}
	stopped := u.cancel == nil
	if u.cancel != nil && samePort(u.address(), u.want()) {
		if err := u.stop(); err != nil {
			u.log.Warn("a listener had ended badly", "error", err)
		}
		stopped = true
	}
	ctx, cancel := context.WithCancel(u.ctx)
	s, err := u.start(ctx)
	if err != nil {
		cancel()
		if stopped {
			u.setFailed(fmt.Errorf("nothing listens on %s", u.want()))
		}
		return err
	}
	if s.run == nil { // switched off
		u.setFailed(nil)
		cancel()
		return u.stop()
	}
	done := make(chan error, 1)
	used := make(chan bool, 1)
	go func() {
		err := s.run()
		if <-used {
			u.ended(ctx, err)
		}
		done <- err
	}()
	addr := s.addr()
	used <- addr != nil
	if addr == nil {
		cancel()
		if stopped {
			u.setFailed(fmt.Errorf("nothing listens on %s", u.want()))
		}
		return <-done
	}
	u.setFailed(nil)
	if err := u.stop(); err != nil {
		u.log.Warn("a listener had ended badly", "error", err)
	}
	u.setAddress(addr.String())
	u.cancel, u.done = cancel, done
	return nil
}

func samePort(a, b string) bool {
	_, p, err1 := net.SplitHostPort(a)
	_, q, err2 := net.SplitHostPort(b)
	return err1 == nil && err2 == nil && p == q
}

func (u *unit) stop() error {
	if u == nil || u.cancel == nil {
		return nil
	}
	u.cancel()
	err := <-u.done
	u.cancel = nil
	u.setAddress("")
	return err
}
