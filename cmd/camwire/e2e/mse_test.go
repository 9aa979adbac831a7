package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/coder/websocket"

	"camwire/media/testsrc/clock"
)

// mseViewer takes a camera's fragments as a page does, and keeps all of them.
type mseViewer struct {
	conn  *websocket.Conn
	state string
	runs  []*mseRun
	words []mseWord
}

// mseRun is what belongs into one buffer.
type mseRun struct {
	mime string
	// files each begin with an initialization segment: a browser takes a new
	// one in the middle, a file must not have it.
	files  [][]byte
	pieces []mediaPiece
	marks  []mseWord // "time"
}

// mediaPiece is the video of one fragment, in ticks of 1/90000 s.
type mediaPiece struct{ begin, end uint64 }

// mseWord is a text message of the server.
type mseWord struct {
	Type, Mime, State, Reason, Code, Error string
	Media, Captured, T, Server             float64
}

// mse begins to watch; the query may be empty.
func mse(t *testing.T, s *server, id, query string) *mseViewer {
	t.Helper()
	return &mseViewer{conn: dial(t, s.url("/api/camera/mse/"+id+"?"+query))}
}

// until reads until something has come true.
func (v *mseViewer) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !done() {
		typ, b, err := v.conn.Read(ctx)
		if err != nil {
			t.Fatalf("never: %s: %v; after %d buffers, state %q, %+v", what, err, len(v.runs), v.state, v.words)
		}
		if typ == websocket.MessageBinary {
			v.take(t, b)
			continue
		}
		var w mseWord
		if err := json.Unmarshal(b, &w); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		switch w.Type {
		case "state":
			v.state = w.State
		case "mime":
			v.runs = append(v.runs, &mseRun{mime: w.Mime})
		case "time":
			if v.run() == nil {
				t.Fatal("a time before the first mime")
			}
			v.run().marks = append(v.run().marks, w)
		default:
			v.words = append(v.words, w)
		}
	}
}

// run is the newest buffer, nil before the first.
func (v *mseViewer) run() *mseRun {
	if len(v.runs) == 0 {
		return nil
	}
	return v.runs[len(v.runs)-1]
}

// take puts a segment into the buffer.
func (v *mseViewer) take(t *testing.T, b []byte) {
	t.Helper()
	r := v.run()
	if r == nil || len(b) < 8 {
		t.Fatalf("%d bytes before the first mime, or too few", len(b))
	}
	if kind := string(b[4:8]); kind == "ftyp" {
		r.files = append(r.files, b)
		return
	} else if kind != "moof" || len(r.files) == 0 {
		t.Fatalf("a %q after %d initialization segments", kind, len(r.files))
	}
	last := &r.files[len(r.files)-1]
	*last = append(*last, b...)
	var parts fmp4.Parts
	if err := parts.Unmarshal(b); err != nil {
		t.Fatalf("fragment: %v", err)
	}
	for _, p := range parts {
		for _, tr := range p.Tracks {
			if tr.ID != 1 {
				continue
			}
			end := tr.BaseTime
			for _, x := range tr.Samples {
				end += uint64(x.Duration)
			}
			r.pieces = append(r.pieces, mediaPiece{tr.BaseTime, end})
		}
	}
}

// watches reads until the newest buffer has so many pictures, and marks among
// them.
func (v *mseViewer) watches(t *testing.T, pictures int) *mseRun {
	t.Helper()
	v.until(t, fmt.Sprintf("%d pictures", pictures), func() bool {
		r := v.run()
		return r != nil && len(r.pieces) >= pictures && len(r.marks) > 0
	})
	return v.run()
}

// mediaFile is what ffmpeg says of a file.
type mediaFile struct {
	codec         string
	width, height int
	types         string    // of the pictures as they are shown: "IPBBP…"
	times         []float64 // of the same, seconds
	gray          []byte    // their pixels
}

