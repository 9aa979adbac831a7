package app

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadiness(t *testing.T) {
	l := start(t, "cameras: []\n")
	if status, text := l.get("/readyz"); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if err := l.app.alive(t.Context()); err != nil {
		t.Errorf("it is not alive: %v", err)
	}
	// A data directory that cannot be written. Root may write everywhere, so it
	// has to be gone.
	data := filepath.Join(l.dir, "data")
	if err := os.Rename(data, data+".away"); err != nil {
		t.Fatal(err)
	}
	l.eventually("it is not ready without its data directory", func() (bool, string) {
		status, text := l.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "data_dir") && !strings.Contains(text, data), text
	})
	if err := l.app.alive(t.Context()); err != nil {
		t.Errorf("a disk that is gone is no reason to be killed: %v", err)
	}
	if err := os.Rename(data+".away", data); err != nil {
		t.Fatal(err)
	}
	l.eventually("it is ready again", func() (bool, string) {
		status, text := l.get("/readyz")
		return status == http.StatusOK, text
	})
	// A listener that ends by itself.
	l.app.websocket.ended(t.Context(), http.ErrServerClosed)
	l.eventually("it says which listener is gone", func() (bool, string) {
		status, text := l.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "listeners: the listener on 127.0.0.1:0"), text
	})
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":80": "127.0.0.1:80", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80",
		"192.0.2.1:80": "192.0.2.1:80", "[::1]:80": "[::1]:80", "cam.local:80": "cam.local:80",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
