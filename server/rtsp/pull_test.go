package rtsp

import (
	"bytes"
	"context"
	"errors"
	"image/jpeg"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/hub"
	source "camwire/media/rtsp"
	"camwire/media/stream"
)

// pull makes a second registry that takes the camera from the first one.
func (b *bench) pull(url, transport string) *bench {
	b.t.Helper()
	far := newBench(b.t, Options{}, configWithRoom())
	src, err := source.New(source.Options{URL: url, Transport: transport, Log: far.server.log})
	if err != nil {
		b.t.Fatal(err)
	}
	far.add("copy", src)
	return far
}

// TestPullWhatIsPublished goes ffmpeg → server → source: both halves of the
// way at once.
func TestPullWhatIsPublished(t *testing.T) {
	x264 := []string{"-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"}
	for i, c := range []struct {
		name, transport string
		args            []string
		want            string
		reordered       bool
	}{
		{name: "H264 and AAC by TCP", transport: "", want: "H264+AAC",
			args: append(slices.Clip(x264), "-tune", "zerolatency", "-map", "1:a", "-c:a", "aac")},
		{name: "H264 and Opus by UDP", transport: "udp", want: "H264+opus",
			args: append(slices.Clip(x264), "-tune", "zerolatency", "-map", "1:a", "-c:a", "libopus")},
		{name: "H264 with B-frames", transport: "tcp", want: "H264", reordered: true,
			args: []string{"-map", "0:v", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"}},
		{name: "VP9", transport: "tcp", want: "VP9",
			args: []string{"-map", "0:v", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-strict", "experimental"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			firstIsEnough(t, i)
			b := newBench(t, Options{UDP: true, Authorize: func(_ context.Context, _ net.Addr, user, pass, _, perm, _ string) error {
				if perm == Publish || user == "me" && pass == "s3cret" {
					return nil
				}
				return errNo
			}}, configWithRoom())
			b.publish("cam", "tcp", c.args...)
			near := b.waitLive("cam").NewCursor(hub.CursorOptions{})
			far := b.pull("rtsp://me:s3cret@"+b.addr+"/cam", c.transport)
			h := far.waitLive("copy")
			fs := read(t, h, func(fs []*media.Frame) bool { return len(ofTrack(fs, 0)) >= 60 })
			ts, _ := h.Tracks()
			if ts.String() != c.want || ts[0].Reordered != c.reordered || ts[0].Width != 320 {
				t.Errorf("tracks %v: %+v", ts, ts[0])
			}
			if len(ts) == 2 {
				checkAudio(t, ofTrack(fs, 1))
			}
			same(t, ofTrack(readFrom(t, near, func(fs []*media.Frame) bool { return len(ofTrack(fs, 0)) >= 60 }), 0), ofTrack(fs, 0))
			if strings.Contains(far.log.String(), "s3cret") {
				t.Error("the password is in the log")
			}
		})
	}
}

// same expects that the pictures that have come over are those that were sent,
// bit by bit, without a gap.
func same(t *testing.T, sent, got []*media.Frame) {
	t.Helper()
	join := func(f *media.Frame) []byte { return bytes.Join(f.Units, []byte{0}) }
	for i, f := range sent {
		if !bytes.Equal(join(f), join(got[0])) {
			continue
		}
		n := min(len(sent)-i, len(got))
		for k := range n {
			if !bytes.Equal(join(sent[i+k]), join(got[k])) || sent[i+k].Key != got[k].Key {
				t.Fatalf("picture %d after the first differs", k)
			}
		}
		if n < 10 {
			t.Errorf("only %d pictures to compare", n)
		}
		return
	}
	t.Error("the first picture received was never sent")
}

func av1Clip(t *testing.T) []*media.Frame {
	t.Helper()
	needFFmpeg(t)
	cmd := exec.Command("ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25",
		"-frames:v", "20", "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0", "-g", "10", "-f", "obu", "-")
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: this ffmpeg makes no AV1: %v", err)
	}
	var fs []*media.Frame
	for len(out) > 0 {
		typ, size, n := out[0]>>3&15, 0, 1
		for s := 0; ; s += 7 {
			v := out[n]
			size |= int(v&0x7f) << s
			n++
			if v&0x80 == 0 {
				break
			}
		}
		if typ == 2 {
			fs = append(fs, &media.Frame{})
		} else {
			fs[len(fs)-1].Units = append(fs[len(fs)-1].Units, out[:n+size])
		}
		out = out[n+size:]
	}
	return fs
}

// TestPullReplayed takes what ffmpeg cannot send.
func TestPullReplayed(t *testing.T) {
	t.Run("AV1", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Options{}, configWithRoom())
		b.add("cam", &replay{tracks: media.Tracks{{Codec: media.AV1, ClockRate: 90000}}, frames: av1Clip(t), every: 20 * time.Millisecond})
		near := b.waitLive("cam").NewCursor(hub.CursorOptions{})
		h := b.pull(b.url("cam"), "tcp").waitLive("copy")
		got := read(t, h, func(fs []*media.Frame) bool { return len(fs) >= 30 })
		if ts, _ := h.Tracks(); ts.String() != "AV1" || ts[0].Width != 320 {
			t.Errorf("%+v", ts)
		}
		same(t, readFrom(t, near, func(fs []*media.Frame) bool { return len(fs) >= 30 }), got)
	})
	t.Run("JPEG", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Options{UDP: true}, configWithRoom())
		b.add("cam", &replay{tracks: media.Tracks{{Codec: media.JPEG, ClockRate: 90000}},
			frames: []*media.Frame{jpegFrame(t, 640, 480, 2)}, every: 20 * time.Millisecond})
		h := b.pull(b.url("cam"), "udp").waitLive("copy")
		for _, f := range read(t, h, func(fs []*media.Frame) bool { return len(fs) >= 4 }) {
			img, err := jpeg.Decode(bytes.NewReader(f.Units[0]))
			if err != nil || img.Bounds().Dx() != 640 || img.Bounds().Dy() != 480 {
				t.Errorf("%v", err)
			}
		}
	})
	t.Run("Opus alone", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, Options{}, configWithRoom())
		b.add("cam", tone())
		h := b.pull(b.url("cam"), "").waitLive("copy")
		checkAudio(t, read(t, h, func(fs []*media.Frame) bool { return len(fs) >= 4 }))
	})
}

