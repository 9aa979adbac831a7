package vmtest

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// WithLibraries adds a program of this system to files, as name, and all
// shared libraries that it needs, so that what is linked dynamically runs in
// the guest too: codec libraries can hardly be had otherwise. A static program
// needs none.
func WithLibraries(ctx context.Context, files map[string]string, name, program string) error {
	files[name] = program
	static, err := isStatic(program)
	if err != nil || static {
		return err
	}
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return fmt.Errorf("libraries of %s: ldd: %w", program, err)
	}
	libraries, err := parseLDD(string(out))
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", program, err)
	}
	for _, l := range libraries {
		files[l] = l
	}
	return nil
}

func isStatic(program string) (bool, error) {
	f, err := elf.Open(program)
	if err != nil {
		return false, fmt.Errorf("%s is no program for Linux: %w", program, err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	return true, nil
}

// parseLDD reads lines such as "libm.so.6 => /lib/libm.so.6 (0x7f…)" and
// "/lib64/ld-linux-x86-64.so.2 (0x7f…)". One without a path is the kernel's own.
func parseLDD(out string) ([]string, error) {
	var list []string
	for line := range strings.Lines(out) {
		name, path, found := strings.Cut(strings.TrimSpace(line), " => ")
		if !found {
			path = name
		}
		if strings.HasPrefix(path, "not found") {
			return nil, errors.New(name + " is missing on this system")
		}
		path, _, _ = strings.Cut(path, " (")
		if filepath.IsAbs(path) {
			list = append(list, filepath.Clean(path))
		}
	}
	return list, nil
}
