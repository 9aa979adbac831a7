package vmtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// kernel is an unpacked kernel: its image, and a folder of modules.
type kernel struct {
	image   string
	modules string
}

// wanted are the folders of a kernel package that hold what a camera and its
// microphone need.
func wanted() []string {
	return []string{
		"/kernel/drivers/media/common/", "/kernel/drivers/media/mc/", "/kernel/drivers/media/v4l2-core/", "/kernel/drivers/media/usb/uvc/",
		"/kernel/drivers/usb/common/", "/kernel/drivers/usb/core/", "/kernel/drivers/usb/usbip/",
		"/kernel/sound/soundcore.", "/kernel/sound/core/", "/kernel/sound/drivers/", "/kernel/sound/usb/",
	}
}

// metaPackage depends on Debian's newest kernel.
const metaPackage = "linux-image-amd64"

// findKernel returns the kernel of the cache, any that is there, or fetches
// Debian's: no root needed, nothing is installed.
func findKernel(ctx context.Context) (*kernel, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	// What was unpacked before sound was wanted has no snd.ko.
	if old, err := filepath.Glob(filepath.Join(cache, "linux-image-*", "modules", "snd.ko")); err == nil && len(old) > 0 {
		dir := filepath.Dir(filepath.Dir(old[len(old)-1]))
		return &kernel{image: filepath.Join(dir, "kernel"), modules: filepath.Join(dir, "modules")}, nil
	}
	for _, tool := range []string{"apt-cache", "apt-get", "dpkg-deb", "xz"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %s is missing, a Debian kernel cannot be fetched: unpack one into %s as linux-image-…/kernel and linux-image-…/modules/*.ko", ErrUnavailable, tool, cache)
		}
	}
	name, err := kernelPackage(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	// Two test runs may do this at the same time: the first to finish wins.
	work, err := os.MkdirTemp(cache, "fetch-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := fetch(ctx, name, work); err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, name+"+sound")
	if err := os.Rename(filepath.Join(work, "unpacked"), dir); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return &kernel{image: filepath.Join(dir, "kernel"), modules: filepath.Join(dir, "modules")}, nil
}

func kernelPackage(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", metaPackage).Output()
	if err == nil {
		for line := range strings.Lines(string(out)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok && !strings.ContainsAny(name, "/ <") {
				return "linux-image-" + name, nil
			}
		}
	}
	return "", fmt.Errorf("%w: apt knows no package %s: run apt-get update, on a Debian system", ErrUnavailable, metaPackage)
}

// fetch downloads a kernel package and leaves in dir/unpacked what is needed
// of it, a fiftieth.
func fetch(ctx context.Context, name, dir string) error {
	get := exec.CommandContext(ctx, "apt-get", "download", name)
	get.Dir = dir
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s cannot be downloaded: %w: %s", ErrUnavailable, name, err, lastLine(out))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages (%w)", name, len(found), err)
	}
	unpack := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", found[0])
	files, err := unpack.StdoutPipe()
	if err != nil {
		return err
	}
	if err := unpack.Start(); err != nil {
		return err
	}
	err = sift(ctx, tar.NewReader(files), filepath.Join(dir, "unpacked"))
	_, drained := io.Copy(io.Discard, files)
	return errors.Join(err, drained, unpack.Wait())
}

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// sift takes the kernel and the wanted modules out of a package.
func sift(ctx context.Context, files *tar.Reader, to string) error {
	if err := os.MkdirAll(filepath.Join(to, "modules"), 0o755); err != nil {
		return err
	}
	image := false
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		base := path.Base(h.Name)
		switch {
		case h.Typeflag != tar.TypeReg:
		case strings.HasPrefix(base, "vmlinuz-"):
			b, err := io.ReadAll(files)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, "kernel"), bare(ctx, b), 0o644); err != nil {
				return err
			}
			image = true
		case isWanted(h.Name):
			b, err := io.ReadAll(files)
			if err != nil {
				return err
			}
			if strings.HasSuffix(base, ".xz") { // Debian 13
				if b, err = unxz(ctx, b); err != nil {
					return fmt.Errorf("%s: %w", base, err)
				}
			}
			module, _, _ := strings.Cut(base, ".ko")
			if err := os.WriteFile(filepath.Join(to, "modules", moduleName(module)+".ko"), b, 0o644); err != nil {
				return err
			}
		}
	}
	if !image {
		return errors.New("no kernel in the package")
	}
	return nil
}

func isWanted(name string) bool {
	if !strings.Contains(path.Base(name), ".ko") {
		return false
	}
	for _, w := range wanted() {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

// bare returns the ELF image inside a bzImage, which QEMU boots as well (PVH)
// and which the guest need not unpack: seconds less without KVM. What it
// cannot find an image in it returns as it is.
func bare(ctx context.Context, image []byte) []byte {
	at := bytes.Index(image, []byte("\xfd7zXZ\x00"))
	if at < 0 {
		return image
	}
	// Not the error but the result counts: what follows the image makes xz
	// complain after it is done.
	elf, _ := unxz(ctx, image[at:])
	if !bytes.HasPrefix(elf, []byte("\x7fELF")) {
		return image
	}
	return elf
}

func unxz(ctx context.Context, b []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "xz", "-dc", "--single-stream")
	cmd.Stdin = bytes.NewReader(b)
	return cmd.Output()
}
