package vmtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/device"
	"camwire/media/device/vmtest/uvcsim"
	"camwire/media/hub"
	"camwire/media/stream"
)

func testStream(t *testing.T) {
	s := newStill(t, 320, 240)
	for _, c := range []struct {
		format      uvcsim.FourCC
		isochronous bool
		codec       media.Codec
	}{
		{uvcsim.MJPEG, false, media.JPEG}, {uvcsim.MJPEG, true, media.JPEG},
		{uvcsim.YUYV, false, media.YUYV}, {uvcsim.YUYV, true, media.YUYV},
		{uvcsim.NV12, false, media.NV12},
		{uvcsim.H264, false, media.H264}, {uvcsim.H264, true, media.H264},
	} {
		t.Run(fmt.Sprintf("%s/isochronous=%v", c.format, c.isochronous), func(t *testing.T) {
			make1 := func(n int) []byte {
				switch c.format {
				case uvcsim.MJPEG:
					return s.number(n)
				case uvcsim.H264:
					return annexB(h264(n))
				case uvcsim.NV12:
					return raw(320*240*3/2, n)
				}
				return raw(320*240*2, n)
			}
			config := webcam("S1", s)
			config.Formats = []uvcsim.Format{vga(c.format, 15)}
			config.Isochronous = c.isochronous
			config.Picture = func(_ uvcsim.FourCC, _, _, n int) uvcsim.Picture { return uvcsim.Picture{Data: make1(n)} }
			plug(t, config)
			o := options("0")
			o.Width, o.Height, o.FPS = 320, 240, 15
			r := run(t, o)
			r.await(t, 12)
			if err := r.stop(t); err != nil {
				t.Error(err)
			}
			want := media.Track{Codec: c.codec, ClockRate: 90000, Width: 320, Height: 240, FPS: 15}
			if got := r.tracks[0]; got.Codec != want.Codec || got.Width != want.Width || got.Height != want.Height || got.FPS != want.FPS {
				t.Errorf("track %+v", got)
			}
			checkFrames(t, r.frames, c.codec, make1)
		})
	}
}

// checkFrames holds frames against what the camera has sent, byte by byte,
// and their times against each other.
func checkFrames(t *testing.T, frames []*media.Frame, c media.Codec, sent func(n int) []byte) {
	t.Helper()
	last, stamped := -1, 0
	for i, f := range frames {
		var got []byte
		var n int
		switch c {
		case media.H264:
			got = annexB(f.Units)
			if _, err := fmt.Sscanf(string(f.Units[len(f.Units)-1][2:10]), "%x", &n); err != nil {
				t.Fatal(err)
			}
			if f.Key != (n%10 == 0) {
				t.Errorf("frame %d: key is %v", i, f.Key)
			}
		case media.JPEG:
			got, n = f.Units[0], numberOf(f.Units[0])
		default:
			got = bytes.Join(f.Units, nil)
			n = int(binary.BigEndian.Uint32(got))
		}
		// Numbers may be left out: a busy machine drops pictures.
		if n <= last || !bytes.Equal(got, sent(n)) {
			t.Fatalf("frame %d, number %d after %d: not what the camera has sent", i, n, last)
		}
		if last = n; f.Captured.Before(f.Arrived) {
			stamped++
		}
		if i > 0 && (f.PTS <= frames[i-1].PTS || f.Captured.Before(frames[i-1].Captured)) {
			t.Errorf("frame %d: time runs backwards", i)
		}
	}
	if stamped < len(frames)/2 {
		t.Errorf("%d of %d frames have the kernel's time", stamped, len(frames))
	}
}

