package whep

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"camwire/media/stream"
	"camwire/signaling/peer"
	"camwire/signaling/session"
)

const (
	sdpType  = "application/sdp"
	fragType = "application/trickle-ice-sdpfrag"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve puts a handler behind a real HTTP server, with one camera that waits
// for its publisher.
func serve(t *testing.T, o peer.Options) (*session.Table, string) {
	t.Helper()
	o.Address = "127.0.0.1:0"
	p, err := peer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	reg := stream.New(stream.Config{})
	if _, err := reg.Add("cam", stream.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	h := New(Options{Registry: reg, Peer: p})
	mux := http.NewServeMux()
	mux.HandleFunc("/whep/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			h.Options(w, r, r.PathValue("id"))
			return
		}
		h.Offer(w, r, r.PathValue("id"))
	})
	mux.HandleFunc("PATCH /whep/{id}/{session}", func(w http.ResponseWriter, r *http.Request) {
		h.Patch(w, r, r.PathValue("id"), r.PathValue("session"))
	})
	mux.HandleFunc("DELETE /whep/{id}/{session}", func(w http.ResponseWriter, r *http.Request) {
		h.Delete(w, r, r.PathValue("id"), r.PathValue("session"))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		_ = p.Close()
		reg.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h, s.URL
}

func do(t *testing.T, method, url, typ, body string, header ...string) *http.Response {
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
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// client is a pion peer that would watch.
func client(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	return pc
}

func offer(t *testing.T, pc *webrtc.PeerConnection, o *webrtc.OfferOptions) string {
	t.Helper()
	sd, err := pc.CreateOffer(o)
	if err != nil {
		t.Fatal(err)
	}
	g := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(sd); err != nil {
		t.Fatal(err)
	}
	<-g
	return pc.LocalDescription().SDP
}

func TestSessionFromOfferToDelete(t *testing.T) {
	h, url := serve(t, peer.Options{ICEServers: []peer.ICEServer{{URLs: []string{"turn:192.0.2.1"}, Username: "u", Credential: "p"}}})
	pc := client(t)
	connected := make(chan struct{})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	sdp := offer(t, pc, nil)
	res := do(t, http.MethodPost, url+"/whep/cam", sdpType, sdp)
	answer := text(t, res)
	if res.StatusCode != http.StatusCreated || res.Header.Get("Content-Type") != sdpType {
		t.Fatalf("%s: %s", res.Status, answer)
	}
	loc, etag := res.Header.Get("Location"), res.Header.Get("ETag")
	if !strings.HasPrefix(loc, "/whep/cam/") || len(etag) < 10 || etag[0] != '"' {
		t.Errorf("Location %q ETag %q", loc, etag)
	}
	if l := res.Header.Get("Link"); l != `<turn:192.0.2.1>; rel="ice-server"; username="u"; credential="p"; credential-type="password"` {
		t.Errorf("Link %q", l)
	}
	if res.Header.Get("Accept-Patch") != fragType {
		t.Error("no Accept-Patch")
	}
	if !strings.Contains(answer, "a=candidate:") {
		t.Error("the answer has no candidates")
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	<-connected

	ufrag, pwd := credentials(sdp)
	frag := "a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:" + pwd + "\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
	for _, x := range []struct {
		name, body, typ, match string
		want                   int
	}{
		{"trickle", frag, fragType, etag, http.StatusNoContent},
		{"trickle without ETag", frag, fragType, "", http.StatusNoContent},
		{"trickle of an older session", frag, fragType, `"old"`, http.StatusPreconditionFailed},
		{"restart without If-Match", strings.Replace(frag, ufrag, "newfrag", 1), fragType, "", http.StatusPreconditionRequired},
		{"wrong type", frag, sdpType, "", http.StatusUnsupportedMediaType},
		{"garbage", "hello", fragType, "", http.StatusBadRequest},
		{"empty", "", fragType, "", http.StatusBadRequest},
		{"huge", strings.Repeat("a=x:y\r\n", 5000), fragType, "", http.StatusRequestEntityTooLarge},
	} {
		header := []string{}
		if x.match != "" {
			header = []string{"If-Match", x.match}
		}
		if res := do(t, http.MethodPatch, url+loc, x.typ, x.body, header...); res.StatusCode != x.want {
			t.Errorf("%s: %s, want %d: %s", x.name, res.Status, x.want, text(t, res))
		}
	}

	// A real ICE restart: new credentials of the client, new ones of ours.
	again := offer(t, pc, &webrtc.OfferOptions{ICERestart: true})
	u2, p2 := credentials(again)
	res = do(t, http.MethodPatch, url+loc, fragType, "a=ice-ufrag:"+u2+"\r\na=ice-pwd:"+p2+"\r\n", "If-Match", `"*"`)
	if res.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("a quoted star is no star: %s", res.Status)
	}
	res = do(t, http.MethodPatch, url+loc, fragType, "a=ice-ufrag:"+u2+"\r\na=ice-pwd:"+p2+"\r\n", "If-Match", "*")
	body := text(t, res)
	if res.StatusCode != http.StatusOK || res.Header.Get("ETag") == etag || res.Header.Get("Content-Type") != fragType {
		t.Fatalf("restart: %s %s", res.Status, body)
	}
	u3, _ := credentials(body)
	if old, _ := credentials(answer); u3 == "" || u3 == old || !strings.Contains(body, "a=candidate:") {
		t.Errorf("restart answered %q", body)
	}
	if h.Sessions() != 1 {
		t.Errorf("%d sessions", h.Sessions())
	}
	if res := do(t, http.MethodDelete, url+strings.Replace(loc, "cam", "off", 1), "", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("deleted under another camera's name: %s", res.Status)
	}
	for _, want := range []int{http.StatusOK, http.StatusNotFound} {
		if res := do(t, http.MethodDelete, url+loc, "", ""); res.StatusCode != want {
			t.Errorf("DELETE: %s, want %d", res.Status, want)
		}
	}
	if h.Sessions() != 0 {
		t.Errorf("%d sessions left", h.Sessions())
	}
}

func TestRefusals(t *testing.T) {
	_, url := serve(t, peer.Options{})
	good := offer(t, client(t), nil)
	for _, x := range []struct {
		name, method, id, typ, body string
		want                        int
		says                        string
	}{
		{"unknown camera", "POST", "none", sdpType, good, 404, "no such camera"},
		{"bad id", "POST", "a%20b", sdpType, good, 400, "letters"},
		{"disabled", "POST", "off", sdpType, good, 409, "disabled"},
		{"no type", "POST", "cam", "", good, 415, "application/sdp"},
		{"JSON", "POST", "cam", "application/json", "{}", 415, "application/sdp"},
		{"empty", "POST", "cam", sdpType, "", 400, "empty"},
		{"garbage", "POST", "cam", sdpType, "v=0", 400, "bad offer"},
		{"over 128 KiB", "POST", "cam", sdpType, good + strings.Repeat("a=x:y\r\n", 20000), 413, "131072"},
		{"GET", "GET", "cam", "", "", 405, "POST"},
	} {
		res := do(t, x.method, url+"/whep/"+x.id, x.typ, x.body)
		if b := text(t, res); res.StatusCode != x.want || !strings.Contains(b, x.says) || !strings.Contains(b, `"error"`) {
			t.Errorf("%s: %s %s, want %d with %q", x.name, res.Status, b, x.want, x.says)
		}
	}
	res := do(t, http.MethodOptions, url+"/whep/cam", "", "")
	if res.StatusCode != http.StatusNoContent || res.Header.Get("Accept-Post") != sdpType {
		t.Errorf("OPTIONS: %s %v", res.Status, res.Header)
	}
}

// credentials returns the ICE user and password of an SDP.
func credentials(sdp string) (ufrag, pwd string) {
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok {
			ufrag = v
		}
		if v, ok := strings.CutPrefix(line, "a=ice-pwd:"); ok {
			pwd = v
		}
	}
	return ufrag, pwd
}
