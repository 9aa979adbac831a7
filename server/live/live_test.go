package live

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/stream"
	"camwire/server/auth"

	"github.com/coder/websocket"
)

// message reads one JSON message with just the fields that it must have.
func (l *lab) message(c *websocket.Conn) (data []byte, at float64) {
	l.Helper()
	typ, b := l.read(c)
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil || typ != websocket.MessageText || len(m) != 3 || m["type"] != "image" {
		l.Fatalf("%v %.100s %v", typ, b, err)
	}
	text, ok := m["data"].(string)
	at, number := m["timestamp"].(float64)
	if !ok || !number {
		l.Fatalf("%.100s", b)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		l.Fatal(err)
	}
	return data, at
}

// complaint reads one error message.
func (l *lab) complaint(c *websocket.Conn) string {
	l.Helper()
	typ, b := l.read(c)
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil || typ != websocket.MessageText || len(m) != 2 || m["type"] != "error" || m["message"] == "" {
		l.Fatalf("%v %.100s", typ, b)
	}
	return m["message"]
}

func TestJSON(t *testing.T) {
	l := newLab(t, Options{})
	f := l.camera("door")
	first, second := shot(1, 3000), shot(2, 5000)
	f.push(first, time.UnixMicro(1_700_000_000_123_456))
	for _, addr := range []string{"/api/camera/ws/door", "/api/camera/ws/door?format=json", l.own, l.own + "/", l.own + "/door", l.own + "/?cam=door"} {
		c := l.dial(addr)
		// The last known one comes at once.
		if b, at := l.message(c); !bytes.Equal(b, first) || at != 1_700_000_000.123456 {
			t.Errorf("%s: %d bytes at %f", addr, len(b), at)
		}
		defer func() {
			if b, at := l.message(c); !bytes.Equal(b, second) || at != 1_700_000_001 {
				t.Errorf("%s: %d bytes at %f", addr, len(b), at)
			}
		}()
	}
	f.push(second, time.Unix(1_700_000_001, 0))
}

func TestBinary(t *testing.T) {
	l := newLab(t, Options{})
	f := l.camera("door")
	first, second := shot(1, 3000), shot(2, 5000)
	f.push(first, time.Now())
	for _, addr := range []string{"/api/camera/ws/door?format=jpeg", l.own + "/door?format=jpeg"} {
		c := l.dial(addr)
		if typ, b := l.read(c); typ != websocket.MessageBinary || !bytes.Equal(b, first) {
			t.Errorf("%s: %v, %d bytes", addr, typ, len(b))
		}
		defer func() {
			if typ, b := l.read(c); typ != websocket.MessageBinary || !bytes.Equal(b, second) {
				t.Errorf("%s: %v, %d bytes", addr, typ, len(b))
			}
		}()
	}
	f.push(second, time.Now())
}

func TestViewersAreCounted(t *testing.T) {
	l := newLab(t, Options{})
	f := l.camera("door")
	f.push(shot(1, 0), time.Now())
	s, err := l.reg.Get("door")
	if err != nil {
		t.Fatal(err)
	}
	a, b := l.dial("/api/camera/ws/door"), l.dial(l.own+"/door")
	l.message(a)
	l.message(b)
	if n := s.Info().Viewers; len(n) != 1 || n["ws"] != 2 {
		t.Errorf("%v", n)
	}
	_ = a.Close(websocket.StatusNormalClosure, "")
	_ = b.CloseNow() // without goodbye
	until(t, func() bool { return len(s.Info().Viewers) == 0 && len(l.h.places) == 0 })
}

