package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

type broken struct{}

func (broken) Run(context.Context, media.Sink) error { return errors.New("connection refused") }

type lab struct {
	*testing.T
	reg  *stream.Registry
	gate *auth.Gate
	srv  *httptest.Server
}

// newLab has a live camera, one that fails and a disabled one.
func newLab(t *testing.T, anonymous ...auth.Permission) *lab {
	t.Helper()
	reg := stream.New(stream.Config{})
	gate, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: anonymous}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register(Routes(Options{Registry: reg})); err != nil {
		t.Fatal(err)
	}
	p, err := reg.Publish("phone", stream.PublishOptions{Type: "mobile", Location: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	p.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}, {Codec: media.Opus, ClockRate: 48000, Channels: 2}})
	// A VP8 key frame header of 640x480 (RFC 6386 section 9.1).
	p.Write(&media.Frame{Units: [][]byte{{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 2, 0xe0, 1, 0, 0}}})
	for id, o := range map[string]stream.Options{
		"broken": {Name: "Broken one", Type: "rtsp", Location: "rtsp://***@192.0.2.9/", Source: broken{}},
		"off":    {Type: "usb", Disabled: true},
	} {
		if _, err := reg.Add(id, o); err != nil {
			t.Fatal(err)
		}
	}
	b, err := reg.Get("broken")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for b.Info().State != stream.Failed {
		<-tick.C
	}
	l := &lab{T: t, reg: reg, gate: gate, srv: httptest.NewServer(s)}
	t.Cleanup(func() { l.srv.Close(); reg.Close() })
	return l
}

func (l *lab) do(method, path, body string, header ...string) (*http.Response, string) {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), method, l.srv.URL+path, strings.NewReader(body))
	if err != nil {
		l.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := l.srv.Client().Do(r)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Fatal(err)
	}
	return resp, string(b)
}

var bearer = []string{"Authorization", "Bearer " + token}

func TestList(t *testing.T) {
	l := newLab(t, auth.View)
	s, err := l.reg.Get("phone")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"webrtc", "webrtc", "rtsp"} {
		lease, err := s.Lease(kind)
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release()
	}
	resp, text := l.do("GET", "/api/camera/list", "")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	var got []map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	if fmt.Sprint([]any{got[0]["device_id"], got[1]["device_id"], got[2]["device_id"]}) != "[broken off phone]" {
		t.Errorf("order: %s", text)
	}
	phone := got[2]
	age, ok := phone["last_frame_age"].(float64)
	if !ok || age < 0 {
		t.Errorf("last_frame_age %v", phone["last_frame_age"])
	}
	delete(phone, "last_frame_age")
	delete(phone, "fps")
	delete(phone, "bitrate")
	want := map[string]any{
		"device_id": "phone", "name": "phone", "source_type": "mobile", "active": true, "frame_size": 12.0,
		"subscribers": 3.0, "snapshot_url": "/api/camera/snapshot/phone", "mjpeg_url": "/api/camera/mjpeg/phone",
		"stream_ws_url": "/api/camera/ws/phone", "whep_url": "/whep/phone", "state": "live", "error": nil,
		"codec": "VP8", "audio": "opus", "width": 640.0, "height": 480.0,
		"viewers": map[string]any{"webrtc": 2.0, "rtsp": 1.0},
	}
	if a, b := fmt.Sprint(phone), fmt.Sprint(want); a != b {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if b := got[0]; b["last_frame_age"] != nil || b["active"] != false || b["state"] != "failed" || b["error"] != "connection refused" || b["name"] != "Broken one" {
		t.Errorf("broken: %v", b)
	}
	if got[1]["state"] != "disabled" {
		t.Errorf("off: %v", got[1])
	}
}

func TestEmptyListIsNoNull(t *testing.T) {
	l := newLab(t, auth.View)
	for _, id := range []string{"phone", "off", "broken"} {
		if err := l.reg.Remove(id); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/api/camera/list", "/api/camera/server/status"} {
		if _, text := l.do("GET", path, ""); text != "[]" {
			t.Errorf("%s: %q", path, text)
		}
	}
}

func TestStatus(t *testing.T) {
	l := newLab(t, auth.View)
	_, text := l.do("GET", "/api/camera/server/status", "")
	var got []status
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	if p := got[2]; p.DeviceID != "phone" || !p.Running || p.Resolution != "640x480" || p.FrameCount != 1 || p.Source != "192.0.2.1" || p.Error != nil {
		t.Errorf("%+v", p)
	}
	if b := got[0]; b.Running || b.Error == nil || *b.Error != "connection refused" || b.Resolution != "" || b.Source != "rtsp://***@192.0.2.9/" {
		t.Errorf("%+v", b)
	}
}

func TestRemove(t *testing.T) {
	l := newLab(t, auth.View)
	for _, tt := range []struct {
		path   string
		header []string
		status int
		body   string
	}{
		{"/api/camera/phone", nil, 401, `"device_id":"phone"`},
		{"/api/camera/phone", bearer, 200, `{"device_id":"phone","status":"ok"}`},
		{"/api/camera/phone", bearer, 404, "no such camera"},
		{"/api/camera/camera/off", bearer, 200, `{"device_id":"off","status":"ok"}`},
		{"/api/camera/bad%20id", bearer, 400, "1 to 64 letters"},
	} {
		resp, text := l.do("DELETE", tt.path, "", tt.header...)
		if resp.StatusCode != tt.status || !strings.Contains(text, tt.body) {
			t.Errorf("%s: %s %s", tt.path, resp.Status, text)
		}
	}
}

// Whoever may see one camera learns of no other.
func TestOnlyWhatOneMaySee(t *testing.T) {
	l := newLab(t)
	see := func(cameras ...string) []string {
		secret, _, _, err := l.gate.Issue("viewer", auth.Grant{Permissions: []auth.Permission{auth.View}, Cameras: cameras}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"Authorization", "Bearer " + secret}
	}
	for _, tt := range []struct {
		header []string
		want   string
	}{
		{see("phone"), "[phone]"},
		{see("bro*", "off"), "[broken off]"},
		{see("elsewhere"), "[]"},
		{see(), "[broken off phone]"},
		{bearer, "[broken off phone]"},
	} {
		for _, path := range []string{"/api/camera/list", "/api/camera/server/status"} {
			resp, text := l.do("GET", path, "", tt.header...)
			var got []struct {
				DeviceID string `json:"device_id"`
			}
			if err := json.Unmarshal([]byte(text), &got); err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: %s %v %s", path, resp.Status, err, text)
			}
			ids := []string{}
			for _, c := range got {
				ids = append(ids, c.DeviceID)
			}
			if fmt.Sprint(ids) != tt.want {
				t.Errorf("%s: %v, want %s", path, ids, tt.want)
			}
		}
	}
	if resp, _ := l.do("GET", "/api/camera/list", ""); resp.StatusCode != 401 {
		t.Errorf("a stranger sees the list: %s", resp.Status)
	}
	// A stranger may see all: somebody known may not less.
	if err := l.gate.SetPolicy(auth.Policy{Anonymous: []auth.Permission{auth.View}}); err != nil {
		t.Fatal(err)
	}
	if _, text := l.do("GET", "/api/camera/list", "", see("phone")...); strings.Count(text, "device_id") != 3 {
		t.Errorf("less than a stranger: %s", text)
	}
}

func TestHealth(t *testing.T) {
	l := newLab(t)
	if resp, text := l.do("GET", "/healthz", ""); resp.StatusCode != 200 || text != `{"status":"ok"}` {
		t.Errorf("%s %s", resp.Status, text)
	}
}
