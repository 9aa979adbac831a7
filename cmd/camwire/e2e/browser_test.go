package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser speaks to browser/driver.mjs.
type browser struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	errors *logBuffer

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	gone    error         // why there will be no more answers
	ended   chan struct{} // closed when the driver's output has ended
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

// startBrowser starts the driver; camera is the file that its fake camera plays. Missing says what is not installed.
func startBrowser(root, camera string) (b *browser, missing string, err error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, "node is not installed", nil
	}
	playwright := filepath.Join(root, "frontend", "node_modules", "playwright-core", "index.mjs")
	if _, err := os.Stat(playwright); err != nil {
		return nil, "frontend/node_modules has no playwright-core: run npm ci in frontend", nil
	}
	chromium := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if chromium == "" {
			chromium, _ = exec.LookPath(name)
		}
	}
	if chromium == "" {
		return nil, "neither chromium, chromium-browser nor google-chrome is installed, and CHROMIUM names no other", nil
	}
	b = &browser{waiting: map[int]chan answer{}, errors: &logBuffer{}, ended: make(chan struct{})}
	ready := make(chan answer, 1)
	b.waiting[0] = ready
	b.cmd = exec.Command(node, filepath.Join("browser", "driver.mjs"))
	b.cmd.Env = append(os.Environ(), "PLAYWRIGHT="+playwright, "CHROMIUM="+chromium, "CAMERA="+camera,
		"AXE="+filepath.Join(root, "frontend", "node_modules", "axe-core", "axe.min.js"),
		"CLOCK="+filepath.Join(root, "media", "testsrc", "clock", "clock.mjs"))
	b.cmd.Stderr = b.errors
	own(b.cmd)
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, "", err
	}
	go b.read(out)
	select {
	case a := <-ready:
		if a.Error == "" {
			return b, "", nil
		}
	case <-b.ended:
	case <-time.After(time.Minute):
	}
	b.stop()
	return nil, "", fmt.Errorf("the browser does not start:\n%s", b.errors)
}

// read hands out answers until the driver ends.
func (b *browser) read(out io.Reader) {
	defer close(b.ended)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.gone = fmt.Errorf("the browser has ended: %w\n%s", err, b.errors)
			for id, c := range b.waiting {
				c <- answer{ID: id, Error: b.gone.Error()}
			}
			clear(b.waiting)
			return
		}
		var a answer
		if json.Unmarshal(line, &a) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waiting[a.ID]; c != nil {
			c <- a
			delete(b.waiting, a.ID)
		}
		b.mu.Unlock()
	}
}

// stop ends the driver and its browser.
func (b *browser) stop() {
	_ = b.stdin.Close()
	select {
	case <-b.ended:
	case <-time.After(10 * time.Second):
	}
	killGroup(b.cmd)
	<-b.ended
	_ = b.cmd.Wait()
}

func (b *browser) call(request map[string]any, out any) error {
	c := make(chan answer, 1)
	b.mu.Lock()
	if b.gone != nil {
		b.mu.Unlock()
		return b.gone
	}
	b.last++
	id := b.last
	b.waiting[id] = c
	request["id"] = id
	line, err := json.Marshal(request)
	if err == nil {
		_, err = b.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		delete(b.waiting, id)
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a := <-c:
		if a.Error != "" {
			return errors.New(a.Error)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Result, out)
	case <-time.After(2 * time.Minute):
		return errors.New("the browser does not answer")
	}
}

// page is one tab with cookies of its own.
type page struct {
	b  *browser
	id int
}

// screen is what a page is seen on and by whom. The zero value is small and
// speaks English.
type screen struct {
	Width  int    `json:"width,omitempty"` // CSS pixels
	Height int    `json:"height,omitempty"`
	Dark   bool   `json:"dark,omitempty"`
	Locale string `json:"locale,omitempty"`
	Still  bool   `json:"still,omitempty"` // wants nothing to move
}

// open opens a page until the test ends; the init scripts run before its own.
func (b *browser) open(t *testing.T, url string, init ...string) *page {
	t.Helper()
	return b.openOn(t, screen{}, url, init...)
}