func TestOneStreamPerWish(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door").push(shot(1, 0), time.Now())
	for _, q := range []string{"", "?format=jpeg", "?fps=5", "?width=480", "?width=480&fps=1", "?quality=50"} {
		l.read(l.dial("/api/camera/ws/door" + q))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if want := []string{"jpeg-0-0", "jpeg-480-0", "jpeg-0-50"}; !slices.Equal(l.names, want) {
		t.Errorf("%v, want %v", l.names, want)
	}
}

func TestRefusals(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door")
	if _, err := l.reg.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		status int
		words  string
	}{
		"nobody":           {404, "no such camera"},
		"a%20b":            {400, "1 to 64 letters"},
		"off":              {409, "disabled"},
		"door?format=gif":  {400, "format"},
		"door?fps=1000":    {400, "fps"},
		"door?fps=NaN":     {400, "fps"},
		"door?width=3":     {400, "width"},
		"door?quality=101": {400, "quality"},
		"door?quality=66":  {503, "cannot make"},
	} {
		_, resp, err := websocket.Dial(t.Context(), l.url+"/api/camera/ws/"+path, nil)
		if err == nil || resp == nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		var m map[string]string
		if err := json.Unmarshal(b, &m); err != nil || resp.StatusCode != want.status || !strings.Contains(m["error"], want.words) || m["device_id"] == "" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, b)
		}
		// The stand-alone listener says the same by a message.
		c := l.dial(l.own + "/" + path)
		if words := l.complaint(c); !strings.Contains(words, want.words) {
			t.Errorf("%s: %q", path, words)
		}
		if code, why := l.closed(c); code == websocket.StatusNormalClosure || why == "" {
			t.Errorf("%s: %v %q", path, code, why)
		}
	}
	for _, addr := range []string{l.url + "/api/camera/ws/door", "http" + strings.TrimPrefix(l.own, "ws") + "/door"} {
		resp, err := http.Get(addr)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]string
		if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || resp.StatusCode != 426 || m["error"] == "" {
			t.Errorf("%s: %s %v", addr, resp.Status, m)
		}
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestPermission(t *testing.T) {
	l := newLab(t, Options{}, auth.Publish)
	l.camera("door").push(shot(7, 0), time.Now())
	if _, resp, err := websocket.Dial(t.Context(), l.url+"/api/camera/ws/door", nil); err == nil || resp.StatusCode != 401 {
		t.Errorf("%v", err)
	}
	for name, header := range map[string][]string{
		"stranger":           nil,
		"wrong token":        {"Authorization", "Bearer " + strings.ToUpper(token)},
		"page of other site": {"Origin", "http://evil.example"},
		"other host":         {"Host", "evil.example"},
	} {
		h := http.Header{}
		o := &websocket.DialOptions{HTTPHeader: h}
		for i := 0; i < len(header); i += 2 {
			if header[i] == "Host" {
				o.Host = header[i+1]
			} else {
				h.Set(header[i], header[i+1])
			}
		}
		for _, path := range []string{"/", "/door"} {
			c, _, err := websocket.Dial(t.Context(), l.own+path, o)
			if err != nil {
				t.Fatal(err)
			}
			l.complaint(c)
			if code, _ := l.closed(c); code != websocket.StatusPolicyViolation {
				t.Errorf("%s %s: %v", name, path, code)
			}
		}
	}
	for _, c := range []*websocket.Conn{
		l.dial(l.own + "/?token=" + token),
		l.dial(l.own+"/door", "Authorization", "Bearer "+token),
		l.dial(l.own+"/door?token="+token, "Origin", "http://dashboard.example"),
		l.dial("/api/camera/ws/door?token=" + token),
	} {
		if b, _ := l.message(c); number(b) != 7 {
			t.Error("no picture")
		}
	}
}

func TestFirstActiveCamera(t *testing.T) {
	l := newLab(t, Options{})
	c := l.dial(l.own)
	if words := l.complaint(c); !strings.Contains(words, "no camera") {
		t.Error(words)
	}
	if _, err := l.reg.Add("a", stream.Options{Source: broken{}}); err != nil {
		t.Fatal(err)
	}
	l.camera("b").push(shot(2, 0), time.Now())
	l.camera("c").push(shot(3, 0), time.Now())
	if b, _ := l.message(l.dial(l.own)); number(b) != 2 {
		t.Error("not the first one that has a picture")
	}
	if id := l.h.first(func(id string) bool { return id == "a" || id == "c" }); id != "c" {
		t.Error(id)
	}
	if id := l.h.first(func(id string) bool { return id == "a" }); id != "a" {
		t.Error(id)
	}
}

func TestTrouble(t *testing.T) {
	l := newLab(t, Options{})
	if _, err := l.reg.Add("door", stream.Options{Source: broken{}}); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"/api/camera/ws/door", "/api/camera/ws/door?format=jpeg", l.own + "/door"} {
		if words := l.complaint(l.dial(addr)); !strings.Contains(words, "connection refused") {
			t.Errorf("%s: %q", addr, words)
		}
	}
}

func TestLostAndFound(t *testing.T) {
	l := newLab(t, Options{})
	f := l.camera("door")
	f.push(shot(1, 0), time.Now())
	c := l.dial("/api/camera/ws/door")
	l.message(c)
	f.p.Close()
	if words := l.complaint(c); !strings.Contains(words, "lost") {
		t.Error(words)
	}
	l.camera("door").push(shot(2, 0), time.Now())
	if b, _ := l.message(c); number(b) != 2 {
		t.Error("no picture after the camera came back")
	}
}

func TestRemovedCamera(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door").push(shot(1, 0), time.Now())
	c := l.dial("/api/camera/ws/door")
	l.message(c)
	if err := l.reg.Remove("door"); err != nil {
		t.Fatal(err)
	}
	if words := l.complaint(c); !strings.Contains(words, "removed") {
		t.Error(words)
	}
	if code, _ := l.closed(c); code != websocket.StatusNormalClosure {
		t.Error(code)
	}
}

