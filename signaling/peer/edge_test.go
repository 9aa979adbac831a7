package peer

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/stream"
)

// A viewer is there before the first frame, and the camera turns out to be
// another codec than was known when the viewer came.
func TestCodecChangesBeforeTheFirstFrame(t *testing.T) {
	reg := stream.New(stream.Config{})
	defer reg.Close()
	pub, err := reg.Publish("cam", stream.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pub.Start(media.Tracks{{Codec: media.H264, ClockRate: 90000, Params: [][]byte{sps, pps}}})
	cam, err := reg.Get("cam")
	if err != nil {
		t.Fatal(err)
	}
	s, w := testServer(t), newWatcher(t)
	v := watch(t, s, &camera{Stream: cam, reg: reg}, w)
	<-v.Connected()
	// The viewer waits for its first frame only once it has found its plan.
	for v.source.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	pub.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	vp8 := append([]byte{0x50, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0}, make([]byte, 500)...)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for i := 0; ; i++ {
			pub.Write(&media.Frame{PTS: time.Duration(i) * 33 * time.Millisecond, Units: [][]byte{vp8}})
			select {
			case <-stop:
				return
			case <-time.After(33 * time.Millisecond):
			}
		}
	}()
	p := w.next(t)
	for _, o := range v.offer.video {
		if o.pt == p.PayloadType && o.codec != media.VP8 {
			t.Errorf("VP8 went out as payload type %d, %s", o.pt, o.codec)
		}
	}
}

func TestOffersCannotBeBlownUp(t *testing.T) {
	head := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF"
	for name, sdp := range map[string]string{
		"formats":    head + strings.Repeat(" 0", 3000) + "\r\n",
		"attributes": head + " 0\r\n" + strings.Repeat("a=rtcp-fb:* a\r\n", 5000),
	} {
		if _, err := parseOffer(sdp); !errors.Is(err, ErrBadOffer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o, err := parseOffer(head + " 0 0 0 0 8\r\n" + strings.Repeat("a=rtcp-fb:* a\r\n", 100))
	if err != nil || len(o.audio) != 2 || len(o.audio[0].fb) != maxFeedback {
		t.Errorf("%d formats, %v", len(o.audio), err)
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	c := newCamera(t, 30, false)
	s, w := testServer(t), newWatcher(t)
	v := watch(t, s, c, w)
	w.frame(t)
	var err error
	for range maxCandidates + 1 {
		err = v.AddCandidate("candidate:1 1 udp 2130706431 127.0.0.1 9 typ host", "0", nil)
	}
	if !errors.Is(err, ErrBadOffer) {
		t.Errorf("%v", err)
	}
}

// A camera that was away for a night: RTP time goes on by a minute, and then
// at its pace, for a viewer that has stayed.
func TestRTPClockAfterANight(t *testing.T) {
	c := rtpClock{base: 1}
	t0 := time.Now()
	c.stamp(0, t0, 90000)
	last := c.stamp(time.Second, t0.Add(time.Second), 90000)
	const frame = 50 * time.Millisecond
	for i := range 5 {
		at := 8*time.Hour + time.Duration(i)*frame
		ts := c.stamp(at, t0.Add(at), 90000)
		want := uint32(4500)
		if i == 0 {
			want = 60 * 90000
		}
		if ts-last != want {
			t.Errorf("frame %d: %d ticks, want %d", i, ts-last, want)
		}
		last = ts
	}
}

// A peer that reads nothing cannot hold a writer for longer than the deadline.
func TestBoundedConnGivesUp(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := boundedConn{a, 20 * time.Millisecond}
	if _, err := c.Write([]byte{1}); err == nil {
		t.Error("a write that nobody takes has succeeded")
	}
	// A write would fail by its deadline; only a closed pipe refuses a new one.
	if err := a.SetDeadline(time.Time{}); err == nil {
		t.Error("the connection is still open after a part of a packet")
	}
}
