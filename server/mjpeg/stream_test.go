package mjpeg

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// parts opens a stream and checks its header.
func parts(t *testing.T, r *http.Response) *multipart.Reader {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", r.StatusCode, body(t, r))
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/x-mixed-replace" {
		t.Fatalf("Content-Type %q", r.Header.Get("Content-Type"))
	}
	return multipart.NewReader(r.Body, params["boundary"])
}

// part reads the next picture and checks its header.
func part(t *testing.T, m *multipart.Reader) (n int, at time.Time) {
	t.Helper()
	p, err := m.NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(p)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Header.Get("Content-Type"); got != "image/jpeg" {
		t.Errorf("Content-Type %q", got)
	}
	if got := p.Header.Get("Content-Length"); got != strconv.Itoa(len(b)) {
		t.Errorf("Content-Length %q, part has %d bytes", got, len(b))
	}
	if n = number(b); n < 0 {
		t.Fatalf("no picture but %d bytes", len(b))
	}
	return n, timestamp(t, p.Header.Get("X-Timestamp"))
}

func timestamp(t *testing.T, s string) time.Time {
	t.Helper()
	sec, frac, ok := strings.Cut(s, ".")
	a, err1 := strconv.ParseInt(sec, 10, 64)
	b, err2 := strconv.ParseInt(frac, 10, 64)
	if !ok || err1 != nil || err2 != nil || len(frac) != 6 {
		t.Fatalf("timestamp %q", s)
	}
	return time.UnixMicro(a*1e6 + b)
}

