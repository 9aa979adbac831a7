package mse

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/libav/libavtest"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"github.com/coder/websocket"
)

// lab is a running server with cameras.
type lab struct {
	*testing.T
	reg *stream.Registry
	h   *Handler
	url string

	mu      sync.Mutex
	derived map[string]media.Source
}

func newLab(t *testing.T, o Options) *lab {
	t.Helper()
	l := &lab{T: t, derived: map[string]media.Source{}}
	l.reg = stream.New(stream.Config{Derive: func(_ *stream.Stream, name string) (media.Source, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if s := l.derived[name]; s != nil {
			return s, nil
		}
		return nil, errors.New("this build cannot make that")
	}})
	gate, err := auth.New(auth.Options{Token: strings.Repeat("a1B-", 11), Policy: auth.Policy{Anonymous: []auth.Permission{auth.View}}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	o.Registry = l.reg
	l.h = New(o)
	if err := srv.Register(l.h.Routes()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, ln) }()
	l.url = "http://" + ln.Addr().String()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		l.reg.Close()
	})
	return l
}

func (l *lab) publish(id string) *stream.Publication {
	l.Helper()
	p, err := l.reg.Publish(id, stream.PublishOptions{Type: "test", Takeover: true})
	if err != nil {
		l.Fatal(err)
	}
	return p
}

func (l *lab) dial(path string) *client {
	l.Helper()
	c, resp, err := websocket.Dial(l.Context(), l.url+"/api/camera/mse/"+path, nil)
	if err != nil {
		b := []byte(nil)
		if resp != nil {
			b, _ = io.ReadAll(resp.Body)
		}
		l.Fatalf("%s: %v %s", path, err, b)
	}
	c.SetReadLimit(-1)
	l.Cleanup(func() { _ = c.CloseNow() })
	return &client{lab: l, c: c}
}

type client struct {
	*lab
	c *websocket.Conn
}

// next reads one message: text, or binary.
func (c *client) next() (message, []byte) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
	defer cancel()
	typ, b, err := c.c.Read(ctx)
	if err != nil {
		c.Fatal(err)
	}
	if typ == websocket.MessageBinary {
		return message{}, b
	}
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		c.Fatalf("%s: %v", b, err)
	}
	return m, nil
}

// until reads on to a message of a type.
func (c *client) until(typ string) message {
	c.Helper()
	for {
		if m, _ := c.next(); m.Type == typ {
			return m
		}
	}
}

// segments reads so many binary messages, and what was said in between.
func (c *client) segments(n int) (file []byte, said []message) {
	c.Helper()
	for n > 0 {
		m, b := c.next()
		if b == nil {
			said = append(said, m)
			continue
		}
		file = append(file, b...)
		n--
	}
	return file, said
}

func (c *client) say(m message) {
	c.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		c.Fatal(err)
	}
	if err := c.c.Write(c.Context(), websocket.MessageText, b); err != nil {
		c.Fatal(err)
	}
}

func types(ms []message) (out []string) {
	for _, m := range ms {
		out = append(out, m.Type)
	}
	return out
}

// put writes frames with their time shifted by at.
func put(p media.Sink, frames []*media.Frame, at time.Duration) {
	for _, f := range frames {
		p.Write(&media.Frame{Track: f.Track, PTS: f.PTS + at, Key: f.Key, Units: f.Units})
	}
}

