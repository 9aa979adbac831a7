//go:build cgo

package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"camwire/media/libav"
)

// Available says why no worker can run: a build without cgo, or libraries of
// another version than the program was built with.
func Available() error {
	if err := libav.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// Main is the child process's main function, for the hidden sub-command that
// Options.Args names. It speaks the protocol over in and out until in ends,
// and gives up the process's rights for good. ctx ends it at the next message.
// Interrupt and terminate signals are ignored: the parent decides.
func Main(ctx context.Context, in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	if err := libav.Check(); err != nil {
		return err
	}
	s := newServer(in, out)
	defer s.close()
	if err := s.greet(); err != nil {
		return err
	}
	libav.Setup(s.limits.MaxMemory / 2)
	debug.SetMemoryLimit(s.limits.MaxMemory / 2)
	if err := sandbox(s.limits.MaxMemory); err != nil {
		// Old kernels and foreign systems: the process boundary still stands.
		fmt.Fprintln(os.Stderr, "codec worker runs without its sandbox:", err)
	}
	if err := s.ready(); err != nil {
		return err
	}
	return s.serve(ctx)
}

// server is the child's side of the protocol. It has no goroutines: a message
// is handled to its end before the next is read.
type server struct {
	in     *bufio.Reader
	out    *bufio.Writer
	buf    []byte
	limits hello
	pipe   *pipeline
}

func newServer(in io.Reader, out io.Writer) *server {
	return &server{in: bufio.NewReaderSize(in, 64<<10), out: bufio.NewWriterSize(out, 64<<10)}
}

func (s *server) close() {
	if s.pipe != nil {
		s.pipe.close()
	}
}

// greet reads the limits.
func (s *server) greet() error {
	_, p, err := readMessage(s.in, func(t byte) int {
		if t == msgHello {
			return 64
		}
		return -1
	}, nil)
	if err != nil {
		return err
	}
	if s.limits, err = parseHello(p); err != nil {
		return err
	}
	s.pipe = newPipeline(s.limits.MaxPixels, func(m message) error { return m.writeTo(s.out) })
	return nil
}

func (s *server) ready() error {
	if err := readyMessage(libav.Versions()).writeTo(s.out); err != nil {
		return err
	}
	return s.out.Flush()
}

func (s *server) limit(typ byte) int {
	switch typ {
	case msgFrame:
		// YUYV has two bytes per pixel.
		return max(MaxUnit, 2*s.limits.MaxPixels+4*MaxSide) + 4*maxUnits + 64
	case msgInput, msgOutputs, msgKey, msgBitrate:
		return maxSmall
	}
	return -1
}

func (s *server) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		typ, p, err := readMessage(s.in, s.limit, s.buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.handle(typ, p); err != nil {
			return err
		}
		if err := s.out.Flush(); err != nil {
			return err
		}
		if cap(p) > cap(s.buf) {
			s.buf = p[:0]
		}
	}
	return context.Cause(ctx)
}

func (s *server) handle(typ byte, p []byte) error {
	switch typ {
	case msgInput:
		t, err := parseInput(p)
		if err != nil {
			return err
		}
		s.pipe.setInput(t)
	case msgOutputs:
		list, err := parseOutputs(p)
		if err != nil {
			return err
		}
		s.pipe.setOutputs(list)
	case msgKey:
		id, err := parseKey(p)
		if err != nil {
			return err
		}
		s.pipe.requestKey(id)
	case msgBitrate:
		id, bps, err := parseBitrate(p)
		if err != nil {
			return err
		}
		s.pipe.setBitrate(id, bps)
	default:
		f, err := parsePacket(p)
		if err != nil {
			return err
		}
		if err := s.pipe.frame(f); err != nil {
			return err
		}
		return doneMessage(f.ID).writeTo(s.out)
	}
	return nil
}
