//go:build unix

package command

import (
	"syscall"
	"time"
)

// drained waits for the end of the killed members of a group whose leader is
// gone: SIGKILL is delivered at once but obeyed a moment later, and a camera or
// port that they held is free only then. The wait is bounded, because orphans
// stay zombies where the first process of a container does not reap. Signal 0
// only asks, so a group that meanwhile has got the number comes to no harm.
func drained(pgid int) {
	if pgid == 0 {
		return
	}
	for pause := time.Millisecond; pause < 128*time.Millisecond; pause *= 2 {
		if syscall.Kill(-pgid, 0) == syscall.ESRCH {
			return
		}
		time.Sleep(pause)
	}
}
