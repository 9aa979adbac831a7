package rtsp

import (
	"image"
	"math"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/audio"
	"camwire/media/audio/audiotest"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/media/worker"
)

// workerEnv makes the test binary a codec worker.
const workerEnv = "CAMWIRE_TEST_CODEC_WORKER"

// TestPublishedAAC: what ffmpeg publishes as AAC is heard as Opus, in time with
// the picture.
func TestPublishedAAC(t *testing.T) {
	if err := worker.Available(); err != nil {
		t.Skip(err)
	}
	conv := audio.New(audio.Options{Worker: worker.Options{
		Args: []string{}, Env: []string{workerEnv + "=1"}, HangTimeout: patience, StartTimeout: patience,
	}})
	c := configWithRoom()
	c.Derive = func(s *stream.Stream, _ string) (media.Source, error) { return conv.Derive(s) }
	b := newBench(t, Options{}, c)
	b.publish("cam", "tcp", "-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p",
		"-map", "1:a", "-c:a", "aac", "-ac", "2", "-ar", "44100")
	h := b.waitLive("cam")
	cam, err := b.registry.Get("cam")
	if err != nil {
		t.Fatal(err)
	}
	published := h.NewCursor(hub.CursorOptions{})
	lease, err := cam.LeaseDerived(audio.Name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	frames := read(t, lease.Hub(), func(fs []*media.Frame) bool { return len(fs) >= 150 })
	// All have one clock: picture and sound come side by side, and what is heard
	// lies within what had been said by then.
	last := frames[len(frames)-1]
	said := readFrom(t, published, func(fs []*media.Frame) bool { return len(fs) > 0 && fs[len(fs)-1].Arrived.After(last.Arrived) })
	said = said[:len(said)-1]
	pictures, sound := ofTrack(said, 0), ofTrack(said, 1)
	if len(pictures) == 0 || len(sound) == 0 {
		t.Fatalf("%d pictures and %d packets of sound", len(pictures), len(sound))
	}
	first, newest := sound[0].PTS, sound[len(sound)-1].PTS
	if d := pictures[len(pictures)-1].PTS - newest; d.Abs() > time.Second {
		t.Errorf("the picture is %v ahead of the sound", d)
	}
	if from, to := frames[0].PTS, last.PTS; from < first-100*time.Millisecond || to > newest+100*time.Millisecond {
		t.Errorf("heard from %v to %v, said from %v to %v", from, to, first, newest)
	}
	missing := 0
	for i, f := range frames[1:] {
		if f.PTS-frames[i].PTS != 20*time.Millisecond {
			missing++
		}
		if age := f.Arrived.Sub(f.Captured); age < -time.Second || age > patience {
			t.Errorf("packet %d is %v old", i, age)
		}
	}
	if missing > 0 {
		t.Errorf("%d gaps", missing)
	}
	ts, _ := lease.Hub().Tracks()
	x := audiotest.Decode(t, frames, ts[0].Channels)
	level, rest := audiotest.Tone(x[48000:2*48000], 440)
	if math.Abs(level-0.125) > 0.01 || rest > 0.01 {
		t.Errorf("level %.4f instead of 0.125, beside the tone %.4f", level, rest)
	}
}

// TestMicrophoneIsLeftOut: the samples of a microphone do not disturb a player.
func TestMicrophoneIsLeftOut(t *testing.T) {
	b := newBench(t, Options{}, stream.Config{})
	sound := &media.Frame{Track: 1, Key: true, Units: [][]byte{make([]byte, 1920)}}
	src := &replay{
		tracks: media.Tracks{{Codec: media.JPEG, ClockRate: 90000}, {Codec: media.L16, ClockRate: 48000, Channels: 1}},
		frames: []*media.Frame{jpegFrame(t, 64, 48, image.YCbCrSubsampleRatio420), sound}, every: 20 * time.Millisecond,
	}
	if _, err := b.registry.Add("cam", stream.Options{Type: "usb", Source: src, OnDemand: true}); err != nil {
		t.Fatal(err)
	}
	p := probe(t, b.url("cam"), "tcp", 1)
	if len(p.Streams) != 1 || p.Streams[0].Codec != "mjpeg" {
		t.Errorf("%+v", p.Streams)
	}
}
