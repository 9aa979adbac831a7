package codec

import (
	"testing"
	"time"
)

// TestPause: a step ahead that took as long as it says is a pause, one that
// took no time is another clock.
func TestPause(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, x := range []struct {
		name   string
		step   time.Duration
		waited time.Duration
		want   time.Duration
		v      verdict
	}{
		{"muted", 15 * time.Second, 15 * time.Second, 15 * time.Second, inOrder},
		{"muted, and late", 15 * time.Second, 16 * time.Second, 15 * time.Second, inOrder},
		{"another clock", 15 * time.Second, 20 * time.Millisecond, 20 * time.Millisecond, discontinuity},
		{"another clock after a pause", time.Hour, 15 * time.Second, 20 * time.Millisecond, discontinuity},
	} {
		var l timeline
		var shared time.Duration
		l.place(0, 20*time.Millisecond, time.Millisecond, at, false, &shared)
		pts, v := l.place(x.step, 20*time.Millisecond, time.Millisecond, at.Add(x.waited), false, &shared)
		if pts != x.want || v != x.v {
			t.Errorf("%s: %v, verdict %d", x.name, pts, v)
		}
	}
}
