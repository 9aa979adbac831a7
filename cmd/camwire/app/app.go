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
	"strconv"
	"sync"
	"time"

	"camwire/config"
	"camwire/frontend"
	"camwire/media/guard"
	"camwire/media/stream"
	"camwire/media/transcode"
	"camwire/media/worker"
	"camwire/server"
	"camwire/server/api"
	"camwire/server/auth"
	"camwire/server/cameras"
	"camwire/server/live"
	"camwire/server/mjpeg"
	"camwire/server/rtsp"
	"camwire/server/store"
	tlscert "camwire/server/tls"
	"camwire/server/upload"
	"camwire/server/web"
	"camwire/signaling/peer"
	"camwire/signaling/whep"
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
	conf   config.Config
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
	a := &app{opts: o, log: log, level: level, conf: conf, worker: worker.Options{Log: log}}
	return a.run(ctx)
}

func (a *app) run(ctx context.Context) error {
	token, created, err := auth.LoadToken(a.conf.DataDir)
	if err != nil {
		return err
	}
	a.token = token
	a.gate, err = auth.New(auth.Options{Token: token, Policy: policy(a.conf), Log: a.log})
	if err != nil {
		return err
	}
	tc := transcode.New(transcode.Options{Log: a.log, Worker: a.worker})
	a.reg = stream.New(stream.Config{Log: a.log, Derive: tc.Derive})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := a.open(ctx); err != nil {
		cancel()
		return errors.Join(err, a.stop())
	}
	a.greet(created)
	if a.opts.Ready != nil {
		a.opts.Ready(a.addresses())
	}
	a.opts.Watcher.Log = a.log
	a.opts.Watcher.Notify = a.reload
	err = a.opts.Watcher.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	a.log.Info("stopping")
	cancel()
	return errors.Join(err, a.stop())
}

// open makes everything that runs until ctx ends. What it has made when it
// fails, stop ends.
func (a *app) open(ctx context.Context) error {
	var err error
	if a.conf.WebRTC.Address != "" {
		a.media, err = peer.New(peer.Options{
			Address: a.conf.WebRTC.Address, ExtraAddresses: a.conf.WebRTC.ExtraAddresses,
			ICEServers: iceServers(a.conf.WebRTC.ICEServers), Log: a.log,
		})
		if err != nil {
			return err
		}
	}
	a.guard = guard.New(guard.Options{DataDir: a.conf.DataDir, Ports: a.ports})
	if err := a.openCameras(); err != nil {
		return err
	}
	if err := a.buildServer(ctx); err != nil {
		return err
	}
	if err := a.listen(ctx); err != nil {
		return err
	}
	a.setCameras(a.conf)
	return nil
}

// buildServer makes the HTTP end with all its routes.
func (a *app) buildServer(ctx context.Context) error {
	pages, err := web.New(web.Options{Files: frontend.Files(), FollowLink: a.gate.FollowLink})
	if err != nil {
		return err
	}
	o := server.Options{Gate: a.gate, Log: a.log, Rewrite: mjpeg.Rewrite, App: pages, Drain: stopTimeout / 2}
	if a.media != nil {
		o.WHEP = whep.New(whep.Options{Registry: a.reg, Peer: a.media, Log: a.log})
		o.Signal = ws.New(ws.Options{Registry: a.reg, Peer: a.media, Log: a.log, Context: ctx})
	}
	if a.server, err = server.New(o); err != nil {
		return err
	}
	pictures := live.New(live.Options{Registry: a.reg, Name: transcode.JPEGName, Log: a.log})
	a.live = live.NewListener(live.ListenerOptions{Handler: pictures, Gate: a.gate, Log: a.log})
	return errors.Join(
		a.server.Register(api.Routes(api.Options{Registry: a.reg, Gate: a.gate, Remove: a.cams.Drop})),
		a.server.Register(mjpeg.New(mjpeg.Options{Registry: a.reg, Name: transcode.JPEGName, Log: a.log}).Routes()),
		a.server.Register(upload.New(upload.Options{Registry: a.reg, Log: a.log, Context: ctx}).Routes()),
		a.server.Register(pictures.Routes()),
		a.server.Register(a.cams.Routes()),
	)
}

// listen opens the listeners of the configuration.
func (a *app) listen(ctx context.Context) error {
	unit := func(start func(context.Context) (service, error), want func() string) *unit {
		return &unit{ctx: ctx, start: start, want: want, log: a.log}
	}
	a.http = unit(a.startHTTP, func() string { return a.conf.HTTP.Address })
	a.https = unit(a.startHTTPS, func() string { return a.conf.HTTPS.Address })
	a.rtsp = unit(a.startRTSP, func() string { return a.conf.RTSP.Address })
	a.websocket = unit(a.startWebSocket, func() string { return a.conf.WebSocket.Address })
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
	addr := a.conf.HTTP.Address
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
	c := a.conf.HTTPS
	if c.Address == "" {
		return service{}, nil
	}
	m, err := tlscert.New(tlscert.Options{
		Dir: a.conf.DataDir, CertFile: c.Cert, KeyFile: c.Key, ExtraNames: a.conf.HTTP.Hosts, Log: a.log,
	})
	if err != nil {
		return service{}, fmt.Errorf("https: %w", err)
	}
	ln, err := tcp("https.address", c.Address)
	if err != nil {
		return service{}, err
	}
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

func (a *app) startRTSP(ctx context.Context) (service, error) {
	addr := a.conf.RTSP.Address
	if addr == "" {
		return service{}, nil
	}
	s, err := rtsp.New(rtsp.Options{Address: addr, UDP: true, Registry: a.reg, Authorize: a.gate.Check, Log: a.log})
	if err != nil {
		return service{}, fmt.Errorf("rtsp.address %q: %w", addr, err)
	}
	return service{run: func() error { return s.Run(ctx) }, addr: s.Addr}, nil
}

func (a *app) startWebSocket(ctx context.Context) (service, error) {
	addr := a.conf.WebSocket.Address
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
	want  func() string // the address of the configuration
	log   *slog.Logger

	mu     sync.Mutex // guards addr
	addr   string
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

// restart replaces what runs by what the configuration now says. The new one is
// opened before the old one is closed, so that a mistake costs nobody the page
// on which it could be seen; only where both want the same port the old one
// must go first.
func (u *unit) restart() error {
	if u.cancel != nil && samePort(u.address(), u.want()) {
		if err := u.stop(); err != nil {
			u.log.Warn("a listener had ended badly", "error", err)
		}
	}
	ctx, cancel := context.WithCancel(u.ctx)
	s, err := u.start(ctx)
	if err != nil {
		cancel()
		return err
	}
	if s.run == nil { // switched off
		cancel()
		return u.stop()
	}
	done := make(chan error, 1)
	go func() { done <- s.run() }()
	addr := s.addr()
	if addr == nil {
		cancel()
		return <-done
	}
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
