//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package alsa

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supported tells whether this build can reach microphones at all.
const Supported = true

const (
	// maxChannels is more than any microphone array has.
	maxChannels = 16
	// latest is how old a sound can be when it is read: more than the buffer
	// holds, so another time stamp is wrong.
	latest = 2 * time.Second
	// recoveries in a row, without a sample between, are too many.
	recoveries = 8
)

// rates are tried in this order.
var rates = []int{48000, 44100, 96000, 32000, 24000, 22050, 16000, 192000, 88200, 12000, 11025, 8000}

// Device is an open capture device. Interrupt may be called from any goroutine
// at any time, everything else by one at a time.
type Device struct {
	ref    Ref
	fd     int
	config Config
	format sampleFormat

	buf     []byte
	samples []float32
	part    int // bytes in buf
	lost    bool
	failed  int
	time    time.Duration // of the first byte in buf

	mu   sync.Mutex // guards wake against Close
	wake int        // eventfd; -1 when closed
}

// Open opens a device and starts it: 48 kHz and two channels if it can, else
// what it has. Programs that this one starts do not inherit it. The error is an
// *Error.
func Open(r Ref) (*Device, error) { return open("/dev/snd", r) }

func open(dev string, r Ref) (*Device, error) {
	path := filepath.Join(dev, fmt.Sprintf("pcmC%dD%dc", r.Card, r.Device))
	var fd int
	for {
		var err error
		// Without O_NONBLOCK a busy device would be waited for.
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			err = unix.EBUSY
		}
		if err != nil {
			return nil, explain(r, err)
		}
		break
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, explain(r, fmt.Errorf("eventfd: %w", err))
	}
	d := &Device{ref: r, fd: fd, wake: wake}
	if err := d.setUp(); err != nil {
		_ = d.Close()
		return nil, explain(r, err)
	}
	return d, nil
}

// Config returns what the device was opened with.
func (d *Device) Config() Config { return d.config }

// Close stops and closes the device. It may be called twice.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wake < 0 {
		return nil
	}
	_ = command(d.fd, "DROP", pcmDrop) // closing does it too, but may wait
	err := errors.Join(unix.Close(d.wake), unix.Close(d.fd))
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

// setUp chooses a configuration and starts.
func (d *Device) setUp() error {
	p, err := d.choose()
	if err != nil {
		return err
	}
	if err := ioctl(d.fd, "HW_PARAMS", pcmHwParams, &p); err != nil {
		return err
	}
	d.config.Rate, _ = p.intervals[paramRate].bounds()
	d.config.Channels, _ = p.intervals[paramChannels].bounds()
	d.config.Period, _ = p.intervals[paramPeriodSize].bounds()
	buffer, _ := p.intervals[paramBufferSize].bounds()
	if d.config.Rate <= 0 || d.config.Channels <= 0 || d.config.Channels > maxChannels || d.config.Period <= 0 || d.config.Period > 1<<20 || buffer <= 0 {
		return fmt.Errorf("HW_PARAMS: the driver answers with %+v and a buffer of %d", d.config, buffer)
	}
	sw := swParams{
		tstampMode: tstampEnable, periodStep: 1, availMin: uint64(d.config.Period),
		startThreshold: 1, stopThreshold: uint64(buffer), boundary: boundary(uint64(buffer)),
		proto: protoVersion, tstampType: tstampMonotonic,
	}
	if err := ioctl(d.fd, "SW_PARAMS", pcmSwParams, &sw); err != nil {
		return err
	}
	d.buf = make([]byte, d.config.Period*d.config.Channels*d.format.bytes())
	return d.start()
}

// boundary is where the driver's counters wrap around: the largest multiple of
// the buffer by a power of two that they can hold.
func boundary(buffer uint64) uint64 {
	b := buffer
	for b*2 <= (1<<63-1)-buffer {
		b *= 2
	}
	return b
}

