package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"
	"camwire/server/live/socket"

	"github.com/coder/websocket"
)

// Limits of the listener's connections.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 32 << 10
	// activeWithin is how fresh a camera's last frame is when the camera
	// counts as active.
	activeWithin = 10 * time.Second
)

// ListenerOptions of a Listener.
type ListenerOptions struct {
	// Handler serves the pictures; required.
	Handler *Handler
	// Gate decides who may see them; required.
	Gate *auth.Gate
	// Conns bounds the connections; default a bound of its own.
	Conns *server.Conns
	// Log gets failures; default none.
	Log *slog.Logger
	// Drain is how long a stop may take in all; default 5 s.
	Drain time.Duration
}

// Listener is the stand-alone end for clients that know a host and a port, and
// perhaps a camera: "/" is the camera of ?cam= or else the first active one,
// "/<id>" is that one. Such a client sees no status: what is wrong is told by a
// message, after which the connection ends.
type Listener struct {
	h     *Handler
	gate  *auth.Gate
	conns *server.Conns
	log   *slog.Logger
	drain time.Duration
}

// NewListener returns a listener. Handler and Gate are required.
func NewListener(o ListenerOptions) *Listener {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Drain <= 0 {
		o.Drain = server.DefaultDrain
	}
	if o.Conns == nil {
		o.Conns = server.NewConns(0, 0, nil)
	}
	return &Listener{h: o.Handler, gate: o.Gate, conns: o.Conns, log: o.Log, drain: o.Drain}
}

// Run serves ln until ctx is done, and closes it. It returns when all its
// viewers are gone, after at most ListenerOptions.Drain: nil after a stop, else
// why it could not go on.
func (l *Listener) Run(ctx context.Context, ln net.Listener) error {
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	// Each handler holds one until it returns; net/http forgets those whose
	// connection was taken over. Twice as many as viewers, for those who are
	// told that there are too many.
	running := make(chan struct{}, 2*cap(l.h.places))
	hs := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case running <- struct{}{}:
				defer func() { <-running }()
				l.serve(w, r)
			default:
				refuse(w, server.Errorf(http.StatusServiceUnavailable, "too many connections: try again later"))
			}
		}),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// Broken requests and the like of strangers.
		ErrorLog: slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
	ln = l.conns.Bind(hs, ln)
	served := make(chan error, 1)
	go func() { served <- hs.Serve(ln) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
		served <- err
		err = fmt.Errorf("websocket %s: %w", ln.Addr(), err)
	}
	cancel()
	return errors.Join(err, l.end(context.WithoutCancel(ctx), hs, served, running))
}

// end waits for what is left within the time that a stop may take.
func (l *Listener) end(ctx context.Context, hs *http.Server, served <-chan error, running chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, l.drain)
	defer cancel()
	polite, done := context.WithTimeout(ctx, l.drain*9/10)
	defer done()
	l.conns.Forget(hs)
	if err := hs.Shutdown(polite); err != nil {
		_ = hs.Close() // the listener is closed already
	}
	<-served
	// Who has all the places knows that nobody else has one.
	for range cap(running) {
		select {
		case running <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("websocket: viewers still there %v after the stop", l.drain)
		}
	}
	return nil
}

// serve serves one client.
func (l *Listener) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if e, ok := p.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
			l.log.Error("websocket handler crashed", "panic", p, "stack", string(debug.Stack()))
		}
		panic(http.ErrAbortHandler) // net/http closes the connection
	}()
	if !auth.IsWebSocket(r) {
		refuse(w, &server.StatusError{Status: http.StatusUpgradeRequired, Err: socket.ErrNoWebSocket})
		return
	}
	wished, who, leave, err := l.admit(r)
	if err == nil {
		defer leave()
		defer wished.lease.Release()
		// Who may not see it any more does not.
		ctx, end := l.gate.Watch(r.Context(), who, auth.View, wished.camera.ID())
		defer end()
		r = r.WithContext(ctx)
	}
	conn, failed := accept(w, r)
	if failed != nil {
		return // it has answered
	}
	if err != nil {
		l.turnAway(conn, r, err)
		return
	}
	l.h.watch(conn, wished, r.RemoteAddr)
}

// admit asks for the permission, and takes a place and a lease.
func (l *Listener) admit(r *http.Request) (order, auth.Identity, func(), error) {
	if err := l.gate.CheckHost(r); err != nil {
		return order{}, auth.Identity{}, nil, err
	}
	q := r.URL.Query()
	id, who, err := l.camera(r, q)
	if err != nil {
		return order{}, who, nil, err
	}
	leave, err := l.h.enter()
	if err != nil {
		return order{}, who, nil, err
	}
	w, err := l.h.lease(id, q)
	if err != nil {
		leave()
		return order{}, who, nil, err
	}
	return w, who, leave, nil
}

// camera finds the camera that a request is about and that whoever makes it may
// see.
func (l *Listener) camera(r *http.Request, q url.Values) (string, auth.Identity, error) {
	id := strings.TrimPrefix(r.URL.Path, "/")
	if id == "" {
		id = q.Get("cam")
	}
	who, err := l.gate.Authorize(l.gate.Credentials(r), auth.View, id)
	if err != nil || id != "" {
		return id, who, err
	}
	if id = l.h.first(func(id string) bool { return who.May(auth.View, id) }); id == "" {
		return "", who, server.Errorf(http.StatusNotFound, "there is no camera yet: add one to the configuration")
	}
	return id, who, nil
}

// first returns the first camera that has a picture, or else the first one, of
// those that may be seen; empty if there is none.
func (h *Handler) first(may func(id string) bool) string {
	first := ""
	for _, s := range h.reg.List() {
		if !may(s.ID()) {
			continue
		}
		if first == "" {
			first = s.ID()
		}
		if i := s.Info(); i.State != stream.Disabled && !i.LastFrame.IsZero() && time.Since(i.LastFrame) <= activeWithin {
			return s.ID()
		}
	}
	return first
}

// turnAway tells a client why it gets nothing.
func (l *Listener) turnAway(conn *socket.Conn, r *http.Request, err error) {
	status, words := server.StatusOf(err)
	level := slog.LevelDebug
	if status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	l.log.Log(r.Context(), level, "websocket viewer turned away", "path", r.URL.Path, "remote", r.RemoteAddr, "error", err)
	code := websocket.StatusPolicyViolation
	if status >= http.StatusInternalServerError {
		code = websocket.StatusTryAgainLater
	}
	_ = conn.Complain(words) // if it does not arrive, nobody is there
	conn.End(code, words)
	conn.Close()
}

// refuse answers what is no WebSocket, as the API does.
func refuse(w http.ResponseWriter, err error) {
	status, words := server.StatusOf(err)
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": words}) // the client has gone
}
