// Package testsrc is the camera that is always there: a test picture with a
// moving ball, the wall-clock time for people, and the same time for programs
// (package clock), so that a first run shows something and the delay of every
// path through the server can be measured.
//
// It draws and paces. Encoding is the worker's business, supervision and
// retries are the registry's.
package testsrc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/worker"
)

// Limits of pictures that are encoded without a worker, so slowly that more
// would take a whole processor.
const (
	plainWidth, plainHeight = 640, 360
	plainFPS                = 10
)

const (
	// output is the ID of the one output that the worker has.
	output = 1
	// leastBitrate in bit/s is what the encoder is never held below.
	leastBitrate = 50_000
	// inFlight is how many pictures the worker may owe an answer for.
	inFlight = 2
)

// engine is the part of *worker.Worker that is used here.
type engine interface {
	SetInput(media.Track) error
	SetOutputs([]worker.Output) error
	Feed(f *media.Frame, want bool) error
	RequestKey(id uint32)
	SetBitrate(id uint32, bps int)
	Results() <-chan worker.Result
	Err() error
	Close() error
}

// Source is a media.Source, a media.KeyRequester and a media.BitrateSetter. It is used by one Run at
// a time; the other methods are for any goroutine.
type Source struct {
	opts      Options
	available func() error
	start     func(context.Context, worker.Options) (engine, error)

	mu     sync.Mutex
	engine engine // while a worker runs
	limit  int    // bit/s that the viewers' links carry; 0: enough
}

var (
	_ media.Source        = (*Source)(nil)
	_ media.KeyRequester  = (*Source)(nil)
	_ media.BitrateSetter = (*Source)(nil)
)

// New returns a test source; the error names the option that is bad.
func New(o Options) (*Source, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Source{
		opts: o, available: worker.Available,
		start: func(ctx context.Context, o worker.Options) (engine, error) { return worker.Start(ctx, o) },
	}, nil
}

// Run delivers pictures at a steady pace until ctx is done or the encoder
// fails. A frame's Captured is the instant that is drawn in it.
func (s *Source) Run(ctx context.Context, sink media.Sink) error {
	o := s.opts
	if o.Codec == "raw" {
		return s.runRaw(ctx, o, sink)
	}
	if err := s.available(); err != nil {
		o.Codec, o.FPS = "jpeg", min(o.FPS, plainFPS)
		if scale := min(float64(plainWidth)/float64(o.Width), float64(plainHeight)/float64(o.Height)); scale < 1 {
			o.Width = max(int(float64(o.Width)*scale), minSide) &^ 1
			o.Height = max(int(float64(o.Height)*scale), minSide) &^ 1
		}
		s.opts.Log.Warn("test picture: no codecs, so it is a small JPEG of few pictures per second",
			"width", o.Width, "height", o.Height, "fps", o.FPS, "reason", err)
		return s.runPlain(ctx, o, sink)
	}
	return s.runWorker(ctx, o, sink)
}

// RequestKey makes the next encoded picture a key frame.
func (s *Source) RequestKey() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil && s.opts.Codec == "h264" {
		s.engine.RequestKey(output)
	}
}

// SetBitrate holds the bit rate of h264 down; see media.BitrateSetter.
func (s *Source) SetBitrate(bps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = bps
	if s.engine != nil && s.opts.Codec == "h264" {
		s.engine.SetBitrate(output, s.bitrateLocked())
	}
}

// MaxBitrate returns the bit rate of the options, 0 for all but h264.
func (s *Source) MaxBitrate() int {
	switch {
	case s.opts.Codec != "h264":
		return 0
	case s.opts.Bitrate > 0:
		return s.opts.Bitrate
	}
	return defaultBitrate(s.opts)
}

// bitrateLocked returns the bit rate to encode with. The caller holds the lock.
func (s *Source) bitrateLocked() int {
	most := s.MaxBitrate()
	if s.limit <= 0 {
		return most
	}
	return min(max(s.limit, leastBitrate), most)
}

func (s *Source) track(o Options, c media.Codec) media.Track {
	return media.Track{Codec: c, ClockRate: 90000, Width: o.Width, Height: o.Height, FPS: o.FPS}
}

// runRaw delivers planes.
func (s *Source) runRaw(ctx context.Context, o Options, sink media.Sink) error {
	p, err := newPicture(o, caption(o))
	if err != nil {
		return err
	}
	sink.Start(media.Tracks{s.track(o, media.I420)})
	return pace(ctx, o.FPS, func(now time.Time, pts time.Duration) error {
		c := p.draw(now, pts)
		sink.Write(rawFrame(bytes.Clone(c.pix), c, now, pts))
		return nil
	})
}

// rawFrame makes a frame of three planes out of a copy of a canvas's pixels.
func rawFrame(pix []byte, c *canvas, now time.Time, pts time.Duration) *media.Frame {
	y, u, v := planes(pix, c.w, c.h)
	return &media.Frame{PTS: pts, Captured: now, Arrived: now, Key: true, Units: [][]byte{y, u, v}}
}

// runPlain encodes with the standard library.
func (s *Source) runPlain(ctx context.Context, o Options, sink media.Sink) error {
	p, err := newPicture(o, caption(o))
	if err != nil {
		return err
	}
	full := newCanvas(o.Width, o.Height)
	m := &image.YCbCr{
		Y: full.y, Cb: full.u, Cr: full.v, YStride: full.w, CStride: full.w / 2,
		SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, full.w, full.h),
	}
	luma, chroma := fullRange()
	sink.Start(media.Tracks{s.track(o, media.JPEG)})
	return pace(ctx, o.FPS, func(now time.Time, pts time.Duration) error {
		c := p.draw(now, pts)
		expand(full.y, c.y, luma)
		expand(full.u, c.u, chroma)
		expand(full.v, c.v, chroma)
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: o.Quality}); err != nil {
			return fmt.Errorf("test picture: %w", err)
		}
		sink.Write(&media.Frame{PTS: pts, Captured: now, Key: true, Units: [][]byte{b.Bytes()}})
		return nil
	})
}

