// Package mjpeg takes in a camera by HTTP: an endless multipart answer
// (multipart/x-mixed-replace, which browsers show in an img element), or a
// still picture that is fetched again and again. Which of the two it is tells
// the camera's answer.
//
// It neither retries nor decides when to run (package stream does), decodes
// nothing, and serves nobody: the other direction is package server/mjpeg.
package mjpeg

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/mjpeg/jpegstream"
	"camwire/media/pin"
)

// Limits of a picture: what a viewer's decoder can be asked to take.
const (
	maxSide   = 16384
	maxPixels = 64 << 20
)

// Options of a Source.
type Options struct {
	// URL is http://[user:password@]host[:port]/path?query, or https://.
	URL string
	// FPS is how many still pictures are fetched per second, above 0 to 60;
	// default 5. A multipart answer comes at the camera's own pace.
	FPS float64
	// Fingerprint is the SHA-256 of the camera's certificate, or of the
	// authority that signed it, for those that the system does not trust: most
	// cameras make their own. TLS 1.0, which is all that some old ones speak,
	// is accepted with it.
	Fingerprint string
	// Timeout is how long nothing at all may come, neither an answer nor a
	// byte of a picture, before the camera counts as dead; default 10 s. As
	// long as only headers and broken pictures come, three times that. For
	// a stream whose parts have an X-Timestamp it is at least 20 s: Camwire
	// itself is silent for up to 15 s when its source has nothing new.
	Timeout time.Duration
	// MaxPicture is the size of the largest picture in bytes; default 5 MiB.
	MaxPicture int
	// Dial makes the connections, also those after a redirect; default is to
	// dial any address. Whoever takes URLs from strangers refuses here what
	// they must not reach.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log; default none.
	Log *slog.Logger
}

// Stats counts what a Source did since it was made.
type Stats struct {
	Pictures uint64 // passed on
	Broken   uint64 // cut off, or no pictures at all
	Huge     uint64 // above 16384 pixels per side or 64 Mpixel
}

// Source pulls one camera. It is a media.Source; Run may be called again when
// it has returned.
type Source struct {
	opts     Options
	url      *url.URL // without user and password
	user     *url.Userinfo
	host     string
	interval time.Duration
	tls      *tls.Config

	pictures, broken, huge atomic.Uint64
}

var _ media.Source = (*Source)(nil)