func TestWatch(t *testing.T) {
	l := newLab(t, Options{})
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 40})
	p := l.publish("cam")
	p.Start(s.tracks)
	put(p, s.frames[:25], 0)
	c := l.dial("cam")
	// From the newest key frame, number 15, on.
	file, said := c.segments(1 + 10)
	// The state comes beside all this, whenever it likes.
	said = slices.DeleteFunc(said, func(m message) bool {
		if m.Type == "state" && m.State != "live" {
			t.Errorf("%+v", m)
		}
		return m.Type == "state"
	})
	if !slices.Equal(types(said), []string{"mime", "time"}) || said[0].Mime != `video/mp4; codecs="avc1.64000d"` ||
		said[1].Media == nil || *said[1].Media != 0 || time.Since(time.UnixMilli(int64(said[1].Captured))).Abs() > time.Minute {
		t.Errorf("%+v", said)
	}
	put(p, s.frames[25:], 0)
	more, _ := c.segments(15)
	video, _ := requireMP4(t, append(file, more...))
	if len(video) != 25 || !video[0].key || video[0].pts != 0 {
		t.Errorf("%d packets, %+v", len(video), video)
	}
	c.say(message{Type: "ping", T: 42.5})
	if m := c.until("pong"); m.T != 42.5 || m.Server < millis(time.Now().Add(-time.Hour)) {
		t.Errorf("%+v", m)
	}
	for _, b := range []string{"hello", `{"type":"dance"}`} {
		if err := c.c.Write(t.Context(), websocket.MessageText, []byte(b)); err != nil {
			t.Fatal(err)
		}
		if m := c.until("error"); m.Code != "bad_message" || m.Error == "" {
			t.Errorf("%+v", m)
		}
	}
	if n := stateOf(t, l, "cam").Viewers; len(n) != 1 || n["mse"] != 1 {
		t.Errorf("viewers %v", n)
	}
	if err := l.reg.Remove("cam"); err != nil {
		t.Fatal(err)
	}
	if m := c.until("error"); m.Code != "removed" {
		t.Errorf("%+v", m)
	}
	until(t, func() bool { return len(l.h.places) == 0 })
}

func stateOf(t *testing.T, l *lab, id string) stream.Info {
	t.Helper()
	s, err := l.reg.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return s.Info()
}

func TestAnotherCodec(t *testing.T) {
	l := newLab(t, Options{})
	first := clip(t, libavtest.Spec{Codec: media.H264, Frames: 20})
	second := clip(t, libavtest.Spec{Codec: media.VP9, Frames: 20})
	p := l.publish("cam")
	p.Start(first.tracks)
	put(p, first.frames[:15], 0)
	c := l.dial("cam")
	c.segments(1 + 15)
	p.Start(second.tracks)
	put(p, second.frames, time.Second)
	if m := c.until("mime"); !strings.Contains(m.Mime, "vp09.") {
		t.Errorf("%+v", m)
	}
	file, _ := c.segments(1 + 5)
	if video, _ := requireMP4(t, file); len(video) != 5 {
		t.Errorf("%d packets", len(video))
	}
}

// canned is a derived stream that plays a clip whenever it is asked to.
type canned struct {
	s  *taken
	on chan struct{} // a value for each frame
}

