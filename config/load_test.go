package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// contract is the example that users were promised to work as it stands, with
// the sections and their defaults.
const contract = `cameras:
  - id: usb_cam_0
    source: 0
    fps: 10
    width: 1280
    height: 720
    quality: 75        # JPEG 0-100
    name: Lab overview
    enabled: true
  - id: ip_cam_door
    source: rtsp://192.168.1.100:554/stream1
    fps: 5
    width: 1920
    height: 1080
    quality: 80
    name: Door
  - id: ip_cam_http
    source: http://192.168.1.101/video.mjpeg
    fps: 10
    name: Ceiling
    enabled: false
`

const contractSections = `http:      { address: ":8080" }
https:     { address: ":8443" }      # own CA unless cert and key, or acme, are given; "" switches it off
webrtc:    { address: ":8555", extra_addresses: [], ice_servers: [], turn: false }   # UDP and TCP
rtsp:      { address: ":8554" }
websocket: { address: "" }           # ":8765" opens the stand-alone JSON listener
data_dir:  ./camwire-data            # keys, certificates, database, recordings
auth:      { anonymous: [] }         # what strangers may do, e.g. [view]
log:       { level: info, format: auto }
`

func parse(t *testing.T, text string, o Options) Config {
	t.Helper()
	c, problems, err := Parse("camwire.yaml", []byte(text), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return c
}

func wantEqual(t *testing.T, got, want Config) {
	t.Helper()
	if ch := Diff(want, got); !ch.Empty() {
		t.Fatalf("got  %v\nwant %v\nchanges %+v", got, want, ch)
	}
}

func TestContract(t *testing.T) {
	want := Default()
	want.Cameras = []Camera{
		{ID: "usb_cam_0", Source: "0", FPS: 10, Width: 1280, Height: 720, Quality: 75, Name: "Lab overview", Enabled: true, Transport: "tcp", Microphone: "auto"},
		{ID: "ip_cam_door", Source: "rtsp://192.168.1.100:554/stream1", FPS: 5, Width: 1920, Height: 1080, Quality: 80, Name: "Door", Enabled: true, Transport: "tcp", Microphone: "auto"},
		{ID: "ip_cam_http", Source: "http://192.168.1.101/video.mjpeg", FPS: 10, Quality: 75, Name: "Ceiling", Transport: "tcp", Microphone: "auto"},
	}
	for _, text := range []string{contract, contract + contractSections, contractSections + contract, strings.ReplaceAll(contract, "\n", "\r\n"), "\ufeff" + contract} {
		got := parse(t, text, Options{})
		wantEqual(t, got, want)
		if !reflect.DeepEqual(got.Cameras, want.Cameras) {
			t.Fatalf("got %v", got.Cameras)
		}
	}
}

func TestSectionsAreTheDefaults(t *testing.T) {
	wantEqual(t, parse(t, contractSections, Options{}), Default())
}

func TestDefaultCamera(t *testing.T) {
	for text, want := range map[string]int{
		"":                            1,
		"# nothing\n":                 1,
		"http: { address: \":1\" }\n": 1,
		"http:\n":                     1,
		"cameras:\n":                  0,
		"cameras: []\n":               0,
	} {
		got := parse(t, text, Options{}).Cameras
		if len(got) != want {
			t.Errorf("%q gives %v", text, got)
		}
		if want == 1 && (got[0].ID != "test" || got[0].Source != "test:" || got[0].Name != "Test picture") {
			t.Errorf("%q gives %v", text, got)
		}
	}
}

func TestExample(t *testing.T) {
	c := parse(t, Example(), Options{})
	if c.WebSocket.Address != ":8765" || c.Cameras[0].Source != "0" {
		t.Fatalf("got %v", c)
	}
	c.WebSocket.Address = ""
	c.Cameras = Default().Cameras
	wantEqual(t, c, Default())
	for _, k := range Keys() {
		name := k.Path[strings.LastIndex(k.Path, ".")+1:]
		if !strings.Contains(Example(), name+":") {
			t.Errorf("the example lacks %s", k.Path)
		}
	}
}

// TestProblems loads bad files: what is told, whether the load fails, and which
// cameras stay.
func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		file  string
		fatal bool
		kept  []string
		want  string
	}{
		{"syntax.yaml", true, nil, `
syntax.yaml:3:13: is not YAML (mapping value is not allowed in this context): check the indentation; a value with ": " in it or ":" at its end wants quotes, as in source: "test:"`},
		{"unknown_section.yaml", true, nil, `
unknown_section.yaml:1:1: unknown key "htttp": did you mean "http"?
unknown_section.yaml:4:3: webrtc: unknown key "adress": did you mean "address"?`},
		{"unknown_camera_key.yaml", false, []string{"yard"}, `
unknown_camera_key.yaml:4:5: camera "door": unknown key "qualty": did you mean "quality"?`},
		{"types.yaml", true, nil, `
types.yaml:1:7: http: wants a mapping, got text ":8080"
types.yaml:3:9: webrtc.turn: wants true or false, got text "yes": write true
types.yaml:4:20: webrtc.extra_addresses: wants a list of texts, got a mapping: begin each entry with "- "
types.yaml:6:3: rtsp.address: has no value: write "" for nothing, or remove the key for its default
types.yaml:8:10: log.level: wants text, got true: put it in quotes
types.yaml:9:11: data_dir: wants text, got a list`},
		{"camera_types.yaml", false, []string{"ok"}, `
camera_types.yaml:4:10: camera "a": fps: wants a number, got text "10": remove the quotes
camera_types.yaml:5:12: camera "a": width: wants a whole number, got 12.5
camera_types.yaml:7:13: camera "b": source: wants text, got a list
camera_types.yaml:8:5: cameras[2]: wants a mapping, got text "just text"
camera_types.yaml:9:4: cameras[3]: is empty: remove the line or fill it in
camera_types.yaml:12:14: camera "c": enabled: wants true or false, got text "on": write true
camera_types.yaml:13:5: camera "c": name: has no value: write "" for nothing, or remove the key for its default`},
		{"ranges.yaml", false, nil, `
ranges.yaml:4:10: camera "a": fps: must be 0 to 240, is 241
ranges.yaml:5:12: camera "a": width: must be 0 to 16384, is -1
ranges.yaml:6:13: camera "a": height: must be 0 to 16384, is 16385
ranges.yaml:7:14: camera "a": quality: must be 0 to 100, is 101
ranges.yaml:8:30: camera "b": fps: wants a number, got .nan
ranges.yaml:9:22: camera "c": source: is no number of a video device: 0 to 255 are
ranges.yaml:10:36: camera "d": transport: unknown value "upd": did you mean "udp"?`},
		{"microphone.yaml", false, []string{"d", "e"}, `
microphone.yaml:2:37: camera "a": microphone: is no microphone: write auto for the camera's own, off, or card and device such as hw:1,0
microphone.yaml:3:37: camera "b": microphone: is no microphone: write auto for the camera's own, off, or card and device such as hw:1,0
microphone.yaml:4:37: camera "c": microphone: is no microphone: write auto for the camera's own, off, or card and device such as hw:1,0`},
		{"ids.yaml", false, []string{"door"}, `
ids.yaml:2:9: cameras[0]: id: "front door" is no id: use 1 to 64 letters, digits, _ or -
ids.yaml:4:5: cameras[1]: id: is missing: give the camera a short name for its URLs, for example "door"
ids.yaml:7:9: camera "door": id: "door" is taken: the first one is in line 5
ids.yaml:9:5: camera "nosource": source: is missing: write for example 0, "rtsp://host/path" or "test:"`},
		{"duplicate_key.yaml", true, nil, `
duplicate_key.yaml:5:5: camera "a": key "fps" is there twice: the first one is in line 4
duplicate_key.yaml:9:1: key "http" is there twice: the first one is in line 8`},
		{"sources.yaml", false, nil, `
sources.yaml:2:23: camera "s1": source: is of the unknown kind "rtmp:": did you mean "rtsp:"?
sources.yaml:3:23: camera "s2": source: is of the unknown kind "rtps:": did you mean "rtsp:"?
sources.yaml:4:23: camera "s3": source: is no valid URL: in user and password write @ as %40, / as %2F, # as %23, ? as %3F and % as %25
sources.yaml:5:23: camera "s4": source: lacks the host: write for example "rtsp://user:password@host/path"
sources.yaml:6:23: camera "s5": source: is of an unknown kind: known are a number, /dev/… and usb: rtsp: rtsps: http: https: images: watch: exec: test: whep:
sources.yaml:7:23: camera "s6": source: is a path outside of /dev: for pictures write "images:" or "watch:" before it
sources.yaml:8:23: camera "s7": source: images: lacks a path: write for example "images:/var/lib/pictures"
sources.yaml:9:23: camera "s8": source: exec: has a quote without an end: write source: { exec: [program, argument] }
sources.yaml:10:25: camera "s9": source: unknown key "exce": only exec: with an argv list is written as a mapping; quote all other sources
sources.yaml:11:24: camera "s10": source: exec: lacks a program: write source: { exec: [program, argument] }
sources.yaml:12:24: camera "s11": source: whep: wants an http or https URL after it: write for example "whep:https://host/whep/door"
sources.yaml:13:24: camera "s12": source: test: takes only options after it: write for example "test:?codec=raw&gop=5"
sources.yaml:14:24: camera "s13": source: usb: lacks the camera's name or serial: write for example "usb:C920", or the number of the device
sources.yaml:15:24: camera "s14": source: has a port outside of 1 to 65535: write for example "http://user:password@host/path"
sources.yaml:16:24: camera "s15": source: is of an unknown kind: known are a number, /dev/… and usb: rtsp: rtsps: http: https: images: watch: exec: test: whep:`},
		{"sections.yaml", true, nil, `
sections.yaml:1:18: http.address: "8080" is no address to listen on: did you mean ":8080"?
sections.yaml:2:19: https.address: "https://:8443" is no address to listen on: write it without scheme, for example ":8080"
sections.yaml:2:42: https.cert: needs https.key beside it: set both, or neither to use Camwire's own CA
sections.yaml:4:12: webrtc.address: ":90000" is no address to listen on: the port must be a number from 0 to 65535
sections.yaml:5:21: webrtc.extra_addresses[0]: "192.0.2.300" is neither an IP address nor a host name: write it without scheme and port
sections.yaml:5:36: webrtc.extra_addresses[1]: "cam.example.org:1" is neither an IP address nor a host name: write it without scheme and port
sections.yaml:7:13: webrtc.ice_servers[0].urls[0]: is no URL of a STUN or TURN server: write for example "stun:192.0.2.1:3478" or "turn:host:3478?transport=tcp"
sections.yaml:8:7: webrtc.ice_servers[1]: is a TURN server without username and credential: set both; browsers refuse it otherwise
sections.yaml:10:7: webrtc.ice_servers[2]: lacks urls: write for example urls: ["stun:192.0.2.1:3478"]
sections.yaml:11:18: rtsp.address: "::1:8554" is no address to listen on: write "host:port" or ":port"; an IPv6 address wants brackets, as in "[::1]:8080"
sections.yaml:12:23: websocket.address: "host name:1" is no address to listen on: the host must be an IP address or a host name
sections.yaml:13:27: auth.anonymous[1]: unknown value "amdin": did you mean "admin"?
sections.yaml:14:15: log.level: unknown value "verbose": known are debug, info, warn, error
sections.yaml:14:32: log.format: unknown value "jsno": did you mean "json"?
sections.yaml:15:11: data_dir: must not be empty: remove the key for its default`},
		{"jwt.yaml", true, nil, `
jwt.yaml:2:16: auth.jwt.jwks: is neither a file nor an https URL: whoever can change the keys on their way can sign in, so plain http is not taken`},
		{"jwt_issuer.yaml", true, nil, `
jwt_issuer.yaml:2:18: auth.jwt.issuer: needs auth.jwt.jwks beside it: name the file or https URL with the issuer's keys`},
		{"listeners.yaml", true, nil, `
listeners.yaml:2:19: https.address: has the port of http.address: choose another port
listeners.yaml:3:18: rtsp.address: has the port of webrtc.address: choose another port`},
		{"nobody.yaml", true, nil, `
nobody.yaml:1:18: http.address: and https.address are both empty: nobody could reach Camwire; set one of them`},
		{"cameras_mapping.yaml", true, nil, `
cameras_mapping.yaml:2:3: cameras: wants a list of mappings, got a mapping: begin each entry with "- "`},
		{"two_documents.yaml", true, nil, `
two_documents.yaml:3:1: is a second document: remove the line "---"`},
		{"anchors.yaml", true, nil, `
anchors.yaml:2:6: anchor "a" is defined twice: give each anchor its own name
anchors.yaml:3:7: http: alias *nothing has no anchor &nothing
anchors.yaml:8:9: camera "a": merges too deeply
anchors.yaml:9:9: cameras[1]: id: has a tag, which means nothing here: remove !!str
anchors.yaml:13:9: camera "c": << wants a mapping: write for example << : *name`},
	} {
		t.Run(tt.file, func(t *testing.T) {
			c, problems, err := Load(filepath.Join("testdata", tt.file), Options{})
			lines := make([]string, len(problems))
			for i, p := range problems {
				lines[i] = p.String()
			}
			if got, want := strings.Join(lines, "\n"), strings.TrimPrefix(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if (err != nil) != tt.fatal {
				t.Errorf("error %v", err)
			}
			var kept []string
			for _, camera := range c.Cameras {
				kept = append(kept, camera.ID)
			}
			if !slices.Equal(kept, tt.kept) {
				t.Errorf("kept %q, want %q", kept, tt.kept)
			}
			if text := strings.Join(lines, "\n") + fmt.Sprint(err); strings.Contains(text, "hunter2") || strings.Contains(text, "hun%ter2") {
				t.Errorf("a password got out: %s", text)
			}
		})
	}
}