func TestStream(t *testing.T) {
	l := newLab(t, Options{})
	cam := l.camera("door")
	captured := time.Unix(1700000000, 42000) // 42 us
	cam.push(picture(1, 0), captured)
	for _, path := range []string{"/api/camera/mjpeg/door", "/?action=stream", "/webcam/?action=stream&cam=door", "/webcam?action=stream"} {
		t.Run(path, func(t *testing.T) {
			r := l.get(path)
			m := parts(t, r)
			for k, want := range map[string]string{
				"Cache-Control": "no-cache, no-store, must-revalidate, max-age=0", "X-Accel-Buffering": "no",
				"X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "",
			} {
				if got := r.Header.Get(k); got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
			if len(r.TransferEncoding) > 0 || !r.Close {
				t.Errorf("transfer encoding %v, close %v", r.TransferEncoding, r.Close)
			}
			// The last known picture at once, though nothing new comes.
			if n, at := part(t, m); n != 1 || !at.Equal(captured) {
				t.Errorf("picture %d of %v, want 1 of %v", n, at, captured)
			}
			r.Body.Close()
		})
	}
	r := l.get("/api/camera/mjpeg/door?width=640&quality=50&fps=100")
	m := parts(t, r)
	part(t, m)
	for n := 2; n < 20; n++ {
		cam.push(picture(n, n*5000), time.Now())
		if got, _ := part(t, m); got != n {
			t.Fatalf("picture %d, want %d", got, n)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if fmt.Sprint(l.names) != "[jpeg-0-0 jpeg-640-50]" {
		t.Errorf("derived streams %v: one per size, however many viewers", l.names)
	}
}

func TestRawHeadOfTheAnswer(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door").push(picture(1, 0), time.Now())
	for _, version := range []string{"1.0", "1.1"} {
		c, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /?action=stream HTTP/%s\r\nHost: localhost\r\n\r\n", version)
		r := bufio.NewReader(c)
		line, _ := r.ReadString('\n')
		if line != "HTTP/"+version+" 200 OK\r\n" {
			t.Errorf("status line %q", line)
		}
		var head strings.Builder
		for line != "\r\n" {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			head.WriteString(line)
		}
		if !strings.Contains(head.String(), "Connection: close\r\n") || !strings.Contains(head.String(), "Date: ") {
			t.Errorf("head %q", head.String())
		}
		if line, _ = r.ReadString('\n'); line != "--"+boundary+"\r\n" {
			t.Errorf("after the head %q", line)
		}
		c.Close()
	}
}

// An <img> shows a frame when the next part begins: its beginning is there
// before its frame is.
func TestImageForm(t *testing.T) {
	l := newLab(t, Options{})
	for id, header := range map[string][]string{
		"secure-page": {"Sec-Fetch-Dest", "image"},
		"plain-page":  {"User-Agent", "Mozilla/5.0", "Accept", "image/avif,image/webp,*/*;q=0.8"},
	} {
		t.Run(id, func(t *testing.T) {
			cam := l.camera(id)
			// The answer begins without a picture.
			r := l.get("/api/camera/mjpeg/"+id, header...)
			if r.StatusCode != http.StatusOK {
				t.Fatal(r.Status)
			}
			in := bufio.NewReader(r.Body)
			want := func(s string) {
				t.Helper()
				b := make([]byte, len(s))
				if _, err := io.ReadFull(in, b); err != nil || string(b) != s {
					t.Fatalf("%q, %v; want %q", b, err, s)
				}
			}
			next := "--" + boundary + "\r\nContent-Type: image/jpeg\r\n\r\n"
			want(next)
			for n := range 3 {
				p := picture(n, 30000)
				cam.push(p, time.Now())
				want(string(p))
				want("\r\n" + next)
			}
			r.Body.Close()
		})
	}
	cam := l.camera("program")
	cam.push(picture(1, 0), time.Now())
	for _, header := range [][]string{{"Sec-Fetch-Dest", "empty"}, {"Accept", "*/*"}, {"Accept", "image/jpeg"}} {
		part(t, parts(t, l.get("/api/camera/mjpeg/program", header...)))
	}
}

func TestSlowClientGetsTheNewest(t *testing.T) {
	l := newLab(t, Options{})
	cam := l.camera("door")
	const size = 200 << 10
	cam.push(picture(0, size), time.Now())
	c, err := (&net.Dialer{}).Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /api/camera/mjpeg/door HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 4096), nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := parts(t, resp)
	part(t, slow)
	// A second viewer reads on, and proves that the first holds up nobody.
	quick := parts(t, l.get("/api/camera/mjpeg/door"))
	part(t, quick)
	const last = 100
	for n := 1; n <= last; n++ {
		cam.push(picture(n, size), time.Now())
		if got, _ := part(t, quick); got != n {
			t.Fatalf("quick viewer got %d, want %d", got, n)
		}
	}
	stale := 0
	for {
		n, _ := part(t, slow)
		if n == last {
			break
		}
		stale++
	}
	// Two in the kernel's send buffer, one being written, one and a half in
	// the client's own.
	if stale > 6 {
		t.Errorf("%d old pictures came before the newest", stale)
	}
}

func TestStopEndsStreams(t *testing.T) {
	l := newLab(t, Options{})
	cam := l.camera("door")
	cam.push(picture(1, 400<<10), time.Now())
	// One that reads, one that is blocked in the middle of a picture, one that
	// still waits for a camera.
	part(t, parts(t, l.get("/api/camera/mjpeg/door")))
	blocked, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer blocked.Close()
	fmt.Fprintf(blocked, "GET /?action=stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
	l.camera("empty")
	waiting, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	fmt.Fprintf(waiting, "GET /api/camera/mjpeg/empty HTTP/1.1\r\nHost: localhost\r\n\r\n")
	until(t, func() bool { return l.h.viewers.Load() == 3 })
	begun := time.Now()
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("the stop took %v", d)
	}
	if n := l.h.viewers.Load(); n != 0 {
		t.Errorf("%d viewers left", n)
	}
}

func TestClientLeaves(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door").push(picture(1, 0), time.Now())
	r := l.get("/api/camera/mjpeg/door")
	part(t, parts(t, r))
	s, err := l.reg.Get("door")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Info().Viewers["mjpeg"]; n != 1 {
		t.Errorf("%d viewers", n)
	}
	r.Body.Close()
	// No picture comes that could not be sent: only the end of the connection
	// tells.
	until(t, func() bool { return s.Info().Viewers["mjpeg"] == 0 })
}

func TestCameraRemoved(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door").push(picture(1, 0), time.Now())
	m := parts(t, l.get("/api/camera/mjpeg/door"))
	part(t, m)
	if err := l.reg.Remove("door"); err != nil {
		t.Fatal(err)
	}
	// The connection ends, and with it the stream.
	if _, err := m.NextRawPart(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the end: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	l := newLab(t, Options{MaxViewers: 1})
	for _, tt := range []struct {
		path   string
		status int
		say    string
	}{
		{"/?action=stream", 404, "no camera yet"},
		{"/?action=snapshot", 404, "no camera yet"},
		{"/api/camera/mjpeg/nobody", 404, "no such camera"},
		{"/api/camera/mjpeg/b%20d", 400, "1 to 64 letters"},
		{"/webcam/?action=stream&cam=", 400, "1 to 64 letters"},
	} {
		r := l.get(tt.path)
		if text := body(t, r); r.StatusCode != tt.status || !strings.Contains(text, tt.say) {
			t.Errorf("%s: %d %s", tt.path, r.StatusCode, text)
		}
	}
	l.camera("door").push(picture(1, 0), time.Now())
	for _, tt := range []struct {
		query  string
		status int
		say    string
	}{
		{"width=0", 400, `width=\"0\"`},
		{"width=12x", 400, "16 to 7680"},
		{"width=99999999999999999999", 400, "16 to 7680"},
		{"quality=101", 400, "1 to 100"},
		{"quality=-1", 400, "1 to 100"},
		{"fps=NaN", 400, "frames per second"},
		{"fps=0", 400, "frames per second"},
		{"fps=1e300", 400, "frames per second"},
		{"quality=66", 503, "this build cannot make that"},
	} {
		r := l.get("/api/camera/mjpeg/door?" + tt.query)
		text := body(t, r)
		if r.StatusCode != tt.status || !strings.Contains(text, tt.say) || !strings.Contains(text, `"device_id":"door"`) {
			t.Errorf("%s: %d %s", tt.query, r.StatusCode, text)
		}
	}
	r := l.get("/webcam/?action=dance")
	if text := body(t, r); r.StatusCode != 400 || !strings.Contains(text, "action=snapshot") {
		t.Errorf("%d %s", r.StatusCode, text)
	}
	part(t, parts(t, l.get("/api/camera/mjpeg/door")))
	r = l.get("/api/camera/mjpeg/door")
	if text := body(t, r); r.StatusCode != 503 || !strings.Contains(text, "1 MJPEG viewers") {
		t.Errorf("one too many: %d %s", r.StatusCode, text)
	}
}

func TestFirstActiveCameraIsTheDefault(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("a")
	l.camera("c").push(picture(3, 0), time.Now())
	l.camera("b").push(picture(2, 0), time.Now())
	for _, id := range []string{"b", "c"} {
		s, err := l.reg.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return !s.Info().LastFrame.IsZero() })
	}
	if n, _ := part(t, parts(t, l.get("/?action=stream"))); n != 2 {
		t.Errorf("picture %d, want that of b", n)
	}
	if n, _ := part(t, parts(t, l.get("/?action=stream&cam=c"))); n != 3 {
		t.Errorf("picture %d, want that of c", n)
	}
}

func TestHead(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door").push(picture(1, 0), time.Now())
	r, err := l.client.Head(l.url + "/api/camera/mjpeg/door")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != ContentType {
		t.Errorf("%d %q", r.StatusCode, r.Header.Get("Content-Type"))
	}
}

func TestTLS(t *testing.T) {
	for proto, major := range map[string]int{"http/1.1": 1, "h2": 2} {
		t.Run(proto, func(t *testing.T) {
			l := newLab(t, Options{}, proto)
			cam := l.camera("door")
			cam.push(picture(0, 100<<10), time.Now())
			r := l.get("/api/camera/mjpeg/door")
			if r.ProtoMajor != major {
				t.Fatalf("protocol %s", r.Proto)
			}
			m := parts(t, r)
			for n := range 10 {
				if got, _ := part(t, m); got != n {
					t.Fatalf("picture %d, want %d", got, n)
				}
				cam.push(picture(n+1, 100<<10), time.Now())
			}
			// One stream is no reason to end the connection that HTTP/2 has
			// for all.
			if s := l.get("/api/camera/snapshot/door"); s.StatusCode != http.StatusOK {
				t.Error(s.Status)
			}
			part(t, m)
			if err := l.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStopWithABlockedTLSClient(t *testing.T) {
	l := newLab(t, Options{}, "http/1.1")
	cam := l.camera("door")
	cam.push(picture(1, 3<<20), time.Now())
	c, err := tls.Dial("tcp", l.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /?action=stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
	until(t, func() bool { return l.h.viewers.Load() == 1 })
	for n := 2; n < 20; n++ {
		cam.push(picture(n, 3<<20), time.Now())
	}
	begun := time.Now()
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 4*time.Second {
		t.Errorf("the stop took %v", d)
	}
}
