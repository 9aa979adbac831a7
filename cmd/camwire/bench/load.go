package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// runLoad connects N viewers one after the other, says "ready", and receives
// until its standard input ends; then it prints how many packets or bytes came.
//
//	load webrtc N URL | load mjpeg N URL
func runLoad(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var got atomic.Uint64
	watch := watchWebRTC
	if args[0] == "mjpeg" {
		watch = watchMJPEG
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range n {
		// A crowd on two processors: one handshake in a hundred may time out.
		var err error
		for range 3 {
			if err = watch(args[2], &got, &wg, stop); err == nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	wg.Wait()
	fmt.Println(got.Load())
	return nil
}

func watchWebRTC(url string, got *atomic.Uint64, wg *sync.WaitGroup, stop chan struct{}) error {
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return err
	}
	for _, uri := range []string{playoutDelayURI, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{})).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	first := make(chan struct{})
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		close(first)
		b := make([]byte, 1500)
		for {
			if _, _, err := t.Read(b); err != nil {
				return
			}
			got.Add(1)
		}
	})
	if err := connect(pc, url); err != nil {
		return err
	}
	// Goodbye at the end: a viewer that vanishes is held for a while.
	wg.Go(func() { <-stop; _ = pc.Close() })
	select {
	case <-first:
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("no picture within 20 s")
	}
}

// connect offers to receive video by WHEP and takes the answer.
func connect(pc *webrtc.PeerConnection, url string) error {
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return err
	}
	o, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	g := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(o); err != nil {
		return err
	}
	<-g
	res, err := request(http.MethodPost, url, pc.LocalDescription().SDP)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s", res.Status, answer)
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)})
}

func watchMJPEG(url string, got *atomic.Uint64, wg *sync.WaitGroup, stop chan struct{}) error {
	res, err := request(http.MethodGet, url, "")
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	wg.Go(func() {
		r := bufio.NewReaderSize(res.Body, 1<<16)
		for {
			n, err := r.Discard(1 << 16)
			got.Add(uint64(n))
			if err != nil {
				return
			}
		}
	})
	wg.Go(func() { <-stop; _ = res.Body.Close() })
	return nil
}

func request(method, url, sdp string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(sdp))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/sdp")
	return http.DefaultClient.Do(r)
}
