package e2e

import (
	"fmt"
	"os/exec"
	"testing"
)

// TestSound: AAC, which WebRTC does not know, is heard in the browser.
func TestSound(t *testing.T) {
	beside(t)
	needBrowser(t)
	needFFmpeg(t)
	s := start(t, `cameras: [{ id: off, source: "test:", enabled: false }]`)
	ffmpeg := exec.Command("ffmpeg", "-hide_banner", "-loglevel", "warning", "-re",
		"-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-f", "rtsp", "-rtsp_transport", "tcp", s.rtspURL("cam"))
	own(ffmpeg)
	if err := ffmpeg.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { killGroup(ffmpeg); _ = ffmpeg.Wait() })
	s.state(t, "cam", "live")
	p := s.page(t)
	p.eval(t, `async () => {
		window.pc = new RTCPeerConnection()
		const heard = new MediaStream()
		pc.ontrack = (e) => heard.addTrack(e.track)
		pc.addTransceiver('video', { direction: 'recvonly' })
		pc.addTransceiver('audio', { direction: 'recvonly' })
		const video = Object.assign(document.createElement('video'), { autoplay: true, srcObject: heard })
		document.body.append(video)
		await pc.setLocalDescription()
		const r = await fetch('/whep/cam', { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp })
		await pc.setRemoteDescription({ type: 'answer', sdp: await r.text() })
	}`, nil, nil)
	eventually(t, "the tone is heard as loud as it is", func() (bool, string) {
		var level float64
		p.eval(t, `async () => {
			let level = 0;
			(await pc.getStats()).forEach((x) => { if (x.type === 'inbound-rtp' && x.kind === 'audio') level = x.audioLevel ?? 0 })
			return level
		}`, nil, &level)
		return level > 0.08 && level < 0.2, fmt.Sprintf("level %.3f", level)
	})
}
