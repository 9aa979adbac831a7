// Package app wires the rooms of Camwire together: configuration to cameras
// and listeners, and a stop that ends everything in order. Nothing else knows
// all of them.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"camwire/config"
	"camwire/frontend"
	"camwire/media/stream"
	"camwire/media/transcode"
	"camwire/media/worker"
	"camwire/server"
	"camwire/server/api"
	"camwire/server/auth"
	"camwire/server/mjpeg"
	"camwire/server/rtsp"
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
	HTTP, RTSP string
	WebRTC     int
	Token      string
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
	http   *unit
	rtsp   *unit
	server *server.Server
	token  string
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
	defer a.reg.Close()

	var media *peer.Server
	if a.conf.WebRTC.Address != "" {
		media, err = peer.New(peer.Options{
			Address: a.conf.WebRTC.Address, ExtraAddresses: a.conf.WebRTC.ExtraAddresses,
			ICEServers: iceServers(a.conf.WebRTC.ICEServers), Log: a.log,
		})
		if err != nil {
			return err
		}
		defer media.Close()
	}
	// Everything below runs until this context ends; the media above outlives
	// it, so that nothing serves from what is closed.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := a.buildServer(ctx, media); err != nil {
		return err
	}
	if err := a.listen(ctx); err != nil {
		return err
	}
	for _, c := range a.conf.Cameras {
		a.addCamera(c)
	}
	a.greet(created)
	if a.opts.Ready != nil {
		a.opts.Ready(a.addresses(media))
	}
	a.opts.Watcher.Log = a.log
	a.opts.Watcher.Notify = a.reload
	err = a.opts.Watcher.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	a.log.Info("stopping")
	return errors.Join(err, a.stop())
}

// buildServer makes the HTTP end with all its routes.
func (a *app) buildServer(ctx context.Context, media *peer.Server) error {
	pages, err := web.New(web.Options{Files: frontend.Files(), FollowLink: a.gate.FollowLink})
	if err != nil {
		return err
	}
	o := server.Options{Gate: a.gate, Log: a.log, Rewrite: mjpeg.Rewrite, App: pages}
	if media != nil {
		o.WHEP = whep.New(whep.Options{Registry: a.reg, Peer: media, Log: a.log})
		o.Signal = ws.New(ws.Options{Registry: a.reg, Peer: media, Log: a.log, Context: ctx})
	}
	if a.server, err = server.New(o); err != nil {
		return err
	}
	return errors.Join(
		a.server.Register(api.Routes(api.Options{Registry: a.reg, Gate: a.gate})),
		a.server.Register(mjpeg.New(mjpeg.Options{Registry: a.reg, Name: transcode.JPEGName, Log: a.log}).Routes()),
	)
}

// listen opens the listeners of the configuration.
func (a *app) listen(ctx context.Context) error {
	a.http = &unit{ctx: ctx, start: a.startHTTP}
	a.rtsp = &unit{ctx: ctx, start: a.startRTSP}
	if err := a.http.restart(); err != nil {
		return err
	}
	if err := a.rtsp.restart(); err != nil {
		return errors.Join(err, a.http.stop())
	}
	return nil
}

func (a *app) startHTTP(ctx context.Context) (service, error) {
	addr := a.conf.HTTP.Address
	if addr == "" {
		return service{}, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return service{}, fmt.Errorf("http.address %q: %w: is another Camwire running? Choose another address with --http", addr, err)
	}
	return service{
		run:  func() error { return a.server.Run(ctx, ln) },
		addr: ln.Addr,
	}, nil
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

// stop ends the listeners and then the cameras, all within stopTimeout.
func (a *app) stop() error {
	done := make(chan error, 1)
	go func() {
		var wg sync.WaitGroup
		errs := make([]error, 2)
		wg.Go(func() { errs[0] = a.http.stop() })
		wg.Go(func() { errs[1] = a.rtsp.stop() })
		wg.Wait()
		a.reg.Close()
		done <- errors.Join(errs...)
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

	addr   string
	cancel context.CancelFunc
	done   chan error
}

// restart ends what runs and starts it anew.
func (u *unit) restart() error {
	if err := u.stop(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(u.ctx)
	s, err := u.start(ctx)
	if err != nil || s.run == nil {
		cancel()
		return err
	}
	done := make(chan error, 1)
	go func() { done <- s.run() }()
	addr := s.addr()
	if addr == nil {
		cancel()
		return <-done
	}
	u.addr, u.cancel, u.done = addr.String(), cancel, done
	return nil
}

func (u *unit) stop() error {
	if u.cancel == nil {
		return nil
	}
	u.cancel()
	err := <-u.done
	u.cancel, u.addr = nil, ""
	return err
}
