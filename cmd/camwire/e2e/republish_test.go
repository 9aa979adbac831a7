package e2e

import "testing"

// TestRepublishResolution lets a publisher die and come back as something else
// while viewers stay where they are: the same connection, the same <img>.
func TestRepublishResolution(t *testing.T) {
	beside(t)
	needBrowser(t)
	needFFmpeg(t)
	s := start(t, "cameras: []\n")
	pub := publish(t, s.rtspURL("cam"), 640, 360, 15, h264High)
	s.state(t, "cam", "live")
	p := s.page(t)
	p.whep(t, "/whep/cam", 0)
	p.img(t, "/api/camera/mjpeg/cam")
	p.moving(t, "#video", 640)
	p.moving(t, "#img", 640)

	outer := t // the next publisher is to find the last one alive
	for _, tt := range []struct {
		name          string
		width, height int
		encoder       []string
		codec         string // as the browser gets it
	}{
		{"another size", 800, 450, h264High, "video/H264"},
		{"VP8", 640, 360, vp8, "video/VP8"},
		{"H264 again", 480, 270, h264Baseline, "video/H264"},
		{"H265", 800, 450, h265, "video/H264"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pub.kill()
			s.state(t, "cam", "lost")
			pub = publish(outer, s.rtspURL("cam"), tt.width, tt.height, 15, tt.encoder)
			p.moving(t, "#video", tt.width)
			p.moving(t, "#img", tt.width)
			p.connected(t)
			var st struct{ MIME string }
			p.eval(t, "() => e2e.stats()", nil, &st)
			if st.MIME != tt.codec {
				t.Errorf("the browser gets %s, want %s", st.MIME, tt.codec)
			}
			if c := s.state(t, "cam", "live"); c.Views["webrtc"] != 1 || c.Views["mjpeg"] != 1 {
				t.Errorf("viewers: %v, want one by WebRTC and one by MJPEG", c.Views)
			}
		})
	}
}
