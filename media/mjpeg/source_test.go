package mjpeg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"camwire/media"
)

func TestNew(t *testing.T) {
	for in, ok := range map[string]bool{
		"http://cam/video": true, "https://u:p@cam:444/x?y=z": true, "http://[fe80::1]/": true,
		"ftp://cam/": false, "http:///x": false, "http://u:hunter2@cam:x/": false, "rtsp://cam": false, "": false, "http://a b/": false,
	} {
		_, err := New(Options{URL: in})
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", in, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %q tells the password", err)
		}
	}
	if _, err := New(Options{URL: "http://cam/", FPS: 61}); err == nil {
		t.Error("61 fps are too many")
	}
}

func TestContentType(t *testing.T) {
	for in, want := range map[string][2]string{
		`multipart/x-mixed-replace;boundary=b`:                 {"multipart/x-mixed-replace", "b"},
		`Multipart/X-Mixed-Replace; Boundary="a;b c"; x=1`:     {"multipart/x-mixed-replace", "a;b c"},
		`multipart/x-mixed-replace; x="1;2"; boundary=--b@c:1`: {"multipart/x-mixed-replace", "--b@c:1"},
		`multipart/x-mixed-replace; boundary= --b `:            {"multipart/x-mixed-replace", "--b"},
		`multipart/x-mixed-replace`:                            {"multipart/x-mixed-replace", ""},
		`image/jpeg;`:                                          {"image/jpeg", ""},
		`x;boundary="open`:                                     {"x", "open"},
		``:                                                     {"", ""},
	} {
		if typ, b := contentType(in); typ != want[0] || b != want[1] {
			t.Errorf("%q: %q, %q", in, typ, b)
		}
	}
}

// TestOddCameras goes through a server what jpegstream tests by itself.
func TestOddCameras(t *testing.T) {
	a, b := picture(t, 1), picture(t, 2)
	for name, c := range map[string]struct {
		typ  string
		each func(p []byte) string
		// raw writes the answer itself, status line included
		raw string
	}{
		"proper":    {typ: `multipart/x-mixed-replace; boundary="b"`, each: proper},
		"dashes":    {typ: `multipart/x-mixed-replace;boundary=--b`, each: proper},
		"no length": {typ: `multipart/x-mixed-replace;boundary=b`, each: func(p []byte) string { return "--b\r\nContent-Type: image/jpeg\r\n\r\n" + string(p) + "\r\n" }},
		"old": {raw: "HTTP/1.0 200 OK\nContent-type: multipart/x-mixed-replace; boundary=foo:bar@1\n\n",
			each: func(p []byte) string { return "--foo:bar@1\nContent-type: image/jpeg\n\n" + string(p) + "\n" }},
		"length of the whole": {raw: "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\nContent-Length: 99999999\r\n\r\n", each: proper},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				var out io.Writer = w
				flush := w.(http.Flusher).Flush
				if c.raw != "" {
					conn, rw, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					out, flush = rw, func() { _ = rw.Flush() }
					_, _ = io.WriteString(out, c.raw)
				}
				w.Header().Set("Content-Type", c.typ)
				_, _ = io.WriteString(out, c.each(a)+c.each(b))
				flush()
				if c.raw == "" {
					<-r.Context().Done()
				} else {
					_, _ = io.Copy(io.Discard, r.Body)
				}
			})
			k, s, err := pull(t, Options{URL: url}, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(k.frames) != 2 || !bytes.Equal(k.frames[0].Units[0], a) || !bytes.Equal(k.frames[1].Units[0], b) {
				t.Errorf("%d frames, or others than were sent", len(k.frames))
			}
			want := media.Tracks{{Codec: media.JPEG, ClockRate: 90000, Width: 64, Height: 48}}
			if k.starts != 1 || !k.tracks.Equal(want) || k.tracks[0].Width != 64 || k.tracks[0].Height != 48 {
				t.Errorf("%d starts, %+v", k.starts, k.tracks)
			}
			if s.Stats().Pictures != 2 {
				t.Errorf("%+v", s.Stats())
			}
		})
	}
}

func proper(p []byte) string {
	return fmt.Sprintf("--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(p), p)
}

func multipart(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
		_, _ = io.WriteString(w, body)
		w.(http.Flusher).Flush()
	}
}

