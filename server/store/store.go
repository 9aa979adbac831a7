// Package store keeps lists across restarts: each one is a small JSON file in
// the data directory, written whole and atomically, for what people change at
// run time. A crash or a power cut at any point leaves the list as it was
// before the change or as it is after it.
//
// It does not know what the entries mean, and it is no database: samples,
// events and recordings have their own.
package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// version is that of the files that this package writes.
const version = 1

// DefaultMaxBytes bounds a file where Options say nothing else.
const DefaultMaxBytes = 4 << 20

// maxAside bounds the files put aside within one second.
const maxAside = 100

// Options of a List.
type Options struct {
	// Dir is the data directory; it is created (0700) if it is missing.
	Dir string
	// Name is the file's name in it, "cameras.json".
	Name string
	// MaxBytes bounds the file; default DefaultMaxBytes.
	MaxBytes int64
	// Log gets what is wrong with the file; default none.
	Log *slog.Logger
}

// List is a list of T in one file. T is anything that encoding/json reads and
// writes. One process at a time may have a list open. All methods may be
// called from any goroutine.
type List[T any] struct {
	name string
	max  int64
	log  *slog.Logger

	mu   sync.Mutex
	disk disk
}

// document is the file.
type document[E any] struct {
	Version int `json:"version"`
	Entries []E `json:"entries"`
}

// Open opens a list and returns what it holds; without a file, nothing.
//
// A file that cannot be understood is moved aside, to <name>.broken-<time>,
// with an error in the log, and the list begins empty: one bad file must not
// keep everything else from running. Of a file in which only some entries are
// unreadable a copy is put aside, and the others stay. The error is for a
// directory or file that cannot be used at all.
func Open[T any](o Options) (*List[T], []T, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("%s: %w: choose another data_dir", o.Name, err)
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: choose another data_dir", o.Name, err)
	}
	l := &List[T]{name: o.Name, max: o.MaxBytes, log: o.Log.With("file", o.Name), disk: rootDisk{root}}
	entries, err := l.load(root)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w: check who owns it, or delete it to begin with an empty list", o.Name, err), root.Close())
	}
	return l, entries, nil
}

// Close ends the use of the list.
func (l *List[T]) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.disk.close()
}

// temporary is the name under which a file is written before it counts.
func (l *List[T]) temporary() string { return l.name + ".tmp" }

func (l *List[T]) load(root *os.Root) ([]T, error) {
	// What a crash in the middle of Save left behind.
	if err := root.Remove(l.temporary()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("the rest of an interrupted write stays", "error", err)
	}
	data, err := l.read(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var entries []T
	var bad []error
	if err == nil {
		entries, bad, err = decode[T](data)
	}
	var broken *brokenError
	if errors.As(err, &broken) {
		aside, err := l.aside(root)
		if err == nil {
			err = root.Rename(l.name, aside)
		}
		if err != nil {
			return nil, fmt.Errorf("%w, and cannot be moved aside: %w", broken, err)
		}
		l.log.Error("the file was moved aside; starting with an empty list", "reason", broken.Error(), "moved_to", aside)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(bad) > 0 {
		aside, err := l.aside(root)
		if err == nil {
			err = l.replace(aside, data)
		}
		if err == nil {
			err = l.Save(entries)
		}
		if err != nil {
			return nil, fmt.Errorf("%w; a copy cannot be put aside: %w", bad[0], err)
		}
		l.log.Error("unreadable entries were left out; the whole file is kept aside", "entries", len(bad), "reason", bad[0].Error(), "copied_to", aside)
	}
	return entries, nil
}

// brokenError is what is wrong with the contents of a file.
type brokenError struct{ reason string }

func (e *brokenError) Error() string { return e.reason }

func (l *List[T]) read(root *os.Root) ([]byte, error) {
	info, err := root.Stat(l.name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is no file") // opening a pipe would wait for ever
	}
	// It may hold passwords of cameras; a copy or a backup may have made it
	// readable for all.
	if info.Mode().Perm()&0o077 != 0 {
		if err := root.Chmod(l.name, 0o600); err != nil {
			return nil, fmt.Errorf("can be read by others: %w", err)
		}
	}
	f, err := root.Open(l.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, l.max+1))
	if err == nil && int64(len(data)) > l.max {
		err = &brokenError{fmt.Sprintf("is larger than %d bytes", l.max)}
	}
	return data, err
}

// decode reads a document. The error is a *brokenError; bad are the entries
// that cannot be read.
func decode[T any](data []byte) (entries []T, bad []error, err error) {
	var d document[json.RawMessage]
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, nil, &brokenError{"is no valid JSON: " + err.Error()}
	}
	switch {
	case d.Version > version:
		return nil, nil, &brokenError{fmt.Sprintf("is of version %d, written by a newer program; this one knows version %d", d.Version, version)}
	case d.Version < 1:
		return nil, nil, &brokenError{"has no version"}
	}
	for i, raw := range d.Entries {
		var e T
		if bytes.Equal(raw, []byte("null")) {
			bad = append(bad, fmt.Errorf("entry %d is empty", i+1))
			continue
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			bad = append(bad, fmt.Errorf("entry %d: %w", i+1, err))
			continue
		}
		entries = append(entries, e)
	}
	return entries, bad, nil
}

// aside finds a free name for a file that is put aside.
func (l *List[T]) aside(root *os.Root) (string, error) {
	base := l.name + ".broken-" + time.Now().UTC().Format("20060102T150405Z")
	for i := range maxAside {
		name := base
		if i > 0 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		if _, err := root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s and %d more exist already", base, maxAside-1)
}

// Save replaces the list. When it has returned nil the new list survives a
// power cut. After an error the file holds the old list, or, where only the
// last step failed, the new one; it is never anything in between.
func (l *List[T]) Save(entries []T) error {
	if entries == nil {
		entries = []T{} // [] and not null
	}
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false) // URLs stay readable
	enc.SetIndent("", "  ")
	if err := enc.Encode(document[T]{version, entries}); err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	if int64(data.Len()) > l.max {
		return fmt.Errorf("%s: would have %d bytes, more than the %d it may have", l.name, data.Len(), l.max)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.replace(l.name, data.Bytes()); err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	return nil
}

// replace lets a file appear whole or not at all.
func (l *List[T]) replace(name string, data []byte) error {
	tmp := l.temporary()
	if err := l.disk.remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := l.write(tmp, data)
	if err == nil {
		err = l.disk.rename(tmp, name)
	}
	if err != nil {
		if rerr := l.disk.remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return err
	}
	// The name is in the directory, which has to reach the disk as well.
	return l.disk.sync()
}

func (l *List[T]) write(name string, data []byte) error {
	f, err := l.disk.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		// Without it some file systems order the new name before the data.
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
