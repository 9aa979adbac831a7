package rtsp

import (
	"bytes"
	"image"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/stream"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"
)

func TestCatchUp(t *testing.T) {
	c := catchUp{live: 10 * time.Second, on: true}
	last := time.Duration(-1)
	for pts := 8 * time.Second; pts <= 11*time.Second; pts += 40 * time.Millisecond {
		got, replayed := c.at(pts)
		if got <= last {
			t.Errorf("%v: %v is not after %v", pts, got, last)
		}
		if replayed != (pts <= c.live) || !replayed && got != pts {
			t.Errorf("%v: %v, %v", pts, got, replayed)
		}
		if replayed && c.live-got > 70*time.Millisecond {
			t.Errorf("%v: shown %v before the live picture", pts, c.live-got)
		}
		last = got
	}
	if got, replayed := (catchUp{}).at(time.Second); got != time.Second || replayed {
		t.Error("a camera without a past has nothing to catch up")
	}
}

func TestTicks(t *testing.T) {
	for n := range int64(100000) {
		// A PTS made from ticks, rounded down, must give the ticks back.
		d := time.Duration(n/90000)*time.Second + time.Duration(n%90000)*time.Second/90000
		if got := ticks(d, 90000); got != uint32(n) {
			t.Fatalf("%d: %d", n, got)
		}
	}
	if got := ticks(-time.Second, 90000); got != ^uint32(0)-90000+1 {
		t.Errorf("before zero: %d", got)
	}
	if got, want := ticks(3650*24*time.Hour, 90000), uint32(3650*24*3600*90000%(1<<32)); got != want {
		t.Errorf("after ten years: %d, want %d", got, want)
	}
}

func TestNTP(t *testing.T) {
	// RFC 5905 figure 4: 1 January 1970 is second 2208988800.
	if got := ntp(time.Unix(0, 500_000_000)); got != 2208988800<<32|1<<31 {
		t.Errorf("%x", got)
	}
}

