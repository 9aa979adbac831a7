package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// sluggish is an answer that has waited for something; others take
// milliseconds.
const sluggish = 4 * time.Second

// TestWHEPProtocol checks WHEP as its clients use it, at both addresses. The
// ICE servers of the configuration lead nowhere: nobody may wait for them.
func TestWHEPProtocol(t *testing.T) {
	beside(t)
	needBrowser(t)
	const frag = "application/trickle-ice-sdpfrag"
	s := start(t, `webrtc:
  address: "127.0.0.1:0"
  ice_servers:
    - { urls: ["stun:127.0.0.1:9"] }
    - { urls: ["turn:127.0.0.1:9"], username: me, credential: secret }
`+smallCamera)
	s.state(t, "cam", "live")
	for _, path := range []string{"/whep/cam", "/cam/whep"} {
		t.Run(path, func(t *testing.T) {
			res, _ := s.do(t, http.MethodOptions, path, nil)
			if res.StatusCode != http.StatusNoContent || res.Header.Get("Accept-Post") != "application/sdp" {
				t.Errorf("OPTIONS: %s, Accept-Post %q", res.Status, res.Header.Get("Accept-Post"))
			}
			checkLinks(t, "OPTIONS", res.Header)

			p := s.page(t)
			w := p.whep(t, path, 0)
			p.moving(t, "#video", 640)
			if rest, ok := strings.CutPrefix(w.Location, path+"/"); !ok || len(rest) < 16 || strings.Contains(rest, "/") {
				t.Errorf("Location %q", w.Location)
			}
			if !strings.HasPrefix(w.ETag, `"`) {
				t.Errorf("ETag %q", w.ETag)
			}

			// Candidates trickle in.
			fragment := func(ufrag, pwd string) string {
				return "a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:" + pwd + "\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" +
					"a=candidate:1 1 udp 2113937151 127.0.0.1 9 typ host\r\n"
			}
			ufrag, pwd := attribute(w.Offer, "ice-ufrag"), attribute(w.Offer, "ice-pwd")
			for _, tt := range []struct {
				name, body, kind, match string
				want                    int
			}{
				{"trickle", fragment(ufrag, pwd), frag, "", 204},
				{"trickle with the ETag", fragment(ufrag, pwd), frag, w.ETag, 204},
				{"trickle to an older session", fragment(ufrag, pwd), frag, `"older"`, 412},
				{"restart of an older session", fragment("abcd", "0123456789012345678901"), frag, `"older"`, 412},
				{"restart without If-Match", fragment("abcd", "0123456789012345678901"), frag, "", 428},
				{"wrong type", fragment(ufrag, pwd), "application/sdp", "", 415},
				{"nonsense", "hello", frag, "", 400},
			} {
				res, body := s.do(t, http.MethodPatch, w.Location, strings.NewReader(tt.body), "Content-Type", tt.kind, "If-Match", tt.match)
				if res.StatusCode != tt.want {
					t.Errorf("PATCH, %s: %s %s; want %d", tt.name, res.Status, body, tt.want)
				}
			}

			restartICE(t, p, w)
			p.connected(t)

			asked := time.Now()
			res, body := s.do(t, http.MethodDelete, w.Location, nil)
			if d := time.Since(asked); d > sluggish {
				t.Errorf("DELETE took %v: it waits for ICE servers that do not answer", d)
			}
			if res.StatusCode != http.StatusOK {
				t.Errorf("DELETE: %s %s", res.Status, body)
			}
			for _, method := range []string{http.MethodDelete, http.MethodPatch} {
				if res, _ := s.do(t, method, w.Location, strings.NewReader(fragment(ufrag, pwd)), "Content-Type", frag); res.StatusCode != http.StatusNotFound {
					t.Errorf("%s after DELETE: %s", method, res.Status)
				}
			}
			eventually(t, "the viewer is gone", func() (bool, string) {
				c := s.camera(t, "cam")
				return c.Views["webrtc"] == 0, ""
			})
		})
	}
	t.Run("answer", func(t *testing.T) {
		v := view(t, s, "cam", viewOptions{})
		v.watches(t, 5)
		res, body := s.do(t, http.MethodPost, "/whep/cam", strings.NewReader(v.offer), "Content-Type", "application/sdp; charset=utf-8")
		h := res.Header
		if res.StatusCode != http.StatusCreated || h.Get("Content-Type") != "application/sdp" || h.Get("Accept-Patch") != frag ||
			h.Get("Cache-Control") != "no-store" {
			t.Errorf("POST: %s with the header %v", res.Status, h)
		}
		checkLinks(t, "POST", h)
		if !strings.Contains(string(body), "typ host") {
			t.Error("the answer has no host candidate")
		}
		if res, _ := s.do(t, http.MethodDelete, h.Get("Location"), nil); res.StatusCode != http.StatusOK {
			t.Errorf("DELETE of a session that never connected: %s", res.Status)
		}
	})
}

