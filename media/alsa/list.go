package alsa

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxListed bounds the devices that are listed.
const maxListed = 64

var pcmPattern = regexp.MustCompile(`^pcmC([0-9]{1,3})D([0-9]{1,3})c$`)

// List returns the capture devices, by card and device. It asks the file
// systems of the kernel only: no device is opened. A system without sound has
// none: that is no error.
func List() ([]Info, error) { return list("/sys", "/proc") }

func list(sys, proc string) ([]Info, error) {
	class := filepath.Join(sys, "class", "sound")
	entries, err := os.ReadDir(class)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list microphones: %w", err)
	}
	var found []Info
	for _, e := range entries {
		m := pcmPattern.FindStringSubmatch(e.Name())
		if m == nil || len(found) == maxListed {
			continue
		}
		card, errC := strconv.Atoi(m[1])
		device, errD := strconv.Atoi(m[2])
		if errC != nil || errD != nil || card > maxCard || device > maxDevice {
			continue
		}
		i := describe(class, Ref{card, device})
		i.Channels = channels(filepath.Join(proc, "asound", fmt.Sprintf("card%d", card), fmt.Sprintf("stream%d", device)))
		found = append(found, i)
	}
	slices.SortFunc(found, func(a, b Info) int {
		return (a.Ref.Card-b.Ref.Card)*(maxDevice+1) + a.Ref.Device - b.Ref.Device
	})
	return found, nil
}

func describe(class string, r Ref) Info {
	card := filepath.Join(class, fmt.Sprintf("card%d", r.Card))
	i := Info{Ref: r, ID: attribute(card, "id")}
	i.Name = i.ID
	parent, err := filepath.EvalSymlinks(filepath.Join(card, "device"))
	if err != nil {
		return i // unplugged in this moment, or no parent at all
	}
	usb := filepath.Dir(parent) // the card is a USB interface, its parent the device
	if attribute(usb, "idVendor") == "" {
		return i
	}
	i.Port = filepath.Base(usb)
	if p := attribute(usb, "product"); p != "" {
		i.Name = p
	}
	return i
}

// channels reads what the driver of USB sound says about a stream: the most
// channels in its section about capture.
func channels(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	capture, most := false, 0
	for s := bufio.NewScanner(io.LimitReader(f, 1<<16)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "Capture:":
			capture = true
		case line == "Playback:":
			capture = false
		case capture:
			if v, ok := strings.CutPrefix(line, "Channels: "); ok {
				if n, err := strconv.Atoi(v); err == nil && n <= 64 {
					most = max(most, n)
				}
			}
		}
	}
	return most
}

// attribute reads a sysfs file of one line and makes one printable line of
// it, whatever a device claims to be called; empty if there is none.
func attribute(path ...string) string {
	f, err := os.Open(filepath.Join(path...))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 512)
	n, _ := f.Read(b)
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b[:n]), "?")))
}
