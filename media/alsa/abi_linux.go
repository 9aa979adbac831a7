//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package alsa

import (
	"fmt"
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The structures of sound/asound.h as 64-bit little-endian kernels have them;
// the sizes are part of the ioctl numbers, so a wrong one is refused by the
// kernel (and by a test).

// mask is a set of formats or ways of access.
type mask [8]uint32

// interval is a range of numbers.
type interval struct {
	min, max uint32
	flags    uint32 // bits: the end is not part of it, whole numbers only, empty
}

const (
	intervalOpenMin = 1 << 0
	intervalOpenMax = 1 << 1
	intervalInteger = 1 << 2
)

// hwParams is a set of configurations, which the kernel narrows down.
type hwParams struct {
	_         uint32 // flags
	masks     [3]mask
	_         [5]mask
	intervals [12]interval
	_         [9]interval
	rmask     uint32 // what was changed by us
	_         uint32 // cmask: what was changed by the kernel
	info      uint32
	_         uint32 // msbits
	_         uint32 // rate_num
	_         uint32 // rate_den
	_         uint64 // fifo_size
	_         [64]byte
}

// Indices of masks and intervals (SNDRV_PCM_HW_PARAM_…).
const (
	maskAccess = 0
	maskFormat = 1

	paramChannels   = 2
	paramRate       = 3
	paramPeriodSize = 5
	paramBufferSize = 9

	accessInterleaved = 3 // SNDRV_PCM_ACCESS_RW_INTERLEAVED
)

type swParams struct {
	tstampMode     int32
	periodStep     uint32
	_              uint32 // sleep_min
	_              uint32
	availMin       uint64
	_              uint64 // xfer_align
	startThreshold uint64
	stopThreshold  uint64
	_              uint64 // silence_threshold
	_              uint64 // silence_size
	boundary       uint64
	proto          uint32
	tstampType     uint32
	_              [56]byte
}

const (
	tstampEnable    = 1       // SNDRV_PCM_TSTAMP_ENABLE
	tstampMonotonic = 1       // SNDRV_PCM_TSTAMP_TYPE_MONOTONIC
	protoVersion    = 0x2000c // 2.0.12: the first in which the kernel reads tstampType
)

type status struct {
	state     int32
	_         uint32
	_         [2]int64 // trigger_tstamp
	sec, nsec int64    // when the driver last told how far it is
	_         uint64   // appl_ptr
	_         uint64   // hw_ptr
	delay     int64    // samples that were taken and not read
	avail     uint64   // samples that can be read
	_         uint64   // avail_max
	_         uint64   // overrange
	_         int32    // suspended_state
	_         uint32   // audio_tstamp_data
	_         [2]int64 // audio_tstamp
	_         [2]int64 // driver_tstamp
	_         uint32   // audio_tstamp_accuracy
	_         [20]byte
}

// States of a stream (SNDRV_PCM_STATE_…).
const (
	stateRunning      = 3
	stateXRun         = 4
	stateSuspended    = 7
	stateDisconnected = 8
)

// ioctl directions of asm-generic/ioctl.h.
const (
	dirNone  = 0
	dirWrite = 1
	dirRead  = 2
)

func request(dir, nr, size uintptr) uintptr { return dir<<30 | size<<16 | 'A'<<8 | nr }

var (
	pcmHwRefine = request(dirRead|dirWrite, 0x10, unsafe.Sizeof(hwParams{}))
	pcmHwParams = request(dirRead|dirWrite, 0x11, unsafe.Sizeof(hwParams{}))
	pcmSwParams = request(dirRead|dirWrite, 0x13, unsafe.Sizeof(swParams{}))
	pcmStatus   = request(dirRead, 0x20, unsafe.Sizeof(status{}))
	pcmPrepare  = request(dirNone, 0x40, 0)
	pcmStart    = request(dirNone, 0x42, 0)
	pcmDrop     = request(dirNone, 0x43, 0)
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

// command is an ioctl without an argument.
func command(fd int, name string, req uintptr) error { return ioctl[byte](fd, name, req, nil) }

// anything is the set of all configurations.
func anything() hwParams {
	var p hwParams
	for i := range p.masks {
		for k := range p.masks[i] {
			p.masks[i][k] = math.MaxUint32
		}
	}
	for i := range p.intervals {
		p.intervals[i].max = math.MaxUint32
	}
	p.rmask, p.info = math.MaxUint32, math.MaxUint32
	return p
}

// only leaves one member of a mask.
func (p *hwParams) only(which, member int) {
	p.masks[which] = mask{}
	p.masks[which][member/32] = 1 << (member % 32)
	p.rmask = math.MaxUint32
}

// between narrows an interval down; both ends belong to it.
func (p *hwParams) between(which, low, high int) {
	p.intervals[which] = interval{min: uint32(low), max: uint32(high), flags: intervalInteger}
	p.rmask = math.MaxUint32
}

// bounds returns the least and the largest whole number of an interval.
func (v interval) bounds() (low, high int) {
	low, high = int(v.min), int(v.max)
	if v.flags&intervalOpenMin != 0 {
		low++
	}
	if v.flags&intervalOpenMax != 0 {
		high--
	}
	return low, high
}

// monotonic is the time on the clock that status has.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot happen: every kernel has this clock
	}
	return ts.Nano()
}
