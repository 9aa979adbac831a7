//go:build cgo

package worker

import (
	"errors"
	"math"
	"strings"
	"testing"

	"camwire/media"
	"camwire/media/audio/pcm"
	"camwire/media/libav/libavtest"
)

// TestSound: AAC comes back as PCM with its own times; more than two channels
// become two.
func TestSound(t *testing.T) {
	w := start(t)
	for _, channels := range []int{1, 2, 6} {
		clip := libavtest.MakeAAC(t, libavtest.SoundSpec{Rate: 44100, Channels: channels, Hz: 441, Seconds: 1})
		ok(t, w.SetInput(clip.Track))
		good, bad := feedAll(t, w, clip.Frames, true)
		if len(bad) > 0 || len(good) != len(clip.Frames) {
			t.Fatalf("%d channels: %d blocks of %d units, trouble %v", channels, len(good), len(clip.Frames), bad)
		}
		var samples []float32
		for i, r := range good {
			if r.Kind != OutputPCM || r.Rate != 44100 || r.Channels != min(channels, 2) || r.PTS != clip.Frames[i].PTS || len(r.Units) != 1 {
				t.Fatalf("block %d: %+v", i, r)
			}
			samples = pcm.FromL16(samples, r.Units[0])
		}
		mono := pcm.Mono(samples, min(channels, 2))
		if len(mono) != 1024*len(clip.Frames) {
			t.Fatalf("%d samples", len(mono))
		}
		var sum float64
		for _, v := range mono[10000:30000] {
			sum += float64(v) * float64(v)
		}
		if level := math.Sqrt(sum / 10000); level < 0.115 || level > 0.135 {
			t.Errorf("%d channels: level %.3f, want 0.125", channels, level)
		}
		if good, _ = feedAll(t, w, clip.Frames[:3], false); len(good) != 0 {
			t.Errorf("%d blocks that nobody wanted", len(good))
		}
	}
}

// TestBrokenSound: the worker survives it and says so.
func TestBrokenSound(t *testing.T) {
	w := start(t)
	clip := libavtest.MakeAAC(t, libavtest.SoundSpec{Rate: 16000, Channels: 1, Hz: 441, Seconds: 1})
	ok(t, w.SetInput(clip.Track))
	frames := append([]*media.Frame{{Units: [][]byte{{0xff, 0xff, 0xff}}}, {}}, clip.Frames[:5]...)
	good, bad := feedAll(t, w, frames, true)
	if len(good) != 5 || len(bad) == 0 || !strings.Contains(bad[0].Err.Error(), "not decodable") {
		t.Errorf("%d blocks, trouble %v", len(good), bad)
	}
	for _, params := range [][][]byte{nil, {{0xf9, 0x46, 0x43, 0x22, 0x2c, 0xc0}}} {
		ok(t, w.SetInput(media.Track{Codec: media.AAC, ClockRate: 48000, Params: params}))
		var trouble *TroubleError
		if good, bad = feedAll(t, w, clip.Frames[:2], true); len(good) != 0 || len(bad) == 0 || !errors.As(bad[0].Err, &trouble) {
			t.Errorf("config %x: %d blocks, trouble %v", params, len(good), bad)
		}
	}
	for _, c := range []media.Codec{media.Opus, media.PCMU, media.L16} {
		if err := w.SetInput(media.Track{Codec: c}); err == nil {
			t.Errorf("%s taken", c)
		}
	}
}

func TestImplausibleSound(t *testing.T) {
	good := soundBlock{Frame: 1, Rate: 48000, Channels: 2, PCM: make([]byte, 8)}
	for name, change := range map[string]func(*soundBlock){
		"no rate":      func(m *soundBlock) { m.Rate = 0 },
		"rate":         func(m *soundBlock) { m.Rate = 1 << 30 },
		"no channel":   func(m *soundBlock) { m.Channels = 0 },
		"channels":     func(m *soundBlock) { m.Channels = 3 },
		"nothing":      func(m *soundBlock) { m.PCM = nil },
		"half a frame": func(m *soundBlock) { m.PCM = make([]byte, 6) },
		"long":         func(m *soundBlock) { m.PCM = make([]byte, maxSound+4) },
	} {
		m := good
		change(&m)
		if _, err := parseSound(encode(m.message())[headerSize:]); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := parseSound(encode(good.message())[headerSize:]); err != nil {
		t.Error(err)
	}
}
