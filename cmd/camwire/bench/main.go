// The bench command measures a whole Camwire from outside and prints a table
// and JSON: delay from the stamp in the picture to the browser, time to the
// first picture, what a viewer costs in processor time and memory. Beside it, in
// the same run and on the same pictures, stands the smallest pion program that
// does the same job. Absolute times depend on the machine; the ratios do not.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	bootGuest()
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 3 && args[0] == "floor":
		err = runFloor(args[1:])
	case len(args) == 4 && args[0] == "load":
		err = runLoad(args[1:])
	case len(args) == 2 && args[0] == "usb-guest":
		err = runUSBGuest(args[1:])
	case len(args) == 3 && args[0] == "usb-reader":
		err = runUSBReader(args[1:])
	default:
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	bin, dir string
	seconds  int
	browser  *proc
	results  map[string]any
}

func run() error {
	bin := flag.String("bin", "bin/camwire", "the program to measure")
	out := flag.String("json", "", "file for the figures")
	only := flag.String("only", "delay,join,publish,page,cpu,mjpeg,usb", "what to measure")
	seconds := flag.Int("seconds", 15, "length of one measurement")
	flag.Parse()
	path, err := filepath.Abs(*bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "camwire-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{bin: path, dir: dir, seconds: *seconds, results: map[string]any{}}
	defer func() {
		if b.browser != nil {
			b.browser.kill()
		}
	}()
	var errs []error
	for _, m := range []struct {
		name string
		run  func() error
	}{{"delay", b.delay}, {"join", b.join}, {"publish", b.publish}, {"page", b.page}, {"cpu", b.cpu}, {"mjpeg", b.mjpeg}, {"usb", b.usb}} {
		if slices.Contains(strings.Split(*only, ","), m.name) {
			if err := m.run(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
			}
		}
	}
	if *out != "" {
		j, err := json.MarshalIndent(b.results, "", "  ")
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(*out, j, 0o644); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// pair is a camera with Camwire and the floor program behind it.
type pair struct {
	camera, camwire *camwire
	floor           *proc
	whep, floorWhep string
	page, floorPage string
}

func (p *pair) close() {
	for _, x := range []*proc{p.floor, p.camwire.proc, p.camera.proc} {
		if x != nil {
			x.kill()
		}
	}
}

// pair starts a camera (a Camwire that plays its test picture by RTSP) and both
// programs that pull it.
func (b *bench) pair(gop float64) (*pair, error) {
	cam, err := startCamwire(b.bin, b.dir, fmt.Sprintf(`  - { id: cam, source: "test:?gop=%g&bitrate=2000000" }`, gop))
	if err != nil {
		return nil, err
	}
	p := &pair{camera: cam, camwire: &camwire{}}
	if p.camwire, err = startCamwire(b.bin, b.dir, fmt.Sprintf(`  - { id: cam, source: "%s/cam" }`, cam.rtsp)); err != nil {
		cam.kill()
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort())
	if p.floor, err = start("floor", self, "floor", addr, cam.rtsp+"/cam"); err != nil {
		return nil, err
	}
	p.whep, p.page = p.camwire.http+"/whep/cam", p.camwire.http+"/healthz"
	p.floorWhep, p.floorPage = "http://"+addr+"/whep", "http://"+addr+"/page"
	if err := waitFor(p.floorPage); err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(math.Min(gop, 3)*float64(time.Second)) + time.Second) // a group of pictures is cached
	return p, nil
}

// ask gives the browser a job.
func (b *bench) ask(job map[string]any, result any) error {
	if b.browser == nil {
		p, err := start("browser", "node", "cmd/camwire/bench/browser.mjs")
		if err != nil {
			return err
		}
		b.browser = p
	}
	j, err := json.Marshal(job)
	if err != nil {
		return err
	}
	if _, err := b.browser.in.Write(append(j, '\n')); err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	line, err := b.browser.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("browser: %w (node, playwright-core and Chromium are needed)", err)
	}
	var a struct {
		Error  string          `json:"error"`
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return err
	}
	if a.Error != "" {
		return fmt.Errorf("browser: %s", a.Error)
	}
	return json.Unmarshal(a.Result, result)
}

// spread is what is told of a list of figures.
type spread struct {
	N                int
	Median, P95, Max float64
}

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	v = slices.Sorted(slices.Values(v))
	at := func(q float64) float64 { return v[min(int(q*float64(len(v))), len(v)-1)] }
	return spread{N: len(v), Median: at(0.5), P95: at(0.95), Max: v[len(v)-1]}
}

