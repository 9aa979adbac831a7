package mjpeg

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// camwireSilence is longer than the 15 s after which Camwire repeats a picture.
const camwireSilence = 20 * time.Second

// fruitless is after how many timeouts without a usable picture it does not
// help any more that there is data.
const fruitless = 3

// watchdog ends a request when nothing comes for too long, or nothing that is a
// picture. It is the body of the answer, too.
type watchdog struct {
	run   *run
	body  io.Reader
	limit atomic.Int64 // a time.Duration
	timer *time.Timer
}

// newWatchdog begins to watch. It ends with stop.
func newWatchdog(r *run, cancel context.CancelCauseFunc) *watchdog {
	d := &watchdog{run: r}
	d.limit.Store(int64(r.opts.Timeout))
	d.timer = time.AfterFunc(r.opts.Timeout, func() {
		cancel(fmt.Errorf("%w for %v", ErrSilent, d.patience()))
	})
	return d
}

func (d *watchdog) stop() { d.timer.Stop() }

func (d *watchdog) patience() time.Duration { return time.Duration(d.limit.Load()) }

// alive says that there was a sign of life.
func (d *watchdog) alive() { d.timer.Reset(d.patience()) }

// bePatient allows for a camera that repeats its last picture now and then. It
// takes effect with the next byte.
func (d *watchdog) bePatient() {
	d.limit.Store(max(d.limit.Load(), int64(camwireSilence)))
}

// Read reads the body.
func (d *watchdog) Read(p []byte) (int, error) {
	// Before and not after reading: with data, readers pass over an error.
	if err := d.fruitful(); err != nil {
		return 0, err
	}
	n, err := d.body.Read(p)
	if n > 0 {
		d.alive()
	}
	return n, err
}

// fruitful returns an error when there was data but no picture for too long.
func (d *watchdog) fruitful() error {
	limit := fruitless * max(d.patience(), d.run.interval)
	switch {
	case time.Since(d.run.lastGood) < limit:
		return nil
	case d.run.trouble == "":
		return fmt.Errorf("%w: it sends data, but no whole picture for %v", ErrNoPictures, limit)
	}
	return fmt.Errorf("%w: no picture that can be used for %v, %s", ErrNoPictures, limit, d.run.trouble)
}