// testDefault: nobody asks for a mode, and the camera is an ordinary one.
func testDefault(t *testing.T) {
	s := newStill(t, 1280, 720)
	c := webcam("S1", s)
	hd := []uvcsim.Size{{Width: 1920, Height: 1080, FPS: []int{30}}, {Width: 1280, Height: 720, FPS: []int{30}}, {Width: 640, Height: 480, FPS: []int{30}}}
	slow := []uvcsim.Size{{Width: 640, Height: 480, FPS: []int{30}}, {Width: 1280, Height: 720, FPS: []int{10}}}
	c.Formats = []uvcsim.Format{{FourCC: uvcsim.YUYV, Sizes: slow}, {FourCC: uvcsim.MJPEG, Sizes: hd}}
	c.Isochronous = true
	plug(t, c)
	src, err := device.New(options("0"))
	if err != nil {
		t.Fatal(err)
	}
	r := runSource(t, src)
	r.await(t, 30)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if got := r.tracks[0]; got.Codec != media.JPEG || got.Width != 1280 || got.Height != 720 || got.FPS != 30 {
		t.Errorf("track %+v", got)
	}
	if stats := src.Stats(); stats.Damaged != 0 || stats.Delivered < 30 {
		t.Errorf("stats %+v", stats)
	}
	ages := make([]time.Duration, len(r.frames))
	for i, f := range r.frames {
		ages[i] = f.Arrived.Sub(f.Captured)
	}
	slices.Sort(ages)
	first, last := r.frames[0], r.frames[len(r.frames)-1]
	t.Logf("%.1f pictures of %d bytes per second, %v from first byte to arrival (median)",
		float64(len(r.frames)-1)/last.Arrived.Sub(first.Arrived).Seconds(), first.Size(), ages[len(ages)/2])
}

