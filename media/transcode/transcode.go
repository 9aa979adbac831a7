// Package transcode makes the streams that are derived from a camera's own:
// JPEG pictures in any size, and H.264 that every WebRTC viewer can show.
//
// A derived stream is a media.Source that leases its camera while it runs. One
// worker process decodes each picture of a camera once, however many derived
// streams are made of it: a stage owns that process and is shared by the
// outputs, which come and go. The first output starts it, the last one stops
// it. JPEG that nobody wants smaller passes through and needs no stage at all.
//
// What a picture becomes is the worker's business; who watches is the
// registry's. Viewers, HTTP and WebRTC do not belong here.
package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"camwire/media"
	"camwire/media/stream"
	"camwire/media/worker"
)

// H264Name is the name of the derived stream in H.264 constrained baseline.
const H264Name = "h264"

const jpegName = "jpeg"

// JPEGName returns the name of the derived stream that has the camera's
// pictures as JPEG, at most width pixels wide (0: as the camera has them) and
// with the given quality (1 to 100; 0: as the camera is set up).
func JPEGName(width, quality int) string {
	if width <= 0 && quality <= 0 {
		return jpegName
	}
	return fmt.Sprintf("%s-%d-%d", jpegName, max(width, 0), max(quality, 0))
}

// Options of a Transcoder.
type Options struct {
	Log *slog.Logger
	// Worker says how the codec processes are run.
	Worker worker.Options
	// MaxStages bounds the cameras that are decoded at a time, each by a
	// process of its own; default 64.
	MaxStages int
}

// ErrBusy refuses one camera more than may be decoded at a time.
var ErrBusy = errors.New("as many cameras are being decoded as this server takes: close some views, or use the camera's own video")

// Stats count since the Transcoder was made, except where they say now.
type Stats struct {
	Stages   int    // cameras that are being decoded now
	Workers  uint64 // processes started
	Fed      uint64 // frames that were handed to a worker
	Pictures uint64 // pictures and H.264 frames that came back
	Passed   uint64 // JPEG pictures that were passed through
}

// Transcoder makes derived streams. It is for any goroutine; it holds nothing
// that would have to be closed once its sources have returned.
type Transcoder struct {
	log       *slog.Logger
	worker    worker.Options
	most      int // stages
	available func() error
	start     func(context.Context, worker.Options) (engine, error)

	mu     sync.Mutex
	stages map[*stream.Stream]*stage

	workers, fed, pictures, passed atomic.Uint64
}

// engine is the part of *worker.Worker that is used here.
type engine interface {
	SetInput(media.Track) error
	SetOutputs([]worker.Output) error
	FeedWait(ctx context.Context, f *media.Frame, want bool) error
	RequestKey(id uint32)
	Results() <-chan worker.Result
	Err() error
	Close() error
}

// New returns a Transcoder.
func New(o Options) *Transcoder {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxStages <= 0 {
		o.MaxStages = 64
	}
	return &Transcoder{
		log: o.Log, worker: o.Worker, most: o.MaxStages, stages: map[*stream.Stream]*stage{},
		available: worker.Available,
		start:     func(ctx context.Context, o worker.Options) (engine, error) { return worker.Start(ctx, o) },
	}
}

// Derive returns the source of the parent's derived stream of that name; it
// fits stream.Config. The source is also a media.KeyRequester and a
// media.BitrateSetter where it delivers H.264.
func (t *Transcoder) Derive(parent *stream.Stream, name string) (media.Source, error) {
	switch name {
	case H264Name:
		return &h264Output{output{t: t, parent: parent, name: name, h264: true}}, nil
	case stream.LowName:
		return &lowOutput{h264Output: h264Output{output{t: t, parent: parent, name: name, h264: true, half: true}}}, nil
	}
	width, quality, err := parseJPEGName(name)
	if err != nil {
		return nil, err
	}
	return &jpegOutput{output{t: t, parent: parent, name: name, width: width, quality: quality}}, nil
}

// Stats returns the counters.
func (t *Transcoder) Stats() Stats {
	t.mu.Lock()
	n := len(t.stages)
	t.mu.Unlock()
	return Stats{
		Stages: n, Workers: t.workers.Load(), Fed: t.fed.Load(),
		Pictures: t.pictures.Load(), Passed: t.passed.Load(),
	}
}

// parseJPEGName takes what JPEGName makes and nothing else, so that one thing
// has one name and is made once.
func parseJPEGName(name string) (width, quality int, err error) {
	if name == jpegName {
		return 0, 0, nil
	}
	w, q, ok := strings.Cut(strings.TrimPrefix(name, jpegName+"-"), "-")
	width, errW := strconv.Atoi(w)
	quality, errQ := strconv.Atoi(q)
	if !ok || errW != nil || errQ != nil || JPEGName(width, quality) != name {
		return 0, 0, fmt.Errorf("there is no derived stream %q: it is %q, %q, %q or %q",
			name, jpegName, jpegName+"-<width>-<quality>", H264Name, stream.LowName)
	}
	if width > worker.MaxSide || quality > 100 {
		return 0, 0, fmt.Errorf("derived stream %q: width is at most %d and quality at most 100", name, worker.MaxSide)
	}
	return width, quality, nil
}
