package usb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"camwire/media/device/v4l2"
	"camwire/media/device/vmtest/guest"
	"camwire/media/device/vmtest/uvcsim"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	guest.Boot()
	goleak.VerifyTestMain(m)
}

// TestGuest is run by TestUSBViewers.
func TestGuest(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs inside of TestUSBViewers' virtual machine")
	}
	if !uvcsim.Available() {
		t.Fatal("no virtual USB host")
	}
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{{"replug", testReplug}, {"swap", testSwap}, {"mjpeg", testMJPEG}, {"busy", testBusy}} {
		t.Run(c.name, c.test)
	}
}

// h264 makes access unit n of the camera with that serial, as NAL units; every
// tenth is an IDR picture with parameter sets for 320x240. Its slice says whose
// and which it is.
func h264(serial string, n int) [][]byte {
	head := []byte{0x41, 0x9a, 0x22} // P slice of the PPS below, first macroblock 0
	var list [][]byte
	if n%10 == 0 {
		sps, _ := hex.DecodeString("6742c00cda0507ec0440000003004000000783c50aa8")
		list, head = append(list, sps, []byte{0x68, 0xce, 0x0f, 0xc8}), []byte{0x65, 0x88, 0x84}
	}
	slice := fmt.Appendf(head, "%s %08x ", serial, n)
	return append(list, append(slice, bytes.Repeat([]byte{byte(n | 1)}, 3000)...))
}

func annexB(units [][]byte) (b []byte) {
	for _, u := range units {
		b = append(append(b, 0, 0, 0, 1), u...)
	}
	return b
}

// hardware is a camera that encodes H.264 itself, 320x240 at 15 frames per second.
func hardware(serial string) *uvcsim.Camera {
	return uvcsim.New(uvcsim.Config{
		VID: 0x1d6b, PID: 0x0102, Manufacturer: "Lab", Product: "Encoder", Serial: serial, Isochronous: true,
		Formats: []uvcsim.Format{{FourCC: uvcsim.H264, Sizes: []uvcsim.Size{{Width: 320, Height: 240, FPS: []int{15}}}}},
		Picture: func(_ uvcsim.FourCC, _, _, n int) uvcsim.Picture {
			return uvcsim.Picture{Data: annexB(h264(serial, n))}
		},
	})
}

// numbers waits for that many pictures from number from on, checks that they are
// those that the camera has sent, untouched and in order, and returns their
// numbers. The first must be a key frame. What is older may still be on its way.
func numbers(t *testing.T, v *viewer, serial string, from, count int) (list []int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the viewer gets pictures of %s", serial), func() (bool, string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		list = nil
		for i, units := range v.units {
			slice := units[len(units)-1]
			var n int
			if _, err := fmt.Sscanf(string(slice[min(3, len(slice)):]), serial+" %x ", &n); err != nil {
				t.Fatalf("picture %d is none of %s: %.40q", i, serial, slice)
			}
			if sent := h264(serial, n); !bytes.Equal(slice, sent[len(sent)-1]) {
				t.Fatalf("picture %d, number %d: changed on its way", i, n)
			}
			if n >= from {
				list = append(list, n)
			}
		}
		return len(list) >= count, fmt.Sprintf("%d of %d, states %v", len(list), count, v.states)
	})
	if list[0]%10 != 0 {
		t.Errorf("the first picture is number %d, no key frame", list[0])
	}
	if !slices.IsSorted(list) {
		t.Errorf("out of order: %v", list)
	}
	return list
}

