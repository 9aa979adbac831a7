//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package v4l2

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of what a driver may enumerate.
const (
	maxFormats = 32
	maxSizes   = 64
	maxRates   = 64
)

// Device is an open capture node. Interrupt may be called from any goroutine
// at any time, everything else by one at a time.
type Device struct {
	fd      int
	buffers [][]byte // mapped; the index is the driver's

	mu   sync.Mutex // guards wake against Close
	wake int        // eventfd; -1 when closed
}

// Open opens a node, for example /dev/video0. The descriptor is not inherited
// by child processes, which would keep the camera busy. The error wraps the
// Errno.
func Open(path string) (*Device, error) {
	var fd int
	for {
		var err error
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		break
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &Device{fd: fd, wake: wake}, nil
}

// Close stops streaming and closes the node. It may be called twice.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wake < 0 {
		return nil
	}
	err := d.stop()
	err = errors.Join(err, unix.Close(d.wake), unix.Close(d.fd))
	d.wake, d.fd = -1, -1
	return err
}

// Interrupt makes the Read that waits now, or else the next one, return
// ErrInterrupted.
func (d *Device) Interrupt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wake >= 0 {
		// EAGAIN means that it has been interrupted 2⁶⁴ times already.
		_, _ = unix.Write(d.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(bytes.ToValidUTF8(s, []byte("?")))
}

// Capability asks the node what it is.
func (d *Device) Capability() (Capability, error) {
	var c capability
	if err := ioctl(d.fd, "VIDIOC_QUERYCAP", vidiocQueryCap, &c); err != nil {
		return Capability{}, err
	}
	caps := c.capabilities
	if caps&capDeviceCaps != 0 {
		caps = c.deviceCaps
	}
	return Capability{Driver: cString(c.driver[:]), Card: cString(c.card[:]), Bus: cString(c.busInfo[:]), Caps: caps}, nil
}

// Formats lists what the node offers. It sends nothing to the camera and may
// be called while another program captures. Out of a range of sizes or rates
// the common ones are listed, and the wish if it lies within.
func (d *Device) Formats(wish Wish) ([]Format, error) {
	var list []Format
	for i := range uint32(maxFormats) {
		f := fmtDesc{index: i, typ: bufTypeCapture}
		if err := ioctl(d.fd, "VIDIOC_ENUM_FMT", vidiocEnumFmt, &f); errors.Is(err, unix.EINVAL) {
			break // the end of the list
		} else if err != nil {
			return nil, err
		}
		list = append(list, Format{FourCC: FourCC(f.pixelFormat), Sizes: d.sizes(f.pixelFormat, wish)})
	}
	return list, nil
}

// sizes leaves out what cannot be enumerated: not every driver can.
func (d *Device) sizes(pixelFormat uint32, wish Wish) []Size {
	var list []Size
	for i := range uint32(maxSizes) {
		z := frameSize{index: i, pixelFormat: pixelFormat}
		if ioctl(d.fd, "VIDIOC_ENUM_FRAMESIZES", vidiocEnumFrameSize, &z) != nil {
			break
		}
		u := z.union
		if z.typ == frmDiscrete {
			if w, h := int(u[0]), int(u[1]); w > 0 && h > 0 && w <= maxSide && h <= maxSide {
				list = append(list, Size{Width: w, Height: h, Rates: d.rates(pixelFormat, u[0], u[1], wish)})
			}
			continue
		}
		var extra [][2]int
		if wish.Width > 0 && wish.Height > 0 {
			extra = append(extra, [2]int{wish.Width, wish.Height})
		}
		for _, c := range (stepwise{u[0], u[1], u[2], u[3], u[4], u[5]}).sizes(extra) {
			list = append(list, Size{Width: c[0], Height: c[1], Rates: d.rates(pixelFormat, uint32(c[0]), uint32(c[1]), wish)})
		}
		break // a range is the whole list
	}
	return list
}

func (d *Device) rates(pixelFormat, w, h uint32, wish Wish) []float64 {
	var list []float64
	for i := range uint32(maxRates) {
		v := frameInterval{index: i, pixelFormat: pixelFormat, width: w, height: h}
		if ioctl(d.fd, "VIDIOC_ENUM_FRAMEINTERVALS", vidiocEnumInterval, &v) != nil {
			break
		}
		if v.typ != frmDiscrete {
			var extra []float64
			if wish.Rate > 0 {
				extra = append(extra, wish.Rate)
			}
			// The longest interval is the lowest rate.
			return ratesBetween(v.union[1].rate(), v.union[0].rate(), extra)
		}
		if r := v.union[0].rate(); r > 0 {
			list = append(list, r)
		}
	}
	sortRates(list)
	return list
}

// rate is the number of frames per second of an interval; 0 if it is none.
func (f fract) rate() float64 {
	if f.num == 0 || f.den == 0 {
		return 0
	}
	return float64(f.den) / float64(f.num)
}

func interval(fps float64) fract {
	num, den := ratio(fps)
	return fract{num, den}
}

// SetFormat asks for a mode and returns what the driver made of it. It fails
// with EBUSY while another program captures.
func (d *Device) SetFormat(c FourCC, width, height int) (Layout, error) {
	f := format{typ: bufTypeCapture, pix: pixFormat{
		width: uint32(width), height: uint32(height), pixelFormat: uint32(c), field: fieldNone,
	}}
	if err := ioctl(d.fd, "VIDIOC_S_FMT", vidiocSFmt, &f); err != nil {
		return Layout{}, err
	}
	l := Layout{FourCC: FourCC(f.pix.pixelFormat), Width: int(f.pix.width), Height: int(f.pix.height), Stride: int(f.pix.bytesPerLine)}
	if l.Width <= 0 || l.Height <= 0 || l.Width > maxSide || l.Height > maxSide {
		return Layout{}, fmt.Errorf("VIDIOC_S_FMT: the driver answers with a size of %dx%d", l.Width, l.Height)
	}
	return l, nil
}

// SetRate asks for a number of frames per second, if it is not 0, and returns
// the one that the driver has chosen; 0 if it does not tell.
func (d *Device) SetRate(fps float64) (float64, error) {
	p := streamParm{typ: bufTypeCapture}
	err := ioctl(d.fd, "VIDIOC_G_PARM", vidiocGParm, &p)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return 0, nil // this driver has no rates
	}
	if err != nil {
		return 0, err
	}
	if fps > 0 && p.capability&parmTimePerFrame != 0 {
		p = streamParm{typ: bufTypeCapture, timePerFrame: interval(fps)}
		if err := ioctl(d.fd, "VIDIOC_S_PARM", vidiocSParm, &p); err != nil {
			return 0, err
		}
	}
	return p.timePerFrame.rate(), nil
}

