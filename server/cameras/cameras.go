// Package cameras is the part of the API that adds, changes and removes cameras
// while Camwire runs (/api/cameras), and the inventory of what could be added
// (/api/inventory). It joins the entries of the configuration file, which it
// only shows, with those that came through the API, which it keeps, and tells
// the rest of the program what to start, change and stop.
//
// It opens no camera, knows no kind of source and writes no file: what an entry
// means, whether it is right, and where entries are kept comes in by Options.
// How cameras are doing is told by package api.
package cameras

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"camwire/media/stream"
)

// Limits.
const (
	// DefaultMax bounds the cameras of file and API together.
	DefaultMax = 256
	// maxSource bounds a source in bytes, and so what is kept.
	maxSource = 4096
)

// Entry is a camera as the configuration file describes it; the fields have
// the same order and types there, so that one converts to the other.
type Entry struct {
	// ID is the camera's name in URLs.
	ID string `json:"id"`
	// Name is for people; empty means the id.
	Name string `json:"name"`
	// Source says where the pictures come from. It may hold a password.
	Source string `json:"source"`
	// FPS in frames per second; 0: as it comes.
	FPS float64 `json:"fps"`
	// Width and Height in pixels; 0: as it comes.
	Width  int `json:"width"`
	Height int `json:"height"`
	// Quality of JPEG pictures, 0 to 100.
	Quality int `json:"quality"`
	// Enabled is false for an entry that is kept without being started.
	Enabled bool `json:"enabled"`
	// OnDemand opens the source with the first viewer only.
	OnDemand bool `json:"on_demand"`
	// Transport of a pulled RTSP source.
	Transport string `json:"transport"`
	// Microphone of a USB camera: auto, off or a device.
	Microphone string `json:"microphone"`
	// Fingerprint of a certificate that the system does not trust.
	Fingerprint string `json:"fingerprint"`
}

// Origin is where an entry was written.
type Origin string

// Origins of an entry.
const (
	// FromFile is an entry of the configuration file, trusted and read-only.
	FromFile Origin = "file"
	// FromAPI is an entry that came through the API: its source may be
	// dialled only with the caution that a stranger's word deserves.
	FromAPI Origin = "api"
)

// Problem is one mistake in an entry.
type Problem struct {
	// Field is the key that is wrong; empty means the whole.
	Field string `json:"field"`
	// Message says what is wrong with it. It holds no secret.
	Message string `json:"message"`
	// Hint says how to mend it; may be empty.
	Hint string `json:"hint"`
}

func (p Problem) String() string {
	s := p.Message
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Hint != "" {
		s += ": " + p.Hint
	}
	return s
}

// Keeper keeps the entries of the API across restarts.
type Keeper interface {
	// Save replaces all of them. When it returns nil they are safe.
	Save([]Entry) error
}

// Options of Cameras. The functions are called from any goroutine, those that
// change something never two at a time.
type Options struct {
	// Keeper keeps the entries of the API; required.
	Keeper Keeper
	// Kept is what it kept last time.
	Kept []Entry
	// Defaults are the values of keys that an entry leaves out.
	Defaults Entry
	// Validate applies the rules of the file to an entry; required.
	Validate func(Entry) []Problem
	// Guard refuses sources that are right but not for the API. Its error is
	// told to the client; required.
	Guard func(source string) error
	// Mask returns a source without its secrets, each replaced by "***";
	// required.
	Mask func(source string) string
	// Diff names the keys in which two entries of one camera differ, and says
	// whether the source has to be opened anew for it; required.
	Diff func(before, after Entry) (keys []string, restart bool)
	// Start, Change and Stop put entries into effect. An error of Change that
	// wraps stream.ErrUnknown makes Start follow. All required.
	Start  func(e Entry, from Origin) error
	Change func(e Entry, from Origin, restart bool) error
	Stop   func(id string) error
	// USB lists the cameras at this machine's ports without disturbing those
	// in use; nil: there are none.
	USB func(context.Context) ([]USB, error)
	// Max bounds the cameras of file and API; default DefaultMax.
	Max int
	// Log gets changes and entries that cannot be used; default none.
	Log *slog.Logger
}