// webcam is a camera that makes MJPEG, 320x240 at 10 frames per second.
func webcam(t *testing.T, serial string) (*uvcsim.Camera, func(n int) []byte) {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 320, 240))
	for y := range 240 {
		for x := range 320 {
			m.Set(x, y, color.RGBA{uint8(x), uint8(y), uint8(x ^ y), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	// A comment makes each picture another one.
	picture := func(n int) []byte {
		head := []byte{0xff, 0xd8, 0xff, 0xfe, 0, 6, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(head[6:], uint32(n))
		return append(head, b.Bytes()[2:]...)
	}
	return uvcsim.New(uvcsim.Config{
		VID: 0x1d6b, PID: 0x0103, Manufacturer: "Lab", Product: "Webcam", Serial: serial,
		Formats: []uvcsim.Format{{FourCC: uvcsim.MJPEG, Sizes: []uvcsim.Size{{Width: 320, Height: 240, FPS: []int{10}}}}},
		Picture: func(_ uvcsim.FourCC, _, _, n int) uvcsim.Picture { return uvcsim.Picture{Data: picture(n)} },
	}), picture
}

// plug plugs a camera in until the test ends.
func plug(t *testing.T, k *uvcsim.Camera) {
	t.Helper()
	if err := k.Plug(-1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pull(t, k) })
}

// pull pulls a camera out; it may be out.
func pull(t *testing.T, k *uvcsim.Camera) {
	t.Helper()
	if k.Port() < 0 {
		return
	}
	if err := k.Unplug(); err != nil {
		t.Error(err)
	}
}

// sources waits until the inventory lists these, in this order.
func (s *server) sources(t *testing.T, want ...string) []plugged {
	t.Helper()
	var list []plugged
	eventually(t, fmt.Sprintf("the inventory lists %v", want), func() (bool, string) {
		list = s.inventory(t)
		got := []string{}
		for _, x := range list {
			got = append(got, x.Source)
		}
		return strings.Join(got, " ") == strings.Join(want, " "), fmt.Sprintf("%+v", list)
	})
	return list
}

// testReplug: whoever watches by WebRTC stays connected while the camera is
// unplugged, and sees it again when it is back.
func testReplug(t *testing.T) {
	s := start(t, `{ id: door, source: "usb:H1", fps: 15 }`)
	s.sources(t)
	if x := s.status(t, "door"); x.Running || !strings.Contains(text(x.Error), "not plugged in") || x.Source != "usb:H1" {
		t.Errorf("before the camera: %+v, error %s", x, text(x.Error))
	}
	k := hardware("H1")
	plug(t, k)
	if c := s.await(t, "door", "live"); c.Codec != "H264" || c.Type != "usb" {
		t.Errorf("list: %+v", c)
	}
	v := view(t, s, "door")
	numbers(t, v, "H1", 0, 20)
	if x := s.status(t, "door"); !x.Running || x.Resolution != "320x240" || x.Error != nil || x.FrameCount == 0 {
		t.Errorf("while it runs: %+v, error %s", x, text(x.Error))
	}
	if l := s.sources(t, "usb:H1"); !l[0].InUse || l[0].Path != "/dev/video0" || l[0].Name != "Encoder" {
		t.Errorf("inventory while it runs: %+v", l)
	}
	for round := range 2 {
		pull(t, k)
		if c := s.await(t, "door", "lost"); !strings.Contains(text(c.Error), "unplugged") && !strings.Contains(text(c.Error), "not plugged in") {
			t.Errorf("round %d: lost because of %q", round, text(c.Error))
		}
		s.sources(t)
		if x := s.status(t, "door"); x.Running || x.Error == nil {
			t.Errorf("round %d, without the camera: %+v", round, x)
		}
		sent := k.Sent()
		if err := k.Plug(-1); err != nil {
			t.Fatal(err)
		}
		if c := s.await(t, "door", "live"); c.Error != nil {
			t.Errorf("round %d: live, but %s", round, text(c.Error))
		}
		numbers(t, v, "H1", sent, 20)
		if l := s.sources(t, "usb:H1"); !l[0].InUse {
			t.Errorf("inventory, round %d: %+v", round, l)
		}
	}
	v.unharmed(t)
	if n := s.workers(); n != 0 {
		t.Errorf("%d codec processes for a stream that is passed through", n)
	}
}

// testSwap: two cameras come back in the other order, each to its own viewer.
func testSwap(t *testing.T) {
	// One entry by serial, one by number: that stays with the camera as well.
	s := start(t, `{ id: left, source: "usb:A1" }`, `{ id: right, source: 2 }`)
	a, b := hardware("A1"), hardware("B2")
	plug(t, a)
	s.sources(t, "usb:A1")
	plug(t, b)
	s.sources(t, "usb:A1", "usb:B2")
	s.await(t, "left", "live")
	s.await(t, "right", "live")
	left, right := view(t, s, "left"), view(t, s, "right")
	numbers(t, left, "A1", 0, 10)
	numbers(t, right, "B2", 0, 10)
	pull(t, a)
	pull(t, b)
	s.await(t, "left", "lost")
	s.await(t, "right", "lost")
	sentA, sentB := a.Sent(), b.Sent()
	if err := b.Plug(-1); err != nil {
		t.Fatal(err)
	}
	s.sources(t, "usb:B2")
	if err := a.Plug(-1); err != nil {
		t.Fatal(err)
	}
	if l := s.sources(t, "usb:B2", "usb:A1"); l[0].Path != "/dev/video0" {
		t.Errorf("device files are not swapped: %+v", l)
	}
	numbers(t, left, "A1", sentA, 10)
	numbers(t, right, "B2", sentB, 10)
	for _, id := range []string{"left", "right"} {
		if c := s.await(t, id, "live"); c.Error != nil {
			t.Errorf("%s: %s", id, text(c.Error))
		}
	}
	left.unharmed(t)
	right.unharmed(t)
}

// noCodecs says why the program under test cannot encode; "" if it can.
func noCodecs() string {
	out, _ := exec.Command(Program, "codec-worker").CombinedOutput() // it fails either way: nobody talks to it
	if bytes.Contains(out, []byte("built without them")) {
		return string(out)
	}
	return ""
}

// testMJPEG: MJPEG viewers get the camera's own bytes, and nothing is decoded
// for them; for a WebRTC viewer beside them the pictures are encoded.
func testMJPEG(t *testing.T) {
	k, sent := webcam(t, "M1")
	s := start(t, `{ id: desk, source: "usb:Webcam" }`)
	plug(t, k)
	s.await(t, "desk", "live")
	c := watch(t, s, "desk")
	untouched := func(parts [][]byte) {
		t.Helper()
		last := -1
		for i, p := range parts {
			n := -1
			if len(p) > 10 {
				n = int(binary.BigEndian.Uint32(p[6:]))
			}
			if !bytes.Equal(p, sent(n)) || n < last {
				t.Fatalf("part %d, number %d after %d, %d bytes: not what the camera has sent", i, n, last, len(p))
			}
			last = n
		}
	}
	untouched(c.pictures(t, 10))
	if n := s.workers(); n != 0 {
		t.Errorf("%d codec processes for MJPEG that is passed through", n)
	}
	if err := noCodecs(); err != "" {
		t.Skipf("A WEBRTC VIEWER OF AN MJPEG CAMERA HAS NOT BEEN TESTED: %s", err)
	}
	v := view(t, s, "desk")
	key := func(pictures [][][]byte) {
		t.Helper()
		if first := pictures[0]; len(first) < 3 || first[0][0]&31 != 7 || first[len(first)-1][0]&31 != 5 {
			t.Errorf("the first picture has %d units and begins with type %d, want SPS, PPS and IDR", len(first), first[0][0]&31)
		}
	}
	key(v.pictures(t, 10))
	if n := s.workers(); n != 1 {
		t.Errorf("%d codec processes for a WebRTC viewer, want one", n)
	}
	c.restart()
	untouched(c.pictures(t, 10))
	pull(t, k)
	s.await(t, "desk", "lost")
	v.restart()
	c.restart()
	if err := k.Plug(-1); err != nil {
		t.Fatal(err)
	}
	v.pictures(t, 15)
	untouched(c.pictures(t, 5))
	v.unharmed(t)
	v.close()
	eventually(t, "the codec process ends with its last viewer", func() (bool, string) {
		return s.workers() == 0, fmt.Sprint(s.workers(), " codec processes")
	})
	c.restart()
	untouched(c.pictures(t, 3))
}

// testBusy: another program has the camera; Camwire says which, and takes over
// when it is free.
func testBusy(t *testing.T) {
	k, _ := webcam(t, "M1")
	plug(t, k)
	var d *v4l2.Device
	eventually(t, "the camera opens", func() (bool, string) {
		var err error
		if d, err = v4l2.Open("/dev/video0"); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	defer d.Close()
	if _, err := d.SetFormat(v4l2.MJPEG, 320, 240); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(2); err != nil {
		t.Fatal(err)
	}
	s := start(t, `{ id: desk, source: 0 }`)
	who := fmt.Sprintf("(pid %d)", os.Getpid())
	eventually(t, "the error names who has the camera", func() (bool, string) {
		x := s.status(t, "desk")
		return !x.Running && strings.Contains(text(x.Error), "in use by") && strings.Contains(text(x.Error), who), text(x.Error)
	})
	if l := s.inventory(t); len(l) != 1 || !l[0].InUse {
		t.Errorf("inventory: %+v", l)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	s.await(t, "desk", "live")
}