func (b *bench) delay() error {
	p, err := b.pair(2)
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Println("\ndelay, stamp in the picture to the browser's frame callback, 720p30 over RTSP (ms)")
	fmt.Printf("  %-22s %8s %8s %8s %8s\n", "", "frames", "median", "p95", "max")
	var all [2][]float64
	// Turn by turn, so that both see the same weather.
	for range 2 {
		for i, x := range []struct{ page, whep string }{{p.page, p.whep}, {p.floorPage, p.floorWhep}} {
			var ages []float64
			if err := b.ask(map[string]any{"kind": "delay", "page": x.page, "whep": x.whep, "seconds": 3 + b.seconds/2}, &ages); err != nil {
				return err
			}
			all[i] = append(all[i], ages...)
		}
	}
	ours, floor := spreadOf(all[0]), spreadOf(all[1])
	for _, x := range []struct {
		name string
		s    spread
	}{{"camwire", ours}, {"smallest pion program", floor}} {
		fmt.Printf("  %-22s %8d %8.1f %8.1f %8.1f\n", x.name, x.s.N, x.s.Median, x.s.P95, x.s.Max)
	}
	fmt.Printf("  %-22s %8s %8.2f %8.2f\n", "ratio", "", ours.Median/floor.Median, ours.P95/floor.P95)
	b.results["delay_ms"] = map[string]spread{"camwire": ours, "floor": floor}
	return nil
}

func (b *bench) join() error {
	fmt.Println("\nfirst picture after new RTCPeerConnection, 10 joins each (ms)")
	fmt.Printf("  %-8s %-22s %8s %8s   %s\n", "GOP", "", "median", "worst", "live: median, worst")
	res := map[string]any{}
	for _, gop := range []float64{1, 5, 10} {
		p, err := b.pair(gop)
		if err != nil {
			return err
		}
		for _, x := range []struct{ name, page, whep string }{
			{"camwire", p.page, p.whep}, {"smallest pion program", p.floorPage, p.floorWhep},
		} {
			var joins []struct{ First, Live float64 }
			if err := b.ask(map[string]any{"kind": "join", "page": x.page, "whep": x.whep, "times": 10}, &joins); err != nil {
				p.close()
				return err
			}
			var first, live []float64
			for _, j := range joins {
				first, live = append(first, j.First), append(live, j.Live)
			}
			f, l := spreadOf(first), spreadOf(live)
			fmt.Printf("  %5.0f s  %-22s %8.0f %8.0f   %.0f, %.0f\n", gop, x.name, f.Median, f.Max, l.Median, l.Max)
			res[fmt.Sprintf("%s gop %g s", x.name, gop)] = map[string]spread{"first": f, "live": l}
		}
		p.close()
	}
	b.results["first_picture_ms"] = res
	return nil
}

// cost is what n viewers cost a server.
type cost struct {
	CPU    float64 // processor seconds per viewer and minute
	Memory float64 // MB per viewer
	Got    uint64  // packets or bytes that came
}

// measure connects n clients and takes the server's figures over a while,
// less what it takes without any.
func (b *bench) measure(p *proc, kind string, n int, url string, idle time.Duration, rss int) (cost, error) {
	load, err := startLoad(kind, n, url)
	if err != nil {
		return cost{}, err
	}
	defer load.kill()
	time.Sleep(2 * time.Second)
	from, t0 := p.cpu(), time.Now()
	time.Sleep(time.Duration(b.seconds) * time.Second)
	used, d := p.cpu()-from, time.Since(t0)
	mem := p.rss()
	_ = load.in.Close()
	var c cost
	if line, err := load.out.ReadString('\n'); err == nil {
		_, _ = fmt.Sscan(line, &c.Got)
	}
	perMinute := 60 / d.Seconds() / float64(n)
	c.CPU = (used.Seconds() - idle.Seconds()*d.Seconds()) * perMinute
	c.Memory = float64(mem-rss) / float64(n) / 1e6
	return c, nil
}

