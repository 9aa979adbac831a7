package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestBadInput sends what is wrong, unknown, too large or not allowed, in
// every way that strangers have, while a good viewer watches: each gets a clear
// answer, and the viewer loses nothing.
func TestBadInput(t *testing.T) {
	end2end(t)
	s := start(t, `cameras:
  - { id: cam, source: "test:?width=640&height=360&fps=20&gop=2" }
  - { id: extra, source: "test:?width=320&height=240&fps=5" }
`)
	s.state(t, "cam", "live")
	s.state(t, "extra", "live")
	good := view(t, s, "cam", viewOptions{})
	good.watches(t, 10)
	good.restart()

	t.Run("HTTP", func(t *testing.T) { badRequests(t, s, good.offer) })
	t.Run("pictures", func(t *testing.T) { pictureOptions(t, s) })
	t.Run("mjpg-streamer", func(t *testing.T) { mjpgStreamer(t, s) })
	t.Run("delete", func(t *testing.T) { deleteCamera(t, s) })
	t.Run("RTSP", func(t *testing.T) { badRTSP(t, s) })
	t.Run("WebSocket", func(t *testing.T) { badSignal(t, s) })
	t.Run("garbage", func(t *testing.T) { garbage(t, s) })

	good.watches(t, 10)
	if c := good.count(); c.missing != 0 || c.largest > 2*time.Second {
		t.Errorf("the good viewer got %+v", c)
	}
	if st := good.pc.ConnectionState().String(); st != "connected" {
		t.Errorf("the good viewer is %s", st)
	}
}

