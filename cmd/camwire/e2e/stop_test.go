package e2e

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// TestStop ends the server under the eyes of its viewers, one of whom does not
// read.
func TestStop(t *testing.T) {
	end2end(t)
	needFFmpeg(t)
	s := start(t, smallCamera)
	s.state(t, "cam", "live")
	v := view(t, s, "cam", viewOptions{})
	v.watches(t, 5)
	m := watchMJPEG(t, s, "/api/camera/mjpeg/cam")
	m.watches(t, 5)
	rtsp, web := relayTCP(t, s.rtsp), relayTCP(t, s.http)
	stallRTSP(t, s, rtsp) // reads: this valve stays open
	rtsp.flows(t, "the RTSP client", 50<<10)
	stallMJPEG(t, s, web)
	web.flows(t, "the MJPEG client", 50<<10)
	web.stall()
	if b := shared.browser; b != nil {
		p := s.page(t)
		p.whep(t, "/whep/cam", 0)
		p.moving(t, "#video", 640)
	}

	s.stops(t, syscall.SIGTERM)
	if !t.Failed() && groupAlive(s.cmd) {
		t.Error("a worker has outlived the server")
	}
	select {
	case <-m.done:
	case <-time.After(patience):
		t.Error("the MJPEG viewer was not told")
	}
}

// TestStopIdle ends a server that nobody watches, by the other signal.
func TestStopIdle(t *testing.T) {
	end2end(t)
	s := start(t, "cameras: []\n")
	s.stops(t, syscall.SIGINT)
}

// TestStopICEServerAway ends a server whose viewers still wait for an answer
// of a TURN server that is not there.
func TestStopICEServerAway(t *testing.T) {
	end2end(t)
	s := start(t, `webrtc:
  address: "127.0.0.1:0"
  ice_servers: [{ urls: ["turn:127.0.0.1:9"], username: me, credential: secret }]
`+smallCamera)
	s.state(t, "cam", "live")
	view(t, s, "cam", viewOptions{}).watches(t, 5)
	s.stops(t, syscall.SIGTERM)
}

// stopBound is what the server gives itself, 5 s, and a little for a slow
// machine.
const stopBound = 7 * time.Second

// stops sends a signal and checks that the server ends well, and in time.
func (s *server) stops(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.exited:
		if s.err != nil {
			t.Errorf("the server ended with %v, want success", s.err)
		}
	case <-time.After(stopBound):
		t.Errorf("the server still runs %v after %v", stopBound, sig)
	}
}
