// Package command makes a camera of a program's output: JPEG pictures, H.264 or
// H.265 as a byte stream (Annex B), or MPEG-TS with H.264 or H.265 and AAC or
// Opus. Which of these it is tell the first bytes.
//
// It starts the program, reads it, and ends it with all its children. It does
// not start it again (package stream does), knows no shell, and must never be
// given a command that did not come from the operator's own file.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"camwire/media"
)

// Limits of what a program may deliver.
const (
	// maxUnit is the size of the largest access unit or picture in bytes.
	maxUnit = 16 << 20
	// maxHead is how many bytes may come before it is known what they are.
	maxHead = 1 << 20
	// fruitless is after how many times of Options.Silence without a
	// picture it does not help any more that there is data.
	fruitless = 3
)

// Pauses at the end of a program.
const (
	// drainFor is how long the rest of the output is waited for when the
	// program is gone; something that left its process group may hold it open.
	drainFor = time.Second
	// exitFor is how long a program that has closed its output may take to
	// say with which status it ends. It costs only the one that goes on running;
	// of the others none must be taken for it on a busy machine.
	exitFor = 2 * time.Second
)

// Reasons why a source fails. Every error of Source.Run wraps one of them.
var (
	ErrStart    = errors.New("cannot be started")
	ErrEnded    = errors.New("ended")
	ErrSilent   = errors.New("no output")
	ErrFormat   = errors.New("output not understood")
	ErrTooLarge = errors.New("picture too large")
)

// Options of a Source.
type Options struct {
	// Argv is the program, looked for in PATH unless it holds a slash, and
	// its arguments. No shell sees them.
	Argv []string
	// Dir is where it runs; default the working directory.
	Dir string
	// Env is added to the environment, as KEY=value. The program sees
	// Camwire's own without the variables that begin with CAMWIRE_: they may
	// hold secrets.
	Env []string
	// Silence is how long no byte may come before the program counts as
	// hanging; default 10 s. Without any picture it is three times that.
	Silence time.Duration
	// Grace is how long the program may take to end when it is told to,
	// before it is killed; default 2 s.
	Grace time.Duration
	// Log; default none.
	Log *slog.Logger
}

// Stats counts what a Source did since it was made.
type Stats struct {
	Frames  uint64 // passed on
	Dropped uint64 // pictures that were cut off, broken or too large, and parts of streams that could not be read
}

// Source runs one program. It is a media.Source; Run may be called again when
// it has returned.
type Source struct {
	opts Options
	name string

	frames, dropped atomic.Uint64
}

var _ media.Source = (*Source)(nil)

// New checks the options. It does not look for the program: that may come
// later.
func New(o Options) (*Source, error) {
	if len(o.Argv) == 0 || o.Argv[0] == "" {
		return nil, errors.New("exec: lacks a program, write source: { exec: [program, argument] }")
	}
	if o.Silence <= 0 {
		o.Silence = 10 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{opts: o, name: filepath.Base(o.Argv[0])}, nil
}

// Stats returns the counters. It may be called from any goroutine.
func (s *Source) Stats() Stats {
	return Stats{Frames: s.frames.Load(), Dropped: s.dropped.Load()}
}

// Error is a program that failed.
type Error struct {
	Program string
	Reason  error    // one of the Err values of this package
	Text    string   // what happened
	Stderr  []string // the last lines of its standard error, secrets masked
	Cause   error    // may be nil
}

// Error names the program, what it did, and its last words.
func (e *Error) Error() string {
	s := fmt.Sprintf("exec %q: %s", e.Program, e.Text)
	if len(e.Stderr) > 0 {
		s += ": " + strings.Join(e.Stderr, " | ")
	}
	return s
}

// Unwrap gives errors.Is both the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// Run starts the program and passes on what it delivers until ctx is done,
// which returns nil, or the program fails, which returns an *Error. When it
// returns, the program and all that it started are gone, except for what has
// left its process group.
func (s *Source) Run(ctx context.Context, sink media.Sink) error {
	p, err := start(s.opts)
	if err != nil {
		return s.cannotStart(err)
	}
	s.opts.Log.Debug("program started", "program", s.name, "pid", p.pid)
	var (
		wg       sync.WaitGroup
		words    tail
		consumed = make(chan struct{})
	)
	wg.Go(func() { words.readFrom(p.stderr) })
	wg.Go(func() {
		// To close its end is the only way out of a read that lasts.
		defer p.stdout.Close()
		select {
		case <-ctx.Done():
			return
		case <-consumed:
			return
		case <-p.exited:
		}
		timer := time.NewTimer(drainFor)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-consumed:
		case <-timer.C:
		}
	})
	ended := false
	cleanUp := func() {
		if ended {
			return
		}
		ended = true
		close(consumed)
		p.stop(s.opts.Grace)
		_ = p.stderr.SetReadDeadline(time.Now().Add(drainFor))
		wg.Wait()
		_ = p.stderr.Close()
	}
	defer cleanUp() // also when a parser panics

	err = s.consume(newPipe(p.stdout, s.opts.Silence), sink)
	itself := false
	if over(err) && ctx.Err() == nil {
		itself = p.wait(exitFor)
	}
	cleanUp()
	if ctx.Err() != nil {
		return nil
	}
	return s.explain(err, itself, p.state, words.lines())
}

