package systemd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// manager is the other end.
func manager(t *testing.T) (string, func() string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return name, func() string {
		t.Helper()
		b := make([]byte, 1024)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func environment(kv ...string) func(string) string {
	return func(k string) string {
		for _, e := range kv {
			if v, ok := strings.CutPrefix(e, k+"="); ok {
				return v
			}
		}
		return ""
	}
}

func TestNotify(t *testing.T) {
	name, next := manager(t)
	n, err := New(environment("NOTIFY_SOCKET="+name, "WATCHDOG_USEC=60000"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n.Ready("3 cameras")
	if got := next(); got != "READY=1\nSTATUS=3 cameras" {
		t.Errorf("%q", got)
	}
	// A probe that fails and one that hangs are silent; the third is well.
	ctx, cancel := context.WithCancel(t.Context())
	var turns atomic.Int32
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		n.Watch(ctx, func(ctx context.Context) error {
			switch turns.Add(1) {
			case 1:
				return errors.New("ill")
			case 2:
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
	}()
	if got := next(); got != "WATCHDOG=1" || turns.Load() < 3 {
		t.Errorf("%q after %d turns", got, turns.Load())
	}
	cancel()
	<-watched
	n.Stopping()
	for got := next(); got != "STOPPING=1"; got = next() {
		if got != "WATCHDOG=1" {
			t.Errorf("%q", got)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	for _, env := range [][]string{nil, {"NOTIFY_SOCKET=/nothing/here"}, {"NOTIFY_SOCKET=/nothing/here", "WATCHDOG_USEC=1000", "WATCHDOG_PID=1"}} {
		n, err := New(environment(env...), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Error(err)
		}
		n.Ready("")
		n.Watch(t.Context(), func(context.Context) error { t.Error("asked for nobody"); return nil })
		n.Stopping()
	}
	for _, env := range [][]string{{"NOTIFY_SOCKET=relative"}, {"NOTIFY_SOCKET=/x", "WATCHDOG_USEC=soon"}, {"NOTIFY_SOCKET=/x", "WATCHDOG_USEC=-1"}} {
		if _, err := New(environment(env...), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%v is taken", env)
		}
	}
}
