package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
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
		creds := auth.FromRequest(c.Request)
		creds.Foreign = creds.Foreign && !s.opts.Gate.AllowedOrigin(c.Request.Header.Get("Origin"))
		id, err := s.opts.Gate.Authorize(creds, rt.Perm, camera)
		if err != nil {
			Fail(c, err)
			return
		}
		c.Set(identityKey, id)
		if b := c.Request.Body; b != nil && b != http.NoBody {
			c.Request.Body = http.MaxBytesReader(c.Writer, b, maxBody)
		}
		if rt.Stream {
			_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
		}
		c.Next()
	}
}

// whepRoutes are the addresses of WHEP: ours, and the form that Mainsail,
// Fluidd and the clients of other servers use.
func whepRoutes(h WHEP) []Route {
	if h == nil {
		return nil
	}
	offer := func(c *gin.Context) { h.Offer(c.Writer, c.Request, Camera(c)) }
	options := func(c *gin.Context) { h.Options(c.Writer, c.Request, Camera(c)) }
	patch := func(c *gin.Context) { h.Patch(c.Writer, c.Request, Camera(c), c.Param("session")) }
	remove := func(c *gin.Context) { h.Delete(c.Writer, c.Request, Camera(c), c.Param("session")) }
	var rs []Route
	for _, p := range []string{"/whep/:id", "/:id/whep"} {
		rs = append(rs,
			Route{Method: http.MethodPost, Path: p, Perm: auth.View, Handler: offer},
			Route{Method: http.MethodOptions, Path: p, Perm: auth.View, Handler: options},
			Route{Method: http.MethodPatch, Path: p + "/:session", Perm: auth.View, Handler: patch},
			Route{Method: http.MethodDelete, Path: p + "/:session", Perm: auth.View, Handler: remove})
	}
	return rs
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