// Cameras is the joined list. All methods may be called from any goroutine.
type Cameras struct {
	opts      Options
	log       *slog.Logger
	inventory inventory

	// change is held by whoever changes something, until it is in effect,
	// which may take as long as a source takes to stop. The entries below
	// are only written with both locks held.
	change sync.Mutex
	mu     sync.RWMutex
	name   string // of the file
	file   []Entry
	api    []Entry
	now    []item
}

// New returns the list with the entries that were kept; nothing is started
// before SetFile.
func New(o Options) (*Cameras, error) {
	if o.Keeper == nil || o.Validate == nil || o.Guard == nil || o.Mask == nil || o.Diff == nil ||
		o.Start == nil || o.Change == nil || o.Stop == nil {
		return nil, errors.New("cameras: a required option is missing")
	}
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cameras{opts: o, log: o.Log, inventory: newInventory(o.USB)}
	for _, e := range o.Kept {
		// Without an id of its own an entry could not be reached to be mended.
		if !stream.ValidID(e.ID) || find(c.api, e.ID) >= 0 {
			c.log.Error("a kept camera was left out: its id is wrong or taken", "camera", e.ID)
			continue
		}
		c.api = append(c.api, e)
	}
	return c, nil
}

// SetFile puts the entries of the configuration file into effect, at start and
// after each change of the file: what is new is started, what differs changed,
// what is gone stopped. An entry of the file wins over one of the API with the
// same id, which counts again when the file's is gone. Name is the file's, for
// messages.
//
// What cannot be started is logged and costs only that camera.
func (c *Cameras) SetFile(name string, entries []Entry) {
	c.change.Lock()
	defer c.change.Unlock()
	entries = slices.Clone(entries)
	next, hidden := merge(entries, c.api)
	for _, id := range hidden {
		if i := findItem(c.now, id); i < 0 || c.now[i].origin == FromAPI {
			c.log.Warn("this camera was added through the API and is in the configuration file as well: the file counts", "camera", id, "config", name)
		}
	}
	next, failed := c.settle(next)
	for _, f := range failed {
		c.log.Error("camera left out", "camera", f.id, "error", f.err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.file, c.now = name, entries, next
}

// Drop removes whatever has an id: an entry of the API for good, everything
// else, such as a camera of the file or of a publisher, until it is started
// again. The error wraps stream.ErrUnknown where there is nothing.
func (c *Cameras) Drop(id string) error {
	c.change.Lock()
	defer c.change.Unlock()
	i := findItem(c.now, id)
	if i >= 0 && c.now[i].origin == FromAPI {
		return c.removeLocked(id)
	}
	err := c.opts.Stop(id)
	if i >= 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now = slices.Clone(c.now)
		c.now[i].started = false
	}
	return err
}

// find returns the place of an id, or -1.
func find(l []Entry, id string) int {
	return slices.IndexFunc(l, func(e Entry) bool { return e.ID == id })
}

func findItem(l []item, id string) int {
	return slices.IndexFunc(l, func(i item) bool { return i.ID == id })
}

// all returns the joined list. Nobody writes to it.
func (c *Cameras) all() []item {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.now
}

// get returns one entry. The error wraps stream.ErrBadID or stream.ErrUnknown.
func (c *Cameras) get(id string) (item, error) {
	l := c.all()
	if i := findItem(l, id); i >= 0 {
		return l[i], nil
	}
	if !stream.ValidID(id) {
		return item{}, fmt.Errorf("camera %q: %w", id, stream.ErrBadID)
	}
	return item{}, fmt.Errorf("camera %q: %w", id, stream.ErrUnknown)
}
