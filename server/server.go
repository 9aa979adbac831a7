// Package server is the HTTP end of Camwire: the life cycle of its listeners,
// the one way to register a route, the one place where errors become statuses,
// and the table of what is too much (Limits). What a route does lives in the packages beside it (server/api,
// server/mjpeg, …) and in signaling; who may use it is decided by server/auth.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// Limits of every connection.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	// bodyTimeout is how long a client may take to send a body.
	bodyTimeout = 30 * time.Second
	// writeTimeout is how long a client may take to read an answer that is
	// no stream.
	writeTimeout = 30 * time.Second
	// DefaultMaxBody bounds request bodies, in bytes, where a route says
	// nothing else.
	DefaultMaxBody = 1 << 20
	// DefaultDrain bounds a stop.
	DefaultDrain = 5 * time.Second
)

// Sessions answers offers over HTTP: of viewers (WHEP) or of publishers (WHIP).
type Sessions interface {
	Offer(w http.ResponseWriter, r *http.Request, camera string)
	Patch(w http.ResponseWriter, r *http.Request, camera, session string)
	Delete(w http.ResponseWriter, r *http.Request, camera, session string)
	Options(w http.ResponseWriter, r *http.Request, camera string)
	// Session answers what the resource of a session does not do.
	Session(w http.ResponseWriter, r *http.Request)
}

// Signal answers the offers of viewers over a WebSocket.
type Signal interface {
	Serve(w http.ResponseWriter, r *http.Request, camera string)
}

// Options of a Server.
type Options struct {
	// Gate decides who may do what; required.
	Gate *auth.Gate
	// Log gets refusals, failures and, at debug level, every request; default
	// none.
	Log *slog.Logger
	// App serves the pages: every GET that no route knows and that is not
	// below /api; nil: there are none.
	App http.Handler
	// WHEP, WHIP and Signal are the ends of signaling; nil: there is none.
	WHEP, WHIP Sessions
	Signal     Signal
	// Rewrite may give a request another path before it is routed, for
	// addresses that only differ in their query; nil: none.
	Rewrite func(*http.Request)
	// Drain is how long a stop may take in all; default 5 s.
	Drain time.Duration
	// Conns bounds the connections of all listeners; default NewConns(0, 0, …).
	Conns *Conns
	// MaxWebSockets bounds WebSockets in all, WebSocketsEach those of one
	// address; default 512 and 128.
	MaxWebSockets, WebSocketsEach int
	// Refusals counts what is refused by a limit; default a counter that
	// nobody reads.
	Refusals *Refusals
}

// Server is a handler with registered routes. It may serve several listeners.
type Server struct {
	opts    Options
	log     *slog.Logger
	engine  *gin.Engine
	sockets *quota

	mu       sync.Mutex
	routes   []Route
	declared map[string]auth.Permission // by method and path

	audited  sync.Once
	auditErr error
}

// quietGin keeps gin from printing to the standard output. The mode is the
// whole process's, gin has no other.
var quietGin = sync.OnceFunc(func() { gin.SetMode(gin.ReleaseMode) })

// New returns a server with the routes of signaling; Register adds the others.
func New(o Options) (*Server, error) {
	if o.Gate == nil {
		return nil, errors.New("server: no gate")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Drain <= 0 {
		o.Drain = DefaultDrain
	}
	if o.Refusals == nil {
		o.Refusals = NewRefusals()
	}
	if o.Conns == nil {
		o.Conns = NewConns(0, 0, o.Refusals)
	}
	if o.MaxWebSockets <= 0 {
		o.MaxWebSockets = DefaultMaxWebSockets
	}
	if o.WebSocketsEach <= 0 {
		o.WebSocketsEach = DefaultSocketsEach
	}
	quietGin()
	s := &Server{
		opts: o, log: o.Log, engine: gin.New(), declared: map[string]auth.Permission{},
		sockets: newQuota(o.MaxWebSockets, o.WebSocketsEach),
	}
	e := s.engine
	e.RedirectTrailingSlash = false
	// gin's own panics on a path that the trees of two methods both match in
	// part (its list of skipped nodes is left over from the first); noRoute
	// does it.
	e.HandleMethodNotAllowed = false
	e.ForwardedByClientIP = false
	// One middleware for all: also what no route knows is logged and cannot
	// bring down the server.
	e.Use(s.observe)
	e.NoRoute(s.noRoute)
	if err := s.Register(slices.Concat(whepRoutes(o.WHEP), whipRoutes(o.WHIP), signalRoutes(o.Signal))); err != nil {
		return nil, err
	}
	return s, nil
}

// ServeHTTP routes one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	rc := http.NewResponseController(w)
	// Not every writer can do this, and one that cannot has no connection.
	_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if r.Body != nil && r.Body != http.NoBody {
		_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
		r.Body = &timedBody{ReadCloser: r.Body, rc: rc}
	}
	if s.cors(w, r) {
		return
	}
	if s.opts.Rewrite != nil {
		s.opts.Rewrite(r)
	}
	s.engine.ServeHTTP(w, r)
}

// Run serves a listener until ctx is done, and closes it. It returns when all
// its handlers have, after at most Options.Drain: nil after a stop, else why
// it could not go on.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	if err := s.audit(); err != nil {
		return errors.Join(err, ln.Close())
	}
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	var handlers tally
	hs := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handlers.add(1)
			defer handlers.add(-1)
			s.ServeHTTP(w, r)
		}),
		// Endless responses end with this context; Shutdown alone would wait
		// for them.
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// Broken handshakes and the like of strangers.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ln = s.opts.Conns.Bind(hs, ln)
	served := make(chan error, 1)
	go func() { served <- hs.Serve(ln) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
		served <- err
		err = fmt.Errorf("http %s: %w", ln.Addr(), err)
	}
	cancel()
	return errors.Join(err, s.drain(context.WithoutCancel(ctx), hs, served, &handlers))
}

// drain ends what is left within the time that a stop may take.
func (s *Server) drain(ctx context.Context, hs *http.Server, served <-chan error, handlers *tally) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Drain)
	defer cancel()
	// A little earlier, so that there is time to close what does not end.
	polite, done := context.WithTimeout(ctx, s.opts.Drain*9/10)
	defer done()
	s.opts.Conns.Forget(hs)
	if err := hs.Shutdown(polite); err != nil {
		_ = hs.Close() // the listener is closed already
	}
	<-served
	if !handlers.wait(ctx) {
		return fmt.Errorf("http: requests still running %v after the stop", s.opts.Drain)
	}
	return nil
}

// noRoute answers what no route knows: an error below /api and for programs,
// the app for browsers.
func (s *Server) noRoute(c *gin.Context) {
	if err := s.opts.Gate.CheckHost(c.Request); err != nil {
		Fail(c, err)
		return
	}
	if allow := s.methods(c.Request.URL.Path); len(allow) > 0 {
		c.Header("Allow", strings.Join(allow, ", "))
		Fail(c, Errorf(http.StatusMethodNotAllowed, "%s is not possible here, only %s", c.Request.Method, strings.Join(allow, ", ")))
		return
	}
	get := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
	if p := c.Request.URL.Path; s.opts.App == nil || !get || p == "/api" || strings.HasPrefix(p, "/api/") {
		Fail(c, Errorf(http.StatusNotFound, "no such address: %s", p))
		return
	}
	c.Status(http.StatusOK) // gin begins with 404 here
	s.opts.App.ServeHTTP(c.Writer, c.Request)
}
