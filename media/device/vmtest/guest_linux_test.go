package vmtest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/device"
	"camwire/media/device/v4l2"
	"camwire/media/device/vmtest/guest"
	"camwire/media/device/vmtest/uvcsim"

	"go.uber.org/goleak"
)

// envHold makes this program one that uses the camera at that path.
const envHold = "CAMWIRE_GUEST_HOLD"

func TestMain(m *testing.M) {
	guest.Boot()
	if path := os.Getenv(envHold); path != "" {
		os.Exit(hold(path))
	}
	goleak.VerifyTestMain(m)
}

// holdNothing is for a program that only waits.
const holdNothing = "nothing"

// hold streams until its input ends.
func hold(path string) int {
	if path == holdNothing {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	}
	d, err := v4l2.Open(path)
	if err == nil {
		_, err = d.SetFormat(v4l2.MJPEG, 320, 240)
	}
	if err == nil {
		err = d.Start(2)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("streaming")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// TestGuest is run by TestUSB.
func TestGuest(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs inside of TestUSB's virtual machine")
	}
	if !uvcsim.Available() {
		t.Fatal("no virtual USB host")
	}
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"stream", testStream}, {"default", testDefault}, {"inventory", testInventory}, {"unplug", testUnplug}, {"replug", testReplug},
		{"swap", testSwap}, {"twins", testTwins}, {"busy", testBusy}, {"hung", testHung},
		{"damaged", testDamaged}, {"adjusted", testAdjusted}, {"tidy", testTidy},
	} {
		t.Run(c.name, c.test)
	}
}

// patience bounds every wait: the guest is slow, and so may be its host.
const patience = 90 * time.Second

// eventually waits for a condition that the kernel brings about in its time.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func list(t *testing.T) []device.Info {
	t.Helper()
	l, err := device.List(context.Background()) // also from cleanups
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// still makes JPEG number n, recognizable by a comment.
type still struct{ body []byte }

func newStill(t *testing.T, w, h int) still {
	t.Helper()
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(i * 13 >> 2)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return still{b.Bytes()[2:]}
}

func (s still) number(n int) []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xfe, 0, 6, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[6:], uint32(n))
	return append(b, s.body...)
}

// numberOf reads what number wrote; -1 if it is not there.
func numberOf(b []byte) int {
	if len(b) < 10 || !bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff, 0xfe, 0, 6}) {
		return -1
	}
	return int(binary.BigEndian.Uint32(b[6:]))
}

func (s still) without(n int) []byte {
	b := s.number(n)
	at := bytes.Index(b, []byte{0xff, 0xc4})
	length := int(b[at+2])<<8 | int(b[at+3])
	return append(b[:at:at], b[at+2+length:]...)
}

// raw makes picture n of a raw format.
func raw(size, n int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, uint32(n))
	for i := 4; i < len(b); i++ {
		b[i] = byte(i + n)
	}
	return b
}

// h264 makes access unit n: every tenth is an IDR picture.
func h264(n int) (units [][]byte) {
	slice := fmt.Appendf([]byte{0x41, 0x9a}, "%08x", n)
	slice = append(slice, bytes.Repeat([]byte{byte(n | 1)}, 3000)...)
	if n%10 == 0 {
		slice[0] = 0x65
		units = append(units, []byte{0x67, 0x42, 0xc0, 0x1e, 0xda}, []byte{0x68, 0xce, 0x3c, 0x80 | 1})
	}
	return append(units, append(slice, 0x80))
}

func annexB(units [][]byte) (b []byte) {
	for _, u := range units {
		b = append(append(b, 0, 0, 0, 1), u...)
	}
	return b
}

func vga(f uvcsim.FourCC, fps ...int) uvcsim.Format {
	return uvcsim.Format{FourCC: f, Sizes: []uvcsim.Size{{Width: 320, Height: 240, FPS: fps}, {Width: 640, Height: 480, FPS: fps}}}
}

// webcam is a camera that makes MJPEG; s is what it shows.
func webcam(serial string, s still) uvcsim.Config {
	return uvcsim.Config{
		VID: 0x1d6b, PID: 0x0102, Manufacturer: "Lab", Product: "Webcam", Serial: serial,
		Formats: []uvcsim.Format{vga(uvcsim.MJPEG, 15)},
		Picture: func(_ uvcsim.FourCC, _, _, n int) uvcsim.Picture { return uvcsim.Picture{Data: s.number(n)} },
	}
}

// plug plugs cameras in, one after the other, and waits for each.
func plug(t *testing.T, configs ...uvcsim.Config) []*uvcsim.Camera {
	t.Helper()
	var all []*uvcsim.Camera
	for _, c := range configs {
		k := uvcsim.New(c)
		t.Cleanup(func() { pull(t, k) })
		attach(t, k, -1)
		all = append(all, k)
	}
	return all
}

func attach(t *testing.T, k *uvcsim.Camera, port int) {
	t.Helper()
	before := len(list(t))
	if err := k.Plug(port); err != nil {
		t.Fatal(err)
	}
	eventually(t, "camera appears", func() bool { return len(list(t)) == before+1 })
}

func pull(t *testing.T, k *uvcsim.Camera) {
	t.Helper()
	before := len(list(t))
	if k.Port() < 0 {
		return
	}
	if err := k.Unplug(); err != nil {
		t.Error(err)
	}
	eventually(t, "camera disappears", func() bool { return len(list(t)) == before-1 })
}

// recorder is a sink that keeps frames.
type recorder struct {
	mu     sync.Mutex
	tracks media.Tracks
	frames []*media.Frame
	wake   chan struct{}
}

func newRecorder() *recorder { return &recorder{wake: make(chan struct{}, 1)} }

func (r *recorder) Start(ts media.Tracks) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tracks = ts
}

func (r *recorder) Write(f *media.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, f)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.frames)
}

// running is a source at work.
type running struct {
	*recorder
	cancel context.CancelFunc
	err    chan error
}

func options(source string) device.Options {
	return device.Options{
		Source: source, Silence: patience,
		Log: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func run(t *testing.T, o device.Options) *running {
	t.Helper()
	s, err := device.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return runSource(t, s)
}

func runSource(t *testing.T, s *device.Source) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{recorder: newRecorder(), cancel: cancel, err: make(chan error, 1)}
	go func() { r.err <- s.Run(ctx, r) }()
	t.Cleanup(cancel)
	return r
}

// await waits for that many frames.
func (r *running) await(t *testing.T, n int) {
	t.Helper()
	if err := r.reach(t, n); err != nil {
		t.Fatalf("source ended after %d frames: %v", r.count(), err)
	}
}

// reach waits for that many frames, or for the end of the source, which it
// returns.
func (r *running) reach(t *testing.T, n int) error {
	t.Helper()
	deadline := time.After(patience)
	for r.count() < n {
		select {
		case <-r.wake:
		case err := <-r.err:
			return err
		case <-deadline:
			t.Fatalf("%d frames instead of %d within %v", r.count(), n, patience)
		}
	}
	return nil
}

// stop ends the source and returns what it says.
func (r *running) stop(t *testing.T) error {
	t.Helper()
	r.cancel()
	return r.end(t)
}

// end waits for the source to end by itself.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.err:
		return err
	case <-time.After(patience):
		t.Fatalf("source still runs after %v", patience)
		return nil
	}
}