func (b *browser) openOn(t *testing.T, on screen, url string, init ...string) *page {
	t.Helper()
	p := &page{b: b}
	if err := b.call(map[string]any{"do": "open", "url": url, "screen": on, "init": append([]string{}, init...)}, &p.id); err != nil {
		t.Fatalf("open %s: %v", hideToken(url), err)
	}
	t.Cleanup(func() {
		var lines []string
		if t.Failed() && b.call(map[string]any{"do": "log", "page": p.id}, &lines) == nil {
			t.Logf("console of %s:\n%s", hideToken(url), strings.Join(lines, "\n"))
		}
		p.close()
	})
	return p
}

// close closes the page; closing it again does nothing.
func (p *page) close() { _ = p.b.call(map[string]any{"do": "close", "page": p.id}, nil) }

func hideToken(url string) string {
	url, _, _ = strings.Cut(url, "?token=")
	return url
}

// try calls a function in the page, awaits it and takes its result.
func (p *page) try(call string, arg, out any) error {
	return p.b.call(map[string]any{"do": "eval", "page": p.id, "call": call, "arg": arg}, out)
}

// cdp gives the page a command of the Chrome DevTools protocol.
func (p *page) cdp(t *testing.T, method string, params map[string]any) {
	t.Helper()
	if err := p.b.call(map[string]any{"do": "cdp", "page": p.id, "method": method, "params": params}, nil); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

// ask lets the driver do something with the page and takes what it found.
func (p *page) ask(t *testing.T, what string, out any) {
	t.Helper()
	if err := p.b.call(map[string]any{"do": what, "page": p.id}, out); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// visit goes to another address.
func (p *page) visit(t *testing.T, url string) {
	t.Helper()
	if err := p.b.call(map[string]any{"do": "goto", "page": p.id, "url": url}, nil); err != nil {
		t.Fatalf("%s: %v", hideToken(url), err)
	}
}

// press presses keys, one after the other, as on a keyboard: "Tab", "Enter", "a".
func (p *page) press(t *testing.T, keys ...string) {
	t.Helper()
	if err := p.b.call(map[string]any{"do": "press", "page": p.id, "keys": keys}, nil); err != nil {
		t.Fatalf("pressing %v: %v", keys, err)
	}
}

func (p *page) eval(t *testing.T, call string, arg, out any) {
	t.Helper()
	if err := p.try(call, arg, out); err != nil {
		t.Fatalf("in the page: %v", err)
	}
}

// sight is what an element of a page showed at a time. Times are unix ms;
// Clock is nil where there was none to read.
type sight struct {
	At     int64    `json:"at"`
	Clock  *float64 `json:"clock"`
	Width  int      `json:"width"`
	Height int      `json:"height"`
}

func (s sight) age() time.Duration {
	return time.Duration(float64(s.At)-*s.Clock) * time.Millisecond
}

// maxAge is sanity, not a measurement: a picture older than this is not live.
const maxAge = 5 * time.Second

// moving checks that an element shows the time as it passes, in pictures of
// that width if it is not 0, and returns what it saw last.
func (p *page) moving(t *testing.T, selector string, width int) sight {
	t.Helper()
	var seen []sight
	err := p.try("(o) => e2e.moving(o)", map[string]any{
		"selector": selector, "width": width, "maxAge": maxAge.Milliseconds(), "timeout": patience.Milliseconds(),
	}, &seen)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range seen {
		if s.age() > maxAge || s.age() < -time.Second {
			t.Errorf("%s shows a clock that is %v old", selector, s.age())
		}
		if i > 0 && *s.Clock <= *seen[i-1].Clock {
			t.Errorf("%s: the clock went from %.0f back to %.0f", selector, *seen[i-1].Clock, *s.Clock)
		}
	}
	return seen[len(seen)-1]
}

// player is what the app says of the first player in the page.
type player struct{ Camera, State, Rung, Banner, Way, Why, Note string }

func (p *page) player(t *testing.T) player {
	t.Helper()
	var s player
	p.eval(t, "() => e2e.player()", nil, &s)
	return s
}

// playing waits until the app shows the camera live by that rung.
func (p *page) playing(t *testing.T, rung string) player {
	t.Helper()
	var s player
	eventually(t, "the page is live by "+rung, func() (bool, string) {
		s = p.player(t)
		return s.State == "live" && s.Rung == rung, fmt.Sprintf("%+v", s)
	})
	return s
}
