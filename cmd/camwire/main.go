// Camwire takes in any camera within reach and shows it with the least
// possible delay. This package is the command line; the wiring is in app.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"camwire/cmd/camwire/app"
	"camwire/config"
	"camwire/media/worker"
)

// version is set by the linker in release builds.
var version = ""

type cli struct {
	Run    runCmd    `cmd:"" default:"withargs" help:"Start Camwire (the default)."`
	Check  checkCmd  `cmd:"" help:"Validate the configuration and list what is wrong with it, by line."`
	Token  tokenCmd  `cmd:"" help:"Print the sign-in link of the administrator again; make, list and revoke tokens."`
	User   userCmd   `cmd:"" help:"Add, list and remove users, and set their passwords."`
	Schema schemaCmd `cmd:"" help:"Print the JSON Schema of camwire.yaml, for editors."`
	Keys   keysCmd   `cmd:"" help:"List every key of the configuration with its environment variable and default."`

	Version     versionCmd `cmd:"" help:"Print the version."`
	CodecWorker workerCmd  `cmd:"" hidden:"" help:"The process that decodes and encodes; Camwire starts it itself."`
}

// source says which configuration is meant: a file, and what wins over it.
type source struct {
	Config string   `short:"c" type:"path" placeholder:"FILE" help:"Configuration file; without it camwire.yaml, if there is one here."`
	Set    []string `sep:"none" placeholder:"KEY=VALUE" help:"Set any key, for example --set http.address=:80; may be repeated. Wins over file and environment."`

	HTTP     *string `name:"http" placeholder:"ADDR" help:"Listen address for HTTP (http.address)."`
	RTSP     *string `name:"rtsp" placeholder:"ADDR" help:"Listen address for RTSP (rtsp.address)."`
	WebRTC   *string `name:"webrtc" placeholder:"ADDR" help:"UDP and TCP address for WebRTC media (webrtc.address)."`
	DataDir  *string `name:"data-dir" placeholder:"DIR" help:"Folder for keys and data (data_dir)."`
	LogLevel *string `name:"log-level" placeholder:"LEVEL" help:"debug, info, warn or error (log.level)."`
}

// watcher turns flags into a configuration to load and watch.
func (s source) watcher() (*config.Watcher, error) {
	w := &config.Watcher{Path: s.Config, Options: config.Options{Env: os.Environ()}}
	if w.Path == "" {
		w.Path, w.Options.Optional = "camwire.yaml", true
	}
	path, err := filepath.Abs(w.Path)
	if err != nil {
		return nil, err
	}
	w.Path = path
	for _, f := range []struct {
		key   string
		value *string
	}{
		{"http.address", s.HTTP}, {"rtsp.address", s.RTSP}, {"webrtc.address", s.WebRTC},
		{"data_dir", s.DataDir}, {"log.level", s.LogLevel},
	} {
		if f.value != nil {
			w.Options.Overrides = append(w.Options.Overrides, config.Override{Path: f.key, Value: *f.value})
		}
	}
	for _, kv := range s.Set {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, fmt.Errorf("--set %s: write KEY=VALUE", kv)
		}
		w.Options.Overrides = append(w.Options.Overrides, config.Override{Path: k, Value: v})
	}
	return w, nil
}

type runCmd struct{ source }

func (c runCmd) Run() error {
	w, err := c.watcher()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return app.Run(ctx, app.Options{Watcher: w, Version: versionText(), Out: os.Stdout})
}

type checkCmd struct{ source }

func (c checkCmd) Run() error {
	w, err := c.watcher()
	if err != nil {
		return err
	}
	conf, problems, err := w.Load()
	if err != nil && len(problems) == 0 {
		return err
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d to mend", len(problems))
	}
	fmt.Printf("%s: %d cameras, nothing to mend\n", filepath.Base(w.Path), len(conf.Cameras))
	return nil
}

type schemaCmd struct{}

func (schemaCmd) Run() error {
	_, err := os.Stdout.Write(config.Schema())
	return err
}

type keysCmd struct{}

func (keysCmd) Run() error {
	for _, k := range config.Keys() {
		fmt.Printf("%-28s %-38s %-14s %-18s %s\n", k.Path, k.Env, k.Type, k.Default, k.Help)
	}
	return nil
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("camwire", versionText())
	return nil
}

type workerCmd struct{}

func (workerCmd) Run() error { return worker.Main(context.Background(), os.Stdin, os.Stdout) }

func versionText() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "development " + s.Value[:12]
			}
		}
	}
	return "development"
}

func main() {
	var c cli
	k := kong.Parse(&c,
		kong.Name("camwire"),
		kong.Description("Any camera, in any browser, with the least possible delay."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "camwire:", err)
		os.Exit(1)
	}
}
