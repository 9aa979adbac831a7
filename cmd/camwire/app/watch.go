package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"camwire/media/transcode"
	"camwire/server/health"
	"camwire/server/metrics"
)

// readiness are the checks of /readyz.
func (a *app) readiness() *health.Handler {
	return health.New(
		health.Check{Name: "start", Test: func(context.Context) error {
			if !a.started.Load() {
				return errors.New("listeners and cameras are still being opened")
			}
			return nil
		}},
		health.Check{Name: "listeners", Test: func(context.Context) error {
			var lost []string
			for _, u := range a.units() {
				if err := u.trouble(); err != nil {
					lost = append(lost, err.Error())
				}
			}
			if len(lost) > 0 {
				return errors.New(strings.Join(lost, "; "))
			}
			return nil
		}},
		health.Check{Name: "data_dir", Test: health.Writable(a.config().DataDir)},
	)
}

// metrics tells Prometheus what all rooms together know.
func (a *app) metrics(tc *transcode.Transcoder) *metrics.Handler {
	o := metrics.Options{
		Registry: a.reg, Version: a.opts.Version, Refused: a.refusals.Snapshot, Log: a.log,
		Codec: func() metrics.Codec {
			s := tc.Stats()
			return metrics.Codec{Processes: int(a.worker.Running.Load()), Started: s.Workers, Cameras: s.Stages}
		},
		Sessions: func() map[string]int {
			n := map[string]int{"http": a.conns.Open(), "websocket": a.server.WebSockets()}
			if a.media != nil {
				n["webrtc"] = a.media.Connections()
			}
			if s := a.rtspServer.Load(); s != nil {
				n["rtsp"], n["rtsp_connections"] = s.Sessions(), s.Connections()
			}
			return n
		},
	}
	if a.media != nil {
		o.Links = func() []metrics.Link {
			all := a.media.Links()
			out := make([]metrics.Link, len(all))
			for i, l := range all {
				out[i] = metrics.Link{Camera: l.Camera, Lost: l.Link.Lost, RTT: l.Link.RTT}
			}
			return out
		}
	}
	return metrics.New(o)
}

// alive proves to the service manager's watchdog that the program does its
// work: a request of its own goes in by the listener and comes back, and every
// camera can be asked how it is. A full disk or a camera that is gone is no
// reason to be started anew.
func (a *app) alive(ctx context.Context) error {
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for _, s := range a.reg.List() {
			s.Info()
			s.Stats()
		}
	}()
	select {
	case <-asked:
	case <-ctx.Done():
		return errors.New("the cameras do not tell their state")
	}
	scheme, address := "http", a.http.address()
	if address == "" {
		scheme, address = "https", a.https.address()
	}
	if address == "" {
		return nil
	}
	return ping(ctx, scheme+"://"+reachable(address)+"/healthz")
}

// ping makes a request on a connection of its own. Any answer is one.
func ping(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	t := &http.Transport{
		DisableKeepAlives: true,
		// It asks itself; there is nobody to be told from.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}
	defer t.CloseIdleConnections()
	res, err := t.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("the listener does not answer: %w", err)
	}
	return res.Body.Close()
}

// reachable is an address to connect to, of one to listen on.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	switch ip, err := netip.ParseAddr(host); {
	case host == "", err == nil && ip.IsUnspecified():
		// A listener on all addresses takes IPv4 too, wherever there is any.
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
