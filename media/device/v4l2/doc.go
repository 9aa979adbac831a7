// Package v4l2 reads pictures from a Video4Linux2 capture node by memory
// mapped buffers, without cgo and without copying: what a Buffer holds belongs
// to the driver until it is released.
//
// It speaks ioctl and nothing else. Which camera, which mode, what a picture
// is worth and when to try again is decided in package device.
package v4l2

import (
	"errors"
	"time"
)

// Errors of this package; all others wrap an Errno.
var (
	// ErrUnsupported says that there is no Video4Linux2 here.
	ErrUnsupported = errors.New("USB cameras need 64-bit Linux, or a build with cgo on macOS and Windows")
	// ErrTimeout says that no buffer was filled in time.
	ErrTimeout = errors.New("no buffer filled in time")
	// ErrInterrupted says that Interrupt was called.
	ErrInterrupted = errors.New("interrupted")
)

// FourCC names a pixel format: four letters, the first in the lowest byte.
type FourCC uint32

// Pixel formats of linux/videodev2.h.
const (
	H264  FourCC = 'H' | '2'<<8 | '6'<<16 | '4'<<24
	MJPEG FourCC = 'M' | 'J'<<8 | 'P'<<16 | 'G'<<24
	JPEG  FourCC = 'J' | 'P'<<8 | 'E'<<16 | 'G'<<24
	YUYV  FourCC = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24
	NV12  FourCC = 'N' | 'V'<<8 | '1'<<16 | '2'<<24
	// I420 has the planes Y, U, V; YV12 has Y, V, U.
	I420 FourCC = 'Y' | 'U'<<8 | '1'<<16 | '2'<<24
	YV12 FourCC = 'Y' | 'V'<<8 | '1'<<16 | '2'<<24
)

// String gives the four letters, with dots for what cannot be printed.
func (f FourCC) String() string {
	b := []byte{byte(f), byte(f >> 8), byte(f >> 16), byte(f >> 24)}
	for i, c := range b {
		if c <= ' ' || c > '~' {
			b[i] = '.'
		}
	}
	return string(b)
}

// Capability is what a node says of itself.
type Capability struct {
	Driver, Card, Bus string
	// Caps are the capabilities of this node, not of the whole device: of
	// the two nodes of a UVC camera only one captures video.
	Caps uint32
}

// Capability flags of linux/videodev2.h.
const (
	capVideoCapture = 0x00000001
	capM2MMplane    = 0x00004000
	capM2M          = 0x00008000
	capStreaming    = 0x04000000
	capDeviceCaps   = 0x80000000
)

// Captures reports whether the node delivers pictures into mapped buffers.
// Metadata nodes, outputs and codecs do not.
func (c Capability) Captures() bool {
	return c.Caps&capVideoCapture != 0 && c.Caps&capStreaming != 0 && c.Caps&(capM2M|capM2MMplane) == 0
}

// Size is a size in pixels and the rates that it can be had at.
type Size struct {
	Width, Height int
	// Rates in frames per second, the highest first; empty if the driver
	// does not tell.
	Rates []float64
}

// Format is a pixel format and the sizes that it can be had in; none if the
// driver does not tell.
type Format struct {
	FourCC FourCC
	Sizes  []Size
}

// Layout is what the driver has agreed to, which may be less than was asked.
type Layout struct {
	FourCC        FourCC
	Width, Height int
	// Stride is the number of bytes from one row to the next of the first
	// plane; 0 for compressed formats.
	Stride int
}

// Wish is a mode that somebody would like to have; zero fields are open.
type Wish struct {
	Width, Height int
	Rate          float64
}

// Buffer is one picture. Data belongs to the driver again after Release.
type Buffer struct {
	Data []byte
	// Time is when the first byte came, or when the sensor was read, on the
	// kernel's monotonic clock; 0 if the driver has no such time.
	Time time.Duration
	// Sequence counts the pictures that the driver has seen; a gap is a loss.
	Sequence uint32
	// Corrupt is set where the driver knows that data is missing.
	Corrupt bool

	index uint32
}
