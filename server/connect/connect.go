// Package connect brings a phone to this server: the certificate authority
// that it is to trust, the addresses under which it finds the secure pages, and
// a link with a short-lived token as a QR code. What the phone does then, and
// how a link becomes a session, is not this package's business; nor does it
// make certificates or tokens itself.
package connect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// Life of the token in a link, in minutes.
const (
	DefaultMinutes = 60
	MaxMinutes     = 24 * 60
)

// anyPhone is what a link without a camera may publish: the ids that the phone
// page makes up, and no camera that somebody has named.
const anyPhone = "mobile_*"

// maxBody bounds the request for a link in bytes.
const maxBody = 4 << 10

// Addresses of what a phone installs.
const (
	pathCRT     = "/api/ca.crt"
	pathProfile = "/api/ca.mobileconfig"
)

// page is where a phone becomes a camera.
const page = "/m"

// CA is what phones are given of a certificate authority.
type CA interface {
	// DER and PEM are its certificate without its key.
	DER() []byte
	PEM() []byte
	// MobileConfig is a configuration profile for iOS, iPadOS and macOS.
	MobileConfig() []byte
	// Fingerprint is the SHA-256 of DER, to be compared by eye: "AB:CD:…".
	Fingerprint() string
}

// Reach is where this server can be found.
type Reach struct {
	// Hosts are the machine's names and addresses without port, best first;
	// see Hosts.
	Hosts []string
	// HTTPS and HTTP are the addresses that the listeners have, as net.Addr
	// writes them: "[::]:8443"; "" where there is none.
	HTTPS, HTTP string
}

// Options of a Handler.
type Options struct {
	// Reach tells where the server can be found now; required.
	Reach func() Reach
	// CA is the authority that phones are to trust. It answers nil, not a nil
	// pointer in the interface, with certificates that phones trust already;
	// nil: there never is one.
	CA func() CA
	// Issue makes a token with these rights that ends after ttl; required.
	// Name says to people what it is for. A camera that ends in "*" stands for
	// all that begin like it.
	Issue func(name string, perms []auth.Permission, cameras []string, ttl time.Duration) (token string, expires time.Time, err error)
	// Log gets who made a link; default none.
	Log *slog.Logger
}

// Handler answers phones, and those who bring them.
type Handler struct {
	o   Options
	log *slog.Logger
}

// New returns a handler.
func New(o Options) *Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CA == nil {
		o.CA = func() CA { return nil }
	}
	return &Handler{o: o, log: o.Log}
}

// Routes returns the addresses of the handler. The certificate and the way to
// the secure pages are for everybody: a phone asks for them before it can sign
// in, and the TLS listener shows both to whoever connects.
func (h *Handler) Routes() []server.Route {
	return []server.Route{
		{Method: http.MethodGet, Path: pathCRT, Perm: auth.Public, Handler: h.certificate},
		{Method: http.MethodGet, Path: pathProfile, Perm: auth.Public, Handler: h.profile},
		{Method: http.MethodGet, Path: "/api/connect/secure", Perm: auth.Public, Handler: h.secure},
		{Method: http.MethodGet, Path: "/api/connect", Perm: auth.Admin, Handler: h.describe},
		{Method: http.MethodPost, Path: "/api/connect", Perm: auth.Admin, MaxBody: maxBody, Handler: h.link},
	}
}

var errNoCA = server.Errorf(http.StatusNotFound,
	"this server has no certificate authority of its own: its certificate comes from elsewhere, or https.address is empty; there is nothing to install")

func (h *Handler) certificate(c *gin.Context) {
	ca := h.o.CA()
	if ca == nil {
		server.Fail(c, errNoCA)
		return
	}
	switch format := c.Query("format"); format {
	case "", "der":
		// Android and Windows know what this is for by its type.
		give(c, "application/x-x509-ca-cert", "camwire-ca.crt", ca.DER())
	case "pem":
		give(c, "application/x-pem-file", "camwire-ca.pem", ca.PEM())
	default:
		server.Fail(c, server.Errorf(http.StatusBadRequest, "format %q: use der or pem", format))
	}
}