func TestStop(t *testing.T) {
	l := newLab(t, Options{})
	l.camera("door").push(shot(1, 0), time.Now())
	a, b := l.dial("/api/camera/ws/door"), l.dial(l.own+"/door")
	l.message(a)
	l.message(b)
	ended := make(chan error)
	go func() { ended <- l.stop() }()
	for _, c := range []*websocket.Conn{a, b} {
		if code, _ := l.closed(c); code != websocket.StatusGoingAway {
			t.Error(code)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A client may say what it likes, and hears no less for it.
func TestTalkingViewer(t *testing.T) {
	l := newLab(t, Options{})
	f := l.camera("door")
	f.push(shot(1, 0), time.Now())
	c := l.dial(l.own)
	for range 10 {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(`{"type":"subscribe"}`)); err != nil {
			t.Fatal(err)
		}
	}
	l.message(c)
	f.push(shot(2, 0), time.Now())
	if b, _ := l.message(c); number(b) != 2 {
		t.Error("no second picture")
	}
}

func TestTooManyViewers(t *testing.T) {
	l := newLab(t, Options{MaxViewers: 1})
	l.camera("door").push(shot(1, 0), time.Now())
	l.message(l.dial("/api/camera/ws/door"))
	if _, resp, err := websocket.Dial(t.Context(), l.url+"/api/camera/ws/door", nil); err == nil || resp.StatusCode != 503 {
		t.Errorf("%v", err)
	}
	c := l.dial(l.own)
	if words := l.complaint(c); !strings.Contains(words, "viewers") {
		t.Error(words)
	}
	if code, _ := l.closed(c); code != websocket.StatusTryAgainLater {
		t.Error(code)
	}
}

// A client that reads slowly gets fewer pictures, always new ones, and slows
// nobody down.
func TestSlowViewer(t *testing.T) {
	l := newLab(t, Options{})
	f := l.camera("door")
	const size, last = 300_000, 100
	f.push(shot(0, size), time.Now())
	for _, path := range []string{"/api/camera/ws/door", "/api/camera/ws/door?format=jpeg"} {
		slow, fast := l.dial(path), l.dial("/api/camera/ws/door?format=jpeg")
		l.read(fast)
		for n := 1; n <= last; n++ {
			f.push(shot(n, size), time.Now())
			if _, b := l.read(fast); number(b) != n {
				t.Fatalf("the fast one got %d, not %d", number(b), n)
			}
		}
		seen, newest := 0, -1
		for newest < last {
			var b []byte
			if strings.Contains(path, "jpeg") {
				_, b = l.read(slow)
			} else {
				b, _ = l.message(slow)
			}
			if number(b) <= newest {
				t.Fatalf("%d after %d", number(b), newest)
			}
			newest = number(b)
			seen++
		}
		// What is on its way in the kernels' buffers cannot be taken back.
		if seen > last/2 {
			t.Errorf("%s: %d pictures of %d were kept for a viewer that read none", path, seen, last)
		}
		_, _ = slow.CloseNow(), fast.CloseNow()
	}
}

func TestMessagesAreMadeOnce(t *testing.T) {
	var s shared
	k := &stream.Stream{}
	frames := []*media.Frame{
		{Seq: 1, Units: [][]byte{shot(1, 0)}}, {Seq: 2, Units: [][]byte{shot(2, 0)[:100], shot(2, 0)[100:]}},
	}
	for i := range frames {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				m := s.take(k)
				defer s.give(k)
				var got struct{ Data []byte }
				if err := json.Unmarshal(m.of(frames[i]), &got); err != nil || number(got.Data) != i+1 {
					t.Errorf("%d: %d, %v", i, number(got.Data), err)
				}
			})
		}
		m := s.take(k)
		wg.Wait()
		// Each may have been the only one for a while.
		m.of(frames[i])
		made := m.made
		m.of(frames[i])
		if m.made != made {
			t.Error("made twice")
		}
		// A late one does not push out the newest.
		m.of(frames[0])
		made = m.made
		m.of(frames[i])
		if m.made != made {
			t.Error("the newest was forgotten")
		}
		s.give(k)
	}
	if len(s.m) != 0 {
		t.Errorf("%v", s.m)
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, size := range map[string]int{"70kB": 70_000, "200kB": 200_000} {
		f := &media.Frame{Captured: time.Now(), Units: [][]byte{shot(1, size)}}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				encode(f)
			}
		})
	}
	// However many viewers, one message.
	b.Run("100 viewers", func(b *testing.B) {
		b.ReportAllocs()
		m, seq := &messages{}, uint64(0)
		data := [][]byte{shot(1, 70_000)}
		for b.Loop() {
			seq++
			f := &media.Frame{Seq: seq, Captured: time.Now(), Units: data}
			for range 100 {
				m.of(f)
			}
		}
	})
}
