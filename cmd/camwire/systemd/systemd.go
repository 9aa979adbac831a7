// Package systemd tells the service manager that started the program how it is
// (sd_notify(3)): that it is ready, that it stops, and, as long as a probe says
// so, that it is alive. Without such a manager it does nothing. What alive means
// is the caller's business.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// Notifier speaks to the service manager. The zero value speaks to nobody.
type Notifier struct {
	socket   string
	watchdog time.Duration
	log      *slog.Logger
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment.
// The error says what is wrong with them.
func New(getenv func(string) string, log *slog.Logger) (Notifier, error) {
	n := Notifier{socket: getenv("NOTIFY_SOCKET"), log: log}
	if n.socket == "" {
		return Notifier{}, nil
	}
	if n.socket[0] != '/' && n.socket[0] != '@' {
		return Notifier{}, fmt.Errorf("NOTIFY_SOCKET %q: it is a path, or begins with @", n.socket)
	}
	usec := getenv("WATCHDOG_USEC")
	if pid := getenv("WATCHDOG_PID"); usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil
	}
	us, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || us <= 0 || us > int64(365*24*time.Hour/time.Microsecond) {
		return n, fmt.Errorf("WATCHDOG_USEC %q: it is a number of microseconds", usec)
	}
	n.watchdog = time.Duration(us) * time.Microsecond
	return n, nil
}

// Ready tells that the program does its work from now on.
func (n Notifier) Ready(status string) { n.say("READY=1\nSTATUS=" + status) }

// Stopping tells that it ends.
func (n Notifier) Stopping() { n.say("STOPPING=1") }

func (n Notifier) say(state string) {
	if n.socket == "" {
		return
	}
	if err := n.send(state); err != nil {
		n.log.Warn("the service manager does not listen", "error", err)
	}
}

func (n Notifier) send(state string) error {
	// The name of an abstract socket begins with @ for net too.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return err
}

// Watch asks the probe three times in each period of the watchdog and passes on
// that all is well only when it says so. It returns when ctx is done, at once
// where nobody watches. A probe that hangs is no good news either: its context
// ends with its turn.
func (n Notifier) Watch(ctx context.Context, probe func(context.Context) error) {
	if n.watchdog == 0 {
		return
	}
	turn := n.watchdog / 3
	tick := time.NewTicker(turn)
	defer tick.Stop()
	for {
		pctx, cancel := context.WithTimeout(ctx, turn)
		err := probe(pctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Error("not alive: the service manager will restart the program if this goes on", "error", err)
		default:
			n.say("WATCHDOG=1")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
