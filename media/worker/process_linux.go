package worker

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// self survives an upgrade of the file on the disk: a running server must not
// start the workers of another version.
func self() (string, error) { return "/proc/self/exe", nil }

// confineThread ties the goroutine to a thread that can never gain privileges;
// a child forked by it inherits that. The thread ends with the goroutine, so
// nothing else ever runs on it.
func confineThread() {
	runtime.LockOSThread()
	// Fails only on kernels before 3.5.
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// confine is applied to the child at its start: it dies with its parent, and
// the terminal's Ctrl-C does not reach it before the parent has decided.
func confine(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// widen lets a whole frame into the pipe, so that the two processes switch
// less often. The kernel may refuse; then the pipe stays as it is.
func widen(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) {
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20)
		})
	}
}
