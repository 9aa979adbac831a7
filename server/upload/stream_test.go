package upload

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/stream"
	"camwire/server/auth"

	"github.com/coder/websocket"
)

const (
	binaryMessage = websocket.MessageBinary
	textMessage   = websocket.MessageText
)

func closeError(err error) (e websocket.CloseError, ok bool) { return e, errors.As(err, &e) }

// idleSource is a camera that has nothing to show.
type idleSource struct{}

func (idleSource) Run(ctx context.Context, _ media.Sink) error { <-ctx.Done(); return nil }

func TestStream(t *testing.T) {
	l := newLab(t, Options{})
	c := l.dial("phone")
	if _, err := l.reg.Get("phone"); !errors.Is(err, stream.ErrUnknown) {
		t.Errorf("the camera is there before its first picture: %v", err)
	}
	for n := range 5 {
		l.send(c, binaryMessage, shot(n, 1000+n))
	}
	l.until(func() bool { s, err := l.reg.Get("phone"); return err == nil && s.Info().Frames == 5 })
	i := l.camera("phone").Info()
	if i.Type != "mobile_ws" || i.State != stream.Live || i.LastSize != 1004 || i.Location != "sent by 127.0.0.1" {
		t.Errorf("%+v", i)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	l.until(func() bool { return l.camera("phone").Info().State == stream.Lost })
}

func TestRefusedPicturesKeepTheConnection(t *testing.T) {
	l := newLab(t, Options{MaxFrame: 10_000})
	c := l.dial("phone")
	good := shot(1, 10_000)
	for i, tt := range []struct {
		typ   websocket.MessageType
		data  []byte
		words string
	}{
		{binaryMessage, nil, "no SOI"},
		{binaryMessage, []byte("hello"), "no SOI"},
		{binaryMessage, good[:5000], "cut off"},
		{binaryMessage, shot(1, 10_001), "larger than 10000 bytes"},
		{binaryMessage, shot(1, 79_000), "larger than 10000 bytes"},
		{binaryMessage, resized(shot(1, 0), 20000, 1), "20000x1"},
		{textMessage, []byte(`{"type":"ping"}`), "text message"},
		{textMessage, make([]byte, 50_000), "text message"},
	} {
		l.send(c, tt.typ, tt.data)
		if words := l.complaint(c); !strings.Contains(words, tt.words) {
			t.Errorf("%d: %q", i, words)
		}
		if _, err := l.reg.Get("phone"); err == nil {
			t.Fatalf("%d: a refused picture made a camera", i)
		}
	}
	l.send(c, binaryMessage, good)
	l.until(func() bool { s, err := l.reg.Get("phone"); return err == nil && s.Info().Frames == 1 })
	// What has no end at all ends the connection.
	w, err := c.Writer(t.Context(), binaryMessage)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for err == nil {
			_, err = w.Write(make([]byte, 1000))
		}
	}()
	if code, _ := l.closed(c); code != websocket.StatusMessageTooBig {
		t.Error(code)
	}
}

// A sender that reads nothing is served all the same.
func TestComplaintsNobodyReads(t *testing.T) {
	l := newLab(t, Options{})
	c := l.dial("phone")
	for range 20 * maxWaiting {
		l.send(c, binaryMessage, []byte("hello"))
	}
	l.send(c, binaryMessage, shot(1, 0))
	l.until(func() bool { s, err := l.reg.Get("phone"); return err == nil && s.Info().Frames == 1 })
}

