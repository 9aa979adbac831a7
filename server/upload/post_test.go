package upload

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"
)

func TestPost(t *testing.T) {
	l := newLab(t, Options{})
	for i, fields := range [][]field{
		{id("phone"), pic(shot(1, 900))},
		{pic(shot(2, 900)), id("phone")},
		{other(make([]byte, 5000)), pic(shot(3, 900)), other(nil), id("phone")},
	} {
		status, m := l.post(nil, fields...)
		if status != 200 || len(m) != 2 || m["status"] != "ok" || m["size_bytes"] != 900.0 {
			t.Errorf("%d: %d %v", i, status, m)
		}
	}
	i := l.camera("phone").Info()
	if i.Type != "mobile" || i.State != stream.Live || i.Frames != 3 || i.LastSize != 900 || i.Tracks.String() != "JPEG" ||
		i.Tracks[0].Width != 32 || i.Tracks[0].Height != 16 || i.Location != "uploaded by 127.0.0.1" {
		t.Errorf("%+v", i)
	}
}

// What was sent is what MJPEG viewers and the still get, byte by byte.
func TestPicturesAreUntouched(t *testing.T) {
	l := newLab(t, Options{})
	first, second := shot(1, 3000), shot(2, 4000)
	l.post(nil, id("phone"), pic(first))
	get := func(path string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := l.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	resp := get("/api/camera/mjpeg/phone")
	parts := bufio.NewReader(resp.Body)
	next := func() []byte {
		size := 0
		for {
			line, err := parts.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				if size, err = strconv.Atoi(strings.TrimSpace(n)); err != nil {
					t.Fatal(err)
				}
			}
			if line == "\r\n" && size > 0 {
				break
			}
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(parts, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(next(), first) {
		t.Error("another picture than was posted")
	}
	c := l.dial("phone")
	l.send(c, binaryMessage, second)
	if !bytes.Equal(next(), second) {
		t.Error("another picture than was sent over the WebSocket")
	}
	b, err := io.ReadAll(get("/api/camera/snapshot/phone").Body)
	if err != nil || !bytes.Equal(b, second) {
		t.Errorf("still: %d bytes, %v", len(b), err)
	}
}

func TestPostRefuses(t *testing.T) {
	l := newLab(t, Options{MaxFrame: 10_000})
	good := shot(1, 0)
	if _, err := l.reg.Add("wired", stream.Options{Source: idleSource{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.reg.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.reg.Publish("pushed", stream.PublishOptions{Type: "rtsp"}); err != nil {
		t.Fatal(err)
	}
	var many []field
	for range 40 {
		many = append(many, other(nil))
	}
	for name, tt := range map[string]struct {
		fields []field
		status int
		id     any
		words  string
	}{
		"nothing":          {nil, 400, nil, "device_id"},
		"no id":            {[]field{pic(good)}, 400, nil, "no device_id"},
		"no image":         {[]field{id("cam")}, 400, "cam", "no image"},
		"empty image":      {[]field{id("cam"), pic(nil)}, 400, "cam", "no image"},
		"empty id":         {[]field{id(""), pic(good)}, 400, nil, "1 to 64 letters"},
		"bad id":           {[]field{id("a b"), pic(good)}, 400, "a b", "1 to 64 letters"},
		"long id":          {[]field{id(strings.Repeat("a", 65)), pic(good)}, 400, strings.Repeat("a", 65), "1 to 64 letters"},
		"endless id":       {[]field{id(strings.Repeat("a", 9000)), pic(good)}, 400, nil, "1 to 64 letters"},
		"two ids":          {[]field{id("cam"), id("door"), pic(good)}, 400, "cam", "more than one device_id"},
		"two images":       {[]field{id("cam"), pic(good), pic(good)}, 400, "cam", "more than one image"},
		"many fields":      {append(many, id("cam"), pic(good)), 400, nil, "more than 32"},
		"no JPEG":          {[]field{id("cam"), pic([]byte("hello"))}, 400, "cam", "no soi"},
		"no frame header":  {[]field{id("cam"), pic([]byte{0xff, 0xd8, 0xff, 0xd9})}, 400, "cam", "no jpeg"},
		"cut off":          {[]field{id("cam"), pic(good[:len(good)-2])}, 400, "cam", "cut off"},
		"enormous":         {[]field{id("cam"), pic(resized(good, 60000, 16))}, 400, "cam", "60000x16"},
		"many pixels":      {[]field{id("cam"), pic(resized(good, 10000, 10000))}, 400, "cam", "10000x10000"},
		"too large":        {[]field{id("cam"), pic(shot(1, 10_001))}, 413, "cam", "10000 bytes"},
		"too large, first": {[]field{pic(shot(1, 10_001)), id("cam")}, 413, nil, "10000 bytes"},
		"far too large":    {[]field{id("cam"), pic(shot(1, 300_000))}, 413, nil, "10000 bytes"},
		"has a source":     {[]field{id("wired"), pic(good)}, 409, "wired", "source of its own"},
		"disabled":         {[]field{id("off"), pic(good)}, 409, "off", "disabled"},
		"published":        {[]field{id("pushed"), pic(good)}, 409, "pushed", "publishes to this camera already"},
	} {
		t.Run(name, func(t *testing.T) {
			status, m := l.post(nil, tt.fields...)
			if status != tt.status || m["device_id"] != tt.id || !strings.Contains(l.words(m), tt.words) {
				t.Errorf("%d %v", status, m)
			}
		})
	}
	for name, tt := range map[string]struct {
		typ, body string
		words     string
	}{
		"no form":     {"image/jpeg", string(good), "multipart"},
		"no boundary": {"multipart/form-data", "", "boundary"},
		"cut form":    {"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nabc", "ends too early"},
		"no part":     {"multipart/form-data; boundary=x", "hello", "ends too early"},
		"bad header":  {"multipart/form-data; boundary=x", "--x\r\nno header\r\n\r\nabc\r\n--x--\r\n", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			status, m := l.postRaw([]string{"Content-Type", tt.typ}, strings.NewReader(tt.body))
			if status != 400 || !strings.Contains(l.words(m), tt.words) {
				t.Errorf("%d %v", status, m)
			}
		})
	}
	if n := len(l.reg.List()); n != 3 {
		t.Errorf("a refused picture made a camera: %d", n)
	}
	// After all that, a good one.
	if status, m := l.post(nil, id("cam"), pic(shot(1, 10_000))); status != 200 || m["size_bytes"] != 10_000.0 {
		t.Errorf("%d %v", status, m)
	}
}

// A body of unknown length beyond any form ends with an answer as well.
func TestPostWithoutLength(t *testing.T) {
	l := newLab(t, Options{MaxFrame: 1000})
	typ, body := encodeForm(id("cam"), pic(shot(1, 30_000)))
	status, m := l.postRaw([]string{"Content-Type", typ}, io.MultiReader(bytes.NewReader(body)))
	if status != 413 || m["device_id"] != "cam" {
		t.Errorf("%d %v", status, m)
	}
}

// untouchable is a body that nobody may read.
type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestPostNeedsPermission(t *testing.T) {
	l := newLab(t, Options{}, auth.View)
	fields := []field{id("phone"), pic(shot(1, 0))}
	if status, m := l.post([]string{"Authorization", "Bearer " + token}, fields...); status != 200 {
		t.Errorf("%d %v", status, m)
	}
	if status, m := l.post([]string{"Authorization", "Bearer " + token[1:] + "x"}, fields...); status != 401 {
		t.Errorf("%d %v", status, m)
	}
	if status, m := l.post([]string{"Origin", "http://evil.example"}, fields...); status != 403 {
		t.Errorf("%d %v", status, m)
	}
	if status, m := l.refused("phone"); status != 401 || m["device_id"] != "phone" {
		t.Errorf("%d %v", status, m)
	}
	// A stranger's form is not even read.
	r := httptest.NewRequest(http.MethodPost, "/api/camera/frame", untouchable{t})
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	r.Host = "127.0.0.1"
	w := httptest.NewRecorder()
	l.srv.ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPermissionForOneCamera(t *testing.T) {
	if err := mayPublish(auth.Identity{Name: "nobody"}, "cam"); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("%v", err)
	}
	if status, _ := server.StatusOf(mayPublish(auth.Identity{}, "cam")); status != 403 {
		t.Errorf("%d", status)
	}
	// The form is not read beyond an id that is refused.
	_, body := encodeForm(id("cam"), pic(make([]byte, 1000)))
	boundary, _, _ := strings.Cut(string(body[2:]), "\r\n")
	f := form{max: 10_000, check: func(string) error { return auth.ErrForbidden }}
	if err := f.read(multipart.NewReader(bytes.NewReader(body), boundary)); !errors.Is(err, auth.ErrForbidden) || f.image != nil {
		t.Errorf("%v, %d bytes", err, len(f.image))
	}
}

func TestManyAtOnce(t *testing.T) {
	l := newLab(t, Options{})
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			name := "cam" + strconv.Itoa(i%3)
			if status, m := l.post(nil, id(name), pic(shot(i, 0))); status != 200 {
				t.Errorf("%d %v", status, m)
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		if info := l.camera("cam" + strconv.Itoa(i)).Info(); info.Frames != 8 || info.State != stream.Live {
			t.Errorf("%+v", info)
		}
	}
}

func TestTooManyPosts(t *testing.T) {
	l := newLab(t, Options{MaxConns: 1})
	body, hold := io.Pipe()
	typ, form := encodeForm(id("cam"), pic(shot(1, 0)))
	answered := make(chan int)
	go func() {
		status, _ := l.postRaw([]string{"Content-Type", typ}, body)
		answered <- status
	}()
	if _, err := hold.Write(form[:10]); err != nil {
		t.Fatal(err)
	}
	l.until(func() bool { return len(l.h.posts) == 1 })
	if status, m := l.post(nil, id("cam"), pic(shot(1, 0))); status != 503 {
		t.Errorf("%d %v", status, m)
	}
	if _, err := hold.Write(form[10:]); err != nil {
		t.Fatal(err)
	}
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != 200 {
		t.Errorf("%d", status)
	}
	l.until(func() bool { return len(l.h.posts) == 0 })
}

func TestRemovedCameraComesBack(t *testing.T) {
	l := newLab(t, Options{})
	l.post(nil, id("phone"), pic(shot(1, 0)))
	if err := l.reg.Remove("phone"); err != nil {
		t.Fatal(err)
	}
	l.until(func() bool { l.h.desk.mu.Lock(); defer l.h.desk.mu.Unlock(); return len(l.h.desk.slots) == 0 })
	if status, m := l.post(nil, id("phone"), pic(shot(2, 0))); status != 200 {
		t.Errorf("%d %v", status, m)
	}
	if i := l.camera("phone").Info(); i.Frames != 1 || i.State != stream.Live {
		t.Errorf("%+v", i)
	}
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := stream.New(stream.Config{})
		defer reg.Close()
		d := newDesk(reg)
		p, err := parse(shot(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		put := func() {
			if err := d.put("phone", nil, "", p, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		state := func() stream.State {
			synctest.Wait()
			s, err := reg.Get("phone")
			if err != nil {
				t.Fatal(err)
			}
			return s.Info().State
		}
		// One picture a minute keeps it alive.
		for range 3 {
			put()
			time.Sleep(time.Minute)
			if s := state(); s != stream.Live {
				t.Fatal(s)
			}
		}
		put()
		time.Sleep(silence - time.Nanosecond)
		if s := state(); s != stream.Live {
			t.Error(s)
		}
		time.Sleep(time.Nanosecond)
		if s := state(); s != stream.Lost {
			t.Error(s)
		}
		if len(d.slots) != 0 {
			t.Error("the desk remembers a camera that nobody sends for")
		}
		// It may come back, and others may have it.
		put()
		if s := state(); s != stream.Live {
			t.Error(s)
		}
		time.Sleep(silence)
		synctest.Wait()
		pub, err := reg.Publish("phone", stream.PublishOptions{Type: "webrtc"})
		if err != nil {
			t.Fatal(err)
		}
		pub.Close()
	})
}
