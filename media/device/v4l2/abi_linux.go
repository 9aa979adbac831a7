//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package v4l2

import (
	"fmt"
	"syscall"
	"unsafe"
)

// The structures of linux/videodev2.h as 64-bit little-endian kernels have
// them; the sizes are part of the ioctl numbers, so a wrong one is refused by
// the kernel (and by a test).

type capability struct {
	driver       [16]byte
	card         [32]byte
	busInfo      [32]byte
	_            uint32 // version
	capabilities uint32
	deviceCaps   uint32
	_            [3]uint32
}

type fmtDesc struct {
	index       uint32
	typ         uint32
	_           uint32   // flags
	_           [32]byte // description
	pixelFormat uint32
	_           uint32 // mbusCode
	_           [3]uint32
}

type frameSize struct {
	index       uint32
	pixelFormat uint32
	typ         uint32
	// union: discrete has width and height in the first two words
	union [6]uint32
	_     [2]uint32
}

type fract struct{ num, den uint32 }

type frameInterval struct {
	index         uint32
	pixelFormat   uint32
	width, height uint32
	typ           uint32
	union         [3]fract // discrete: the first; else min, max, step
	_             [2]uint32
}

type pixFormat struct {
	width, height uint32
	pixelFormat   uint32
	field         uint32
	bytesPerLine  uint32
	_             uint32 // sizeImage
	_             uint32 // colorspace
	_             uint32 // priv
	_             uint32 // flags
	_             uint32 // ycbcrEnc
	_             uint32 // quantization
	_             uint32 // xferFunc
}

type format struct {
	typ uint32
	_   uint32 // the union holds pointers
	pix pixFormat
	_   [200 - unsafe.Sizeof(pixFormat{})]byte
}

type streamParm struct {
	typ          uint32
	capability   uint32
	_            uint32 // captureMode
	timePerFrame fract
	_            uint32 // extendedMode
	_            uint32 // readBuffers
	_            [4]uint32
	_            [160]byte
}

type requestBuffers struct {
	count  uint32
	typ    uint32
	memory uint32
	_      uint32 // capabilities
	_      uint32
}

type buffer struct {
	index     uint32
	typ       uint32
	bytesUsed uint32
	flags     uint32
	_         uint32 // field
	_         uint32
	sec, usec int64
	_         [16]byte // timecode
	sequence  uint32
	memory    uint32
	offset    uint32 // union with a pointer
	_         uint32
	length    uint32
	_         [2]uint32
	_         uint32
}

const (
	bufTypeCapture = 1 // V4L2_BUF_TYPE_VIDEO_CAPTURE
	memoryMmap     = 1 // V4L2_MEMORY_MMAP
	fieldNone      = 1 // V4L2_FIELD_NONE: progressive

	parmTimePerFrame = 0x1000 // V4L2_CAP_TIMEPERFRAME

	frmDiscrete = 1 // V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE

	bufFlagError         = 0x0040
	bufFlagTimestampMask = 0xe000
	bufFlagMonotonic     = 0x2000
)

// ioctl directions of asm-generic/ioctl.h.
const (
	dirWrite = 1
	dirRead  = 2
)

func request(dir, nr, size uintptr) uintptr { return dir<<30 | size<<16 | 'V'<<8 | nr }

var (
	vidiocQueryCap      = request(dirRead, 0, unsafe.Sizeof(capability{}))
	vidiocEnumFmt       = request(dirRead|dirWrite, 2, unsafe.Sizeof(fmtDesc{}))
	vidiocSFmt          = request(dirRead|dirWrite, 5, unsafe.Sizeof(format{}))
	vidiocReqBufs       = request(dirRead|dirWrite, 8, unsafe.Sizeof(requestBuffers{}))
	vidiocQueryBuf      = request(dirRead|dirWrite, 9, unsafe.Sizeof(buffer{}))
	vidiocQBuf          = request(dirRead|dirWrite, 15, unsafe.Sizeof(buffer{}))
	vidiocDQBuf         = request(dirRead|dirWrite, 17, unsafe.Sizeof(buffer{}))
	vidiocStreamOn      = request(dirWrite, 18, 4)
	vidiocStreamOff     = request(dirWrite, 19, 4)
	vidiocSParm         = request(dirRead|dirWrite, 22, unsafe.Sizeof(streamParm{}))
	vidiocGParm         = request(dirRead|dirWrite, 21, unsafe.Sizeof(streamParm{}))
	vidiocEnumFrameSize = request(dirRead|dirWrite, 74, unsafe.Sizeof(frameSize{}))
	vidiocEnumInterval  = request(dirRead|dirWrite, 75, unsafe.Sizeof(frameInterval{}))
)

// ioctl calls the driver until no signal disturbs it. The error is an Errno
// with the name of the call before it.
func ioctl[T any](fd int, name string, req uintptr, arg *T) error {
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(arg)))
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
			continue
		}
		return fmt.Errorf("%s: %w", name, errno)
	}
}
