package transcode

import (
	"context"
	"errors"
	"sync"
	"time"

	"camwire/media"
)

// lowCheck is how often it is looked whether the publisher has changed.
const lowCheck = 500 * time.Millisecond

// lowOutput is the source of the derived stream for narrow links: the
// publisher's own smaller rendering where there is one, else an encode in half
// the width, by the worker that decodes the camera anyway.
type lowOutput struct {
	h264Output

	mu  sync.Mutex
	own media.Source // the publisher's, while it is handed on
}

var (
	_ media.Source        = (*lowOutput)(nil)
	_ media.KeyRequester  = (*lowOutput)(nil)
	_ media.BitrateSetter = (*lowOutput)(nil)
)

// Run delivers until ctx is done or it fails.
func (o *lowOutput) Run(ctx context.Context, sink media.Sink) error {
	for {
		own := o.parent.Low()
		err := o.runOne(ctx, own, sink)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, errOtherWay):
			return err
		}
	}
}

// runOne delivers from one of the two for as long as it is the right one.
func (o *lowOutput) runOne(ctx context.Context, own media.Source, sink media.Sink) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop(nil)
	watch.Go(func() {
		t := time.NewTicker(lowCheck)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if o.parent.Low() != own {
					stop(errOtherWay)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	o.setOwn(own)
	defer o.setOwn(nil)
	var err error
	if own != nil {
		err = own.Run(ctx, sink)
	} else {
		err = o.h264Output.Run(ctx, sink)
	}
	if cause := context.Cause(ctx); errors.Is(cause, errOtherWay) {
		return cause
	}
	return err
}

func (o *lowOutput) setOwn(s media.Source) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.own = s
}

// RequestKey makes the next frame a key frame.
func (o *lowOutput) RequestKey() {
	o.mu.Lock()
	own := o.own
	o.mu.Unlock()
	if own == nil {
		o.h264Output.RequestKey()
	} else if k, ok := own.(media.KeyRequester); ok {
		k.RequestKey()
	}
}

// MaxBitrate implements media.BitrateSetter. What the publisher sends is its own
// decision.
func (o *lowOutput) MaxBitrate() int {
	if o.parent.Low() != nil {
		return 0
	}
	return o.h264Output.MaxBitrate()
}