func (c canned) Run(ctx context.Context, s media.Sink) error {
	s.Start(c.s.tracks)
	for _, f := range c.s.frames {
		s.Write(&media.Frame{PTS: f.PTS, Key: f.Key, Units: f.Units})
		select {
		case <-c.on:
		case <-ctx.Done():
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

func TestDerived(t *testing.T) {
	l := newLab(t, Options{})
	on := make(chan struct{})
	l.derived["h264"] = canned{clip(t, libavtest.Spec{Codec: media.H264, Frames: 20}), on}
	raw := clip(t, libavtest.Spec{Codec: media.H265, Frames: 5})
	for name, q := range map[string]string{"hevc": "?video=h264,av1", "vp8": "", "none": "?video=none"} {
		p := l.publish(name)
		if name == "vp8" {
			p.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
			p.Write(&media.Frame{Key: true, Units: [][]byte{append([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0}, make([]byte, 50)...)}})
		} else {
			p.Start(raw.tracks)
			put(p, raw.frames, 0)
		}
		c := l.dial(name + q)
		if m := c.until("mime"); !strings.Contains(m.Mime, "avc1.") {
			t.Errorf("%s: %+v", name, m)
		}
		go func() {
			for range 5 {
				on <- struct{}{}
			}
		}()
		file, _ := c.segments(1 + 5)
		if video, _ := requireMP4(t, file); len(video) != 5 {
			t.Errorf("%s: %d packets", name, len(video))
		}
		if err := l.reg.Remove(name); err != nil {
			t.Fatal(err)
		}
		c.until("error")
	}
}

func TestNothingToBeHad(t *testing.T) {
	l := newLab(t, Options{})
	p := l.publish("cam")
	pictures := clip(t, libavtest.Spec{Codec: media.JPEG, Frames: 1})
	p.Start(pictures.tracks)
	put(p, pictures.frames, 0)
	c := l.dial("cam")
	for {
		if m := c.until("state"); m.State == "failed" {
			if !strings.Contains(m.Reason, "this build cannot make that") {
				t.Errorf("%+v", m)
			}
			break
		}
	}
	// The way out: a camera with other tracks is shown at once.
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 10})
	p.Start(s.tracks)
	put(p, s.frames, time.Second)
	c.until("mime")
}

func TestSoundOnRequest(t *testing.T) {
	l := newLab(t, Options{})
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 30})
	tracks := append(slices.Clone(s.tracks), media.Track{Codec: media.Opus, ClockRate: 48000, Channels: 2})
	p := l.publish("cam")
	p.Start(tracks)
	at := time.Duration(0)
	play := func(n int, sound bool) {
		for i := range n {
			f := s.frames[i%15]
			p.Write(&media.Frame{PTS: at, Key: f.Key, Units: f.Units})
			if sound {
				p.Write(&media.Frame{Track: 1, PTS: at, Units: [][]byte{silence()}})
			}
			at += time.Second / 30
		}
	}
	play(5, true)
	c := l.dial("cam")
	if m := c.until("mime"); strings.Contains(m.Mime, "opus") {
		t.Errorf("sound that nobody asked for: %q", m.Mime)
	}
	c.say(message{Type: "audio", On: true})
	if m := c.until("mime"); !strings.HasSuffix(m.Mime, `,opus"`) {
		t.Fatalf("%q", m.Mime)
	}
	file, _ := c.segments(1 + 5)
	play(10, true)
	more, _ := c.segments(20)
	video, audio := requireMP4(t, append(file, more...))
	if len(video)+len(audio) != 25 || len(audio) < 9 {
		t.Errorf("%d pictures, %d packets", len(video), len(audio))
	}
	// The microphone is switched off: the picture must not wait for it.
	play(90, false)
	if m := c.until("mime"); strings.Contains(m.Mime, "opus") {
		t.Errorf("%q", m.Mime)
	}
	c.say(message{Type: "audio"})
	if c2 := l.dial("cam?sound=1&audio=aac"); strings.Contains(c2.until("mime").Mime, "opus") {
		t.Error("the client cannot play Opus")
	}
}

// slow is an out that takes nothing while it is held.
type slow struct {
	mu       sync.Mutex
	fragment [][]byte
	hold     chan struct{}
	held     chan struct{}
}

func (s *slow) Send(typ websocket.MessageType, b []byte, _ time.Duration) error {
	if typ == websocket.MessageText {
		return nil
	}
	s.mu.Lock()
	s.fragment = append(s.fragment, b)
	n := len(s.fragment)
	s.mu.Unlock()
	if n == 5 {
		close(s.held)
		<-s.hold
	}
	return nil
}
func (s *slow) Fit(int) {}
func (s *slow) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fragment)
}

