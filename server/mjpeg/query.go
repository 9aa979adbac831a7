package mjpeg

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bounds of what may be asked for.
const (
	minWidth, maxWidth = 16, 7680
	minFPS, maxFPS     = 0.01, 240
)

// query is what a viewer asks for; zero: as it comes.
type query struct {
	width    int           // pixels
	quality  int           // 1 to 100
	interval time.Duration // least time between two frames, from fps
}

// parseQuery reads width, quality and fps. The error names the value and what
// it may be.
func parseQuery(v url.Values) (q query, err error) {
	if q.width, err = whole(v, "width", minWidth, maxWidth, "use 16 to 7680 pixels"); err != nil {
		return query{}, err
	}
	if q.quality, err = whole(v, "quality", 1, 100, "use 1 to 100"); err != nil {
		return query{}, err
	}
	if s := v.Get("fps"); s != "" {
		fps, err := strconv.ParseFloat(s, 64)
		// Written so that NaN fails too.
		if err != nil || !(fps >= minFPS && fps <= maxFPS) {
			return query{}, errBadValue(v, "fps", "use 0.01 to 240 frames per second")
		}
		q.interval = time.Duration(float64(time.Second) / fps)
	}
	return q, nil
}

func whole(v url.Values, key string, least, most int, want string) (int, error) {
	s := v.Get(key)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, errBadValue(v, key, want)
	}
	return n, nil
}

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
