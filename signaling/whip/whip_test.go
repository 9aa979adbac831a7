package whip

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"camwire/media/stream"
	"camwire/signaling/peer"
)

const (
	sdpType  = "application/sdp"
	fragType = "application/trickle-ice-sdpfrag"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve puts the sessions behind a real HTTP server.
func serve(t *testing.T) (*stream.Registry, string) {
	t.Helper()
	p, err := peer.New(peer.Options{
		Address: "127.0.0.1:0", ICEServers: []peer.ICEServer{{URLs: []string{"stun:stun.example:3478"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	reg := stream.New(stream.Config{})
	h := New(Options{Registry: reg, Peer: p})
	mux := http.NewServeMux()
	mux.HandleFunc("/whip/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			h.Options(w, r, r.PathValue("id"))
			return
		}
		h.Offer(w, r, r.PathValue("id"))
	})
	mux.HandleFunc("/whip/{id}/{session}", func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPatch:
			h.Patch(w, r, r.PathValue("id"), r.PathValue("session"))
		case http.MethodDelete:
			h.Delete(w, r, r.PathValue("id"), r.PathValue("session"))
		default:
			h.Session(w, r)
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		_ = p.Close()
		reg.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return reg, s.URL
}

func do(t *testing.T, method, url, typ, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if typ != "" {
		r.Header.Set("Content-Type", typ)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func offer(t *testing.T) (*webrtc.PeerConnection, string) {
	t.Helper()
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	tr, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(tr); err != nil {
		t.Fatal(err)
	}
	sd, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(sd); err != nil {
		t.Fatal(err)
	}
	return pc, sd.SDP
}

// TestSession walks through a session as RFC 9725 tells it.
func TestSession(t *testing.T) {
	reg, url := serve(t)
	_, sdp := offer(t)
	res, answer := do(t, http.MethodPost, url+"/whip/phone", sdpType, sdp)
	if res.StatusCode != http.StatusCreated || res.Header.Get("Content-Type") != sdpType ||
		res.Header.Get("ETag") == "" || res.Header.Get("Accept-Patch") != fragType ||
		!strings.Contains(res.Header.Get("Link"), `rel="ice-server"`) {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	if !strings.Contains(answer, "a=recvonly") || !strings.Contains(answer, "a=candidate:") {
		t.Errorf("answer:\n%s", answer)
	}
	session := url + res.Header.Get("Location")
	if s, err := reg.Get("phone"); err != nil || s.Info().Type != "webrtc" || s.Info().State != stream.Connecting {
		t.Errorf("the camera: %v %v", s, err)
	}
	_, second := offer(t)
	if res, body := do(t, http.MethodPost, url+"/whip/phone", sdpType, second); res.StatusCode != http.StatusConflict {
		t.Errorf("a second publisher: %s %s", res.Status, body)
	}
	frag := "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
	for _, x := range []struct {
		method, body, match string
		want                int
	}{
		{http.MethodGet, "", "", 405}, {http.MethodPut, "", "", 405}, {http.MethodPost, "", "", 405},
		{http.MethodPatch, frag, `"old"`, 412}, {http.MethodPatch, frag, "", 428}, {http.MethodPatch, frag, "*", 200},
		{http.MethodPatch, "nonsense", "", 400},
	} {
		if res, body := do(t, x.method, session, fragType, x.body, "If-Match", x.match); res.StatusCode != x.want {
			t.Errorf("%s %q: %s %s", x.method, x.body, res.Status, body)
		}
	}
	_, third := offer(t)
	res, _ = do(t, http.MethodPost, url+"/whip/phone?takeover=1", sdpType, third)
	if res.StatusCode != http.StatusCreated {
		t.Errorf("taking over: %s", res.Status)
	}
	if res, _ := do(t, http.MethodDelete, session, "", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("the first session: %s", res.Status)
	}
	if res, _ := do(t, http.MethodDelete, url+res.Header.Get("Location"), "", ""); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s", res.Status)
	}
}

func TestRefusals(t *testing.T) {
	reg, url := serve(t)
	if _, err := reg.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	_, sdp := offer(t)
	for _, x := range []struct {
		name, method, path, typ, body string
		want                          int
	}{
		{"reserved", "GET", "/whip/a", "", "", 405}, {"reserved", "PUT", "/whip/a", "", "", 405},
		{"type", "POST", "/whip/a", "application/json", "{}", 415},
		{"empty", "POST", "/whip/a", sdpType, "", 400},
		{"no SDP", "POST", "/whip/a", sdpType, "hello", 400},
		{"large", "POST", "/whip/a", sdpType, strings.Repeat("x", 200<<10), 413},
		{"bad id", "POST", "/whip/a%20b", sdpType, sdp, 400},
		{"disabled", "POST", "/whip/off", sdpType, sdp, 409},
		{"unknown session", "DELETE", "/whip/a/b", "", "", 404},
		{"options", "OPTIONS", "/whip/a", "", "", 204},
	} {
		res, body := do(t, x.method, url+x.path, x.typ, x.body)
		if res.StatusCode != x.want {
			t.Errorf("%s: %s %s", x.name, res.Status, body)
		}
		if x.want >= 400 && !strings.Contains(body, `"error"`) {
			t.Errorf("%s: no reason: %s", x.name, body)
		}
	}
	if n := len(reg.List()); n != 1 {
		t.Errorf("%d cameras: a refused offer has made one", n)
	}
}
