package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// suite is what all tests share: building the program and starting a browser
// take longer than most tests.
type suite struct {
	binary  string
	root    string // of the repository
	browser *browser
	noPages string // why there is no browser
}

// shared is set by TestMain only; go test gives tests no other way to be
// handed something.
var shared suite //nolint:gochecknoglobals // see above

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		m.Run()
		return
	}
	stop, err := shared.start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		stop()
		os.Exit(1)
	}
	defer stop()
	m.Run()
}

func (s *suite) start() (stop func(), err error) {
	stop = func() {}
	if s.root, err = filepath.Abs(filepath.Join("..", "..", "..")); err != nil {
		return stop, err
	}
	dir, err := os.MkdirTemp("", "camwire-e2e-")
	if err != nil {
		return stop, err
	}
	stop = func() {
		if s.browser != nil {
			s.browser.stop()
		}
		_ = os.RemoveAll(dir)
	}
	if s.binary = os.Getenv("CAMWIRE_BIN"); s.binary == "" {
		s.binary = filepath.Join(dir, "camwire")
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "camwire/cmd/camwire").CombinedOutput()
		if err != nil {
			return stop, fmt.Errorf("go build: %w\n%s", err, out)
		}
	} else if s.binary, err = filepath.Abs(s.binary); err != nil {
		return stop, err
	}
	camera := filepath.Join(dir, "camera.mjpeg")
	if err := writeFakeCamera(camera); err != nil {
		return stop, err
	}
	s.browser, s.noPages, err = startBrowser(s.root, camera)
	return stop, err
}

// skip leaves a test out where something is missing, loudly, and fails where
// nobody would see it.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatalf("on CI nothing is left out: %s", why)
	}
	t.Skipf("SKIPPED, NOT TESTED: %s", why)
}

// beside begins a test that may run at the same time as others: it waits for
// what happens and measures nothing. The others begin with end2end.
func beside(t *testing.T) {
	t.Helper()
	end2end(t)
	t.Parallel()
}

// end2end begins every test.
func end2end(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("end-to-end tests take minutes")
	}
}

func needFFmpeg(t *testing.T) {
	t.Helper()
	for _, p := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(p); err != nil {
			skip(t, "%s is not installed (make deps-test installs it)", p)
		}
	}
}

func needBrowser(t *testing.T) *browser {
	t.Helper()
	if shared.browser == nil {
		skip(t, "no browser: %s", shared.noPages)
	}
	return shared.browser
}

// needPages is for tests of the app itself.
func needPages(t *testing.T, s *server) {
	t.Helper()
	_, body := s.get(t, "/")
	if !strings.Contains(string(body), `type="module"`) {
		skip(t, "the binary has no pages in it: build them first (make e2e does)")
	}
}

// patience bounds every wait for something that must happen. A machine that
// runs other things beside the tests is no reason to fail.
const patience = 30 * time.Second

// eventually polls until ask says that something has come true. The text that
// ask returns is what it saw.
func eventually(t *testing.T, what string, ask func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, saw := ask()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never in %v: %s; last seen: %s", patience, what, saw)
		}
		pause(t, 50*time.Millisecond)
	}
}

// pause waits, but not beyond the end of the test.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.FailNow()
	}
}
