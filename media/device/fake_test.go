package device

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/device/v4l2"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a machine whose cameras are made of files and fakes.
type bench struct {
	t *testing.T
	*system

	mu      sync.Mutex
	cameras map[string]*fakeCamera
}

func newBench(t *testing.T) *bench {
	t.Helper()
	root := t.TempDir()
	b := &bench{t: t, cameras: map[string]*fakeCamera{}}
	b.system = &system{
		sys: filepath.Join(root, "sys"), dev: filepath.Join(root, "dev"), proc: filepath.Join(root, "proc"), self: 1, supported: true,
		open: func(path string) (camera, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			c := b.cameras[path]
			switch {
			case c == nil:
				return nil, fmt.Errorf("open %s: %w", path, syscall.ENOENT)
			case c.openErr != nil:
				return nil, fmt.Errorf("open %s: %w", path, c.openErr)
			}
			return c.handle(), nil
		},
	}
	for _, d := range []string{b.sys, b.dev, b.proc} {
		b.must(os.MkdirAll(d, 0o755))
	}
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) write(path, text string) {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(path), 0o755))
	b.must(os.WriteFile(path, []byte(text+"\n"), 0o644))
}

// usb describes a USB camera; it gets a metadata node at number+1.
type usb struct {
	number                    int
	port, ids, serial, device string
}

// plug puts a camera into sysfs, as uvcvideo does, and makes it answer.
func (b *bench) plug(u usb, c *fakeCamera) string {
	b.t.Helper()
	dev := filepath.Join(b.sys, "devices", "usb1", u.port)
	b.write(filepath.Join(dev, "idVendor"), u.ids[:4])
	b.write(filepath.Join(dev, "idProduct"), u.ids[5:])
	b.write(filepath.Join(dev, "product"), u.device)
	b.write(filepath.Join(dev, "manufacturer"), "Lab")
	if u.serial != "" {
		b.write(filepath.Join(dev, "serial"), u.serial)
	}
	parent := filepath.Join(dev, u.port+":1.0")
	b.addNode(u.number, 0, u.device+": "+u.device, parent, c)
	b.addNode(u.number+1, 1, u.device+": "+u.device, parent, &fakeCamera{caps: 0x84a00000})
	return filepath.Join(b.dev, "video"+strconv.Itoa(u.number))
}

func (b *bench) addNode(number, index int, name, parent string, c *fakeCamera) {
	b.t.Helper()
	base := "video" + strconv.Itoa(number)
	dir := filepath.Join(b.sys, "class", "video4linux", base)
	b.write(filepath.Join(dir, "name"), name)
	b.write(filepath.Join(dir, "index"), strconv.Itoa(index))
	if parent != "" {
		b.must(os.MkdirAll(parent, 0o755))
		b.must(os.Symlink(parent, filepath.Join(dir, "device")))
	}
	path := filepath.Join(b.dev, base)
	b.write(path, "")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cameras[path] = c
}

// unplug takes the nodes of the camera at a number away.
func (b *bench) unplug(number int) {
	b.t.Helper()
	for n := number; n < number+2; n++ {
		base := "video" + strconv.Itoa(n)
		b.must(os.RemoveAll(filepath.Join(b.sys, "class", "video4linux", base)))
		b.must(os.RemoveAll(filepath.Join(b.dev, base)))
		b.mu.Lock()
		delete(b.cameras, filepath.Join(b.dev, base))
		b.mu.Unlock()
	}
}

func (b *bench) source(o Options) *Source {
	b.t.Helper()
	s, err := newSource(o, b.system)
	b.must(err)
	return s
}

const captureCaps = 0x04200001

// webcam answers like a UVC camera with one MJPEG mode.
func webcam(script ...event) *fakeCamera {
	return &fakeCamera{caps: captureCaps, script: script, formats: []v4l2.Format{
		{FourCC: v4l2.MJPEG, Sizes: []v4l2.Size{{Width: 64, Height: 48, Rates: []float64{30}}}},
	}}
}