// play has ffmpeg decode all of a file, which must not find anything wrong.
func play(t *testing.T, file []byte) mediaFile {
	t.Helper()
	name := filepath.Join(t.TempDir(), "buffer.mp4")
	write(t, name, file)
	out, err := run(t, patience, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
		"stream=codec_name,width,height:frame=pict_type,best_effort_timestamp_time", "-of", "json", name)
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Streams []struct {
			Codec         string `json:"codec_name"`
			Width, Height int
		}
		Frames []struct {
			Type string `json:"pict_type"`
			Time string `json:"best_effort_timestamp_time"`
		}
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || len(said.Streams) != 1 {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	m := mediaFile{codec: said.Streams[0].Codec, width: said.Streams[0].Width, height: said.Streams[0].Height}
	for _, f := range said.Frames {
		at, err := strconv.ParseFloat(f.Time, 64)
		if err != nil {
			t.Fatalf("ffprobe: a picture at %q", f.Time)
		}
		m.types += f.Type
		m.times = append(m.times, at)
	}
	gray := name + ".gray"
	if _, err := run(t, patience, "ffmpeg", "-v", "error", "-xerror", "-i", name, "-map", "0:v:0", "-vsync", "passthrough",
		"-f", "rawvideo", "-pix_fmt", "gray", gray); err != nil {
		t.Errorf("the buffer is not sound: %v", err)
		return m
	}
	if m.gray, err = os.ReadFile(gray); err != nil {
		t.Fatal(err)
	}
	return m
}

// clockAt is the time that stands in a picture.
func (m mediaFile) clockAt(n int) (time.Time, bool) {
	size := m.width * m.height
	if size == 0 || (n+1)*size > len(m.gray) {
		return time.Time{}, false
	}
	picture := m.gray[n*size:]
	return clock.Read(func(x, y int) uint8 { return picture[y*m.width+x] }, m.width, m.height, time.Now())
}

// check looks at all that is promised of a buffer. Mime is the beginning of its
// codecs, codec ffmpeg's name.
func (r *mseRun) check(t *testing.T, mime, codec string, width int, reordered bool) {
	t.Helper()
	if want := `video/mp4; codecs="` + mime; !strings.HasPrefix(r.mime, want) {
		t.Errorf("mime %q, want %s…", r.mime, want)
	}
	for i := 1; i < len(r.pieces); i++ {
		if r.pieces[i].begin != r.pieces[i-1].end {
			t.Errorf("picture %d begins at %d, the one before ended at %d", i, r.pieces[i].begin, r.pieces[i-1].end)
		}
	}
	types, compared := "", 0
	for i, file := range r.files {
		m := play(t, file)
		if m.codec != codec || m.width != width {
			t.Errorf("ffmpeg finds %s, %d pixels wide; want %s, %d", m.codec, m.width, codec, width)
		}
		if !strings.HasPrefix(m.types, "I") {
			t.Errorf("initialization segment %d is followed by %s, want a key frame", i, m.types)
		}
		types += m.types
		compared += r.checkMarks(t, m)
	}
	if len(types) != len(r.pieces) || strings.Contains(types, "B") != reordered {
		t.Errorf("pictures %s of %d fragments; want as many, and B-frames: %v", types, len(r.pieces), reordered)
	}
	if compared == 0 {
		t.Errorf("none of %+v fits a picture", r.marks)
	}
}

// checkMarks compares when the server says that a picture was taken with the
// clock in it, and returns how many it could compare.
func (r *mseRun) checkMarks(t *testing.T, m mediaFile) (compared int) {
	t.Helper()
	for _, mark := range r.marks {
		for n, at := range m.times {
			if at-mark.Media > 0.001 || mark.Media-at > 0.001 {
				continue
			}
			drawn, ok := m.clockAt(n)
			if !ok {
				t.Errorf("the picture at %.3f s has no clock", at)
				continue
			}
			compared++
			said := time.UnixMicro(int64(mark.Captured * 1000))
			if d := said.Sub(drawn); d > maxAge || d < -time.Second {
				t.Errorf("the picture at %.3f s was drawn at %v, and taken %v later, says the server", at, drawn, d)
			}
		}
	}
	return compared
}

// TestMSE watches by a plain WebSocket: each codec as the camera has it, and as
// a client gets it that cannot take it.
func TestMSE(t *testing.T) {
	beside(t)
	needFFmpeg(t)
	s := start(t, "cameras: []\n")
	for _, tt := range []struct {
		name      string
		encoder   []string
		query     string
		mime      string // its beginning
		codec     string // as ffprobe names it
		reordered bool
	}{
		{"h264", h264High, "", "avc1.64", "h264", false},
		{"h264-b-frames", h264B, "video=h264", "avc1.64", "h264", true},
		{"h265", h265, "video=h264,h265&audio=opus,aac", "hvc1.", "hevc", false},
		{"h265-for-h264", h265, "video=h264", "avc1.", "h264", false},
		{"vp8", vp8, "", "avc1.", "h264", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pub := publish(t, s.rtspURL(tt.name), 640, 360, 15, tt.encoder)
			s.state(t, tt.name, "live")
			v := mse(t, s, tt.name, tt.query)
			v.watches(t, 45).check(t, tt.mime, tt.codec, 640, tt.reordered)
			if len(v.runs) != 1 || v.state != "live" || len(v.words) != 0 {
				t.Errorf("%d buffers, state %q, words %+v", len(v.runs), v.state, v.words)
			}
			if n := s.camera(t, tt.name).Views["mse"]; n != 1 {
				t.Errorf("%d viewers by MSE, want 1", n)
			}
			before := time.Now()
			if err := v.conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping","t":12.5}`)); err != nil {
				t.Fatal(err)
			}
			v.until(t, "a pong", func() bool { return len(v.words) > 0 })
			if w := v.words[0]; w.Type != "pong" || w.T != 12.5 || time.UnixMicro(int64(w.Server*1000)).Before(before.Add(-time.Second)) {
				t.Errorf("the answer to a ping: %+v", w)
			}
			_ = v.conn.Close(websocket.StatusNormalClosure, "")
			pub.stop()
		})
	}
}

