package app

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"camwire/config"

	"github.com/coder/websocket"
)

// planted is how all secrets of TestSecretsStaySecret begin.
const planted = "s3cr3t"

var plantedPattern = regexp.MustCompile(planted + `[-a-z0-9]*`)

// TestSecretsStaySecret plants secrets wherever people put them, makes every
// source fail and every door refuse, and then looks for them in the log at its
// most talkative, in all answers, and in the metrics.
func TestSecretsStaySecret(t *testing.T) {
	// A camera's own web server that says no in several ways.
	cam := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/gone?session=s3cr3t-redirect", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "http://u:s3cr3t-location@127.0.0.1:1/?auth=s3cr3t-locquery", http.StatusFound)
		case "/denied":
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer cam.Close()
	at := strings.TrimPrefix(cam.URL, "http://")
	l := start(t, fmt.Sprintf(`
cameras:
  - { id: rtsp, source: "rtsp://user:s3cr3t-rtsp@127.0.0.1:1/x?token=s3cr3t-rtspquery" }
  - { id: rtsppath, source: "rtsp://127.0.0.1:1/user=admin_password=s3cr3t-path_channel=1" }
  - { id: refused, source: "http://user:s3cr3t-http@127.0.0.1:1/x.mjpeg?pwd=s3cr3t-httpquery" }
  - { id: denied, source: "http://user:s3cr3t-denied@%[1]s/denied?key=s3cr3t-deniedquery" }
  - { id: redirect, source: "http://user:s3cr3t-redir@%[1]s/redirect" }
  - { id: away, source: "http://user:s3cr3t-away@%[1]s/away" }
  - { id: gone, source: "http://%[1]s/gone?token=s3cr3t-gone" }
  - { id: program, source: { exec: [/nonexistent/program, "--password=s3cr3t-argument"] } }
  - { id: cascade, source: "whep:http://user:s3cr3t-whep@127.0.0.1:1/whep/x?token=s3cr3t-whepquery" }
`, at))
	told := collect(t, l)
	for i, source := range []string{"rtsp://user:s3cr3t#raw@127.0.0.1:1/x", "rtsp//user:s3cr3t@x", "ftp://user:s3cr3t@x", "http://user:s3cr3t@[::1/x?token=s3cr3t"} {
		path := filepath.Join(t.TempDir(), "bad.yaml")
		if err := os.WriteFile(path, []byte(fmt.Sprintf("cameras:\n  - { id: c%d, source: %q }\n", i, source)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, problems, err := (&config.Watcher{Path: path}).Load()
		if err == nil && len(problems) == 0 {
			t.Errorf("source %d is taken", i)
		}
		told("a bad configuration", fmt.Sprint(problems, err))
	}
	for _, id := range []string{"rtsp", "refused", "denied", "redirect", "away", "gone", "program"} {
		l.eventually("camera "+id+" says what is wrong", func() (bool, string) {
			for _, s := range l.app.reg.List() {
				if i := s.Info(); s.ID() == id {
					return i.Reason != "", string(i.State)
				}
			}
			return false, "not there"
		})
	}
	knock(t, l, told)
	for _, path := range []string{
		"/api/camera/list", "/api/camera/server/status", "/api/cameras", "/api/cameras/rtsp", "/api/cameras/denied",
		"/metrics", "/readyz", "/api/users", "/api/tokens", "/api/session", "/api/openapi.yaml",
	} {
		status, text := l.get(path)
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
		told(path, text)
	}
	told("the log", l.log.String())
	told("what is printed", l.out.String())
	if log := l.log.String(); strings.Contains(log, l.app.token) {
		t.Error("the admin token is in the log")
	}
	for _, name := range []string{"users.json", "tokens.json", "accounts.json", "auth.json"} {
		if b, err := os.ReadFile(filepath.Join(l.dir, "data", name)); err == nil {
			told(name, string(b))
		}
	}
}

// collect returns a function that looks for planted secrets.
func collect(t *testing.T, l *lab) func(where, text string) {
	return func(where, text string) {
		t.Helper()
		for _, found := range plantedPattern.FindAllString(text, 3) {
			line := text
			if i := strings.Index(text, found); i >= 0 {
				line = text[max(0, i-200):min(len(text), i+100)]
			}
			t.Errorf("%s is told by %s: …%s…", found, where, line)
		}
		if where != "what is printed" && strings.Contains(text, l.app.token) {
			t.Errorf("the admin token is told by %s", where)
		}
	}
}

// knock uses every door with something secret, rightly and wrongly.
func knock(t *testing.T, l *lab, told func(where, text string)) {
	t.Helper()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:s3cr3t-basic"))
	for _, r := range []struct {
		method, path, body string
		header             []string
	}{
		{method: "GET", path: "/api/camera/list?token=s3cr3t-tokenquery", header: []string{"Authorization", ""}},
		{method: "GET", path: "/api/camera/list", header: []string{"Authorization", "Bearer s3cr3t-bearer"}},
		{method: "GET", path: "/api/camera/list", header: []string{"Authorization", basic}},
		{method: "GET", path: "/api/camera/snapshot/nobody?token=s3cr3t-snapshot&key=s3cr3t-key"},
		{method: "GET", path: "/nothing?token=s3cr3t-page", header: []string{"Accept", "text/html", "Authorization", ""}},
		{method: "POST", path: "/api/session", body: `{"token":"s3cr3t-signin"}`},
		{method: "POST", path: "/api/session", body: `{"user":"u","password":"s3cr3t-password"}`},
		{method: "POST", path: "/api/session", body: `{"user":"u","password":"s3cr3t-broken`},
		{method: "POST", path: "/api/users", body: `{"name":"eve","password":"s3cr3t-newuser","permissions":["view"],"cameras":[]}`},
		{method: "POST", path: "/api/users", body: `{"name":"eve 2","password":"s3cr3t-baduser","permissions":["fly"]}`},
		{method: "POST", path: "/api/cameras", body: `{"id":"api","source":"rtsp://user:s3cr3t-api@192.0.2.1:1/x?token=s3cr3t-apiquery","enabled":false}`},
		{method: "PATCH", path: "/api/cameras/api", body: `{"source":"rtsp://user:s3cr3t-link@169.254.1.1/x"}`},
		{method: "PATCH", path: "/api/cameras/api", body: `{"source":"rtsp//user:s3cr3t-slash@host/x"}`},
		{method: "PATCH", path: "/api/cameras/api", body: `{"source":"ftp://user:s3cr3t-scheme@host/x"}`},
		{method: "PATCH", path: "/api/cameras/api", body: `{"fps":"s3cr3t-type"}`},
		{method: "PUT", path: "/api/cameras/api", body: `{"source":"exec:curl -u user:s3cr3t-exec"}`},
		{method: "GET", path: "/api/cameras/api"},
		{method: "POST", path: "/whep/rtsp?token=s3cr3t-whepq", body: "v=0\r\na=ice-pwd:s3cr3t-icepwd\r\n", header: []string{"Content-Type", "application/sdp"}},
		{method: "POST", path: "/whip/new?token=s3cr3t-whipq", body: "v=0\r\na=ice-pwd:s3cr3t-icepwd\r\n", header: []string{"Content-Type", "application/sdp"}},
		{method: "GET", path: "/api/signal/rtsp?token=s3cr3t-signal"},
		{method: "GET", path: "/?action=stream&cam=nobody&token=s3cr3t-stream"},
	} {
		res, body := l.do(r.method, r.path, strings.NewReader(r.body), r.header...)
		if res.StatusCode == http.StatusInternalServerError {
			t.Errorf("%s %s: %s", r.method, r.path, body)
		}
		told(r.method+" "+strings.SplitN(r.path, "?", 2)[0], string(body))
		for k, v := range res.Header {
			told("header "+k, strings.Join(v, " "))
		}
	}
	// RTSP, with the secret in each place that it has for one.
	for _, head := range []string{
		"DESCRIBE rtsp://user:s3cr3t-url@x/rtsp?token=s3cr3t-rtspurl RTSP/1.0\r\nCSeq: 1\r\nAuthorization: " + basic + "\r\n\r\n",
		"DESCRIBE rtsp://x/nobody?token=s3cr3t-nobody RTSP/1.0\r\nCSeq: 1\r\n\r\n",
		"ANNOUNCE rtsp://x/rtsp?token=s3cr3t-announce RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\r\n",
		"s3cr3t-nonsense\r\n\r\n",
	} {
		c, err := net.Dial("tcp", l.app.rtsp.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte(head))
		_ = c.(*net.TCPConn).CloseWrite() // nonsense has no end by itself
		answer, _ := bufio.NewReader(c).ReadString('\n')
		told("RTSP", answer)
		_ = c.Close()
	}
	// The stand-alone WebSocket listener.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+l.app.websocket.address()+"/rtsp?token=s3cr3t-ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		var b []byte
		_, b, err = c.Read(ctx)
		told("the WebSocket listener", string(b))
	}
	told("the end of a WebSocket", err.Error())
	_ = c.CloseNow()
}
