package command

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// errIdle says that nothing came for a moment.
var errIdle = errors.New("idle")

// blockSize is what buffers are multiples of: the pages of a pipe, the blocks
// of stdio, Python and ffmpeg.
const blockSize = 4096

// file is the part of *os.File that is used here.
type file interface {
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
}

// pipe is a program's output. It watches that something comes, and knows about
// bursts. It is for one goroutine.
type pipe struct {
	file    file
	silence time.Duration
	begun   time.Time // when the pipe was made
	head    []byte    // read already, to be read again
	at      time.Time // the last read that brought something
	burst   int       // bytes since the pipe was last found empty
	good    time.Time // the last picture
	trouble string    // what was wrong with the last one that was dropped
}

func newPipe(f file, silence time.Duration) *pipe {
	now := time.Now()
	return &pipe{file: f, silence: silence, begun: now, at: now, good: now}
}

// Read reads what comes next.
func (p *pipe) Read(b []byte) (int, error) { return p.read(b, 0) }

// read waits for idle and then returns errIdle; with 0 it waits for as long as
// the program may be silent.
func (p *pipe) read(b []byte, idle time.Duration) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	began := time.Now()
	if limit := fruitless * p.silence; began.Sub(p.good) > limit {
		why := "no whole picture in it"
		if p.trouble != "" {
			why = p.trouble
		}
		return 0, fmt.Errorf("%w: there is output, but nothing that can be shown for %v: %s", ErrFormat, limit, why)
	}
	deadline := p.at.Add(p.silence)
	if idle > 0 && began.Add(idle).Before(deadline) {
		deadline = began.Add(idle)
	} else {
		idle = 0
	}
	if err := p.file.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := p.file.Read(b)
	now := time.Now()
	if n > 0 {
		if now.Sub(began) >= idleAfter {
			p.burst = 0 // it had to be waited for
		}
		p.burst += n
		p.at = now
		return n, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if idle > 0 {
			p.burst = 0
			return 0, errIdle
		}
		return 0, fmt.Errorf("%w for %v", ErrSilent, p.silence)
	}
	return 0, err
}

// torn reports whether the output seems to have been cut by somebody's buffer,
// so that more of the same frame must be on its way: whoever writes less than
// its buffer holds seldom writes whole blocks.
func (p *pipe) torn() bool { return p.burst%blockSize == 0 }
