//go:build cgo

package worker

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// sandbox gives up, for good and for all threads, what a codec never needs.
func sandbox(maxMemory int64) error {
	limits := []struct {
		what  int
		limit uint64
	}{
		{unix.RLIMIT_CORE, 0}, // a core file would hold pictures
		{unix.RLIMIT_NOFILE, 16},
		{unix.RLIMIT_FSIZE, 0},
	}
	if !raceEnabled {
		// Writable private memory. RLIMIT_AS would count what Go only
		// reserves; the race detector's shadow memory counts in both.
		limits = append(limits, struct {
			what  int
			limit uint64
		}{unix.RLIMIT_DATA, uint64(maxMemory)})
	}
	for _, l := range limits {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("resource limit %d: %w", l.what, err)
		}
	}
	if raceEnabled {
		return nil
	}
	return filterCalls()
}
