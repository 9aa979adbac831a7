package guard

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checkDevice lets through what names a camera. Opening other devices may do
// something: that of a watchdog reboots the machine.
func checkDevice(path string) error {
	if hasParent(path) || !strings.HasPrefix(path, "/dev/video") && !strings.HasPrefix(path, "/dev/v4l/") {
		return refuse("only /dev/video… and /dev/v4l/… are cameras")
	}
	return nil
}

// checkFiles lets through what lies below the data directory, as it is written
// and also where links lead to. A pattern is followed up to its first
// wildcard.
func (g *Guard) checkFiles(path string, pattern bool) error {
	const words = "only files below the data directory can be shown this way"
	if g.opts.DataDir == "" || hasParent(path) {
		return refuse(words)
	}
	root, err := filepath.Abs(g.opts.DataDir)
	if err != nil {
		return refuse(words)
	}
	path, err = filepath.Abs(path)
	if err != nil || !below(root, path) {
		return refuse(words)
	}
	fixed := path
	if i := strings.IndexAny(path, `*?[\`); pattern && i >= 0 {
		fixed = filepath.Dir(path[:i] + "x")
	}
	if !below(root, fixed) {
		return refuse(words)
	}
	realRoot, err := resolve(root)
	if err != nil {
		return refuse(words)
	}
	real, err := resolve(fixed)
	if err != nil || !below(realRoot, real) {
		return refuse(words)
	}
	return nil
}

func hasParent(path string) bool {
	for _, e := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == filepath.Separator }) {
		if e == ".." {
			return true
		}
	}
	return false
}

// below reports whether a path is a folder or inside of it. Both are clean.
func below(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && filepath.IsLocal(rel)
}

// resolve follows the links of the part of a path that exists.
func resolve(path string) (string, error) {
	rest := ""
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		parent := filepath.Dir(path)
		if !errors.Is(err, fs.ErrNotExist) || parent == path {
			return "", err
		}
		if _, there := os.Lstat(path); there == nil {
			return "", err // a link to what does not exist yet may lead anywhere
		}
		path, rest = parent, filepath.Join(filepath.Base(path), rest)
	}
}
