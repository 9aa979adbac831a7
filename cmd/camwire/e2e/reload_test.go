package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestConfigReload edits the file of a running server: only what changed is
// touched, and a broken file changes nothing.
func TestConfigReload(t *testing.T) {
	beside(t)
	needBrowser(t)
	const (
		cam   = `  - { id: cam, name: %, source: "test:?width=640&height=360&fps=20&gop=2&pattern=plain" }` + "\n"
		third = `  - { id: third, source: "test:?width=320&height=240&fps=5" }` + "\n"
	)
	named := func(name string) string { return "cameras:\n" + strings.Replace(cam, "%", name, 1) }
	s := start(t, named("Bench"))
	s.state(t, "cam", "live")
	p := s.page(t)
	p.whep(t, "/whep/cam", 0)
	p.moving(t, "#video", 640)
	v := view(t, s, "cam", viewOptions{})
	v.watches(t, 10)
	v.restart()

	// undisturbed checks that nobody noticed what has happened since the last
	// call.
	undisturbed := func(after string) {
		t.Helper()
		v.watches(t, 10)
		if c := v.count(); c.missing != 0 {
			t.Errorf("%s: the viewer lost %d packets", after, c.missing)
		}
		p.moving(t, "#video", 640)
		p.connected(t)
	}
	name := func(want string) {
		t.Helper()
		eventually(t, "the camera is named "+want, func() (bool, string) {
			c := s.camera(t, "cam")
			if c == nil {
				return false, "gone"
			}
			return c.Name == want, c.Name
		})
	}
	name("Bench")

	s.configure(t, named("Lathe"))
	name("Lathe")
	undisturbed("a new name")

	s.configure(t, named("Lathe")+third)
	s.state(t, "third", "live")
	undisturbed("a new camera")

	logged := func(words ...string) {
		t.Helper()
		eventually(t, "the log tells "+strings.Join(words, ", "), func() (bool, string) {
			for line := range strings.Lines(s.log.String()) {
				all := true
				for _, w := range words {
					all = all && strings.Contains(line, w)
				}
				if all {
					return true, ""
				}
			}
			return false, s.log.tail()
		})
	}
	s.configure(t, "camras: []\n"+named("Mill")+third)
	// Five lines of listeners and paths, one of webrtc, and then ours.
	logged("camwire.yaml:7", "camras", "cameras")
	undisturbed("an unknown key")
	s.configure(t, named("Mill")+"  - { id: third, source: [\n")
	logged("camwire.yaml:", "not taken over")
	undisturbed("a broken file")
	name("Lathe")
	if s.camera(t, "third") == nil {
		t.Error("a broken file has removed a camera")
	}

	// A bad entry is told by its line and leaves the others alone.
	s.configure(t, named("Drill")+third+"  - { id: fourth, source: \"gopher://host/\" }\n")
	name("Drill")
	logged("camwire.yaml:10", "fourth")
	if s.camera(t, "fourth") != nil {
		t.Error("a bad entry has become a camera")
	}
	undisturbed("a bad entry")

	s.configure(t, named("Drill"))
	eventually(t, "the removed camera is gone", func() (bool, string) { return s.camera(t, "third") == nil, "" })
	if res, _ := s.get(t, "/api/camera/snapshot/third"); res.StatusCode != http.StatusNotFound {
		t.Errorf("snapshot of a removed camera: %s", res.Status)
	}
	undisturbed("a removed camera")
}
