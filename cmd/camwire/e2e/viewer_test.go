package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// viewer is a WebRTC viewer without a browser: it counts what arrives and
// repairs nothing, so whatever is missing shows.
type viewer struct {
	pc     *webrtc.PeerConnection
	offer  string
	answer string

	mu     sync.Mutex
	counts counts
	seq    uint16
	ts     uint32
	wg     sync.WaitGroup
}

// counts is what a viewer has received.
type counts struct {
	packets, frames int
	missing         int           // packets
	largest         time.Duration // step of the RTP clock between two frames
}

// viewOptions of a viewer. The zero value connects by UDP.
type viewOptions struct {
	port int  // where the media go instead of the server's own port
	tcp  bool // ICE over TCP only
}

// view connects to a camera by WHEP until the test ends.
func view(t *testing.T, s *server, id string, o viewOptions) *viewer {
	t.Helper()
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if o.tcp {
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
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
	v.offer = pc.LocalDescription().SDP
	res, body := s.do(t, http.MethodPost, "/whep/"+id, strings.NewReader(v.offer), "Content-Type", "application/sdp")
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("WHEP: %s %s", res.Status, body)
	}
	v.answer = string(body)
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: candidates(v.answer, o)}); err != nil {
		t.Fatal(err)
	}
	return v
}

// candidates keeps those of one transport and leads them to the port.
func candidates(answer string, o viewOptions) string {
	want := "udp"
	if o.tcp {
		want = "tcp"
	}
	var b strings.Builder
	for line := range strings.Lines(answer) {
		if strings.HasPrefix(line, "a=candidate:") {
			f := strings.Fields(line)
			if f[2] != want {
				continue
			}
			if o.port != 0 {
				f[5] = fmt.Sprint(o.port)
			}
			line = strings.Join(f, " ") + "\r\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func (v *viewer) read(track *webrtc.TrackRemote) {
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.mu.Lock()
		c := &v.counts
		if c.packets > 0 {
			if step := p.SequenceNumber - v.seq; step > 1 {
				c.missing += int(step) - 1
			}
		}
		if c.frames == 0 || p.Timestamp != v.ts {
			if c.frames > 0 {
				c.largest = max(c.largest, time.Duration(p.Timestamp-v.ts)*time.Second/90000)
			}
			c.frames++
		}
		c.packets++
		v.seq, v.ts = p.SequenceNumber, p.Timestamp
		v.mu.Unlock()
	}
}

// restart begins to count anew.
func (v *viewer) restart() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts = counts{}
}

func (v *viewer) count() counts {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts
}

// watches waits until so many more frames have come.
func (v *viewer) watches(t *testing.T, frames int) {
	t.Helper()
	from := v.count().frames
	eventually(t, "the viewer gets frames", func() (bool, string) {
		n := v.count().frames - from
		return n >= frames, fmt.Sprintf("%d of %d, %s", n, frames, v.pc.ConnectionState())
	})
}

// close ends the viewer; it may be called again.
func (v *viewer) close() {
	_ = v.pc.Close()
	v.wg.Wait()
}

// mjpegViewer reads an MJPEG stream all the time.
type mjpegViewer struct {
	stream *mjpegStream
	done   chan struct{}

	mu     sync.Mutex
	stamps []float64 // X-Timestamp of each part, unix seconds
	err    error
}

// watchMJPEG reads until the test ends.
func watchMJPEG(t *testing.T, s *server, path string) *mjpegViewer {
	t.Helper()
	stream, err := mjpeg(t, s, path)
	if err != nil {
		t.Fatal(err)
	}
	v := &mjpegViewer{stream: stream, done: make(chan struct{})}
	go v.read()
	t.Cleanup(v.close)
	return v
}

func (v *mjpegViewer) read() {
	defer close(v.done)
	for {
		part, err := v.stream.NextRawPart()
		var stamp float64
		if err == nil {
			_, err = fmt.Sscan(part.Header.Get("X-Timestamp"), &stamp)
		}
		if err == nil {
			_, err = io.Copy(io.Discard, part)
		}
		v.mu.Lock()
		if err != nil {
			v.err = err
			v.mu.Unlock()
			return
		}
		v.stamps = append(v.stamps, stamp)
		v.mu.Unlock()
	}
}

func (v *mjpegViewer) restart() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stamps = nil
}

// count returns the frames since restart and the longest time between the
// pictures of two of them.
func (v *mjpegViewer) count() (frames int, largest time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := 1; i < len(v.stamps); i++ {
		largest = max(largest, time.Duration((v.stamps[i]-v.stamps[i-1])*float64(time.Second)))
	}
	return len(v.stamps), largest
}

// watches waits until so many more frames have come.
func (v *mjpegViewer) watches(t *testing.T, frames int) {
	t.Helper()
	from, _ := v.count()
	eventually(t, "the MJPEG viewer gets frames", func() (bool, string) {
		n, _ := v.count()
		v.mu.Lock()
		defer v.mu.Unlock()
		return n-from >= frames, fmt.Sprintf("%d of %d, error %v", n-from, frames, v.err)
	})
}

func (v *mjpegViewer) close() {
	_ = v.stream.Close()
	<-v.done
}
