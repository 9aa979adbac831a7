package ws

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/stream"
	"camwire/signaling/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rig struct {
	reg  *stream.Registry
	url  string
	stop context.CancelFunc
}

func serve(t *testing.T) *rig {
	t.Helper()
	p, err := peer.New(peer.Options{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{reg: stream.New(stream.Config{}), stop: cancel}
	h := New(Options{Registry: r.reg, Peer: p, Context: ctx})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.Serve(w, q, strings.TrimPrefix(q.URL.Path, "/"))
	}))
	r.url = s.URL
	t.Cleanup(func() {
		cancel()
		s.Close()
		_ = p.Close()
		r.reg.Close()
	})
	return r
}

func (r *rig) dial(t *testing.T, camera string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), r.url+"/"+camera, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func say(t *testing.T, c *websocket.Conn, m any) {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, b); err != nil {
		t.Fatal(err)
	}
}

// hear reads until a message of the type comes.
func hear(t *testing.T, c *websocket.Conn, typ string) message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %q: %v", typ, err)
		}
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if m.Type == typ {
			return m
		}
	}
}

// end reads to the end of the connection and returns how it ended.
func end(t *testing.T, c *websocket.Conn) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			if ctx.Err() != nil {
				t.Error("the connection goes on")
			}
			return err
		}
	}
}

func TestWatchAndClock(t *testing.T) {
	r := serve(t)
	pub, err := r.reg.Publish("cam", stream.PublishOptions{Type: "test"})
	if err != nil {
		t.Fatal(err)
	}
	// A key frame of VP8, 16x16, as far as its header goes.
	key := append([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0}, make([]byte, 100)...)
	taken := time.Now().Add(-time.Second)
	pub.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	pub.Write(&media.Frame{Captured: taken, Units: [][]byte{key}})

	c := r.dial(t, "cam")
	if m := hear(t, c, "state"); m.State != "live" {
		t.Errorf("%+v", m)
	}
	say(t, c, message{Type: "ping", T: 42})
	if m := hear(t, c, "pong"); m.T != 42 || m.Server < millis(taken) {
		t.Errorf("%+v", m)
	}

	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	got := make(chan struct{})
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		defer close(got)
		_, _, _ = tr.ReadRTP()
	})
	// Trickle both ways: the offer goes out before any candidate is known.
	o, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	cands := make(chan *webrtc.ICECandidate, 16)
	pc.OnICECandidate(func(c *webrtc.ICECandidate) { cands <- c })
	say(t, c, message{Type: "offer", SDP: o.SDP})
	if err := pc.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	a := hear(t, c, "answer")
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.SDP}); err != nil {
		t.Fatal(err)
	}
	for x := range cands {
		if x == nil {
			say(t, c, map[string]any{"type": "candidate", "candidate": nil})
			break
		}
		j := x.ToJSON()
		say(t, c, message{Type: "candidate", Candidate: &candidate{Candidate: j.Candidate, SDPMid: *j.SDPMid, SDPMLineIndex: j.SDPMLineIndex}})
	}
	clk := hear(t, c, "clock")
	if clk.ClockRate != 90000 || clk.Captured < millis(taken)-1 || clk.Captured > millis(taken)+1 {
		t.Errorf("%+v, want captured %f", clk, millis(taken))
	}
	<-got
	if err := r.reg.Remove("cam"); err != nil {
		t.Fatal(err)
	}
	if m := hear(t, c, "error"); m.Code != "ended" {
		t.Errorf("%+v", m)
	}
}

func TestRefusals(t *testing.T) {
	r := serve(t)
	if _, err := r.reg.Add("cam", stream.Options{}); err != nil {
		t.Fatal(err)
	}
	if m := hear(t, r.dial(t, "none"), "error"); m.Code != "unknown_camera" {
		t.Errorf("%+v", m)
	}
	c := r.dial(t, "cam")
	for _, x := range []struct{ text, code string }{
		{"hello", "bad_message"}, {`{"type":"dance"}`, "bad_message"}, {`{"type":"offer","sdp":"v=0"}`, "bad_offer"},
	} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(x.text)); err != nil {
			t.Fatal(err)
		}
		if m := hear(t, c, "error"); m.Code != x.code || m.Error == "" {
			t.Errorf("%s: %+v", x.text, m)
		}
	}
	// The connection is still there.
	say(t, c, message{Type: "ping", T: 1})
	hear(t, c, "pong")
	say(t, c, message{Type: "bye"})
	if err := end(t, c); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after bye: %v", err)
	}
	// Too large a message ends only its own connection.
	c = r.dial(t, "cam")
	_ = c.Write(t.Context(), websocket.MessageText, make([]byte, peer.MaxOffer+2048))
	if err := end(t, c); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("%v", err)
	}
}

func TestStopSaysGoodbye(t *testing.T) {
	r := serve(t)
	if _, err := r.reg.Add("cam", stream.Options{}); err != nil {
		t.Fatal(err)
	}
	c := r.dial(t, "cam")
	say(t, c, message{Type: "ping", T: 1})
	hear(t, c, "pong")
	r.stop()
	_ = end(t, c)
}
