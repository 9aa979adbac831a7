package rtsp

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/stream"
)

type probed struct {
	Streams []struct {
		Codec   string `json:"codec_name"`
		Width   int    `json:"width"`
		Height  int    `json:"height"`
		Packets string `json:"nb_read_packets"`
		Start   string `json:"start_time"`
	} `json:"streams"`
	Packets []struct {
		Index int    `json:"stream_index"`
		PTS   string `json:"pts_time"`
		Flags string `json:"flags"`
	} `json:"packets"`
}

// probe plays seconds of a camera with ffprobe.
func probe(t *testing.T, url, transport string, seconds int) probed {
	t.Helper()
	needFFmpeg(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffprobe", "-hide_banner", "-loglevel", "warning", "-rtsp_transport", transport,
		"-read_intervals", "%+"+strconv.Itoa(seconds), "-count_packets", "-show_streams", "-show_packets", "-of", "json", url)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, &stderr)
	}
	var p probed
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		t.Fatalf("ffprobe says %q: %v", out.String(), err)
	}
	if stderr.Len() > 0 {
		t.Logf("ffprobe: %s", &stderr)
	}
	return p
}

func TestFFprobePlays(t *testing.T) {
	video := []string{"-map", "0:v", "-g", "25", "-pix_fmt", "yuv420p"}
	x264 := append(slices.Clip(video), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency")
	for i, c := range []struct {
		name         string
		args         []string
		codec, sound string
	}{
		{"H264 and Opus", append(slices.Clip(x264), "-map", "1:a", "-c:a", "libopus"), "h264", "opus"},
		{"H264 with B-frames and AAC", append(slices.Clip(video), "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-map", "1:a", "-c:a", "aac"), "h264", "aac"},
		{"H265 and PCMA", append(slices.Clip(video), "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=0:log-level=none",
			"-map", "1:a", "-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"), "hevc", "pcm_alaw"},
		{"VP8", append(slices.Clip(video), "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"), "vp8", ""},
		{"VP9", append(slices.Clip(video), "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-strict", "experimental"), "vp9", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			firstIsEnough(t, i)
			b := newBench(t, Options{UDP: true}, stream.Config{})
			b.publish("cam", "tcp", c.args...)
			b.waitLive("cam")
			for _, transport := range []string{"tcp", "udp"} {
				p := probe(t, b.url("cam"), transport, 2)
				if len(p.Streams) == 0 || p.Streams[0].Codec != c.codec || p.Streams[0].Width != 320 || p.Streams[0].Height != 240 {
					t.Fatalf("%s: %+v", transport, p.Streams)
				}
				if c.sound != "" && (len(p.Streams) != 2 || p.Streams[1].Codec != c.sound) {
					t.Errorf("%s: %+v", transport, p.Streams)
				}
				n := 0
				for _, pkt := range p.Packets {
					if pkt.Index == 0 {
						n++
					}
				}
				// Two seconds of 25 fps, and up to one of replay before.
				if n < 43 || n > 80 {
					t.Errorf("%s: %d pictures in 2 s of 25 fps", transport, n)
				}
			}
		})
	}
}

func jpegFrame(t *testing.T, w, h int, sub image.YCbCrSubsampleRatio) *media.Frame {
	t.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, w, h), sub)
	for y := range h {
		for x := range w {
			img.Y[img.YOffset(x, y)] = color.GrayModel.Convert(color.RGBA{uint8(x), uint8(y), uint8(x * y), 255}).(color.Gray).Y
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 80}); err != nil {
		t.Fatal(err)
	}
	return &media.Frame{Key: true, Units: [][]byte{b.Bytes()}}
}

func TestJPEGCameraPlays(t *testing.T) {
	b := newBench(t, Options{UDP: true}, stream.Config{})
	src := &replay{
		tracks: media.Tracks{{Codec: media.JPEG, ClockRate: 90000}},
		frames: []*media.Frame{jpegFrame(t, 640, 480, image.YCbCrSubsampleRatio420)}, every: 40 * time.Millisecond,
	}
	if _, err := b.registry.Add("cam", stream.Options{Type: "http", Source: src, OnDemand: true}); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"tcp", "udp"} {
		p := probe(t, b.url("cam"), transport, 1)
		if len(p.Streams) != 1 || p.Streams[0].Codec != "mjpeg" || p.Streams[0].Width != 640 || p.Streams[0].Height != 480 {
			t.Errorf("%s: %+v", transport, p.Streams)
		}
	}
}

// TestDerivedH264 plays cameras whose pictures RTSP cannot carry.
func TestDerivedH264(t *testing.T) {
	clip := h264Clip(t, 50)
	h264 := &replay{tracks: media.Tracks{{Codec: media.H264, ClockRate: 90000}}, frames: clip, every: 40 * time.Millisecond}
	odd := jpegFrame(t, 644, 482, image.YCbCrSubsampleRatio420)
	for name, src := range map[string]*replay{
		"raw": {
			tracks: media.Tracks{{Codec: media.YUYV, ClockRate: 90000, Width: 16, Height: 16}},
			frames: []*media.Frame{{Key: true, Units: [][]byte{make([]byte, 512)}}}, every: 40 * time.Millisecond,
		},
		"JPEG of odd size": {
			tracks: media.Tracks{{Codec: media.JPEG, ClockRate: 90000}},
			frames: []*media.Frame{odd}, every: 40 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 10)
			b := newBench(t, Options{}, stream.Config{Derive: func(_ *stream.Stream, name string) (media.Source, error) {
				asked <- name
				return h264, nil
			}})
			if _, err := b.registry.Add("cam", stream.Options{Type: "usb", Source: src}); err != nil {
				t.Fatal(err)
			}
			p := probe(t, b.url("cam"), "tcp", 1)
			if len(p.Streams) != 1 || p.Streams[0].Codec != "h264" || p.Streams[0].Width != 320 {
				t.Errorf("%+v", p.Streams)
			}
			if n := <-asked; n != "h264" || len(asked) > 0 {
				t.Errorf("derived %q and %d more", n, len(asked))
			}
		})
	}
}
