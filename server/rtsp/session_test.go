package rtsp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/pion/rtp"
)

// TestVerbs reads gortsplib's source for the verbs that it can pass on.
func TestVerbs(t *testing.T) {
	pkg, err := build.Import("github.com/bluenviron/gortsplib/v4/pkg/base", ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), pkg.Dir+"/request.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	table, found := Verbs(), 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Method" {
			return true
		}
		found++
		name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		verb, ok := table[base.Method(name)]
		if !ok || verb.Play == "" && verb.Publish == "" {
			t.Errorf("%s has no permission declared", name)
		}
		for _, p := range []string{verb.Play, verb.Publish} {
			switch p {
			case "", Public, View, Publish:
			default:
				t.Errorf("%s needs %q, which is no permission", name, p)
			}
		}
		return true
	})
	if found < 10 || found != len(table) {
		t.Errorf("%d verbs in gortsplib, %d declared", found, len(table))
	}
}

// client speaks RTSP line by line.
type client struct {
	t    *testing.T
	c    net.Conn
	r    *bufio.Reader
	seq  int
	head string // added to each request
	sess string

	seen, lost int
	next       uint16 // RTP sequence number
	first      uint32 // RTP timestamp
	last       uint32 // number of the newest frame, by its timestamp
}

// frame reads RTP up to the end of a frame. Frames of the test are 10 ms apart.
func (c *client) frame() {
	c.t.Helper()
	_ = c.c.SetDeadline(time.Now().Add(patience))
	for {
		var f base.InterleavedFrame
		if err := f.Unmarshal(c.r); err != nil {
			c.t.Fatal(err)
		}
		var p rtp.Packet
		if f.Channel != 0 || p.Unmarshal(f.Payload) != nil {
			continue
		}
		if c.seen == 0 && c.first == 0 {
			c.first, c.next = p.Timestamp, p.SequenceNumber
		}
		c.lost += int(p.SequenceNumber - c.next)
		c.next = p.SequenceNumber + 1
		if p.Marker {
			c.seen++
			c.last = (p.Timestamp - c.first) / 900
			return
		}
	}
}

func (b *bench) dial() *client {
	b.t.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return &client{t: b.t, c: c, r: bufio.NewReader(c)}
}

