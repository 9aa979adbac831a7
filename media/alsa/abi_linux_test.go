//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package alsa

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestRequests holds the numbers against those of sound/asound.h, which have
// the size of the structure in them.
func TestRequests(t *testing.T) {
	for name, c := range map[string][2]uintptr{
		"HW_REFINE": {pcmHwRefine, 0xc2604110},
		"HW_PARAMS": {pcmHwParams, 0xc2604111},
		"SW_PARAMS": {pcmSwParams, 0xc0884113},
		"STATUS":    {pcmStatus, 0x80984120},
		"PREPARE":   {pcmPrepare, 0x4140},
		"START":     {pcmStart, 0x4142},
		"DROP":      {pcmDrop, 0x4143},
	} {
		if c[0] != c[1] {
			t.Errorf("SNDRV_PCM_IOCTL_%s is %#x, want %#x", name, c[0], c[1])
		}
	}
	for name, c := range map[string][2]uintptr{
		"hwParams.masks":         {unsafe.Offsetof(hwParams{}.masks), 4},
		"hwParams.intervals":     {unsafe.Offsetof(hwParams{}.intervals), 260},
		"hwParams.rmask":         {unsafe.Offsetof(hwParams{}.rmask), 512},
		"swParams.availMin":      {unsafe.Offsetof(swParams{}.availMin), 16},
		"swParams.stopThreshold": {unsafe.Offsetof(swParams{}.stopThreshold), 40},
		"swParams.boundary":      {unsafe.Offsetof(swParams{}.boundary), 64},
		"swParams.proto":         {unsafe.Offsetof(swParams{}.proto), 72},
		"swParams.tstampType":    {unsafe.Offsetof(swParams{}.tstampType), 76},
		"status.sec":             {unsafe.Offsetof(status{}.sec), 24},
		"status.delay":           {unsafe.Offsetof(status{}.delay), 56},
		"status.avail":           {unsafe.Offsetof(status{}.avail), 64},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is at %d, want %d", name, c[0], c[1])
		}
	}
}

func TestParams(t *testing.T) {
	p := anything()
	p.only(maskFormat, int(s24le3))
	if p.masks[maskFormat] != (mask{0, 1}) || p.masks[maskAccess][0] != 0xffffffff {
		t.Errorf("masks are %v", p.masks)
	}
	p.between(paramRate, 8000, 48000)
	if low, high := p.intervals[paramRate].bounds(); low != 8000 || high != 48000 {
		t.Errorf("from %d to %d", low, high)
	}
	if low, high := (interval{min: 1, max: 9, flags: intervalOpenMin | intervalOpenMax}).bounds(); low != 2 || high != 8 {
		t.Errorf("from %d to %d", low, high)
	}
	for _, n := range []uint64{1, 480, 9600, 1 << 20} {
		if b := boundary(n); b%n != 0 || b > 1<<63-1 || b < 1<<61 {
			t.Errorf("boundary of %d is %d", n, b)
		}
	}
}

func TestNoDevice(t *testing.T) {
	dir := t.TempDir()
	if _, err := open(dir, Ref{1, 0}); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pcmC1D0c"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(dir, Ref{1, 0}); !errors.Is(err, syscall.ENOTTY) || !errors.Is(err, ErrFailed) {
		t.Errorf("got %v", err)
	}
}

// TestInterrupt: it works at any time.
func TestInterrupt(t *testing.T) {
	var d Device
	d.wake = -1
	d.Interrupt()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	d = Device{fd: fd, wake: -1, buf: make([]byte, 4)}
	if _, err := d.Read(time.Second); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("got %v", err)
	}
}
