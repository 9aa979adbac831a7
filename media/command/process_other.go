//go:build !unix

package command

import (
	"os"
	"os/exec"
	"sync"
)

func lockThread() {}

func prepare(*exec.Cmd) {}

func widen(*os.File) {}

// group is the program alone: there are no process groups here.
type group struct {
	mu      sync.Mutex
	process *os.Process
}

func (g *group) open(p *os.Process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.process = p
}

func (g *group) terminate() { g.kill() }

func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.process != nil {
		_ = g.process.Kill()
	}
}

// reap waits for the program.
func (g *group) reap(cmd *exec.Cmd) {
	_ = cmd.Wait() // its only news is the state
	g.mu.Lock()
	g.process = nil
	g.mu.Unlock()
}