func (h *Handler) profile(c *gin.Context) {
	ca := h.o.CA()
	if ca == nil {
		server.Fail(c, errNoCA)
		return
	}
	give(c, "application/x-apple-aspen-config", "camwire.mobileconfig", ca.MobileConfig())
}

func give(c *gin.Context, contentType, name string, b []byte) {
	c.Header("Content-Disposition", `attachment; filename="`+name+`"`)
	// Another authority may come, and with it another file.
	c.Header("Cache-Control", "no-store")
	c.Data(http.StatusOK, contentType, b)
}

// authority is what the pages say of one.
type authority struct {
	Fingerprint  string `json:"fingerprint"`
	CRT          string `json:"crt"`
	MobileConfig string `json:"mobileconfig"`
}

// authority is nil where the phone has nothing to install: there is none, or a
// proxy before this server shows another certificate anyway.
func (h *Handler) authority(r *http.Request) *authority {
	ca := h.o.CA()
	if ca == nil || proxied(r) {
		return nil
	}
	return &authority{Fingerprint: ca.Fingerprint(), CRT: pathCRT, MobileConfig: pathProfile}
}

// secure tells a page that was opened by plain HTTP where it is secure, under
// the host that has just been found to lead here.
func (h *Handler) secure(c *gin.Context) {
	var url *string
	if u := own(c.Request, h.o.Reach()); u != "" {
		url = &u
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"url": url, "ca": h.authority(c.Request)})
}

func (h *Handler) describe(c *gin.Context) {
	urls := bases(c.Request, h.o.Reach(), true)
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"https": len(urls) > 0, "urls": urls, "ca": h.authority(c.Request)})
}

// request asks for a link.
type request struct {
	Camera  string `json:"camera"`
	Minutes *int   `json:"minutes"`
}

var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (q *request) read(r io.Reader) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	err := d.Decode(q)
	if errors.Is(err, io.EOF) {
		return nil // no body: all defaults
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return server.Errorf(http.StatusBadRequest, `send {"camera": "id", "minutes": 60} as JSON, both may be missing: %w`, err)
	}
	if q.Camera != "" && !validID.MatchString(q.Camera) {
		return server.Errorf(http.StatusBadRequest, "camera %q: 1 to 64 letters, digits, _ and -", q.Camera)
	}
	if q.Minutes != nil && (*q.Minutes < 1 || *q.Minutes > MaxMinutes) {
		return server.Errorf(http.StatusBadRequest, "minutes %d: 1 to %d", *q.Minutes, MaxMinutes)
	}
	return nil
}

// link makes a token that may publish and nothing else, and the ways to take it
// to a phone.
func (h *Handler) link(c *gin.Context) {
	var q request
	if err := q.read(c.Request.Body); err != nil {
		server.Fail(c, err)
		return
	}
	reach := h.o.Reach()
	secure := bases(c.Request, reach, true)
	if len(secure) == 0 {
		server.Fail(c, server.Errorf(http.StatusConflict, "a browser gives its camera to secure pages only, and HTTPS is off: set https.address, or put a proxy with TLS before this server"))
		return
	}
	minutes, cameras, name := DefaultMinutes, []string{anyPhone}, "phone"
	if q.Minutes != nil {
		minutes = *q.Minutes
	}
	if q.Camera != "" {
		cameras, name = []string{q.Camera}, "phone "+q.Camera
	}
	token, expires, err := h.o.Issue(name, []auth.Permission{auth.Publish}, cameras, time.Duration(minutes)*time.Minute)
	if err != nil {
		server.Fail(c, fmt.Errorf("token for a phone: %w", err))
		return
	}
	urls := make([]string, len(secure))
	for i, base := range secure {
		urls[i] = base + page + "?token=" + escape(token)
	}
	code := scan(secure, bases(c.Request, reach, false), h.authority(c.Request) != nil, token)
	qr, err := SVG(code)
	if err != nil {
		server.Fail(c, err)
		return
	}
	h.log.Info("link for a phone made", "by", server.Identity(c).Name, "cameras", cameras, "expires", expires)
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusCreated, gin.H{
		"url": urls[0], "urls": urls, "scan": code, "token": token,
		"expires": expires.UTC().Format(time.RFC3339), "qr": qr,
	})
}
