//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package v4l2

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestRequests holds the numbers against those of linux/videodev2.h, which
// have the size of the structure in them.
func TestRequests(t *testing.T) {
	for name, c := range map[string][2]uintptr{
		"QUERYCAP":            {vidiocQueryCap, 0x80685600},
		"ENUM_FMT":            {vidiocEnumFmt, 0xc0405602},
		"S_FMT":               {vidiocSFmt, 0xc0d05605},
		"REQBUFS":             {vidiocReqBufs, 0xc0145608},
		"QUERYBUF":            {vidiocQueryBuf, 0xc0585609},
		"QBUF":                {vidiocQBuf, 0xc058560f},
		"DQBUF":               {vidiocDQBuf, 0xc0585611},
		"STREAMON":            {vidiocStreamOn, 0x40045612},
		"STREAMOFF":           {vidiocStreamOff, 0x40045613},
		"G_PARM":              {vidiocGParm, 0xc0cc5615},
		"S_PARM":              {vidiocSParm, 0xc0cc5616},
		"ENUM_FRAMESIZES":     {vidiocEnumFrameSize, 0xc02c564a},
		"ENUM_FRAMEINTERVALS": {vidiocEnumInterval, 0xc034564b},
	} {
		if c[0] != c[1] {
			t.Errorf("VIDIOC_%s is %#x, want %#x", name, c[0], c[1])
		}
	}
	for name, c := range map[string][2]uintptr{
		"capability.deviceCaps":   {unsafe.Offsetof(capability{}.deviceCaps), 88},
		"fmtDesc.pixelFormat":     {unsafe.Offsetof(fmtDesc{}.pixelFormat), 44},
		"format.pix":              {unsafe.Offsetof(format{}.pix), 8},
		"streamParm.timePerFrame": {unsafe.Offsetof(streamParm{}.timePerFrame), 12},
		"buffer.sec":              {unsafe.Offsetof(buffer{}.sec), 24},
		"buffer.sequence":         {unsafe.Offsetof(buffer{}.sequence), 56},
		"buffer.offset":           {unsafe.Offsetof(buffer{}.offset), 64},
		"buffer.length":           {unsafe.Offsetof(buffer{}.length), 72},
		"frameInterval.union":     {unsafe.Offsetof(frameInterval{}.union), 20},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is at %d, want %d", name, c[0], c[1])
		}
	}
}

func TestNoDevice(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "video0")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Capability(); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("got %v", err)
	}
	if _, err := d.SetFormat(MJPEG, 64, 48); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	d.Interrupt() // after Close: nothing to wake
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.Read(time.Second); !errors.Is(err, syscall.ENOTTY) || err.Error()[:12] != "VIDIOC_DQBUF" {
		t.Errorf("got %v", err)
	}
}