func hang(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		multipart(body)(w, r)
		<-r.Context().Done()
	}
}

func answer(code int, typ, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", typ)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestTrouble(t *testing.T) {
	a := picture(t, 1)
	// Short enough to wait for, and long enough that a server on a busy machine
	// that does send is not taken for a silent one.
	const fair = 2 * time.Second
	drip := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			multipart("--b\r\n")(w, r)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, s)
				w.(http.Flusher).Flush()
			}
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		reason  error
		says    string
		frames  int
		timeout time.Duration
	}{
		"a page":            {answer(200, "text/html; charset=utf-8", "<html>"), ErrNoPictures, `"text/html"`, 0, 0},
		"no type":           {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil }, ErrNoPictures, "Content-Type", 0, 0},
		"not found":         {answer(404, "text/plain", ""), ErrNotFound, "knows no such path", 0, 0},
		"forbidden":         {answer(403, "text/plain", ""), ErrUnauthorized, "403", 0, 0},
		"busy":              {answer(503, "text/plain", ""), ErrStatus, "too many viewers", 0, 0},
		"other status":      {answer(500, "text/plain", "s3cret"), ErrStatus, "500", 0, 0},
		"no content":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, ErrStatus, "204", 0, 0},
		"ends":              {multipart(proper(a)), ErrClosed, "closed the connection", 1, 0},
		"ends at once":      {multipart(""), ErrClosed, "before the first picture", 0, 0},
		"ends in a picture": {multipart(proper(a)[:200]), ErrClosed, "closed the connection", 0, 0},
		"other pictures":    {multipart(strings.Repeat("--b\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100000), 60)), ErrNoPictures, "image/png", 0, 0},
		"part too large":    {hang("--b\r\nContent-Type: image/jpeg\r\nContent-Length: 5242881\r\n\r\n"), ErrTooLarge, "5242881", 0, 0},
		"part without end":  {multipart("--b\r\n\r\n" + string(a[:len(a)-2]) + strings.Repeat("x", 6<<20)), ErrTooLarge, "no end", 0, 0},
		"still too large": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5242881")
			answer(200, "image/jpeg", "")(w, r)
		}, ErrTooLarge, "5242881", 0, 0},
		"still without end":  {answer(200, "image/jpeg", strings.Repeat("x", 6<<20)), ErrTooLarge, "more than", 0, 0},
		"no answer":          {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrSilent, "no data for", 0, fair},
		"stalled":            {hang(proper(a)), ErrSilent, "hanging", 1, fair},
		"stalled in picture": {hang(proper(a)[:200]), ErrSilent, "hanging", 0, fair},
		"only broken":        {drip(strings.Replace(proper(a), "\xff\xd9\r\n", "\xff\x00\r\n", 1)), ErrNoPictures, "", 0, fair},
		"only huge":          {drip(proper(resized(a, 16385, 16))), ErrNoPictures, "16385x16", 0, fair},
		"too many pixels":    {drip(proper(resized(a, 16000, 16000))), ErrNoPictures, "16000x16000", 0, fair},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := with(serve(t, c.handler), "admin:hunter2") + "/private?token=s3cret"
			k, _, err := pull(t, Options{URL: url, Timeout: c.timeout}, 0)
			wantError(t, err, c.reason, c.says)
			if len(k.frames) != c.frames {
				t.Errorf("%d frames, want %d", len(k.frames), c.frames)
			}
			if len(err.Error()) > 400 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, _, err = pull(t, Options{URL: "http://admin:hunter2@" + addr + "/private"}, 0)
	wantError(t, err, ErrRefused, addr)

	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { garbage.Close() })
	go func() {
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "RTSP/1.0 400 http://admin:hunter2@x/?token=s3cret\r\n\r\n")
			c.Close()
		}
	}()
	_, _, err = pull(t, Options{URL: "http://" + garbage.Addr().String() + "/"}, 0)
	wantError(t, err, ErrProtocol, "cannot be read")
}

func TestGuardedDial(t *testing.T) {
	no := errors.New("that address is none of your business")
	_, _, err := pull(t, Options{URL: "http://169.254.169.254/", Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, no
	}}, 0)
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
}

