package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"camwire/media/device/v4l2"
	"camwire/media/device/vmtest/guest"
	"camwire/media/device/vmtest/uvcsim"
)

// usbPatience bounds every wait in the virtual machine.
const usbPatience = 90 * time.Second

// bootGuest makes this program the first process of a virtual machine, if it
// is one.
func bootGuest() { guest.Boot() }

// usbGuest measures inside of the virtual machine.
type usbGuest struct {
	seconds int
	path    string // of the camera's device file
	server  *camwire
}

// runUSBGuest prints the figures of an MJPEG and of an H.264 camera.
func runUSBGuest(args []string) error {
	if !guest.Inside() || len(args) != 1 {
		return errors.New("usb-guest runs in the virtual machine of -only usb")
	}
	seconds, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	// Or the measured program would take it for a setting of its own.
	if err := os.Unsetenv(guest.Env); err != nil {
		return err
	}
	picture, err := noisyJPEG()
	if err != nil {
		return err
	}
	all := map[string]usbFigures{}
	for _, c := range []struct {
		name    string
		format  uvcsim.FourCC
		bytes   int
		picture func(n int) []byte
		watch   []string
	}{
		{"MJPEG", uvcsim.MJPEG, len(picture), func(int) []byte { return picture }, []string{"nobody", usbTenMJPEG, usbOneWebRTC}},
		{"H264", uvcsim.H264, len(accessUnit(1)), accessUnit, []string{"nobody", usbOneWebRTC}},
	} {
		f, err := measureUSB(c.format, c.picture, c.watch, seconds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		f.Bytes = c.bytes
		all[c.name] = f
	}
	j, err := json.Marshal(all)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s%s\n", usbResult, j)
	return nil
}

// noisyJPEG is a picture of about 70 kB, as webcams make them.
func noisyJPEG() ([]byte, error) {
	m := image.NewYCbCr(image.Rect(0, 0, 1280, 720), image.YCbCrSubsampleRatio420)
	r := rand.New(rand.NewPCG(1, 2))
	for y := range 720 {
		for x := range 1280 {
			m.Y[y*m.YStride+x] = byte((x+y)/8 + r.IntN(12))
		}
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = byte(100+i%64), byte(140-i%32)
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 70})
	return b.Bytes(), err
}

// accessUnit is picture n of an H.264 camera at about 2 Mbit/s. Nobody decodes
// it: the slices have a header and no more.
func accessUnit(n int) []byte {
	if n%30 != 0 {
		return append([]byte{0, 0, 0, 1, 0x41, 0x9a, 0x22}, bytes.Repeat([]byte{byte(n | 1)}, 7000)...)
	}
	sets, _ := hex.DecodeString("00000001" + "6742c00cda0507ec0440000003004000000783c50aa8" + "00000001" + "68ce0fc8")
	return append(append(sets, 0, 0, 0, 1, 0x65, 0x88, 0x84), bytes.Repeat([]byte{byte(n | 1)}, 40000)...)
}

// measureUSB plugs a camera in and watches it in several ways.
func measureUSB(format uvcsim.FourCC, picture func(int) []byte, watch []string, seconds int) (usbFigures, error) {
	g := &usbGuest{seconds: seconds, path: "/dev/video0"}
	k := uvcsim.New(uvcsim.Config{
		VID: 0x1d6b, PID: 0x0102, Manufacturer: "Lab", Product: "Webcam", Serial: "S1",
		Formats: []uvcsim.Format{{FourCC: format, Sizes: []uvcsim.Size{{Width: 1280, Height: 720, FPS: []int{30}}}}},
		Picture: func(_ uvcsim.FourCC, _, _, n int) uvcsim.Picture { return uvcsim.Picture{Data: picture(n)} },
	})
	if err := k.Plug(-1); err != nil {
		return usbFigures{}, err
	}
	defer func() { _ = k.Unplug() }()
	bare, err := g.bareReader(map[uvcsim.FourCC]string{uvcsim.MJPEG: v4l2.MJPEG.String(), uvcsim.H264: v4l2.H264.String()}[format])
	if err != nil {
		return usbFigures{}, fmt.Errorf("bare reader: %w", err)
	}
	f := usbFigures{Rows: []usbRow{bare}}
	conf := `  - { id: cam, source: "usb:S1", width: 1280, height: 720, fps: 30 }`
	if g.server, err = startCamwire(usbProgram, os.TempDir(), conf); err != nil {
		return f, err
	}
	defer g.server.kill()
	if err := g.live(); err != nil {
		return f, err
	}
	for _, w := range watch {
		row, err := g.watch(w)
		if err != nil {
			return f, fmt.Errorf("%s: %w", w, err)
		}
		f.Rows = append(f.Rows, row)
	}
	return f, nil
}

