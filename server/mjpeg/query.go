package mjpeg

import (
	"net/http"
	"strings"
)

// forImage reports whether a browser asks for an <img>. It says so by
// Sec-Fetch-Dest, but not to plain-HTTP addresses of the LAN; there its Accept
// gives it away, which names picture formats first. Programs send */*.
func forImage(r *http.Request) bool {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" {
		return dest == "image"
	}
	return strings.HasPrefix(r.Header.Get("User-Agent"), "Mozilla/") &&
		strings.HasPrefix(r.Header.Get("Accept"), "image/") &&
		strings.Contains(r.Header.Get("Accept"), ",")
}
