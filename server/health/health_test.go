package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"camwire/server"
	"camwire/server/auth"
)

func ask(t *testing.T, checks ...Check) (status int, body string) {
	t.Helper()
	gate, err := auth.New(auth.Options{Token: strings.Repeat("x", 32)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register(New(checks...).Routes()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/readyz", nil))
	return w.Code, w.Body.String()
}

func TestReady(t *testing.T) {
	good := Check{"good", func(context.Context) error { return nil }}
	bad := Check{"bad", func(context.Context) error { return errors.New("it hurts") }}
	if status, body := ask(t, good); status != http.StatusOK || body != `{"status":"ready"}` {
		t.Errorf("%d %s", status, body)
	}
	status, body := ask(t, good, bad, bad)
	var answer struct {
		Error    string
		Problems []string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusServiceUnavailable ||
		answer.Error != "bad: it hurts" || len(answer.Problems) != 2 {
		t.Errorf("%d %s", status, body)
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	if err := Writable(dir)(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	secret := filepath.Join(dir, "nothing-here")
	if err := Writable(secret)(t.Context()); err == nil || strings.Contains(err.Error(), dir) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