func checkLinks(t *testing.T, what string, h http.Header) {
	t.Helper()
	links := strings.Join(h.Values("Link"), "\n")
	for _, want := range []string{
		`<stun:127.0.0.1:9>; rel="ice-server"`,
		`<turn:127.0.0.1:9>; rel="ice-server"; username="me"; credential="secret"; credential-type="password"`,
	} {
		if !strings.Contains(links, want) {
			t.Errorf("%s: Link %q lacks %s", what, links, want)
		}
	}
}

// attribute is the first a=key: of an SDP.
func attribute(sdp, key string) string {
	for line := range strings.Lines(sdp) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "a="+key+":"); ok {
			return v
		}
	}
	return ""
}

// restartICE restarts ICE in the page, as after a change of network, and
// checks that the pictures go on by the new path.
func restartICE(t *testing.T, p *page, w whepSession) {
	t.Helper()
	var got struct {
		Status         int
		Type, ETag     string
		Fragment       string
		Before, After  string // pair of candidates in use
		Local, Current string // ufrag
	}
	p.eval(t, `async (answer) => {
		const pair = async () => {
			const report = await pc.getStats()
			let id = ''
			report.forEach((s) => { if (s.type === 'transport') id = s.selectedCandidatePairId })
			return id
		}
		const first = (text, key) => text.match(new RegExp('a=' + key + ':(.*)'))?.[1].trim()
		const before = await pair()
		const offer = await pc.createOffer({ iceRestart: true })
		await pc.setLocalDescription(offer)
		const ufrag = first(offer.sdp, 'ice-ufrag')
		const r = await fetch(session.location, {
			method: 'PATCH',
			headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' },
			body: 'a=ice-ufrag:' + ufrag + '\r\na=ice-pwd:' + first(offer.sdp, 'ice-pwd') + '\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n',
		})
		const fragment = await r.text()
		const out = { status: r.status, type: r.headers.get('Content-Type'), etag: r.headers.get('ETag'), fragment, before, local: ufrag }
		if (r.status !== 200) return out
		const candidates = fragment.split('\r\n').filter((l) => l.startsWith('a=candidate:'))
		let put = false
		const sdp = answer.split('\r\n').flatMap((line) => {
			if (line.startsWith('a=ice-ufrag:')) return ['a=ice-ufrag:' + first(fragment, 'ice-ufrag')]
			if (line.startsWith('a=ice-pwd:')) return ['a=ice-pwd:' + first(fragment, 'ice-pwd')]
			if (line.startsWith('a=end-of-candidates')) return []
			if (!line.startsWith('a=candidate:')) return [line]
			if (put) return []
			put = true
			return candidates
		}).join('\r\n')
		await pc.setRemoteDescription({ type: 'answer', sdp })
		const end = performance.now() + 15000
		do { await e2e.sleep(50); out.after = await pair() } while ((!out.after || out.after === before) && performance.now() < end)
		out.current = first(pc.currentLocalDescription.sdp, 'ice-ufrag')
		return out
	}`, w.Answer, &got)
	if got.Status != http.StatusOK || got.Type != "application/trickle-ice-sdpfrag" {
		t.Fatalf("ICE restart: %d %s %s", got.Status, got.Type, got.Fragment)
	}
	if got.ETag == "" || got.ETag == w.ETag {
		t.Errorf("ICE restart: ETag %q after %q", got.ETag, w.ETag)
	}
	if u := attribute(got.Fragment, "ice-ufrag"); u == "" || u == attribute(w.Answer, "ice-ufrag") {
		t.Errorf("ICE restart: ufrag %q after %q", u, attribute(w.Answer, "ice-ufrag"))
	}
	if got.After == "" || got.After == got.Before || got.Current != got.Local {
		t.Errorf("ICE restart: the connection goes on by %q, before by %q", got.After, got.Before)
	}
	p.moving(t, "#video", 640)
}
