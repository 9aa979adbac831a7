//go:build unix && !linux

package command

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
)

func lockThread() {}

// prepare puts the program into a process group of its own, so that its
// children can be reached and the terminal's Ctrl-C does not come before
// Camwire has decided.
func prepare(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func widen(*os.File) {}

// group is the process group of a program.
type group struct {
	mu   sync.Mutex
	pgid int // 0 when it must not be used
}

func (g *group) open(p *os.Process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pgid = p.Pid
}

func (g *group) signal(s syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pgid != 0 {
		_ = syscall.Kill(-g.pgid, s) // fails where all are gone
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

func (g *group) terminate() { g.signal(syscall.SIGTERM) }
func (g *group) kill()      { g.signal(syscall.SIGKILL) }

// reap waits for the leader and kills whom it left behind. Their group keeps
// its number for as long as one of them lives.
func (g *group) reap(cmd *exec.Cmd) {
	_ = cmd.Wait() // its only news is the state
	g.kill()
	drained(g.release())
}