func testInventory(t *testing.T) {
	s := newStill(t, 320, 240)
	two := webcam("", s)
	two.Product, two.PID = "Second", 0x0103
	two.Formats = []uvcsim.Format{vga(uvcsim.YUYV, 30, 15), vga(uvcsim.MJPEG, 30), vga(uvcsim.H264, 30)}
	plug(t, webcam("S1", s), two)
	if nodes, _ := filepath.Glob("/dev/video*"); len(nodes) != 4 {
		t.Errorf("%d device files, want two and their metadata", len(nodes))
	}
	start := time.Now()
	l := list(t)
	t.Logf("inventory took %v", time.Since(start))
	if len(l) != 2 {
		t.Fatalf("%d cameras: %+v", len(l), l)
	}
	a, b := l[0], l[1]
	if a.Index != 0 || a.Path != "/dev/video0" || a.Source != "usb:S1" || a.Name != "Webcam" || a.SuggestedID != "usb_cam_0" ||
		a.Width != 640 || a.Height != 480 || a.FPS != 15 || len(a.Modes) != 2 || a.InUse {
		t.Errorf("first: %+v", a)
	}
	if b.Index != 2 || b.Source != "usb:1d6b:0103" || b.Name != "Second" || b.Serial != "" || len(b.Modes) != 6 ||
		b.Modes[0].Codec != media.H264 || b.FPS != 30 {
		t.Errorf("second: %+v", b)
	}
	r := run(t, options("usb:S1"))
	r.await(t, 2)
	if l := list(t); !l[0].InUse || l[1].InUse || len(l[0].Modes) != 2 {
		t.Errorf("while the first runs: %+v", l)
	}
	r.await(t, r.count()+3) // it has not been disturbed
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func testUnplug(t *testing.T) {
	for _, isochronous := range []bool{false, true} {
		c := webcam("S1", newStill(t, 320, 240))
		c.Isochronous = isochronous
		k := plug(t, c)[0]
		r := run(t, options("0"))
		r.await(t, 5)
		pull(t, k)
		if err := r.end(t); !errors.Is(err, device.ErrUnplugged) {
			t.Errorf("isochronous %v: %v", isochronous, err)
		}
	}
}

// testReplug: the supervisor brings the camera back, whoever watches stays.
func testReplug(t *testing.T) {
	s := newStill(t, 320, 240)
	k := plug(t, webcam("S1", s))[0]
	src, err := device.New(options("0"))
	if err != nil {
		t.Fatal(err)
	}
	reg := stream.New(stream.Config{})
	defer reg.Close()
	st, err := reg.Add("cam", stream.Options{Source: src})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := st.Lease("test")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	cursor := lease.Hub().NewCursor(hub.CursorOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var epoch uint32
	read := func() {
		t.Helper()
		for range 5 {
			f, err := cursor.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if epoch == 0 {
				epoch = f.Epoch
			}
			if f.Epoch != epoch || numberOf(f.Units[0]) < 0 {
				t.Fatalf("epoch %d, %d bytes", f.Epoch, f.Size())
			}
		}
	}
	read()
	pull(t, k)
	eventually(t, "state is lost", func() bool { return st.Info().State == stream.Lost })
	if why := st.Info().Reason; !strings.Contains(why, "unplugged") {
		t.Errorf("reason %q", why)
	}
	// Another camera takes its number in the meantime.
	other := webcam("S2", s)
	other.Picture = func(uvcsim.FourCC, int, int, int) uvcsim.Picture { return uvcsim.Picture{Data: []byte("wrong room")} }
	plug(t, other)
	attach(t, k, -1)
	eventually(t, "state is live", func() bool { return st.Info().State == stream.Live })
	for { // frames of before may still be in the ring
		if f, err := cursor.Try(); f == nil || err != nil {
			break
		}
	}
	read()
	if l := list(t); len(l) != 2 || l[0].Serial != "S2" || !l[1].InUse {
		t.Errorf("inventory: %+v", l)
	}
}

// testSwap: two cameras come back in the other order.
func testSwap(t *testing.T) {
	a, b := newStill(t, 320, 240), newStill(t, 320, 240)
	b.body = bytes.Replace(b.body, []byte{0xff, 0xdb}, []byte{0xff, 0xfe, 0, 4, 'B', '2', 0xff, 0xdb}, 1)
	k := plug(t, webcam("A1", a), webcam("B2", b))
	open := func(source string) *device.Source {
		s, err := device.New(options(source))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sources := map[string]*device.Source{"usb:A1": open("usb:A1"), "usb:B2": open("usb:B2"), "0": open("0"), "2": open("2")}
	shows := func(source, want string) {
		t.Helper()
		r := runSource(t, sources[source])
		r.await(t, 1)
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
		got := "A1"
		if bytes.Contains(r.frames[0].Units[0][:64], []byte("B2")) {
			got = "B2"
		}
		if got != want {
			t.Errorf("source %q shows %s instead of %s", source, got, want)
		}
	}
	for range 2 {
		shows("usb:A1", "A1")
		shows("usb:B2", "B2")
		shows("0", "A1")
		shows("2", "B2")
		if list(t)[0].Serial != "A1" {
			break
		}
		pull(t, k[0])
		pull(t, k[1])
		attach(t, k[1], -1)
		attach(t, k[0], -1)
		if l := list(t); l[0].Serial != "B2" || l[0].Index != 0 {
			t.Fatalf("numbers are not swapped: %+v", l)
		}
	}
}

// testTwins: two equal cameras without serials.
func testTwins(t *testing.T) {
	s := newStill(t, 320, 240)
	plug(t, webcam("", s), webcam("", s))
	l := list(t)
	if l[0].Source == l[1].Source || l[0].Source != "usb:"+l[0].Port || l[1].Source != "usb:"+l[1].Port {
		t.Errorf("sources %q and %q", l[0].Source, l[1].Source)
	}
	err := run(t, options("usb:Webcam")).end(t)
	if !errors.Is(err, device.ErrAmbiguous) || !strings.Contains(err.Error(), l[0].Source) || !strings.Contains(err.Error(), l[1].Source) {
		t.Errorf("got %v", err)
	}
	one, two := run(t, options(l[0].Source)), run(t, options(l[1].Source))
	one.await(t, 3)
	two.await(t, 3)
	if err := errors.Join(one.stop(t), two.stop(t)); err != nil {
		t.Error(err)
	}
}

func testBusy(t *testing.T) {
	plug(t, webcam("S1", newStill(t, 320, 240)))
	other := exec.Command("/proc/self/exe")
	other.Env = append(os.Environ(), envHold+"=/dev/video0")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "streaming\n" {
		t.Errorf("the other program says %q", line)
	}
	if l := list(t); !l[0].InUse {
		t.Errorf("inventory: %+v", l)
	}
	err = run(t, options("0")).end(t)
	if want := fmt.Sprintf(`camera "/dev/video0" (Webcam) is in use by exe (pid %d)`, other.Process.Pid); !errors.Is(err, device.ErrBusy) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	_ = in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	one := run(t, options("0"))
	one.await(t, 2)
	if err := run(t, options("usb:S1")).end(t); !errors.Is(err, device.ErrBusy) || !strings.Contains(err.Error(), "same source") {
		t.Errorf("got %v", err)
	}
	one.await(t, one.count()+2)
	if err := one.stop(t); err != nil {
		t.Error(err)
	}
}

func testHung(t *testing.T) {
	for _, isochronous := range []bool{false, true} {
		c := webcam("S1", newStill(t, 320, 240))
		c.Isochronous = isochronous
		k := plug(t, c)[0]
		o := options("0")
		o.Silence = 2 * time.Second
		// A machine that has no time for two seconds looks like a camera that
		// hangs: then once more.
		var r *running
		err := device.ErrHangs
		for range 5 {
			r = run(t, o)
			if err = r.reach(t, 3); !errors.Is(err, device.ErrHangs) {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		k.Pause(true)
		if err := r.end(t); !errors.Is(err, device.ErrHangs) {
			t.Errorf("got %v", err)
		}
		k.Pause(false)
		again := run(t, options("0"))
		again.await(t, 3)
		if err := again.stop(t); err != nil {
			t.Error(err)
		}
		pull(t, k)
	}
}

func testDamaged(t *testing.T) {
	s := newStill(t, 320, 240)
	c := webcam("S1", s)
	c.Picture = func(_ uvcsim.FourCC, _, _, n int) uvcsim.Picture {
		switch n % 4 {
		case 1:
			return uvcsim.Picture{Data: s.number(n)[:2000]}
		case 2:
			return uvcsim.Picture{Data: s.without(n)}
		case 3:
			return uvcsim.Picture{Data: s.number(n), Bad: true}
		}
		return uvcsim.Picture{Data: append(s.number(n), make([]byte, 99)...)}
	}
	plug(t, c)
	r := run(t, options("0"))
	r.await(t, 8)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	kinds := map[int]int{}
	for i, f := range r.frames {
		n := numberOf(f.Units[0])
		kinds[n%4]++
		if n%4 == 0 && !bytes.Equal(f.Units[0], s.number(n)) {
			t.Errorf("frame %d: not what the camera has sent", i)
		}
		if _, err := jpeg.DecodeConfig(bytes.NewReader(f.Units[0])); err != nil {
			t.Errorf("frame %d: %v", i, err)
		}
		if n%4 == 2 && i < 4 {
			if _, err := jpeg.Decode(bytes.NewReader(f.Units[0])); err != nil {
				t.Errorf("frame %d without tables: %v", i, err)
			}
		}
	}
	if kinds[0] == 0 || kinds[2] == 0 || kinds[1] > 0 || kinds[3] > 0 {
		t.Errorf("kinds of frames: %v", kinds)
	}
}

func testAdjusted(t *testing.T) {
	c := webcam("S1", newStill(t, 320, 240))
	c.Insist = 1 // 320x240
	plug(t, c)
	o := options("0")
	o.Width, o.Height, o.FPS = 640, 480, 30
	r := run(t, o)
	r.await(t, 2)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if got := r.tracks[0]; got.Width != 320 || got.Height != 240 || got.FPS != 15 {
		t.Errorf("track %+v", got)
	}
}

// testTidy: nothing is left open, and a child does not keep the camera.
func testTidy(t *testing.T) {
	k := plug(t, webcam("S1", newStill(t, 320, 240)))[0]
	open := func() (n int) {
		for _, i := range list(t) {
			n += len(i.Holders)
		}
		return n
	}
	r := run(t, options("0"))
	r.await(t, 1)
	// A child that lives while the camera is closed must not keep it open.
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), envHold+"="+holdNothing)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = child.Wait()
	}()
	if n := open(); n != 1 {
		t.Errorf("%d programs have the camera", n)
	}
	start := time.Now()
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	t.Logf("stopped within %v", time.Since(start))
	if n := open(); n != 0 {
		t.Errorf("%d programs have the camera after the end", n)
	}
	eventually(t, "the camera is told to stop", func() bool { return !k.Streaming() })
}