// fullRange returns the tables from limited to full range: JPEG (JFIF) knows
// full range only.
func fullRange() (luma, chroma [256]byte) {
	clamp := func(v float64) byte { return byte(math.Round(min(max(v, 0), 255))) }
	for i := range 256 {
		luma[i] = clamp((float64(i) - 16) * 255 / 219)
		chroma[i] = clamp(128 + (float64(i)-128)*255/224)
	}
	return luma, chroma
}

func expand(dst, src []byte, table [256]byte) {
	for i, v := range src {
		dst[i] = table[v]
	}
}

// runWorker encodes in a worker process.
func (s *Source) runWorker(ctx context.Context, o Options, sink media.Sink) error {
	p, err := newPicture(o, caption(o))
	if err != nil {
		return err
	}
	out := worker.Output{ID: output, Kind: worker.OutputJPEG, Quality: o.Quality}
	track := s.track(o, media.JPEG)
	if o.Codec == "h264" {
		out = worker.Output{ID: output, Kind: worker.OutputH264, FPS: min(o.FPS, 60), Bitrate: s.MaxBitrate(), GOP: o.GOP}
		track = s.track(o, media.H264)
	}
	o.Worker.InFlight = inFlight
	asked := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w, err := s.start(ctx, o.Worker)
	if err != nil {
		return fmt.Errorf("test picture: %w", err)
	}
	delivered := make(chan struct{})
	defer func() { <-delivered }()
	defer func() {
		s.setEngine(nil)
		if err := w.Close(); err != nil {
			s.opts.Log.Debug("test picture: encoder closed", "reason", err)
		}
	}()
	go func() {
		defer close(delivered)
		defer stop() // the worker is gone
		s.deliver(w, track, sink)
	}()
	if err := w.SetInput(s.track(o, media.I420)); err != nil {
		return fmt.Errorf("test picture: %w", err)
	}
	if err := w.SetOutputs([]worker.Output{out}); err != nil {
		return fmt.Errorf("test picture: %w", err)
	}
	s.setEngine(w)
	err = s.feed(ctx, w, o.FPS, p)
	if asked.Err() != nil {
		return nil
	}
	if e := w.Err(); e != nil {
		err = e
	}
	return fmt.Errorf("test picture: encoder: %w", err)
}

// feed draws for the worker. A frame may not change while the worker has it;
// no more than inFlight are unanswered, so that many buffers serve for ever,
// with one to draw into and one whose answer may be on its way.
func (s *Source) feed(ctx context.Context, w engine, fps float64, p *picture) error {
	var buffers [inFlight + 2][]byte
	fed := 0
	return pace(ctx, fps, func(now time.Time, pts time.Duration) error {
		c := p.draw(now, pts)
		b := &buffers[fed%len(buffers)]
		*b = append((*b)[:0], c.pix...)
		err := w.Feed(rawFrame(*b, c, now, pts), true)
		if errors.Is(err, worker.ErrBusy) {
			return nil // this picture is lost, the next one will be newer
		}
		fed++
		return err
	})
}

func (s *Source) setEngine(e engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine = e
	if e != nil && s.opts.Codec == "h264" && s.limit > 0 {
		e.SetBitrate(output, s.bitrateLocked())
	}
}

// deliver passes on what the worker makes until the worker is gone.
func (s *Source) deliver(w engine, track media.Track, sink media.Sink) {
	started := false
	for r := range w.Results() {
		if r.Err != nil {
			s.opts.Log.Warn("test picture: encoder has trouble", "reason", r.Err)
			continue
		}
		if !started && !r.Key {
			continue
		}
		if !started {
			started = true
			if track.Codec == media.H264 && len(r.Units) > 2 {
				track.Params = r.Units[:2]
			}
			sink.Start(media.Tracks{track})
		}
		sink.Write(&media.Frame{PTS: r.PTS, Captured: r.Captured, Key: r.Key, Units: r.Units})
	}
}

// defaultBitrate gives 2.5 Mbit/s at 1280x720 and 30 fps.
func defaultBitrate(o Options) int {
	pixels := float64(o.Width*o.Height) / (1280 * 720)
	bps := 2.5e6 * math.Pow(pixels, 0.85) * math.Sqrt(min(o.FPS, 60)/30)
	return int(min(max(bps, 200_000), 20e6))
}

// pace calls frame at a steady rate until ctx is done, which is no error, or
// frame fails. The n-th call is due n/fps after the first one, whatever the
// earlier ones took, so that nothing adds up; those that were missed are left
// out. Now is a whole millisecond, since that is what a picture shows.
func pace(ctx context.Context, fps float64, frame func(now time.Time, pts time.Duration) error) error {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		now := time.Now()
		now = now.Add(-time.Duration(now.Nanosecond() % int(time.Millisecond)))
		if err := frame(now, at(n, fps)); err != nil {
			return err
		}
		n = max(n+1, int(time.Since(start).Seconds()*fps))
		timer.Reset(time.Until(start.Add(at(n, fps))))
	}
}

func at(n int, fps float64) time.Duration {
	return time.Duration(float64(n) / fps * float64(time.Second))
}
