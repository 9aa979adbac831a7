package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type entry struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	FPS    int    `json:"fps"`
}

const name = "cameras.json"

func open(t *testing.T, dir string) (*List[entry], []entry, string) {
	t.Helper()
	var log bytes.Buffer
	l, entries, err := Open[entry](Options{Dir: dir, Name: name, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, entries, log.String()
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var l []string
	for _, e := range es {
		l = append(l, e.Name())
	}
	return l
}

var two = []entry{{"door", "rtsp://u:p@host/a?x=1&y=2", 5}, {"lab", "0", 0}}

func TestSaveAndOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	l, got, log := open(t, dir)
	if got != nil || log != "" {
		t.Fatalf("%v %s", got, log)
	}
	for _, want := range [][]entry{two, two[:1], {}, two} {
		if err := l.Save(want); err != nil {
			t.Fatal(err)
		}
		_, got, log := open(t, dir)
		if !slices.Equal(got, want) || log != "" {
			t.Errorf("got %v, want %v; log %s", got, want, log)
		}
	}
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if f := files(t, dir); len(f) != 1 {
		t.Errorf("left over: %v", f)
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || !strings.Contains(string(text), "x=1&y=2") || !strings.Contains(string(text), `"version": 1`) {
		t.Errorf("%s %v", text, err)
	}
}

func TestEmptyListIsNoNull(t *testing.T) {
	dir := t.TempDir()
	l, _, _ := open(t, dir)
	if err := l.Save(nil); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(dir, name))
	if strings.Contains(string(text), "null") {
		t.Errorf("%s", text)
	}
}

func TestWideModeIsTightened(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(`{"version":1,"entries":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestBrokenFileIsMovedAside(t *testing.T) {
	for content, reason := range map[string]string{
		"":                             "JSON",
		"{":                            "JSON",
		"[]":                           "JSON",
		`{"version":1,"entries":[]}x`:  "JSON",
		`{"version":1,"entries":5}`:    "JSON",
		"\x00\x00\x00\x00":             "JSON",
		`{"entries":[]}`:               "no version",
		`{"version":2,"entries":[]}`:   "newer program",
		strings.Repeat(" ", 4<<20+1):   "larger",
		`{"version":"1","entries":[]}`: "JSON",
	} {
		dir := t.TempDir()
		for i := range 2 { // the second one, in the same second, needs another name
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			l, got, log := open(t, dir)
			if len(got) != 0 || !strings.Contains(log, "level=ERROR") || !strings.Contains(log, reason) {
				t.Errorf("%.30q: %v, log %s", content, got, log)
			}
			f := files(t, dir)
			if len(f) != i+1 || !strings.HasPrefix(f[0], name+".broken-") {
				t.Fatalf("%.30q: files %v", content, f)
			}
			kept, err := os.ReadFile(filepath.Join(dir, f[0]))
			if err != nil || string(kept) != content {
				t.Errorf("%.30q was not kept: %v", content, err)
			}
			if err := l.Save(two); err != nil {
				t.Error(err)
			}
			if _, got, _ := open(t, dir); !slices.Equal(got, two) {
				t.Errorf("afterwards: %v", got)
			}
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestUnreadableEntriesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	content := `{"version":1,"entries":[{"id":"door"},{"id":5},null,"x",{"id":"lab","future":true}]}`
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	_, got, log := open(t, dir)
	if want := []entry{{ID: "door"}, {ID: "lab"}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "entries=3") {
		t.Errorf("log %s", log)
	}
	f := files(t, dir)
	if len(f) != 2 {
		t.Fatalf("%v", f)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, f[1])); err != nil || string(kept) != content {
		t.Errorf("%s %v", kept, err)
	}
	if _, again, log := open(t, dir); !slices.Equal(again, got) || log != "" {
		t.Errorf("the next start: %v %s", again, log)
	}
}

func TestUnusable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	notDir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink("/etc/hostname", filepath.Join(linked, name)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, notDir, linked} {
		if _, _, err := Open[entry](Options{Dir: d, Name: name}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", d, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	l, _, err := Open[entry](Options{Dir: t.TempDir(), Name: name, MaxBytes: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Save([]entry{{ID: strings.Repeat("x", 200)}}); err == nil {
		t.Error("no error")
	}
}

func TestRestOfACrashIsRemoved(t *testing.T) {
	dir := t.TempDir()
	l, _, _ := open(t, dir)
	if err := l.Save(two); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".tmp"), []byte(`{"version":1,"ent`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, got, log := open(t, dir)
	if !slices.Equal(got, two) || log != "" || len(files(t, dir)) != 1 {
		t.Errorf("%v %s %v", got, log, files(t, dir))
	}
}

// faulty lets one step fail, as if the program ended there: nothing happens
// after it. With half a write, half of the bytes get to the file.
type faulty struct {
	disk
	steps int // that still work
	crash bool
}

var errPower = errors.New("the power is gone")

func (d *faulty) step() error {
	if d.steps == 0 {
		d.crash = true
	}
	if d.crash {
		return errPower
	}
	d.steps--
	return nil
}

func (d *faulty) create(name string) (file, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	f, err := d.disk.create(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d}, nil
}

func (d *faulty) rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.disk.rename(from, to)
}

func (d *faulty) remove(name string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.disk.remove(name)
}

func (d *faulty) sync() error {
	if err := d.step(); err != nil {
		return err
	}
	return d.disk.sync()
}

type faultyFile struct {
	file
	d *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.d.step(); err != nil {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, err
	}
	return f.file.Write(p)
}

func (f *faultyFile) Sync() error {
	if err := f.d.step(); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultyFile) Close() error { return errors.Join(f.d.step(), f.file.Close()) }

func TestOldOrNewWhereverItEnds(t *testing.T) {
	var sawOld, sawNew bool
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		l, _, _ := open(t, dir)
		old, next := two[:1], two
		if err := l.Save(old); err != nil {
			t.Fatal(err)
		}
		d := &faulty{disk: l.disk, steps: steps}
		l.disk = d
		err := l.Save(next)
		if !d.crash {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, errPower) {
			t.Errorf("after %d steps: %v", steps, err)
		}
		_, got, log := open(t, dir)
		switch {
		case slices.Equal(got, old):
			sawOld = true
		case slices.Equal(got, next):
			sawNew = true
		default:
			t.Errorf("after %d steps: %v", steps, got)
		}
		if log != "" || len(files(t, dir)) != 1 {
			t.Errorf("after %d steps: %v, log %s", steps, files(t, dir), log)
		}
	}
	if !sawOld || !sawNew {
		t.Errorf("old %v, new %v", sawOld, sawNew)
	}
}

// full is a disk that has no room: the program goes on.
type full struct{ disk }

func (d full) create(name string) (file, error) {
	f, err := d.disk.create(name)
	return fullFile{f}, err
}

type fullFile struct{ file }

func (fullFile) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestFailedSaveLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	l, _, _ := open(t, dir)
	if err := l.Save(two); err != nil {
		t.Fatal(err)
	}
	good := l.disk
	l.disk = full{good}
	if err := l.Save(two[:1]); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Error(err)
	}
	if f := files(t, dir); !slices.Equal(f, []string{name}) {
		t.Errorf("%v", f)
	}
	l.disk = good
	if err := l.Save(two[:1]); err != nil {
		t.Error(err)
	}
	if _, got, _ := open(t, dir); !slices.Equal(got, two[:1]) {
		t.Errorf("%v", got)
	}
}

