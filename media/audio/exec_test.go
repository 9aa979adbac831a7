package audio

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/audio/audiotest"
	"camwire/media/command"
	"camwire/media/hub"
)

// inTime checks that a camera's picture and sound come side by side, and that
// what is heard of it lies within what it had said by then.
func inTime(t *testing.T, cam *hub.Cursor, heard []*media.Frame) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var picture, first, newest *media.Frame
	for {
		f, err := cam.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case f.Arrived.After(heard[len(heard)-1].Arrived):
			if picture == nil || first == nil {
				t.Fatal("picture or sound is missing")
			}
			if d := picture.PTS - newest.PTS; d.Abs() > time.Second {
				t.Errorf("the picture is %v ahead of the sound", d)
			}
			const frame = 100 * time.Millisecond // of AAC, at most
			if from, to := heard[0].PTS, heard[len(heard)-1].PTS; from < first.PTS-frame || to > newest.PTS+frame {
				t.Errorf("heard from %v to %v, said from %v to %v", from, to, first.PTS, newest.PTS)
			}
			return
		case f.Track == 0:
			picture = f
		default:
			if first == nil {
				first = f
			}
			newest = f
		}
	}
}

// TestProgram: AAC in MPEG-TS, written by a program, is heard as Opus.
func TestProgram(t *testing.T) {
	conv := converter(t, true)
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIPPED, NOT TESTED: ffmpeg is not installed")
	}
	for _, c := range []struct{ rate, channels int }{{48000, 2}, {22050, 1}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			t.Parallel() // mostly waits for the program
			argv := strings.Fields(fmt.Sprintf("ffmpeg -nostdin -hide_banner -loglevel error -readrate 2 -f lavfi -i testsrc2=size=128x96:rate=25 "+
				"-readrate 2 -f lavfi -i sine=frequency=600:sample_rate=%d -t 120 -c:v libx264 -preset ultrafast -tune zerolatency -g 25 "+
				"-c:a aac -ac %d -ar %d -f mpegts -flush_packets 1 -", c.rate, c.channels, c.rate))
			src, err := command.New(command.Options{Argv: argv})
			if err != nil {
				t.Fatal(err)
			}
			cam := camera(t, conv, src)
			lease, err := cam.Lease("test")
			if err != nil {
				t.Fatal(err)
			}
			defer lease.Release()
			written := cam.Hub().NewCursor(hub.CursorOptions{})
			ts, frames := listen(t, cam, 200, nil)
			steady(t, frames)
			inTime(t, written, frames)
			x := audiotest.Decode(t, frames, ts[0].Channels)
			level, rest := audiotest.Tone(x[48000:3*48000], 600)
			if ts[0].Channels != c.channels || math.Abs(level-0.125) > 0.01 || rest > 0.01 {
				t.Errorf("%d channels, level %.4f instead of 0.125, beside the tone %.4f", ts[0].Channels, level, rest)
			}
		})
	}
}
