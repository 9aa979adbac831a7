package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/device/v4l2"
)

// fakeForeign is a camera of a driver that hands out images.
type fakeForeign struct {
	label, name string
	modes       []foreignMode
	openErr     error
	startErr    error
	pictures    chan image.Image // closed: the driver ends the stream

	mu     sync.Mutex
	open   bool
	closed chan struct{}
	got    foreignMode
}

func newForeign(label, name string) *fakeForeign {
	return &fakeForeign{
		label: label, name: name, pictures: make(chan image.Image),
		modes: []foreignMode{
			{0, v4l2.YUYV, 640, 480, 0}, {1, v4l2.NV12, 640, 480, 0}, {2, v4l2.YUYV, 1280, 720, 0}, {3, v4l2.NV12, 1920, 1080, 0},
		},
	}
}

func (f *fakeForeign) Describe() foreignInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return foreignInfo{label: f.label, name: f.name, inUse: f.open}
}

func (f *fakeForeign) Open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.openErr != nil {
		return f.openErr
	}
	f.open, f.closed = true, make(chan struct{})
	return nil
}

func (f *fakeForeign) Modes() []foreignMode { return f.modes }

func (f *fakeForeign) Start(m foreignMode) (func() (image.Image, func(), error), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = m
	closed := f.closed
	return func() (image.Image, func(), error) {
		select {
		case m, ok := <-f.pictures:
			if ok {
				return m, func() {}, nil
			}
		case <-closed:
		}
		return nil, func() {}, io.EOF
	}, f.startErr
}

func (f *fakeForeign) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open {
		f.open = false
		close(f.closed)
	}
	return nil
}

func foreignSystem(cameras ...*fakeForeign) *system {
	return &system{foreign: func() (list []foreign, err error) {
		for _, c := range cameras {
			list = append(list, c)
		}
		return list, nil
	}}
}

// sinkFunc keeps what comes.
type foreignSink struct {
	tracks chan media.Tracks
	frames chan *media.Frame
}

func newForeignSink() foreignSink {
	return foreignSink{make(chan media.Tracks, 16), make(chan *media.Frame, 16)}
}

func (s foreignSink) Start(t media.Tracks) { s.tracks <- t }
func (s foreignSink) Write(f *media.Frame) { s.frames <- f }

const (
	macLabel     = "0x14200000046d0825"
	windowsLabel = `@device:pnp:\\?\usb#vid_046D&pid_0843&mi_00#7&2a1b&0&0000#{65e8773d-8f56-11d0-a3b9-00a0c9223196}\global`
)

func TestForeignRun(t *testing.T) {
	c := newForeign(macLabel, "C270")
	s, err := newSource(Options{Source: "usb:c270", Width: 640, Height: 480}, foreignSystem(newForeign("EAB7", "FaceTime"), c))
	if err != nil {
		t.Fatal(err)
	}
	sink := newForeignSink()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	c.pictures <- image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio422)
	if got := (<-sink.tracks)[0]; got.Codec != media.I420 || got.Width != 640 || got.Height != 480 || got.ClockRate != 90000 {
		t.Errorf("track %+v", got)
	}
	f := <-sink.frames
	if len(f.Units) != 3 || f.Size() != 640*480*3/2 || !f.Key || f.Captured.IsZero() {
		t.Errorf("frame of %d units, %d bytes", len(f.Units), f.Size())
	}
	if c.got.fourCC != v4l2.NV12 || c.got.number != 1 {
		t.Errorf("mode %+v", c.got)
	}
	// The driver delivers another size.
	c.pictures <- image.NewYCbCr(image.Rect(0, 0, 320, 240), image.YCbCrSubsampleRatio420)
	if got := (<-sink.tracks)[0]; got.Width != 320 {
		t.Errorf("track %+v", got)
	}
	if g := <-sink.frames; g.PTS < f.PTS {
		t.Errorf("PTS %v after %v", g.PTS, f.PTS)
	}
	if s.Stats().Delivered != 2 {
		t.Errorf("stats %+v", s.Stats())
	}
	other, err := newSource(Options{Source: "usb:046d:0825"}, s.system)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Run(t.Context(), sink); !errors.Is(err, ErrBusy) {
		t.Errorf("second source: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c.Describe().inUse {
		t.Error("still open")
	}
	if s.Stats().Delivered != 2 {
		t.Errorf("stats after the end %+v", s.Stats())
	}
}

func TestForeignFailures(t *testing.T) {
	denied := errors.New("access denied")
	for name, c := range map[string]struct {
		source string
		change func(*fakeForeign)
		reason error
		text   string
	}{
		"unknown":  {"usb:Other", nil, ErrNotFound, "there is usb:046d:0825 (C270)"},
		"path":     {"/dev/video0", nil, ErrNotFound, "path"},
		"number":   {"3", nil, ErrNotFound, "not plugged in"},
		"denied":   {"0", func(f *fakeForeign) { f.openErr = denied }, ErrFailed, "privacy"},
		"no start": {"0", func(f *fakeForeign) { f.startErr = denied }, ErrFailed, "does not start"},
		"no mode":  {"0", func(f *fakeForeign) { f.modes = []foreignMode{{0, v4l2.NV12, 0, 0, 0}} }, ErrNoMode, "no picture format"},
		"ended":    {"0", func(f *fakeForeign) { close(f.pictures) }, ErrUnplugged, "unplugged"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(macLabel, "C270")
			if c.change != nil {
				c.change(f)
			}
			s, err := newSource(Options{Source: c.source}, foreignSystem(f))
			if err != nil {
				t.Fatal(err)
			}
			err = s.Run(t.Context(), newForeignSink())
			if !errors.Is(err, c.reason) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if f.open {
				t.Error("still open")
			}
		})
	}
	broken := &system{foreign: func() ([]foreign, error) { return nil, denied }}
	s, err := newSource(Options{Source: "0"}, broken)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), newForeignSink()); !errors.Is(err, ErrFailed) || !errors.Is(err, denied) {
		t.Errorf("got %v", err)
	}
	if _, err := broken.list(t.Context()); !errors.Is(err, denied) {
		t.Errorf("got %v", err)
	}
}

func TestForeignSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForeign(macLabel, "C270")
		f.pictures = make(chan image.Image) // of this bubble
		s, err := newSource(Options{Source: "0", Silence: 2 * time.Second}, foreignSystem(f))
		if err != nil {
			t.Fatal(err)
		}
		sink := newForeignSink()
		done := make(chan error, 1)
		go func() { done <- s.Run(t.Context(), sink) }()
		for range 3 {
			time.Sleep(1500 * time.Millisecond)
			f.pictures <- image.NewYCbCr(image.Rect(0, 0, 16, 16), image.YCbCrSubsampleRatio420)
		}
		if err := <-done; !errors.Is(err, ErrHangs) || len(sink.frames) != 3 {
			t.Errorf("got %v after %d pictures", err, len(sink.frames))
		}
	})
}

// TestForeignSame: a number means the camera that it meant before, as long as
// that one is known by its label.
func TestForeignSame(t *testing.T) {
	a, b := newForeign("A", "Alpha"), newForeign("B", "Beta")
	cameras := []*fakeForeign{b, a}
	sys := &system{foreign: func() (list []foreign, err error) {
		for _, c := range cameras {
			list = append(list, c)
		}
		return list, nil
	}}
	r, err := parseRef("0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		list []*fakeForeign
		last string
		want string
	}{
		{[]*fakeForeign{b, a}, "", "A"}, {[]*fakeForeign{b}, "", "B"}, {[]*fakeForeign{b}, "A", ""},
		{[]*fakeForeign{b, a, newForeign("0", "Aaa")}, "A", "A"},
	} {
		cameras = c.list
		f, err := sys.resolveForeign(r, c.last)
		if f.label != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrUnplugged) {
			t.Errorf("%d cameras, %q before: got %q, %v", len(c.list), c.last, f.label, err)
		}
	}
}

func TestForeignList(t *testing.T) {
	used := newForeign(macLabel, "C270")
	if err := used.Open(); err != nil {
		t.Fatal(err)
	}
	// The driver may have one twice.
	sys := foreignSystem(newForeign(windowsLabel, "C930\x00e"), newForeign("EAB7", ""), newForeign(macLabel, "C270"), used)
	list, err := sys.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, i := range list {
		fmt.Fprintf(&got, "%d %s %q %s:%s %s %v\n", i.Index, i.Source, i.Name, i.VID, i.PID, i.SuggestedID, i.InUse)
	}
	want := `0 usb:046d:0825 "C270" 046d:0825 usb_cam_0 true
1 usb:046d:0843 "C930 e" 046d:0843 usb_cam_1 false
2 2 "EAB7" : usb_cam_2 false
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	for _, source := range []string{"usb:EAB7", "usb:C930 e", "usb:046D:0843", "usb:7&2a1b&0&0000", "2"} {
		r, err := parseRef(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sys.resolveForeign(r, ""); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	twins := foreignSystem(newForeign("X1", "Twin"), newForeign("X2", "Twin"))
	r, err := parseRef("usb:Twin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := twins.resolveForeign(r, ""); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("twins: %v", err)
	}
}

// TestI420: every subsampling gives the same colors, odd sizes included, and
// what is cut off is refused.
func TestI420(t *testing.T) {
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio440} {
		m := image.NewYCbCr(image.Rect(2, 2, 9, 7), ratio)
		for i := range m.Y {
			m.Y[i] = byte(i)
		}
		for i := range m.Cb {
			m.Cb[i], m.Cr[i] = 100, 200
		}
		units, w, h, ok := i420(m)
		if !ok || w != 7 || h != 5 || len(units) != 3 || len(units[0]) != 35 || len(units[1]) != 12 || len(units[2]) != 12 {
			t.Fatalf("%v: %dx%d, %v", ratio, w, h, ok)
		}
		if cap(units[2])-len(units[2]) < spare {
			t.Errorf("%v: %d bytes to spare", ratio, cap(units[2])-len(units[2]))
		}
		for y := range 5 {
			if at := m.YOffset(2, 2+y); !bytes.Equal(units[0][y*7:y*7+7], m.Y[at:at+7]) {
				t.Errorf("%v: row %d", ratio, y)
			}
		}
		if bytes.Count(units[1], []byte{100}) != 12 || bytes.Count(units[2], []byte{200}) != 12 {
			t.Errorf("%v: chroma %v %v", ratio, units[1], units[2])
		}
		m.Cb = m.Cb[:len(m.Cb)/2]
		if _, _, _, ok := i420(m); ok {
			t.Errorf("%v: taken with half of its chroma", ratio)
		}
	}
	for _, m := range []image.Image{image.NewGray(image.Rect(0, 0, 2, 2)), &image.YCbCr{}, &image.YCbCr{Rect: image.Rect(0, 0, 8, 8), YStride: 8, CStride: 4}} {
		if _, _, _, ok := i420(m); ok {
			t.Errorf("%T taken", m)
		}
	}
}