// noCodec is an offer of a codec that nobody has.
func noCodec(offer string) string {
	var b strings.Builder
	for line := range strings.Lines(offer) {
		switch {
		case strings.HasPrefix(line, "m=video"):
			b.WriteString("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 theora/90000\r\n")
		case strings.HasPrefix(line, "a=rtpmap:"), strings.HasPrefix(line, "a=fmtp:"), strings.HasPrefix(line, "a=rtcp-fb:"):
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

func badRequests(t *testing.T, s *server, offer string) {
	const sdp, frag = "application/sdp", "application/trickle-ice-sdpfrag"
	large := offer + strings.Repeat("a=x\r\n", 128<<10/5)
	for _, tt := range []struct {
		name, method, path, body, kind string
		want                           int
		header                         []string
	}{
		{name: "unknown camera", method: "POST", path: "/whep/nobody", body: offer, kind: sdp, want: 404},
		{name: "unknown camera, other path", method: "POST", path: "/nobody/whep", body: offer, kind: sdp, want: 404},
		{name: "bad id", method: "POST", path: "/whep/b.d", body: offer, kind: sdp, want: 400},
		{name: "id too long", method: "POST", path: "/whep/" + strings.Repeat("x", 65), body: offer, kind: sdp, want: 400},
		{name: "not an SDP", method: "POST", path: "/whep/cam", body: "hello", kind: sdp, want: 400},
		{name: "half an SDP", method: "POST", path: "/whep/cam", body: offer[:len(offer)/3], kind: sdp, want: 400},
		{name: "no body", method: "POST", path: "/whep/cam", kind: sdp, want: 400},
		{name: "nothing to receive", method: "POST", path: "/whep/cam", body: strings.ReplaceAll(offer, "a=recvonly", "a=sendonly"), kind: sdp, want: 400},
		{name: "too large", method: "POST", path: "/whep/cam", body: large, kind: sdp, want: 413},
		{name: "wrong type", method: "POST", path: "/whep/cam", body: offer, kind: "text/plain", want: 415},
		{name: "no type", method: "POST", path: "/whep/cam", body: offer, want: 415},
		{name: "no codec", method: "POST", path: "/whep/cam", body: noCodec(offer), kind: sdp, want: 406},
		{name: "no token", method: "POST", path: "/whep/cam", body: offer, kind: sdp, want: 401, header: []string{"Authorization", ""}},
		{name: "wrong token", method: "POST", path: "/whep/cam", body: offer, kind: sdp, want: 401, header: []string{"Authorization", "Bearer wrong"}},
		{name: "wrong method", method: "GET", path: "/whep/cam", want: 405},
		{name: "unknown session", method: "PATCH", path: "/whep/cam/0123", body: "a=mid:0", kind: frag, want: 404},
		{name: "unknown session", method: "DELETE", path: "/whep/cam/0123", want: 404},
		{name: "list without token", method: "GET", path: "/api/camera/list", want: 401, header: []string{"Authorization", ""}},
		{name: "list by POST", method: "POST", path: "/api/camera/list", want: 405},
		{name: "unknown address", method: "GET", path: "/api/nothing", want: 404},
		{name: "host of a stranger", method: "GET", path: "/api/camera/list", want: 421, header: []string{"Host", "camwire.attacker.example"}},
		{name: "snapshot of nobody", method: "GET", path: "/api/camera/snapshot/nobody", want: 404},
		{name: "snapshot, bad id", method: "GET", path: "/api/camera/snapshot/b.d", want: 400},
		{name: "snapshot without token", method: "GET", path: "/api/camera/snapshot/cam", want: 401, header: []string{"Authorization", ""}},
		{name: "MJPEG of nobody", method: "GET", path: "/api/camera/mjpeg/nobody", want: 404},
		{name: "MJPEG, bad id", method: "GET", path: "/api/camera/mjpeg/b.d", want: 400},
		{name: "delete without token", method: "DELETE", path: "/api/camera/extra", want: 401, header: []string{"Authorization", ""}},
		{name: "delete nobody", method: "DELETE", path: "/api/camera/nobody", want: 404},
		{name: "delete, bad id", method: "DELETE", path: "/api/camera/b.d", want: 400},
		{name: "sign in wrongly", method: "POST", path: "/api/session", body: `{"token":"wrong"}`, kind: "application/json", want: 401},
		{name: "sign in with nonsense", method: "POST", path: "/api/session", body: "{", kind: "application/json", want: 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := append([]string{"Content-Type", tt.kind}, tt.header...)
			res, body := s.do(t, tt.method, tt.path, strings.NewReader(tt.body), header...)
			if res.StatusCode != tt.want {
				t.Fatalf("%s %s: %s %s; want %d", tt.method, tt.path, res.Status, body, tt.want)
			}
			var answer struct{ Error string }
			if err := json.Unmarshal(body, &answer); err != nil || answer.Error == "" {
				t.Errorf("the answer has no error in words: %s", body)
			}
			if tt.want == http.StatusMethodNotAllowed && res.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
	var answer struct {
		Error  string
		Device string `json:"device_id"`
	}
	if _, body := s.get(t, "/api/camera/snapshot/nobody"); json.Unmarshal(body, &answer) != nil || answer.Device != "nobody" {
		t.Errorf("snapshot of nobody: %s", body)
	}
}

// pictureOptions checks that what is asked of pictures is done, or refused.
func pictureOptions(t *testing.T, s *server) {
	for _, bad := range []string{
		"width=5", "width=99999", "width=-1", "width=wide", "width=1e3", "quality=0", "quality=101", "quality=best",
		"fps=0", "fps=-1", "fps=NaN", "fps=Inf", "fps=1000", "fps=fast",
	} {
		for _, path := range []string{"/api/camera/snapshot/cam?", "/api/camera/mjpeg/cam?"} {
			res, body := s.get(t, path+bad)
			key, _, _ := strings.Cut(bad, "=")
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), key) {
				t.Errorf("%s%s: %s %.200s", path, bad, res.Status, body)
			}
		}
	}
	snapshot := func(query string) (width, size int) {
		res, body := s.get(t, "/api/camera/snapshot/cam?"+query)
		c, err := jpeg.DecodeConfig(bytes.NewReader(body))
		if res.StatusCode != http.StatusOK || err != nil {
			t.Errorf("snapshot with %s: %s, %v", query, res.Status, err)
		}
		return c.Width, len(body)
	}
	if w, _ := snapshot(""); w != 640 {
		t.Errorf("a snapshot is %d wide, want 640", w)
	}
	if w, _ := snapshot("width=320"); w != 320 {
		t.Errorf("a snapshot of width=320 is %d wide", w)
	}
	_, fine := snapshot("quality=90")
	_, coarse := snapshot("quality=20")
	if coarse*3 > fine*2 {
		t.Errorf("a snapshot of quality 20 has %d bytes, one of quality 90 has %d", coarse, fine)
	}
	const fps = 5
	v := watchMJPEG(t, s, fmt.Sprintf("/api/camera/mjpeg/cam?fps=%d", fps))
	defer v.close()
	v.watches(t, 2*fps)
	v.mu.Lock()
	defer v.mu.Unlock()
	pace := float64(len(v.stamps)-1) / (v.stamps[len(v.stamps)-1] - v.stamps[0])
	if pace > fps*1.2 {
		t.Errorf("asked for %d frames per second, got %.1f", fps, pace)
	}
}

// mjpgStreamer checks the addresses of mjpg-streamer.
func mjpgStreamer(t *testing.T, s *server) {
	for _, path := range []string{"/?action=snapshot", "/webcam/?action=snapshot", "/webcam?action=snapshot", "/webcam/?action=snapshot&cam=extra"} {
		res, body := s.get(t, path)
		c, err := jpeg.DecodeConfig(bytes.NewReader(body))
		want := 640 // the first camera
		if strings.HasSuffix(path, "extra") {
			want = 320
		}
		if err != nil || res.Header.Get("Content-Type") != "image/jpeg" || c.Width != want {
			t.Errorf("%s: %s, %d pixels wide, %v; want %d", path, res.Status, c.Width, err, want)
		}
	}
	for _, path := range []string{"/?action=stream", "/webcam/?action=stream", "/webcam/?action=stream&cam=cam"} {
		v := watchMJPEG(t, s, path)
		v.watches(t, 3)
		v.close()
	}
	for path, want := range map[string]int{
		"/?action=dance": 400, "/webcam/?action=stream&cam=nobody": 404, "/webcam/?action=stream&cam=b.d": 400, "/webcam/": 400,
	} {
		if res, body := s.get(t, path); res.StatusCode != want {
			t.Errorf("%s: %s %.200s; want %d", path, res.Status, body, want)
		}
	}
}

func deleteCamera(t *testing.T, s *server) {
	watching := watchMJPEG(t, s, "/api/camera/mjpeg/extra")
	watching.watches(t, 2)
	res, body := s.do(t, http.MethodDelete, "/api/camera/extra", nil)
	if got := strings.TrimSpace(string(body)); res.StatusCode != http.StatusOK || got != `{"device_id":"extra","status":"ok"}` {
		t.Errorf("delete: %s %s", res.Status, got)
	}
	select {
	case <-watching.done:
	case <-time.After(patience):
		t.Error("the viewer of the camera stays")
	}
	if s.camera(t, "extra") != nil {
		t.Error("the camera is still in the list")
	}
	if res, _ := s.do(t, http.MethodDelete, "/api/camera/camera/extra", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("deleted again: %s", res.Status)
	}
}

// badRTSP speaks RTSP by hand.
func badRTSP(t *testing.T, s *server) {
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("e2e:"+s.token)) + "\r\n"
	for _, tt := range []struct{ name, method, path, header, want string }{
		{"no password", "DESCRIBE", "cam", "", "401"},
		{"wrong password", "DESCRIBE", "cam", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("e2e:wrong")) + "\r\n", "401"},
		{"unknown camera", "DESCRIBE", "nobody", basic, "404"},
		{"bad id", "DESCRIBE", "b.d", basic, "400"},
		{"right", "DESCRIBE", "cam", basic, "200"},
	} {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.rtsp), patience)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "%s rtsp://127.0.0.1:%d/%s RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n%s\r\n", tt.method, s.rtsp, tt.path, tt.header)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "RTSP/1.0 "+tt.want) {
			t.Errorf("%s: %q, %v; want %s", tt.name, line, err, tt.want)
		}
		_ = c.Close()
	}
}

