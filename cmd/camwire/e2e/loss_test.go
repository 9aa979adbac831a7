package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestPacketLoss loses one packet in twenty. Key frames come so rarely that
// each loss that is not repaired would freeze the picture for seconds.
func TestPacketLoss(t *testing.T) {
	end2end(t)
	needBrowser(t)
	const (
		loss     = 0.05
		duration = 15 * time.Second
		freeze   = 2 * time.Second
		maxPLI   = 5
	)
	s := start(t, `cameras:
  - { id: cam, source: "test:?width=640&height=360&fps=20&gop=10&bitrate=1500000&pattern=plain" }
`)
	s.state(t, "cam", "live")
	relay := relayUDP(t, s.webrtc, loss)
	p := s.page(t)
	p.whep(t, "/whep/cam", relay.port)
	p.moving(t, "#video", 640)
	passed := relay.passed.Load()

	p.eval(t, "() => e2e.keepStats(250)", nil, nil)
	var samples []sight
	p.eval(t, "(o) => e2e.sample(o)", map[string]any{"selector": "#video", "every": 100, "duration": duration.Milliseconds()}, &samples)
	if f := longestFreeze(samples); f > freeze {
		var series []string
		p.eval(t, "() => series", nil, &series)
		t.Errorf("the picture stood still for %v; what the browser counted meanwhile:\n%s", f, strings.Join(series, "\n"))
	}
	var oldest time.Duration
	readable := 0
	for _, s := range samples {
		if s.Clock != nil {
			readable++
			oldest = max(oldest, s.age())
		}
	}
	if oldest > maxAge {
		t.Errorf("the picture was %v old", oldest)
	}
	if readable < len(samples)*9/10 {
		t.Errorf("the clock could be read in %d of %d pictures", readable, len(samples))
	}
	var st struct {
		PacketsReceived, PacketsLost, NACKCount, PLICount, FramesDecoded, FreezeCount float64
		Retransmitted                                                                 float64 `json:"retransmittedPacketsReceived"`
	}
	p.eval(t, "() => e2e.stats()", nil, &st)
	t.Logf("%d packets dropped, %d passed; browser: %+v; longest freeze %v, oldest picture %v",
		relay.dropped.Load(), relay.passed.Load(), st, longestFreeze(samples), oldest)
	if relay.dropped.Load() == 0 || relay.passed.Load() == passed {
		t.Error("the media did not go through the relay")
	}
	if st.NACKCount == 0 || st.Retransmitted == 0 {
		t.Errorf("nothing was asked for again: %+v", st)
	}
	if st.PLICount >= maxPLI {
		t.Errorf("the browser asked for %.0f key frames: losses are not repaired", st.PLICount)
	}
	p.connected(t)
}