// over reports whether an error is the end of the output.
func over(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed)
}

func (s *Source) cannotStart(err error) error {
	e := &Error{Program: s.name, Reason: ErrStart, Cause: err}
	switch {
	case errors.Is(err, exec.ErrDot):
		e.Text = fmt.Sprintf("%v: write ./%s if the one in the working directory is meant", ErrStart, s.name)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		e.Text = "not found: install it, or write its full path"
		if s.opts.Dir != "" {
			e.Text += fmt.Sprintf(" (it would run in %q)", s.opts.Dir)
		}
	case errors.Is(err, os.ErrPermission):
		e.Text = "may not be run: is the file executable?"
	default:
		e.Text = fmt.Sprintf("%v: %v", ErrStart, err)
	}
	return e
}

// explain says why the run is over. Itself tells that the program ended without
// being told to.
func (s *Source) explain(err error, itself bool, state *os.ProcessState, lines []string) error {
	e := &Error{Program: s.name, Reason: ErrFormat, Cause: err, Stderr: lines, Text: err.Error()}
	switch {
	case over(err) && itself:
		e.Reason, e.Text = ErrEnded, "ended (exit status 0)"
		if state != nil && !state.Success() {
			e.Text = state.String()
		}
	case over(err):
		e.Reason, e.Text = ErrEnded, "closed its standard output but went on running"
	case errors.Is(err, ErrSilent):
		e.Reason = ErrSilent
	case errors.Is(err, ErrTooLarge):
		e.Reason = ErrTooLarge
	}
	return e
}

// consume passes on what comes out of the pipe until that ends, which is always
// an error.
func (s *Source) consume(p *pipe, sink media.Sink) error {
	f, err := p.sniff()
	if err != nil {
		return err
	}
	s.opts.Log.Debug("program delivers", "program", s.name, "format", f.String())
	out := &emitter{source: s, sink: sink, pipe: p, begun: p.begun}
	switch f {
	case formatJPEG:
		return out.jpeg()
	case formatTS:
		return out.transport()
	default:
		return out.annexB(f == formatH265)
	}
}

// emitter hands frames to a sink.
type emitter struct {
	source *Source
	sink   media.Sink
	pipe   *pipe
	begun  time.Time
	newest time.Duration // what stamp gave out
}

// tick is the least distance of two pictures: one unit of the RTP clock.
const tick = time.Second/90000 + 1

// stamp makes a PTS of a time of arrival. Pictures that came in one go are one
// tick apart, so that none of them runs back.
func (e *emitter) stamp(at time.Time) time.Duration {
	e.newest = max(at.Sub(e.begun), e.newest+tick)
	return e.newest
}

// write passes on a frame. Arrived must be set.
func (e *emitter) write(f *media.Frame, video bool) {
	if video {
		e.pipe.good = f.Arrived
	}
	e.source.frames.Add(1)
	e.sink.Write(f)
}

// drop counts something that could not be passed on, and why.
func (e *emitter) drop(n uint64, why string) {
	e.pipe.trouble = why
	e.source.dropped.Add(n)
}
