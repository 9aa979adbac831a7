//go:build cgo

package libav_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"camwire/media"
	"camwire/media/libav"
	"camwire/media/libav/libavtest"
)

func decodeSound(t testing.TB, c libavtest.Clip, config []byte) []libav.Sound {
	t.Helper()
	d, err := libav.OpenSound(media.AAC, config)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var out []libav.Sound
	for i, f := range c.Frames {
		err := d.Decode(f.Units[0], func(s libav.Sound) error {
			s.Samples = append([]float32(nil), s.Samples...)
			out = append(out, s)
			return nil
		})
		if err != nil {
			t.Fatalf("unit %d: %v", i, err)
		}
	}
	return out
}

// TestSound: every unit gives its samples at once, at the right level.
func TestSound(t *testing.T) {
	for _, c := range []struct{ rate, channels int }{{8000, 1}, {16000, 1}, {44100, 2}, {48000, 2}, {48000, 6}} {
		t.Run(fmt.Sprintf("%d-%d", c.rate, c.channels), func(t *testing.T) {
			clip := libavtest.MakeAAC(t, libavtest.SoundSpec{Rate: c.rate, Channels: c.channels, Hz: 500, Seconds: 1})
			blocks := decodeSound(t, clip, clip.Track.Params[0])
			if len(blocks) != len(clip.Frames) {
				t.Fatalf("%d blocks of %d units", len(blocks), len(clip.Frames))
			}
			for i, s := range blocks {
				if s.Rate != c.rate || s.Channels != c.channels || len(s.Samples) != 1024*c.channels {
					t.Fatalf("block %d: %d Hz, %d channels, %d samples", i, s.Rate, s.Channels, len(s.Samples))
				}
			}
			mid, sum := blocks[len(blocks)/2], 0.0
			for i := 0; i < len(mid.Samples); i += c.channels {
				sum += float64(mid.Samples[i]) * float64(mid.Samples[i])
			}
			if level := math.Sqrt(2 * sum / 1024); level < 0.11 || level > 0.14 {
				t.Errorf("level %.3f, want 0.125", level)
			}
		})
	}
}

// TestSoundSBR: a config that promises the additions of HE-AAC doubles the
// rate, whatever the units hold (ISO/IEC 14496-3 section 1.6.5).
func TestSoundSBR(t *testing.T) {
	clip := libavtest.MakeAAC(t, libavtest.SoundSpec{Rate: 24000, Channels: 2, Hz: 500, Seconds: 1})
	// Object type 5, 24000 Hz, 2 channels, 48000 Hz with the extension, type 2.
	blocks := decodeSound(t, clip, []byte{0x2b, 0x11, 0x88, 0x00})
	last := blocks[len(blocks)-1]
	if last.Rate != 48000 || len(last.Samples) != 2*2048 {
		t.Errorf("%d Hz and %d samples", last.Rate, len(last.Samples))
	}
}

func TestSoundRefused(t *testing.T) {
	for name, config := range map[string][]byte{
		"empty": nil, "long": bytes.Repeat([]byte{0x12}, libav.MaxSoundConfig+1),
		"xHE-AAC": {0xf9, 0x46, 0x43, 0x22, 0x2c, 0xc0}, "nothing": {0, 0},
	} {
		d, err := libav.OpenSound(media.AAC, config)
		if err == nil {
			d.Close()
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := libav.OpenSound(media.Opus, []byte{0x12, 0x10}); err == nil {
		t.Error("Opus taken")
	}
	d, err := libav.OpenSound(media.AAC, []byte{0x12, 0x10})
	if err != nil {
		t.Fatal(err)
	}
	for _, au := range [][]byte{nil, bytes.Repeat([]byte{0xff}, 100), {0}} {
		if err := d.Decode(au, func(libav.Sound) error { return nil }); err == nil {
			t.Errorf("%x taken", au)
		}
	}
	d.Flush()
	d.Close()
	d.Close()
	d.Flush()
	if err := d.Decode([]byte{1}, nil); err == nil {
		t.Error("closed decoder took a unit")
	}
}

func FuzzSound(f *testing.F) {
	clip := libavtest.MakeAAC(f, libavtest.SoundSpec{Rate: 16000, Channels: 1, Hz: 500, Seconds: 1})
	f.Add(clip.Track.Params[0], clip.Frames[3].Units[0])
	f.Add([]byte{0x2b, 0x11, 0x88, 0x00}, clip.Frames[4].Units[0])
	f.Add([]byte{0x11, 0xb0}, []byte{0x21, 0x1b, 0x80})
	f.Fuzz(func(t *testing.T, config, au []byte) {
		d, err := libav.OpenSound(media.AAC, config)
		if err != nil {
			return
		}
		defer d.Close()
		for range 2 {
			_ = d.Decode(au, func(s libav.Sound) error {
				if s.Channels < 1 || len(s.Samples)%s.Channels != 0 || len(s.Samples) == 0 {
					t.Errorf("%d samples of %d channels", len(s.Samples), s.Channels)
				}
				return nil
			})
		}
	})
}