func (c *client) do(method base.Method, url, more, body string) *base.Response {
	c.t.Helper()
	c.seq++
	req := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n%s%s", method, url, c.seq, c.head, more)
	if c.sess != "" {
		req += "Session: " + c.sess + "\r\n"
	}
	if body != "" {
		req += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	_ = c.c.SetDeadline(time.Now().Add(patience))
	if _, err := c.c.Write([]byte(req + "\r\n" + body)); err != nil {
		c.t.Fatal(err)
	}
	for {
		if b, err := c.r.Peek(1); err == nil && b[0] == '$' {
			var f base.InterleavedFrame
			if err := f.Unmarshal(c.r); err != nil {
				c.t.Fatal(err)
			}
			continue
		}
		var res base.Response
		if err := res.Unmarshal(c.r); err != nil {
			c.t.Fatalf("%s: %v", method, err)
		}
		if s := res.Header["Session"]; len(s) == 1 {
			c.sess, _, _ = strings.Cut(s[0], ";")
		}
		return &res
	}
}

// play goes up to PLAY over TCP and returns the first refusal, or 200.
func (c *client) play(url string) base.StatusCode {
	c.t.Helper()
	res := c.do(base.Describe, url, "Accept: application/sdp\r\n", "")
	if res.StatusCode != base.StatusOK {
		return res.StatusCode
	}
	track := "/trackID=0"
	res = c.do(base.Setup, url+track, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", "")
	if res.StatusCode != base.StatusOK {
		return res.StatusCode
	}
	return c.do(base.Play, url, "", "").StatusCode
}

// closed waits until the server has closed the connection.
func (c *client) closed() {
	c.t.Helper()
	_ = c.c.SetDeadline(time.Now().Add(patience))
	for {
		if _, err := c.r.ReadByte(); err != nil {
			if n := net.Error(nil); errors.As(err, &n) && n.Timeout() {
				c.t.Fatal("the server does not close the connection")
			}
			return
		}
	}
}

const opusSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
	"m=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=control:streamid=0\r\n"

// tone is a camera that delivers sound only: no ffmpeg needed.
func tone() *replay {
	return &replay{
		tracks: media.Tracks{{Codec: media.Opus, ClockRate: 48000, Channels: 1}},
		frames: []*media.Frame{{Key: true, Units: [][]byte{{0xf8, 0xff, 0xfe}}}}, every: 20 * time.Millisecond,
	}
}

func (b *bench) add(id string, src media.Source) {
	b.t.Helper()
	if _, err := b.registry.Add(id, stream.Options{Type: "test", Source: src}); err != nil {
		b.t.Fatal(err)
	}
}

// TestPermissionEnds: who may not any more does not go on.
func TestPermissionEnds(t *testing.T) {
	revoked, revoke := context.WithCancel(context.Background())
	defer revoke()
	ended := make(chan struct{})
	b := newBench(t, Options{
		Authorize: allowAll,
		Admit: func(context.Context, net.Addr, string, string, string, string, string) (context.Context, context.CancelFunc, error) {
			return revoked, sync.OnceFunc(func() { close(ended) }), nil
		},
	}, stream.Config{})
	b.add("cam", tone())
	c := b.dial()
	if code := c.play(b.url("cam")); code != base.StatusOK {
		t.Fatal(code)
	}
	revoke()
	c.closed()
	<-ended
}

func TestAuthorization(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	b := newBench(t, Options{Authorize: func(_ context.Context, remote net.Addr, user, pass, token, perm, camera string) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, perm+" "+camera)
		if _, ok := remote.(*net.TCPAddr); !ok {
			t.Errorf("remote is %T", remote)
		}
		switch {
		case token == "letmein", user == "u" && pass == "pw":
			return nil
		case token == "guest":
			return fmt.Errorf("guests may not: %w", ErrForbidden)
		}
		return errNo
	}}, stream.Config{})
	b.add("cam", tone())
	basic := "Authorization: Basic dTpwdw==\r\n" // u:pw

	c := b.dial()
	res := c.do(base.Describe, b.url("cam"), "", "")
	if res.StatusCode != base.StatusUnauthorized || len(res.Header["WWW-Authenticate"]) != 1 ||
		res.Header["WWW-Authenticate"][0] != `Basic realm="camwire"` {
		t.Errorf("without credentials: %d %v", res.StatusCode, res.Header)
	}
	if res = c.do(base.Describe, b.url("nosuch"), "", ""); res.StatusCode != base.StatusUnauthorized {
		t.Errorf("a stranger learns whether a camera exists: %d", res.StatusCode)
	}
	c.head = basic
	if code := c.play(b.url("cam")); code != base.StatusOK {
		t.Errorf("with password: %d", code)
	}
	mu.Lock()
	// Of each request: what was allowed may have been taken away.
	if n := strings.Join(asked, ","); n != "view cam,view nosuch,view cam,view cam,view cam" {
		t.Errorf("asked %s", n)
	}
	mu.Unlock()

	c = b.dial()
	if code := c.play(b.url("cam") + "?token=letmein"); code != base.StatusOK {
		t.Errorf("with token: %d", code)
	}
	c = b.dial()
	if res := c.do(base.Describe, b.url("cam")+"?token=guest", "", ""); res.StatusCode != base.StatusForbidden {
		t.Errorf("guest: %d", res.StatusCode)
	}
	c = b.dial()
	c.head = "Authorization: Basic dTp3cm9uZw==\r\n" // u:wrong
	if res := c.do(base.Describe, b.url("cam"), "", ""); res.StatusCode != base.StatusUnauthorized {
		t.Errorf("wrong password: %d", res.StatusCode)
	}
	c.closed()

	// What was allowed for watching does not allow publishing, and a session
	// cannot be carried over to another camera.
	c = b.dial()
	if res := c.do(base.Announce, b.url("new"), "", opusSDP); res.StatusCode != base.StatusUnauthorized {
		t.Errorf("publishing without credentials: %d", res.StatusCode)
	}
	if _, err := b.registry.Get("new"); err == nil {
		t.Error("a stranger made a camera")
	}
	if strings.Contains(b.log.String(), "letmein") || strings.Contains(b.log.String(), "wrong") {
		t.Error("credentials in the log")
	}
}