// event is what the driver has to say next.
type event struct {
	buffer v4l2.Buffer
	err    error
	late   bool // there already when the one before is read
}

type fakeCamera struct {
	caps     uint32
	formats  []v4l2.Format
	openErr  error
	startErr error
	adjust   func(v4l2.Layout) v4l2.Layout
	script   []event
	waiting  bool // all pictures are there at once

	mu       sync.Mutex
	asked    v4l2.Layout
	released int
	open     int
}

// handle is one open descriptor.
func (c *fakeCamera) handle() *fakeHandle {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	return &fakeHandle{c: c, wake: make(chan struct{}, 1)}
}

type fakeHandle struct {
	c    *fakeCamera
	next int
	wake chan struct{}
}

func (h *fakeHandle) Capability() (v4l2.Capability, error) {
	return v4l2.Capability{Card: "Fake", Caps: h.c.caps}, nil
}
func (h *fakeHandle) Formats(v4l2.Wish) ([]v4l2.Format, error) { return h.c.formats, nil }

func (h *fakeHandle) SetFormat(f v4l2.FourCC, w, height int) (v4l2.Layout, error) {
	l := v4l2.Layout{FourCC: f, Width: w, Height: height}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.asked = l
	if h.c.adjust != nil {
		l = h.c.adjust(l)
	}
	return l, nil
}
func (h *fakeHandle) SetRate(fps float64) (float64, error) { return fps, nil }
func (h *fakeHandle) Start(int) error                      { return h.c.startErr }

func (h *fakeHandle) TryRead() (v4l2.Buffer, bool, error) {
	if h.next < len(h.c.script) && (h.c.waiting || h.c.script[h.next].late) {
		h.next++
		e := h.c.script[h.next-1]
		return e.buffer, e.err == nil, e.err
	}
	return v4l2.Buffer{}, false, nil
}

// Read goes through the script; behind its end it waits.
func (h *fakeHandle) Read(timeout time.Duration) (v4l2.Buffer, error) {
	select {
	case <-h.wake:
		return v4l2.Buffer{}, v4l2.ErrInterrupted
	default:
	}
	if h.next < len(h.c.script) {
		h.next++
		e := h.c.script[h.next-1]
		return e.buffer, e.err
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-h.wake:
		return v4l2.Buffer{}, v4l2.ErrInterrupted
	case <-t.C:
		return v4l2.Buffer{}, v4l2.ErrTimeout
	}
}

func (h *fakeHandle) Release(v4l2.Buffer) error {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.released++
	return nil
}

func (h *fakeHandle) Interrupt() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *fakeHandle) Close() error {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.open--
	return nil
}

// sink remembers, and cancels after a number of frames.
type sink struct {
	tracks media.Tracks
	frames []*media.Frame
	after  int
	cancel context.CancelFunc
}

func (s *sink) Start(ts media.Tracks) { s.tracks = ts }

func (s *sink) Write(f *media.Frame) {
	if s.frames = append(s.frames, f); s.after > 0 && len(s.frames) == s.after {
		s.cancel()
	}
}

// picture is a small JPEG of the standard library, which has the standard
// Huffman tables.
func picture(t testing.TB, n int) []byte {
	t.Helper()
	m := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(i*7 + n*31)
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = byte(i*3), byte(n*11+i)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withoutTables takes the Huffman tables out, as many cameras do.
func withoutTables(t testing.TB, b []byte) []byte {
	t.Helper()
	at := bytes.Index(b, []byte{0xff, 0xc4})
	if at < 0 {
		t.Fatal("no Huffman tables")
	}
	n := int(b[at+2])<<8 | int(b[at+3])
	out := append(bytes.Clone(b[:at]), b[at+2+n:]...)
	if bytes.Contains(out[:at+2], []byte{0xff, 0xc4}) {
		t.Fatal("more than one segment of Huffman tables")
	}
	return out
}
