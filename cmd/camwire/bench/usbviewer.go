package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// timed is a viewer that notes how old each picture is when its last byte
// comes, by the clock that it shares with the server.
type timed struct {
	end func()
	wg  sync.WaitGroup

	mu   sync.Mutex
	ages []float64 // ms
}

func (v *timed) note(age time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ages = append(v.ages, float64(age)/1e6)
}

// take returns the ages since the last call.
func (v *timed) take() []float64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := v.ages
	v.ages = nil
	return list
}

func (v *timed) close() {
	v.end()
	v.wg.Wait()
}

// timeMJPEG reads the time of capture from the header of each part.
func timeMJPEG(url string) (*timed, error) {
	res, err := request(http.MethodGet, url, "") //nolint:bodyclose // close does it
	if err != nil {
		return nil, err
	}
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("%s: %s %w", url, res.Status, err)
	}
	v := &timed{end: func() { _ = res.Body.Close() }}
	v.wg.Go(func() {
		for r := multipart.NewReader(res.Body, params["boundary"]); ; {
			part, err := r.NextRawPart()
			if err != nil {
				return
			}
			// Not to the end of the part: that shows only with the next one.
			size, err := strconv.ParseInt(part.Header.Get("Content-Length"), 10, 64)
			if err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, part, size); err != nil {
				return
			}
			now := time.Now()
			stamp, err := strconv.ParseFloat(part.Header.Get("X-Timestamp"), 64)
			if err != nil {
				return
			}
			v.note(time.Duration(float64(now.UnixMicro())-stamp*1e6) * time.Microsecond)
		}
	})
	return v, nil
}

const absCaptureURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

// timeWebRTC reads the time of capture from the header extension, which comes
// with some pictures only, and from the RTP clock in between.
func timeWebRTC(url string) (*timed, error) {
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	for _, uri := range []string{playoutDelayURI, absCaptureURI} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	v := &timed{end: func() { _ = pc.Close() }}
	first := make(chan struct{})
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		close(first)
		var id uint8
		for _, x := range r.GetParameters().HeaderExtensions {
			if x.URI == absCaptureURI {
				id = uint8(x.ID)
			}
		}
		v.wg.Go(func() {
			var c captureClock
			for {
				p, _, err := t.ReadRTP()
				if err != nil {
					return
				}
				if at, ok := c.at(p, id); ok && p.Marker {
					v.note(time.Since(at))
				}
			}
		})
	})
	if err := connect(pc, url); err != nil {
		v.close()
		return nil, err
	}
	select {
	case <-first:
		return v, nil
	case <-time.After(90 * time.Second):
		v.close()
		return nil, fmt.Errorf("no picture within 90 s")
	}
}

// captureClock tells when the picture of a packet was captured.
type captureClock struct {
	known bool
	when  time.Time
	ts    uint32
}

func (c *captureClock) at(p *rtp.Packet, id uint8) (time.Time, bool) {
	if b := p.GetExtension(id); id != 0 && len(b) >= 8 {
		// NTP 32.32, which counts from 1900.
		ntp := binary.BigEndian.Uint64(b)
		const from1900 = 2208988800
		c.when = time.Unix(int64(ntp>>32)-from1900, int64(ntp&0xffffffff*1e9>>32))
		c.ts, c.known = p.Timestamp, true
	}
	return c.when.Add(time.Duration(int32(p.Timestamp-c.ts)) * time.Second / 90000), c.known
}
