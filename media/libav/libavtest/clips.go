// Package libavtest makes short coded clips with the ffmpeg program, for the
// tests of packages that decode. Nothing else may import it.
package libavtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"camwire/media"
)

// Clip is a decoded-by-nobody sequence of frames.
type Clip struct {
	Track  media.Track
	Frames []*media.Frame
}

// Spec says what clip is wanted.
type Spec struct {
	Codec media.Codec
	// Size is "320x240"; Frames the number of pictures; both have defaults.
	Size   string
	Frames int
	// Args are the encoder's options; nil means good ones for the codec.
	Args []string
	// Reordered clips have B-frames; the frames' PTS then follow the display.
	Reordered bool
}

var encoders = map[media.Codec][]string{
	media.H264: strings.Fields("-c:v libx264 -profile:v high -preset veryfast -bf 0 -g 15"),
	media.H265: strings.Fields("-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=15:bframes=0:pools=1"),
	media.VP8:  strings.Fields("-c:v libvpx -deadline realtime -cpu-used 6 -b:v 1M -g 15"),
	media.VP9:  strings.Fields("-c:v libvpx-vp9 -deadline realtime -cpu-used 7 -b:v 1M -g 15"),
	media.AV1:  strings.Fields("-c:v libsvtav1 -preset 12 -g 15 -svtav1-params pred-struct=1"),
	media.JPEG: strings.Fields("-pix_fmt yuvj420p -c:v mjpeg -q:v 4"),
}

// Make makes a clip of ffmpeg's testsrc2. Without ffmpeg the test is skipped.
func Make(t testing.TB, s Spec) Clip {
	t.Helper()
	if s.Size == "" {
		s.Size = "320x240"
	}
	if s.Frames == 0 {
		s.Frames = 30
	}
	if s.Args == nil {
		s.Args = encoders[s.Codec]
	}
	format := map[media.Codec]string{media.H264: "h264", media.H265: "hevc", media.JPEG: "mjpeg"}[s.Codec]
	if format == "" {
		format = "ivf"
	}
	out := filepath.Join(t.TempDir(), "clip."+format)
	args := []string{"-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source(s.Size)}
	if s.Codec != media.JPEG {
		args = append(args, "-pix_fmt", "yuv420p")
	}
	args = append(args, s.Args...)
	args = append(args, "-frames:v", strconv.Itoa(s.Frames))
	switch s.Codec {
	case media.H264:
		args = append(args, "-bsf:v", "h264_metadata=aud=insert")
	case media.H265:
		args = append(args, "-bsf:v", "hevc_metadata=aud=insert")
	}
	run(t, append(args, "-f", format, out)...)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	c := Clip{Track: media.Track{Codec: s.Codec, ClockRate: 90000, FPS: 30, Reordered: s.Reordered}}
	for _, units := range split(s.Codec, b) {
		f := &media.Frame{Units: units, Captured: time.Now()}
		f.PTS = time.Duration(len(c.Frames)) * time.Second / 30
		f.Key = isKey(s.Codec, units)
		c.Frames = append(c.Frames, f)
	}
	if len(c.Frames) != s.Frames {
		t.Fatalf("%s: %d frames instead of %d", s.Codec, len(c.Frames), s.Frames)
	}
	return c
}

// Picture is ffmpeg's own picture number n of testsrc2, limited range.
func Picture(t testing.TB, size string, width, height, n int) *image.YCbCr {
	t.Helper()
	out := filepath.Join(t.TempDir(), "picture.yuv")
	run(t, "-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source(size),
		"-vf", "select=eq(n\\,"+strconv.Itoa(n)+"),format=yuv420p,scale="+strconv.Itoa(width)+":"+strconv.Itoa(height)+":flags=area", "-frames:v", "1", "-f", "rawvideo", out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	m := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	if len(b) != len(m.Y)+len(m.Cb)+len(m.Cr) {
		t.Fatalf("raw picture of %d bytes", len(b))
	}
	n = copy(m.Y, b)
	n += copy(m.Cb, b[n:])
	copy(m.Cr, b[n:])
	return m
}

// source is testsrc2 in exactly that size: by itself it makes even sizes only.
func source(size string) string {
	var w, h int
	if _, err := fmt.Sscanf(size, "%dx%d", &w, &h); err != nil {
		return size // ffmpeg says what is wrong with it
	}
	return fmt.Sprintf("testsrc2=size=%dx%d:rate=30,format=yuv444p,crop=%d:%d:0:0:exact=1,format=yuv420p", w+w%2, h+h%2, w, h)
}

func run(t testing.TB, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("the ffmpeg program is not installed")
	}
	if b, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, b)
	}
}

func split(c media.Codec, b []byte) (frames [][][]byte) {
	switch c {
	case media.H264, media.H265:
		for _, nal := range NALs(b) {
			if c == media.H264 && nal[0]&0x1f == 9 || c == media.H265 && nal[0]>>1&0x3f == 35 {
				frames = append(frames, nil)
				continue
			}
			if len(frames) > 0 {
				frames[len(frames)-1] = append(frames[len(frames)-1], nal)
			}
		}
	case media.JPEG:
		for len(b) > 2 {
			i := bytes.Index(b[2:], []byte{0xff, 0xd8, 0xff})
			if i < 0 {
				i = len(b) - 2
			}
			frames = append(frames, [][]byte{b[:i+2]})
			b = b[i+2:]
		}
	default:
		at := int(binary.LittleEndian.Uint16(b[6:]))
		for at+12 <= len(b) {
			n := int(binary.LittleEndian.Uint32(b[at:]))
			unit := b[at+12 : at+12+n]
			at += 12 + n
			if c == media.AV1 {
				frames = append(frames, obus(unit))
				continue
			}
			frames = append(frames, [][]byte{unit})
		}
	}
	return frames
}

// NALs cuts an Annex B stream.
func NALs(b []byte) (nals [][]byte) {
	for _, part := range bytes.Split(b, []byte{0, 0, 1}) {
		if part = bytes.TrimRight(part, "\x00"); len(part) > 0 {
			nals = append(nals, part)
		}
	}
	return nals
}

// obus cuts a temporal unit and takes delimiters and size fields away.
func obus(b []byte) (out [][]byte) {
	for len(b) > 1 {
		head := 1
		if b[0]&4 != 0 {
			head = 2
		}
		n, used := binary.Uvarint(b[head:])
		unit := append([]byte{b[0] &^ 2}, b[1:head]...)
		end := head + used + int(n)
		unit = append(unit, b[head+used:end]...)
		if b[0]>>3&15 != 2 {
			out = append(out, unit)
		}
		b = b[end:]
	}
	return out
}

func isKey(c media.Codec, units [][]byte) bool {
	for _, u := range units {
		switch c {
		case media.H264:
			if u[0]&0x1f == 5 {
				return true
			}
		case media.H265:
			if n := u[0] >> 1 & 0x3f; n >= 16 && n <= 21 {
				return true
			}
		case media.VP8:
			return u[0]&1 == 0
		case media.VP9:
			return u[0]&4 == 0
		case media.AV1:
			if u[0]>>3&15 == 1 {
				return true
			}
		case media.JPEG:
			return true
		}
	}
	return false
}
