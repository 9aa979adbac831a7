package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"camwire/media"

	"github.com/fsnotify/fsnotify"
)

// Times of a Watch.
const (
	// pollEvery is how often it is looked at what no event tells: network
	// drives, a folder that was replaced, the target of a link.
	pollEvery = time.Second
	// firstRetry and lastRetry bound the pauses before an unfinished file is
	// read again without an event, giveUp how long that goes on.
	firstRetry = 20 * time.Millisecond
	lastRetry  = 500 * time.Millisecond
	giveUp     = 10 * time.Second
	// eventBuffer is how many events may wait.
	eventBuffer = 256
)

// WatchOptions of a Watch.
type WatchOptions struct {
	// Path is a folder, or a single file that is written again and again.
	Path string
	// Log; default none.
	Log *slog.Logger
}

// Watch shows each new or rewritten picture file; of several at once only the
// newest. A file counts when it is whole. It is a media.Source.
type Watch struct {
	path string
	log  *slog.Logger
}

var _ media.Source = (*Watch)(nil)

// NewWatch checks the options. The path need not exist yet.
func NewWatch(o WatchOptions) (*Watch, error) {
	if o.Path == "" {
		return nil, errors.New("watch: the path is missing, write for example watch:/var/lib/pictures")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Watch{path: filepath.Clean(o.Path), log: o.Log}, nil
}

// errAgain says that the watch must be set up anew.
var errAgain = errors.New("replaced")

// Run shows pictures until ctx is done, which returns nil, or the folder is
// missing or goes away.
func (w *Watch) Run(ctx context.Context, sink media.Sink) error {
	s := &watching{
		path: w.path, out: newEmitter(sink, 0), seen: newComplaints(w.log),
	}
	for {
		err := s.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, errAgain):
			return fmt.Errorf("watch %q: %w", w.path, err)
		case !wait(ctx, time.Now().Add(firstRetry)):
			return nil
		}
	}
}

// watching is a Watch at work.
type watching struct {
	path string
	out  *emitter
	seen *complaints

	dir     string      // the folder
	single  string      // the one file of interest in it; empty means all pictures
	dirInfo fs.FileInfo // as it was when the watch was set up
	dirTime time.Time   // when its list last changed, as far as is known
	events  bool        // since the last poll

	waiting queue
	shown   picture
	name    string // of what is shown
}

// session watches one folder until that is another one.
func (s *watching) session(ctx context.Context) error {
	if err := s.find(); err != nil {
		return err
	}
	n, err := fsnotify.NewBufferedWatcher(eventBuffer)
	if err != nil {
		return fmt.Errorf("cannot be watched, fs.inotify.max_user_instances may be too small: %w", err)
	}
	defer n.Close()
	if err := n.Add(s.dir); err != nil {
		return fmt.Errorf("cannot be watched, fs.inotify.max_user_watches may be too small: %w", err)
	}
	// After the watch stands, so that nothing falls in between.
	s.scan()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		if at, ok := s.work(time.Now()); ok {
			retry.Reset(time.Until(at))
		} else {
			retry.Stop()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-n.Events:
			s.take(e)
			for range len(n.Events) {
				s.take(<-n.Events)
			}
		case err := <-n.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
			s.scan()
		case <-retry.C:
		case <-poll.C:
			if err := s.poll(); err != nil {
				return err
			}
		}
	}
}

// find sees what the path is.
func (s *watching) find() error {
	s.dir, s.single = s.path, ""
	info, err := os.Stat(s.path)
	if err != nil && errors.Is(err, fs.ErrNotExist) && isPictureName(s.path) || err == nil && !info.IsDir() {
		s.dir, s.single = filepath.Dir(s.path), filepath.Base(s.path)
		info, err = os.Stat(s.dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: create it, or correct the path in source", errNoFolder)
	case err != nil:
		return err
	case !info.IsDir():
		return errNoFolder
	}
	s.dirInfo, s.dirTime = info, info.ModTime()
	return nil
}

var errNoFolder = errors.New("there is no such folder")

// take notes an event.
func (s *watching) take(e fsnotify.Event) {
	s.events = true
	name := filepath.Base(e.Name)
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) || !s.wants(name) || filepath.Clean(e.Name) == s.dir {
		return
	}
	// A change of times or rights alone makes no new picture, but may be what
	// makes a file readable.
	s.waiting.add(name, time.Now(), e.Op == fsnotify.Chmod)
}

