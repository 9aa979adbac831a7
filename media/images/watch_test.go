package images

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func watch(t *testing.T, path string) (*sink, func() error) {
	t.Helper()
	w, err := NewWatch(WatchOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, w)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

func TestWatchFolder(t *testing.T) {
	dir := t.TempDir()
	a, b, c := encodeJPEG(t, 1), encodeJPEG(t, 2), encodeJPEG(t, 3)
	old := write(t, a, dir, "z.jpg")
	write(t, b, dir, "a.jpg")
	write(t, c, dir, "note.txt")
	write(t, c, dir, ".hidden.jpg")
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	s, end := watch(t, dir)
	s.want(t, b, "the newest one at the start")
	write(t, c, dir, "c.JPG")
	s.want(t, c, "a new one")
	write(t, a, dir, "c.JPG")
	s.want(t, a, "a rewritten one")
	write(t, a, dir, "c.JPG")
	s.want(t, a, "a rewritten one with the same content")
	write(t, b, dir, "upload.tmp")
	rename(t, filepath.Join(dir, "upload.tmp"), filepath.Join(dir, "d.jpg"))
	s.want(t, b, "a renamed one")
	png := filepath.Join(dir, "graph.png")
	write(t, encodePNG(t, gray(40, 30, 1)), png)
	if p := s.next(t); string(p[:3]) != string(jpegMagic) {
		t.Errorf("a PNG became %x", p[:3])
	}
	if err := os.Remove(png); err != nil {
		t.Fatal(err)
	}
	write(t, c, dir, "e.jpg")
	s.want(t, c, "one after a removal")
	if err := end(); err != nil {
		t.Error(err)
	}
	if len(s.frames) != 0 {
		t.Errorf("%d frames too many", len(s.frames))
	}
}

// TestHalfWritten proves that a file is shown only when it is whole, and that
// other files do not wait for it.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	a, b, c := encodeJPEG(t, 1), encodeJPEG(t, 2), encodeJPEG(t, 3)
	s, _ := watch(t, dir)
	f, err := os.Create(filepath.Join(dir, "slow.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := 0; i < len(a)-1; i += 100 {
		if _, err := f.Write(a[i:min(i+100, len(a)-1)]); err != nil {
			t.Fatal(err)
		}
	}
	write(t, b, dir, "quick.jpg")
	s.want(t, b, "the whole one")
	if _, err := f.Write(a[len(a)-1:]); err != nil {
		t.Fatal(err)
	}
	s.want(t, a, "the one that took longer")

	half := write(t, c[:len(c)/2], dir, "half.png.jpg")
	write(t, b, dir, "quick2.jpg")
	s.want(t, b, "the next whole one")
	if err := os.Remove(half); err != nil {
		t.Fatal(err)
	}
	write(t, a, dir, "last.jpg")
	s.want(t, a, "the last one")
}

func TestBurst(t *testing.T) {
	dir := t.TempDir()
	s, end := watch(t, dir)
	write(t, encodeJPEG(t, 1), dir, "first.jpg")
	s.next(t)
	var last []byte
	for i := range 200 {
		last = encodeJPEG(t, i+2)
		write(t, last, dir, fmt.Sprintf("%d.jpg", i))
	}
	if n := s.until(t, last); n >= 200 {
		t.Errorf("%d frames before the newest", n)
	}
	if err := end(); err != nil || len(s.frames) != 0 {
		t.Errorf("%d frames after the newest, %v", len(s.frames), err)
	}
}

func TestWatchFile(t *testing.T) {
	dir := t.TempDir()
	a, b, c := encodeJPEG(t, 1), encodeJPEG(t, 2), encodeJPEG(t, 3)
	file := filepath.Join(dir, "graph.jpg")
	s, _ := watch(t, file) // which is not there yet
	write(t, c, dir, "other.jpg")
	write(t, a, file)
	s.want(t, a, "the new file")
	write(t, b, dir, "other.jpg")
	write(t, c, dir, "tmp")
	rename(t, filepath.Join(dir, "tmp"), file)
	s.want(t, c, "the file put in its place")
}

func TestSymlinks(t *testing.T) {
	dir := t.TempDir()
	a, b, c := encodeJPEG(t, 1), encodeJPEG(t, 2), encodeJPEG(t, 3)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for _, d := range []string{one, two} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, a, one, "x.jpg")
	write(t, b, two, "x.jpg")
	link := filepath.Join(dir, "current.jpg")
	symlink(t, filepath.Join(one, "x.jpg"), link)
	folder := filepath.Join(dir, "folder")
	symlink(t, one, folder)

	t.Run("file", func(t *testing.T) {
		s, _ := watch(t, link)
		s.want(t, a, "what the link points to")
		symlink(t, filepath.Join(two, "x.jpg"), link+"2")
		rename(t, link+"2", link)
		s.want(t, b, "what it then points to")
		write(t, c, two, "x.jpg") // no event tells in the folder of the link
		s.want(t, c, "the target rewritten")
	})
	t.Run("folder", func(t *testing.T) {
		write(t, b, two, "x.jpg")
		s, _ := watch(t, folder)
		s.want(t, a, "the folder behind the link")
		symlink(t, two, folder+"2")
		rename(t, folder+"2", folder)
		s.want(t, b, "the other folder")
		write(t, c, two, "y.jpg")
		s.want(t, c, "a new file there")
	})
}