// TestMSERepublish lets the publisher come back as something else: the same
// connection goes on with a buffer of the new kind.
func TestMSERepublish(t *testing.T) {
	beside(t)
	needFFmpeg(t)
	s := start(t, "cameras: []\n")
	pub := publish(t, s.rtspURL("cam"), 640, 360, 15, h264High)
	s.state(t, "cam", "live")
	v := mse(t, s, "cam", "")
	v.watches(t, 20)
	pub.kill()
	v.until(t, "the word that the camera is lost", func() bool { return v.state == "lost" })
	publish(t, s.rtspURL("cam"), 800, 450, 15, h265)
	v.until(t, "a buffer of another kind", func() bool { return v.run().mime != v.runs[0].mime })
	v.watches(t, 30).check(t, "hvc1.", "hevc", 800, false)
	v.until(t, "the camera is live", func() bool { return v.state == "live" })
	v.runs[0].check(t, "avc1.64", "h264", 640, false)
}

// TestMSEPermission: nobody watches who may not, and who may no longer is sent
// away.
func TestMSEPermission(t *testing.T) {
	beside(t)
	s := start(t, `cameras:
  - { id: cam, source: "test:?width=640&height=360&fps=15" }
  - { id: other, source: "test:?width=640&height=360&fps=15" }
`)
	s.state(t, "cam", "live")
	s.state(t, "other", "live")
	token := func(permission string) (id, secret string) {
		t.Helper()
		res, body := s.do(t, http.MethodPost, "/api/tokens", strings.NewReader(fmt.Sprintf(`{"name":%q,"permissions":[%q],"cameras":["cam"]}`, permission, permission)),
			"Content-Type", "application/json")
		var made struct{ ID, Token string }
		if err := json.Unmarshal(body, &made); err != nil || res.StatusCode != http.StatusCreated {
			t.Fatalf("%s %v %s", res.Status, err, body)
		}
		return made.ID, made.Token
	}
	id, viewer := token("view")
	_, sender := token("publish")
	for _, tt := range []struct {
		name, path string
		header     []string
		want       int
	}{
		{"nobody", "/api/camera/mse/cam", nil, http.StatusUnauthorized},
		{"wrong token", "/api/camera/mse/cam?token=wrong", nil, http.StatusUnauthorized},
		{"another camera", "/api/camera/mse/other?token=" + viewer, nil, http.StatusForbidden},
		{"another permission", "/api/camera/mse/cam?token=" + sender, nil, http.StatusForbidden},
		{"unknown camera", "/api/camera/mse/none?token=" + s.token, nil, http.StatusNotFound},
		{"bad id", "/api/camera/mse/a%20b?token=" + s.token, nil, http.StatusBadRequest},
		{"unknown codec", "/api/camera/mse/cam?video=mpeg2&token=" + viewer, nil, http.StatusBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, res, err := websocket.Dial(t.Context(), s.base+tt.path, nil)
			if err == nil {
				_ = conn.CloseNow()
				t.Fatal("it was let in")
			}
			if res == nil || res.StatusCode != tt.want {
				t.Errorf("%v, want %d", err, tt.want)
			}
		})
	}
	if res, _ := s.get(t, "/api/camera/mse/cam"); res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain request: %s", res.Status)
	}
	stranger := http.Header{"Origin": {"http://stranger.example"}, "Cookie": {s.cookie(t)}}
	if conn, res, err := websocket.Dial(t.Context(), s.base+"/api/camera/mse/cam", &websocket.DialOptions{HTTPHeader: stranger}); err == nil {
		_ = conn.CloseNow()
		t.Error("a page of a stranger watches with the user's cookie")
	} else if res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("a page of a stranger: %v", err)
	}

	guest := &mseViewer{conn: dial(t, s.base+"/api/camera/mse/cam?token="+viewer)}
	owner := mse(t, s, "cam", "")
	guest.watches(t, 10)
	owner.watches(t, 10)
	if res, body := s.do(t, http.MethodDelete, "/api/tokens/"+id, nil); res.StatusCode >= 300 {
		t.Fatalf("%s %s", res.Status, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := guest.conn.Read(ctx); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				t.Error("the guest watches without a permission")
			}
			break
		}
	}
	have := len(owner.run().pieces)
	owner.watches(t, have+15)
}

// cookie signs in and returns what a browser would send from then on.
func (s *server) cookie(t *testing.T) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"token": s.token})
	if err != nil {
		t.Fatal(err)
	}
	res, answer := s.do(t, http.MethodPost, "/api/session", bytes.NewReader(body), "Content-Type", "application/json", "Authorization", "")
	if res.StatusCode >= 300 || len(res.Cookies()) == 0 {
		t.Fatalf("signing in: %s %s", res.Status, answer)
	}
	c := res.Cookies()[0]
	return c.Name + "=" + c.Value
}
