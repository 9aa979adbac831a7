package cameras

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"camwire/media"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"
	"camwire/server/store"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

// camera is a source that is live at once and counts its runs.
type camera struct {
	location string
	runs     *atomic.Int32
}

func (s camera) Run(ctx context.Context, sink media.Sink) error {
	s.runs.Add(1)
	sink.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	// A VP8 key frame header of 640x480 (RFC 6386 section 9.1).
	sink.Write(&media.Frame{Units: [][]byte{{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 2, 0xe0, 1, 0, 0}}})
	<-ctx.Done()
	return nil
}

// keeper is a store that can fail.
type keeper struct {
	Keeper
	mu    sync.Mutex
	err   error
	saves int
}

func (k *keeper) Save(l []Entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saves++
	if k.err != nil {
		return k.err
	}
	return k.Keeper.Save(l)
}

func (k *keeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// syncBuffer is a log that goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type lab struct {
	*testing.T
	dir    string
	reg    *stream.Registry
	cams   *Cameras
	keeper *keeper
	srv    *httptest.Server
	log    *syncBuffer
	runs   atomic.Int32 // of sources

	mu      sync.Mutex
	origins map[string]Origin
}

var defaults = Entry{Quality: 75, Enabled: true, Transport: "tcp"}

// The rules of this lab stand in for those of the configuration.

func validate(e Entry) []Problem {
	var ps []Problem
	if !stream.ValidID(e.ID) {
		ps = append(ps, Problem{"id", fmt.Sprintf("%q is no id", e.ID), "use 1 to 64 letters, digits, _ or -"})
	}
	if e.Source == "" {
		ps = append(ps, Problem{"source", "is missing", ""})
	}
	if e.FPS < 0 || e.FPS > 240 {
		ps = append(ps, Problem{"fps", fmt.Sprintf("must be 0 to 240, is %v", e.FPS), ""})
	}
	if e.Quality < 0 || e.Quality > 100 {
		ps = append(ps, Problem{"quality", fmt.Sprintf("must be 0 to 100, is %v", e.Quality), ""})
	}
	return ps
}

func hide(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if i := strings.LastIndex(rest, "@"); ok && i >= 0 {
		return scheme + "://***" + rest[i:]
	}
	return s
}

func guardSource(s string) error {
	if strings.Contains(s, "169.254.") {
		return errors.New("169.254.169.254 is the metadata service of a cloud: no camera is reached there through the API")
	}
	return nil
}

func diff(a, b Entry) (keys []string, restart bool) {
	for _, k := range []struct {
		key     string
		differs bool
		restart bool
	}{
		{"name", a.Name != b.Name, false}, {"source", a.Source != b.Source, true}, {"fps", a.FPS != b.FPS, false},
		{"quality", a.Quality != b.Quality, false}, {"enabled", a.Enabled != b.Enabled, true},
	} {
		if k.differs {
			keys, restart = append(keys, k.key), restart || k.restart
		}
	}
	return keys, restart
}

func (l *lab) options(e Entry, from Origin) stream.Options {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.origins[e.ID] = from
	return stream.Options{
		Name: e.Name, Type: "test", Location: hide(e.Source), Disabled: !e.Enabled,
		Source: camera{e.Source, &l.runs},
	}
}

func (l *lab) origin(id string) Origin {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.origins[id]
}

func newLab(t *testing.T, dir string, file ...Entry) *lab {
	t.Helper()
	l := &lab{T: t, dir: dir, log: &syncBuffer{}, origins: map[string]Origin{}}
	log := slog.New(slog.NewTextHandler(l.log, nil))
	list, kept, err := store.Open[Entry](store.Options{Dir: dir, Name: "cameras.json", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	l.keeper = &keeper{Keeper: list}
	l.reg = stream.New(stream.Config{})
	l.cams, err = New(Options{
		Keeper: l.keeper, Kept: kept, Defaults: defaults, Validate: validate, Guard: guardSource, Mask: hide, Diff: diff,
		Start: func(e Entry, from Origin) error { _, err := l.reg.Add(e.ID, l.options(e, from)); return err },
		Change: func(e Entry, from Origin, restart bool) error {
			return l.reg.Update(e.ID, l.options(e, from), restart)
		},
		Stop: l.reg.Remove, Max: 8, Log: log,
		USB: func(context.Context) ([]USB, error) {
			return []USB{{Index: 2, Source: "2", Resolution: "1280x720", FPS: 30, SuggestedID: "usb_cam_2", Path: "/dev/video2", Name: "C920"}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	gate, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: []auth.Permission{auth.View}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Gate: gate, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register(l.cams.Routes()); err != nil {
		t.Fatal(err)
	}
	l.cams.SetFile("camwire.yaml", file)
	l.srv = httptest.NewServer(s)
	t.Cleanup(func() { l.srv.Close(); l.reg.Close(); list.Close() })
	return l
}

// do asks as the administrator.
func (l *lab) do(method, path, body string) (*http.Response, string) {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), method, l.srv.URL+path, strings.NewReader(body))
	if err != nil {
		l.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := l.srv.Client().Do(r)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Fatal(err)
	}
	return resp, string(b)
}

// want asks and expects a status; it returns the answer.
func (l *lab) want(status int, method, path, body string) string {
	l.Helper()
	resp, text := l.do(method, path, body)
	if resp.StatusCode != status {
		l.Fatalf("%s %s %.100s: %s %s", method, path, body, resp.Status, text)
	}
	if status >= 400 {
		l.failure(text)
	}
	return text
}

type failed struct {
	Error    string    `json:"error"`
	Problems []Problem `json:"problems"`
}

func (l *lab) failure(text string) failed {
	l.Helper()
	var f failed
	if err := json.Unmarshal([]byte(text), &f); err != nil || f.Error == "" {
		l.Fatalf("no error in %s", text)
	}
	return f
}

func (l *lab) entry(text string) view {
	l.Helper()
	var v view
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		l.Fatalf("%v: %s", err, text)
	}
	return v
}

func (l *lab) list() []view {
	l.Helper()
	var vs []view
	if err := json.Unmarshal([]byte(l.want(200, "GET", "/api/cameras", "")), &vs); err != nil {
		l.Fatal(err)
	}
	return vs
}

// kept is what the next start would find.
func (l *lab) kept() []Entry {
	l.Helper()
	list, kept, err := store.Open[Entry](store.Options{Dir: l.dir, Name: "cameras.json"})
	if err != nil {
		l.Fatal(err)
	}
	if err := list.Close(); err != nil {
		l.Fatal(err)
	}
	return kept
}

func (l *lab) info(id string) stream.Info {
	l.Helper()
	s, err := l.reg.Get(id)
	if err != nil {
		l.Fatal(err)
	}
	return s.Info()
}

func (l *lab) running() string {
	var ids []string
	for _, s := range l.reg.List() {
		ids = append(ids, s.ID())
	}
	return strings.Join(ids, " ")
}
