package mse

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/libav/libavtest"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taken is a sink that keeps what it gets.
type taken struct {
	tracks media.Tracks
	frames []*media.Frame
}

func (s *taken) Start(ts media.Tracks) { s.tracks = append(media.Tracks{}, ts...) }
func (s *taken) Write(f *media.Frame)  { s.frames = append(s.frames, f) }

// clip is a clip as a hub has it.
func clip(t testing.TB, s libavtest.Spec) *taken {
	t.Helper()
	c := libavtest.Make(t, s)
	return normalized(c.Track, c.Frames)
}

func normalized(t media.Track, frames []*media.Frame) *taken {
	s := &taken{}
	n := codec.NewNormalizer(s)
	n.Start(media.Tracks{t})
	for _, f := range frames {
		n.Write(f)
	}
	return s
}

// reordered is a clip with B-frames, with the times that ffmpeg gives them.
func reordered(t testing.TB, c media.Codec, frames int) *taken {
	t.Helper()
	dir := t.TempDir()
	mp4, raw := filepath.Join(dir, "a.mp4"), filepath.Join(dir, "a.raw")
	encoder, format, filter := "libx264 -preset veryfast -bf 3 -g 15", "h264", "h264_mp4toannexb,h264_metadata=aud=insert"
	if c == media.H265 {
		encoder, format = "libx265 -preset ultrafast -x265-params log-level=error:keyint=15:bframes=3:open-gop=0:pools=1", "hevc"
		filter = "hevc_mp4toannexb,hevc_metadata=aud=insert"
	}
	tool(t, "ffmpeg", strings.Fields("-v error -f lavfi -i testsrc2=size=320x240:rate=30 -pix_fmt yuv420p -frames:v "+
		strconv.Itoa(frames)+" -c:v "+encoder+" "+mp4)...)
	tool(t, "ffmpeg", strings.Fields("-v error -i "+mp4+" -c copy -bsf:v "+filter+" -f "+format+" "+raw)...)
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	var out []*media.Frame
	packets := probe(t, mp4)
	for _, u := range libavtest.NALs(b) {
		if c == media.H264 && u[0]&31 == 9 || c == media.H265 && u[0]>>1&63 == 35 {
			out = append(out, &media.Frame{PTS: packets[len(out)].pts})
			continue
		}
		f := out[len(out)-1]
		f.Units = append(f.Units, u)
	}
	return normalized(media.Track{Codec: c, ClockRate: 90000, FPS: 30, Reordered: true}, out)
}

func tool(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("the program %s is not installed", name)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return b
}

type packet struct {
	kind          string
	pts, dts, dur time.Duration
	key           bool
}

// probe reads the packets of a file with ffprobe.
func probe(t testing.TB, path string) (out []packet) {
	t.Helper()
	b := tool(t, "ffprobe", "-v", "error", "-show_packets", "-of", "json", path)
	var r struct {
		Packets []struct {
			CodecType string `json:"codec_type"`
			PTS       string `json:"pts_time"`
			DTS       string `json:"dts_time"`
			Duration  string `json:"duration_time"`
			Flags     string
		}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	seconds := func(s string) time.Duration {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && s != "" {
			t.Fatalf("time %q", s)
		}
		return time.Duration(f * float64(time.Second)).Round(time.Microsecond)
	}
	for _, p := range r.Packets {
		out = append(out, packet{p.CodecType, seconds(p.PTS), seconds(p.DTS), seconds(p.Duration), strings.HasPrefix(p.Flags, "K")})
	}
	return out
}

// requireMP4 has ffmpeg read the whole file without a complaint, and returns
// its packets, each with a decode time after that of the one before.
func requireMP4(t testing.TB, b []byte) (video, audio []packet) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.mp4")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "ffmpeg", "-v", "error", "-xerror", "-i", path, "-fps_mode", "passthrough", "-enc_time_base", "1/90000", "-f", "null", "-")
	for _, p := range probe(t, path) {
		list := &video
		if p.kind == "audio" {
			list = &audio
		}
		if n := len(*list); n > 0 {
			before := (*list)[n-1]
			if p.dts <= before.dts {
				t.Errorf("%s packet %d: decode time %v after %v", p.kind, n, p.dts, before.dts)
			}
		}
		*list = append(*list, p)
	}
	return video, audio
}

// requireNoHoles reads the segments of one track and has each begin where the
// one before ends.
func requireNoHoles(t testing.TB, id int, segments [][]byte) {
	t.Helper()
	var end uint64
	for i, b := range segments {
		var parts fmp4.Parts
		if err := parts.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		for _, tr := range parts[0].Tracks {
			if tr.ID != id {
				continue
			}
			if end > 0 && tr.BaseTime != end {
				t.Errorf("segment %d begins at %d, the one before ended at %d", i, tr.BaseTime, end)
			}
			end = tr.BaseTime + uint64(tr.Samples[0].Duration)
		}
	}
}

// aac is a tone in AAC: its configuration and packets of 1024 samples.
func aac(t testing.TB, rate, packets int) (media.Track, [][]byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.aac")
	tool(t, "ffmpeg", strings.Fields("-v error -f lavfi -i sine=frequency=440:sample_rate="+strconv.Itoa(rate)+
		" -t 20 -c:a aac -f adts "+path)...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list mpeg4audio.ADTSPackets
	if err := list.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	c := mpeg4audio.AudioSpecificConfig{Type: list[0].Type, SampleRate: list[0].SampleRate, ChannelConfig: list[0].ChannelConfig}
	enc, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, p := range list[:packets] {
		out = append(out, p.AU)
	}
	return media.Track{Codec: media.AAC, ClockRate: rate, Channels: int(list[0].ChannelConfig), Params: [][]byte{enc}}, out
}

// silence is 20 ms of nothing in Opus (RFC 6716 section 3.1: CELT, fullband).
func silence() []byte { return []byte{0xfc, 0xff, 0xfe} }
