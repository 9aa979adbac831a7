// Package images makes a camera of picture files: a list of them shown one
// after the other (Loop), or the newest of a folder in which pictures arrive
// (Watch).
//
// Its files are the operator's own, named in the configuration; that is why it
// decodes PNG here and not in a worker. It follows no folder into its
// sub-folders, writes nothing, and fetches nothing from elsewhere.
package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"camwire/media"
)

// ErrNoPicture is wrapped by errors that say that there is nothing to show.
var ErrNoPicture = errors.New("no picture that can be shown")

// DefaultFPS is the pace of a Loop in pictures per second.
const DefaultFPS = 10

// Options of a Loop.
type Options struct {
	// Pattern names the files as filepath.Match does, or a folder, which
	// means all .jpg, .jpeg and .png files in it.
	Pattern string
	// FPS is how many pictures are shown per second, above 0 to 60; default
	// DefaultFPS.
	FPS float64
	// Log; default none.
	Log *slog.Logger
}

// Loop shows files in natural order (img2 before img10), again and again. The
// list is read anew each time around, so that files may come and go. It is a
// media.Source.
type Loop struct {
	opts     Options
	interval time.Duration
}

var _ media.Source = (*Loop)(nil)

// New checks the options; the error names the one that is bad.
func New(o Options) (*Loop, error) {
	if o.Pattern == "" {
		return nil, errors.New("images: the path is missing, write for example images:/var/lib/pictures/*.jpg")
	}
	if _, err := filepath.Match(o.Pattern, ""); err != nil {
		return nil, fmt.Errorf("images: pattern %q: write \\[ for a [ that means itself: %w", o.Pattern, err)
	}
	if o.FPS < 0 || o.FPS > 60 {
		return nil, fmt.Errorf("images: fps %v: must be above 0 and at most 60", o.FPS)
	}
	if o.FPS == 0 {
		o.FPS = DefaultFPS
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Loop{opts: o, interval: time.Duration(float64(time.Second) / o.FPS)}, nil
}

// Run shows the files until ctx is done, which returns nil, or there is none
// left that can be shown.
func (l *Loop) Run(ctx context.Context, sink media.Sink) error {
	out := newEmitter(sink, l.opts.FPS)
	cache := newCache()
	seen := newComplaints(l.opts.Log)
	next := out.begun
	for {
		files, err := l.list()
		if err != nil {
			return err
		}
		cache.keep(files)
		shown := 0
		for _, name := range files {
			p, err := cache.load(name)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				if !errors.Is(err, fs.ErrNotExist) {
					seen.about(name, err)
				}
				continue
			}
			if !wait(ctx, next) {
				return nil
			}
			out.show(p)
			shown++
			next = tick(next, time.Now(), l.interval)
		}
		if shown == 0 {
			return fmt.Errorf("images %q: %w: %d files match, %s", l.opts.Pattern, ErrNoPicture, len(files), seen.last())
		}
	}
}

// tick gives the next instant of a pace without drift. What was missed is not
// made up for.
func tick(last, now time.Time, interval time.Duration) time.Time {
	next := last.Add(interval)
	if late := now.Sub(next); late > 0 {
		next = next.Add(late.Truncate(interval))
	}
	return next
}

// wait returns false when ctx is done first.
func wait(ctx context.Context, until time.Time) bool {
	d := time.Until(until)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// list returns the files in natural order; never none without an error.
func (l *Loop) list() ([]string, error) {
	pattern := l.opts.Pattern
	var files []string
	if info, err := os.Stat(pattern); err == nil && info.IsDir() {
		entries, err := os.ReadDir(pattern)
		if err != nil {
			return nil, fmt.Errorf("images %q: %w", pattern, err)
		}
		for _, e := range entries {
			if isPictureName(e.Name()) {
				files = append(files, filepath.Join(pattern, e.Name()))
			}
		}
	} else if files, err = filepath.Glob(pattern); err != nil {
		return nil, fmt.Errorf("images %q: %w", pattern, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("images %q: %w: %s", pattern, ErrNoPicture, whyEmpty(pattern))
	}
	slices.SortFunc(files, natural)
	return files, nil
}

// whyEmpty looks for what filepath.Glob does not tell: the folder that is
// missing or closed.
func whyEmpty(pattern string) string {
	dir := pattern
	for strings.ContainsAny(dir, `*?[`) {
		dir = filepath.Dir(dir)
	}
	if info, err := os.Stat(dir); err != nil {
		return err.Error()
	} else if !info.IsDir() {
		return fmt.Sprintf("%q is no folder", dir)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return err.Error()
	}
	return "no file matches"
}

// isPictureName tells by its extension what a file in a folder may be. Names
// with a leading dot belong to files under way (rsync, FTP servers).
func isPictureName(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".jpe", ".jfif", ".png":
		return true
	}
	return false
}

// emitter hands pictures to a sink.
type emitter struct {
	sink    media.Sink
	fps     float64
	begun   time.Time
	started bool
}

func newEmitter(sink media.Sink, fps float64) *emitter {
	return &emitter{sink: sink, fps: fps, begun: time.Now()}
}

func (e *emitter) show(p picture) {
	now := time.Now()
	if !e.started {
		e.started = true
		e.sink.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000, Width: p.width, Height: p.height, FPS: e.fps}})
	}
	e.sink.Write(&media.Frame{PTS: now.Sub(e.begun), Arrived: now, Key: true, Units: [][]byte{p.data}})
}

// complaints keeps the log to one line per file.
type complaints struct {
	log   *slog.Logger
	known map[string]string
	why   string
}

// maxComplaints bounds what is remembered of bad files.
const maxComplaints = 10_000

func newComplaints(log *slog.Logger) *complaints {
	return &complaints{log: log, known: map[string]string{}}
}

func (c *complaints) about(name string, err error) {
	c.why = fmt.Sprintf("the last one is left out: %v", err)
	if c.known[name] == err.Error() {
		return
	}
	if len(c.known) >= maxComplaints {
		clear(c.known)
	}
	c.known[name] = err.Error()
	c.log.Warn("picture left out", "file", name, "error", err)
}

func (c *complaints) last() string {
	if c.why == "" {
		return "all have gone"
	}
	return c.why
}
