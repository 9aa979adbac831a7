package usb

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// viewer watches by WebRTC and puts the access units together again.
type viewer struct {
	pc *webrtc.PeerConnection
	wg sync.WaitGroup

	mu     sync.Mutex
	states []string
	units  [][][]byte // NAL units of each whole access unit since restart
}

// view connects to a camera by WHEP until the test ends.
func view(t *testing.T, s *server, id string) *viewer {
	t.Helper()
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	// A slow machine may stand still for longer than the usual 5 s.
	e.SetICETimeouts(patience, 2*patience, 2*time.Second)
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	v := &viewer{pc: pc}
	t.Cleanup(v.close)
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.states = append(v.states, s.String())
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { v.wg.Go(func() { v.read(track) }) })
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	res := s.do(t, http.MethodPost, "/whep/"+id, pc.LocalDescription().SDP)
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("WHEP: %s %s %v", res.Status, answer, err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *viewer) close() {
	_ = v.pc.Close()
	v.wg.Wait()
}

func (v *viewer) read(track *webrtc.TrackRemote) {
	var a assembler
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if unit := a.add(p); unit != nil {
			v.mu.Lock()
			v.units = append(v.units, unit)
			v.mu.Unlock()
		}
	}
}

// assembler makes access units of H.264 packets (RFC 6184). A unit of which a
// packet is missing is left out.
type assembler struct {
	packet  codecs.H264Packet
	annexB  []byte
	last    uint16
	started bool
	broken  bool
}

func (a *assembler) add(p *rtp.Packet) [][]byte {
	if a.started && p.SequenceNumber != a.last+1 {
		a.broken = true
	}
	a.started, a.last = true, p.SequenceNumber
	b, err := a.packet.Unmarshal(p.Payload)
	if err != nil {
		a.broken = true
	}
	a.annexB = append(a.annexB, b...)
	if !p.Marker {
		return nil
	}
	list := bytes.Split(a.annexB, []byte{0, 0, 0, 1})[1:]
	broken := a.broken
	a.annexB, a.broken, a.packet = nil, false, codecs.H264Packet{}
	if broken || len(list) == 0 {
		return nil
	}
	return list
}

// restart forgets what has come so far.
func (v *viewer) restart() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.units = nil
}

// pictures waits for that many access units since restart.
func (v *viewer) pictures(t *testing.T, n int) [][][]byte {
	t.Helper()
	var got [][][]byte
	eventually(t, "the viewer gets pictures", func() (bool, string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		got = slices.Clone(v.units)
		return len(got) >= n, fmt.Sprintf("%d of %d, states %v", len(got), n, v.states)
	})
	return got
}

// unharmed fails the test unless the connection is the first one and was never
// anything but well.
func (v *viewer) unharmed(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if got := strings.Join(v.states, " "); got != "connecting connected" {
		t.Errorf("states of the connection: %s; want connecting and then connected for good", got)
	}
}

// client reads MJPEG.
type client struct {
	body io.ReadCloser
	done chan struct{}

	mu    sync.Mutex
	parts [][]byte
	err   error
}

// watch reads MJPEG until the test ends.
func watch(t *testing.T, s *server, id string) *client {
	t.Helper()
	res := s.do(t, http.MethodGet, "/api/camera/mjpeg/"+id, "")
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		t.Fatalf("MJPEG: %s %v", res.Status, err)
	}
	c := &client{body: res.Body, done: make(chan struct{})}
	go c.read(multipart.NewReader(res.Body, params["boundary"]))
	t.Cleanup(c.close)
	return c
}

func (c *client) read(r *multipart.Reader) {
	defer close(c.done)
	for {
		part, err := r.NextRawPart()
		var b []byte
		if err == nil {
			b, err = io.ReadAll(part)
		}
		c.mu.Lock()
		if err != nil {
			c.err = err
			c.mu.Unlock()
			return
		}
		c.parts = append(c.parts, b)
		c.mu.Unlock()
	}
}

func (c *client) close() {
	_ = c.body.Close()
	<-c.done
}

func (c *client) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts = nil
}

// pictures waits for that many parts since restart.
func (c *client) pictures(t *testing.T, n int) [][]byte {
	t.Helper()
	var got [][]byte
	eventually(t, "the MJPEG client gets pictures", func() (bool, string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		got = slices.Clone(c.parts)
		return len(got) >= n, fmt.Sprintf("%d of %d, error %v", len(got), n, c.err)
	})
	return got
}