func TestStatuses(t *testing.T) {
	b := newBench(t, Options{WaitTimeout: 50 * time.Millisecond}, stream.Config{})
	b.add("pulled", tone())
	if _, err := b.registry.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.registry.Add("empty", stream.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		verb base.Method
		id   string
		body string
		want base.StatusCode
	}{
		{base.Describe, "nosuch", "", base.StatusNotFound},
		{base.Describe, "b%20d", "", base.StatusBadRequest},
		{base.Describe, "a/b", "", base.StatusBadRequest},
		{base.Describe, "off", "", base.StatusForbidden},
		{base.Describe, "empty", "", base.StatusServiceUnavailable},
		{base.Announce, "pulled", opusSDP, base.StatusForbidden},
		{base.Announce, "b%20d", opusSDP, base.StatusBadRequest},
		{base.Announce, "codec", strings.Replace(opusSDP, "opus/48000/2", "speex/16000", 1), base.StatusUnsupportedMediaType},
		{base.Announce, "many", opusSDP + strings.Repeat("m=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n", 20), base.StatusBadRequest},
		{base.Announce, "garbage", "\x00\xffv=9", base.StatusBadRequest},
	} {
		if res := b.dial().do(c.verb, b.url(c.id), "", c.body); res.StatusCode != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.verb, c.id, res.StatusCode, res.StatusMessage, c.want)
		}
	}
	c := b.dial()
	if res := c.do(base.Setup, b.url("pulled")+"/trackID=0", "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n", ""); res.StatusCode != base.StatusUnsupportedTransport {
		t.Errorf("UDP that is switched off: %d", res.StatusCode)
	}
}

func TestOneCameraPerSession(t *testing.T) {
	b := newBench(t, Options{}, stream.Config{})
	b.add("a", tone())
	b.add("b", tone())
	c := b.dial()
	c.do(base.Describe, b.url("a"), "", "")
	tcp := "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
	if res := c.do(base.Setup, b.url("a")+"/trackID=0", tcp, ""); res.StatusCode != base.StatusOK {
		t.Fatalf("%d", res.StatusCode)
	}
	if res := c.do(base.Setup, b.url("b")+"/trackID=0", strings.Replace(tcp, "0-1", "2-3", 1), ""); res.StatusCode == base.StatusOK {
		t.Error("a second camera in the same session")
	}
}

func TestSecondPublisherIsRefused(t *testing.T) {
	b := newBench(t, Options{}, stream.Config{})
	first := b.dial()
	if res := first.do(base.Announce, b.url("cam"), "", opusSDP); res.StatusCode != base.StatusOK {
		t.Fatalf("%d", res.StatusCode)
	}
	second := b.dial()
	res := second.do(base.Announce, b.url("cam"), "", opusSDP)
	if res.StatusCode != base.StatusForbidden || res.StatusMessage != stream.ErrPublished.Error() {
		t.Errorf("second publisher: %d %q", res.StatusCode, res.StatusMessage)
	}
	if !strings.Contains(b.log.String(), stream.ErrPublished.Error()) {
		t.Error("nothing in the log")
	}
	_ = first.c.Close()
	until(t, "the camera is free again", func() bool {
		return b.dial().do(base.Announce, b.url("cam"), "", opusSDP).StatusCode == base.StatusOK
	})
}

