package cameras

import (
	"context"
	"fmt"
	"time"
)

const (
	// inventoryTimeout bounds a look at the ports.
	inventoryTimeout = 2 * time.Second
	// inventoryFresh is how long a look counts: many pages that ask cost no
	// more than one.
	inventoryFresh = 500 * time.Millisecond
)

// USB is a camera at one of this machine's ports. The fields up to SuggestedID
// are a published contract, the others are ours.
type USB struct {
	// Index is the number of the device, as in /dev/video0.
	Index int `json:"index"`
	// Source is what an entry would have as source.
	Source string `json:"source"`
	// Resolution of the best mode, "1280x720"; "" while unknown.
	Resolution string `json:"resolution"`
	// FPS of that mode in frames per second; 0 while unknown.
	FPS float64 `json:"fps"`
	// SuggestedID is an id for an entry, "usb_cam_0".
	SuggestedID string `json:"suggested_id"`

	// Path is the device, "/dev/video0".
	Path string `json:"path"`
	// Name as the camera tells it.
	Name string `json:"name"`
	// Formats it can deliver.
	Formats []USBFormat `json:"formats"`
	// InUse says that some program, maybe this one, has it running.
	InUse bool `json:"in_use"`
}

// USBFormat is one mode of a camera.
type USBFormat struct {
	// Format as V4L2 calls it: "MJPG", "YUYV", "H264".
	Format string `json:"format"`
	// Width and Height in pixels.
	Width  int `json:"width"`
	Height int `json:"height"`
	// FPS are the rates in frames per second.
	FPS []float64 `json:"fps"`
}

// inventory asks one at a time.
type inventory struct {
	list  func(context.Context) ([]USB, error)
	state chan *looked // a lock that can be waited for with a context
}

type looked struct {
	at  time.Time
	all []USB
}

func newInventory(list func(context.Context) ([]USB, error)) inventory {
	i := inventory{list: list, state: make(chan *looked, 1)}
	i.state <- &looked{}
	return i
}

// usb returns the cameras; never nil without an error.
func (i inventory) usb(ctx context.Context) ([]USB, error) {
	if i.list == nil {
		return []USB{}, nil
	}
	var last *looked
	select {
	case last = <-i.state:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { i.state <- last }()
	if last.all != nil && time.Since(last.at) < inventoryFresh {
		return last.all, nil
	}
	ctx, cancel := context.WithTimeout(ctx, inventoryTimeout)
	defer cancel()
	all, err := i.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("inventory of USB cameras: %w", err)
	}
	l := make([]USB, len(all))
	for n, u := range all {
		if u.Formats == nil {
			u.Formats = []USBFormat{} // never null
		}
		l[n] = u
	}
	last = &looked{at: time.Now(), all: l}
	return l, nil
}