func TestWatchErrors(t *testing.T) {
	if _, err := NewWatch(WatchOptions{}); err == nil {
		t.Error("no path was taken")
	}
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "none", "x.jpg")} {
		w, err := NewWatch(WatchOptions{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Run(t.Context(), newSink()); err == nil || !strings.Contains(err.Error(), "no such folder") {
			t.Errorf("%s: %v", path, err)
		}
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	a := encodeJPEG(t, 1)
	file := write(t, a, sub, "x.jpg")
	w, err := NewWatch(WatchOptions{Path: sub})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	done := make(chan error, 1)
	go func() { done <- w.Run(t.Context(), s) }()
	s.want(t, a, "the only one")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(sub); err != nil {
		t.Fatal(err)
	}
	if err := wait4(t, done); err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("folder removed: %v", err)
	}
}

// TestBadFile proves that a file that is no picture costs one line and no frame.
func TestBadFile(t *testing.T) {
	dir := t.TempDir()
	var log lines
	w, err := NewWatch(WatchOptions{Path: dir, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := start(t, w)
	a := encodeJPEG(t, 1)
	write(t, []byte("this is no picture"), dir, "x.jpg")
	write(t, a, dir, "y.jpg")
	s.until(t, a)
	write(t, []byte("this is no picture"), dir, "x.jpg")
	write(t, encodeJPEG(t, 2), dir, "y.jpg")
	s.next(t)
	if n := log.count("left out"); n > 1 {
		t.Errorf("%d lines", n)
	}
}

func TestQueue(t *testing.T) {
	var q queue
	now := time.Unix(1000, 0)
	for i := range 2 * maxWaiting {
		q.add(fmt.Sprint(i), now, true)
	}
	if len(q.list) != maxWaiting {
		t.Fatalf("%d wait", len(q.list))
	}
	q.add(fmt.Sprint(maxWaiting), now, false) // the oldest becomes the newest
	l := q.newestFirst()
	if l[0].name != fmt.Sprint(maxWaiting) || l[1].name != fmt.Sprint(2*maxWaiting-1) || l[0].quiet || !l[1].quiet {
		t.Errorf("order %v %v", l[0], l[1])
	}
	q.dropOlder(l[1])
	if len(q.list) != 2 {
		t.Errorf("%d are left", len(q.list))
	}
	a := l[0]
	for _, want := range []int64{20, 40, 80, 160, 320, 500, 500} {
		if a.later(now); a.retry.Sub(now).Milliseconds() != want {
			t.Errorf("pause %v, want %d ms", a.retry.Sub(now), want)
		}
	}
	q.drop(l[1])
	if at, ok := q.next(); !ok || !at.Equal(a.retry) {
		t.Errorf("next at %v, %v", at, ok)
	}
}

// aged is a file of some time.
type aged struct {
	fs.FileInfo
	name string
	at   int64
}

func (a aged) Name() string       { return a.name }
func (a aged) ModTime() time.Time { return time.Unix(a.at, 0) }

func TestInsert(t *testing.T) {
	var l []fs.FileInfo
	for i := range 100 {
		l = insert(l, aged{name: fmt.Sprint(i), at: int64(i * 37 % 100 / 2)})
	}
	if len(l) != scanned {
		t.Fatalf("%d files", len(l))
	}
	for i := range l[1:] {
		if older(l[i+1], l[i]) {
			t.Errorf("%v before %v", l[i], l[i+1])
		}
	}
	if l[len(l)-1].ModTime().Unix() != 49 {
		t.Errorf("the newest is of %v", l[len(l)-1].ModTime())
	}
}
