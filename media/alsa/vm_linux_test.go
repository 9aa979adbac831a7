//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package alsa

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"camwire/media/device/vmtest"
	"camwire/media/device/vmtest/guest"
)

func TestMain(m *testing.M) {
	guest.Boot()
	goleak.VerifyTestMain(m)
}

// TestKernel runs TestGuest in a virtual machine whose kernel has a sound card
// that plays into itself.
func TestKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine: left out by -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "guest.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // static, whatever the outer test is
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	var out bytes.Buffer
	status, err := vmtest.Run(ctx, vmtest.Machine{
		Program: program, Output: &out, Args: []string{"-test.run=^TestGuest$", "-test.v", "-test.timeout=7m"},
		Modules: []string{"snd-aloop pcm_substreams=1"},
	})
	if errors.Is(err, vmtest.ErrUnavailable) {
		t.Skipf("NO SOUND CARD HAS BEEN TESTED: %v", err)
	}
	if err != nil || status != 0 {
		t.Errorf("status %d, %v", status, err)
	}
	t.Logf("guest:\n%s", strings.TrimSpace(out.String()))
}

// patience bounds every wait: the guest is slow, and so may be its host.
const patience = 90 * time.Second

// TestGuest is run by TestKernel.
func TestGuest(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs inside of TestKernel's virtual machine")
	}
	t.Run("list", testList)
	t.Run("silence", testSilence)
	t.Run("tone", testTone)
	t.Run("other", testOther)
	t.Run("busy", testBusy)
	t.Run("overrun", testOverrun)
	t.Run("interrupt", testInterrupt)
	t.Run("unplug", testUnplug)
}

var loop = Ref{0, 0}