func TestErrorListsFatalProblemsOnly(t *testing.T) {
	_, problems, err := Load(filepath.Join("testdata", "duplicate_key.yaml"), Options{})
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 1 || len(problems) != 2 {
		t.Fatalf("error %v, problems %v", err, problems)
	}
	if want := `duplicate_key.yaml:9:1: key "http" is there twice: the first one is in line 8`; err.Error() != want {
		t.Fatalf("got %s", err)
	}
}

func TestSourceForms(t *testing.T) {
	c := parse(t, `
x-base: &base
  fps: 3
  quality: 50
cameras:
  - { id: a, source: "0" }
  - { id: 7, source: /dev/video2, name: 2024 }
  - id: b
    source:
      exec: [ffmpeg, -i, "a b", 5]
  - id: c
    <<: *base
    quality: 60
    source: >-
      rtsp://192.0.2.1/1
  - { id: d, source: "exec:sh -c 'echo \"x y\"' a\\ b" }
webrtc: { extra_addresses: 192.0.2.1 }
`, Options{})
	want := []Camera{
		{ID: "a", Source: "0", Quality: 75, Enabled: true, Transport: "tcp", Microphone: "auto"},
		{ID: "7", Source: "/dev/video2", Name: "2024", Quality: 75, Enabled: true, Transport: "tcp", Microphone: "auto"},
		{ID: "b", Source: `exec:["ffmpeg","-i","a b","5"]`, Quality: 75, Enabled: true, Transport: "tcp", Microphone: "auto"},
		{ID: "c", Source: "rtsp://192.0.2.1/1", FPS: 3, Quality: 60, Enabled: true, Transport: "tcp", Microphone: "auto"},
		{ID: "d", Source: `exec:sh -c 'echo "x y"' a\ b`, Quality: 75, Enabled: true, Transport: "tcp", Microphone: "auto"},
	}
	if !reflect.DeepEqual(c.Cameras, want) {
		t.Fatalf("got  %+v\nwant %+v", c.Cameras, want)
	}
	for i, argv := range map[int][]string{2: {"ffmpeg", "-i", "a b", "5"}, 4: {"sh", "-c", `echo "x y"`, "a b"}} {
		s, err := ParseSource(c.Cameras[i].Source)
		if err != nil || s.Kind != KindExec || !slices.Equal(s.Argv, argv) {
			t.Errorf("got %+v, %v", s, err)
		}
	}
	if !slices.Equal(c.WebRTC.ExtraAddresses, []string{"192.0.2.1"}) {
		t.Errorf("got %q", c.WebRTC.ExtraAddresses)
	}
}

