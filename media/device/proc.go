package device

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxProcesses bounds the processes looked at for the one that has a camera.
const maxProcesses = 1 << 16

// ownCamera stands for this very process.
const ownCamera = "another camera of this program"

// holders returns who has each of the given device files open, as "name (pid
// N)", by path. Processes of other users show themselves to root only, so an
// empty answer proves nothing.
func holders(proc string, self int, paths ...string) map[string][]string {
	found := map[string][]string{}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return found
	}
	for i, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || i > maxProcesses {
			continue
		}
		dir := filepath.Join(proc, e.Name(), "fd")
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue // not ours to see, or it has ended
		}
		for _, fd := range fds {
			target, err := os.Readlink(filepath.Join(dir, fd.Name()))
			if err != nil || !slices.Contains(paths, target) {
				continue
			}
			who := ownCamera
			if pid != self {
				who = fmt.Sprintf("%s (pid %d)", processName(filepath.Join(proc, e.Name())), pid)
			}
			if !slices.Contains(found[target], who) {
				found[target] = append(found[target], who)
			}
		}
	}
	return found
}

func processName(dir string) string {
	if s := attribute(dir, "comm"); s != "" {
		return strings.ReplaceAll(s, "\"", "'")
	}
	return "a program"
}
