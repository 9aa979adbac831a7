package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestEnvironment(t *testing.T) {
	got := parse(t, contract+contractSections, Options{Env: []string{
		"PATH=/bin",
		"CAMWIRE_CAMERAS_4_ID=tenth",
		"CAMWIRE_CAMERAS_4_SOURCE=test:",
		"CAMWIRE_CAMERAS_3_SOURCE=rtsp://u:a=b,c@192.0.2.1/1",
		"CAMWIRE_CAMERAS_3_ID=new",
		"CAMWIRE_CAMERAS_3_ON_DEMAND=true",
		"CAMWIRE_CAMERAS_0_FPS=2.5",
		"CAMWIRE_HTTP_ADDRESS=:9000",
		"CAMWIRE_HTTPS_ADDRESS=",
		"CAMWIRE_WEBRTC_EXTRA_ADDRESSES=192.0.2.1, cam.example.org",
		"CAMWIRE_WEBRTC_ICE_SERVERS_0_URLS=stun:192.0.2.2:3478",
		"CAMWIRE_WEBRTC_TURN=1",
		"CAMWIRE_DATA_DIR=/var/lib/camwire",
		"CAMWIRE_AUTH_ANONYMOUS=view,playback",
		"CAMWIRE_CONFIG=/etc/camwire.yaml",
		// Kubernetes and Docker links of a service called camwire or camwire-web.
		"CAMWIRE_SERVICE_HOST=10.0.0.1",
		"CAMWIRE_SERVICE_PORT=80",
		"CAMWIRE_SERVICE_PORT_HTTP=80",
		"CAMWIRE_PORT=tcp://10.0.0.1:80",
		"CAMWIRE_PORT_80_TCP_ADDR=10.0.0.1",
		"CAMWIRE_WEB_PORT=tcp://10.0.0.1:80",
		"CAMWIRE_WEB_PORT_80_TCP=tcp://10.0.0.1:80",
	}, IgnoreEnv: []string{"CAMWIRE_CONFIG"}})
	want := parse(t, contract, Options{})
	want.Cameras[0].FPS = 2.5
	third, fourth := DefaultCamera(), DefaultCamera()
	third.ID, third.Source, third.OnDemand = "new", "rtsp://u:a=b,c@192.0.2.1/1", true
	fourth.ID, fourth.Source = "tenth", "test:"
	want.Cameras = append(want.Cameras, third, fourth)
	want.HTTP.Address, want.HTTPS.Address = ":9000", ""
	want.WebRTC.ExtraAddresses = []string{"192.0.2.1", "cam.example.org"}
	want.WebRTC.ICEServers = []ICEServer{{URLs: []string{"stun:192.0.2.2:3478"}}}
	want.WebRTC.TURN = true
	want.DataDir = "/var/lib/camwire"
	want.Auth.Anonymous = []string{"view", "playback"}
	wantEqual(t, got, want)
}

func TestEnvironmentCameraReplacesTheDefaultOne(t *testing.T) {
	c := parse(t, "", Options{Env: []string{"CAMWIRE_CAMERAS_0_ID=door", "CAMWIRE_CAMERAS_0_SOURCE=0"}})
	want := DefaultCamera()
	want.ID, want.Source = "door", "0"
	if !reflect.DeepEqual(c.Cameras, []Camera{want}) {
		t.Fatalf("got %v", c.Cameras)
	}
}

func TestOrderOfPrecedence(t *testing.T) {
	file := "http: { address: \":1\" }\nhttps: { address: \":2\" }\nrtsp: { address: \":3\" }\nauth: { anonymous: [view] }\n"
	c := parse(t, file, Options{
		Env:       []string{"CAMWIRE_HTTPS_ADDRESS=:20", "CAMWIRE_RTSP_ADDRESS=:30", "CAMWIRE_AUTH_ANONYMOUS="},
		Overrides: Overrides{{"rtsp.address", ":300"}, {"cameras.0.id", "a"}, {"cameras.0.source", "0"}, {"log.level", "warn"}, {"log.level", "debug"}},
	})
	got := []string{c.HTTP.Address, c.HTTPS.Address, c.RTSP.Address, c.Log.Level, c.Cameras[0].ID}
	if !slices.Equal(got, []string{":1", ":20", ":300", "debug", "a"}) || len(c.Auth.Anonymous) != 0 {
		t.Fatalf("got %q %v", got, c)
	}
}

