package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration.
type Problem struct {
	// File is where the mistake was written: the file's name, the environment
	// variable, or "flag" and the dotted path.
	File string
	// Line and Column count from 1; both are 0 outside of a file.
	Line, Column int
	// Path is the value that is wrong: "cameras[2].fps", "http.address". Empty
	// means the whole.
	Path string
	// Camera is the id of the camera whose entry is dropped for it, or the
	// entry's place ("cameras[2]") when it has no usable id. Empty means that
	// the mistake is outside of the entries and fatal for the load.
	Camera string
	// Message says what is wrong. It never holds a secret.
	Message string
	// Hint says how to mend it; it may be empty.
	Hint string
}

// Fatal reports whether the problem concerns more than one camera.
func (p Problem) Fatal() bool { return p.Camera == "" }

// String writes the problem on one line: where, what, and the way out.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	path := p.Path
	if p.Camera != "" {
		if strings.HasPrefix(p.Camera, camerasPrefix) {
			b.WriteString(p.Camera + ": ")
		} else {
			fmt.Fprintf(&b, "camera %q: ", p.Camera)
		}
		if i := strings.Index(path, "]"); i >= 0 && strings.HasPrefix(path, camerasPrefix) {
			path = strings.TrimPrefix(path[i+1:], ".")
		}
	}
	// The name of a variable or flag says the path already.
	if path != "" && (p.Line > 0 || p.File == "") {
		b.WriteString(path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(": " + p.Hint)
	}
	return b.String()
}

const camerasPrefix = "cameras["

// Error is what makes a load fail: the problems outside of single cameras.
type Error struct{ Problems []Problem }

// Error writes one problem per line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds what one file can make us say. More than that is no
// configuration with slips in it but another kind of file.
const maxProblems = 1000

// position is where a value was set.
type position struct {
	file      string
	line, col int
}

// collector gathers problems and remembers where each value was set.
type collector struct {
	problems []Problem
	set      map[string]position
	spoiled  map[string]bool // values that could not be read, with their problem told
}

func newCollector() *collector {
	return &collector{set: map[string]position{}, spoiled: map[string]bool{}}
}

func (c *collector) add(at position, path, message, hint string) {
	switch {
	case len(c.problems) > maxProblems:
		return
	case len(c.problems) == maxProblems:
		c.problems = append(c.problems, Problem{
			File: at.file, Line: at.line, Column: at.col,
			Message: fmt.Sprintf("more than %d mistakes; the rest was not read", maxProblems),
		})
		return
	}
	p := Problem{File: at.file, Line: at.line, Column: at.col, Path: path, Message: message, Hint: hint}
	if i := cameraIndex(path); i >= 0 {
		p.Camera = joinIndex("cameras", i)
	}
	c.problems = append(c.problems, p)
}

// at returns where the value of path was set, or the nearest value around it.
func (c *collector) at(path string) position {
	for {
		if p, ok := c.set[path]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return position{}
		}
		path = path[:i]
	}
}

// wrong reports a problem where the value of path was set.
func (c *collector) wrong(path, message, hint string) { c.add(c.at(path), path, message, hint) }

// spoil reports a value that cannot be read at all, so that it is not checked
// any further.
func (c *collector) spoil(at position, path, message, hint string) {
	c.spoiled[path] = true
	c.add(at, path, message, hint)
}

// cameraIndex returns the index in a path that starts with cameras[n], or -1.
func cameraIndex(path string) int {
	var n int
	if !strings.HasPrefix(path, camerasPrefix) {
		return -1
	}
	if _, err := fmt.Sscanf(path, "cameras[%d]", &n); err != nil {
		return -1
	}
	return n
}

// sorted returns the problems by place: the file first, then the environment,
// then the flags.
func (c *collector) sorted() []Problem {
	rank := func(p Problem) int {
		switch {
		case p.Line > 0:
			return 0
		case strings.HasPrefix(p.File, envPrefix):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c.problems
}