func TestQuota(t *testing.T) {
	q := newQuota(3, 2)
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for i, c := range []struct {
		from netip.Addr
		ok   bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {b, false}} {
		if err := q.take(c.from); (err == nil) != c.ok {
			t.Errorf("%d: %v", i, err)
		}
	}
	q.give(a)
	if q.take(b) != nil || q.take(b) == nil {
		t.Error("a place that was given back")
	}
	for range 2 {
		q.give(b)
	}
	q.give(a)
	if q.n != 0 || len(q.by) != 0 {
		t.Errorf("%d in use, %v", q.n, q.by)
	}
	six := addrOf(&net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1")})
	if six != a {
		t.Errorf("%v is %v", six, a)
	}
}

func TestFormats(t *testing.T) {
	asc, err := (mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		track  media.Track
		rtpmap string
		fmtp   string
	}{
		{media.Track{Codec: media.H264}, "H264/90000", ""},
		{media.Track{Codec: media.H265}, "H265/90000", ""},
		{media.Track{Codec: media.VP8}, "VP8/90000", ""},
		{media.Track{Codec: media.VP9}, "VP9/90000", "profile-id=0"},
		{media.Track{Codec: media.AV1}, "AV1/90000", ""},
		{media.Track{Codec: media.JPEG}, "JPEG/90000", ""},
		{media.Track{Codec: media.Opus, Channels: 2}, "opus/48000/2", "sprop-stereo=1"},
		{media.Track{Codec: media.PCMU}, "PCMU/8000", ""},
		{media.Track{Codec: media.PCMA}, "PCMA/8000", ""},
		{media.Track{Codec: media.AAC, Params: [][]byte{asc}}, "mpeg4-generic/48000/2", "config=1190"},
	} {
		f := formatOf(c.track)
		if f == nil || f.RTPMap() != c.rtpmap {
			t.Errorf("%s: %v", c.track.Codec, f)
			continue
		}
		k, v, _ := strings.Cut(c.fmtp, "=")
		if c.fmtp != "" && f.FMTP()[k] != v {
			t.Errorf("%s: fmtp %v", c.track.Codec, f.FMTP())
		}
	}
	for _, tr := range []media.Track{{Codec: media.I420}, {Codec: media.AAC}, {Codec: media.AAC, Params: [][]byte{{0xff}}}} {
		if f := formatOf(tr); f != nil {
			t.Errorf("%s: %v", tr.Codec, f)
		}
	}
	h := formatOf(media.Track{Codec: media.H264, Params: [][]byte{{0x67, 0x42, 0xc0, 0x1e}, {0x68, 1}}}).(*format.H264)
	if h.FMTP()["profile-level-id"] != "42C01E" || h.FMTP()["packetization-mode"] != "1" {
		t.Errorf("%v", h.FMTP())
	}
}

func tables(t testing.TB) huffmanTables {
	t.Helper()
	std, err := standardHuffman()
	if err != nil {
		t.Fatal(err)
	}
	return std
}

func TestJPEGPayloads(t *testing.T) {
	std := tables(t)
	f := jpegFrame(t, 640, 480, image.YCbCrSubsampleRatio420)
	ps, err := jpegPayloads(f, std)
	if err != nil {
		t.Fatal(err)
	}
	var d rtpmjpeg.Decoder
	if err := d.Init(); err != nil {
		t.Fatal(err)
	}
	for i, p := range ps {
		if len(p) > codec.MTU {
			t.Errorf("payload of %d bytes", len(p))
		}
		img, err := d.Decode(&rtp.Packet{Header: rtp.Header{Marker: i == len(ps)-1}, Payload: p})
		if i < len(ps)-1 {
			continue
		}
		if w, h, e := codec.JPEGSize(img); err != nil || e != nil || w != 640 || h != 480 {
			t.Errorf("%v %v %dx%d", err, e, w, h)
		}
	}
	other := bytes.Clone(f.Units[0])
	i := bytes.Index(other, []byte{0xff, 0xc4})
	other[i+4+17]++ // another symbol in the first table
	for name, pic := range map[string][]byte{
		"tables of its own": other,
		"odd width":         jpegFrame(t, 644, 480, image.YCbCrSubsampleRatio420).Units[0],
		"too wide":          jpegFrame(t, 2048, 16, image.YCbCrSubsampleRatio420).Units[0],
		"cut off":           f.Units[0][:300],
		"empty":             {},
	} {
		if _, err := jpegPayloads(&media.Frame{Units: [][]byte{pic}}, std); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzJPEGPayloads(f *testing.F) {
	std := tables(f)
	f.Add([]byte{0xff, 0xd8, 0xff, 0xda, 0, 2, 1})
	f.Add([]byte{0xff, 0xd8, 0xff, 0xc4, 0, 20, 0})
	f.Add([]byte{0xff, 0xd8, 0xff, 0xdb, 0, 1, 0xff, 0xda, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, _ := jpegPayloads(&media.Frame{Units: [][]byte{b}}, std)
		for _, p := range ps {
			if len(p) > codec.MTU {
				t.Errorf("payload of %d bytes", len(p))
			}
		}
	})
}

func TestAACPayloads(t *testing.T) {
	d := rtpmpeg4audio.Decoder{SizeLength: aacSizeBits, IndexLength: aacIndexBits, IndexDeltaLength: aacIndexBits}
	if err := d.Init(); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 300, 1195, 1196, 1197, 5000} {
		au := bytes.Repeat([]byte{7}, size)
		ps := aacPayloads(&media.Frame{Units: [][]byte{au}})
		var got [][]byte
		for i, p := range ps {
			if len(p) > codec.MTU {
				t.Errorf("%d: payload of %d bytes", size, len(p))
			}
			got, _ = d.Decode(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), Marker: i == len(ps)-1}, Payload: p})
		}
		if len(got) != 1 || !bytes.Equal(got[0], au) {
			t.Errorf("%d bytes do not come back", size)
		}
	}
	if aacPayloads(&media.Frame{Units: [][]byte{make([]byte, 8192)}}) != nil || aacPayloads(&media.Frame{}) != nil {
		t.Error("what does not fit must be left out")
	}
}

