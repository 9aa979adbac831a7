package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
)

// errReplan ends a plan because the track list has changed.
var errReplan = errors.New("tracks changed")

// watch sends the camera for as long as there is one, whatever it turns into.
func (v *Viewer) watch(ctx context.Context) error {
	for {
		if _, err := v.lease.Hub().WaitTracks(ctx); err != nil {
			return err
		}
		ts, epoch := v.lease.Hub().Tracks()
		if err := v.follow(ctx, ts, epoch); !errors.Is(err, errReplan) {
			return err
		}
	}
}

// follow sends one epoch: what the browser can take as it is, the rest from the
// camera's derived stream.
func (v *Viewer) follow(ctx context.Context, ts media.Tracks, epoch uint32) error {
	p := plan{lease: v.lease, video: -1, audio: -1, epoch: epoch}
	v.setProblem(nil)
	if i := ts.Video(); i >= 0 && v.video != nil {
		if pt, ok := v.video.payloadType(ts[i]); ok {
			p.video, p.videoPT = i, pt
		} else if stop := v.transcoded(ctx, ts[i]); stop != nil {
			defer stop()
		}
	}
	if i := ts.Audio(); i >= 0 && v.audio != nil {
		if pt, ok := v.audio.payloadType(ts[i]); ok {
			p.audio, p.audioPT = i, pt
		} else if stop := v.converted(ctx, ts[i]); stop != nil {
			defer stop()
		}
	}
	return v.pump(ctx, p)
}

// transcoded sends the camera's H264 rendering beside the main pump. It
// returns the function that ends it, or nil.
func (v *Viewer) transcoded(ctx context.Context, t media.Track) func() {
	pt, ok := v.video.payloadType(media.Track{Codec: media.H264, ClockRate: 90000})
	if !ok {
		v.setProblem(fmt.Errorf("%w: the camera sends %s, the viewer takes neither that nor H264", ErrNoCodec, t.Codec))
		return nil
	}
	return v.derived(ctx, "h264", plan{video: 0, videoPT: pt, audio: -1}, v.setProblem)
}

// converted sends the camera's sound as Opus beside the main pump, where it is
// in a codec that WebRTC does not know. It returns the function that ends it,
// or nil.
func (v *Viewer) converted(ctx context.Context, t media.Track) func() {
	if t.Codec != media.AAC && t.Codec != media.L16 {
		return nil
	}
	pt, ok := v.audio.payloadType(media.Track{Codec: media.Opus, ClockRate: 48000, Channels: 2})
	if !ok {
		return nil
	}
	// Without sound there still is a picture: it is no problem of the viewer.
	return v.derived(ctx, "opus", plan{video: -1, audio: 0, audioPT: pt}, func(error) {})
}

// derived sends one of the camera's derived streams until the returned function
// is called; tell gets why there is none, or nil.
func (v *Viewer) derived(ctx context.Context, name string, p plan, tell func(error)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			lease, err := v.opts.Camera.LeaseDerived(name, "")
			tell(err)
			if err == nil {
				if _, err = lease.Hub().WaitTracks(ctx); err == nil {
					p.lease = lease
					err = v.pump(ctx, p)
				}
				lease.Release()
			}
			if pause(ctx, time.Second) != nil {
				return
			}
			v.srv.log.Debug("derived stream ended, again", "camera", v.opts.Camera.ID(), "stream", name, "error", err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// plan says which tracks of which stream go out under which payload types.
type plan struct {
	lease            *stream.Lease
	video, audio     int // track index, or -1
	videoPT, audioPT uint8
	epoch            uint32 // the plan ends when another begins; 0: it does not
}

// pump sends what the plan says. Where the video can follow the link, it may
// leave the video to the lower rung for a while.
func (v *Viewer) pump(ctx context.Context, p plan) error {
	// What a camera showed before it was lost is no live picture: who watches
	// would take it for one.
	st := p.lease.Stream().Info().State
	cur := p.lease.Hub().NewCursor(hub.CursorOptions{MaxLag: maxLag, Live: st == stream.Lost || st == stream.Failed})
	var low lowRung
	if p.video >= 0 {
		v.turn.reset()
		v.source.Store(p.lease.Stream())
		v.measure(p.lease)
		defer low.end()
	}
	var reported, asked time.Time
	sent, caughtUp := 0, true
	stats, replayed := v.lease.Reader(), true // until the cached pictures are sent
	for {
		f, err := cur.Try()
		if f == nil && err == nil {
			sent, caughtUp, replayed = 0, true, false
			f, err = cur.Next(ctx)
		}
		if err != nil {
			return err
		}
		if p.epoch != 0 && f.Epoch != p.epoch {
			return errReplan
		}
		now := time.Now()
		// A viewer whose link never carries the stream must not cost the
		// others a key frame twice a second.
		if cur.Behind() && caughtUp && now.Sub(asked) > askGap {
			asked, caughtUp = now, false
			p.lease.RequestKey()
		}
		t := cur.Tracks()[f.Track]
		switch f.Track {
		case p.video:
			v.choose(ctx, &low, p, now)
			if v.turn.isMain() && v.rewind.CompareAndSwap(true, false) && !f.Key && cur.Rewind() {
				continue
			}
			var went bool
			went, err = v.sendMain(f, t, p)
			if !went {
				break
			}
			sent += f.Size()
			if !replayed && err == nil {
				stats.Sent(f.Captured, cur.Skipped())
			}
		case p.audio:
			_, _, err = v.audio.write(f, t, p.audioPT)
		}
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		// Other errors are of this packet's way (no route for a moment):
		// ICE decides when the connection is gone.
		if err := spread(ctx, &sent); err != nil {
			return err
		}
		if now.Sub(reported) >= time.Second {
			reported = now
			v.sendReports(now)
			if p.video >= 0 {
				v.measure(p.lease)
				v.eachSecond(now)
			}
		}
	}
}

// spread pauses after a burst.
func spread(ctx context.Context, sent *int) error {
	if *sent <= burst {
		return nil
	}
	d := time.Duration(*sent) * 8 * time.Second / catchUp
	*sent = 0
	return pause(ctx, d)
}

func (v *Viewer) sendVideo(f *media.Frame, t media.Track, pt uint8, fresh bool) error {
	if fresh {
		v.video.newClock(f, t.ClockRate)
	}
	n, ts, err := v.video.write(f, t, pt)
	if n > 0 {
		v.mu.Lock()
		v.clock = Clock{RTP: ts, Rate: t.ClockRate, Captured: f.Captured}
		v.mu.Unlock()
	}
	return err
}
