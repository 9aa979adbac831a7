package rtsp

import (
	"testing"
	"time"

	"camwire/media"
)

func TestFFmpegPublishes(t *testing.T) {
	x264 := func(more ...string) []string {
		return append([]string{"-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"}, more...)
	}
	for _, c := range []struct {
		name      string
		args      []string
		video     media.Codec
		audio     media.Codec
		reordered bool
		params    int
	}{
		{name: "H264 baseline", args: x264("-profile:v", "baseline"), video: media.H264, params: 2},
		{name: "H264 high", args: []string{"-map", "0:v", "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "high", "-g", "25", "-pix_fmt", "yuv420p"}, video: media.H264, params: 2},
		{name: "H264 with B-frames", args: []string{"-map", "0:v", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"}, video: media.H264, reordered: true, params: 2},
		{name: "H264 in two slices", args: x264("-tune", "zerolatency", "-slices", "2"), video: media.H264, params: 2},
		{name: "H265", args: []string{"-map", "0:v", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=25:bframes=0:log-level=none"}, video: media.H265, params: 3},
		{name: "VP8 and Opus", args: []string{"-map", "0:v", "-map", "1:a", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-c:a", "libopus"}, video: media.VP8, audio: media.Opus},
		{name: "H264 and AAC", args: append(x264("-tune", "zerolatency"), "-map", "1:a", "-c:a", "aac"), video: media.H264, audio: media.AAC, params: 2},
		{name: "H264 and PCMU", args: append(x264("-tune", "zerolatency"), "-map", "1:a", "-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"), video: media.H264, audio: media.PCMU, params: 2},
	} {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(c.name+" by "+transport, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, Options{UDP: true}, configWithRoom())
				b.fast = true
				b.publish("cam", transport, c.args...)
				h := b.waitLive("cam")
				fs := read(t, h, func(fs []*media.Frame) bool {
					return len(ofTrack(fs, 0)) >= 40 && (c.audio == "" || len(ofTrack(fs, 1)) >= 20)
				})
				ts, _ := h.Tracks()
				if ts[0].Codec != c.video || ts[0].Reordered != c.reordered || ts[0].Width != 320 || ts[0].Height != 240 {
					t.Errorf("video track %+v", ts[0])
				}
				if len(ts[0].Params) < c.params {
					t.Errorf("%d parameter sets, want %d", len(ts[0].Params), c.params)
				}
				if c.audio != "" && (len(ts) != 2 || ts[1].Codec != c.audio) {
					t.Errorf("tracks %v", ts)
				}
				checkVideo(t, ofTrack(fs, 0), c.reordered)
				if c.audio != "" {
					checkAudio(t, ofTrack(fs, 1))
				}
			})
		}
	}
}

// checkVideo expects 25 fps and a key frame each 25 pictures.
func checkVideo(t *testing.T, fs []*media.Frame, reordered bool) {
	t.Helper()
	if !fs[0].Key {
		t.Error("the first frame is no key frame")
	}
	last, backwards := -1, 0
	for i, f := range fs {
		if f.Key {
			if last >= 0 && i-last != 25 {
				t.Errorf("key frames %d and %d: %d apart, want 25", last, i, i-last)
			}
			last = i
		}
		if i == 0 {
			continue
		}
		d := f.PTS - fs[i-1].PTS
		if d < 0 {
			backwards++
		}
		if !reordered && (d < 39*time.Millisecond || d > 41*time.Millisecond) {
			t.Errorf("frame %d comes %v after the one before, want 40 ms", i, d)
		}
	}
	if reordered != (backwards > 0) {
		t.Errorf("PTS runs backwards %d times, reordered %v", backwards, reordered)
	}
}

func checkAudio(t *testing.T, fs []*media.Frame) {
	t.Helper()
	for i := 1; i < len(fs); i++ {
		if d := fs[i].PTS - fs[i-1].PTS; d <= 0 || d > 130*time.Millisecond {
			t.Errorf("sound frame %d comes %v after the one before", i, d)
		}
	}
}