// badSignal speaks to the signaling WebSocket.
func badSignal(t *testing.T, s *server) {
	dial := func(id string) *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), s.base+"/api/signal/"+id, &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	code := func(c *websocket.Conn) string {
		for {
			_, b, err := c.Read(t.Context())
			if err != nil {
				return err.Error()
			}
			var m struct{ Type, Code string }
			if json.Unmarshal(b, &m) == nil && m.Type == "error" {
				return m.Code
			}
		}
	}
	c := dial("nobody")
	if got := code(c); got != "unknown_camera" {
		t.Errorf("unknown camera: %s", got)
	}
	_ = c.CloseNow()
	c = dial("cam")
	defer c.CloseNow() //nolint:errcheck // the test is over
	for _, tt := range []struct {
		message string
		kind    websocket.MessageType
		want    string
	}{
		{"{", websocket.MessageText, "bad_message"},
		{"\x00\x01", websocket.MessageBinary, "bad_message"},
		{`{"type":"dance"}`, websocket.MessageText, "bad_message"},
		{`{"type":"offer","sdp":"hello"}`, websocket.MessageText, "bad_offer"},
	} {
		if err := c.Write(t.Context(), tt.kind, []byte(tt.message)); err != nil {
			t.Fatal(err)
		}
		if got := code(c); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.message, got, tt.want)
		}
	}
	if _, res, err := websocket.Dial(t.Context(), s.base+"/api/signal/cam", nil); err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %v", err)
	}
}

// garbage goes to every open port.
func garbage(t *testing.T, s *server) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable is what is wanted
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	for _, port := range []int{s.http, s.rtsp, s.webrtc} {
		for n := range 20 {
			c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), patience)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(noise(1 << n % 70000)) // the server may hang up
			_ = c.Close()
		}
	}
	u, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.webrtc))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for n := range 500 {
		b := noise(n * 3)
		if n%2 == 0 && n > 20 {
			copy(b, []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}) // looks like STUN
		}
		_, _ = u.Write(b)
	}
}
