package app

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"

	"camwire/config"
	"camwire/server/auth"
)

func newLogger(c config.Log, level *slog.LevelVar, w *os.File) *slog.Logger {
	level.Set(logLevel(c.Level))
	terminal := isatty.IsTerminal(w.Fd())
	switch {
	case c.Format == "json", c.Format == "auto" && !terminal && os.Getenv("INVOCATION_ID") != "":
		// Under systemd the journal keeps the fields apart.
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	default:
		return slog.New(tint.NewHandler(w, &tint.Options{Level: level, NoColor: !terminal, TimeFormat: "15:04:05.000"}))
	}
}

func logLevel(s string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return slog.LevelInfo // the configuration has been validated
	}
	return l
}

// greet tells a person at the terminal what to do next.
func (a *app) greet(first bool) {
	w := a.opts.Out
	if w == nil {
		return
	}
	fmt.Fprintf(w, "\n  Camwire %s is running.\n\n", a.opts.Version)
	if a.http.address() != "" && !first && os.Getenv("JOURNAL_STREAM") != "" {
		// systemd's journal keeps what is printed, and others may read it.
		fmt.Fprint(w, "  \"camwire token\" shows the link that signs in as administrator.\n")
	} else if a.http.address() != "" {
		if first {
			fmt.Fprint(w, "  Open one of these links. They sign you in as administrator: keep them to yourself.\n\n")
		} else {
			fmt.Fprint(w, "  Open in a browser (signs you in as administrator):\n\n")
		}
		for _, u := range BaseURLs(a.http.address()) {
			fmt.Fprintf(w, "    %s\n", auth.Link(u, a.token))
		}
	}
	if _, port, err := net.SplitHostPort(a.https.address()); err == nil {
		fmt.Fprintf(w, "\n  HTTPS is on port %s; browsers trust it once they know %s.\n", port, filepath.Join(a.config().DataDir, "tls", "ca.crt"))
	}
	if person(w) {
		a.greetPhone(w)
	}
	var ids []string
	for _, s := range a.reg.List() {
		ids = append(ids, s.ID())
	}
	if len(ids) > 0 {
		fmt.Fprintf(w, "\n  Cameras: %s\n", strings.Join(ids, ", "))
	}
	if a.rtsp.address() != "" && len(ids) > 0 {
		_, port, _ := net.SplitHostPort(a.rtsp.address())
		fmt.Fprintf(w, "  RTSP:    rtsp://localhost:%s/%s\n", port, ids[0])
	}
	fmt.Fprint(w, "\n  Stop with Ctrl+C.\n\n")
	a.warnUnused()
}

// person reports whether somebody reads along, and not a log.
func person(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// warnUnused says which settings of the file this version does not act on.
func (a *app) warnUnused() {
	if a.config().WebRTC.TURN {
		a.log.Warn("webrtc.turn: this version has no built-in TURN server")
	}
}

func (a *app) addresses() Addresses {
	out := Addresses{
		HTTP: a.http.address(), HTTPS: a.https.address(), RTSP: a.rtsp.address(), WebSocket: a.websocket.address(),
		Token: a.token,
	}
	if a.media != nil {
		out.WebRTC = a.media.Port()
	}
	return out
}

// BaseURLs are the addresses under which a browser reaches a listener: on this
// machine first, then on the networks it is in.
func BaseURLs(listen string) []string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil
	}
	url := func(h string) string { return "http://" + net.JoinHostPort(h, port) }
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return []string{url(host)}
	}
	out := []string{url("localhost")}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return out
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			out = append(out, url(n.IP.String()))
		}
	}
	return out
}