// bareReader is the least that a program can do with a camera: take each
// picture and copy it.
func (g *usbGuest) bareReader(format string) (usbRow, error) {
	row := usbRow{Name: "bare V4L2 reader"}
	self, err := os.Executable()
	if err != nil {
		return row, err
	}
	end := time.Now().Add(usbPatience)
	for {
		if _, err := os.Stat(g.path); err == nil {
			break
		}
		if time.Now().After(end) {
			return row, fmt.Errorf("%s never appeared", g.path)
		}
		time.Sleep(20 * time.Millisecond)
	}
	p, err := start("load", self, "usb-reader", g.path, format)
	if err != nil {
		return row, err
	}
	defer p.kill()
	if line, err := p.out.ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		return row, errors.New("no picture")
	}
	from, t0 := p.cpu(), time.Now()
	time.Sleep(time.Duration(g.seconds) * time.Second)
	used, took := p.cpu()-from, time.Since(t0)
	_ = p.in.Close()
	var ages []float64
	if err := json.NewDecoder(p.out).Decode(&ages); err != nil {
		return row, err
	}
	row.Delay = spreadOf(ages)
	row.Pictures = float64(len(ages)) / took.Seconds()
	row.Got, row.CPU = row.Pictures, used.Seconds()*60/took.Seconds()
	return row, nil
}

// runUSBReader says "ready" at the first picture, reads until its standard
// input ends, and prints the age of each picture when it came, in ms.
//
//	usb-reader PATH FORMAT
func runUSBReader(args []string) error {
	d, err := v4l2.Open(args[0])
	if err != nil {
		return err
	}
	defer d.Close()
	format := v4l2.MJPEG
	if args[1] == v4l2.H264.String() {
		format = v4l2.H264
	}
	if _, err := d.SetFormat(format, 1280, 720); err != nil {
		return err
	}
	if _, err := d.SetRate(30); err != nil {
		return err
	}
	if err := d.Start(4); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		d.Interrupt()
	}()
	ages := []float64{}
	var kept []byte
	for first := true; ; first = false {
		b, err := d.Read(usbPatience)
		if errors.Is(err, v4l2.ErrInterrupted) {
			return json.NewEncoder(os.Stdout).Encode(ages)
		}
		if err != nil {
			return err
		}
		kept = append(kept[:0], b.Data...)
		if b.Time > 0 && !first {
			ages = append(ages, float64(v4l2.Monotonic()-b.Time)/1e6)
		}
		if err := d.Release(b); err != nil {
			return err
		}
		if first {
			fmt.Println("ready")
		}
	}
}

// watch lets somebody watch, and measures the program meanwhile.
func (g *usbGuest) watch(who string) (usbRow, error) {
	row := usbRow{Name: who}
	ages := func() []float64 { return nil }
	switch who {
	case usbTenMJPEG:
		// One of the ten measures.
		load, err := startLoad("mjpeg", 9, g.server.http+"/api/camera/mjpeg/cam")
		if err != nil {
			return row, err
		}
		defer load.kill()
		c, err := timeMJPEG(g.server.http + "/api/camera/mjpeg/cam")
		if err != nil {
			return row, err
		}
		defer c.close()
		ages = c.take
	case usbOneWebRTC:
		c, err := timeWebRTC(g.server.http + "/whep/cam")
		if err != nil {
			return row, err
		}
		defer c.close()
		ages = c.take
	}
	time.Sleep(2 * time.Second) // what a viewer costs at its beginning is not measured here
	ages()
	n0, err := g.frames()
	if err != nil {
		return row, err
	}
	cpu0, codec0, t0 := g.server.cpu(), g.codecCPU(), time.Now()
	time.Sleep(time.Duration(g.seconds) * time.Second)
	perMinute := 60 / time.Since(t0).Seconds()
	row.CPU = (g.server.cpu() - cpu0).Seconds() * perMinute
	row.Codec = (g.codecCPU() - codec0).Seconds() * perMinute
	row.Workers = len(codecProcesses())
	n1, err := g.frames()
	if err != nil {
		return row, err
	}
	row.Pictures = float64(n1-n0) * perMinute / 60
	list := ages()
	row.Got, row.Delay = float64(len(list))*perMinute/60, spreadOf(list)
	return row, nil
}

// live waits for the first picture.
func (g *usbGuest) live() error {
	for end := time.Now().Add(usbPatience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if n, err := g.frames(); err != nil || n > 0 {
			return err
		}
	}
	return errors.New("the camera delivers nothing")
}

// frames is how many pictures the program has had of the camera.
func (g *usbGuest) frames() (uint64, error) {
	res, err := request(http.MethodGet, g.server.http+"/api/camera/server/status", "")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var list []struct {
		FrameCount uint64 `json:"frame_count"`
	}
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list) != 1 {
		return 0, fmt.Errorf("server/status: %d cameras, %w", len(list), err)
	}
	return list[0].FrameCount, nil
}

// codecProcesses lists the codec processes; there are no others in the machine.
func codecProcesses() (pids []int) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte("codec-worker")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (g *usbGuest) codecCPU() (all time.Duration) {
	for _, pid := range codecProcesses() {
		all += cpuOf(pid)
	}
	return all
}
