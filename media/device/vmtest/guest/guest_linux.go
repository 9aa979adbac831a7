// Package guest is the first process of the virtual machine of package vmtest:
// it mounts what a program expects, loads the kernel modules, runs the program
// as its child and switches the machine off with its exit status.
package guest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"camwire/media/device/vmtest"

	"golang.org/x/sys/unix"
)

// Env is set in the environment of a program that runs in the guest.
const Env = "CAMWIRE_GUEST"

// Inside reports whether this program runs in the guest.
func Inside() bool { return os.Getenv(Env) != "" }

// Boot does nothing in a program that was started the usual way. As the first
// process of a machine it does the work of one and does not return: it runs
// the same executable again, as its child.
func Boot() {
	if os.Getpid() != 1 {
		return
	}
	// In a container many a program is the first process.
	if _, err := os.Stat(vmtest.ModuleOrder); err != nil {
		return
	}
	status := 125
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	} else {
		status = child()
	}
	powerOff(status)
}

func prepare() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	order, err := os.ReadFile(vmtest.ModuleOrder)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(order)) {
		name, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		image, err := os.ReadFile(filepath.Join(vmtest.ModuleFolder, name+".ko"))
		if err != nil {
			return err
		}
		if err := unix.InitModule(image, params); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", line, err)
		}
	}
	return loopback()
}

// loopback lets programs of the guest talk to each other; it has no other
// network.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

func child() int {
	args, err := arguments()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		return 125
	}
	c := exec.Command("/proc/self/exe", args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.Env = []string{Env + "=1", "HOME=/tmp", "GOTRACEBACK=all"}
	err = c.Run()
	if err != nil && c.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		return 125
	}
	if code := c.ProcessState.ExitCode(); code >= 0 {
		return min(code, 127) // what fits QEMU's status
	}
	return 125 // killed by a signal
}

// arguments are those of vmtest.Machine, from the kernel's command line.
func arguments() ([]string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	for _, w := range strings.Fields(string(line)) {
		code, ok := strings.CutPrefix(w, "camwire.args=")
		if !ok || code == "" {
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(code)
		if err != nil {
			return nil, err
		}
		return strings.Split(string(b), "\x00"), nil
	}
	return nil, nil
}

// powerOff ends the machine; QEMU hears the status at the port of its
// isa-debug-exit device.
func powerOff(status int) {
	time.Sleep(50 * time.Millisecond) // until the serial port has sent the last line
	if port, err := os.OpenFile("/dev/port", os.O_WRONLY, 0); err == nil {
		_, _ = port.WriteAt([]byte{byte(status)}, 0xf4)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {} // the first process must never end
}
