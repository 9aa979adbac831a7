// Package openapi serves the description of the HTTP surface, and a page to read
// it. The description is written by hand, one file for each kind of address, and
// held to the code by tests: of the routes where all of them are wired, and of
// real answers. What an address does belongs into the package that has it.
package openapi

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
	"github.com/goccy/go-yaml"
)

//go:embed spec/*.yaml
var spec embed.FS

//go:embed page/*
var page embed.FS

// Handler serves the document and the page.
type Handler struct {
	build func() (*document, error)
}

// document is what is served.
type document struct{ yaml, json []byte }

// New returns a handler. The document is put together when it is first asked
// for.
func New() *Handler {
	return &Handler{build: sync.OnceValues(func() (*document, error) {
		all, err := Document()
		if err != nil {
			return nil, err
		}
		var d document
		if d.yaml, err = yaml.Marshal(all); err != nil {
			return nil, fmt.Errorf("openapi: %w", err)
		}
		if d.json, err = json.Marshal(plain(all)); err != nil {
			return nil, fmt.Errorf("openapi: %w", err)
		}
		return &d, nil
	})}
}

// Document puts the files together: their paths and components, in order. An
// address or component that two of them have is an error.
func Document() (yaml.MapSlice, error) {
	names, err := fs.Glob(spec, "spec/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	var doc yaml.MapSlice
	for _, name := range names { // sorted
		b, err := spec.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("openapi: %w", err)
		}
		var part yaml.MapSlice
		if err := yaml.UnmarshalWithOptions(b, &part, yaml.UseOrderedMap()); err != nil {
			return nil, fmt.Errorf("openapi: %s: %w", name, err)
		}
		if doc, err = merge(doc, part, 0); err != nil {
			return nil, fmt.Errorf("openapi: %s: %w", name, err)
		}
	}
	return doc, nil
}

// mergeDepth is how deep two files may share a key: components, and a kind of
// components.
const mergeDepth = 2

func merge(into, from yaml.MapSlice, depth int) (yaml.MapSlice, error) {
next:
	for _, item := range from {
		for i := range into {
			if into[i].Key != item.Key {
				continue
			}
			a, okA := into[i].Value.(yaml.MapSlice)
			b, okB := item.Value.(yaml.MapSlice)
			if !okA || !okB || depth >= mergeDepth || depth == 1 && !componentKind(item.Key) {
				return nil, fmt.Errorf("%v is there already", item.Key)
			}
			m, err := merge(a, b, depth+1)
			if err != nil {
				return nil, err
			}
			into[i].Value = m
			continue next
		}
		into = append(into, item)
	}
	return into, nil
}

// componentKind tells the names below components from paths.
func componentKind(key any) bool {
	s, ok := key.(string)
	return ok && !strings.HasPrefix(s, "/")
}

// plain turns ordered maps into ones that encoding/json writes.
func plain(v any) any {
	switch v := v.(type) {
	case yaml.MapSlice:
		m := make(map[string]any, len(v))
		for _, item := range v {
			m[fmt.Sprint(item.Key)] = plain(item.Value)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = plain(x)
		}
		return l
	}
	return v
}

// Routes returns the addresses of the document and of the page.
func (h *Handler) Routes() []server.Route {
	return []server.Route{
		{Method: http.MethodGet, Path: "/api/openapi.yaml", Perm: auth.Public, Handler: func(c *gin.Context) {
			d, err := h.build()
			if err != nil {
				server.Fail(c, err)
				return
			}
			give(c, "application/yaml", d.yaml)
		}},
		{Method: http.MethodGet, Path: "/api/openapi.json", Perm: auth.Public, Handler: func(c *gin.Context) {
			d, err := h.build()
			if err != nil {
				server.Fail(c, err)
				return
			}
			give(c, "application/json", d.json)
		}},
		{Method: http.MethodGet, Path: "/api/docs", Perm: auth.Public, Handler: func(c *gin.Context) {
			c.Redirect(http.StatusFound, "docs/")
		}},
		{Method: http.MethodGet, Path: "/api/docs/*file", Perm: auth.Public, Handler: servePage},
	}
}

func give(c *gin.Context, typ string, b []byte) {
	c.Header("Cache-Control", "no-cache")
	c.Data(http.StatusOK, typ, b)
}

// csp lets the page use its own two files and talk to this server, no more.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func servePage(c *gin.Context) {
	name := strings.TrimPrefix(path.Clean(c.Param("file")), "/")
	if name == "" {
		name = "index.html"
	}
	b, err := page.ReadFile("page/" + name)
	if err != nil {
		server.Fail(c, server.Errorf(http.StatusNotFound, "no such address: %s", c.Request.URL.Path))
		return
	}
	c.Header("Content-Security-Policy", csp)
	give(c, typeOf(name), b)
}

// typeOf does not ask the system, whose table may be wrong.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	}
	return "text/html; charset=utf-8"
}
