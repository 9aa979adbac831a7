package libavtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"camwire/media"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

// SoundSpec says what sound is wanted: a sine on all channels.
type SoundSpec struct {
	Rate, Channels int
	// Hz of the tone, its amplitude is an eighth of the largest.
	Hz      int
	Seconds int
	// Source replaces the tone by another source of ffmpeg's.
	Source string
}

// MakeAAC makes AAC-LC. Without ffmpeg the test is skipped.
func MakeAAC(t testing.TB, s SoundSpec) Clip {
	t.Helper()
	if s.Source == "" {
		s.Source = fmt.Sprintf("sine=frequency=%d:sample_rate=%d", s.Hz, s.Rate)
	}
	out := filepath.Join(t.TempDir(), "clip.aac")
	run(t, "-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", s.Source,
		"-t", strconv.Itoa(s.Seconds), "-ar", strconv.Itoa(s.Rate), "-af", channelsFilter(s.Channels),
		"-c:a", "aac", "-b:a", strconv.Itoa(64000*s.Channels), "-f", "adts", out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var packets mpeg4audio.ADTSPackets
	if err := packets.Unmarshal(b); err != nil || len(packets) == 0 {
		t.Fatalf("ffmpeg's ADTS: %d packets, %v", len(packets), err)
	}
	p := packets[0]
	config, err := mpeg4audio.AudioSpecificConfig{Type: p.Type, SampleRate: p.SampleRate, ChannelConfig: p.ChannelConfig}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c := Clip{Track: media.Track{Codec: media.AAC, ClockRate: s.Rate, Channels: s.Channels, Params: [][]byte{config}}}
	for i, p := range packets {
		c.Frames = append(c.Frames, &media.Frame{
			PTS: time.Duration(i) * 1024 * time.Second / time.Duration(s.Rate), Key: true, Units: [][]byte{p.AU},
		})
	}
	return c
}

// channelsFilter copies the one channel of the source to all.
func channelsFilter(n int) string {
	layout := map[int]string{1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}[n]
	f := "pan=" + layout
	for i := range n {
		f += fmt.Sprintf("|c%d=c0", i)
	}
	return f
}
