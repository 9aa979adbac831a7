package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/coder/websocket"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// cameras that are watched and tormented; some are not there for part of the
// time, or never.
func anyCamera(r *rand.Rand) string {
	all := []string{"spare", "fragile", "pushed", "uploaded", "nowhere", "nobody"}
	return all[r.IntN(len(all))]
}

func (s *server) dialOptions() *websocket.DialOptions {
	return &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}}}
}

// briefly is how long somebody stays.
func briefly(ctx context.Context, r *rand.Rand) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(50+r.IntN(1500))*time.Millisecond)
}

// pictureViewer watches in one of the ways that deliver JPEG, and goes.
func (s *server) pictureViewer(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := briefly(ctx, r)
	defer cancel()
	id := anyCamera(r)
	switch r.IntN(4) {
	case 0:
		_, _, err := s.do(ctx, http.MethodGet, fmt.Sprintf("/api/camera/snapshot/%s?width=%d", id, 16+r.IntN(300)), "", nil)
		return err
	case 1:
		// It ends by its context, in the middle of a part.
		_, _, err := s.do(ctx, http.MethodGet, fmt.Sprintf("/api/camera/mjpeg/%s?fps=%d", id, 1+r.IntN(30)), "", nil)
		return err
	case 2:
		return s.socket(ctx, fmt.Sprintf("ws://%s/api/camera/ws/%s?format=jpeg", address(s.ports.http), id))
	default:
		return s.socket(ctx, fmt.Sprintf("ws://%s/%s", address(s.ports.websocket), id))
	}
}

// socket reads a WebSocket until ctx is done.
func (s *server) socket(ctx context.Context, url string) error {
	ws, _, err := websocket.Dial(ctx, url, s.dialOptions())
	if err != nil {
		return err
	}
	defer ws.CloseNow() //nolint:errcheck // it is over
	ws.SetReadLimit(8 << 20)
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			return err
		}
	}
}

// peer is a WebRTC connection that wants to watch.
func peer(tcp bool) (*webrtc.PeerConnection, string, error) {
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if tcp {
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, "", err
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, "", err
	}
	if _, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err == nil {
		var offer webrtc.SessionDescription
		if offer, err = pc.CreateOffer(nil); err == nil {
			err = pc.SetLocalDescription(offer)
		}
	}
	if err != nil {
		return nil, "", errors.Join(err, pc.Close())
	}
	<-webrtc.GatheringCompletePromise(pc)
	return pc, pc.LocalDescription().SDP, nil
}

