package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// SessionLife is how long a session lasts without being used.
const SessionLife = 30 * 24 * time.Hour

// SessionsFile is the name of the file with the sessions in the data directory,
// so that a restart signs nobody out. It holds hashes of the cookies.
const SessionsFile = "sessions.json"

const (
	// sessionStep is how exactly the last use is kept: cookie and file are
	// written anew once in this time and not with every request.
	sessionStep = 24 * time.Hour
	// maxSessions bounds all sessions, maxOwn those of one user or token; the
	// ones unused for longest make room.
	maxSessions = 4096
	maxOwn      = 64
)

// sessionID is the SHA-256 of a cookie's value.
type sessionID [sha256.Size]byte

func sessionOf(cookie string) sessionID { return sha256.Sum256([]byte(cookie)) }

func (s sessionID) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s[:])), nil }

func (s *sessionID) UnmarshalText(b []byte) error {
	d, err := hex.DecodeString(string(b))
	if err != nil || len(d) != len(s) {
		return errors.New("is no SHA-256")
	}
	copy(s[:], d)
	return nil
}

// session is one that somebody signed in to.
type session struct {
	ID    sessionID `json:"id"`
	Proof proof     `json:"proof"`
	// Since is when it began, Used when it was last used, Sent when its
	// cookie was last set; the latter two to a sessionStep.
	Since time.Time `json:"since"`
	Used  time.Time `json:"used"`
	Sent  time.Time `json:"sent"`
}

// end is when the session is over if it is not used any more.
func (s session) end() time.Time {
	end := s.Used.Add(SessionLife)
	if e := s.Proof.Expires; !e.IsZero() && e.Before(end) {
		return e
	}
	return end
}

// sessions is the table of them. It knows when they end; whether what they rest
// on is still there is for the gate.
type sessions struct {
	file file[session]

	mu    sync.Mutex
	all   map[sessionID]session
	dirty bool

	writing sync.Mutex // one at a time, the newest state last
}

func openSessions(dir string, log *slog.Logger) (*sessions, error) {
	t := &sessions{file: file[session]{dir: dir, name: SessionsFile, log: log}, all: map[sessionID]session{}}
	if dir == "" {
		return t, nil
	}
	info, err := t.file.stat()
	if err != nil || info == nil {
		return t, err
	}
	l, _, err := t.file.update(nil)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	now := time.Now()
	for _, s := range l {
		if now.Before(s.end()) {
			t.all[s.ID] = s
		}
	}
	return t, nil
}

// begin makes a session and returns the value of its cookie.
func (t *sessions) begin(p proof, now time.Time) (cookie string, id sessionID, err error) {
	cookie = base64.RawURLEncoding.EncodeToString(randomBytes(32))
	id = sessionOf(cookie)
	p.session = sessionID{}
	now = now.UTC()
	t.mu.Lock()
	t.makeRoom(p, now)
	t.all[id] = session{ID: id, Proof: p, Since: now, Used: now, Sent: now}
	t.dirty = true
	t.mu.Unlock()
	return cookie, id, t.flush()
}

// makeRoom drops what is over and, where there are too many, the ones that were
// unused for longest. The caller holds mu.
func (t *sessions) makeRoom(p proof, now time.Time) {
	var own, all []session
	for id, s := range t.all {
		if !now.Before(s.end()) {
			delete(t.all, id)
			continue
		}
		all = append(all, s)
		if s.Proof.Kind == p.Kind && s.Proof.Subject == p.Subject {
			own = append(own, s)
		}
	}
	for _, l := range []struct {
		list []session
		max  int
	}{{own, maxOwn}, {all, maxSessions}} {
		slices.SortFunc(l.list, func(a, b session) int { return a.Used.Compare(b.Used) })
		for i := 0; i <= len(l.list)-l.max; i++ {
			delete(t.all, l.list[i].ID)
		}
	}
}

// find returns the session of a cookie.
func (t *sessions) find(cookie string, now time.Time) (proof, bool) {
	if cookie == "" || len(cookie) > 64 {
		return proof{}, false
	}
	// The table is asked for a hash: its timing tells nothing about a cookie.
	id := sessionOf(cookie)
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.all[id]
	if !ok || !now.Before(s.end()) {
		return proof{}, false
	}
	p := s.Proof
	p.session = id
	return p, true
}

// end returns when a session is over, and false when it is.
func (t *sessions) end(id sessionID, now time.Time) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.all[id]
	return s.end(), ok && now.Before(s.end())
}

// touch notes that a session is used. With sent, its cookie can be set anew:
// touch reports whether it is to be, so that it lasts as long as the session.
func (t *sessions) touch(id sessionID, now time.Time, sent bool) bool {
	if id == (sessionID{}) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.all[id]
	if !ok {
		return false
	}
	used := now.Sub(s.Used) >= sessionStep
	sent = sent && now.Sub(s.Sent) >= sessionStep
	if used || sent {
		s.Used = now.UTC()
		if sent {
			s.Sent = s.Used
		}
		t.all[id] = s
		t.dirty = true
	}
	return sent
}

// forget drops a session that rests on nothing any more.
func (t *sessions) forget(id sessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.all[id]; ok {
		delete(t.all, id)
		t.dirty = true
	}
}

// remove ends the session of a cookie.
func (t *sessions) remove(cookie string) (bool, error) {
	id := sessionOf(cookie)
	t.mu.Lock()
	_, ok := t.all[id]
	delete(t.all, id)
	t.dirty = t.dirty || ok
	t.mu.Unlock()
	if !ok {
		return false, nil
	}
	// Before the answer: a sign-out must survive a power cut.
	return true, t.flush()
}

// flush writes the table if it has changed.
func (t *sessions) flush() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	dirty := t.dirty
	t.dirty = false
	l := make([]session, 0, len(t.all))
	for _, s := range t.all {
		l = append(l, s)
	}
	t.mu.Unlock()
	if !dirty || t.file.dir == "" {
		return nil
	}
	slices.SortFunc(l, func(a, b session) int { return a.Since.Compare(b.Since) })
	_, _, err := t.file.update(func([]session) ([]session, error) { return l, nil })
	if err != nil {
		t.mu.Lock()
		t.dirty = true
		t.mu.Unlock()
	}
	return err
}
