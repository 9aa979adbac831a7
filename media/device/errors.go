package device

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"camwire/media/device/v4l2"
)

// Reasons why a camera cannot be had. Every error of Source.Run wraps one of
// them.
var (
	ErrNotFound    = errors.New("no such camera")
	ErrAmbiguous   = errors.New("more than one camera")
	ErrBusy        = errors.New("in use")
	ErrPermission  = errors.New("may not be opened")
	ErrUnplugged   = errors.New("unplugged")
	ErrHangs       = errors.New("hangs")
	ErrDamaged     = errors.New("delivers damaged pictures only")
	ErrNoMode      = errors.New("no mode that can be used")
	ErrBandwidth   = errors.New("not enough USB bandwidth")
	ErrUnsupported = v4l2.ErrUnsupported
	ErrFailed      = errors.New("failed")
)

// Error is a camera that cannot be had: which, why, and what to do about it.
type Error struct {
	Source string // as it was written, or the node's path
	Name   string // the camera's own; may be empty
	Reason error  // one of the Err values of this package
	Text   string // what happened, and the way out
	Cause  error  // may be nil
}

// Error names the camera, what is the matter, and the way out.
func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("camera %q %s", e.Source, e.Text)
	}
	return fmt.Sprintf("camera %q (%s) %s", e.Source, e.Name, e.Text)
}

// Unwrap gives errors.Is both the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// explain makes an *Error of what the kernel has to say about a node, which
// must be closed by now, or this program would blame itself.
func (s *system) explain(n node, err error) error {
	if err == nil {
		return nil
	}
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	e := &Error{Source: n.path, Name: n.label(), Cause: err}
	switch {
	case errors.Is(err, syscall.EBUSY):
		e.Reason, e.Text = ErrBusy, "is in use by another program: close that first"
		if who := holders(s.proc, s.self, n.path)[n.path]; len(who) > 0 {
			e.Text = "is in use by " + strings.Join(who, ", ") + ": close that first"
			if len(who) == 1 && who[0] == ownCamera {
				e.Text = "is in use by " + ownCamera + ": two cameras cannot have the same source"
			}
		}
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ESHUTDOWN):
		e.Reason, e.Text = ErrUnplugged, "has been unplugged"
	case errors.Is(err, fs.ErrNotExist):
		e.Reason, e.Text = ErrUnplugged, "is not plugged in, or its device file is missing"
	case errors.Is(err, fs.ErrPermission):
		e.Reason, e.Text = ErrPermission, "may not be opened by this user: add it to the group that owns the device file, usually video"
	case errors.Is(err, syscall.ENOSPC):
		e.Reason, e.Text = ErrBandwidth, "finds too little bandwidth on its USB: ask for a smaller width and height, or plug it in elsewhere"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EPROTO), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EPIPE):
		e.Reason, e.Text = ErrFailed, fmt.Sprintf("does not answer on the USB (%v): check cable and hub, or plug it in again", err)
	default:
		e.Reason, e.Text = ErrFailed, fmt.Sprintf("failed: %v", err)
	}
	return e
}
