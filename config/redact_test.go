package config

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"":                                                   "",
		"0":                                                  "0",
		"/dev/video0":                                        "/dev/video0",
		"usb:Cam@Home":                                       "usb:Cam@Home",
		"images:/srv/a@b/*.jpg":                              "images:/srv/a@b/*.jpg",
		"test:":                                              "test:",
		"rtsp://192.0.2.1:554/stream1":                       "rtsp://192.0.2.1:554/stream1",
		"rtsp://u:secret@192.0.2.1/s":                        "rtsp://***@192.0.2.1/s",
		"rtsp://secret@192.0.2.1/s":                          "rtsp://***@192.0.2.1/s",
		"rtsp://u:sec@ret@192.0.2.1/s":                       "rtsp://***@192.0.2.1/s",
		"rtsp://u:sec/ret@192.0.2.1/s":                       "rtsp://***@192.0.2.1/s",
		"rtsp://u:sec#ret@192.0.2.1/s":                       "rtsp://***@192.0.2.1/s",
		"rtsp://u:sec?ret@192.0.2.1/s":                       "rtsp://***@192.0.2.1/s",
		"rtsp://u:12?secret@192.0.2.1/s":                     "rtsp://***@192.0.2.1/s",
		"rtsp://u:%zzsecret@192.0.2.1/s":                     "rtsp://***@192.0.2.1/s",
		"rtsp://h:554/a?mail=a@b.example":                    "rtsp://h:554/a?mail=a@b.example",
		"http://h/@dir/cam":                                  "http://h/@dir/cam",
		"http://h/v.cgi?loginpas=secret&ch=1":                "http://h/v.cgi?loginpas=***&ch=1",
		"http://h/v?a=1&Access_Token=se/c?t=":                "http://h/v?a=1&Access_Token=***",
		"http://h/v?p%61ss=secret":                           "http://h/v?p%61ss=***",
		"http://h/v?X-Amz-Signature=secret":                  "http://h/v?X-Amz-Signature=***",
		"rtsp://h/user=secret&password=secret&channel=1":     "rtsp://h/user=***&password=***&channel=1",
		"rtsp://h/user=x_password=secret_channel=1.sdp":      "rtsp://h/user=***",
		"whep:https://u:secret@h/whep/door?token=secret":     "whep:https://***@h/whep/door?token=***",
		"admin:secret@192.0.2.1":                             "***@192.0.2.1",
		`exec:["/usr/bin/ffmpeg","-i","rtsp://u:secret@h/"]`: "exec:ffmpeg (arguments: 2)",
		"exec:curl -H 'secret'":                              "exec:curl (arguments: 2)",
		"exec:curl 'secret":                                  "exec:***",
		"turn:u:secret@h:3478":                               "turn:***@h:3478",
		"stun:h:3478":                                        "stun:h:3478",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNoSecretInText(t *testing.T) {
	c := Default()
	c.Cameras[0].Source = "rtsp://admin:hunter2@192.0.2.1/1"
	c.WebRTC.ICEServers = []ICEServer{{URLs: []string{"turn:turn.example.org"}, Username: "me", Credential: "hunter2"}}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("loaded", "config", c, "camera", c.Cameras[0], "ice", c.WebRTC.ICEServers[0])
	text := b.String() + fmt.Sprint(c, &c, c.Cameras, c.WebRTC.ICEServers) + fmt.Sprintf("%v %+v %s", c, c, c)
	if strings.Contains(text, "hunter2") || strings.Contains(text, "admin:") {
		t.Errorf("a secret got out: %s", text)
	}
	if c.Cameras[0].Source != "rtsp://admin:hunter2@192.0.2.1/1" || c.WebRTC.ICEServers[0].Credential != "hunter2" {
		t.Error("the original was changed")
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("rtsp://", "admin", "hunter2")
	f.Add("whep:https://", "a", "p@s/s?w#d")
	f.Fuzz(func(t *testing.T, scheme, user, password string) {
		Redact(scheme + user + ":" + password) // must not panic on anything
		for _, c := range scheme {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz:/", c) {
				return
			}
		}
		// Letters and the signs that break a URL: the password must not show.
		for _, c := range user + password {
			if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ@/#?%&=+", c) {
				return
			}
		}
		if len(password) < 3 || strings.ContainsAny(user, "/?#@") || !strings.HasSuffix(scheme, "://") || localSource(scheme) || strings.HasPrefix(scheme, "exec:") {
			return
		}
		source := scheme + user + ":" + password + "@192.0.2.1:554/1"
		if got := Redact(source); strings.Contains(got, password) && !strings.Contains(scheme+"***@192.0.2.1:554/1", password) {
			t.Errorf("Redact(%q) = %q", source, got)
		}
	})
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"0", "/dev/video0", "usb:x", "rtsp://u:p@h/1", "http://h/", "images:/x/*.jpg", "watch:/x", `exec:["a"]`, "exec:a 'b c'", "test:", "whep:https://h/whep/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		src, err := ParseSource(s)
		if err != nil {
			return
		}
		if src.Kind == KindExec {
			if len(src.Argv) == 0 || src.Argv[0] == "" {
				t.Errorf("no program in %+v", src)
			}
			again, err := ParseSource(ExecSource(src.Argv))
			if err != nil || len(again.Argv) != len(src.Argv) {
				t.Errorf("%q does not survive: %v", src.Argv, err)
			}
		} else if src.Target == "" && src.Kind != KindTest {
			t.Errorf("no target in %+v", src)
		}
	})
}
