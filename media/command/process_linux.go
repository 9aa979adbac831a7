package command

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockThread ties the goroutine to its thread, which ends with it.
func lockThread() { runtime.LockOSThread() }

// prepare puts the program into a process group of its own, so that its
// children can be reached and the terminal's Ctrl-C does not come before
// Camwire has decided. It dies with Camwire.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// widen lets a whole frame into the pipe, so that the two processes switch less
// often. The kernel may refuse; then the pipe stays as it is.
func widen(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) {
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20)
		})
	}
}

// group is the process group of a program. Its number is good for as long as
// its leader has not been reaped.
type group struct {
	mu   sync.Mutex
	pgid int // 0 when it must not be used
}

func (g *group) open(p *os.Process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pgid = p.Pid
}

func (g *group) signal(s unix.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pgid != 0 {
		_ = unix.Kill(-g.pgid, s) // fails where all are gone
	}
}

// release ends the use of the group and tells its number.
func (g *group) release() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	pgid := g.pgid
	g.pgid = 0
	return pgid
}

func (g *group) terminate() { g.signal(unix.SIGTERM) }
func (g *group) kill()      { g.signal(unix.SIGKILL) }

// reap waits for the leader, kills whom it left behind while it still holds the
// group's number, and only then lets it go.
func (g *group) reap(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.kill()
	pgid := g.release()
	_ = cmd.Wait() // its only news is the state
	drained(pgid)
}
