package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"camwire/server/store"
)

// lockFile is held while a file of this package is read or written: the command
// line changes the same files beside a running server.
const lockFile = "accounts.lock"

// Another process holds the lock for one small write; one that has been stopped
// in the middle of it must not stop this one too.
const (
	lockPatience = 2 * time.Second
	lockInterval = 5 * time.Millisecond
)

// file is a list of T in the data directory that several processes may change.
type file[T any] struct {
	dir, name string
	log       *slog.Logger
}

func (f file[T]) path() string { return filepath.Join(f.dir, f.name) }

// stat returns what the file is now, nil when there is none.
func (f file[T]) stat() (os.FileInfo, error) {
	info, err := os.Stat(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

// same reports whether two answers of stat are about the same contents. Each
// write makes a new file, so its identity changes even where the clock of the
// file system is coarse.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// update reads the list and, when change is not nil, replaces it by what change
// makes of it, with nobody in between. It returns what the file now holds.
func (f file[T]) update(change func([]T) ([]T, error)) (entries []T, info os.FileInfo, err error) {
	unlock, err := lock(f.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.name, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	l, entries, err := store.Open[T](store.Options{Dir: f.dir, Name: f.name, Log: f.log})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if change != nil {
		if entries, err = change(entries); err != nil {
			return nil, nil, err
		}
		if err := l.Save(entries); err != nil {
			return nil, nil, err
		}
		if err := giveToOwner(f.dir, f.name); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	info, err = f.stat()
	return entries, info, err
}

// lock keeps other processes away from the files of this package.
func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: choose another data_dir", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: run the command as the user that runs Camwire", err)
	}
	if err := giveToOwner(dir, lockFile); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for until := time.Now().Add(lockPatience); ; time.Sleep(lockInterval) {
		ok, err := tryLock(f)
		if ok {
			return f.Close, nil // closing gives the lock back
		}
		if err == nil && time.Now().After(until) {
			err = errors.New("another process has it locked for too long: is a camwire command suspended?")
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}
