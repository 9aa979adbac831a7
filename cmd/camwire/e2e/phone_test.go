package e2e

import (
	"bufio"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"os"
	"testing"
	"time"

	"camwire/media/testsrc/clock"
)

// writeFakeCamera makes what Chromium's fake camera shows: ten seconds of the
// machine-readable clock, over and over.
func writeFakeCamera(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	begin := time.Now()
	for i := range 300 {
		m := image.NewYCbCr(image.Rect(0, 0, 640, 360), image.YCbCrSubsampleRatio420)
		for j := range m.Y {
			m.Y[j] = uint8(j/640/2 + 30)
		}
		for j := range m.Cb {
			m.Cb[j], m.Cr[j] = uint8(j), uint8(255-i/2)
		}
		clock.Draw(m.Y, m.YStride, 640, 360, begin.Add(time.Duration(i)*time.Second/30))
		if err := jpeg.Encode(w, m, &jpeg.Options{Quality: 80}); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// advancing checks that an element shows a clock that goes on, whatever time it
// shows: that of the fake camera is the time at which it was made.
func (p *page) advancing(t *testing.T, selector string) []sight {
	t.Helper()
	var seen []sight
	err := p.try("(o) => e2e.moving(o)", map[string]any{
		"selector": selector, "maxAge": time.Hour.Milliseconds(), "timeout": patience.Milliseconds(), "distinct": 4,
	}, &seen)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// phone opens the phone page as somebody who followed its link, with the
// settings of an earlier visit, and presses the button.
func (s *server) phone(t *testing.T, id, mode string, init ...string) *page {
	t.Helper()
	memory := fmt.Sprintf(`localStorage.setItem('camwire.phone', JSON.stringify({ id: %q, mode: %q, interval: 1 }))`, id, mode)
	p := needBrowser(t).open(t, s.base+"/m?token="+s.token, append([]string{memory}, init...)...)
	p.eval(t, `async () => {
		for (let i = 0; i < 200 && !document.querySelector('.shutter'); i++) await e2e.sleep(50)
		document.querySelector('.shutter').click()
	}`, nil, nil)
	return p
}

// TestPhone: a phone publishes in all three ways, and its pictures come out of
// every output.
func TestPhone(t *testing.T) {
	beside(t)
	needBrowser(t)
	s := start(t, `cameras: [{ id: other, source: "test:", enabled: false }]`)
	needPages(t, s)
	for _, x := range []struct{ mode, kind string }{
		{"live", "webrtc"}, {"stream", "mobile_ws"}, {"snapshot", "mobile"},
	} {
		t.Run(x.mode, func(t *testing.T) {
			s.phone(t, x.mode, x.mode)
			s.state(t, x.mode, "live")
			if c := s.camera(t, x.mode); c.Type != x.kind {
				t.Errorf("source_type %q", c.Type)
			}
			watcher := s.page(t)
			watcher.whep(t, "/whep/"+x.mode, 0)
			watcher.advancing(t, "#video")
			watcher.eval(t, "(url) => e2e.img(url)", "/api/camera/mjpeg/"+x.mode, nil)
			watcher.advancing(t, "#img")
			if res, body := s.get(t, "/api/camera/snapshot/"+x.mode); res.StatusCode != http.StatusOK || len(body) < 1000 {
				t.Errorf("snapshot: %s, %d bytes", res.Status, len(body))
			}
		})
	}
}

// TestPhoneDies: the page is killed and opened again while somebody watches.
// The camera's second life reaches the same connection.
func TestPhoneDies(t *testing.T) {
	beside(t)
	needBrowser(t)
	s := start(t, `cameras: [{ id: other, source: "test:", enabled: false }]`)
	needPages(t, s)
	first := s.phone(t, "phone", "live")
	s.state(t, "phone", "live")
	watcher := s.page(t)
	watcher.whep(t, "/whep/phone", 0)
	watcher.advancing(t, "#video")
	first.close()
	second := s.phone(t, "phone", "live")
	watcher.eval(t, "() => { window.before = document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames }", nil, nil)
	eventually(t, "pictures come again", func() (bool, string) {
		var now, before float64
		watcher.eval(t, "() => document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames", nil, &now)
		watcher.eval(t, "() => before", nil, &before)
		return now > before+30, fmt.Sprintf("%.0f pictures more", now-before)
	})
	watcher.advancing(t, "#video")
	watcher.connected(t)
	// What the user asks for in the middle of it costs no viewer either.
	second.eval(t, `async () => {
		const track = document.querySelector('video').srcObject.getVideoTracks()[0]
		await track.applyConstraints({ width: 320, height: 180 })
	}`, nil, nil)
	eventually(t, "the pictures are smaller", func() (bool, string) {
		var now sight
		watcher.eval(t, "() => ({ at: 0, ...e2e.look('#video') })", nil, &now)
		return now.Width == 320, fmt.Sprintf("%d pixels wide", now.Width)
	})
	watcher.advancing(t, "#video")
	watcher.connected(t)
}

// throughRelay makes a page's connections go to a port of this machine.
func throughRelay(port int) string {
	return fmt.Sprintf(`{
		const set = RTCPeerConnection.prototype.setRemoteDescription
		RTCPeerConnection.prototype.setRemoteDescription = function (d) {
			let first = true
			const sdp = d.sdp.split('\r\n').flatMap((line) => {
				if (!line.startsWith('a=candidate:')) return [line]
				if (!first) return []
				first = false
				return ['a=candidate:1 1 udp 2130706431 127.0.0.1 %d typ host']
			}).join('\r\n')
			return set.call(this, { type: d.type, sdp })
		}
	}`, port)
}

// TestPhoneOutOfReach: the phone's network is gone for five seconds and comes
// back, and so do the pictures, by themselves.
func TestPhoneOutOfReach(t *testing.T) {
	beside(t)
	needBrowser(t)
	s := start(t, `cameras: [{ id: other, source: "test:", enabled: false }]`)
	needPages(t, s)
	relay := relayUDP(t, s.webrtc, 0)
	s.phone(t, "phone", "live", throughRelay(relay.port))
	s.state(t, "phone", "live")
	watcher := s.page(t)
	watcher.whep(t, "/whep/phone", 0)
	watcher.advancing(t, "#video")
	if relay.passed.Load() == 0 {
		t.Fatal("the phone does not go through the relay")
	}
	relay.down.Store(true)
	time.Sleep(5 * time.Second) // this long it is gone, by the watch
	relay.down.Store(false)
	watcher.eval(t, "() => { window.before = document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames }", nil, nil)
	eventually(t, "pictures come again", func() (bool, string) {
		var now, before float64
		watcher.eval(t, "() => document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames", nil, &now)
		watcher.eval(t, "() => before", nil, &before)
		return now > before+30, fmt.Sprintf("%.0f pictures more", now-before)
	})
	watcher.advancing(t, "#video")
	watcher.connected(t)
}