func TestConcurrentSaves(t *testing.T) {
	dir := t.TempDir()
	l, _, _ := open(t, dir)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				if err := l.Save([]entry{{ID: fmt.Sprint(i)}, {ID: fmt.Sprint(i)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, got, _ := open(t, dir); len(got) != 2 || got[0] != got[1] {
		t.Errorf("%v", got)
	}
}

const childEnv = "CAMWIRE_STORE_TEST_DIR"

// generation is a list that is all of one kind, and long enough to be written
// in more than one page.
func generation(i int) []entry {
	l := make([]entry, 300)
	for j := range l {
		l[j] = entry{ID: fmt.Sprint(i), Source: strings.Repeat(fmt.Sprint(i%10), 100), FPS: i}
	}
	return l
}

// TestChild is the program that is killed.
func TestChild(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		t.Skip("only run by TestKill")
	}
	l, _, err := Open[entry](Options{Dir: dir, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 1000000; i++ {
		if err := l.Save(generation(i)); err != nil {
			t.Fatal(err)
		}
		fmt.Println("saved", i)
	}
}

func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for round := range 8 {
		cmd := exec.Command(exe, "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s, saved := bufio.NewScanner(out), 0
		for saved < 1+round && s.Scan() {
			if _, err := fmt.Sscanf(s.Text(), "saved %d", &saved); err != nil {
				continue
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		_, got, log := open(t, dir)
		if log != "" || len(got) == 0 {
			t.Fatalf("round %d: %d entries, log %s", round, len(got), log)
		}
		if i := got[0].FPS; i < saved || !slices.Equal(got, generation(i)) {
			t.Errorf("round %d: a list of %d entries from save %d, at least %d was told", round, len(got), i, saved)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"version":1,"entries":[{"id":"x"}]}`, `{"version":1,"entries":[null,5]}`, `{}`, `[]`, `{"version":9}`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, bad, err := decode[entry](data)
		var broken *brokenError
		if err != nil && (!errors.As(err, &broken) || got != nil || bad != nil) {
			t.Fatalf("%v %v %v", got, bad, err)
		}
		if err != nil {
			return
		}
		text, err := json.Marshal(document[entry]{version, got})
		if err != nil {
			t.Fatal(err)
		}
		again, bad, err := decode[entry](text)
		if err != nil || bad != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%v became %v: %v %v", got, again, bad, err)
		}
	})
}
