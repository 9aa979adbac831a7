package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"
)

// errProcessEnded is the cause when the process went by itself.
var errProcessEnded = errors.New("worker: process ended")

// ExitError says how a process that nobody told to end came to its end.
type ExitError struct {
	// State is what the operating system says.
	State *os.ProcessState
	// LastLine is the last line of its standard error that tells something.
	LastLine string
}

// Error implements error.
func (e *ExitError) Error() string {
	s := "worker: codec process ended"
	if e.State != nil {
		s = fmt.Sprintf("worker: codec process ended (%v)", e.State)
	}
	if e.LastLine != "" {
		s += ": " + e.LastLine
	}
	return s
}

// process is a started child with our ends of its pipes.
type process struct {
	cmd                   *exec.Cmd
	pid                   int
	stdin, stdout, stderr *os.File
	exited                chan *os.ProcessState // one value
}

// environment keeps the server's own variables, which may hold secrets, away
// from the process; what stays is what finding libraries and coverage data take.
func environment(extra []string) []string {
	env := []string{"GOMAXPROCS=2", "GOTRACEBACK=single"}
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GOCOVERDIR", "GORACE", "PATH", "SystemRoot"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}

func startProcess(o Options) (*process, error) {
	name := o.Executable
	if name == "" {
		var err error
		if name, err = self(); err != nil {
			return nil, err
		}
	}
	p := &process{cmd: exec.Command(name, o.Args...), exited: make(chan *os.ProcessState, 1)}
	p.cmd.Env = environment(o.Env)
	p.cmd.Dir = os.TempDir()
	confine(p.cmd)
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	pipe := func(toChild bool) (mine, other *os.File, err error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		mine, other = r, w
		if toChild {
			mine, other = w, r
		}
		theirs = append(theirs, other)
		widen(w)
		return mine, other, nil
	}
	var err error
	var in, out, errs *os.File
	if p.stdin, in, err = pipe(true); err == nil {
		if p.stdout, out, err = pipe(false); err == nil {
			p.stderr, errs, err = pipe(false)
		}
	}
	if err != nil {
		p.close()
		return nil, err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, errs

	started := make(chan error, 1)
	go func() {
		// The parent death signal belongs to the thread that forks: this one
		// must live as long as the child.
		confineThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // its only news is the state
			p.exited <- p.cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		p.close()
		return nil, err
	}
	p.pid = p.cmd.Process.Pid
	return p, nil
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

func (p *process) close() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// lastLine keeps what an ExitError quotes.
type lastLine struct{ text string }

// copyLog passes the process's standard error to the log, line by line, with
// a limit: a codec can complain about every macroblock.
func copyLog(r io.Reader, log *slog.Logger, tail *lastLine) {
	const burst, perSecond = 40, 2
	left, dropped, last := float64(burst), 0, time.Now()
	in := bufio.NewReaderSize(r, 4096)
	for {
		line, isPrefix, err := in.ReadLine()
		if err != nil {
			break
		}
		text := printable(line)
		for isPrefix && err == nil { // the rest of an endless line
			_, isPrefix, err = in.ReadLine()
		}
		if text == "" {
			continue
		}
		tail.note(text)
		now := time.Now()
		left = min(burst, left+now.Sub(last).Seconds()*perSecond)
		last = now
		if left < 1 {
			dropped++
			continue
		}
		left--
		if dropped > 0 {
			log.Warn("codec worker: lines left out", "count", dropped)
			dropped = 0
		}
		level := slog.LevelWarn
		if strings.HasPrefix(text, "[OpenH264]") && !strings.Contains(text, "Error") {
			level = slog.LevelDebug // it warns of its own defaults at each start
		}
		log.Log(context.Background(), level, "codec worker: "+text)
	}
	if dropped > 0 {
		log.Warn("codec worker: lines left out", "count", dropped)
	}
}

// note prefers the line that names a crash to the trace that follows it.
func (l *lastLine) note(text string) {
	for _, start := range []string{"fatal error:", "panic:", "SIG", "runtime:"} {
		if strings.HasPrefix(l.text, start) {
			return
		}
	}
	l.text = text
}
