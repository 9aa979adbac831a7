// Package session is what WHIP (RFC 9725) and WHEP (its sibling for watching,
// draft-ietf-wish-whep) have in common over HTTP: a POST with an offer makes a
// session, PATCH trickles candidates or restarts ICE (RFC 8840), DELETE ends
// it. It knows sessions and status codes, and nothing of codecs or of what a
// session is good for.
package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"

	"camwire/media/stream"
	"camwire/signaling/peer"
)

const (
	sdpType  = "application/sdp"
	fragType = "application/trickle-ice-sdpfrag"
	maxFrag  = 16 << 10
)

// Conn is the connection of a session: a viewer or a publisher.
type Conn interface {
	Renegotiate(ctx context.Context, offer string) (answer string, err error)
	AddCandidate(line, mid string, index *uint16) error
	Done() <-chan struct{}
	Close()
}

// Options of a Table.
type Options struct {
	// Protocol is for messages and logs: "WHEP", "WHIP".
	Protocol string
	// Purpose completes "to …, POST an SDP offer here".
	Purpose string
	// ICEServers are told to the far end.
	ICEServers func() []peer.ICEServer
	// Open answers an offer. It calls closed once when the connection that it
	// returned has ended.
	Open func(r *http.Request, camera, offer string, closed func()) (c Conn, answer string, err error)
	// Lifetime returns a context that outlives the request and ends with the
	// permission of whoever makes it; nil: a session that has begun goes on.
	Lifetime func(context.Context) (context.Context, context.CancelFunc)
	Log      *slog.Logger
}

// Table serves the sessions of one protocol. Its methods are plain HTTP
// handlers with the path's parameters added; who may call them is decided
// before.
type Table struct {
	opts Options

	mu       sync.Mutex
	sessions map[string]*session
}

type session struct {
	camera string
	conn   Conn

	mu    sync.Mutex // one PATCH at a time
	offer string
	etag  string
}

// New returns an empty table.
func New(o Options) *Table {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Table{opts: o, sessions: map[string]*session{}}
}

// Sessions returns how many there are.
func (t *Table) Sessions() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sessions)
}

// Options tells what the resource takes (RFC 9725 section 4.1).
func (t *Table) Options(w http.ResponseWriter, _ *http.Request, _ string) {
	w.Header().Set("Accept-Post", sdpType)
	w.Header().Set("Allow", "OPTIONS, POST, PATCH, DELETE")
	t.links(w)
	w.WriteHeader(http.StatusNoContent)
}

// Offer makes a session: 201 with the answer, Location, ETag and Link.
func (t *Table) Offer(w http.ResponseWriter, r *http.Request, camera string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "OPTIONS, POST")
		fail(w, http.StatusMethodNotAllowed, "to "+t.opts.Purpose+", POST an SDP offer here")
		return
	}
	body, ok := readBody(w, r, sdpType, peer.MaxOffer)
	if !ok {
		return
	}
	id := randomID()
	s := &session{camera: camera, offer: body, etag: randomID()}
	c, answer, err := t.opts.Open(r, camera, body, func() { t.forget(id) })
	if err != nil {
		t.fail(w, r, err)
		return
	}
	s.conn = c
	t.bind(r.Context(), c)
	t.remember(id, s)
	w.Header().Set("Content-Type", sdpType)
	w.Header().Set("Location", strings.TrimSuffix(r.URL.Path, "/")+"/"+id)
	w.Header().Set("ETag", `"`+s.etag+`"`)
	w.Header().Set("Accept-Patch", fragType)
	w.Header().Set("Cache-Control", "no-store")
	t.links(w)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

// bind ends a connection with the permission of whoever made it.
func (t *Table) bind(request context.Context, c Conn) {
	if t.opts.Lifetime == nil {
		return
	}
	life, end := t.opts.Lifetime(request)
	go func() { // ends with the connection, which its server waits for
		defer end()
		select {
		case <-life.Done():
			c.Close()
		case <-c.Done():
		}
	}()
}

// remember keeps a session unless its connection has ended in the meantime.
func (t *Table) remember(id string, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-s.conn.Done():
	default:
		t.sessions[id] = s
	}
}

func (t *Table) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, id)
}

func (t *Table) find(w http.ResponseWriter, camera, id string) *session {
	t.mu.Lock()
	s := t.sessions[id]
	t.mu.Unlock()
	if s == nil || s.camera != camera {
		fail(w, http.StatusNotFound, "no such session: it has ended; POST a new offer")
		return nil
	}
	return s
}

// Session refuses what the resource of a session does not do (RFC 9725 section
// 4.2: GET, HEAD, PUT and POST are reserved).
func (t *Table) Session(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", "PATCH, DELETE")
	fail(w, http.StatusMethodNotAllowed, "PATCH or DELETE the session")
}

