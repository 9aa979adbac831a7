// Package alsa reads sound from a capture device of the Linux kernel, by its
// ioctl interface (sound/asound.h), without cgo and without the ALSA library:
// no mixing, no plug-ins, no configuration files. List tells which devices
// there are and which USB device each belongs to.
//
// It reads samples and says when they were taken. When to open a device, when
// to try again, and what the samples become is decided elsewhere.
package alsa

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// Errors of this package. Those of Open and Read are *Error.
var (
	ErrUnsupported = errors.New("microphones need 64-bit Linux in this build")
	ErrTimeout     = errors.New("no sound in time")
	ErrInterrupted = errors.New("interrupted")

	ErrNotFound   = errors.New("no such microphone")
	ErrBusy       = errors.New("in use")
	ErrPermission = errors.New("may not be opened")
	ErrUnplugged  = errors.New("unplugged")
	ErrNoMode     = errors.New("no mode that can be used")
	ErrFailed     = errors.New("failed")
)

// Error is a microphone that cannot be had: which, why, and what to do.
type Error struct {
	Ref    Ref
	Reason error // one of the Err values of this package
	Cause  error // what the kernel says; may be nil
}

func texts() map[error]string {
	return map[error]string{
		ErrNotFound:   "is not there: see /proc/asound/cards for those that are",
		ErrBusy:       "is in use by another program: close that first",
		ErrPermission: "may not be opened by this user: add it to the group that owns the device file, usually audio",
		ErrUnplugged:  "has been unplugged",
		ErrNoMode:     "offers no format that can be used (16, 24 or 32 bits at 8000 to 192000 Hz)",
	}
}

// Error names the microphone, what is the matter, and the way out.
func (e *Error) Error() string {
	text := "failed"
	if t, ok := texts()[e.Reason]; ok {
		text = t
	}
	if e.Cause != nil {
		return fmt.Sprintf("microphone %s %s (%v)", e.Ref, text, e.Cause)
	}
	return fmt.Sprintf("microphone %s %s", e.Ref, text)
}

// Unwrap gives errors.Is both the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// explain makes an *Error of what the kernel says.
func explain(r Ref, err error) error {
	if err == nil || errors.Is(err, ErrTimeout) || errors.Is(err, ErrInterrupted) {
		return err
	}
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	e := &Error{Ref: r, Reason: ErrFailed, Cause: err}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENXIO):
		e.Reason, e.Cause = ErrNotFound, nil
	case errors.Is(err, syscall.EBUSY):
		e.Reason, e.Cause = ErrBusy, nil
	case errors.Is(err, fs.ErrPermission):
		e.Reason, e.Cause = ErrPermission, nil
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ESHUTDOWN):
		e.Reason, e.Cause = ErrUnplugged, nil
	}
	return e
}

// Ref names a device: a card and one of its devices, both from 0.
type Ref struct{ Card, Device int }

var refPattern = regexp.MustCompile(`^hw:([0-9]{1,3}),([0-9]{1,3})$`)

// Bounds of what the kernel numbers.
const (
	maxCard   = 255
	maxDevice = 255
)

// ParseRef takes apart "hw:1,0".
func ParseRef(s string) (Ref, error) {
	m := refPattern.FindStringSubmatch(s)
	if m == nil {
		return Ref{}, fmt.Errorf("microphone %q: write hw: and the numbers of card and device, such as hw:1,0", s)
	}
	card, errC := strconv.Atoi(m[1])
	device, errD := strconv.Atoi(m[2])
	if errC != nil || errD != nil || card > maxCard || device > maxDevice {
		return Ref{}, fmt.Errorf("microphone %q: cards and devices are numbered from 0 to %d", s, maxCard)
	}
	return Ref{card, device}, nil
}

// String is the form that ParseRef takes.
func (r Ref) String() string { return fmt.Sprintf("hw:%d,%d", r.Card, r.Device) }

// Info describes a capture device.
type Info struct {
	Ref Ref
	// ID is the card's short name in ALSA, Name what the device calls itself.
	ID, Name string
	// Port is the place of its USB device on the bus, as 1-1.4; empty for
	// cards that are none.
	Port string
	// Channels is the most that a USB device offers; 0 where the kernel does
	// not tell without opening it.
	Channels int
}

// Config is what a device was opened with.
type Config struct {
	Rate     int // in Hz
	Channels int
	// Period is the number of samples per channel that come at once.
	Period int
}

// Block is sound that was read.
type Block struct {
	// Samples are between -1 and 1, channels interleaved; valid until the
	// next Read.
	Samples []float32
	// Time is when the first of them was taken, on the kernel's monotonic
	// clock.
	Time time.Duration
	// Lost says that sound is missing before the block.
	Lost bool
}
