package live

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Bounds of what may be asked for, as for the other outputs in JPEG.
const (
	minWidth, maxWidth = 16, 7680
	minFPS, maxFPS     = 0.01, 240
)

// query is what a viewer asks for; zero: JSON, as the pictures come.
type query struct {
	binary   bool
	width    int           // pixels
	quality  int           // 1 to 100
	interval time.Duration // least time between two pictures, from fps
}

// parseQuery reads format, width, quality and fps. The error names the value
// and what it may be.
func parseQuery(v url.Values) (q query, err error) {
	switch v.Get("format") {
	case "", "json":
	case "jpeg":
		q.binary = true
	default:
		return query{}, errBadValue(v, "format", "use json, or jpeg for binary messages")
	}
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
			return query{}, errBadValue(v, "fps", "use 0.01 to 240 pictures per second")
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

// errBadValue names a value of the query that cannot be.
func errBadValue(v url.Values, key, want string) error {
	return fmt.Errorf("%s=%.40q: %s", key, v.Get(key), want)
}
