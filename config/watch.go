package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	defaultQuiet = 200 * time.Millisecond
	defaultPoll  = 5 * time.Second
	// patience, in units of Quiet, bounds how long a file that is written all
	// the time can put off its reading.
	patience = 10
)

// Watcher reloads a configuration when its file changes. Its methods are for
// one goroutine at a time.
type Watcher struct {
	// Path is the file, Options what is merged with it, as for Load.
	Path    string
	Options Options
	// Notify gets the result of each load that follows a change, as Load
	// returns it; with an error the configuration before it stays in force. It
	// is called from Run, which watches on when it returns.
	Notify func(Config, []Problem, error)
	// Quiet is how long the file must rest before it is read: editors write it
	// in several steps. Default 200 ms.
	Quiet time.Duration
	// Poll is the time between two looks at the file that need no notice from
	// the system: network file systems and single files mounted into a
	// container give none. Default 5 s.
	Poll time.Duration
	// Log gets what the watch itself has to say; nil discards it.
	Log *slog.Logger

	known bool // whether last is set
	last  contents
	dirs  map[string]bool
}

// contents tells one state of the file from another.
type contents struct {
	exists bool
	sum    [sha256.Size]byte
}

// Load loads the file now and remembers its contents, so that a change between
// Load and Run is not missed.
func (w *Watcher) Load() (Config, []Problem, error) {
	data, state, err := w.read()
	w.last, w.known = state, true
	if err != nil {
		return Config{}, nil, err
	}
	return Parse(filepath.Base(w.Path), data, w.Options)
}

// Run watches until ctx is done and returns its error. The file may appear
// later, vanish, be replaced, or be a symbolic link that changes.
func (w *Watcher) Run(ctx context.Context) error {
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	quiet, poll := orDefault(w.Quiet, defaultQuiet), orDefault(w.Poll, defaultPoll)

	var events chan fsnotify.Event
	var faults chan error
	notifier, err := fsnotify.NewWatcher()
	if err != nil {
		w.Log.Warn("no notices of file changes; looking at the configuration from time to time", "every", poll, "error", err)
	} else {
		defer notifier.Close()
		events, faults = notifier.Events, notifier.Errors
	}

	w.dirs = map[string]bool{}
	w.follow(notifier)
	if !w.known {
		_, w.last, _ = w.read()
		w.known = true
	}
	seen := stat(w.Path)

	// The first reading is for what changed since Load.
	settle := time.NewTimer(0)
	defer settle.Stop()
	var deadline time.Time
	look := time.NewTicker(poll)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-events:
		case err := <-faults:
			// After an overflow of the queue any change may have been lost.
			w.Log.Debug("notices of file changes were lost", "error", err)
		case <-look.C:
			w.follow(notifier)
		case <-settle.C:
			deadline = time.Time{}
			w.follow(notifier)
			seen = stat(w.Path)
			w.reload()
			continue
		}
		// Notices come for everything in the folder; the file itself tells
		// whether it is meant.
		now := stat(w.Path)
		if now.same(seen) {
			continue
		}
		seen = now
		if deadline.IsZero() {
			deadline = time.Now().Add(patience * quiet)
		}
		settle.Reset(max(0, min(quiet, time.Until(deadline))))
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// follow watches the folder of the file and, where the file is a link, that of
// its target. Folders are watched because editors replace the file.
func (w *Watcher) follow(n *fsnotify.Watcher) {
	if n == nil {
		return
	}
	want := map[string]bool{filepath.Dir(w.Path): true}
	if target, err := filepath.EvalSymlinks(w.Path); err == nil {
		want[filepath.Dir(target)] = true
	}
	for dir := range want {
		// Adding again is cheap and needed after a folder was made anew.
		if err := n.Add(dir); err != nil {
			w.Log.Debug("no notices from a folder; looking from time to time", "folder", dir, "error", err)
		}
	}
	for dir := range w.dirs {
		if !want[dir] {
			_ = n.Remove(dir) // fails where the folder is gone, and its watch with it
		}
	}
	w.dirs = want
}

// reload reads the file and notifies when its contents are new.
func (w *Watcher) reload() {
	data, state, err := w.read()
	if errors.Is(err, fs.ErrNotExist) || err == nil && !state.exists {
		if w.last.exists {
			w.last = contents{}
			w.Notify(Config{}, nil, fmt.Errorf("configuration %q is gone; the last one stays in force until there is a new file: %w", w.Path, fs.ErrNotExist))
		}
		return
	}
	if err == nil && state == w.last {
		return
	}
	had := w.last
	w.last = state
	if err != nil {
		w.Notify(Config{}, nil, err)
		return
	}
	if had.exists && len(bytes.TrimSpace(data)) == 0 {
		// Somebody is writing it, or has lost it: not a wish for defaults.
		w.Notify(Config{}, nil, fmt.Errorf("configuration %q is empty; the last one stays in force until there is something in it", w.Path))
		return
	}
	w.Notify(Parse(filepath.Base(w.Path), data, w.Options))
}

func (w *Watcher) read() ([]byte, contents, error) {
	data, err := readFile(w.Path, false)
	if errors.Is(err, fs.ErrNotExist) && (w.Options.Optional || w.Path == "") {
		return nil, contents{}, nil
	}
	if err != nil {
		return nil, contents{exists: !errors.Is(err, fs.ErrNotExist)}, err
	}
	return data, contents{exists: true, sum: sha256.Sum256(data)}, nil
}

// stamp is what the file system says about the file; nil info means it is not there.
type stamp struct{ info fs.FileInfo }

func stat(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info}
}

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == o.info
	}
	return os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() && s.info.ModTime().Equal(o.info.ModTime())
}
