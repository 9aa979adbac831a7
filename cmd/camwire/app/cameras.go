package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"camwire/config"
	"camwire/media"
	"camwire/media/command"
	"camwire/media/device"
	"camwire/media/images"
	"camwire/media/mjpeg"
	"camwire/media/rtsp"
	"camwire/media/stream"
	"camwire/media/testsrc"
	"camwire/server/auth"
	"camwire/server/cameras"
	"camwire/server/store"
	"camwire/signaling/cascade"
	"camwire/signaling/peer"
)

// openCameras makes the list of cameras that file and API share.
func (a *app) openCameras() error {
	kept, entries, err := store.Open[cameras.Entry](store.Options{Dir: a.config().DataDir, Name: "cameras.json", Log: a.log})
	if err != nil {
		return err
	}
	a.kept = kept
	a.cams, err = cameras.New(cameras.Options{
		Keeper: kept, Kept: entries, Defaults: cameras.Entry(config.DefaultCamera()),
		Validate: validate, Guard: a.guard.Check, Mask: config.Redact, Diff: diff,
		Start: func(e cameras.Entry, from cameras.Origin) error {
			_, err := a.reg.Add(e.ID, a.options(config.Camera(e), from))
			return err
		},
		Change: func(e cameras.Entry, from cameras.Origin, restart bool) error {
			return a.reg.Update(e.ID, a.options(config.Camera(e), from), restart)
		},
		Stop: a.reg.Remove, USB: usbCameras, Log: a.log,
	})
	return err
}

// setCameras puts the entries of a configuration into effect.
func (a *app) setCameras(c config.Config) {
	entries := make([]cameras.Entry, len(c.Cameras))
	for i, x := range c.Cameras {
		entries[i] = cameras.Entry(x)
	}
	a.cams.SetFile(filepath.Base(a.opts.Watcher.Path), entries)
}

func validate(e cameras.Entry) []cameras.Problem {
	var out []cameras.Problem
	for _, p := range config.Camera(e).Validate() {
		out = append(out, cameras.Problem{Field: p.Path, Message: p.Message, Hint: p.Hint})
	}
	return out
}

func diff(before, after cameras.Entry) (keys []string, restart bool) {
	ch := config.Diff(
		config.Config{Cameras: []config.Camera{config.Camera(before)}},
		config.Config{Cameras: []config.Camera{config.Camera(after)}},
	)
	if len(ch.Changed) == 0 {
		return nil, false
	}
	return ch.Changed[0].Keys, ch.Changed[0].Restart
}

func usbCameras(ctx context.Context) ([]cameras.USB, error) {
	list, err := device.List(ctx)
	if errors.Is(err, device.ErrUnsupported) {
		return nil, nil
	}
	out := make([]cameras.USB, len(list))
	for i, d := range list {
		out[i] = cameras.USB{
			Index: d.Index, Source: d.Source, FPS: d.FPS, SuggestedID: d.SuggestedID,
			Path: d.Path, Name: d.Name, InUse: d.InUse, Formats: make([]cameras.USBFormat, len(d.Modes)),
		}
		if d.Width > 0 {
			out[i].Resolution = fmt.Sprintf("%dx%d", d.Width, d.Height)
		}
		for j, m := range d.Modes {
			out[i].Formats[j] = cameras.USBFormat{Format: m.Format, Width: m.Width, Height: m.Height, FPS: m.FPS}
		}
	}
	return out, err
}

// options turns an entry into a stream. A source that cannot be made is a
// camera that tells why it fails: it is seen in the page, not only in the log.
func (a *app) options(c config.Camera, from cameras.Origin) stream.Options {
	o := stream.Options{
		Name: c.Name, Location: config.Redact(c.Source), OnDemand: c.OnDemand, Disabled: !c.Enabled,
		Width: c.Width, Height: c.Height, Quality: c.Quality, FPS: c.FPS,
	}
	src, err := config.ParseSource(c.Source)
	o.Type = string(src.Kind)
	if err == nil {
		o.Source, err = a.source(c, src, from)
	}
	if err != nil {
		o.Source = broken{err}
	}
	return o
}

func (a *app) source(c config.Camera, s config.Source, from cameras.Origin) (media.Source, error) {
	log := a.log.With("camera", c.ID)
	// What came through the API may not lead to where only this machine gets.
	var dial func(context.Context, string, string) (net.Conn, error)
	if from == cameras.FromAPI {
		if err := a.guard.Check(c.Source); err != nil {
			return nil, err
		}
		dial = a.guard.DialContext
	}
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
		return rtsp.New(rtsp.Options{URL: s.Target, Transport: c.Transport, Fingerprint: c.Fingerprint, Dial: dial, Log: log})
	case config.KindHTTP:
		return mjpeg.New(mjpeg.Options{URL: s.Target, FPS: c.FPS, Fingerprint: c.Fingerprint, Dial: dial, Log: log})
	case config.KindImages:
		return images.New(images.Options{Pattern: s.Target, FPS: c.FPS, Log: log})
	case config.KindWatch:
		return images.NewWatch(images.WatchOptions{Path: s.Target, Log: log})
	case config.KindExec:
		if from == cameras.FromAPI {
			return nil, errors.New("exec: programs are started from the configuration file only")
		}
		return command.New(command.Options{Argv: s.Argv, Log: log})
	case config.KindUSB:
		return device.New(device.Options{Source: s.Target, Width: c.Width, Height: c.Height, FPS: c.FPS, Microphone: c.Microphone, Log: log})
	case config.KindWHEP:
		return cascade.New(cascade.Options{URL: s.Target, Fingerprint: c.Fingerprint, Server: a.media, Dial: dial, Log: log})
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
	next.Cameras = keepBroken(next.Cameras, a.config().Cameras, problems)
	ch := config.Diff(a.config(), next)
	if ch.Empty() {
		return
	}
	before := a.config()
	next.DataDir = before.DataDir // what is kept there is open
	a.conf.Store(&next)
	if len(ch.Added)+len(ch.Removed)+len(ch.Changed) > 0 {
		a.setCameras(next)
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
			err = a.gate.SetPolicy(policy(next))
			if err == nil && before.HTTP.Address != next.HTTP.Address {
				err = a.http.restart()
			}
		case "https":
			if err = a.gate.SetPolicy(policy(next)); err == nil {
				err = a.https.restart()
			}
		case "websocket":
			err = a.websocket.restart()
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
	p := auth.Policy{Hosts: slices.Concat(c.HTTP.Hosts, c.HTTPS.ACME.Domains), Origins: c.HTTP.Origins, JWT: auth.JWT(c.Auth.JWT)}
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