func (s *watching) wants(name string) bool {
	if s.single != "" {
		return name == s.single
	}
	return isPictureName(name)
}

// scan finds the newest file without the help of events.
func (s *watching) scan() {
	if s.single != "" {
		s.waiting.add(s.single, time.Now(), true)
		return
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return // the next poll tells what is wrong
	}
	newest := make([]fs.FileInfo, 0, scanned+1)
	for _, e := range entries {
		if !isPictureName(e.Name()) {
			continue
		}
		info, err := os.Stat(filepath.Join(s.dir, e.Name())) // through links
		if err != nil || !info.Mode().IsRegular() || s.shown.info != nil && info.ModTime().Before(s.shown.info.ModTime()) {
			continue
		}
		newest = insert(newest, info)
	}
	for _, i := range newest {
		s.waiting.add(i.Name(), time.Now(), true)
	}
}

// scanned is how many of the newest files are tried, should the newest ones be
// no pictures.
const scanned = 16

// insert keeps the newest few files, the newest last.
func insert(list []fs.FileInfo, f fs.FileInfo) []fs.FileInfo {
	i := len(list)
	for i > 0 && older(f, list[i-1]) {
		i--
	}
	list = append(list, nil)
	copy(list[i+1:], list[i:])
	list[i] = f
	if len(list) > scanned {
		list = append(list[:0], list[1:]...)
	}
	return list
}

func older(a, b fs.FileInfo) bool {
	if !a.ModTime().Equal(b.ModTime()) {
		return a.ModTime().Before(b.ModTime())
	}
	return natural(a.Name(), b.Name()) < 0
}

// poll looks at what events do not tell.
func (s *watching) poll() error {
	info, err := os.Stat(s.dir)
	switch {
	case err != nil:
		return fmt.Errorf("the folder went away: %w", err)
	case !os.SameFile(info, s.dirInfo):
		return errAgain
	}
	if s.single == "" && !info.ModTime().Equal(s.dirTime) {
		s.dirTime = info.ModTime()
		if !s.events {
			s.scan()
		}
	}
	name := s.name
	if s.single != "" {
		name = s.single
	}
	if name != "" {
		f, err := os.Stat(filepath.Join(s.dir, name))
		if err == nil && !sameFile(f, s.shown.info) && !s.waiting.has(name) {
			s.waiting.add(name, time.Now(), true)
		}
	}
	s.events = false
	return nil
}

// known reports whether a picture is the one that is shown: several events come
// of one picture. What nobody wrote to must differ to be another one.
func (s *watching) known(p picture, quiet bool) bool {
	if s.shown.info == nil || !os.SameFile(p.info, s.shown.info) || !bytes.Equal(p.data, s.shown.data) {
		return false
	}
	if !quiet && !sameFile(p.info, s.shown.info) {
		return false
	}
	s.shown.info = p.info
	return true
}

// work shows the newest file that is whole. It returns when to look again, if
// there is something to wait for.
func (s *watching) work(now time.Time) (again time.Time, ok bool) {
	for _, f := range s.waiting.newestFirst() {
		path := filepath.Join(s.dir, f.name)
		if now.Before(f.retry) && (!f.fresh || !looksWhole(path)) {
			f.fresh = false
			continue
		}
		f.fresh = false
		p, err := load(path)
		switch {
		case err == nil:
			s.waiting.drop(f)
			if s.known(p, f.quiet) {
				continue
			}
			s.waiting.dropOlder(f)
			s.shown, s.name = p, f.name
			s.out.show(p)
			return s.waiting.next()
		case errors.Is(err, errUnfinished) && now.Sub(f.since) < giveUp:
			f.later(now)
		case errors.Is(err, fs.ErrNotExist):
			s.waiting.drop(f)
		default:
			s.waiting.drop(f)
			s.seen.about(path, err)
		}
	}
	return s.waiting.next()
}
