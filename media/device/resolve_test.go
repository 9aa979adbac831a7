package device

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"camwire/media"
)

func (b *bench) meant(source string, last identity) (string, error) {
	b.t.Helper()
	r, err := parseRef(source)
	b.must(err)
	n, err := b.resolve(r, last)
	return strings.TrimPrefix(n.path, b.dev+"/"), err
}

func TestResolve(t *testing.T) {
	b := newBench(t)
	b.plug(usb{0, "1-1", "046d:0825", "", "C270"}, webcam())
	b.plug(usb{2, "1-2", "046d:0825", "", "C270"}, webcam())
	b.plug(usb{4, "1-3.1", "046d:082d", "A1B2", "HD Pro Webcam C920"}, webcam())
	b.addNode(7, 0, "OBS Virtual Camera", "", webcam())
	b.addNode(8, 0, "codec", "", &fakeCamera{caps: 0x04208000})
	link := filepath.Join(b.dev, "v4l", "by-id", "usb-046d_C920-video-index0")
	b.must(os.MkdirAll(filepath.Dir(link), 0o755))
	b.must(os.Symlink("../../video4", link))

	for source, want := range map[string]string{
		"0": "video0", "2": "video2", "7": "video7",
		"1":                      "video2", // metadata: the second camera
		"3":                      "video7", // metadata: the fourth camera
		"usb:A1B2":               "video4",
		"usb:046d:082d":          "video4",
		"usb:046D:082D":          "video4",
		"usb:1-2":                "video2",
		"usb:c920":               "video4",
		"usb:OBS":                "video7",
		"/dev/video4":            "video4",
		"usb:hd pro webcam C920": "video4",
		"usb:046d:082d:A1B2":     "video4",
		"/dev/v4l/by-id/usb-046d_C920-video-index0": "video4",
	} {
		if got, err := b.meant(source, identity{}); err != nil || got != want {
			t.Errorf("%q means %q, %v; want %q", source, got, err, want)
		}
	}
	for source, c := range map[string]struct {
		reason error
		words  string
	}{
		"usb:C270":      {ErrAmbiguous, `camera "usb:C270" could be any of usb:1-1 (C270), usb:1-2 (C270): write one of those`},
		"usb:046d:0825": {ErrAmbiguous, "usb:1-1 (C270), usb:1-2 (C270)"},
		"usb:nothing":   {ErrNotFound, "usb:A1B2 (HD Pro Webcam C920)"},
		"9":             {ErrNotFound, "is not plugged in: there is usb:1-1"},
		"/dev/video5":   {ErrNotFound, "delivers no pictures"},
		"/dev/video8":   {ErrNotFound, "delivers no pictures"},
		"/dev/video9":   {ErrNotFound, "is not plugged in"},
		"/dev/null":     {ErrNotFound, "is not plugged in"},
	} {
		_, err := b.meant(source, identity{})
		if !errors.Is(err, c.reason) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%q: %v, want %q", source, err, c.words)
		}
	}
}

func TestNoCamera(t *testing.T) {
	b := newBench(t)
	if _, err := b.meant("0", identity{}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "no camera at all") {
		t.Errorf("got %v", err)
	}
	if list, err := b.list(t.Context()); err != nil || list == nil || len(list) != 0 {
		t.Errorf("inventory %v, %v", list, err)
	}
}

