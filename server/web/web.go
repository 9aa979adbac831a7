// Package web serves the pages: files of a frontend build, compressed once at
// build time, with headers that let a browser keep what never changes and ask
// again for what does. The pages hold no secrets and are for everybody; the
// data that they show is not, and comes from elsewhere.
package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

const index = "index.html"

// csp allows nothing but our own origin, and no script in the page itself.
const (
	csp     = cspRest + "; connect-src 'self' ws: wss:"
	cspRest = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; " +
		"frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
)

// cspPlain is for a page that came without encryption: the phone page tries
// whether the browser trusts the secure one, which is of another origin. There
// is nothing on such a page that somebody in between could not have put there.
const cspPlain = cspRest + "; connect-src 'self' ws: wss: https:"

// permissions are what the phone page needs from the browser; a page framed in
// ours gets none of it.
const permissions = "camera=(self), microphone=(self), geolocation=(self), accelerometer=(self), " +
	"gyroscope=(self), magnetometer=(self), screen-wake-lock=(self), fullscreen=(self), " +
	"picture-in-picture=(self), autoplay=(self), payment=(), usb=()"

// Options of the pages.
type Options struct {
	// Files are those of the build, index.html at the top; required. Beside a
	// file may lie the same one compressed, with ".br" or ".gz" added.
	Files fs.FS
	// FollowLink handles a page opened with a token in its query, and reports
	// whether it did (auth.Gate.FollowLink); nil: nothing does.
	FollowLink func(http.ResponseWriter, *http.Request) bool
}

// Handler serves the pages. It is for GET and HEAD of everything that is no
// other address of the server.
type Handler struct {
	opts  Options
	files map[string]*file
}

// file is one file in all its forms, best first; the plain one is last.
type file struct {
	contentType string
	forms       []form
}

type form struct {
	encoding string // "br", "gzip", "" for plain
	etag     string
	data     []byte
}

// New reads all files. The error says what is wrong with the build.
func New(o Options) (*Handler, error) {
	h := &Handler{opts: o, files: map[string]*file{}}
	if o.Files == nil {
		return nil, errors.New("web: no files")
	}
	err := fs.WalkDir(o.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		return h.load(name)
	})
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if h.files[index] == nil {
		return nil, fmt.Errorf("web: the pages have no %s: build them again", index)
	}
	return h, nil
}

func (h *Handler) load(name string) error {
	for _, ending := range []string{".br", ".gz"} {
		if plain, ok := strings.CutSuffix(name, ending); ok {
			if _, err := fs.Stat(h.opts.Files, plain); err == nil {
				return nil // comes with its plain form
			}
		}
	}
	f := &file{contentType: typeOf(name)}
	for _, e := range []struct{ ending, encoding string }{{".br", "br"}, {".gz", "gzip"}, {"", ""}} {
		data, err := fs.ReadFile(h.opts.Files, name+e.ending)
		if errors.Is(err, fs.ErrNotExist) && e.ending != "" {
			continue
		}
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		f.forms = append(f.forms, form{
			encoding: e.encoding, data: data,
			etag: strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:12])),
		})
	}
	h.files[name] = f
	return nil
}

// types are the kinds of file that a build has. The system's own table would
// differ from machine to machine.
var types = map[string]string{
	".html":        "text/html; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".mjs":         "text/javascript; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".json":        "application/json",
	".map":         "application/json",
	".webmanifest": "application/manifest+json",
	".svg":         "image/svg+xml",
	".png":         "image/png",
	".ico":         "image/x-icon",
	".webp":        "image/webp",
	".jpg":         "image/jpeg",
	".woff2":       "font/woff2",
	".wasm":        "application/wasm",
	".txt":         "text/plain; charset=utf-8",
	".mp3":         "audio/mpeg",
}

func typeOf(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if t := types[ext]; t != "" {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// ServeHTTP answers with the file of that name, or with the app for every other
// address that a browser opens: the app's own router knows them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	f := h.files[name]
	if f != nil && name != index {
		h.serve(w, r, name, f)
		return
	}
	if name != "" && name != index && !wantsPage(r) {
		http.Error(w, "404 not found", http.StatusNotFound)
		return
	}
	if h.opts.FollowLink != nil && h.opts.FollowLink(w, r) {
		return
	}
	h.serve(w, r, index, h.files[index])
}

// wantsPage reports whether a browser opens an address, as opposed to a program
// or a page looking for a file.
func wantsPage(r *http.Request) bool {
	for _, a := range r.Header.Values("Accept") {
		if strings.Contains(a, "text/html") {
			return true
		}
	}
	return false
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, name string, f *file) {
	hd := w.Header()
	best := choose(f.forms, r.Header.Values("Accept-Encoding"))
	hd.Set("Content-Type", f.contentType)
	hd.Set("ETag", best.etag)
	hd.Set("X-Content-Type-Options", "nosniff")
	hd.Set("Referrer-Policy", "no-referrer")
	if len(f.forms) > 1 {
		hd.Add("Vary", "Accept-Encoding")
	}
	if best.encoding != "" {
		hd.Set("Content-Encoding", best.encoding)
	}
	if strings.HasPrefix(name, "assets/") {
		// Their names hold a hash of their content.
		hd.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		hd.Set("Cache-Control", "no-cache")
	}
	if strings.HasPrefix(f.contentType, "text/html") || strings.HasPrefix(f.contentType, "image/svg") {
		if r.TLS == nil {
			hd.Set("Content-Security-Policy", cspPlain)
		} else {
			hd.Set("Content-Security-Policy", csp)
		}
		hd.Set("Permissions-Policy", permissions)
	}
	if best.encoding != "" {
		// A range of a compressed form helps nobody, and ServeContent gives no
		// length to encoded content.
		r.Header.Del("Range")
		hd.Set("Content-Length", strconv.Itoa(len(best.data)))
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(best.data))
}

// choose returns the best form that the client takes (RFC 9110 section 12.5.3).
func choose(forms []form, accept []string) form {
	q := map[string]bool{}
	for _, v := range accept {
		for _, item := range strings.Split(v, ",") {
			coding, params, _ := strings.Cut(item, ";")
			q[strings.ToLower(strings.TrimSpace(coding))] = !refused(params)
		}
	}
	for _, f := range forms {
		ok, named := q[f.encoding]
		if !named {
			ok = q["*"]
		}
		if ok && f.encoding != "" {
			return f
		}
	}
	return forms[len(forms)-1]
}

// refused reports a weight of zero.
func refused(params string) bool {
	for _, p := range strings.Split(params, ";") {
		k, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(k), "q") {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return err != nil || n <= 0
		}
	}
	return false
}