// TestSilentPublisher announces, records and sends nothing.
func TestSilentPublisher(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{SilenceTimeout: time.Second}, stream.Config{})
	c := b.dial()
	c.do(base.Announce, b.url("cam"), "", opusSDP)
	if res := c.do(base.Setup, b.url("cam")+"/streamid=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n", ""); res.StatusCode != base.StatusOK {
		t.Fatalf("SETUP: %d", res.StatusCode)
	}
	if res := c.do(base.Record, b.url("cam"), "", ""); res.StatusCode != base.StatusOK {
		t.Fatalf("RECORD: %d", res.StatusCode)
	}
	c.closed()
	until(t, "the camera is free", func() bool {
		return b.dial().do(base.Announce, b.url("cam"), "", opusSDP).StatusCode == base.StatusOK
	})
}

func TestRemovedCameraEndsBoth(t *testing.T) {
	b := newBench(t, Options{}, stream.Config{})
	pub := b.dial()
	pub.do(base.Announce, b.url("pushed"), "", opusSDP)
	b.add("cam", tone())
	player := b.dial()
	if code := player.play(b.url("cam")); code != base.StatusOK {
		t.Fatal(code)
	}
	for _, id := range []string{"pushed", "cam"} {
		if err := b.registry.Remove(id); err != nil {
			t.Fatal(err)
		}
	}
	pub.closed()
	player.closed()
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	// Long enough that a player on a busy machine is not idle between its requests.
	b := newBench(t, Options{IdleTimeout: 2 * time.Second}, stream.Config{})
	b.add("cam", tone())
	player := b.dial()
	if code := player.play(b.url("cam")); code != base.StatusOK {
		t.Fatal(code)
	}
	b.dial().closed()
	// By now the player has asked nothing for longer than the timeout.
	if res := player.do(base.GetParameter, b.url("cam"), "", ""); res.StatusCode != base.StatusOK {
		t.Errorf("a player counts as idle: %d", res.StatusCode)
	}
}

func TestLimits(t *testing.T) {
	b := newBench(t, Options{MaxSessions: 3, MaxPerAddress: 2}, stream.Config{})
	b.add("cam", tone())
	var cs []*client
	for range 2 {
		c := b.dial()
		if code := c.play(b.url("cam")); code != base.StatusOK {
			t.Fatal(code)
		}
		cs = append(cs, c)
	}
	third := b.dial()
	if code := third.play(b.url("cam")); code != base.StatusNotEnoughBandwidth {
		t.Errorf("third session of an address: %d", code)
	}
	cs = append(cs, third)
	if res := cs[0].do(base.Teardown, b.url("cam"), "", ""); res.StatusCode != base.StatusOK {
		t.Errorf("TEARDOWN: %d", res.StatusCode)
	}
	until(t, "a place is free again", func() bool {
		c := b.dial()
		defer c.c.Close()
		return c.play(b.url("cam")) == base.StatusOK
	})
	// Connections: two per session.
	for len(cs) < 4 {
		cs = append(cs, b.dial())
	}
	until(t, "a connection too many is closed", func() bool {
		c := b.dial()
		cs = append(cs, c)
		_ = c.c.SetDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := c.r.ReadByte()
		var n net.Error
		return err != nil && !(errors.As(err, &n) && n.Timeout())
	})
}

func TestPauseAndPlay(t *testing.T) {
	b := newBench(t, Options{}, stream.Config{})
	b.add("cam", tone())
	c := b.dial()
	if code := c.play(b.url("cam")); code != base.StatusOK {
		t.Fatal(code)
	}
	for range 3 {
		var f base.InterleavedFrame
		if err := f.Unmarshal(c.r); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []base.Method{base.Play, base.Pause, base.Play} {
			if res := c.do(verb, b.url("cam"), "", ""); res.StatusCode != base.StatusOK {
				t.Fatalf("%s: %d", verb, res.StatusCode)
			}
		}
	}
	if n := b.viewers("cam"); n != 1 {
		t.Errorf("%d viewers", n)
	}
	c.do(base.Teardown, b.url("cam"), "", "")
	until(t, "the lease is given back", func() bool { return b.viewers("cam") == 0 })
}

