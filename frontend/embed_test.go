package frontend

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFilesHaveAnIndexPage(t *testing.T) {
	page, err := fs.ReadFile(Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "Camwire") {
		t.Error("index.html does not name Camwire")
	}
	if strings.Contains(string(page), "://") {
		t.Error("index.html loads something from outside")
	}
}

func TestPlaceholderStandsByItself(t *testing.T) {
	page, err := fs.ReadFile(sub(placeholderFS, "placeholder"), index)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "://", "src="} {
		if strings.Contains(string(page), bad) {
			t.Errorf("the placeholder must work alone, but contains %q", bad)
		}
	}
}

func TestHas(t *testing.T) {
	files := fstest.MapFS{"index.html": {}, "dir/index.html": {}}
	for name, want := range map[string]bool{"index.html": true, "dir": false, "nothing": false} {
		if got := has(files, name); got != want {
			t.Errorf("has(%q) = %v, want %v", name, got, want)
		}
	}
}
