// Package vmtest runs a program in a small virtual machine whose kernel has a
// real uvcvideo driver and a virtual USB, so that USB cameras can be tested
// where there are none (package uvcsim makes them) and by everybody: it needs
// QEMU, but neither KVM, nor root, nor anything of this machine's kernel.
//
// It is for tests. It knows nothing of cameras; the program that it runs does.
package vmtest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ErrUnavailable is wrapped by errors that say what this system lacks for
// running a machine, and how to get it.
var ErrUnavailable = errors.New("no virtual machine here")

// ErrUnfinished says that the machine stopped before its program did.
var ErrUnfinished = errors.New("the virtual machine did not finish")

// EnvCache names the environment variable with the folder in which the kernel
// is kept; default camwire/vm in the user's cache folder.
const EnvCache = "CAMWIRE_VM_CACHE"

// Machine describes a run.
type Machine struct {
	// Program is a static executable for this processor. It becomes the
	// guest's /init and so must begin with guest.Boot.
	Program string
	// Args are its arguments.
	Args []string
	// Modules are the kernel modules to load, each with its parameters, as
	// "uvcvideo nodrop=1"; those that they depend on come by themselves.
	Modules []string
	// Files are further files of the guest: where each is there, an absolute
	// path, and where it comes from here. All are executable.
	Files map[string]string
	// Memory of the machine in MiB; default 384 and what Files take, which are
	// in memory twice while the machine starts.
	Memory int
	// Output gets what the program writes.
	Output io.Writer
}

// Run starts the machine and returns the exit status of its program. The
// first run on a system fetches a kernel, 70 MB.
func Run(ctx context.Context, m Machine) (status int, err error) {
	qemu, err := emulator()
	if err != nil {
		return 0, err
	}
	k, err := findKernel(ctx)
	if err != nil {
		return 0, err
	}
	initrd, err := os.CreateTemp("", "camwire-initrd-*")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(initrd.Name()) }()
	err = writeInitrd(initrd, k, m)
	if err := errors.Join(err, initrd.Close()); err != nil {
		return 0, err
	}
	return boot(ctx, qemu, k, initrd.Name(), m)
}

func emulator() (string, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%w: the kernel for it is known for linux/amd64 only, this is %s/%s", ErrUnavailable, runtime.GOOS, runtime.GOARCH)
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return "", fmt.Errorf("%w: qemu-system-x86_64 is missing: apt-get install qemu-system-x86", ErrUnavailable)
	}
	return qemu, nil
}

func (m Machine) filesSize() (size int64, err error) {
	for _, from := range m.Files {
		info, err := os.Stat(from)
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, nil
}

// boot runs QEMU without KVM: that needs no rights, and works inside of other
// virtual machines.
func boot(ctx context.Context, qemu string, k *kernel, initrd string, m Machine) (int, error) {
	memory := m.Memory
	if memory == 0 {
		size, err := m.filesSize()
		if err != nil {
			return 0, err
		}
		memory = 384 + 2*int(size>>20)
	}
	args := base64.RawURLEncoding.EncodeToString([]byte(strings.Join(m.Args, "\x00")))
	cmd := exec.CommandContext(ctx, qemu,
		"-M", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", fmt.Sprint(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
		"-monitor", "none", "-serial", "stdio",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x01", // how the guest tells its exit status
		"-kernel", k.image, "-initrd", initrd,
		"-append", "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off tsc=reliable no_timer_check camwire.args="+args)
	cmd.Stdout = &withoutCR{w: m.Output}
	var trouble strings.Builder
	cmd.Stderr = &trouble
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	// isa-debug-exit makes QEMU's status (status << 1) | 1.
	if code := cmd.ProcessState.ExitCode(); code > 0 && code&1 == 1 && ctx.Err() == nil && trouble.Len() == 0 {
		return code >> 1, nil
	}
	return 0, fmt.Errorf("%w: %s", ErrUnfinished, strings.TrimSpace(fmt.Sprint(context.Cause(ctx), " ", err, " ", trouble.String())))
}

// withoutCR takes out what a serial console adds.
type withoutCR struct{ w io.Writer }

func (c *withoutCR) Write(b []byte) (int, error) {
	if c.w == nil {
		return len(b), nil
	}
	if _, err := io.WriteString(c.w, strings.ReplaceAll(string(b), "\r", "")); err != nil {
		return 0, err
	}
	return len(b), nil
}

func cacheFolder() (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no folder to keep a kernel in, set %s: %w", ErrUnavailable, EnvCache, err)
	}
	return filepath.Join(dir, "camwire", "vm"), nil
}
