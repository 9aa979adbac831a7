package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"

	"camwire/media/stream"
	"camwire/server/rtsp"
)

// farCamera is an IP camera in another place: an RTSP server that wants user
// and password.
type farCamera struct {
	addr       string
	user, pass string
	registry   *stream.Registry
	once       sync.Once
	cancel     context.CancelFunc
	ended      chan error
}

var errWrongPassword = errors.New("wrong password")

// runFar runs such a server until off is called or the test ends; port 0 takes
// any.
func runFar(t *testing.T, port int, user, pass string) *farCamera {
	t.Helper()
	f := &farCamera{user: user, pass: pass, registry: stream.New(stream.Config{}), ended: make(chan error, 1)}
	var log logBuffer
	s, err := rtsp.New(rtsp.Options{
		Address: fmt.Sprintf("127.0.0.1:%d", port), Registry: f.registry,
		Authorize: func(_ context.Context, _ net.Addr, u, p, _, _, _ string) error {
			if u != user || p != pass {
				return errWrongPassword
			}
			return nil
		},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() { f.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		f.off()
		if t.Failed() {
			t.Logf("log of the far camera:\n%s", log.tail())
		}
	})
	if s.Addr() == nil {
		t.Fatal("the far camera does not listen")
	}
	f.addr = s.Addr().String()
	return f
}

func (f *farCamera) port(t *testing.T) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

// url is where the camera is watched and published.
func (f *farCamera) url(path string) string {
	return fmt.Sprintf("rtsp://%s:%s@%s/%s", f.user, f.pass, f.addr, path)
}

// off pulls the plug.
func (f *farCamera) off() {
	f.once.Do(func() {
		f.cancel()
		<-f.ended
		f.registry.Close()
	})
}
