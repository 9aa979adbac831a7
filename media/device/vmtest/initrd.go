package vmtest

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ModuleOrder is the file in the guest that lists its modules, a line each
// with the parameters, in the order in which to load them. ModuleFolder holds
// the modules.
const (
	ModuleOrder  = "/modules/order"
	ModuleFolder = "/modules"
)

func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// cpio writes an archive of the newc format, which is what Linux takes for
// its first root file system (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	w     *bufio.Writer
	n     int
	inode int
	err   error
}

func (c *cpio) write(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
		c.n += len(b)
	}
}

func (c *cpio) pad() { c.write(make([]byte, -c.n&3)) }

// header begins an entry; what follows is its content, and pad.
func (c *cpio) header(name string, mode uint32, size, major, minor int) {
	c.inode++
	header := [13]uint32{uint32(c.inode), mode, 0, 0, 1, 0, uint32(size), 0, 0, uint32(major), uint32(minor), uint32(len(name) + 1), 0}
	c.write([]byte("070701"))
	for _, v := range header {
		c.write(fmt.Appendf(nil, "%08x", v))
	}
	c.write(append([]byte(name), 0))
	c.pad()
}

// entry adds a file; major and minor are those of a device.
func (c *cpio) entry(name string, mode uint32, data []byte, major, minor int) {
	c.header(name, mode, len(data), major, minor)
	c.write(data)
	c.pad()
}

// copy adds an executable file of this system, which may be large.
func (c *cpio) copy(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c.header(name, modeFile|0o755, int(info.Size()), 0, 0)
	if c.err != nil {
		return c.err
	}
	n, err := io.CopyN(c.w, f, info.Size())
	c.n += int(n)
	if err != nil {
		return fmt.Errorf("copy %s into the guest: %w", from, err)
	}
	c.pad()
	return nil
}

// files adds what a machine wants beside its program, and the folders for it.
func (c *cpio) files(m Machine) error {
	made := map[string]bool{}
	for _, dir := range baseFolders() {
		made["/"+dir] = true
	}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		if !path.IsAbs(name) || path.Clean(name) != name {
			return fmt.Errorf("file %q of the guest: write an absolute path", name)
		}
		var missing []string
		for dir := path.Dir(name); dir != "/" && !made[dir]; dir = path.Dir(dir) {
			made[dir] = true
			missing = append(missing, dir)
		}
		for _, dir := range slices.Backward(missing) {
			c.entry(dir[1:], modeFolder|0o755, nil, 0, 0)
		}
		if err := c.copy(name[1:], m.Files[name]); err != nil {
			return err
		}
	}
	return nil
}

func baseFolders() []string { return []string{"dev", "proc", "sys", "tmp", "modules"} }

// Types of files in a mode.
const (
	modeFolder = 0o040000
	modeDevice = 0o020000
	modeFile   = 0o100000
)

func (c *cpio) close() error {
	c.entry("TRAILER!!!", 0, nil, 0, 0)
	if c.err != nil {
		return c.err
	}
	return c.w.Flush()
}

// writeInitrd writes the guest's file system.
func writeInitrd(w io.Writer, k *kernel, m Machine) error {
	program, err := os.ReadFile(m.Program)
	if err != nil {
		return err
	}
	c := &cpio{w: bufio.NewWriterSize(w, 1<<20)}
	for _, dir := range baseFolders() {
		c.entry(dir, modeFolder|0o755, nil, 0, 0)
	}
	c.entry("dev/console", modeDevice|0o600, nil, 5, 1)
	c.entry("dev/null", modeDevice|0o666, nil, 1, 3)
	c.entry("init", modeFile|0o755, program, 0, 0)
	order, err := moduleOrder(k.modules, m.Modules)
	if err != nil {
		return err
	}
	for _, o := range order {
		c.entry(strings.TrimPrefix(ModuleFolder, "/")+"/"+o.name+".ko", modeFile|0o644, o.data, 0, 0)
	}
	var lines strings.Builder
	for _, o := range order {
		fmt.Fprintln(&lines, strings.TrimSpace(o.name+" "+o.params))
	}
	c.entry(strings.TrimPrefix(ModuleOrder, "/"), modeFile|0o644, []byte(lines.String()), 0, 0)
	if err := c.files(m); err != nil {
		return err
	}
	return c.close()
}

// module is a kernel module as it goes into the guest.
type module struct {
	name, params string
	data         []byte
}

// moduleOrder reads the wanted modules and those that they depend on, the
// latter first.
func moduleOrder(dir string, want []string) ([]module, error) {
	var order []module
	seen := map[string]bool{}
	var add func(name, params string, needed bool) error
	add = func(name, params string, needed bool) error {
		name = moduleName(name)
		if seen[name] {
			return nil
		}
		seen[name] = true
		data, err := os.ReadFile(filepath.Join(dir, name+".ko"))
		if errors.Is(err, fs.ErrNotExist) && !needed {
			return nil // built into the kernel
		}
		if err != nil {
			return fmt.Errorf("kernel module %s: %w", name, err)
		}
		depends, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("kernel module %s: %w", name, err)
		}
		for _, d := range depends {
			if err := add(d, "", false); err != nil {
				return err
			}
		}
		order = append(order, module{name, params, data})
		return nil
	}
	for _, w := range want {
		name, params, _ := strings.Cut(w, " ")
		if err := add(name, params, true); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// dependencies reads what a module says of itself, so that no depmod is
// needed.
func dependencies(ko []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("has no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, line := range strings.Split(string(info), "\x00") {
		if names, ok := strings.CutPrefix(line, "depends="); ok {
			list = append(list, strings.FieldsFunc(names, func(r rune) bool { return r == ',' })...)
		}
	}
	return list, nil
}
