// Package frontend holds the pages of Camwire as files inside the binary. Its
// only job is to hand them out: how they are served (caching, compression,
// which paths fall back to index.html) belongs to the server.
//
// Beside most files of a real build lie two more with the same name and ".gz"
// or ".br" added: the same content, compressed once at build time.
package frontend

import (
	"embed"
	"io/fs"
)

// The pages are built by Node into dist, which holds nothing but a marker file
// until then; the placeholder lets a build without Node work all the same.
var (
	//go:embed all:dist
	distFS embed.FS
	//go:embed all:placeholder
	placeholderFS embed.FS
)

// index is the page that every path of the application starts from.
const index = "index.html"

// Files returns the pages, with index.html at the top. It is the built
// application, or the one placeholder page when the binary was made without it.
func Files() fs.FS {
	if Built() {
		return sub(distFS, "dist")
	}
	return sub(placeholderFS, "placeholder")
}

// Built reports whether the binary carries the real pages and not just the
// placeholder.
func Built() bool { return has(sub(distFS, "dist"), index) }

func has(files fs.FS, name string) bool {
	info, err := fs.Stat(files, name)
	return err == nil && info.Mode().IsRegular()
}

// sub cannot fail for the two constant names it is called with: go:embed has
// refused to compile without them.
func sub(files embed.FS, dir string) fs.FS {
	s, err := fs.Sub(files, dir)
	if err != nil {
		panic("frontend: " + err.Error())
	}
	return s
}
