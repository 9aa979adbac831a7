package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type result struct {
	config   Config
	problems []Problem
	err      error
}

// watch runs a Watcher on path for the length of the test.
func watch(t *testing.T, path string, change func(*Watcher)) <-chan result {
	t.Helper()
	results := make(chan result, 16)
	w := &Watcher{
		Path: path, Options: Options{Optional: true}, Quiet: 5 * time.Millisecond, Poll: time.Hour,
		Notify: func(c Config, p []Problem, err error) { results <- result{c, p, err} },
	}
	if change != nil {
		change(w)
	}
	if _, _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return results
}

func next(t *testing.T, results <-chan result) result {
	t.Helper()
	select {
	case r := <-results:
		return r
	case <-time.After(20 * time.Second): // never reached unless the watch is broken
		t.Fatal("no notice")
		return result{}
	}
}

// wantAddress waits for a load with this address: a file that is written in two
// steps may be seen in between.
func wantAddress(t *testing.T, results <-chan result, address string) {
	t.Helper()
	for {
		if r := next(t, results); r.err == nil && r.config.HTTP.Address == address {
			return
		}
	}
}

func write(t *testing.T, path, address string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("http: { address: \""+address+"\" }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "camwire.yaml")
	results := watch(t, path, nil) // not there yet

	write(t, path, ":1")
	wantAddress(t, results, ":1")
	write(t, path, ":2")
	wantAddress(t, results, ":2")

	// As editors do it.
	write(t, path+".new", ":3")
	must(t, os.Rename(path+".new", path))
	wantAddress(t, results, ":3")

	must(t, os.WriteFile(path, []byte("htp: {}\n"), 0o600))
	for {
		r := next(t, results)
		var e *Error
		if errors.As(r.err, &e) && len(r.problems) == 1 && strings.Contains(r.err.Error(), `did you mean "http"?`) {
			break
		}
	}

	must(t, os.Remove(path))
	for {
		if r := next(t, results); errors.Is(r.err, fs.ErrNotExist) {
			break
		}
	}
	write(t, path, ":4")
	wantAddress(t, results, ":4")
}

func TestWatchIgnoresItsNeighboursAndEqualContents(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "camwire.yaml")
	write(t, path, ":1")
	results := watch(t, path, nil)
	write(t, filepath.Join(dir, "other.yaml"), ":9")
	write(t, path, ":1")
	write(t, path, ":2")
	for {
		r := next(t, results)
		// Between truncation and write the file is empty.
		if r.err != nil && strings.Contains(r.err.Error(), "is empty") {
			continue
		}
		if r.err != nil || r.config.HTTP.Address != ":2" {
			t.Fatalf("got %v, %v", r.config, r.err)
		}
		if r.config.HTTP.Address == ":2" {
			break
		}
	}
}

// TestWatchEmpty: a file that was emptied is no wish for the defaults.
func TestWatchEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "camwire.yaml")
	write(t, path, ":1")
	results := watch(t, path, nil)
	must(t, os.WriteFile(path, []byte(" \n"), 0o600))
	for {
		r := next(t, results)
		if r.err != nil && strings.Contains(r.err.Error(), "is empty") {
			break
		}
		if r.err != nil || r.config.HTTP.Address != ":1" {
			t.Fatalf("got %v, %v", r.config, r.err)
		}
	}
	write(t, path, ":2")
	wantAddress(t, results, ":2")
}

// TestWatchKubernetes swaps a link as the kubelet does for a ConfigMap.
func TestWatchKubernetes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "camwire.yaml")
	version := func(name, address string) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "camwire.yaml"), address)
		must(t, os.Symlink(name, filepath.Join(dir, "..tmp")))
		must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	version("..1", ":1")
	must(t, os.Symlink("..data/camwire.yaml", path))
	results := watch(t, path, nil)
	for i, address := range []string{":2", ":3"} {
		version("..v"+string(rune('2'+i)), address)
		wantAddress(t, results, address)
	}
}

// TestWatchLink writes the target of a link that lies in another folder.
func TestWatchLink(t *testing.T) {
	target := filepath.Join(t.TempDir(), "real.yaml")
	path := filepath.Join(t.TempDir(), "camwire.yaml")
	write(t, target, ":1")
	must(t, os.Symlink(target, path))
	results := watch(t, path, nil)
	write(t, target, ":2")
	wantAddress(t, results, ":2")
}

// TestWatchPolls makes the folder only later, so no notice can come from it.
func TestWatchPolls(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "camwire.yaml")
	results := watch(t, path, func(w *Watcher) { w.Poll = 5 * time.Millisecond })
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, ":1")
	wantAddress(t, results, ":1")
	must(t, os.RemoveAll(dir))
	for {
		if r := next(t, results); errors.Is(r.err, fs.ErrNotExist) {
			break
		}
	}
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, ":2")
	wantAddress(t, results, ":2")
}

func TestWatchSeesWhatChangedBetweenLoadAndRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "camwire.yaml")
	write(t, path, ":1")
	results := make(chan result, 4)
	w := &Watcher{Path: path, Poll: time.Hour, Notify: func(c Config, p []Problem, err error) { results <- result{c, p, err} }}
	if _, _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	write(t, path, ":2")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	wantAddress(t, results, ":2")
	cancel()
	<-done
}
