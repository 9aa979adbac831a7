// Package audiotest listens to Opus with the ffmpeg program, which knows
// nothing of how the packets were made. It is for tests.
package audiotest

import (
	"bytes"
	"encoding/binary"
	"math"
	"os/exec"
	"testing"

	"github.com/thesyncim/gopus/container/ogg"

	"camwire/media"
)

// Decode gives the packets to ffmpeg in an Ogg file and returns what it
// decodes, mixed to one channel of 48 kHz. Without ffmpeg the test is skipped.
func Decode(t testing.TB, frames []*media.Frame, channels int) []float32 {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIPPED, NOT TESTED: ffmpeg is not installed")
	}
	var file bytes.Buffer
	w, err := ogg.NewWriter(&file, 48000, uint8(channels))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(f.Units[0], 960); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-hide_banner", "-loglevel", "warning", "-xerror", "-i", "-",
		"-ac", "1", "-ar", "48000", "-f", "f32le", "-")
	cmd.Stdin = &file
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil || trouble.Len() > 0 {
		t.Fatalf("ffmpeg: %v\n%s", err, &trouble)
	}
	b := out.Bytes()
	samples := make([]float32, len(b)/4)
	for i := range samples {
		samples[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return samples
}

// Tone returns the level of a tone in samples of 48 kHz, and that of all that
// is not the tone, both as amplitudes.
func Tone(x []float32, hz float64) (level, rest float64) {
	w := 2 * math.Pi * hz / 48000
	var s, c, sum float64
	for i, v := range x {
		s += float64(v) * math.Sin(w*float64(i))
		c += float64(v) * math.Cos(w*float64(i))
	}
	n := float64(max(len(x), 1))
	s, c = 2*s/n, 2*c/n
	for i, v := range x {
		d := float64(v) - s*math.Sin(w*float64(i)) - c*math.Cos(w*float64(i))
		sum += d * d
	}
	return math.Hypot(s, c), math.Sqrt(2 * sum / n)
}