// choose narrows the configurations down, wish by wish, as far as the driver
// goes along.
func (d *Device) choose() (hwParams, error) {
	all := anything()
	all.only(maskAccess, accessInterleaved)
	if err := d.refine(&all); err != nil {
		return all, d.noMode(err)
	}
	p, err := hwParams{}, error(nil)
	for _, f := range formats {
		d.format, p = f, all
		p.only(maskFormat, int(f))
		if err = d.refine(&p); err == nil {
			break
		}
	}
	if err != nil {
		return p, d.noMode(err)
	}
	narrow := func(which, low, high int) bool {
		q := p
		q.between(which, low, high)
		if d.refine(&q) != nil {
			return false
		}
		p = q
		return true
	}
	found := false
	for _, r := range rates {
		if found = narrow(paramRate, r, r); found {
			break
		}
	}
	if !found {
		return p, d.noMode(nil)
	}
	if !narrow(paramChannels, 2, 2) && !narrow(paramChannels, 1, 1) {
		least, _ := p.intervals[paramChannels].bounds()
		if least > maxChannels || !narrow(paramChannels, least, least) {
			return p, d.noMode(nil)
		}
	}
	rate, _ := p.intervals[paramRate].bounds()
	// 10 ms at once, and a fifth of a second for whoever is late. What a
	// driver does not take is left to it.
	_ = narrow(paramPeriodSize, rate/100, rate/100) || narrow(paramPeriodSize, rate/200, rate/50)
	_ = narrow(paramBufferSize, rate/5, rate/5) || narrow(paramBufferSize, rate/10, rate/2)
	return p, nil
}

func (d *Device) refine(p *hwParams) error { return ioctl(d.fd, "HW_REFINE", pcmHwRefine, p) }

// noMode tells a device without a usable mode from one that is gone.
func (d *Device) noMode(err error) error {
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return &Error{Ref: d.ref, Reason: ErrNoMode}
}

func (d *Device) start() error {
	d.part = 0
	if err := command(d.fd, "PREPARE", pcmPrepare); err != nil {
		return err
	}
	return command(d.fd, "START", pcmStart)
}

// Read waits for the next period. It returns ErrTimeout, ErrInterrupted, or an
// *Error. What was lost because nobody read in time is lost; the next block
// says so.
func (d *Device) Read(timeout time.Duration) (Block, error) {
	b, err := d.read(timeout)
	return b, explain(d.ref, err)
}

func (d *Device) read(timeout time.Duration) (Block, error) {
	deadline := time.Now().Add(timeout)
	for {
		full, err := d.take()
		if err != nil {
			return Block{}, err
		}
		if full {
			return d.block(), nil
		}
		fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
		left := max(time.Until(deadline), 0)
		// Rounded up, or the last fraction of a millisecond is spent spinning.
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return Block{}, fmt.Errorf("poll: %w", err)
		case fds[1].Revents != 0:
			var count [8]byte
			_, _ = unix.Read(d.wake, count[:])
			return Block{}, ErrInterrupted
		case n == 0:
			return Block{}, ErrTimeout
		case fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
			if err := d.recover(); err != nil {
				return Block{}, err
			}
		}
	}
}

// take reads what there is, at most a period, and reports whether that is full.
func (d *Device) take() (bool, error) {
	if d.part == 0 {
		if err := d.stamp(); err != nil {
			return false, err
		}
	}
	n, err := unix.Read(d.fd, d.buf[d.part:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return false, nil
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ESTRPIPE):
		return false, d.recover()
	case err != nil:
		return false, fmt.Errorf("read: %w", err)
	}
	d.part += n
	if d.part == len(d.buf) {
		d.failed = 0
		return true, nil
	}
	return false, nil
}

// stamp notes when the next sample to be read was taken: before the driver's
// newest time by as much as it has in hand.
func (d *Device) stamp() error {
	var s status
	if err := ioctl(d.fd, "STATUS", pcmStatus, &s); err != nil {
		return err
	}
	now := time.Duration(monotonic())
	d.time = now
	if s.state != stateRunning {
		return nil // read will tell
	}
	at := time.Duration(s.sec)*time.Second + time.Duration(s.nsec)
	held := max(s.delay, 0)
	if at > 0 && at <= now && now-at < latest && held < int64(d.config.Rate)*2 {
		d.time = at - time.Duration(held)*time.Second/time.Duration(d.config.Rate)
	}
	return nil
}

// recover starts again after an overrun or a sleep of the system.
func (d *Device) recover() error {
	var s status
	if err := ioctl(d.fd, "STATUS", pcmStatus, &s); err != nil {
		return err
	}
	switch s.state {
	case stateDisconnected:
		return unix.ENODEV
	case stateRunning:
		return nil
	}
	if d.failed++; d.failed > recoveries {
		return fmt.Errorf("it has stopped %d times without a sound (state %d): %w", recoveries, s.state, syscall.EIO)
	}
	d.lost = true
	return d.start()
}

func (d *Device) block() Block {
	d.samples = d.format.appendSamples(d.samples[:0], d.buf)
	b := Block{Samples: d.samples, Time: d.time, Lost: d.lost}
	d.part, d.lost = 0, false
	return b
}
