package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// floor is the smallest pion program that does the same job: it pulls one
// H264 camera by RTSP, keeps the group of pictures, and writes every packet to
// every viewer by itself, with playout-delay 0. It is what Camwire is measured
// against, in the same run and on the same pictures.
type floor struct {
	api *webrtc.API

	mu      sync.Mutex
	gop     []floorFrame
	viewers map[*floorViewer]struct{}
}

// floorFrame is one access unit as RTP payloads.
type floorFrame struct {
	payloads [][]byte
	ts       uint32
	key      bool
}

type floorViewer struct {
	frames chan floorFrame
	track  *webrtc.TrackLocalStaticRTP
}

const playoutDelayURI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

// runFloor serves POST /whep until the process is killed, and GET /mjpeg: the
// given number of bytes 30 times a second as a plain multipart stream.
func runFloor(args []string) error {
	listen, camera := args[0], args[1]
	f := &floor{viewers: map[*floorViewer]struct{}{}}
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return err
	}
	if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: playoutDelayURI}, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	reg := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(m, reg); err != nil {
		return err
	}
	var e webrtc.SettingEngine
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	_ = u.SetWriteBuffer(4 << 20)
	e.SetICEUDPMux(webrtc.NewICEUDPMux(nil, u))
	e.SetIncludeLoopbackCandidate(true)
	f.api = webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(e))
	if camera != "-" {
		go func() { _ = f.pull(camera) }() // ends with the process
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whep", f.whep)
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>floor</title>")
	})
	mux.HandleFunc("GET /mjpeg", plainMJPEG)
	return http.ListenAndServe(listen, mux)
}

func (f *floor) pull(url string) error {
	u, err := base.ParseURL(url)
	if err != nil {
		return err
	}
	tcp := gortsplib.TransportTCP
	c := &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Transport: &tcp}
	if err := c.Start2(); err != nil {
		return err
	}
	defer c.Close()
	desc, _, err := c.Describe(u)
	if err != nil {
		return err
	}
	var h *format.H264
	medi := desc.FindFormat(&h)
	if medi == nil {
		return fmt.Errorf("the camera has no H264")
	}
	dec, err := h.CreateDecoder()
	if err != nil {
		return err
	}
	if _, err := c.Setup(desc.BaseURL, medi, 0, 0); err != nil {
		return err
	}
	pay := &codecs.H264Payloader{}
	c.OnPacketRTP(medi, h, func(pkt *rtp.Packet) {
		au, err := dec.Decode(pkt)
		if err != nil {
			return
		}
		f.write(pay, au, pkt.Timestamp)
	})
	if _, err := c.Play(nil); err != nil {
		return err
	}
	return c.Wait()
}

func (f *floor) write(pay *codecs.H264Payloader, au [][]byte, ts uint32) {
	out := floorFrame{ts: ts}
	for _, n := range au {
		if n[0]&31 == 5 {
			out.key = true
		}
		out.payloads = append(out.payloads, pay.Payload(1200, n)...)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if out.key {
		f.gop = f.gop[:0]
	}
	f.gop = append(f.gop, out)
	for v := range f.viewers {
		select {
		case v.frames <- out:
		default:
		}
	}
}

func (f *floor) whep(w http.ResponseWriter, r *http.Request) {
	offer, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	pc, err := f.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000}, "v", "s")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	go func() {
		b := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(b); err != nil {
				return
			}
		}
	}()
	v := &floorViewer{frames: make(chan floorFrame, 1024), track: track}
	done := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			f.mu.Lock()
			for _, fr := range f.gop {
				v.frames <- fr
			}
			f.viewers[v] = struct{}{}
			f.mu.Unlock()
			go v.run(done, sender)
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateDisconnected:
			once.Do(func() {
				f.mu.Lock()
				delete(f.viewers, v)
				f.mu.Unlock()
				close(done)
				_ = pc.Close()
			})
		}
	})
	if err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := pc.CreateAnswer(nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(a); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	<-g
	w.Header().Set("Content-Type", "application/sdp")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, pc.LocalDescription().SDP)
}

func (v *floorViewer) run(done chan struct{}, sender *webrtc.RTPSender) {
	var id uint8
	for _, e := range sender.GetParameters().HeaderExtensions {
		if e.URI == playoutDelayURI {
			id = uint8(e.ID)
		}
	}
	var seq uint16
	for {
		select {
		case <-done:
			return
		case fr := <-v.frames:
			for i, p := range fr.payloads {
				pkt := &rtp.Packet{
					Header:  rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: fr.ts, Marker: i == len(fr.payloads)-1},
					Payload: p,
				}
				if id != 0 {
					_ = pkt.SetExtension(id, []byte{0, 0, 0})
				}
				seq++
				_ = v.track.WriteRTP(pkt)
			}
		}
	}
}

// plainMJPEG writes ?bytes= of picture 30 times a second: the least that an
// MJPEG client can cost.
func plainMJPEG(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscan(r.URL.Query().Get("bytes"), &n); err != nil || n < 1 || n > 10<<20 {
		http.Error(w, "bytes?", http.StatusBadRequest)
		return
	}
	part := fmt.Appendf(nil, "--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", n)
	part = append(part, make([]byte, n)...)
	binary.BigEndian.PutUint16(part[len(part)-n:], 0xffd8)
	part = append(part, "\r\n"...)
	w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for {
		if _, err := w.Write(part); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