func FuzzToken(f *testing.F) {
	f.Add("token=abc")
	f.Add("token=abc/")
	f.Add("a=%zz&token=1")
	f.Fuzz(func(t *testing.T, q string) {
		if a, b := tokenOf(q), tokenOf(q+"/"); a != b {
			t.Errorf("%q: %q, with a slash %q", q, a, b)
		}
	})
}

// TestClientsThatMisbehave throws verbs in any order, with wild headers, from
// several connections at a time. The server must live through it, and give
// everything back.
func TestClientsThatMisbehave(t *testing.T) {
	b := newBench(t, Options{UDP: true, WaitTimeout: 20 * time.Millisecond, MaxPerAddress: 100}, stream.Config{})
	b.add("cam", tone())
	verbs := []base.Method{base.Options, base.Describe, base.Announce, base.Setup, base.Setup, base.Setup, base.Play, base.Record,
		base.Pause, base.GetParameter, base.SetParameter, base.Teardown, "PLAYING", "SETUPX"}
	paths := []string{"cam", "cam/", "cam/trackID=0", "cam/trackID=7", "cam/trackID=-1", "cam?token=x/trackID=0", "new", "new/streamid=0", "", "*", "%20"}
	transports := []string{"RTP/AVP/TCP;unicast;interleaved=0-1", "RTP/AVP/TCP;unicast;interleaved=4-9", "RTP/AVP;unicast;client_port=35466-35467",
		"RTP/AVP/TCP;unicast;interleaved=0-1;mode=record", "RTP/AVP;unicast;client_port=35466-35467;mode=record", "RTP/AVP;multicast", "x", "RTP/SAVP;unicast"}
	done := make(chan struct{})
	for seed := range uint64(4) {
		go func() {
			defer func() { done <- struct{}{} }()
			r := rand.New(rand.NewPCG(1, seed))
			for range 60 {
				b.misbehave(r, verbs, paths, transports)
			}
		}()
	}
	for range 4 {
		<-done
	}
	until(t, "all sessions have ended", func() bool {
		b.server.sessions.mu.Lock()
		defer b.server.sessions.mu.Unlock()
		return b.server.sessions.n == 0
	})
	until(t, "all leases are given back", func() bool { return b.viewers("cam") == 0 })
	if code := b.dial().play(b.url("cam")); code != base.StatusOK {
		t.Errorf("a good client: %d", code)
	}
}

// misbehave is one connection of such a client.
func (b *bench) misbehave(r *rand.Rand, verbs []base.Method, paths, transports []string) {
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Error(err)
		return
	}
	defer c.Close()
	pick := func(s []string) string { return s[r.IntN(len(s))] }
	session := ""
	buf := make([]byte, 64<<10)
	for i := range 12 {
		var w strings.Builder
		verb := verbs[r.IntN(len(verbs))]
		w.WriteString(string(verb) + " rtsp://" + b.addr + "/" + pick(paths) + " RTSP/1.0\r\nCSeq: " + strconv.Itoa(i+1) + "\r\n")
		w.WriteString("Transport: " + pick(transports) + "\r\n")
		if session != "" && r.IntN(4) > 0 {
			w.WriteString("Session: " + session + "\r\n")
		}
		if verb == base.Announce {
			w.WriteString("Content-Type: application/sdp\r\nContent-Length: " + strconv.Itoa(len(opusSDP)) + "\r\n")
		}
		w.WriteString("\r\n")
		if verb == base.Announce {
			w.WriteString(opusSDP)
		}
		if r.IntN(5) == 0 {
			w.WriteString("$\x00\x00\x0c\x80\x60aabbbbcccc")
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte(w.String())); err != nil {
			return
		}
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, rest, ok := strings.Cut(string(buf[:n]), "Session: "); ok {
			session, _, _ = strings.Cut(rest, "\r\n")
			session, _, _ = strings.Cut(session, ";")
		}
	}
}