func testList(t *testing.T) {
	l, err := List()
	if err != nil || len(l) != 2 || l[0].Ref != loop || l[0].ID != "Loopback" || l[0].Port != "" {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := Open(Ref{7, 0}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a card that is not there: %v", err)
	}
}

func opened(t *testing.T) *Device {
	t.Helper()
	d, err := Open(loop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// next reads a block; a loss is no failure here.
func next(t *testing.T, d *Device) Block {
	t.Helper()
	b, err := d.Read(patience)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testSilence: samples come with times that fit them.
func testSilence(t *testing.T) {
	d := opened(t)
	if c := d.Config(); c.Rate != 48000 || c.Channels != 2 || c.Period != 480 {
		t.Errorf("%+v", c)
	}
	var last time.Duration
	odd := 0
	for i := range 200 {
		b := next(t, d)
		if len(b.Samples) != 960 {
			t.Fatalf("block %d has %d samples", i, len(b.Samples))
		}
		now := time.Duration(monotonic())
		if b.Time > now || now-b.Time > patience {
			t.Fatalf("block %d is from %v, it is %v", i, b.Time, now)
		}
		// The card's clock is a timer of the kernel with a tick of 4 ms, which
		// runs behind and catches up when the host has other things to do.
		if step := b.Time - last; i > 0 && !b.Lost && (step < 0 || step > 40*time.Millisecond) {
			odd++
		}
		last = b.Time
	}
	if odd > 50 {
		t.Errorf("%d of 200 blocks have odd times", odd)
	}
}

// play sends a tone to the other end until it is stopped.
func play(t *testing.T, rate, channels int, hz float64) (stop func()) {
	t.Helper()
	fd, err := unix.Open("/dev/snd/pcmC0D1p", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := anything()
	p.only(maskAccess, accessInterleaved)
	p.only(maskFormat, int(s16le))
	p.between(paramRate, rate, rate)
	p.between(paramChannels, channels, channels)
	p.between(paramPeriodSize, rate/50, rate/50)
	p.between(paramBufferSize, rate/5, rate/5)
	if err := ioctl(fd, "HW_PARAMS", pcmHwParams, &p); err != nil {
		t.Fatal(err)
	}
	if err := command(fd, "PREPARE", pcmPrepare); err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	started := make(chan struct{})
	var playing sync.WaitGroup
	playing.Go(func() {
		for n, first := 0, true; ; {
			select {
			case <-quit:
				return
			default:
			}
			var b []byte
			for range rate / 50 {
				v := int16(8000 * math.Sin(2*math.Pi*hz*float64(n)/float64(rate)))
				for range channels {
					b = binary.LittleEndian.AppendUint16(b, uint16(v))
				}
				n++
			}
			if _, err := unix.Write(fd, b); errors.Is(err, unix.EPIPE) {
				_ = command(fd, "PREPARE", pcmPrepare)
			}
			if first {
				first = false
				close(started)
			}
		}
	})
	<-started
	var once sync.Once
	stop = func() {
		once.Do(func() {
			close(quit)
			_ = command(fd, "DROP", pcmDrop)
			playing.Wait()
			_ = unix.Close(fd)
		})
	}
	t.Cleanup(stop)
	return stop
}

// tonal returns the level of a tone in mono samples and that of what is left.
func tonal(x []float32, rate int, hz float64) (level, rest float64) {
	w := 2 * math.Pi * hz / float64(rate)
	var s, c, sum float64
	for i, v := range x {
		s += float64(v) * math.Sin(w*float64(i))
		c += float64(v) * math.Cos(w*float64(i))
	}
	s, c = 2*s/float64(len(x)), 2*c/float64(len(x))
	for i, v := range x {
		d := float64(v) - s*math.Sin(w*float64(i)) - c*math.Cos(w*float64(i))
		sum += d * d
	}
	return math.Hypot(s, c), math.Sqrt(2 * sum / float64(len(x)))
}

// hear waits for blocks in a row that hold the tone and nothing else: a slow
// machine starves the player now and then.
func hear(t *testing.T, d *Device, hz float64) {
	t.Helper()
	c := d.Config()
	why := ""
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var mono []float32
		for len(mono) < c.Rate/10 {
			b := next(t, d)
			for i := 0; i < len(b.Samples); i += c.Channels {
				mono = append(mono, b.Samples[i])
			}
		}
		level, rest := tonal(mono, c.Rate, hz)
		if math.Abs(level-8000.0/32768) < 0.005 && rest < 0.005 {
			return
		}
		why = fmt.Sprintf("level %.4f, beside it %.4f", level, rest)
	}
	t.Errorf("the tone is not heard: %s", why)
}

func testTone(t *testing.T) {
	play(t, 48000, 2, 1000)
	hear(t, opened(t), 1000)
}

// testOther: what the card has is taken.
func testOther(t *testing.T) {
	play(t, 44100, 1, 441)
	d := opened(t)
	if c := d.Config(); c.Rate != 44100 || c.Channels != 1 {
		t.Errorf("%+v", c)
	}
	hear(t, d, 441)
}

func testBusy(t *testing.T) {
	d := opened(t)
	if _, err := Open(loop); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	next(t, d)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	d.Interrupt() // after Close: nothing to wake
	next(t, opened(t))
}

// testOverrun: who does not read in time loses sound, learns it, and goes on.
func testOverrun(t *testing.T) {
	d := opened(t)
	next(t, d)
	for end := time.Now().Add(patience); ; {
		var s status
		if err := ioctl(d.fd, "STATUS", pcmStatus, &s); err != nil {
			t.Fatal(err)
		}
		if s.state == stateXRun {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("state %d", s.state)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for range 5 {
		if b := next(t, d); b.Lost {
			next(t, d)
			return
		}
	}
	t.Error("the loss is not told")
}

func testInterrupt(t *testing.T) {
	d := opened(t)
	d.Interrupt()
	for range 100 {
		if _, err := d.Read(patience); errors.Is(err, ErrInterrupted) {
			next(t, d)
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("never interrupted")
}

// testUnplug takes the card away. It comes last.
func testUnplug(t *testing.T) {
	d := opened(t)
	next(t, d)
	var unbinding sync.WaitGroup
	unbinding.Go(func() { // returns when everybody has closed it
		if err := os.WriteFile("/sys/bus/platform/drivers/snd_aloop/unbind", []byte("snd_aloop.0"), 0o200); err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(patience); ; {
		_, err := d.Read(patience)
		if errors.Is(err, ErrUnplugged) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("got %v", err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	unbinding.Wait()
	if _, err := Open(loop); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if l, err := List(); err != nil || len(l) != 0 {
		t.Errorf("%v, %v", l, err)
	}
}
