package alsa

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestRef(t *testing.T) {
	for s, want := range map[string]Ref{"hw:0,0": {0, 0}, "hw:1,0": {1, 0}, "hw:255,12": {255, 12}} {
		if r, err := ParseRef(s); err != nil || r != want || r.String() != s {
			t.Errorf("%s: %v, %v", s, r, err)
		}
	}
	for _, s := range []string{"", "hw", "hw:", "hw:1", "hw:1,", "hw:-1,0", "hw:1,0,0", "plughw:1,0", "hw:256,0", "hw:1,999", "default", "hw:1,0 "} {
		if r, err := ParseRef(s); err == nil {
			t.Errorf("%q is %v", s, r)
		}
	}
}

func FuzzRef(f *testing.F) {
	f.Add("hw:1,0")
	f.Add("hw:01,000")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if again, err := ParseRef(r.String()); err != nil || again != r {
			t.Errorf("%q: %v, %v", s, again, err)
		}
	})
}

func TestErrors(t *testing.T) {
	r := Ref{2, 0}
	for _, c := range []struct {
		err  error
		want error
		text string
	}{
		{fs.ErrNotExist, ErrNotFound, "/proc/asound/cards"},
		{syscall.EBUSY, ErrBusy, "in use by another program"},
		{fs.ErrPermission, ErrPermission, "usually audio"},
		{syscall.EACCES, ErrPermission, "usually audio"},
		{syscall.ENODEV, ErrUnplugged, "unplugged"},
		{syscall.EIO, ErrFailed, "input/output error"},
		{&Error{Ref: r, Reason: ErrNoMode}, ErrNoMode, "no format"},
		{ErrTimeout, ErrTimeout, "in time"},
	} {
		err := explain(r, fmt.Errorf("read: %w", c.err))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v became %v", c.err, err)
		}
	}
	if explain(r, nil) != nil {
		t.Error("an error of nothing")
	}
	if err := explain(r, syscall.EBUSY); !strings.HasPrefix(err.Error(), "microphone hw:2,0 ") {
		t.Error(err)
	}
}

// tree makes files below a folder, and links where the content begins with ->.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(content, "->"); ok {
			if err := os.MkdirAll(filepath.Join(filepath.Dir(path), to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, path); err != nil {
				t.Skip(err) // a system without links
			}
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestList(t *testing.T) {
	sys := tree(t, map[string]string{
		"class/sound/card0/id":               "PCH\n",
		"class/sound/pcmC0D0c/dev":           "116:2\n",
		"class/sound/pcmC0D0p/dev":           "116:3\n", // plays only
		"class/sound/pcmC10D1c/dev":          "116:9\n",
		"class/sound/card1/id":               "C920\n",
		"class/sound/card1/device":           "->../../../devices/usb1/1-1.4/1-1.4:1.2",
		"class/sound/pcmC1D0c/dev":           "116:5\n",
		"class/sound/pcmC999D0c/dev":         "116:5\n",
		"class/sound/timer/dev":              "116:1\n",
		"devices/usb1/1-1.4/idVendor":        "046d\n",
		"devices/usb1/1-1.4/product":         "HD Pro\x00Webcam C920\n",
		"devices/usb1/1-1.4/1-1.4:1.2/class": "01\n",
	})
	proc := tree(t, map[string]string{
		"asound/card1/stream0": "C920 : USB Audio\n\nPlayback:\n    Channels: 8\n\nCapture:\n  Status: Stop\n  Interface 3\n    Altset 1\n    Format: S16_LE\n    Channels: 2\n    Rates: 16000\n    Channels: x\n",
	})
	got, err := list(sys, proc)
	want := []Info{
		{Ref: Ref{0, 0}, ID: "PCH", Name: "PCH"},
		{Ref: Ref{1, 0}, ID: "C920", Name: "HD Pro Webcam C920", Port: "1-1.4", Channels: 2},
		{Ref: Ref{10, 1}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := list(t.TempDir(), proc); got != nil || err != nil {
		t.Errorf("without sound: %v, %v", got, err)
	}
}

func TestSamples(t *testing.T) {
	for f, b := range map[sampleFormat][]byte{
		s16le:  {0, 0x80, 0, 0x40, 0xff, 0xff},
		s24le3: {0, 0, 0x80, 0, 0, 0x40, 0, 0xff, 0xff},
		s24le:  {0, 0, 0x80, 0x55, 0, 0, 0x40, 0, 0, 0xff, 0xff, 0},
		s32le:  {0, 0, 0, 0x80, 0, 0, 0, 0x40, 0, 0, 0xff, 0xff},
	} {
		got := f.appendSamples(nil, append(b, 1)) // and a part of a sample
		if !reflect.DeepEqual(got, []float32{-1, 0.5, -1.0 / 32768}) {
			t.Errorf("format %d: %v", f, got)
		}
	}
}
