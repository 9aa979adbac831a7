package device

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// node is a /dev/videoN as sysfs describes it.
type node struct {
	number int
	path   string // /dev/videoN
	name   string // the driver's name for it
	// index counts the nodes of one device; UVC gives 0 to the one that
	// captures and 1 to its metadata.
	index int

	// Of the USB device, empty for others. port is bus and hub ports, as
	// 1-1.4.
	vid, pid, serial, manufacturer, product, port string
}

// label is a name for people. UVC names a node "Product: Product".
func (n node) label() string {
	if before, after, ok := strings.Cut(n.name, ": "); ok && strings.HasPrefix(before, after) {
		return before
	}
	if n.name == "" {
		return n.product
	}
	return n.name
}

// The kernel cuts a name at 31 bytes, a USB string at 126 characters.
const maxAttribute = 512

// attribute reads a sysfs file of one line; empty if there is none.
func attribute(path ...string) string {
	f, err := os.Open(filepath.Join(path...))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, maxAttribute)
	n, _ := f.Read(b)
	return cleanAttribute(b[:n])
}

// cleanAttribute makes one printable line of what a device claims to be
// called: it goes to logs and pages.
func cleanAttribute(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
	return strings.TrimSpace(s)
}

// maxNodes bounds the video devices looked at.
const maxNodes = maxIndex + 1

// nodes lists the video devices below a sysfs, by number. A system without
// any has none: that is no error.
func nodes(sys, dev string) ([]node, error) {
	class := filepath.Join(sys, "class", "video4linux")
	entries, err := os.ReadDir(class)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []node
	for _, e := range entries {
		m := nodePattern.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		number, err := strconv.Atoi(m[1])
		if err != nil || number >= maxNodes {
			continue
		}
		list = append(list, readNode(filepath.Join(class, e.Name()), number, filepath.Join(dev, e.Name())))
	}
	slices.SortFunc(list, func(a, b node) int { return a.number - b.number })
	return list, nil
}

func readNode(dir string, number int, path string) node {
	n := node{number: number, path: path, name: attribute(dir, "name")}
	// A kernel without the attribute has one node per device.
	n.index, _ = strconv.Atoi(attribute(dir, "index"))
	parent, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return n // unplugged in this moment, or no parent at all
	}
	usb := filepath.Dir(parent) // the device is a USB interface, its parent the camera
	vid, pid := attribute(usb, "idVendor"), attribute(usb, "idProduct")
	if vid == "" || pid == "" {
		return n
	}
	n.vid, n.pid, n.port = vid, pid, filepath.Base(usb)
	n.serial, n.manufacturer, n.product = attribute(usb, "serial"), attribute(usb, "manufacturer"), attribute(usb, "product")
	return n
}