func TestStalledViewerJumps(t *testing.T) {
	l := newLab(t, Options{})
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 90})
	p := l.publish("cam")
	p.Start(s.tracks)
	camera, err := l.reg.Get("cam")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := camera.Lease(kind)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	o := &slow{hold: make(chan struct{}), held: make(chan struct{})}
	q, _ := parseQuery(nil)
	v := newViewer(l.h, camera, lease, o, q)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.run(ctx) }()
	// Arrival times of the past, so that nothing has to be waited for.
	begin := time.Now().Add(-time.Hour)
	write := func(from, to int) {
		for i, f := range s.frames[from:to] {
			p.Write(&media.Frame{PTS: f.PTS, Arrived: begin.Add(time.Duration(from+i) * time.Second / 30), Key: f.Key, Units: f.Units})
		}
	}
	write(0, 5)
	<-o.held
	write(5, 80)
	close(o.hold)
	// Key frame 75 follows the four that had been sent.
	until(t, func() bool { return o.count() == 1+4+5 })
	cancel()
	<-ended
	video, _ := requireMP4(t, slices.Concat(o.fragment...))
	if len(video) != 9 || !video[4].key || v.skipped < 70 {
		t.Errorf("%d packets, %d skipped: %+v", len(video), v.skipped, video)
	}
	requireNoHoles(t, videoID, o.fragment[1:])
}

func TestStalledClientCostsNobody(t *testing.T) {
	l := newLab(t, Options{})
	s := clip(t, libavtest.Spec{Codec: media.H264, Frames: 30, Size: "1280x720"})
	p := l.publish("cam")
	p.Start(s.tracks)
	put(p, s.frames[:1], 0)
	l.dial("cam") // never reads
	c := l.dial("cam")
	c.segments(2)
	for round := range 20 {
		for _, f := range s.frames {
			put(p, []*media.Frame{f}, time.Duration(round+1)*time.Second)
		}
		c.segments(1)
	}
}

func TestRefusals(t *testing.T) {
	l := newLab(t, Options{MaxViewers: 1})
	l.publish("cam")
	if _, err := l.reg.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	upgrade := func(path string) (int, string) {
		_, resp, err := websocket.Dial(t.Context(), l.url+"/api/camera/mse/"+path, nil)
		if err == nil {
			return 101, ""
		}
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	for path, want := range map[string]struct {
		status int
		words  string
	}{
		"nobody":         {404, "no such camera"},
		"off":            {409, "disabled"},
		"cam?video=vp8":  {400, "av1,h264,h265,vp9"},
		"cam?audio=mp3":  {400, "aac,opus"},
		"cam?sound=loud": {400, "0 or 1"},
	} {
		if status, words := upgrade(path); status != want.status || !strings.Contains(words, want.words) {
			t.Errorf("%s: %d %s", path, status, words)
		}
	}
	resp, err := http.Get(l.url + "/api/camera/mse/cam")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("no WebSocket: %s", resp.Status)
	}
	c := l.dial("cam")
	c.until("state")
	if status, words := upgrade("cam"); status != 503 || !strings.Contains(words, "viewers") {
		t.Errorf("too many: %d %s", status, words)
	}
	_ = c.c.CloseNow()
	until(t, func() bool { return len(l.h.places) == 0 && len(stateOf(t, l, "cam").Viewers) == 0 })
}

func TestRelation(t *testing.T) {
	var r relation
	at := time.Unix(1000, 0)
	for i, ms := range []int{30, 10, 50, 40} {
		r.add(time.Duration(ms)*time.Millisecond, i == 0, at.Add(time.Duration(i)*100*time.Millisecond))
	}
	if r.least() != 10*time.Millisecond {
		t.Errorf("%v: one held up counts", r.least())
	}
	for i := range 80 {
		r.add(20*time.Millisecond, false, at.Add(time.Duration(i)*100*time.Millisecond))
	}
	if r.least() != 20*time.Millisecond {
		t.Errorf("%v: the past counts for ever", r.least())
	}
	r.add(time.Second, true, at.Add(10*time.Second))
	if r.least() != time.Second {
		t.Errorf("%v after a jump", r.least())
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{`{"type":"ping","t":1}`, `{"type":"audio","on":true}`, `[]`, `{"type":1}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMessage(b); err == nil && m.Type != "ping" && m.Type != "audio" {
			t.Errorf("%+v", m)
		}
	})
}

// until waits for something that has no channel.
func until(t *testing.T, f func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it never happened")
		}
	}
}
