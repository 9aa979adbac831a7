// Package ws is the WebSocket end of watching a camera by WebRTC: offers,
// answers and candidates in both directions as JSON messages, and beside them
// what a page needs to show the true delay: the server's clock and which
// picture was taken when. It knows nothing of codecs.
package ws

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"camwire/media/stream"
	"camwire/signaling/peer"
)

// Options of a Handler.
type Options struct {
	Registry *stream.Registry
	Peer     *peer.Server
	Log      *slog.Logger
	// Context ends all connections when it is done.
	Context context.Context
}

// Handler serves GET /api/signal/{camera}. Who may call it, and from which
// Origin, is decided before.
type Handler struct{ opts Options }

// New returns a handler.
func New(o Options) *Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	return &Handler{o}
}

// message is every message of both directions; unused fields are left out.
type message struct {
	Type      string     `json:"type"`
	SDP       string     `json:"sdp,omitempty"`
	Candidate *candidate `json:"candidate,omitempty"`
	T         float64    `json:"t,omitempty"`
	Server    float64    `json:"server,omitempty"`
	RTP       uint32     `json:"rtp,omitempty"`
	Captured  float64    `json:"captured,omitempty"`
	ClockRate int        `json:"clock_rate,omitempty"`
	State     string     `json:"state,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Error     string     `json:"error,omitempty"`
	Code      string     `json:"code,omitempty"`

	ICEServers []iceServer `json:"ice_servers,omitempty"`
}

type candidate struct {
	Candidate     string  `json:"candidate"`
	SDPMid        string  `json:"sdpMid,omitempty"`
	SDPMLineIndex *uint16 `json:"sdpMLineIndex,omitempty"`
}

type iceServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

const (
	writeTimeout = 2 * time.Second
	// idleTimeout ends a connection whose page is gone without a word; pages
	// ping every few seconds.
	idleTimeout   = 60 * time.Second
	clockInterval = time.Second
	// stateInterval is how often a change of the camera's state is looked for.
	stateInterval = 200 * time.Millisecond
)

// conn is one page.
type conn struct {
	h      *Handler
	ws     *websocket.Conn
	r      *http.Request
	camera string
	out    chan message
	viewer *peer.Viewer // only the reading goroutine sets it
	ready  chan *peer.Viewer
}

// Serve upgrades the request and runs the session.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, camera string) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // Origin was checked at the gate, with the cookie rule
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = c.CloseNow() }() // after everything is said
	c.SetReadLimit(peer.MaxOffer + 1024)
	ctx, cancel := context.WithCancel(h.opts.Context)
	defer cancel()
	// The request's context ends with the permission of whoever made it.
	defer context.AfterFunc(r.Context(), cancel)()
	x := &conn{h: h, ws: c, r: r, camera: camera, out: make(chan message, 16), ready: make(chan *peer.Viewer, 1)}
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer cancel()
		x.write(ctx)
	}()
	why := x.read(ctx)
	if x.viewer != nil {
		x.viewer.Close()
	}
	cancel()
	<-written
	if h.opts.Context.Err() != nil {
		_ = c.Close(websocket.StatusGoingAway, "the server stops")
		return
	}
	_ = c.Close(websocket.StatusNormalClosure, why)
}

// read handles the page's messages until it leaves.
func (x *conn) read(ctx context.Context) string {
	cam, err := x.h.opts.Registry.Get(x.camera)
	if err != nil {
		x.refuse(ctx, err)
		// The page learns why before the connection ends.
		return "no such camera"
	}
	for {
		rctx, cancel := context.WithTimeout(ctx, idleTimeout)
		typ, b, err := x.ws.Read(rctx)
		cancel()
		if err != nil {
			return ""
		}
		var m message
		if typ != websocket.MessageText || json.Unmarshal(b, &m) != nil {
			x.send(ctx, message{Type: "error", Code: "bad_message", Error: "a JSON text message is expected"})
			continue
		}
		switch m.Type {
		case "offer":
			x.offer(ctx, cam, m.SDP)
		case "candidate":
			if x.viewer != nil && m.Candidate != nil {
				if err := x.viewer.AddCandidate(m.Candidate.Candidate, m.Candidate.SDPMid, m.Candidate.SDPMLineIndex); err != nil {
					x.send(ctx, message{Type: "error", Code: "bad_candidate", Error: err.Error()})
				}
			}
		case "ping":
			x.send(ctx, message{Type: "pong", T: m.T, Server: millis(time.Now())})
		case "bye":
			return "bye"
		default:
			x.send(ctx, message{Type: "error", Code: "bad_message", Error: "unknown message type"})
		}
	}
}

func (x *conn) offer(ctx context.Context, cam *stream.Stream, sdp string) {
	if x.viewer != nil {
		answer, err := x.viewer.Renegotiate(ctx, sdp)
		if err != nil {
			x.refuse(ctx, err)
			return
		}
		x.send(ctx, message{Type: "answer", SDP: answer})
		return
	}
	v, answer, err := x.h.opts.Peer.View(ctx, peer.ViewOptions{
		Camera: cam, Offer: sdp, PageHost: x.r.Host, Remote: peer.RemoteAddr(x.r.RemoteAddr),
	})
	if err != nil {
		x.refuse(ctx, err)
		return
	}
	x.viewer = v
	x.ready <- v
	m := message{Type: "answer", SDP: answer}
	for _, s := range x.h.opts.Peer.ICEServers() {
		m.ICEServers = append(m.ICEServers, iceServer(s))
	}
	x.send(ctx, m)
}

// refuse says in words and by a code why there is no picture.
func (x *conn) refuse(ctx context.Context, err error) {
	code := "failed"
	for _, c := range []struct {
		err  error
		code string
	}{
		{stream.ErrUnknown, "unknown_camera"}, {stream.ErrBadID, "bad_id"}, {stream.ErrDisabled, "disabled"},
		{stream.ErrClosed, "removed"}, {peer.ErrBadOffer, "bad_offer"}, {peer.ErrNoCodec, "no_codec"},
		{peer.ErrTooMany, "too_many"}, {stream.ErrTooMany, "too_many"},
	} {
		if errors.Is(err, c.err) {
			code = c.code
		}
	}
	x.h.opts.Log.Info("WebRTC offer refused", "camera", x.camera, "remote", x.r.RemoteAddr, "error", err)
	m := message{Type: "error", Code: code, Error: err.Error()}
	if code == "failed" {
		m.Error = "the server could not answer the offer; its log says why"
	}
	x.send(ctx, m)
}

func (x *conn) send(ctx context.Context, m message) {
	select {
	case x.out <- m:
	case <-ctx.Done():
	}
}

// write owns the writing half: answers, and the clock once a second.
func (x *conn) write(ctx context.Context) {
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	// The first picture's time is wanted as soon as there is one.
	soon := time.NewTicker(50 * time.Millisecond)
	defer soon.Stop()
	look := time.NewTicker(stateInterval)
	defer look.Stop()
	var viewer *peer.Viewer
	var ended <-chan struct{}
	// A camera that is dark says so before anything else.
	var last message
	if _, err := x.h.opts.Registry.Get(x.camera); err == nil {
		if last = x.state(nil); x.put(last) != nil {
			return
		}
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			x.drain()
			return
		case m := <-x.out:
			err = x.put(m)
		case viewer = <-x.ready:
			ended = viewer.Done()
		case <-ended:
			// Gone: the page makes a new connection.
			_ = x.put(message{Type: "error", Code: "ended", Error: "the connection to the camera has ended"})
			return
		case <-soon.C:
			if viewer != nil && x.clock(viewer) {
				soon.Stop()
			}
		case <-tick.C:
			if viewer != nil {
				x.clock(viewer)
			}
		case <-look.C:
			if st := x.state(viewer); st.State != last.State || st.Reason != last.Reason {
				last = st
				err = x.put(st)
			}
		}
		if err != nil {
			return
		}
	}
}

// drain sends what is queued, so that a refusal is not lost with its connection.
func (x *conn) drain() {
	for {
		select {
		case m := <-x.out:
			if x.put(m) != nil {
				return
			}
		default:
			return
		}
	}
}

func (x *conn) clock(v *peer.Viewer) bool {
	c := v.Clock()
	if c.Captured.IsZero() {
		return false
	}
	return x.put(message{Type: "clock", RTP: c.RTP, Captured: millis(c.Captured), ClockRate: c.Rate}) == nil
}

func (x *conn) state(v *peer.Viewer) message {
	cam, err := x.h.opts.Registry.Get(x.camera)
	if err != nil {
		return message{Type: "state", State: "failed", Reason: "the camera was removed"}
	}
	i := cam.Info()
	m := message{Type: "state", State: string(i.State), Reason: i.Reason}
	if v != nil {
		if p := v.Problem(); p != nil && i.State == stream.Live {
			m.State, m.Reason = "failed", p.Error()
		}
	}
	return m
}

// put writes one message. It does not end with the session: a cancelled write
// would tear the connection down before the page knows why.
func (x *conn) put(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return x.ws.Write(ctx, websocket.MessageText, b)
}

// millis is unix time in milliseconds, as Date.now() has it, with a fraction.
func millis(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }
