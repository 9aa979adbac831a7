package audio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/worker"
)

const (
	// hopeless and hopelessFor are how many frames in a row, and for how long,
	// may be undecodable before the stream is given up.
	hopeless    = 50
	hopelessFor = 2 * time.Second
	// tellEvery is the least time between two words about bad frames.
	tellEvery = 10 * time.Second
)

// decode converts AAC. The camera's frames are fed by a goroutine of its own,
// so that what comes back is taken at once.
func (s *source) decode(ctx context.Context, t media.Track, sink media.Sink) error {
	if err := s.c.available(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	e, err := s.c.start(ctx, s.c.worker)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // never fails
	if err := e.SetInput(t); err != nil {
		return err
	}
	d := &decoding{packer: newPacker(sink)}
	var feeding sync.WaitGroup
	feeding.Go(func() {
		stop(s.read(ctx, t, func(f *media.Frame) error {
			err := e.FeedWait(ctx, f, true)
			if errors.Is(err, worker.ErrTooLarge) {
				return nil // no sound is that large: one frame is missing
			}
			return err
		}))
	})
	for r := range e.Results() {
		if err := d.take(r); err != nil {
			stop(err)
			break
		}
		if d.tell > 0 {
			s.c.log.Warn("sound that cannot be decoded is left out", "camera", s.parent.ID(), "count", d.tell, "reason", d.trouble)
			d.tell = 0
		}
	}
	// An end of the worker's own is told by its Err, which is final now; the
	// feeder meets the same one.
	if err := e.Err(); err != nil {
		stop(err)
	}
	feeding.Wait()
	return context.Cause(ctx)
}

// decoding puts what the worker says together.
type decoding struct {
	*packer
	pts, end time.Duration // of the newest block
	any      bool

	trouble error     // the newest
	bad     int       // frames since the last good one
	since   time.Time // when those began
	told    time.Time
	tell    int // frames that the log should hear of now
	untold  int
}

func (d *decoding) take(r worker.Result) error {
	if r.Err != nil {
		return d.note(r.Err, time.Now())
	}
	d.bad = 0
	if r.Kind != worker.OutputPCM || len(r.Units) != 1 {
		return nil
	}
	b := blockOf(r.Units[0], r.Rate, r.Channels)
	b.pts, b.captured = r.PTS, r.Captured
	if d.any && r.PTS == d.pts {
		// The second block of one frame.
		b.captured, b.pts = b.captured.Add(d.end-b.pts), d.end
	}
	d.any, d.pts, d.end = true, r.PTS, b.pts+span(b.frames(), b.rate)
	return d.add(b)
}

// note counts frames that could not be decoded.
func (d *decoding) note(err error, now time.Time) error {
	n := 1
	var t *worker.TroubleError
	if errors.As(err, &t) {
		n = max(t.Count, 1)
	}
	if d.bad == 0 {
		d.since = now
	}
	d.bad += n
	d.trouble = err
	if d.bad >= hopeless && now.Sub(d.since) >= hopelessFor {
		return fmt.Errorf("none of the last %d frames could be decoded: %w", d.bad, err)
	}
	d.untold += n
	if d.told.IsZero() || now.Sub(d.told) >= tellEvery {
		d.told, d.tell, d.untold = now, d.untold, 0
	}
	return nil
}