// TestReplug: numbers are given to whoever comes first, a source stays with
// its camera.
func TestReplug(t *testing.T) {
	one := usb{0, "1-1", "046d:0825", "S1", "Cam"}
	two := usb{2, "1-2", "046d:0825", "S2", "Cam"}
	at := func(u usb, number int, port string) usb { u.number, u.port = number, port; return u }
	bare := func(u usb) usb { u.serial = ""; return u }
	was := func(u usb) identity { return identity{u.ids[:4], u.ids[5:], u.serial, u.port} }
	other := usb{0, "1-4", "1bcf:2283", "", "Other"}
	for _, c := range []struct {
		name    string
		plugged []usb
		source  string
		last    identity
		want    string
	}{
		{"swapped", []usb{at(two, 0, "1-2"), at(one, 2, "1-1")}, "0", was(one), "video2"},
		{"swapped, by path", []usb{at(two, 0, "1-2"), at(one, 2, "1-1")}, "/dev/video0", was(one), "video2"},
		{"in another port", []usb{at(one, 4, "1-3")}, "0", was(one), "video4"},
		{"in another port, by path", []usb{at(one, 4, "1-3")}, "/dev/video0", was(one), "video4"},
		{"gone, by path", []usb{two}, "/dev/video0", was(one), ""},
		{"its number has another camera", []usb{at(two, 0, "1-2")}, "0", was(one), ""},
		{"another camera is the first now", []usb{two}, "0", was(one), ""},
		{"another model has its number", []usb{other}, "0", was(one), ""},
		{"without serial, swapped", []usb{bare(at(two, 0, "1-2")), bare(at(one, 2, "1-1"))}, "0", was(bare(one)), "video2"},
		{"without serial, in another port", []usb{bare(at(one, 0, "1-3"))}, "0", was(bare(one)), "video0"},
		{"without serial, gone", []usb{bare(two)}, "0", was(bare(one)), ""},
		{"equal serials", []usb{at(two, 0, "1-2"), at(two, 2, "1-3")}, "0", was(at(two, 2, "1-3")), "video2"},
		{"never seen", []usb{two}, "0", identity{}, "video2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			source := c.source
			for _, u := range c.plugged {
				b.plug(u, webcam())
			}
			got, err := b.meant(source, c.last)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("means %q, %v; want %q", got, err, c.want)
			}
			if err != nil && !errors.Is(err, ErrUnplugged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSourceRemembersItsCamera(t *testing.T) {
	b := newBench(t)
	one, two := picture(t, 1), picture(t, 2)
	b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, webcam(data(one, 0)))
	s := b.source(Options{Source: "0"})
	if _, err := read(t, s, 1); err != nil {
		t.Fatal(err)
	}
	b.unplug(0)
	if _, err := read(t, s, 1); !errors.Is(err, ErrUnplugged) {
		t.Errorf("got %v", err)
	}
	b.plug(usb{0, "1-2", "1bcf:2283", "S2", "Other"}, webcam(data(two, 0)))
	if _, err := read(t, s, 1); !errors.Is(err, ErrUnplugged) || !strings.Contains(err.Error(), `write "usb:S2"`) {
		t.Errorf("got %v", err)
	}
	b.plug(usb{2, "1-1", "046d:0825", "S1", "Cam"}, webcam(data(one, 0)))
	if out, err := read(t, s, 1); err != nil || string(out.frames[0].Units[0]) != string(one) {
		t.Errorf("got %v", err)
	}
}

func TestInventory(t *testing.T) {
	b := newBench(t)
	b.plug(usb{0, "1-1", "046d:0825", "", "C270"}, webcam())
	locked := webcam()
	locked.openErr = syscall.EACCES
	b.plug(usb{2, "1-2", "046d:082d", "A1", "C920"}, locked)
	b.addNode(9, 0, "Sensor", "", &fakeCamera{caps: captureCaps}) // without formats
	list, err := b.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Info{
		{
			Index: 0, Path: filepath.Join(b.dev, "video0"), Source: "usb:046d:0825", Name: "C270", Manufacturer: "Lab", VID: "046d", PID: "0825", Port: "1-1",
			SuggestedID: "usb_cam_0", Width: 64, Height: 48, FPS: 30, Modes: []Mode{{"MJPG", media.JPEG, 64, 48, []float64{30}}},
		},
		{
			Index: 2, Path: filepath.Join(b.dev, "video2"), Source: "usb:A1", Name: "C920", Manufacturer: "Lab", Serial: "A1", VID: "046d", PID: "082d", Port: "1-2",
			SuggestedID: "usb_cam_2",
		},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got  %+v\nwant %+v", list, want)
	}
}

func TestSysfsOddities(t *testing.T) {
	b := newBench(t)
	class := filepath.Join(b.sys, "class", "video4linux")
	for _, name := range []string{"v4l-subdev0", "radio0", "video", "video1000", "video999", "video-1"} {
		b.write(filepath.Join(class, name, "name"), name)
	}
	b.write(filepath.Join(class, "video3", "name"), "Evil\x1b[2J\nname\xff"+strings.Repeat("x", 9000))
	b.write(filepath.Join(class, "video3", "index"), "many")
	b.must(os.Symlink("/nowhere", filepath.Join(class, "video3", "device")))
	b.must(os.MkdirAll(filepath.Join(class, "video200"), 0o755))
	list, err := nodes(b.sys, b.dev)
	if err != nil || len(list) != 2 || list[0].number != 3 || list[1].number != 200 {
		t.Fatalf("%+v, %v", list, err)
	}
	if n := list[0]; strings.ContainsAny(n.name, "\x1b\n") || len(n.name) > maxAttribute+2 || n.vid != "" {
		t.Errorf("%+v", n)
	}
}

func TestElsewhere(t *testing.T) {
	b := newBench(t)
	b.supported = false
	b.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, webcam())
	if _, err := b.list(t.Context()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("inventory: %v", err)
	}
	if _, err := read(t, b.source(Options{Source: "0"}), 1); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "need 64-bit Linux") {
		t.Errorf("source: %v", err)
	}
}
