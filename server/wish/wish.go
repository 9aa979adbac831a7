// Package wish is what somebody who takes pictures asks for in the query of an
// address, and the pace that keeps to it. The outputs in JPEG share it.
package wish

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Bounds of what may be asked for.
const (
	minWidth, maxWidth = 16, 7680
	minFPS, maxFPS     = 0.01, 240
)

// Wish is what a viewer asks for; zero: as the pictures come.
type Wish struct {
	Width    int           // pixels
	Quality  int           // 1 to 100
	Interval time.Duration // least time between two pictures, from fps
}

// Parse reads width, quality and fps. The error names the value and what it
// may be.
func Parse(v url.Values) (w Wish, err error) {
	if w.Width, err = whole(v, "width", minWidth, maxWidth, "use 16 to 7680 pixels"); err != nil {
		return Wish{}, err
	}
	if w.Quality, err = whole(v, "quality", 1, 100, "use 1 to 100"); err != nil {
		return Wish{}, err
	}
	if s := v.Get("fps"); s != "" {
		fps, err := strconv.ParseFloat(s, 64)
		// Written so that NaN fails too.
		if err != nil || !(fps >= minFPS && fps <= maxFPS) {
			return Wish{}, BadValue(v, "fps", "use 0.01 to 240 frames per second")
		}
		w.Interval = time.Duration(float64(time.Second) / fps)
	}
	return w, nil
}

func whole(v url.Values, key string, least, most int, want string) (int, error) {
	s := v.Get(key)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, BadValue(v, key, want)
	}
	return n, nil
}

// BadValue names a value of a query that cannot be, and what it may be.
func BadValue(v url.Values, key, want string) error {
	return fmt.Errorf("%s=%.40q: %s", key, v.Get(key), want)
}