func TestEnvironmentProblems(t *testing.T) {
	for _, tt := range []struct {
		env   string
		fatal bool
		want  string
	}{
		{"CAMWIRE_HTTP_ADRESS=:1", true, `CAMWIRE_HTTP_ADRESS: unknown variable: did you mean "CAMWIRE_HTTP_ADDRESS"?`},
		{"CAMWIRE_CAMERAS_2_QUALTY=1", true, `CAMWIRE_CAMERAS_2_QUALTY: unknown variable: did you mean "CAMWIRE_CAMERAS_2_QUALITY"?`},
		{"CAMWIRE_FOO_BAR_BAZ=1", true, `CAMWIRE_FOO_BAR_BAZ: unknown variable: remove it`},
		{"CAMWIRE_CAMERAS=1", true, `CAMWIRE_CAMERAS: unknown variable: remove it`},
		{"CAMWIRE_CAMERAS_9_ID=x", true, `CAMWIRE_CAMERAS_9_ID: cameras has 3 entries: the next index is 3`},
		{"CAMWIRE_WEBRTC_TURN=maybe", true, `CAMWIRE_WEBRTC_TURN: wants true or false, got "maybe"`},
		{"CAMWIRE_WEBRTC_EXTRA_ADDRESSES=192.0.2.1,a b", true, `CAMWIRE_WEBRTC_EXTRA_ADDRESSES: "a b" is neither an IP address nor a host name: write it without scheme and port`},
		{"CAMWIRE_HTTP_ADDRESS=8080", true, `CAMWIRE_HTTP_ADDRESS: "8080" is no address to listen on: did you mean ":8080"?`},
		{"CAMWIRE_CAMERAS_1_FPS=fast", false, `CAMWIRE_CAMERAS_1_FPS: camera "ip_cam_door": wants a number, got "fast"`},
		{"CAMWIRE_CAMERAS_1_FPS=NaN", false, `CAMWIRE_CAMERAS_1_FPS: camera "ip_cam_door": wants a number, got "NaN"`},
		{"CAMWIRE_CAMERAS_1_WIDTH=99999", false, `CAMWIRE_CAMERAS_1_WIDTH: camera "ip_cam_door": must be 0 to 16384, is 99999`},
		{"CAMWIRE_CAMERAS_1_ID=usb_cam_0", false, `CAMWIRE_CAMERAS_1_ID: camera "usb_cam_0": "usb_cam_0" is taken: the first one is in line 2`},
		{"CAMWIRE_CAMERAS_1_SOURCE=gopher://u:hunter2@h", false, `CAMWIRE_CAMERAS_1_SOURCE: camera "ip_cam_door": is of the unknown kind "gopher:": known are a number, /dev/… and usb: rtsp: rtsps: http: https: images: watch: exec: test: whep:`},
	} {
		c, problems, err := Parse("camwire.yaml", []byte(contract), Options{Env: []string{tt.env}})
		if len(problems) != 1 || problems[0].String() != tt.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.env, problems, tt.want)
		}
		if (err != nil) != tt.fatal || !tt.fatal && len(c.Cameras) != 2 {
			t.Errorf("%s: error %v, cameras %v", tt.env, err, c.Cameras)
		}
	}
}

func TestOverrideProblems(t *testing.T) {
	for path, want := range map[string]string{
		"http.adress":    `flag http.adress: unknown key: did you mean "http.address"?`,
		"http":           `flag http: unknown key: remove it`,
		"cameras.0":      `flag cameras.0: unknown key: remove it`,
		"cameras.x.id":   `flag cameras.x.id: unknown key: did you mean "cameras.0.id"?`,
		"cameras.1.fpss": `flag cameras.1.fpss: unknown key: did you mean "cameras.1.fps"?`,
		"":               `flag : unknown key: remove it`,
	} {
		_, problems, err := Parse("camwire.yaml", nil, Options{Overrides: Overrides{{path, "1"}}})
		if err == nil || len(problems) != 1 || problems[0].String() != want {
			t.Errorf("%s: got %v, want %s", path, problems, want)
		}
	}
}

// TestKeys sets each key by its variable and by its path, so none is out of reach.
func TestKeys(t *testing.T) {
	keys := Keys()
	byPath := map[string]Key{}
	for _, k := range keys {
		byPath[k.Path] = k
		if k.Help == "" || k.Type == "" {
			t.Errorf("%+v", k)
		}
		path, env := strings.ReplaceAll(k.Path, "<n>", "0"), strings.ReplaceAll(k.Env, "<n>", "0")
		steps := splitEnv(root(), strings.TrimPrefix(env, envPrefix))
		if steps == nil || !reflect.DeepEqual(steps, splitPath(path)) {
			t.Errorf("%s and %s differ", env, path)
		}
	}
	want := Key{
		Path: "cameras.<n>.quality", Env: "CAMWIRE_CAMERAS_<n>_QUALITY", Type: "whole number", Default: "75",
		Help: "JPEG quality, 0 to 100.", Listed: true,
	}
	if got := byPath[want.Path]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if k := byPath["http.address"]; k.Default != ":8080" || k.Env != "CAMWIRE_HTTP_ADDRESS" || k.Listed {
		t.Errorf("got %+v", k)
	}
}

func FuzzSetText(f *testing.F) {
	f.Add("CAMWIRE_CAMERAS_0_SOURCE", "rtsp://host/1")
	f.Add("CAMWIRE_WEBRTC_ICE_SERVERS_0_URLS", "stun:a,turn:b")
	f.Add("CAMWIRE_CAMERAS_65536_ID", "x")
	f.Fuzz(func(t *testing.T, name, value string) {
		_, problems, err := Parse("f", nil, Options{
			Env:       []string{name + "=" + value},
			Overrides: Overrides{{name, value}},
		})
		if err != nil && len(problems) == 0 {
			t.Error("an error without a problem")
		}
	})
}