func TestBounds(t *testing.T) {
	var keys strings.Builder
	for i := range maxTokens {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	var mistakes strings.Builder
	for i := range 2 * maxProblems {
		fmt.Fprintf(&mistakes, "k%d: 1\n", i)
	}
	// 900 times the same 900 keys.
	var bomb strings.Builder
	bomb.WriteString("x-a: &a\n")
	for i := range 900 {
		fmt.Fprintf(&bomb, "  k%d: 1\n", i)
	}
	bomb.WriteString("cameras:\n  - id: a\n    source: 0\n    <<: [" + strings.Repeat("*a,", 900) + "]\n")
	for name, tt := range map[string]struct{ text, want string }{
		"flow nesting":  {strings.Repeat("[", 100_000), "nested too deeply"},
		"block nesting": {strings.Repeat("- ", 100_000), "nested too deeply"},
		"anchors":       {strings.Repeat("&a ", 10_000), "anchors, aliases and tags"},
		"tokens":        {keys.String(), "words and signs"},
		"mistakes":      {mistakes.String(), "more than 1000 mistakes"},
		"aliases":       {bomb.String(), "aliases repeat too much"},
		"utf-8":         {"http:\n  address: \"\xff\"\n", "camwire.yaml:2:1: is not UTF-8 text"},
		"loop":          {"http: &a\n  <<: *a\n", "merges too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems, err := Parse("camwire.yaml", []byte(tt.text), Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %.300v", err)
			}
			if len(problems) > maxProblems+1 {
				t.Errorf("%d problems", len(problems))
			}
		})
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	if _, _, err := Load(missing, Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("missing: %v", err)
	}
	c, _, err := Load(missing, Options{Optional: true})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, c, Default())
	if c, _, err = Load("", Options{}); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, c, Default())
	if _, _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("folder: %v", err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(large, Options{}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("large: %v", err)
	}
}

func TestCameraValidate(t *testing.T) {
	good := DefaultCamera()
	good.ID, good.Source = "door", "rtsp://192.0.2.1/1"
	if p := good.Validate(); p != nil {
		t.Errorf("got %v", p)
	}
	bad := good
	bad.ID, bad.Source, bad.FPS = "../x", "ftp://u:hunter2@h/", 1000
	p := bad.Validate()
	if len(p) != 3 || p[0].Path != "id" || p[1].Path != "source" || p[2].Path != "fps" {
		t.Fatalf("got %v", p)
	}
	if want := `fps: must be 0 to 240, is 1000`; p[2].String() != want {
		t.Errorf("got %s", p[2])
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(contract + contractSections))
	f.Add([]byte(Example()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxFileSize {
			return
		}
		c, problems, err := Parse("f", data, Options{})
		for _, p := range problems {
			if p.Message == "" || p.Line < 1 || p.Column < 1 {
				t.Errorf("problem %+v", p)
			}
		}
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, camera := range c.Cameras {
			if seen[camera.ID] {
				t.Errorf("id %q twice", camera.ID)
			}
			seen[camera.ID] = true
			if p := camera.Validate(); p != nil {
				t.Errorf("camera %v kept with %v", camera, p)
			}
		}
	})
}
