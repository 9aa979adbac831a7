package config

import (
	"slices"
	"testing"
)

func TestDiff(t *testing.T) {
	camera := func(id, source string) Camera {
		c := DefaultCamera()
		c.ID, c.Source = id, source
		return c
	}
	old := Default()
	old.Cameras = []Camera{camera("a", "0"), camera("b", "rtsp://192.0.2.1/1"), camera("c", "test:")}

	if ch := Diff(old, old); !ch.Empty() {
		t.Fatalf("got %+v", ch)
	}

	now := old
	now.Cameras = []Camera{camera("d", "test:"), old.Cameras[1], old.Cameras[0]}
	now.Cameras[1].Name, now.Cameras[1].FPS, now.Cameras[1].Quality = "B", 5, 10
	now.Log.Level = "debug"
	now.RTSP.Address = ""
	now.DataDir = "/x"
	now.WebRTC.ExtraAddresses = []string{} // no change from nil
	now.Auth.Anonymous = []string{"view"}
	ch := Diff(old, now)
	switch {
	case len(ch.Added) != 1 || ch.Added[0].ID != "d":
		t.Errorf("added %v", ch.Added)
	case len(ch.Removed) != 1 || ch.Removed[0].ID != "c":
		t.Errorf("removed %v", ch.Removed)
	case len(ch.Changed) != 1 || ch.Changed[0].New.Name != "B" || ch.Changed[0].Old.Name != "" || ch.Changed[0].Restart ||
		!slices.Equal(ch.Changed[0].Keys, []string{"name", "fps", "quality"}):
		t.Errorf("changed %+v", ch.Changed)
	case !slices.Equal(ch.Restart, []string{"rtsp", "data_dir"}):
		t.Errorf("restart %q", ch.Restart)
	case !slices.Equal(ch.Live, []string{"auth", "log"}):
		t.Errorf("live %q", ch.Live)
	}
}

func TestDiffRestart(t *testing.T) {
	for _, tt := range []struct {
		source  string
		change  func(*Camera)
		restart bool
	}{
		{"rtsp://h/1", func(c *Camera) { c.Name = "x" }, false},
		{"rtsp://h/1", func(c *Camera) { c.Quality = 1 }, false},
		{"rtsp://h/1", func(c *Camera) { c.FPS = 1 }, false},
		{"rtsp://h/1", func(c *Camera) { c.Width = 1 }, false},
		{"rtsp://h/1", func(c *Camera) { c.Source = "rtsp://h/2" }, true},
		{"rtsp://h/1", func(c *Camera) { c.Transport = "udp" }, true},
		{"rtsp://h/1", func(c *Camera) { c.OnDemand = true }, true},
		{"rtsp://h/1", func(c *Camera) { c.Enabled = false }, true},
		{"0", func(c *Camera) { c.FPS = 1 }, true},
		{"0", func(c *Camera) { c.Height = 1 }, true},
		{"0", func(c *Camera) { c.Quality = 1 }, false},
		{"test:", func(c *Camera) { c.Width = 1 }, true},
		{"http://h/", func(c *Camera) { c.FPS = 1 }, true},
		{"http://h/", func(c *Camera) { c.Width = 1 }, false},
		{"watch:/x", func(c *Camera) { c.FPS = 1 }, false},
	} {
		a := DefaultCamera()
		a.ID, a.Source = "a", tt.source
		b := a
		tt.change(&b)
		ch := Diff(Config{Cameras: []Camera{a}}, Config{Cameras: []Camera{b}})
		if len(ch.Changed) != 1 || ch.Changed[0].Restart != tt.restart {
			t.Errorf("%v to %v: %+v", a, b, ch.Changed)
		}
	}
}