// TestKeyFrameWishTravels goes from the copy to the camera.
func TestKeyFrameWishTravels(t *testing.T) {
	b := newBench(t, Options{}, stream.Config{})
	src := &pusher{sink: make(chan media.Sink, 1)}
	b.add("cam", src)
	sink := <-src.sink
	sink.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	key := []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 1, 2, 3}
	sink.Write(&media.Frame{Units: [][]byte{key}})
	far := b.pull(b.url("cam"), "tcp")
	far.waitLive("copy")
	copied, err := far.registry.Get("copy")
	if err != nil {
		t.Fatal(err)
	}
	before := src.keys.Load()
	until(t, "the camera is asked for a key frame", func() bool {
		copied.RequestKey()
		return src.keys.Load() > before
	})
}

func TestPullErrors(t *testing.T) {
	b := newBench(t, Options{WaitTimeout: 50 * time.Millisecond, Authorize: func(_ context.Context, _ net.Addr, user, _, _, _, _ string) error {
		if user == "me" {
			return nil
		}
		return errNo
	}}, stream.Config{})
	for _, c := range []struct {
		url     string
		timeout time.Duration
		want    error
		hint    string
	}{
		{"rtsp://" + b.addr + "/cam", patience, source.ErrUnauthorized, "user:password@"},
		{"rtsp://you:s3cret@" + b.addr + "/cam", patience, source.ErrUnauthorized, "check user and password in source"},
		{"rtsp://me:s3cret@" + b.addr + "/cam", patience, source.ErrNotFound, "no such path"},
		// The server waits for the rest of what it takes for a request.
		{"rtsps://me:s3cret@" + b.addr + "/cam", time.Second, source.ErrTLS, "rtsp://"},
	} {
		src, err := source.New(source.Options{URL: c.url, SetupTimeout: c.timeout})
		if err != nil {
			t.Fatal(err)
		}
		err = src.Run(t.Context(), nil)
		var e *source.Error
		if !errors.Is(err, c.want) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: %v", source.MaskURL(c.url), err)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), b.addr)) {
			t.Errorf("%v", err)
		}
	}
}
