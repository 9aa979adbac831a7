package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// Route is one address and who may use it.
type Route struct {
	// Method and Path as gin writes them: "GET", "/api/camera/mjpeg/:id". A
	// GET answers HEAD as well.
	Method, Path string
	// Perm is what it takes; auth.Public for anybody. There is no default.
	Perm auth.Permission
	// Camera finds the camera that a request is about where it is not the
	// path's :id. It is asked once, before the permission is.
	Camera func(*gin.Context) string
	// MaxBody bounds the request body in bytes; default DefaultMaxBody.
	MaxBody int64
	// Stream marks an answer without end: it has no time limit.
	Stream bool
	// Handler does the work. It reports errors by Fail.
	Handler gin.HandlerFunc
}

// Keys of what the guard leaves in the context for the handler.
const (
	cameraKey   = "camwire.camera"
	identityKey = "camwire.identity"
)

// Camera returns the id of the camera that a request is about, as its route
// found it; it may be no valid id. Empty: it is about none.
func Camera(c *gin.Context) string { return c.GetString(cameraKey) }

// SetCamera says which camera a request is about where only its handler can
// find that out.
func SetCamera(c *gin.Context, id string) { c.Set(cameraKey, id) }

// Identity returns who makes the request.
func Identity(c *gin.Context) auth.Identity {
	v, _ := c.Get(identityKey)
	id, _ := v.(auth.Identity)
	return id
}

// Register adds routes, each behind its permission. It is the only way to add
// one, and refuses a route that does not say who may use it. Not to be called
// while the server runs.
func (s *Server) Register(routes []Route) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range routes {
		if err := s.register(r); err != nil {
			return fmt.Errorf("route %s %s: %w", r.Method, r.Path, err)
		}
	}
	return nil
}

func (s *Server) register(r Route) (err error) {
	switch {
	case !r.Perm.Valid():
		return fmt.Errorf("permission %q: say who may use it (auth.Public for anybody)", r.Perm)
	case r.Handler == nil:
		return errors.New("no handler")
	case !strings.HasPrefix(r.Path, "/"):
		return errors.New("the path has to begin with /")
	}
	// gin panics on a path that it cannot read or knows already.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	methods := []string{r.Method}
	if r.Method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	for _, m := range methods {
		s.engine.Handle(m, r.Path, s.guard(r), r.Handler)
		s.declared[m+" "+r.Path] = r.Perm
	}
	s.routes = append(s.routes, r)
	return nil
}

// Routes returns all registered routes.
func (s *Server) Routes() []Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.routes)
}

// methods lists the methods that a path has routes for.
func (s *Server) methods(path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []string
	for _, r := range s.routes {
		if matches(r.Path, path) && !slices.Contains(l, r.Method) {
			l = append(l, r.Method)
		}
	}
	if slices.Contains(l, http.MethodGet) {
		l = append(l, http.MethodHead)
	}
	slices.Sort(l)
	return l
}

// matches reports whether a path is of a pattern as gin writes them.
func matches(pattern, path string) bool {
	for {
		p, restPattern, moreP := strings.Cut(pattern, "/")
		q, restPath, moreQ := strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(p, "*"):
			return true
		case p != q && (!strings.HasPrefix(p, ":") || q == ""), moreP != moreQ:
			return false
		case !moreP:
			return true
		}
		pattern, path = restPattern, restPath
	}
}

// audit finds routes that came into the engine without saying who may use them.
// It looks once: gin changes its tables with the first request, which another
// listener may be serving already.
func (s *Server) audit() error {
	s.audited.Do(func() { s.auditErr = s.findUndeclared() })
	return s.auditErr
}

func (s *Server) findUndeclared() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.engine.Routes() {
		if !s.declared[r.Method+" "+r.Path].Valid() {
			return fmt.Errorf("route %s %s has no permission: add it by Register", r.Method, r.Path)
		}
	}
	return nil
}

