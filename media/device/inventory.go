package device

import (
	"context"
	"fmt"

	"camwire/media/device/v4l2"
)

// Info describes a camera that is plugged in.
type Info struct {
	// Index is the number N of /dev/videoN; on macOS and Windows the place in
	// the list.
	Index int
	// Path is /dev/videoN: it may be another one after a replug. Empty on
	// macOS and Windows.
	Path string
	// Source is what to write as the camera's source: "usb:" and what stays
	// with it, or the path where there is nothing such.
	Source string
	// Name, Manufacturer and Serial are what the camera says; VID and PID its
	// USB ids in hex, Port its place on the bus. All may be empty.
	Name, Manufacturer, Serial string
	VID, PID, Port             string
	// SuggestedID is an id for a camera made of it: usb_cam_0.
	SuggestedID string
	// Width, Height and FPS are those of the mode that Camwire uses when
	// nothing is asked for; 0 where the driver does not tell.
	Width, Height int
	FPS           float64
	// Modes are the ways in which it can deliver.
	Modes []Mode
	// InUse tells that a program, perhaps this one, has it open, and Holders
	// which. Programs of other users show only to root.
	InUse   bool
	Holders []string
}

// List returns the cameras that are plugged in, by number. It asks sysfs and
// the drivers only, so that no camera starts and none in use is disturbed. On
// systems without Video4Linux2 a build with cgo asks the driver of macOS or
// Windows, which tells no modes of a camera that is not open; everywhere else
// the error is ErrUnsupported.
func List(ctx context.Context) ([]Info, error) { return localSystem().list(ctx) }

func (s *system) list(ctx context.Context) ([]Info, error) {
	if s.foreign != nil {
		return s.listForeign(ctx)
	}
	if !s.supported {
		return nil, ErrUnsupported
	}
	// Before the nodes are opened to ask them, or everybody would be in use
	// by us.
	all, err := nodes(s.sys, s.dev)
	if err != nil {
		return nil, fmt.Errorf("list video devices: %w", err)
	}
	paths := make([]string, len(all))
	for i, n := range all {
		paths[i] = n.path
	}
	users := holders(s.proc, s.self, paths...)
	cameras, err := s.cameras()
	if err != nil {
		return nil, err
	}
	list := make([]Info, 0, len(cameras))
	for _, n := range cameras {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		i := Info{
			Index: n.number, Path: n.path, Source: n.shortest(cameras), Name: n.label(),
			Manufacturer: n.manufacturer, Serial: n.serial, VID: n.vid, PID: n.pid, Port: n.port,
			SuggestedID: fmt.Sprintf("usb_cam_%d", n.number),
			InUse:       len(users[n.path]) > 0, Holders: users[n.path],
		}
		s.describeModes(&i)
		list = append(list, i)
	}
	return list, nil
}

// describeModes leaves the modes empty where the node may not be opened.
func (s *system) describeModes(i *Info) {
	c, err := s.open(i.Path)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	formats, err := c.Formats(v4l2.Wish{})
	if err != nil {
		return
	}
	i.Modes = modesOf(formats)
	if m, ok := choose(formats, v4l2.Wish{}); ok {
		i.Width, i.Height, i.FPS = m.width, m.height, m.rate
	}
}
