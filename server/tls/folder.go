package tlscert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

const (
	// subdir is the folder of this package in the data directory.
	subdir = "tls"
	// maxFile bounds every file that is read, in bytes. Long chains have some
	// ten thousand.
	maxFile = 1 << 20
)

// folder is <data directory>/tls. It is opened for each access, so that there
// is nothing to close.
type folder struct{ data string }

func (f folder) path(name string) string { return filepath.Join(f.data, subdir, name) }

// open makes the folder when it is not there yet.
func (f folder) open() (*os.Root, error) {
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return nil, inPath(f.data, err)
	}
	data, err := os.OpenRoot(f.data)
	if err != nil {
		return nil, inPath(f.data, err)
	}
	defer data.Close()
	if err := data.Mkdir(subdir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, inPath(f.path(""), err)
	}
	root, err := data.OpenRoot(subdir)
	if err != nil {
		return nil, inPath(f.path(""), err)
	}
	return root, nil
}

// read returns a file, at most maxFile bytes. Errors name its path and wrap
// fs.ErrNotExist where it is missing.
func (f folder) read(name string) ([]byte, error) {
	root, err := f.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Asked first: to open a pipe would wait for its other end.
	st, err := root.Stat(name)
	if err != nil {
		return nil, inPath(f.path(name), err)
	}
	if err := regular(f.path(name), st); err != nil {
		return nil, err
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, inPath(f.path(name), err)
	}
	defer file.Close()
	return readAll(f.path(name), file)
}

// secret reads a file with a private key and takes it away from others, to
// whom a copy or a backup may have opened it. It reports whether it had to.
func (f folder) secret(name string) (data []byte, tightened bool, err error) {
	if data, err = f.read(name); err != nil {
		return nil, false, err
	}
	root, err := f.open()
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	st, err := root.Stat(name)
	if err != nil {
		return nil, false, inPath(f.path(name), err)
	}
	// The mode bits of Windows do not say who may read.
	if runtime.GOOS == "windows" || st.Mode().Perm()&0o077 == 0 {
		return data, false, nil
	}
	if err := root.Chmod(name, 0o600); err != nil {
		return nil, false, fmt.Errorf("%s holds a private key and can be read by others: make it your own with mode 0600: %w", f.path(name), err)
	}
	return data, true, nil
}

// write lets a file appear whole or not at all, also after a power cut.
func (f folder) write(name string, data []byte, mode fs.FileMode) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	tmp := name + ".tmp"
	// What an earlier start left behind may have another mode.
	if err := root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return inPath(f.path(tmp), err)
	}
	file, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return inPath(f.path(tmp), err)
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		return inPath(f.path(name), errors.Join(err, root.Remove(tmp)))
	}
	if dir, err := root.Open("."); err == nil {
		// Not every system can flush a folder; the file itself is safe.
		_ = dir.Sync()
		dir.Close()
	}
	return nil
}

// readFile reads a file of the operator's, wherever it is.
func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, inPath(path, err)
	}
	if err := regular(path, st); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, inPath(path, err)
	}
	defer file.Close()
	return readAll(path, file)
}

func readAll(path string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, inPath(path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: more than %d bytes: this is no certificate or key", path, maxFile)
	}
	return data, nil
}

func regular(path string, st fs.FileInfo) error {
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", path)
	}
	return nil
}

// inPath puts the whole path where os.Root tells only the name in the folder.
func inPath(path string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}
