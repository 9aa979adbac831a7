package command

import (
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is a running program with our ends of its pipes.
type process struct {
	cmd            *exec.Cmd
	pid            int
	stdout, stderr *os.File
	group          group
	exited         chan struct{}    // closed when it is gone
	state          *os.ProcessState // after exited
}

// start runs the program. Its standard input is the null device.
func start(o Options) (*process, error) {
	p := &process{cmd: exec.Command(o.Argv[0], o.Argv[1:]...), exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = o.Dir, environment(os.Environ(), o.Env)
	prepare(p.cmd)
	stdout, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	stderr, errs, err := os.Pipe()
	if err != nil {
		stdout.Close()
		return nil, err
	}
	defer errs.Close()
	widen(out)
	p.stdout, p.stderr, p.cmd.Stdout, p.cmd.Stderr = stdout, stderr, out, errs

	started := make(chan error, 1)
	go func() {
		defer close(p.exited)
		// The signal at a parent's death belongs to the thread that forks:
		// this one must live as long as the program.
		lockThread()
		err := p.cmd.Start()
		if err == nil {
			p.pid = p.cmd.Process.Pid
			p.group.open(p.cmd.Process)
		}
		started <- err
		if err == nil {
			p.group.reap(p.cmd)
			p.state = p.cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		<-p.exited
		stdout.Close()
		stderr.Close()
		return nil, err
	}
	return p, nil
}

// environment leaves out what Camwire was told in confidence.
func environment(own, extra []string) []string {
	env := make([]string, 0, len(own)+len(extra))
	for _, v := range own {
		if !strings.HasPrefix(v, "CAMWIRE_") {
			env = append(env, v)
		}
	}
	return append(env, extra...)
}

// wait waits for the end of the program, and reports whether it came.
func (p *process) wait(atMost time.Duration) bool {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
	}
	// After a pause of the whole machine both may have come.
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// stop tells the program and its children to end, kills those that do not, and
// returns when they are gone.
func (p *process) stop(grace time.Duration) {
	p.group.terminate()
	if !p.wait(grace) {
		p.group.kill()
		<-p.exited
	}
}
