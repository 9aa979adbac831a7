package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"camwire/media/device/vmtest"
)

// usbProgram is where the measured program is in the virtual machine, and
// usbResult what the line with the figures begins with. The others are ways to
// watch.
const (
	usbProgram = "/usr/bin/camwire"
	usbResult  = "figures: "

	usbTenMJPEG  = "10 MJPEG clients"
	usbOneWebRTC = "1 WebRTC viewer"
)

// usbFigures are those of one camera that is watched in several ways.
type usbFigures struct {
	Bytes int `json:"bytes"` // of a picture
	Rows  []usbRow
}

// usbRow is one way to watch.
type usbRow struct {
	Name string
	// Pictures per second that the program had of the camera, and that a
	// viewer got.
	Pictures, Got float64
	// CPU and Codec are processor seconds per minute, of the program and of
	// its codec processes; Workers counts the latter.
	CPU, Codec float64
	Workers    int
	// Delay from the kernel's timestamp of a picture to the viewer in ms.
	Delay spread
}

// usb measures what a USB camera costs. The cameras are emulated, in a virtual
// machine without KVM: its processor is many times slower than this one, so
// what counts are the ratios to the least that a program can do, in the same
// machine and run.
func (b *bench) usb() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute+10*time.Duration(b.seconds)*time.Second)
	defer cancel()
	self := filepath.Join(b.dir, "bench-static")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", self, "camwire/cmd/camwire/bench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	files := map[string]string{}
	if err := vmtest.WithLibraries(ctx, files, usbProgram, b.bin); err != nil {
		return err
	}
	var out bytes.Buffer
	status, err := vmtest.Run(ctx, vmtest.Machine{
		Program: self, Args: []string{"usb-guest", fmt.Sprint(b.seconds)}, Files: files,
		Modules: []string{"vhci_hcd", "uvcvideo nodrop=1"}, Output: &out,
	})
	if errors.Is(err, vmtest.ErrUnavailable) {
		fmt.Printf("\nUSB CAMERAS HAVE NOT BEEN MEASURED: %v\n", err)
		b.results["usb"] = map[string]string{"skipped": err.Error()}
		return nil
	}
	if err != nil || status != 0 {
		return fmt.Errorf("virtual machine: status %d, %w\n%s", status, err, out.String())
	}
	all := map[string]usbFigures{}
	for line := range strings.Lines(out.String()) {
		if text, ok := strings.CutPrefix(line, usbResult); ok {
			if err := json.Unmarshal([]byte(text), &all); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"MJPEG", "H264"} {
		all[name].print(name)
	}
	b.results["usb"] = all
	return nil
}

func (f usbFigures) print(name string) {
	if len(f.Rows) == 0 {
		return
	}
	fmt.Printf("\nUSB camera, %s 1280x720 at 30, %d kB a picture, in an emulated machine: compare rows, not with other tables\n", name, f.Bytes/1000)
	fmt.Printf("  %-28s %10s %10s %12s %12s %8s %14s %16s\n", "", "pictures/s", "viewer/s", "CPU s/min", "codec s/min", "codecs", "to bare reader", "delay ms, p95")
	for _, r := range f.Rows {
		fmt.Printf("  %-28s %10.1f %10.1f %12.2f %12.2f %8d %14.2f %8.1f %7.1f\n",
			r.Name, r.Pictures, r.Got, r.CPU, r.Codec, r.Workers, (r.CPU+r.Codec)/f.Rows[0].CPU, r.Delay.Median, r.Delay.P95)
	}
	for _, r := range f.Rows {
		if r.Name == usbTenMJPEG {
			verdict := "nothing is decoded or encoded"
			if r.Workers > 0 || r.Codec > 0 {
				verdict = "THE PICTURES ARE NOT PASSED THROUGH"
			}
			fmt.Printf("  10 MJPEG clients cost %.1f times what nobody does; %d codec processes: %s\n", r.CPU/f.Rows[1].CPU, r.Workers, verdict)
		}
	}
}