// New checks the options. The error wraps ErrURL where it is the URL that is
// bad, and does not hold any part of it.
func New(o Options) (*Source, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: in user and password write %%40 for @, %%2F for /, %%23 for # and %%25 for %%", ErrURL)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%w: it must begin with http:// or https://", ErrURL)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%w: the host is missing", ErrURL)
	}
	conf, err := pin.Config(o.Fingerprint)
	if err != nil {
		return nil, err
	}
	if o.Fingerprint != "" {
		conf.MinVersion = tls.VersionTLS10
	}
	if o.FPS < 0 || o.FPS > 60 {
		return nil, fmt.Errorf("fps %v: must be above 0 and at most 60", o.FPS)
	}
	if o.FPS == 0 {
		o.FPS = 5
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxPicture <= 0 {
		o.MaxPicture = jpegstream.DefaultMax
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Source{opts: o, tls: conf, user: u.User, host: hostPort(u), interval: time.Duration(float64(time.Second) / o.FPS)}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	s.url = u
	return s, nil
}

// hostPort is how errors and logs name the far end.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// Stats returns the counters. It may be called from any goroutine.
func (s *Source) Stats() Stats {
	return Stats{Pictures: s.pictures.Load(), Broken: s.broken.Load(), Huge: s.huge.Load()}
}

// Run delivers pictures until ctx is done, which returns nil, or the camera
// fails, which returns an *Error.
func (s *Source) Run(ctx context.Context, sink media.Sink) error {
	transport := &http.Transport{
		DialContext:            s.opts.Dial,
		TLSClientConfig:        s.tls,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         32 << 10,
		// Cameras speak HTTP/1; an empty map keeps HTTP/2 out.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	defer transport.CloseIdleConnections()
	r := &run{Source: s, transport: transport, sink: sink, begun: time.Now()}
	r.lastGood = r.begun
	if s.user != nil {
		r.creds.given, r.creds.user = true, s.user.Username()
		r.creds.password, _ = s.user.Password()
	}
	err := r.pull(ctx)
	s.opts.Log.Debug("HTTP camera ended", "host", s.host, "stats", s.Stats())
	if ctx.Err() != nil {
		return nil
	}
	return explain(s.host, err)
}

// run is one connection, or the series of requests for stills.
type run struct {
	*Source
	transport *http.Transport
	creds     credentials
	sink      media.Sink
	begun     time.Time
	started   bool      // the sink knows the track
	lastGood  time.Time // the last picture
	trouble   string    // what was wrong with the last one that was dropped
	fps       float64   // nominal, of stills
}

// pull asks the camera and goes on as its answer says.
func (r *run) pull(ctx context.Context) error {
	next := time.Now()
	for {
		if err := r.request(ctx); err != nil {
			return err
		}
		// The pace has no drift; what a slow camera missed is not made up for.
		next = next.Add(r.interval)
		if now := time.Now(); next.Before(now) {
			next = next.Add(now.Sub(next).Truncate(r.interval) + r.interval)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// request is one GET and all that comes of it. Without an error that was one
// still picture.
func (r *run) request(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := newWatchdog(r, cancel)
	defer dog.stop()
	err := r.answer(ctx, dog)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *run) answer(ctx context.Context, dog *watchdog) error {
	resp, err := r.fetch(ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dog.body = resp.Body
	dog.alive()
	typ, boundary := contentType(resp.Header.Get("Content-Type"))
	switch typ {
	case "multipart/x-mixed-replace", "multipart/mixed", "multipart/related",
		"video/x-motion-jpeg", "video/x-mjpeg", "video/mjpeg":
		return r.stream(dog, boundary)
	case "image/jpeg", "image/jpg", "image/pjpeg":
		return r.still(dog, resp.ContentLength)
	case "":
		return fmt.Errorf("%w: it answered without a Content-Type, so nobody knows what that is", ErrNoPictures)
	}
	return fmt.Errorf("%w: it answered with %.80q where pictures are multipart/x-mixed-replace or image/jpeg: is that the path of its video?",
		ErrNoPictures, brief(typ))
}

// contentType takes a Content-Type apart. It is more patient than package mime:
// many cameras write boundaries that would have to be quoted.
func contentType(s string) (typ, boundary string) {
	typ, rest, _ := strings.Cut(s, ";")
	typ = strings.ToLower(strings.TrimSpace(typ))
	for rest != "" {
		var param string
		if i := quotedEnd(rest); i >= 0 {
			param, rest = rest[:i], rest[i:]
			rest = rest[min(len(rest), strings.IndexByte(rest+";", ';')+1):]
		} else {
			param, rest, _ = strings.Cut(rest, ";")
		}
		key, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(key), "boundary") {
			value = strings.TrimSpace(value)
			if len(value) > 1 && value[0] == '"' {
				value = strings.TrimSuffix(value[1:], `"`)
			}
			return typ, value
		}
	}
	return typ, ""
}

// quotedEnd returns where the first parameter of s ends if it is key="value".
func quotedEnd(s string) int {
	i := strings.IndexByte(s, '"')
	if i < 0 || strings.IndexByte(s, ';') >= 0 && strings.IndexByte(s, ';') < i {
		return -1
	}
	j := strings.IndexByte(s[i+1:], '"')
	if j < 0 {
		return -1
	}
	return i + 1 + j + 1
}

// stream passes on the pictures of a multipart answer until that ends, which is
// always an error.
func (r *run) stream(dog *watchdog, boundary string) error {
	pictures := jpegstream.New(dog, boundary, r.opts.MaxPicture)
	var dropped uint64
	for {
		p, err := pictures.Next()
		if d := pictures.Dropped(); d != dropped {
			r.broken.Add(d - dropped)
			r.trouble, dropped = "they are cut off or broken", d
		}
		if errors.Is(err, io.EOF) && !r.started {
			return &Error{Host: r.host, Reason: ErrClosed, Text: "ended its stream before the first picture", Cause: err}
		}
		if err != nil {
			return err
		}
		if !p.Timestamp.IsZero() {
			dog.bePatient()
		}
		r.deliver(p)
	}
}

// still passes on the one picture of an answer.
func (r *run) still(dog *watchdog, length int64) error {
	if length > int64(r.opts.MaxPicture) {
		return fmt.Errorf("%w: %d bytes announced, at most %d are taken", ErrTooLarge, length, r.opts.MaxPicture)
	}
	b, err := io.ReadAll(io.LimitReader(dog, int64(r.opts.MaxPicture)+1))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // shorter than announced: the picture itself tells
	}
	switch {
	case err != nil:
		return err
	case len(b) > r.opts.MaxPicture:
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, r.opts.MaxPicture)
	case !codec.JPEGComplete(b):
		r.broken.Add(1)
		r.trouble = "they are cut off or broken"
		return dog.fruitful()
	}
	r.fps = r.opts.FPS
	r.deliver(jpegstream.Picture{Data: b})
	return dog.fruitful()
}

// deliver checks a picture and passes it on.
func (r *run) deliver(p jpegstream.Picture) {
	now := time.Now()
	w, h, err := codec.JPEGSize(p.Data)
	switch {
	case err != nil:
		r.broken.Add(1)
		r.trouble = brief(err.Error())
		return
	case w > maxSide || h > maxSide || w*h > maxPixels:
		r.huge.Add(1)
		r.trouble = fmt.Sprintf("they are %dx%d, at most %d per side and %d Mpixel are taken", w, h, maxSide, maxPixels>>20)
		return
	}
	if !r.started {
		r.started = true
		r.sink.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000, Width: w, Height: h, FPS: r.fps}})
	}
	r.lastGood = now
	r.pictures.Add(1)
	r.sink.Write(&media.Frame{
		PTS:      now.Sub(r.begun),
		Captured: captured(now, p.Timestamp),
		Arrived:  now,
		Key:      true,
		Units:    [][]byte{p.Data},
	})
}

// maxAge is the age of a picture up to which its own time stamp is believed.
const maxAge = 10 * time.Second

// captured turns a camera's time stamp into ours, where the two clocks can be
// the same; the zero time where they cannot. It keeps the monotonic reading.
func captured(now, stamp time.Time) time.Time {
	if stamp.IsZero() {
		return time.Time{}
	}
	age := now.Round(0).Sub(stamp)
	if age < 0 || age > maxAge {
		return time.Time{}
	}
	return now.Add(-age)
}
