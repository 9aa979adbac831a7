package e2e

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"camwire/media/testsrc/clock"
)

// TestPublishWatch pushes every kind of stream and watches it in every way.
func TestPublishWatch(t *testing.T) {
	beside(t)
	needFFmpeg(t)
	s := start(t, "cameras: []\n")
	for _, tt := range []struct {
		name    string
		encoder []string
		codec   string // as the list tells it
		webrtc  string // as it reaches a browser
		probe   probe
	}{
		{"h264-baseline", h264Baseline, "H264", "H264", probe{Codec: "h264", Profile: "Constrained Baseline"}},
		{"h264-high", h264High, "H264", "H264", probe{Codec: "h264", Profile: "High"}},
		{"h264-b-frames", h264B, "H264", "H264", probe{Codec: "h264", Profile: "High", Reordered: true}},
		{"h264-slices", h264Slices, "H264", "H264", probe{Codec: "h264", Profile: "Constrained Baseline"}},
		{"h265", h265, "H265", "H264", probe{Codec: "hevc", Profile: "Main"}},
		{"vp8", vp8, "VP8", "VP8", probe{Codec: "vp8"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pub := publish(t, s.rtspURL(tt.name), 640, 360, 15, tt.encoder)
			if c := s.state(t, tt.name, "live"); c.Codec != tt.codec {
				t.Errorf("the list says %s, want %s", c.Codec, tt.codec)
			}
			p := s.page(t)
			p.whep(t, "/whep/"+tt.name, 0)
			p.moving(t, "#video", 640)
			var st struct{ MIME string }
			p.eval(t, "() => e2e.stats()", nil, &st)
			if st.MIME != "video/"+tt.webrtc {
				t.Errorf("the browser gets %s, want %s", st.MIME, tt.webrtc)
			}
			p.img(t, "/api/camera/mjpeg/"+tt.name)
			p.moving(t, "#img", 640)
			p.connected(t)
			p.close()

			still(t, s, tt.name)
			parts(t, s, tt.name)
			mpjpeg(t, s, tt.name)
			if got := probeStream(t, s.rtspURL(tt.name)); got != tt.probe {
				t.Errorf("RTSP gives %+v, want %+v", got, tt.probe)
			}
			pub.stop()
			s.state(t, tt.name, "lost")
		})
	}
}

// still checks a snapshot.
func still(t *testing.T, s *server, id string) {
	t.Helper()
	res, body := s.get(t, "/api/camera/snapshot/"+id)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("snapshot: %s %s", res.Status, res.Header.Get("Content-Type"))
		return
	}
	if c := res.Header.Get("Cache-Control"); c != "no-cache, no-store" {
		t.Errorf("snapshot: Cache-Control %q", c)
	}
	if ms, err := strconv.Atoi(res.Header.Get("X-Frame-Age-Ms")); err != nil || ms < 0 || ms > int(maxAge.Milliseconds()) {
		t.Errorf("snapshot: X-Frame-Age-Ms %q", res.Header.Get("X-Frame-Age-Ms"))
	}
	checkAge(t, "snapshot", readJPEG(t, body))
}

// readJPEG returns the clock of a JPEG.
func readJPEG(t *testing.T, b []byte) time.Time {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Errorf("not a JPEG: %v", err)
		return time.Time{}
	}
	y, ok := m.(*image.YCbCr)
	if !ok {
		t.Errorf("the JPEG is a %T", m)
		return time.Time{}
	}
	at, ok := clock.ReadImage(y, time.Now())
	if !ok {
		t.Error("the JPEG has no clock")
	}
	return at
}

func checkAge(t *testing.T, what string, at time.Time) {
	t.Helper()
	if age := time.Since(at); age > maxAge || age < -time.Second {
		t.Errorf("%s: the clock is %v old", what, age)
	}
}

var timestampPattern = regexp.MustCompile(`^\d{9,}\.\d{6}$`)

// parts reads an MJPEG stream as a program does, with exactly the headers that
// are promised.
func parts(t *testing.T, s *server, id string) {
	t.Helper()
	const frames = 12
	body, err := mjpeg(t, s, "/api/camera/mjpeg/"+id)
	if err != nil {
		t.Error(err)
		return
	}
	defer body.Close()
	var last time.Time
	for n := range frames {
		part, err := body.NextRawPart()
		if err != nil {
			t.Errorf("MJPEG: part %d: %v", n, err)
			return
		}
		b, err := io.ReadAll(part)
		if err != nil {
			t.Errorf("MJPEG: part %d: %v", n, err)
			return
		}
		h := part.Header
		if len(h) != 3 || h.Get("Content-Type") != "image/jpeg" || h.Get("Content-Length") != strconv.Itoa(len(b)) ||
			!timestampPattern.MatchString(h.Get("X-Timestamp")) {
			t.Errorf("MJPEG: part of %d bytes with the header %v", len(b), h)
			return
		}
		at := readJPEG(t, b)
		checkAge(t, "MJPEG", at)
		if !at.After(last) {
			t.Errorf("MJPEG: the clock went from %v to %v", last, at)
		}
		last = at
	}
}

// mjpegStream is an MJPEG stream being read.
type mjpegStream struct {
	*multipart.Reader
	io.Closer
}

// mjpeg opens a stream; it lasts until it is closed.
func mjpeg(t *testing.T, s *server, path string) (*mjpegStream, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	endless := *client
	endless.Timeout = 0
	res, err := endless.Do(r)
	if err != nil {
		return nil, err
	}
	kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	h := res.Header
	if err != nil || res.StatusCode != http.StatusOK || kind != "multipart/x-mixed-replace" || params["boundary"] == "" ||
		!strings.Contains(h.Get("Cache-Control"), "no-store") || !res.Close {
		t.Errorf("MJPEG: %s with the header %v", res.Status, h)
	}
	return &mjpegStream{multipart.NewReader(res.Body, params["boundary"]), res.Body}, nil
}

// mpjpeg lets ffmpeg read an MJPEG stream.
func mpjpeg(t *testing.T, s *server, id string) {
	t.Helper()
	out, err := run(t, patience, "ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "mpjpeg",
		"-i", s.url("/api/camera/mjpeg/"+id), "-frames:v", "10", "-f", "framecrc", "-")
	if err != nil {
		t.Errorf("MJPEG: %v", err)
		return
	}
	n := 0
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	if n != 10 {
		t.Errorf("MJPEG: ffmpeg read %d frames, want 10", n)
	}
}

// probe is what ffprobe says of a stream.
type probe struct {
	Codec, Profile string
	Reordered      bool
}

func probeStream(t *testing.T, url string) probe {
	t.Helper()
	out, err := run(t, patience, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-select_streams", "v:0",
		"-read_intervals", "%+#30", "-show_entries", "stream=codec_name,profile:frame=pict_type", "-of", "json", url)
	if err != nil {
		t.Error(err)
		return probe{}
	}
	var found struct {
		Streams []struct {
			Codec   string `json:"codec_name"`
			Profile string `json:"profile"`
		} `json:"streams"`
		Frames []struct {
			Type string `json:"pict_type"`
		} `json:"frames"`
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found.Streams) != 1 {
		t.Errorf("ffprobe: %v: %s", err, out)
		return probe{}
	}
	p := probe{Codec: found.Streams[0].Codec, Profile: found.Streams[0].Profile}
	for _, f := range found.Frames {
		p.Reordered = p.Reordered || f.Type == "B"
	}
	return p
}
