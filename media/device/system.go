package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"camwire/media/device/v4l2"
)

// camera is the part of *v4l2.Device that is used here.
type camera interface {
	Capability() (v4l2.Capability, error)
	Formats(v4l2.Wish) ([]v4l2.Format, error)
	SetFormat(c v4l2.FourCC, width, height int) (v4l2.Layout, error)
	SetRate(fps float64) (float64, error)
	Start(buffers int) error
	Read(timeout time.Duration) (v4l2.Buffer, error)
	TryRead() (v4l2.Buffer, bool, error)
	Release(v4l2.Buffer) error
	Interrupt()
	Close() error
}

// system is where cameras are looked for.
type system struct {
	sys, dev, proc string // roots of the file systems
	self           int    // this process
	supported      bool
	open           func(path string) (camera, error)
	foreign        func() ([]foreign, error) // nil: V4L2, or nothing
	sound          soundSystem
}

func localSystem() *system {
	return &system{
		sys: "/sys", dev: "/dev", proc: "/proc", self: os.Getpid(), supported: v4l2.Supported, foreign: systemDriver(), sound: localSound(),
		open: func(path string) (camera, error) {
			d, err := v4l2.Open(path)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
	}
}

// captures reports whether a node delivers pictures that can be used. It asks
// the node, which disturbs nobody; one that may not be opened is judged by its
// index, so that the error can be told when somebody wants it.
func (s *system) captures(n node) bool {
	c, err := s.open(n.path)
	if err != nil {
		return n.index == 0 && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EBUSY))
	}
	defer func() { _ = c.Close() }()
	if capability, err := c.Capability(); err != nil || !capability.Captures() {
		return false
	}
	formats, err := c.Formats(v4l2.Wish{})
	return err == nil && slices.ContainsFunc(formats, func(f v4l2.Format) bool {
		_, ok := codecOf(f.FourCC)
		return ok
	})
}

// cameras lists the capture nodes, by number.
func (s *system) cameras() ([]node, error) {
	all, err := nodes(s.sys, s.dev)
	if err != nil {
		return nil, fmt.Errorf("list video devices: %w", err)
	}
	return slices.DeleteFunc(all, func(n node) bool { return !s.captures(n) }), nil
}

// resolve finds the node that a source means now. Last is the camera that it
// meant before: device numbers change when cameras are plugged in again.
func (s *system) resolve(r ref, last identity) (node, error) {
	cameras, err := s.cameras()
	if err != nil {
		return node{}, &Error{Source: r.text, Reason: ErrFailed, Text: "cannot be looked for: " + err.Error(), Cause: err}
	}
	switch {
	case r.key != "":
		return s.byKey(r, cameras)
	case r.path != "":
		return s.byPath(r, cameras, last)
	}
	return s.byIndex(r, cameras, last)
}

func (s *system) byKey(r ref, cameras []node) (node, error) {
	found := firstOfDevice(r.match(cameras))
	switch len(found) {
	case 0:
		return node{}, notFound(r, cameras)
	case 1:
		return found[0], nil
	}
	return node{}, &Error{Source: r.text, Reason: ErrAmbiguous, Text: "could be any of " + describe(found, cameras) + ": write one of those"}
}

// byPath follows links, as below /dev/v4l, which follow the camera themselves.
func (s *system) byPath(r ref, cameras []node, last identity) (node, error) {
	path := r.path
	if rest, ok := strings.CutPrefix(path, "/dev/"); ok {
		path = filepath.Join(s.dev, rest)
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path
	}
	if target != path {
		last = identity{}
	}
	m := nodePattern.FindStringSubmatch(filepath.Base(target))
	if m == nil {
		if err != nil {
			return node{}, notFound(r, cameras)
		}
		return node{}, &Error{Source: r.text, Reason: ErrNotFound, Text: "is no video device: " + present(cameras)}
	}
	for _, n := range cameras {
		if n.path == target {
			return s.same(r, n, cameras, last)
		}
	}
	if last.known() {
		return replugged(r, cameras, last)
	}
	if err == nil {
		return node{}, &Error{Source: r.text, Reason: ErrNotFound, Text: "delivers no pictures, it is the second node of a camera or something else: " + present(cameras)}
	}
	return node{}, notFound(r, cameras)
}

// byIndex takes /dev/videoN, or else the N-th camera.
func (s *system) byIndex(r ref, cameras []node, last identity) (node, error) {
	for _, n := range cameras {
		if n.number == r.index {
			return s.same(r, n, cameras, last)
		}
	}
	if last.known() {
		return replugged(r, cameras, last)
	}
	if r.index < len(cameras) {
		return cameras[r.index], nil
	}
	return node{}, notFound(r, cameras)
}

// same makes sure that a number, which anybody gets who comes first, still
// means the camera that it meant before: another room in the picture would be
// worse than none.
func (s *system) same(r ref, n node, cameras []node, last identity) (node, error) {
	if !last.known() || n.identity() == last {
		return n, nil
	}
	if again := firstOfDevice(last.again(cameras)); len(again) == 1 {
		return again[0], nil
	}
	if n.identity().model(last) {
		return n, nil // moved to another port
	}
	return node{}, &Error{
		Source: r.text, Name: last.name(), Reason: ErrUnplugged,
		Text: fmt.Sprintf("has been unplugged, and %s is another camera now: to use that, write %q", n.path, n.shortest(cameras)),
	}
}

// replugged finds the camera of before under another number.
func replugged(r ref, cameras []node, last identity) (node, error) {
	if again := firstOfDevice(last.again(cameras)); len(again) == 1 {
		return again[0], nil
	}
	return node{}, &Error{Source: r.text, Name: last.name(), Reason: ErrUnplugged, Text: "has been unplugged"}
}

func notFound(r ref, cameras []node) error {
	return &Error{Source: r.text, Reason: ErrNotFound, Text: "is not plugged in: " + present(cameras)}
}

func present(cameras []node) string {
	if len(cameras) == 0 {
		return "there is no camera at all"
	}
	return "there is " + describe(cameras, cameras)
}

// maxDescribed bounds how many cameras an error lists.
const maxDescribed = 8

// describe lists cameras by the shortest sources that mean them.
func describe(list, all []node) string {
	var words []string
	for i, n := range list {
		if i == maxDescribed {
			words = append(words, "…")
			break
		}
		words = append(words, fmt.Sprintf("%s (%s)", n.shortest(all), n.label()))
	}
	return strings.Join(words, ", ")
}
