// Package uvcsim makes USB cameras out of nothing: it speaks the USB Video
// Class (UVC 1.1) to the kernel's virtual USB host (vhci-hcd, the client half
// of USB/IP), so that the real uvcvideo driver binds to them. They can be
// plugged and unplugged, hang, lie, and deliver whatever bytes a test wants.
//
// It is for tests in the guest of package vmtest: it needs root and the module
// vhci-hcd, and whoever has those does not want cameras to appear.
package uvcsim

// FourCC is a picture format as UVC names it.
type FourCC string

// Formats that a camera can offer.
const (
	MJPEG FourCC = "MJPG"
	YUYV  FourCC = "YUY2"
	NV12  FourCC = "NV12"
	H264  FourCC = "H264"
)

// Size is a size in pixels and its rates in frames per second, the default
// first.
type Size struct {
	Width, Height int
	FPS           []int
}

// Format is a format and its sizes, the default first.
type Format struct {
	FourCC FourCC
	Sizes  []Size
}

// Picture is what the camera sends for one frame.
type Picture struct {
	Data []byte
	// Bad sets the error bit of its payload headers (UVC 1.1 section 2.4.3.3).
	Bad bool
}

// Config describes a camera.
type Config struct {
	VID, PID                      uint16
	Manufacturer, Product, Serial string // Serial may be empty
	Formats                       []Format
	// Isochronous transfers, as nearly all cameras have them, instead of bulk.
	Isochronous bool
	// Picture makes frame n, counted over all streams. It must not block.
	Picture func(f FourCC, width, height, n int) Picture
	// Microphone makes sample n at 48 kHz; nil: the camera has none.
	Microphone func(n int) int16
	// Insist, unless 0, is the number from 1 of the only size that the camera
	// can deliver now, whatever it offers: it changes what it is asked for.
	Insist int
}
