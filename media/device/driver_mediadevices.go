//go:build (darwin || windows) && cgo

package device

import (
	"errors"
	"fmt"
	"image"

	"github.com/pion/mediadevices/pkg/driver"
	cameras "github.com/pion/mediadevices/pkg/driver/camera"
	"github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/prop"

	"camwire/media/device/v4l2"
)

// systemDriver reads cameras through mediadevices: AVFoundation on macOS,
// DirectShow on Windows.
func systemDriver() func() ([]foreign, error) { return listDrivers }

func videoDrivers() []driver.Driver {
	return driver.GetManager().Query(driver.FilterAnd(driver.FilterVideoRecorder(), driver.FilterDeviceType(driver.Camera)))
}

// listDrivers looks for cameras anew. The package knows those only that were
// there when the program started, and adds each once more whenever it looks, so
// the ones that nobody uses are forgotten before.
func listDrivers() (list []foreign, err error) {
	// Its own way to say that AVFoundation gave an error.
	defer func() {
		if r := recover(); r != nil {
			list, err = nil, fmt.Errorf("camera driver: %v", r)
		}
	}()
	manager := driver.GetManager()
	inUse := map[string]bool{}
	kept := map[string]bool{}
	for _, d := range videoDrivers() {
		if d.Status() == driver.StateClosed {
			manager.Delete(d.ID())
			continue
		}
		inUse[d.Info().Label], kept[d.ID()] = true, true
	}
	cameras.Initialize()
	for _, d := range videoDrivers() {
		if inUse[d.Info().Label] && !kept[d.ID()] {
			manager.Delete(d.ID())
			continue
		}
		list = append(list, &driverCamera{driver: d})
	}
	return list, nil
}

// driverCamera is a camera of mediadevices.
type driverCamera struct {
	driver driver.Driver
	modes  []prop.Media
}

// Describe opens nothing.
func (c *driverCamera) Describe() foreignInfo {
	i := c.driver.Info()
	return foreignInfo{label: i.Label, name: i.Name, inUse: c.driver.Status() != driver.StateClosed}
}

// Open opens the camera; it does not stream yet.
func (c *driverCamera) Open() error { return c.driver.Open() }

// Close ends a waiting read too.
func (c *driverCamera) Close() error { return c.driver.Close() }

// Modes lists what the driver can decode.
func (c *driverCamera) Modes() []foreignMode {
	c.modes = c.driver.Properties()
	var list []foreignMode
	for i, p := range c.modes {
		if f, ok := fourCCOf(p.FrameFormat); ok {
			list = append(list, foreignMode{number: i, fourCC: f, width: p.Width, height: p.Height, fps: float64(p.FrameRate)})
		}
	}
	return list
}

// fourCCOf ranks a format: whatever it is, the driver hands out its pictures
// decoded.
func fourCCOf(f frame.Format) (v4l2.FourCC, bool) {
	switch f {
	case frame.FormatI420:
		return v4l2.I420, true
	case frame.FormatNV12, frame.FormatNV21:
		return v4l2.NV12, true
	case frame.FormatYUY2, frame.FormatYUYV, frame.FormatUYVY:
		return v4l2.YUYV, true
	}
	return 0, false
}

// Start begins to record.
func (c *driverCamera) Start(m foreignMode) (func() (image.Image, func(), error), error) {
	recorder, ok := c.driver.(driver.VideoRecorder)
	if !ok || m.number >= len(c.modes) {
		return nil, errors.New("the driver does not record pictures")
	}
	r, err := recorder.VideoRecord(c.modes[m.number])
	if err != nil {
		return nil, err
	}
	return r.Read, nil
}
