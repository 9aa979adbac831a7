package app

import (
	"context"
	"fmt"

	"camwire/config"
	"camwire/media"
	"camwire/media/rtsp"
	"camwire/media/stream"
	"camwire/media/testsrc"
	"camwire/server/auth"
	"camwire/signaling/peer"
)

// addCamera starts one entry. What is wrong with it costs only this camera.
func (a *app) addCamera(c config.Camera) {
	if _, err := a.reg.Add(c.ID, a.options(c)); err != nil {
		a.log.Error("camera left out", "camera", c.ID, "error", err)
	}
}

// options turns an entry into a stream. A source that cannot be made is a
// camera that tells why it fails: it is seen in the page, not only in the log.
func (a *app) options(c config.Camera) stream.Options {
	o := stream.Options{
		Name: c.Name, Location: config.Redact(c.Source), OnDemand: c.OnDemand, Disabled: !c.Enabled,
		Width: c.Width, Height: c.Height, Quality: c.Quality, FPS: c.FPS,
	}
	src, err := config.ParseSource(c.Source)
	o.Type = string(src.Kind)
	if err == nil {
		o.Source, err = a.source(c, src)
	}
	if err != nil {
		o.Source = broken{err}
	}
	return o
}

func (a *app) source(c config.Camera, s config.Source) (media.Source, error) {
	log := a.log.With("camera", c.ID)
	switch s.Kind {
	case config.KindTest:
		o, err := testsrc.Parse(c.Source)
		if err != nil {
			return nil, err
		}
		o.Log, o.Worker = log, a.worker
		if o.Width == 0 && o.Height == 0 {
			o.Width, o.Height = c.Width, c.Height
		}
		if o.FPS == 0 {
			o.FPS = c.FPS
		}
		if o.Name == "" {
			o.Name = c.Name
		}
		return testsrc.New(o)
	case config.KindRTSP:
		return rtsp.New(rtsp.Options{URL: s.Target, Transport: c.Transport, Log: log})
	default:
		return nil, fmt.Errorf("this version of Camwire cannot read sources of the kind %q", s.Kind)
	}
}

// broken is the source of a camera that cannot be started as configured.
type broken struct{ err error }

func (b broken) Run(context.Context, media.Sink) error { return b.err }

// reload takes over a changed configuration, and only what changed in it.
func (a *app) reload(next config.Config, problems []config.Problem, err error) {
	for _, p := range problems {
		a.log.Error("configuration", "problem", p.String())
	}
	if err != nil {
		a.log.Error("the changed configuration was not taken over; the one before stays in force", "error", err)
		return
	}
	next.Cameras = keepBroken(next.Cameras, a.conf.Cameras, problems)
	ch := config.Diff(a.conf, next)
	if ch.Empty() {
		return
	}
	a.conf = next
	for _, c := range ch.Removed {
		if err := a.reg.Remove(c.ID); err != nil {
			a.log.Debug("camera was gone already", "camera", c.ID, "error", err)
		}
	}
	for _, c := range ch.Changed {
		o := a.options(c.New)
		if err := a.reg.Update(c.New.ID, o, c.Restart); err != nil {
			a.addCamera(c.New) // it was deleted through the API
		}
		a.log.Info("camera changed", "camera", c.New.ID, "keys", c.Keys, "source_restarted", c.Restart)
	}
	for _, c := range ch.Added {
		a.addCamera(c)
	}
	for _, k := range ch.Live {
		switch k {
		case "log":
			a.level.Set(logLevel(next.Log.Level))
		case "auth":
			if err := a.gate.SetPolicy(policy(next)); err != nil {
				a.log.Error("auth was not changed", "error", err)
			}
		}
	}
	for _, k := range ch.Restart {
		var err error
		switch k {
		case "http":
			err = a.http.restart()
		case "rtsp":
			err = a.rtsp.restart()
		default:
			a.log.Warn("this change takes effect at the next start of Camwire", "key", k)
			continue
		}
		if err != nil {
			a.log.Error("listener was not changed", "key", k, "error", err)
		}
	}
}

// keepBroken keeps cameras running whose entry has just become wrong: a slip of
// the finger in the file must not end a recording.
func keepBroken(next, before []config.Camera, problems []config.Problem) []config.Camera {
	have := map[string]bool{}
	for _, c := range next {
		have[c.ID] = true
	}
	for _, p := range problems {
		for _, c := range before {
			if c.ID == p.Camera && !have[c.ID] {
				have[c.ID] = true
				next = append(next, c)
			}
		}
	}
	return next
}

func policy(c config.Config) auth.Policy {
	p := auth.Policy{}
	for _, s := range c.Auth.Anonymous {
		p.Anonymous = append(p.Anonymous, auth.Permission(s))
	}
	return p
}

func iceServers(in []config.ICEServer) []peer.ICEServer {
	out := make([]peer.ICEServer, len(in))
	for i, s := range in {
		out[i] = peer.ICEServer(s)
	}
	return out
}