func (b *bench) viewers(id string) int {
	s, err := b.registry.Get(id)
	if err != nil {
		b.t.Fatal(err)
	}
	n := 0
	for _, v := range s.Info().Viewers {
		n += v
	}
	return n
}

// pusher is a source that a test drives.
type pusher struct {
	sink chan media.Sink
	keys atomic.Int32
}

func (p *pusher) Run(ctx context.Context, s media.Sink) error {
	p.sink <- s
	<-ctx.Done()
	return nil
}

func (p *pusher) RequestKey() { p.keys.Add(1) }

func TestCodecChangeEndsThePlayer(t *testing.T) {
	b := newBench(t, Options{}, stream.Config{})
	src := &pusher{sink: make(chan media.Sink, 1)}
	b.add("cam", src)
	sink := <-src.sink
	sink.Start(media.Tracks{{Codec: media.PCMU, ClockRate: 8000, Channels: 1}})
	sink.Write(&media.Frame{Units: [][]byte{make([]byte, 160)}})
	c := b.dial()
	if code := c.play(b.url("cam")); code != base.StatusOK {
		t.Fatal(code)
	}
	// The same again is no change.
	sink.Start(media.Tracks{{Codec: media.PCMU, ClockRate: 8000, Channels: 1}})
	sink.Write(&media.Frame{PTS: 20 * time.Millisecond, Units: [][]byte{make([]byte, 160)}})
	var f base.InterleavedFrame
	for f.Channel != 0 || len(f.Payload) == 0 {
		if err := f.Unmarshal(c.r); err != nil {
			t.Fatal(err)
		}
	}
	sink.Start(media.Tracks{{Codec: media.PCMA, ClockRate: 8000, Channels: 1}})
	sink.Write(&media.Frame{Units: [][]byte{make([]byte, 160)}})
	c.closed()
}

// TestSlowPlayer stops reading. Others get every frame; when it reads again it
// has jumped.
func TestSlowPlayer(t *testing.T) {
	b := newBench(t, Options{MaxLag: 50 * time.Millisecond}, stream.Config{})
	src := &pusher{sink: make(chan media.Sink, 1)}
	b.add("cam", src)
	sink := <-src.sink
	sink.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	frame := make([]byte, 100<<10) // a VP8 key frame of 320x240
	copy(frame, []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00})
	n := 0
	write := func() {
		sink.Write(&media.Frame{PTS: time.Duration(n) * 10 * time.Millisecond, Units: [][]byte{frame}})
		n++
	}
	write()
	slow, good := b.dial(), b.dial()
	if slow.c.(*net.TCPConn).SetReadBuffer(64<<10) != nil {
		t.Fatal("no read buffer")
	}
	for _, c := range []*client{slow, good} {
		if code := c.play(b.url("cam")); code != base.StatusOK {
			t.Fatal(code)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, err := b.registry.Get("cam")
	if err != nil {
		t.Fatal(err)
	}
	cur := st.Hub().NewCursor(hub.CursorOptions{Live: true})
	const frames = 200
	for range frames {
		write() // a source that waits for the slow player never comes back
		if _, err := cur.Next(ctx); err != nil {
			t.Fatal(err)
		}
		good.frame()
	}
	// The first picture, replayed, comes on top.
	if good.seen < frames || good.lost != 0 {
		t.Errorf("the good player got %d of %d frames, %d packets lost", good.seen, frames, good.lost)
	}
	for slow.last != uint32(n-1) {
		slow.frame() // fails when the newest frame never comes
	}
	if slow.lost != 0 {
		t.Errorf("%d packets lost: frames must be skipped as a whole", slow.lost)
	}
	if slow.seen > frames/2 {
		t.Errorf("the slow player got %d frames: it should have jumped", slow.seen)
	}
}