// webrtcViewer watches by WebRTC, and goes: with or without a word, or before
// it was connected at all.
func (s *server) webrtcViewer(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := briefly(ctx, r)
	defer cancel()
	pc, offer, err := peer(r.IntN(4) == 0)
	if err != nil {
		return err
	}
	defer pc.Close()
	path := "/whep/" + anyCamera(r)
	status, answer, err := s.do(ctx, http.MethodPost, path, "application/sdp", []byte(offer))
	if err != nil || status != http.StatusCreated {
		return fmt.Errorf("%d %w", status, err)
	}
	// It has changed its mind. The server waits for it for half a minute,
	// which a short round has not.
	if s.o.round > time.Minute && r.IntN(5) == 0 {
		return nil
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// rtspViewer plays, or publishes.
func (s *server) rtspViewer(ctx context.Context, r *rand.Rand) error {
	if r.IntN(3) == 0 {
		return s.publish(ctx, r)
	}
	ctx, cancel := briefly(ctx, r)
	defer cancel()
	c := gortsplib.Client{ReadTimeout: 5 * time.Second, Transport: transport(r)}
	u, err := base.ParseURL(s.rtspURL(anyCamera(r)))
	if err != nil {
		return err
	}
	c.Scheme, c.Host = u.Scheme, u.Host
	if err := c.Start2(); err != nil {
		return err
	}
	defer c.Close()
	desc, _, err := c.Describe(u)
	if err != nil {
		return err
	}
	if err := c.SetupAll(desc.BaseURL, desc.Medias); err != nil {
		return err
	}
	c.OnPacketRTPAny(func(*description.Media, format.Format, *rtp.Packet) {})
	if _, err := c.Play(nil); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func transport(r *rand.Rand) *gortsplib.Transport {
	t := gortsplib.TransportTCP
	if r.IntN(2) == 0 {
		t = gortsplib.TransportUDP
	}
	return &t
}

func (s *server) rtspURL(id string) string {
	return fmt.Sprintf("rtsp://soak:%s@%s/%s", s.token, address(s.ports.rtsp), id)
}

// publish sends G.711, which needs no encoder, and goes in mid-stream.
func (s *server) publish(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := briefly(ctx, r)
	defer cancel()
	u, err := base.ParseURL(s.rtspURL("pushed"))
	if err != nil {
		return err
	}
	c := gortsplib.Client{Scheme: u.Scheme, Host: u.Host, ReadTimeout: 5 * time.Second, Transport: transport(r)}
	if err := c.Start2(); err != nil {
		return err
	}
	defer c.Close()
	audio := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{MULaw: true, SampleRate: 8000, ChannelCount: 1}}}
	desc := &description.Session{Medias: []*description.Media{audio}}
	if _, err := c.Announce(u, desc); err != nil {
		return err
	}
	if err := c.SetupAll(u, desc.Medias); err != nil {
		return err
	}
	if _, err := c.Record(); err != nil {
		return err
	}
	for n := uint16(0); ctx.Err() == nil; n++ {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 0, SequenceNumber: n, Timestamp: uint32(n) * 160, SSRC: 7}, Payload: make([]byte, 160)}
		if err := c.WritePacketRTP(audio, p); err != nil {
			return err
		}
		wait(ctx, 20*time.Millisecond)
	}
	return nil
}

// uploader sends pictures as a phone does; some are broken.
func (s *server) uploader(ctx context.Context, r *rand.Rand) error {
	b := picture(16+r.IntN(300), 16+r.IntN(300))
	if r.IntN(2) == 0 {
		b = mutate(r, b)
	}
	if r.IntN(2) == 0 {
		var body bytes.Buffer
		m := multipart.NewWriter(&body)
		_ = m.WriteField("device_id", "uploaded") // into memory
		w, err := m.CreateFormFile("image", "a.jpg")
		if err != nil {
			return err
		}
		_, _ = w.Write(b)
		_ = m.Close()
		_, _, err = s.do(ctx, http.MethodPost, "/api/camera/frame", m.FormDataContentType(), body.Bytes())
		return err
	}
	ctx, cancel := briefly(ctx, r)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+address(s.ports.http)+"/api/camera/stream/uploaded", s.dialOptions())
	if err != nil {
		return err
	}
	defer ws.CloseNow() //nolint:errcheck // it goes without a word
	for ctx.Err() == nil {
		if err := ws.Write(ctx, websocket.MessageBinary, b); err != nil {
			return err
		}
		wait(ctx, 50*time.Millisecond)
	}
	return nil
}

// slowClient begins something and lets it hang: half a request, an answer that
// nobody reads, a handshake without an end.
func (s *server) slowClient(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := briefly(ctx, r)
	defer cancel()
	all := []int{s.ports.http, s.ports.https, s.ports.rtsp, s.ports.webrtc, s.ports.websocket}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(all[r.IntN(len(all))]))
	if err != nil {
		return err
	}
	defer c.Close()
	starts := []string{
		"GET /api/camera/mjpeg/spare?token=" + url.QueryEscape(s.token) + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /api/camera/frame HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nAuthorization: Bearer " + s.token + "\r\n\r\n",
		"DESCRIBE rtsp://x/spare RTSP/1.0\r\nCSeq: 1\r\n", "\x16\x03\x01\x02\x00", "GET /", "",
	}
	_, _ = io.WriteString(c, starts[r.IntN(len(starts))])
	for ctx.Err() == nil {
		wait(ctx, 200*time.Millisecond)
		if _, err := io.WriteString(c, strings.Repeat("x", 1)); err != nil {
			return err
		}
	}
	return nil
}