func TestStreamRefuses(t *testing.T) {
	l := newLab(t, Options{MaxConns: 1})
	if _, err := l.reg.Add("wired", stream.Options{Source: idleSource{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.reg.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	p, err := l.reg.Publish("pushed", stream.PublishOptions{Type: "rtsp"})
	if err != nil {
		t.Fatal(err)
	}
	p.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	p.Write(&media.Frame{Key: true, Units: [][]byte{shot(1, 0)}})
	for id, want := range map[string]struct {
		status int
		words  string
	}{
		"wired":  {409, "source of its own"},
		"off":    {409, "disabled"},
		"pushed": {409, "already"},
		"a%20b":  {400, "1 to 64 letters"},
	} {
		status, m := l.refused(id)
		if status != want.status || !strings.Contains(l.words(m), want.words) || m["device_id"] == nil {
			t.Errorf("%s: %d %v", id, status, m)
		}
	}
	resp, err := l.client.Get(l.url + "/api/camera/stream/phone")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 426 {
		t.Error(resp.Status)
	}
	l.dial("phone")
	if status, m := l.refused("phone2"); status != 503 {
		t.Errorf("%d %v", status, m)
	}
}

// The camera is pushed to by something else between connecting and sending.
func TestPictureForATakenCamera(t *testing.T) {
	l := newLab(t, Options{})
	c := l.dial("cam")
	p, err := l.reg.Publish("cam", stream.PublishOptions{Type: "rtsp"})
	if err != nil {
		t.Fatal(err)
	}
	l.send(c, binaryMessage, shot(1, 0))
	if words := l.complaint(c); !strings.Contains(words, "already") {
		t.Error(words)
	}
	p.Close()
	// One is told so once a second, not for every picture; the next one gets
	// in.
	l.send(c, binaryMessage, shot(1, 0))
	l.until(func() bool { return l.camera("cam").Info().State == stream.Live })
}

func TestTwoConnections(t *testing.T) {
	l := newLab(t, Options{})
	first := l.dial("phone")
	l.send(first, binaryMessage, shot(1, 0))
	l.until(func() bool { s, err := l.reg.Get("phone"); return err == nil && s.Info().Frames == 1 })
	if status, m := l.refused("phone"); status != 409 || !strings.Contains(l.words(m), "already") {
		t.Errorf("%d %v", status, m)
	}
	if status, m := l.post(nil, id("phone"), pic(shot(2, 0))); status != 409 || m["device_id"] != "phone" {
		t.Errorf("%d %v", status, m)
	}
	// The first one has been silent for too long.
	l.h.desk.slots["phone"].ago(patience)
	second := l.dial("phone")
	l.send(second, binaryMessage, shot(3, 0))
	if code, why := l.closed(first); code != websocket.StatusNormalClosure || why != whyReplaced {
		t.Errorf("%v %q", code, why)
	}
	if i := l.camera("phone").Info(); i.State != stream.Live || i.Frames != 2 {
		t.Errorf("%+v", i)
	}
}

// ago makes the last picture older.
func (s *slot) ago(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold.last = s.hold.last.Add(-d)
}

func TestConnectionTakesOverFromForms(t *testing.T) {
	l := newLab(t, Options{})
	l.post(nil, id("phone"), pic(shot(1, 0)))
	c := l.dial("phone")
	// Forms go on until the first picture.
	if status, m := l.post(nil, id("phone"), pic(shot(2, 0))); status != 200 {
		t.Errorf("%d %v", status, m)
	}
	l.send(c, binaryMessage, shot(3, 0))
	l.until(func() bool { return l.camera("phone").Info().Type == "mobile_ws" })
	if status, m := l.post(nil, id("phone"), pic(shot(4, 0))); status != 409 {
		t.Errorf("%d %v", status, m)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	l.until(func() bool { return l.camera("phone").Info().State == stream.Lost })
	if status, m := l.post(nil, id("phone"), pic(shot(5, 0))); status != 200 {
		t.Errorf("%d %v", status, m)
	}
	if i := l.camera("phone").Info(); i.Type != "mobile" || i.Frames != 4 {
		t.Errorf("%+v", i)
	}
}

// TestOthersTakeOver: who streams by another protocol takes a camera over from
// forms at once, and from a connection that has fallen silent.
func TestOthersTakeOver(t *testing.T) {
	l := newLab(t, Options{})
	l.post(nil, id("phone"), pic(shot(1, 0)))
	p, err := l.reg.Publish("phone", stream.PublishOptions{Type: "webrtc"})
	if err != nil {
		t.Fatal(err)
	}
	if status, m := l.post(nil, id("phone"), pic(shot(2, 0))); status != 409 {
		t.Errorf("%d %v", status, m)
	}
	p.Close()
	c := l.dial("phone")
	l.send(c, binaryMessage, shot(3, 0))
	l.until(func() bool { return l.camera("phone").Info().Type == "mobile_ws" })
	if _, err := l.reg.Publish("phone", stream.PublishOptions{}); !errors.Is(err, stream.ErrPublished) {
		t.Error(err)
	}
	l.h.desk.slots["phone"].ago(patience)
	if _, err := l.reg.Publish("phone", stream.PublishOptions{}); err != nil {
		t.Error(err)
	}
	if code, why := l.closed(c); code != websocket.StatusNormalClosure || why != whyReplaced {
		t.Errorf("%v %q", code, why)
	}
}

// TestTakeover: a connection that is told to takes the camera, once.
func TestTakeover(t *testing.T) {
	l := newLab(t, Options{})
	first := l.dial("phone")
	l.send(first, binaryMessage, shot(1, 0))
	l.until(func() bool { s, err := l.reg.Get("phone"); return err == nil && s.Info().Frames == 1 })
	second := l.dial("phone?takeover=1")
	l.send(second, binaryMessage, shot(2, 0))
	if code, why := l.closed(first); code != websocket.StatusNormalClosure || why != whyReplaced {
		t.Errorf("%v %q", code, why)
	}
	l.until(func() bool { return l.camera("phone").Info().Frames == 2 })
	whip, err := l.reg.Publish("phone", stream.PublishOptions{Takeover: true})
	if err != nil {
		t.Fatal(err)
	}
	if code, why := l.closed(second); code != websocket.StatusNormalClosure || why != whyReplaced {
		t.Errorf("%v %q", code, why)
	}
	third := l.dial("phone?takeover=1")
	l.send(third, binaryMessage, shot(3, 0))
	l.until(func() bool { return l.camera("phone").Info().Type == "mobile_ws" })
	whip.Close()
}

func TestRemovedCameraEndsTheConnection(t *testing.T) {
	l := newLab(t, Options{})
	c := l.dial("phone")
	l.send(c, binaryMessage, shot(1, 0))
	l.until(func() bool { _, err := l.reg.Get("phone"); return err == nil })
	if err := l.reg.Remove("phone"); err != nil {
		t.Fatal(err)
	}
	if code, why := l.closed(c); code != websocket.StatusNormalClosure || why != whyRemoved {
		t.Errorf("%v %q", code, why)
	}
}

func TestStopEndsConnections(t *testing.T) {
	l := newLab(t, Options{})
	c, quiet := l.dial("phone"), l.dial("other")
	l.send(c, binaryMessage, shot(1, 0))
	ended := make(chan error)
	go func() { ended <- l.stop() }()
	for _, c := range []*websocket.Conn{c, quiet} {
		if code, _ := l.closed(c); code != websocket.StatusGoingAway {
			t.Error(code)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, Options{})
	l.h.idle = time.Second
	c := l.dial("phone")
	if code, why := l.closed(c); code != websocket.StatusPolicyViolation || !strings.HasPrefix(why, "no picture for") {
		t.Errorf("%v %q", code, why)
	}
	// Nor is it kept by a message that is begun and never ended.
	c = l.dial("phone")
	w, err := c.Writer(t.Context(), binaryMessage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte{0xff}); err != nil {
		t.Fatal(err)
	}
	if code, _ := l.closed(c); code != websocket.StatusPolicyViolation {
		t.Error(code)
	}
}

func TestContextEndsConnections(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := newLab(t, Options{Context: ctx})
	c := l.dial("phone")
	cancel()
	if code, _ := l.closed(c); code != websocket.StatusGoingAway {
		t.Error(code)
	}
}

func TestHold(t *testing.T) {
	t0 := time.Unix(1000, 0)
	for name, tt := range map[string]struct {
		connected   bool
		age         time.Duration
		toConnected bool
		want        bool
	}{
		"form to connection":         {false, 0, true, true},
		"connection to connection":   {true, patience - 1, true, false},
		"connection to form":         {true, patience - 1, false, false},
		"silent one to connection":   {true, patience, true, true},
		"silent connection to form":  {true, patience, false, true},
		"form to another connection": {false, time.Hour, true, true},
	} {
		h := hold{connected: tt.connected, last: t0}
		if got := h.yields(t0.Add(tt.age), tt.toConnected); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	h := hold{last: t0}
	if h.expired(t0.Add(silence-1)) || !h.expired(t0.Add(silence)) {
		t.Error("silence of forms")
	}
	if h.connected = true; h.expired(t0.Add(time.Hour)) {
		t.Error("a connection expires by itself")
	}
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	count := func(step time.Duration, n int) (ok int) {
		for range n {
			if p.allow(now) {
				ok++
			}
			now = now.Add(step)
		}
		return ok
	}
	if ok := count(0, 1000); ok != burst {
		t.Errorf("%d at once", ok)
	}
	now = now.Add(time.Hour)
	if ok := count(time.Second/30, 300); ok != 300 {
		t.Errorf("%d of 300 at 30 a second", ok)
	}
	if ok := count(time.Second/1000, 10_000); ok < 1200 || ok > 1200+burst {
		t.Errorf("%d in ten seconds", ok)
	}
}

func TestTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := stream.New(stream.Config{})
		defer reg.Close()
		d := newDesk(reg)
		p, err := parse(shot(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for range burst {
			if err := d.put("cam", nil, "", p, now); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.put("cam", nil, "", p, now); !errors.Is(err, errTooFast) {
			t.Error(err)
		}
		s, err := reg.Get("cam")
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Info().Frames; n != burst {
			t.Errorf("%d frames: pictures of the same moment are lost", n)
		}
	})
}

func TestStreamNeedsPermission(t *testing.T) {
	l := newLab(t, Options{}, auth.View)
	if status, _ := l.refused("phone"); status != 401 {
		t.Error(status)
	}
	c, _, err := websocket.Dial(t.Context(), l.url+"/api/camera/stream/phone?token="+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.CloseNow()
}
