package device

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// ref is what a source says about which camera it means.
type ref struct {
	text  string // as it was written
	index int    // number of a video device, or -1
	path  string // below /dev, or empty
	key   string // what follows "usb:", or empty
}

// maxIndex is the highest number of a video device: the major has 256 minors.
const maxIndex = 255

// parseRef takes a source apart: a number, a path below /dev, or "usb:" and
// serial, vid:pid, vid:pid:serial, port, or name.
func parseRef(s string) (ref, error) {
	r := ref{text: s, index: -1}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > maxIndex {
			return ref{}, fmt.Errorf("source %q: the number of a video device is 0 to %d", s, maxIndex)
		}
		r.index = n
		return r, nil
	}
	if strings.HasPrefix(s, "/") {
		r.path = path.Clean(s)
		if !strings.HasPrefix(r.path, "/dev/") {
			return ref{}, fmt.Errorf("source %q: a camera's path is below /dev", s)
		}
		return r, nil
	}
	key, ok := strings.CutPrefix(s, "usb:")
	if !ok {
		return ref{}, fmt.Errorf("source %q: write a number, a path below /dev, or usb: and the camera's serial, vid:pid, port or name", s)
	}
	if r.key = strings.TrimSpace(key); r.key == "" {
		return ref{}, errors.New("source \"usb:\": the camera's serial, vid:pid, port or name is missing")
	}
	return r, nil
}

var (
	idPattern   = regexp.MustCompile(`^([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(.+))?$`)
	nodePattern = regexp.MustCompile(`^video([0-9]{1,3})$`)
)

// match returns the nodes that a "usb:" source may mean: those of the first
// property that any node has.
func (r ref) match(nodes []node) []node {
	tests := []func(node) bool{
		func(n node) bool { return n.serial == r.key },
		func(n node) bool { return n.port == r.key },
		func(n node) bool { return strings.EqualFold(n.label(), r.key) || strings.EqualFold(n.product, r.key) },
	}
	if m := idPattern.FindStringSubmatch(r.key); m != nil {
		tests = append([]func(node) bool{func(n node) bool {
			return strings.EqualFold(n.vid, m[1]) && strings.EqualFold(n.pid, m[2]) && (m[3] == "" || m[3] == n.serial)
		}}, tests...)
	}
	tests = append(tests, func(n node) bool {
		return strings.Contains(strings.ToLower(n.label()), strings.ToLower(r.key))
	})
	for _, t := range tests {
		var found []node
		for _, n := range nodes {
			if t(n) {
				found = append(found, n)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// identity is what stays the same of a camera when it is plugged in again.
type identity struct {
	vid, pid, serial, port string
}

func (n node) identity() identity { return identity{n.vid, n.pid, n.serial, n.port} }

func (i identity) known() bool { return i.vid != "" }

func (i identity) model(o identity) bool {
	return i.vid == o.vid && i.pid == o.pid && i.serial == o.serial
}

// name writes an identity for people.
func (i identity) name() string {
	s := i.vid + ":" + i.pid
	if i.serial != "" {
		s += ", serial " + i.serial
	}
	return s + ", port " + i.port
}

// again finds a camera that was used before among the nodes: by serial
// wherever it is now; one that has none, or shares it with another, by port.
func (i identity) again(nodes []node) []node {
	var same, port []node
	for _, n := range nodes {
		if !i.model(n.identity()) {
			continue
		}
		same = append(same, n)
		if n.port == i.port {
			port = append(port, n)
		}
	}
	if port != nil || i.serial == "" {
		return port
	}
	return same
}

// shortest returns the shortest source that means exactly this node and stays
// with the camera when it is plugged in elsewhere; by port where nothing else
// tells two cameras apart, by path where there is no USB.
func (n node) shortest(all []node) string {
	keys := []string{n.serial}
	if n.vid != "" {
		keys = append(keys, n.vid+":"+n.pid)
		if n.serial != "" {
			keys = append(keys, n.vid+":"+n.pid+":"+n.serial)
		}
		keys = append(keys, n.port)
	}
	for _, k := range keys {
		if k == "" || k != strings.TrimSpace(k) {
			continue
		}
		if found := firstOfDevice((ref{key: k}).match(all)); len(found) == 1 && found[0].number == n.number {
			return "usb:" + k
		}
	}
	return n.path
}

// firstOfDevice leaves of nodes that belong to one USB device the first: a
// camera with a second, infrared or H.264 node is still one camera.
func firstOfDevice(nodes []node) []node {
	var list []node
	seen := map[string]bool{}
	for _, n := range nodes {
		if n.port != "" {
			if seen[n.port] {
				continue
			}
			seen[n.port] = true
		}
		list = append(list, n)
	}
	return list
}
