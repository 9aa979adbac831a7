package audio

import (
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"camwire/media/audio/audiotest"
	"camwire/media/command"
)

// TestProgram: AAC in MPEG-TS, written by a program, is heard as Opus.
func TestProgram(t *testing.T) {
	conv := converter(t, true)
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIPPED, NOT TESTED: ffmpeg is not installed")
	}
	for _, c := range []struct{ rate, channels int }{{48000, 2}, {22050, 1}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			argv := strings.Fields(fmt.Sprintf("ffmpeg -nostdin -hide_banner -loglevel error -readrate 2 -f lavfi -i testsrc2=size=128x96:rate=25 "+
				"-readrate 2 -f lavfi -i sine=frequency=600:sample_rate=%d -t 120 -c:v libx264 -preset ultrafast -tune zerolatency -g 25 "+
				"-c:a aac -ac %d -ar %d -f mpegts -flush_packets 1 -", c.rate, c.channels, c.rate))
			src, err := command.New(command.Options{Argv: argv})
			if err != nil {
				t.Fatal(err)
			}
			cam := camera(t, conv, src)
			ts, frames := listen(t, cam, 200, nil)
			steady(t, frames)
			if d := cam.Hub().Latest().PTS - frames[len(frames)-1].PTS; d.Abs() > time.Second {
				t.Errorf("the picture is %v ahead of the sound", d)
			}
			x := audiotest.Decode(t, frames, ts[0].Channels)
			level, rest := audiotest.Tone(x[48000:3*48000], 600)
			if ts[0].Channels != c.channels || math.Abs(level-0.125) > 0.01 || rest > 0.01 {
				t.Errorf("%d channels, level %.4f instead of 0.125, beside the tone %.4f", ts[0].Channels, level, rest)
			}
		})
	}
}