func TestStill(t *testing.T) {
	a := picture(t, 1)
	var requests, conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("ETag", `"same"`)
		if r.Header.Get("If-None-Match") != "" {
			t.Error("a conditional request: a camera with a constant ETag would freeze")
		}
		if requests.Add(1) == 2 {
			_, _ = w.Write(a[:len(a)-10]) // cut off: dropped, not fatal
			return
		}
		_, _ = w.Write(a)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	k, s, err := pull(t, Options{URL: srv.URL, FPS: 50}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if len(k.frames) != 4 || requests.Load() != 5 || conns.Load() != 1 {
		t.Errorf("%d frames, %d requests, %d connections", len(k.frames), requests.Load(), conns.Load())
	}
	if s.Stats().Broken != 1 || k.starts != 1 || k.tracks[0].FPS != 50 {
		t.Errorf("%+v, %d starts, %+v", s.Stats(), k.starts, k.tracks)
	}
}

// TestTimestamp proves that a plausible time stamp becomes Captured and any
// other does not.
func TestTimestamp(t *testing.T) {
	now := time.Now()
	for age, known := range map[time.Duration]bool{
		300 * time.Millisecond: true, 9 * time.Second: true, 11 * time.Second: false, -time.Second: false, 1000 * time.Hour: false,
	} {
		c := captured(now, time.Unix(0, now.Add(-age).UnixNano()))
		if c.IsZero() == known {
			t.Errorf("age %v: %v", age, c)
		}
		if known && now.Sub(c).Round(time.Microsecond) != age {
			t.Errorf("age %v became %v", age, now.Sub(c))
		}
	}
	if !captured(now, time.Time{}).IsZero() {
		t.Error("no stamp, no time")
	}
	a := picture(t, 1)
	stamped := func(at time.Time) string {
		return strings.Replace(proper(a), "\r\n\r\n", fmt.Sprintf("\r\nX-Timestamp: %d.%06d\r\n\r\n", at.Unix(), at.Nanosecond()/1000), 1)
	}
	k, _, err := pull(t, Options{URL: serve(t, hang(stamped(time.Now().Add(-time.Second))+stamped(time.Unix(1234, 0))))}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if d := k.frames[0].Arrived.Sub(k.frames[0].Captured); d < time.Second {
		t.Errorf("captured %v before it arrived", d)
	}
	if !k.frames[1].Captured.IsZero() {
		t.Error("a time stamp of 1970 was believed")
	}
}

func TestTLS(t *testing.T) {
	a := picture(t, 1)
	srv := httptest.NewUnstartedServer(hang(proper(a)))
	srv.Config.ErrorLog = nil
	srv.TLS = &tls.Config{}
	srv.StartTLS()
	defer srv.Close()
	_, _, err := pull(t, Options{URL: srv.URL}, 1)
	sum := sha256.Sum256(srv.Certificate().Raw)
	print := hex.EncodeToString(sum[:])
	wantError(t, err, ErrTLS, "set fingerprint: "+print)
	if _, _, err = pull(t, Options{URL: srv.URL, Fingerprint: print}, 1); err != nil {
		t.Fatal(err)
	}
	_, _, err = pull(t, Options{URL: srv.URL, Fingerprint: strings.Repeat("ab", 32)}, 1)
	wantError(t, err, ErrTLS, print)
	_, _, err = pull(t, Options{URL: strings.Replace(serve(t, hang("")), "http:", "https:", 1)}, 1)
	wantError(t, err, ErrTLS, "does not speak TLS")
}

func TestCancelWhileSilent(t *testing.T) {
	arrived := make(chan struct{})
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	s, err := New(Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, &sink{}) }()
	<-arrived
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
}

func FuzzContentType(f *testing.F) {
	f.Add(`multipart/x-mixed-replace; boundary="a;b"`)
	f.Add(`x; y="1"; boundary=--b`)
	f.Add(`x;boundary="`)
	f.Fuzz(func(t *testing.T, s string) {
		if typ, b := contentType(s); len(typ) > 3*len(s) || len(b) > len(s) {
			t.Errorf("%q: %q, %q", s, typ, b)
		}
	})
}
