package store

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// disk is the few steps that a write takes, so that tests can let each fail.
type disk interface {
	// create makes a file that must not exist, for the owner only.
	create(name string) (file, error)
	rename(from, to string) error
	remove(name string) error
	// sync makes renames last.
	sync() error
	close() error
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

// rootDisk is a real directory; nothing outside of it can be reached.
type rootDisk struct{ root *os.Root }

func (d rootDisk) create(name string) (file, error) {
	return d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}
func (d rootDisk) rename(from, to string) error { return d.root.Rename(from, to) }
func (d rootDisk) remove(name string) error     { return d.root.Remove(name) }
func (d rootDisk) close() error                 { return d.root.Close() }

func (d rootDisk) sync() error {
	dir, err := d.root.Open(".")
	if err != nil {
		return err
	}
	err = dir.Sync()
	// Some file systems (SMB, some of FUSE) and Windows cannot do it, and
	// have no need for it or no remedy.
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrPermission) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}
