package auth

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestGrantMay(t *testing.T) {
	door := Grant{Permissions: []Permission{View}, Cameras: []string{"door", "mobile_*"}}
	also := Grant{Permissions: []Permission{View}, Also: []Grant{{Permissions: []Permission{Publish}, Cameras: []string{"mobile_7"}}}}
	warden := Grant{Permissions: []Permission{Admin}, Cameras: []string{"door"}}
	root := Grant{Permissions: []Permission{Admin}}
	for _, tt := range []struct {
		name   string
		grant  Grant
		perm   Permission
		camera string
		want   bool
	}{
		{"none", Grant{}, View, "door", false},
		{"public", Grant{}, Public, "door", true},
		{"the camera", door, View, "door", true},
		{"another", door, View, "doors", false},
		{"a beginning", door, View, "mobile_1", true},
		{"the beginning alone", door, View, "mobile_", true},
		{"in the middle", door, View, "xmobile_1", false},
		{"another permission", door, Publish, "door", false},
		{"no admin", door, Admin, "door", false},
		{"any", door, View, "", true},
		{"any of another", door, Control, "", false},
		{"all", Grant{Permissions: []Permission{View}, Cameras: []string{"*"}}, View, "x", true},
		{"also, first", also, View, "x", true},
		{"also, second", also, Publish, "mobile_7", true},
		{"also, not mixed", also, Publish, "x", false},
		{"admin of one", warden, Control, "door", true},
		{"admin of one, another", warden, View, "hall", false},
		{"admin of one is none of the server", warden, Admin, "", false},
		{"admin of one sees something", warden, View, "", true},
		{"admin", root, Admin, "", true},
		{"admin of each", root, Playback, "x", true},
	} {
		if got := tt.grant.May(tt.perm, tt.camera); got != tt.want {
			t.Errorf("%s: May(%q, %q) = %v", tt.name, tt.perm, tt.camera, got)
		}
	}
}

func TestParseGrant(t *testing.T) {
	for text, want := range map[string]string{
		`{"permissions":["view"]}`:                                                        `{"permissions":["view"],"cameras":[]}`,
		`{"permissions":["view","publish","view"],"cameras":["b","a"]}`:                   `{"permissions":["publish","view"],"cameras":["a","b"]}`,
		`{"permissions":["view"],"cameras":["a","*"]}`:                                    `{"permissions":["view"],"cameras":[]}`,
		`{"permissions":["view"],"also":[{"permissions":["publish"],"cameras":["m_*"]}]}`: `{"permissions":["view"],"cameras":[],"also":[{"permissions":["publish"],"cameras":["m_*"]}]}`,
		`{}`: "", `null`: "", ``: "", `[]`: "", `{"permissions":[]}`: "", `{"permissions":["fly"]}`: "",
		`{"permissions":["public"]}`: "", `{"permissions":["view"],"camera":["a"]}`: "", `{"permissions":["view"]} x`: "",
		`{"permissions":["view"],"cameras":["a b"]}`: "", `{"permissions":["view"],"cameras":[""]}`: "",
		`{"permissions":["view"],"cameras":["a*b"]}`: "", `{"permissions":["view"],"also":[{}]}`: "",
		`{"permissions":["view"],"also":[{"permissions":["view"],"also":[{"permissions":["view"]}]}]}`: "",
		`{"permissions":["view"],"cameras":["` + strings.Repeat(`a","`, maxCameras) + `b"]}`:           "",
		`{"permissions":["view"],"cameras":["` + strings.Repeat("a", 65) + `"]}`:                       "",
	} {
		g, err := ParseGrant([]byte(text))
		if want == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: error %v", text, err)
			}
			continue
		}
		b, merr := json.Marshal(g)
		if err != nil || merr != nil || string(b) != want {
			t.Errorf("%s: %s, %v", text, b, err)
		}
	}
}

func FuzzGrant(f *testing.F) {
	for _, s := range []string{
		`{"permissions":["view"],"cameras":["door","mobile_*"]}`, `{"permissions":["admin"]}`,
		`{"permissions":["view"],"also":[{"permissions":["publish"],"cameras":["*"]}]}`, `{"permissions":null}`, `[1]`,
	} {
		f.Add([]byte(s), "door")
	}
	f.Fuzz(func(t *testing.T, data []byte, camera string) {
		g, err := ParseGrant(data)
		if err != nil {
			return
		}
		b, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseGrant(b)
		if err != nil || !reflect.DeepEqual(again, g) {
			t.Fatalf("%s is read as %+v, %v", b, again, err)
		}
		for _, p := range []Permission{View, Publish, Control, Playback, Admin} {
			if g.May(p, camera) != again.May(p, camera) || g.May(Admin, camera) && !g.May(p, camera) {
				t.Errorf("%s: May(%q, %q) wavers", b, p, camera)
			}
		}
	})
}
