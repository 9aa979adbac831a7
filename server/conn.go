package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Conn returns the connection that a request came by, nil where it is not
// known. It is for socket options: HTTP/2 shares it among requests.
func Conn(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

// timedBody takes the read deadline away at the end of the body: it is meant
// for the body, but would end the request's context as well.
type timedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF: // wrapped, it is a body that is cut off
		_ = b.rc.SetReadDeadline(time.Time{})
	case err != nil:
		err = &bodyError{err}
	}
	return n, err
}

// bodyError is a body that did not come as it should: its sender's fault, or
// that of the way.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }

func (e *bodyError) Unwrap() error { return e.err }

func (e *bodyError) slow() bool { return errors.Is(e.err, os.ErrDeadlineExceeded) }

func stack() string { return string(debug.Stack()) }

// tally counts running handlers, also those whose connection the HTTP server
// has given away and forgotten.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (t *tally) add(d int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n += d; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// wait waits until nothing runs, and reports false if ctx ends before.
func (t *tally) wait(ctx context.Context) bool {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return true
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
		return true
	case <-ctx.Done():
		return false
	}
}