// idle returns processor time per second and memory without a client.
func (b *bench) idle(p *proc) (time.Duration, int) {
	from, t0 := p.cpu(), time.Now()
	time.Sleep(5 * time.Second)
	return time.Duration(float64(p.cpu()-from) / time.Since(t0).Seconds()), p.rss()
}

func (b *bench) cpu() error {
	p, err := b.pair(2)
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Println("\none WebRTC viewer, 720p30 at 2 Mbit/s: server processor seconds per minute, and memory")
	fmt.Printf("  %-8s %12s %12s %8s %12s %12s\n", "viewers", "camwire", "pion loop", "ratio", "camwire MB", "pion MB")
	var rows []map[string]any
	idleOurs, rssOurs := b.idle(p.camwire.proc)
	idleFloor, rssFloor := b.idle(p.floor)
	for _, n := range []int{1, 10, 50, 100} {
		ours, err := b.measure(p.camwire.proc, "webrtc", n, p.whep, idleOurs, rssOurs)
		if err != nil {
			return err
		}
		floor, err := b.measure(p.floor, "webrtc", n, p.floorWhep, idleFloor, rssFloor)
		if err != nil {
			return err
		}
		fmt.Printf("  %-8d %12.3f %12.3f %8.2f %12.2f %12.2f\n", n, ours.CPU, floor.CPU, ours.CPU/floor.CPU, ours.Memory, floor.Memory)
		rows = append(rows, map[string]any{"viewers": n, "camwire": ours, "floor": floor})
	}
	b.results["webrtc_cost"] = rows
	return nil
}

func (b *bench) mjpeg() error {
	cam, err := startCamwire(b.bin, b.dir, `  - { id: cam, source: "test:?codec=jpeg&quality=85" }`)
	if err != nil {
		return err
	}
	defer cam.kill()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort())
	floor, err := start("floor", self, "floor", addr, "-")
	if err != nil {
		return err
	}
	defer floor.kill()
	if err := waitFor("http://" + addr + "/page"); err != nil {
		return err
	}
	size, err := frameSize(cam.http + "/api/camera/list")
	if err != nil {
		return err
	}
	fmt.Printf("\none MJPEG client, 720p30, %d kB a picture: server processor seconds per minute\n", size/1000)
	fmt.Printf("  %-8s %12s %12s %8s\n", "clients", "camwire", "plain write", "ratio")
	var rows []map[string]any
	idleOurs, rssOurs := b.idle(cam.proc)
	for _, n := range []int{1, 10, 50, 100} {
		ours, err := b.measure(cam.proc, "mjpeg", n, cam.http+"/api/camera/mjpeg/cam", idleOurs, rssOurs)
		if err != nil {
			return err
		}
		plain, err := b.measure(floor, "mjpeg", n, fmt.Sprintf("http://%s/mjpeg?bytes=%d", addr, size), 0, 0)
		if err != nil {
			return err
		}
		fmt.Printf("  %-8d %12.3f %12.3f %8.2f\n", n, ours.CPU, plain.CPU, ours.CPU/plain.CPU)
		rows = append(rows, map[string]any{"clients": n, "camwire": ours, "floor": plain})
	}
	b.results["mjpeg_cost"] = rows
	var ages []float64
	if err := b.ask(map[string]any{"kind": "mjpeg", "page": cam.http + "/healthz", "url": cam.http + "/api/camera/mjpeg/cam", "seconds": b.seconds}, &ages); err != nil {
		return err
	}
	s := spreadOf(ages)
	fmt.Printf("\nMJPEG in an <img>, stamp to screen (ms): median %.1f, p95 %.1f, max %.1f of %d pictures\n", s.Median, s.P95, s.Max, s.N)
	b.results["mjpeg_img_ms"] = s
	return nil
}
