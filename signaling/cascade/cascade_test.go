package cascade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"camwire/media"
	"camwire/media/stream"
	"camwire/signaling/peer"
	"camwire/signaling/whep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frames is a VP8 camera of 16x16 pixels: key frames only.
type frames struct{}

func (frames) Run(ctx context.Context, s media.Sink) error {
	s.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		s.Write(&media.Frame{PTS: time.Duration(i) * 20 * time.Millisecond, Units: [][]byte{
			{0x10, 0, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0, byte(i), 1, 2, 3},
		}})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func server(t *testing.T) *peer.Server {
	t.Helper()
	p, err := peer.New(peer.Options{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// far is another Camwire, as far as it matters, with a certificate of its own.
func far(t *testing.T) (srv *httptest.Server, fingerprint string, ended <-chan struct{}) {
	t.Helper()
	reg := stream.New(stream.Config{})
	t.Cleanup(reg.Close)
	if _, err := reg.Add("cam", stream.Options{Source: frames{}}); err != nil {
		t.Fatal(err)
	}
	h := whep.New(whep.Options{Registry: reg, Peer: server(t)})
	end := make(chan struct{}, 1)
	mux := http.NewServeMux()
	allowed := func(w http.ResponseWriter, r *http.Request) bool {
		_, pass, _ := r.BasicAuth()
		if pass != "secret" && r.URL.Query().Get("token") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
		return true
	}
	mux.HandleFunc("POST /whep/{id}", func(w http.ResponseWriter, r *http.Request) {
		if allowed(w, r) {
			h.Offer(w, r, r.PathValue("id"))
		}
	})
	mux.HandleFunc("DELETE /whep/{id}/{session}", func(w http.ResponseWriter, r *http.Request) {
		if allowed(w, r) {
			h.Delete(w, r, r.PathValue("id"), r.PathValue("session"))
			end <- struct{}{}
		}
	})
	mux.HandleFunc("POST /page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	srv = httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	sum := sha256.Sum256(srv.Certificate().Raw)
	return srv, hex.EncodeToString(sum[:]), end
}

type sink chan *media.Frame

func (sink) Start(media.Tracks) {}
func (s sink) Write(f *media.Frame) {
	select {
	case s <- f:
	default:
	}
}

func TestPlaysACameraOfAnotherServer(t *testing.T) {
	srv, print, ended := far(t)
	near := server(t)
	for _, form := range []string{"https://any:secret@%s/whep/cam", "https://%s/whep/cam?token=secret"} {
		s, err := New(Options{URL: fmt.Sprintf(form, srv.Listener.Addr()), Fingerprint: print, Server: near})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(sink, 100)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Run(ctx, got); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		if f := <-got; !f.Key {
			t.Error("no key frame first")
		}
		s.(media.KeyRequester).RequestKey()
		<-got
		cancel()
		wg.Wait()
		<-ended // the session there was ended, not left to die
	}
}

// TestSecretsStay: no other server, and nobody on the way, gets the password or
// the token.
func TestSecretsStay(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Method+" "+r.URL.String()+r.Header.Get("Authorization")+r.Header.Get("Referer"))
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		w.Header().Set("Content-Type", sdpType)
		w.WriteHeader(http.StatusCreated)
	}))
	defer other.Close()
	first := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, other.URL+"/whep/cam", http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Type", sdpType)
		w.Header().Set("Location", other.URL+"/session")
		w.WriteHeader(http.StatusCreated)
	}))
	defer first.Close()
	sum := sha256.Sum256(first.Certificate().Raw)
	for _, path := range []string{"/away", "/whep/cam"} {
		s, err := New(Options{
			URL:         "https://me:secret@" + first.Listener.Addr().String() + path + "?token=geheim",
			Fingerprint: hex.EncodeToString(sum[:]), Server: server(t),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context(), make(sink)); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if len(seen) > 0 {
		t.Errorf("another server was asked: %q", seen)
	}
}

func TestWhatGoesWrong(t *testing.T) {
	srv, print, _ := far(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	near := server(t)
	addr := srv.Listener.Addr().String()
	for _, x := range []struct {
		name, url, print string
		want             error
		word             string
	}{
		{"wrong password", "https://u:hunter2@" + addr + "/whep/cam", print, ErrRefused, "check user and password"},
		{"no such camera", "https://u:secret@" + addr + "/whep/none", print, ErrRefused, "no such camera"},
		{"a page", "https://u:hunter2@" + addr + "/page", print, ErrRefused, "path that of WHEP"},
		{"not trusted", "https://u:hunter2@" + addr + "/whep/cam", "", ErrReach, "set fingerprint"},
		{"another certificate", "https://u:hunter2@" + addr + "/whep/cam", strings.Repeat("00", 32), ErrReach, "it shows " + print},
		{"no HTTPS", "https://u:hunter2@" + plain.Listener.Addr().String() + "/whep/cam", print, ErrReach, "speaks no HTTPS"},
		{"nobody there", "http://u:hunter2@127.0.0.1:1/whep/cam", "", ErrReach, "refused"},
	} {
		s, err := New(Options{URL: x.url, Fingerprint: x.print, Server: near})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Run(t.Context(), make(sink))
		if !errors.Is(err, x.want) || !strings.Contains(err.Error(), x.word) {
			t.Errorf("%s: %v", x.name, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error holds the password: %v", x.name, err)
		}
	}
	for _, o := range []Options{{URL: "whep/cam", Server: near}, {URL: "ftp://h/", Server: near}, {URL: "http://h/"}, {URL: "http://h/", Server: near, Fingerprint: "x"}} {
		if _, err := New(o); !errors.Is(err, ErrURL) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