// guard stands before every route's handler.
func (s *Server) guard(rt Route) gin.HandlerFunc {
	maxBody := rt.MaxBody
	if maxBody <= 0 {
		maxBody = DefaultMaxBody
	}
	find := rt.Camera
	if find == nil {
		find = func(c *gin.Context) string { return c.Param("id") }
	}
	return func(c *gin.Context) {
		if err := s.opts.Gate.CheckHost(c.Request); err != nil {
			Fail(c, err)
			return
		}
		camera := find(c)
		c.Set(cameraKey, camera)
		creds := s.opts.Gate.Credentials(c.Request)
		id, err := s.opts.Gate.AuthorizeContext(c.Request.Context(), creds, rt.Perm, camera)
		if err != nil {
			Fail(c, err)
			return
		}
		c.Set(identityKey, id)
		if k := s.opts.Gate.Renew(c.Request, id); k != nil {
			http.SetCookie(c.Writer, k)
		}
		done := s.bind(c, rt, id, camera)
		defer done()
		if b := c.Request.Body; b != nil && b != http.NoBody {
			c.Request.Body = http.MaxBytesReader(c.Writer, b, maxBody)
		}
		if auth.IsWebSocket(c.Request) {
			leave, err := s.enterSocket(c.Request)
			if err != nil {
				Fail(c, err)
				return
			}
			defer leave()
		}
		if rt.Stream {
			_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
		}
		c.Next()
	}
}

// partingGrace is how long the handler of a WebSocket may take to say goodbye
// when whoever opened it may no longer have it.
const partingGrace = 2 * time.Second

// bind makes an answer without end, and a WebSocket, last no longer than the
// permission of whoever asked for it: the request's context ends with it. All
// requests know who makes them, for what begins with them and outlives them
// (auth.Lifetime). The caller calls done when the handler has returned.
func (s *Server) bind(c *gin.Context, rt Route, id auth.Identity, camera string) (done func()) {
	gate := s.opts.Gate
	ctx := gate.WithIdentity(c.Request.Context(), id, rt.Perm, camera)
	socket := auth.IsWebSocket(c.Request)
	if !rt.Stream && !socket {
		c.Request = c.Request.WithContext(ctx)
		return func() {}
	}
	ctx, end := gate.Watch(ctx, id, rt.Perm, camera)
	c.Request = c.Request.WithContext(ctx)
	conn := Conn(ctx)
	if !socket || conn == nil || c.Request.ProtoMajor != 1 {
		return end
	}
	// A handler that looks at its connection only learns of it in this way.
	var mu sync.Mutex
	var late *time.Timer
	over := false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over && errors.Is(context.Cause(ctx), auth.ErrEnded) {
			late = time.AfterFunc(partingGrace, func() { _ = conn.Close() })
		}
	})
	return func() {
		stop()
		mu.Lock()
		over = true
		if late != nil {
			late.Stop()
		}
		mu.Unlock()
		end()
	}
}

// whepRoutes are the addresses of WHEP: ours, and the form that Mainsail,
// Fluidd and the clients of other servers use.
func whepRoutes(h Sessions) []Route {
	if h == nil {
		return nil
	}
	return slices.Concat(sessionRoutes(h, "/whep/:id", auth.View), sessionRoutes(h, "/:id/whep", auth.View))
}

// whipRoutes are those of RFC 9725. What it reserves is refused, rather than
// answered with a page.
func whipRoutes(h Sessions) []Route {
	if h == nil {
		return nil
	}
	rs := sessionRoutes(h, "/whip/:id", auth.Publish)
	for _, m := range []string{http.MethodGet, http.MethodPut} { // GET is HEAD as well
		rs = append(rs,
			Route{Method: m, Path: "/whip/:id", Perm: auth.Publish,
				Handler: func(c *gin.Context) { h.Offer(c.Writer, c.Request, Camera(c)) }},
			Route{Method: m, Path: "/whip/:id/:session", Perm: auth.Publish,
				Handler: func(c *gin.Context) { h.Session(c.Writer, c.Request) }})
	}
	return rs
}

func sessionRoutes(h Sessions, path string, p auth.Permission) []Route {
	return []Route{
		{Method: http.MethodPost, Path: path, Perm: p, Handler: func(c *gin.Context) { h.Offer(c.Writer, c.Request, Camera(c)) }},
		{Method: http.MethodOptions, Path: path, Perm: p, Handler: func(c *gin.Context) { h.Options(c.Writer, c.Request, Camera(c)) }},
		{Method: http.MethodPatch, Path: path + "/:session", Perm: p,
			Handler: func(c *gin.Context) { h.Patch(c.Writer, c.Request, Camera(c), c.Param("session")) }},
		{Method: http.MethodDelete, Path: path + "/:session", Perm: p,
			Handler: func(c *gin.Context) { h.Delete(c.Writer, c.Request, Camera(c), c.Param("session")) }},
	}
}

func signalRoutes(h Signal) []Route {
	if h == nil {
		return nil
	}
	return []Route{{
		Method: http.MethodGet, Path: "/api/signal/:id", Perm: auth.View, Stream: true,
		Handler: func(c *gin.Context) { h.Serve(c.Writer, c.Request, Camera(c)) },
	}}
}