// Start maps that many buffers, hands them to the driver and starts the
// camera. It fails with EBUSY while another program captures, and with ENOSPC
// where the USB has not enough bandwidth left.
func (d *Device) Start(buffers int) error {
	r := requestBuffers{count: uint32(buffers), typ: bufTypeCapture, memory: memoryMmap}
	if err := ioctl(d.fd, "VIDIOC_REQBUFS", vidiocReqBufs, &r); err != nil {
		return err
	}
	if r.count == 0 || r.count > 32 {
		return fmt.Errorf("VIDIOC_REQBUFS: the driver gives %d buffers", r.count)
	}
	for i := range r.count {
		b := buffer{index: i, typ: bufTypeCapture, memory: memoryMmap}
		if err := ioctl(d.fd, "VIDIOC_QUERYBUF", vidiocQueryBuf, &b); err != nil {
			return err
		}
		m, err := unix.Mmap(d.fd, int64(b.offset), int(b.length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("mmap: %w", err)
		}
		d.buffers = append(d.buffers, m)
		if err := d.queue(i); err != nil {
			return err
		}
	}
	on := int32(bufTypeCapture)
	return ioctl(d.fd, "VIDIOC_STREAMON", vidiocStreamOn, &on)
}

func (d *Device) queue(i uint32) error {
	b := buffer{index: i, typ: bufTypeCapture, memory: memoryMmap}
	return ioctl(d.fd, "VIDIOC_QBUF", vidiocQBuf, &b)
}

// stop ends streaming; buffers are void after it.
func (d *Device) stop() error {
	if d.buffers == nil {
		return nil
	}
	on := int32(bufTypeCapture)
	err := ioctl(d.fd, "VIDIOC_STREAMOFF", vidiocStreamOff, &on)
	if errors.Is(err, unix.ENODEV) {
		err = nil // unplugged: it has stopped by itself
	}
	for _, b := range d.buffers {
		err = errors.Join(err, unix.Munmap(b))
	}
	d.buffers = nil
	return err
}

// Read waits for the next picture. It returns ErrTimeout, ErrInterrupted, or
// an Errno: ENODEV when the camera has been unplugged.
func (d *Device) Read(timeout time.Duration) (Buffer, error) {
	deadline := time.Now().Add(timeout)
	for {
		b, ok, err := d.TryRead()
		if ok || err != nil {
			return b, err
		}
		fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
		left := max(time.Until(deadline), 0)
		// Rounded up, or the last fraction of a millisecond is spent spinning.
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return Buffer{}, fmt.Errorf("poll: %w", err)
		case fds[1].Revents != 0:
			var count [8]byte
			_, _ = unix.Read(d.wake, count[:])
			return Buffer{}, ErrInterrupted
		case n == 0:
			return Buffer{}, ErrTimeout
		case fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 && fds[0].Revents&unix.POLLIN == 0:
			return d.broken()
		}
	}
}

// broken asks once more for a picture, to learn why there will be none.
func (d *Device) broken() (Buffer, error) {
	b, ok, err := d.TryRead()
	switch {
	case ok || err != nil:
		return b, err
	default:
		return Buffer{}, fmt.Errorf("poll: %w", unix.EIO)
	}
}

// TryRead returns a picture if there is one, without waiting.
func (d *Device) TryRead() (Buffer, bool, error) {
	b := buffer{typ: bufTypeCapture, memory: memoryMmap}
	err := ioctl(d.fd, "VIDIOC_DQBUF", vidiocDQBuf, &b)
	if errors.Is(err, syscall.EAGAIN) {
		return Buffer{}, false, nil
	}
	if err != nil {
		return Buffer{}, false, err
	}
	if int(b.index) >= len(d.buffers) {
		return Buffer{}, false, fmt.Errorf("VIDIOC_DQBUF: the driver gives buffer %d of %d", b.index, len(d.buffers))
	}
	m := d.buffers[b.index]
	out := Buffer{
		Data: m[:min(int(b.bytesUsed), len(m))], Sequence: b.sequence,
		Corrupt: b.flags&bufFlagError != 0, index: b.index,
	}
	if b.flags&bufFlagTimestampMask == bufFlagMonotonic {
		out.Time = time.Duration(b.sec)*time.Second + time.Duration(b.usec)*time.Microsecond
	}
	return out, true, nil
}

// Release gives a picture's memory back to the driver.
func (d *Device) Release(b Buffer) error { return d.queue(b.index) }

// Monotonic returns the time on the clock that Buffer.Time is told in.
func Monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot happen: every kernel has this clock
	}
	return time.Duration(ts.Nano())
}

// Supported tells whether this build can reach cameras at all.
const Supported = true