// Delete ends a session.
func (t *Table) Delete(w http.ResponseWriter, _ *http.Request, camera, id string) {
	if s := t.find(w, camera, id); s != nil {
		t.forget(id)
		s.conn.Close()
		w.WriteHeader(http.StatusOK)
	}
}

// Patch takes candidates (204) or restarts ICE (200 with the new credentials).
func (t *Table) Patch(w http.ResponseWriter, r *http.Request, camera, id string) {
	s := t.find(w, camera, id)
	if s == nil {
		return
	}
	body, ok := readBody(w, r, fragType, maxFrag)
	if !ok {
		return
	}
	frag, err := parseFragment(body)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ufrag, pwd := credentials(s.offer)
	restart := frag.ufrag != "" && (frag.ufrag != ufrag || frag.pwd != pwd)
	match := r.Header.Get("If-Match")
	switch {
	case match != "" && match != "*" && match != `"`+s.etag+`"`:
		// RFC 9725 section 4.3.1.1: candidates of an older ICE session.
		fail(w, http.StatusPreconditionFailed, "the ETag is of an older ICE session")
		return
	case restart && match == "":
		fail(w, http.StatusPreconditionRequired, `an ICE restart needs If-Match: "*"`)
		return
	case restart:
		t.restart(w, r, s, frag)
		return
	}
	for _, c := range frag.candidates {
		if err := s.conn.AddCandidate(c.line, c.mid, nil); err != nil {
			t.fail(w, r, err)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (t *Table) restart(w http.ResponseWriter, r *http.Request, s *session, f *fragment) {
	offer := withCredentials(s.offer, f.ufrag, f.pwd)
	answer, err := s.conn.Renegotiate(r.Context(), offer)
	if err != nil {
		t.fail(w, r, err)
		return
	}
	s.offer, s.etag = offer, randomID()
	for _, c := range f.candidates {
		if err := s.conn.AddCandidate(c.line, c.mid, nil); err != nil {
			t.opts.Log.Debug("candidate of an ICE restart refused", "camera", s.camera, "error", err)
		}
	}
	w.Header().Set("Content-Type", fragType)
	w.Header().Set("ETag", `"`+s.etag+`"`)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, fragmentOf(answer))
}

// links tells the ICE servers (RFC 9725 section 4.6).
func (t *Table) links(w http.ResponseWriter) {
	for _, s := range t.opts.ICEServers() {
		for _, u := range s.URLs {
			l := "<" + u + `>; rel="ice-server"`
			if s.Username != "" {
				l += fmt.Sprintf("; username=%q; credential=%q; credential-type=\"password\"", s.Username, s.Credential)
			}
			w.Header().Add("Link", l)
		}
	}
}

// fail maps an error to its status: the offer's fault, the camera's, or ours.
func (t *Table) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := Status(err)
	t.opts.Log.Log(r.Context(), slog.LevelInfo, t.opts.Protocol+" refused", "path", r.URL.Path, "remote", r.RemoteAddr, "status", status, "error", err)
	if status == http.StatusInternalServerError {
		fail(w, status, "the server could not answer the offer; its log says why")
		return
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	fail(w, status, err.Error())
}

// Status is the HTTP status that fits an error of View or Publish.
func Status(err error) int {
	switch {
	case errors.Is(err, stream.ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, stream.ErrBadID), errors.Is(err, peer.ErrBadOffer):
		return http.StatusBadRequest
	case errors.Is(err, peer.ErrNoCodec):
		return http.StatusNotAcceptable
	case errors.Is(err, stream.ErrDisabled), errors.Is(err, stream.ErrClosed),
		errors.Is(err, stream.ErrPublished), errors.Is(err, stream.ErrNotPushable):
		return http.StatusConflict
	case errors.Is(err, peer.ErrTooMany), errors.Is(err, peer.ErrClosed),
		errors.Is(err, stream.ErrTooMany), errors.Is(err, stream.ErrFull):
		return http.StatusServiceUnavailable
	case errors.Is(err, context.Canceled):
		return 499
	default:
		return http.StatusInternalServerError
	}
}

func readBody(w http.ResponseWriter, r *http.Request, want string, limit int64) (string, bool) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != want {
		fail(w, http.StatusUnsupportedMediaType, "Content-Type must be "+want)
		return "", false
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("at most %d bytes are taken", limit))
		return "", false
	case err != nil:
		fail(w, http.StatusBadRequest, "the body could not be read")
		return "", false
	case len(b) == 0:
		fail(w, http.StatusBadRequest, "the body is empty: an SDP is expected")
		return "", false
	}
	return string(b), true
}

func fail(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": why})
}

// randomID is unguessable: whoever knows it may end the session.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
