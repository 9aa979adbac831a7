package cameras

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"camwire/media/hub"
	"camwire/media/stream"
)

const secret = "hunter2"

var fileDoor = Entry{ID: "file_door", Name: "Door", Source: "rtsp://u:" + secret + "@192.0.2.1/", Quality: 75, Enabled: true, Transport: "tcp"}

func TestAddShowChangeRemove(t *testing.T) {
	l := newLab(t, t.TempDir(), fileDoor)
	resp, text := l.do("POST", "/api/cameras", `{"id":"lab","name":"Lab","source":"rtsp://admin:`+secret+`@192.0.2.9/s1","fps":5,"enabled":true}`)
	if resp.StatusCode != 201 || resp.Header.Get("Location") != "/api/cameras/lab" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s %v %s", resp.Status, resp.Header, text)
	}
	want := `{"id":"lab","name":"Lab","source":"rtsp://***@192.0.2.9/s1","fps":5,"width":0,"height":0,"quality":75,"enabled":true,"on_demand":false,"transport":"tcp","microphone":"","fingerprint":"","origin":"api"}`
	if text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if got := l.want(200, "GET", "/api/cameras/lab", ""); got != want {
		t.Errorf("got %s", got)
	}
	all := l.want(200, "GET", "/api/cameras", "")
	if strings.Contains(all, secret) {
		t.Errorf("a password is told: %s", all)
	}
	if vs := l.list(); len(vs) != 2 || vs[0].ID != "file_door" || vs[0].Origin != FromFile || vs[1].ID != "lab" || vs[1].Origin != FromAPI {
		t.Errorf("%+v", vs)
	}
	if l.running() != "file_door lab" || l.info("lab").Name != "Lab" || l.origin("lab") != FromAPI || l.origin("file_door") != FromFile {
		t.Errorf("running: %s, %+v", l.running(), l.info("lab"))
	}

	// What PUT leaves out is the default; PATCH leaves it as it is.
	v := l.entry(l.want(200, "PATCH", "/api/cameras/lab", `{"quality":50,"fps":null}`))
	if v.Quality != 50 || v.FPS != 0 || v.Name != "Lab" {
		t.Errorf("%+v", v)
	}
	v = l.entry(l.want(200, "PUT", "/api/cameras/lab", `{"source":"test:"}`))
	if v.Quality != 75 || v.Name != "" || v.Source != "test:" || v.ID != "lab" || !v.Enabled {
		t.Errorf("%+v", v)
	}
	if k := l.kept(); len(k) != 1 || k[0].Source != "test:" {
		t.Errorf("kept %+v", k)
	}
	resp, text = l.do("DELETE", "/api/cameras/lab", "")
	if resp.StatusCode != 204 || text != "" {
		t.Errorf("%s %s", resp.Status, text)
	}
	l.want(404, "DELETE", "/api/cameras/lab", "")
	l.want(404, "GET", "/api/cameras/lab", "")
	l.want(404, "PATCH", "/api/cameras/lab", "{}")
	l.want(404, "PUT", "/api/cameras/lab", `{"source":"0"}`)
	l.want(400, "GET", "/api/cameras/bad%20id", "")
	if l.running() != "file_door" || len(l.kept()) != 0 {
		t.Errorf("running %s, kept %v", l.running(), l.kept())
	}
	if strings.Contains(l.log.String(), secret) {
		t.Error("a password is in the log")
	}
}

func TestSourceAsNumber(t *testing.T) {
	l := newLab(t, t.TempDir())
	if v := l.entry(l.want(201, "POST", "/api/cameras", `{"id":"usb","source":0}`)); v.Source != "0" {
		t.Errorf("%+v", v)
	}
}

func TestEmptyListIsNoNull(t *testing.T) {
	if text := newLab(t, t.TempDir()).want(200, "GET", "/api/cameras", ""); text != "[]" {
		t.Error(text)
	}
}

func TestBadBodies(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	before := l.keeper.saves
	for _, tt := range []struct {
		body   string
		status int
		field  string
		words  string
	}{
		{``, 400, "", "ends too early"},
		{`[]`, 400, "", `does not begin with`},
		{`null`, 400, "", "no JSON object"},
		{`"x"`, 400, "", "no JSON object"},
		{`{"id":"a"`, 400, "", "ends too early"},
		{`{"id":"a",}`, 400, "", "byte"},
		{`{"id":"a"} {}`, 400, "", "follows"},
		{`{"id":"a"}x`, 400, "", "follows"},
		{"{\"id\":\"\xff\"}", 400, "", "UTF-8"},
		{`{"id":"a","source":"test:","framerate":5}`, 400, "framerate", "unknown key"},
		{`{"id":"a","sorce":"test:"}`, 400, "sorce", `did you mean "source"?`},
		{`{"id":"a","Source":"test:"}`, 400, "Source", `did you mean "source"?`},
		{`{"id":"a","` + strings.Repeat("x", 200) + `":1}`, 400, strings.Repeat("x", 40) + "…", "known are"},
		{`{"id":"a","source":"test:","source":"0"}`, 400, "source", "twice"},
		{`{"id":5,"source":"test:"}`, 400, "id", "quotes"},
		{`{"id":"a","source":"test:","fps":"5"}`, 400, "fps", "without quotes"},
		{`{"id":"a","source":"test:","width":1.5}`, 400, "width", "whole number"},
		{`{"id":"a","source":"test:","width":1e99}`, 400, "width", "whole number"},
		{`{"id":"a","source":"test:","fps":1e999}`, 400, "fps", "number"},
		{`{"id":"a","source":"test:","enabled":"yes"}`, 400, "enabled", "true or false"},
		{`{"id":"a","source":1.5}`, 400, "source", "whole number"},
		{`{"id":"a","source":["x"]}`, 400, "source", "must be a text"},
		{`{"id":"a","source":{"url":"x"}}`, 400, "source", "must be a text"},
		{`{"source":"test:"}`, 400, "id", "no id"},
		{`{"id":null,"source":"test:"}`, 400, "id", "no id"},
		{`{"id":"a b","source":"test:"}`, 400, "id", "no id"},
		{`{"id":"../x","source":"test:"}`, 400, "id", "no id"},
		{`{"id":"a"}`, 422, "source", "missing"},
		{`{"id":"a","source":"test:","fps":999}`, 422, "fps", "0 to 240"},
		{`{"id":"a","source":"test:","quality":-1}`, 422, "quality", "0 to 100"},
		{`{"id":"a","source":"test:?` + strings.Repeat("x", 5000) + `"}`, 422, "source", "4096"},
		{`{"id":"a","source":"rtsp://***@192.0.2.9/"}`, 422, "source", "secret"},
		{`{"id":"a","source":"exec:sh -c reboot"}`, 403, "source", "command"},
		{`{"id":"a","source":" EXEC:sh"}`, 403, "source", "command"},
		{`{"id":"a","source":{"exec":["sh"]}}`, 403, "source", "command"},
		{`{"id":"a","source":"exec:sh","fps":"x"}`, 403, "source", "command"},
		{`{"id":"a","source":"http://169.254.169.254/"}`, 403, "source", "metadata"},
		{`{"id":"lab","source":"test:"}`, 409, "", "exists"},
	} {
		f := l.failure(l.want(tt.status, "POST", "/api/cameras", tt.body))
		if tt.status == 409 {
			continue
		}
		if len(f.Problems) == 0 || f.Problems[0].Field != tt.field || !strings.Contains(f.Problems[0].String(), tt.words) || !strings.Contains(f.Error, tt.words) {
			t.Errorf("%.60s: %+v", tt.body, f)
		}
	}
	// All mistakes at once.
	if f := l.failure(l.want(422, "POST", "/api/cameras", `{"id":"a","fps":-1,"quality":101}`)); len(f.Problems) != 3 || !strings.Contains(f.Error, `camera "a": source: is missing (and 2 more)`) {
		t.Errorf("%+v", f)
	}
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, `"k%d":1,`, i)
	}
	if f := l.failure(l.want(400, "POST", "/api/cameras", "{"+many.String()+`"id":"a"}`)); len(f.Problems) != maxProblems {
		t.Errorf("%d problems", len(f.Problems))
	}
	l.want(413, "POST", "/api/cameras", `{"id":"a","name":"`+strings.Repeat("x", 64<<10)+`"}`)
	if l.running() != "lab" || l.keeper.saves != before {
		t.Errorf("running %s, %d saves", l.running(), l.keeper.saves-before)
	}
}

func TestOnlyTheAdministrator(t *testing.T) {
	l := newLab(t, t.TempDir())
	for _, r := range l.cams.Routes() {
		req, err := http.NewRequestWithContext(t.Context(), r.Method, l.srv.URL+strings.Replace(r.Path, ":id", "lab", 1), strings.NewReader(`{"id":"lab","source":"test:"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := l.srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := 401
		if strings.HasPrefix(r.Path, "/api/inventory") {
			want = 200
		}
		if resp.StatusCode != want {
			t.Errorf("%s %s by a stranger: %s", r.Method, r.Path, resp.Status)
		}
	}
}

func TestFileEntriesAreReadOnly(t *testing.T) {
	l := newLab(t, t.TempDir(), fileDoor)
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/api/cameras", `{"id":"file_door","source":"test:"}`},
		{"PUT", "/api/cameras/file_door", `{"source":"test:"}`},
		{"PATCH", "/api/cameras/file_door", `{"name":"x"}`},
		{"DELETE", "/api/cameras/file_door", ""},
	} {
		text := l.want(409, tt.method, tt.path, tt.body)
		if f := l.failure(text); !strings.Contains(f.Error, "is in camwire.yaml: change it there") {
			t.Errorf("%s: %s", tt.method, f.Error)
		}
	}
	l.cams.SetFile("", []Entry{fileDoor})
	if text := l.want(409, "DELETE", "/api/cameras/file_door", ""); !strings.Contains(text, "built in") {
		t.Error(text)
	}
}

func TestMaskedSourceKeepsTheSecret(t *testing.T) {
	l := newLab(t, t.TempDir())
	source := "rtsp://admin:" + secret + "@192.0.2.9/s1"
	shown := l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"`+source+`"}`)
	// An answer can be sent back as it is, changed.
	l.want(200, "PUT", "/api/cameras/lab", strings.Replace(shown, `"name":""`, `"name":"New"`, 1))
	l.want(200, "PATCH", "/api/cameras/lab", `{"source":"rtsp://***@192.0.2.9/s1"}`)
	if k := l.kept(); k[0].Source != source || k[0].Name != "New" {
		t.Errorf("%+v", k)
	}
	// A secret never goes to another host.
	l.want(422, "PATCH", "/api/cameras/lab", `{"source":"rtsp://***@192.0.2.66/s1"}`)
	l.want(422, "PUT", "/api/cameras/lab", `{"source":"rtsp://***@192.0.2.9/s2"}`)
	if k := l.kept(); k[0].Source != source {
		t.Errorf("%+v", k)
	}
}

func TestIDCannotBeChanged(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	l.want(400, "PATCH", "/api/cameras/lab", `{"id":"lab2"}`)
	l.want(400, "PUT", "/api/cameras/lab", `{"id":"lab2","source":"test:"}`)
	l.want(200, "PATCH", "/api/cameras/lab", `{"id":"lab"}`)
	l.want(200, "PATCH", "/api/cameras/lab", `{"id":null}`)
}

// reader watches a camera.
func (l *lab) reader(id string) *hub.Cursor {
	l.Helper()
	s, err := l.reg.Get(id)
	if err != nil {
		l.Fatal(err)
	}
	lease, err := s.Lease("webrtc")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(lease.Release)
	return s.Hub().NewCursor(hub.CursorOptions{})
}

func (l *lab) waitRuns(n int32) {
	l.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for l.runs.Load() < n {
		select {
		case <-tick.C:
		case <-l.Context().Done():
			l.Fatal("no such run")
		}
	}
}

func TestOnlyWhatChangedIsTouched(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	l.waitRuns(1)
	saves := l.keeper.saves
	l.want(200, "PATCH", "/api/cameras/lab", `{}`)
	l.want(200, "PATCH", "/api/cameras/lab", `{"source":"test:","enabled":true}`)
	if l.keeper.saves != saves {
		t.Error("nothing changed, yet it was written")
	}
	l.want(200, "PATCH", "/api/cameras/lab", `{"name":"New","quality":10}`)
	if i := l.info("lab"); i.Name != "New" || l.runs.Load() != 1 || i.Restarts != 0 {
		t.Errorf("%+v, %d runs", i, l.runs.Load())
	}
	l.want(201, "POST", "/api/cameras", `{"id":"other","source":"test:"}`)
	l.waitRuns(2)
	l.want(204, "DELETE", "/api/cameras/other", "")
	if l.runs.Load() != 2 {
		t.Errorf("%d runs", l.runs.Load())
	}
	l.want(200, "PATCH", "/api/cameras/lab", `{"source":"test:?x=1"}`)
	l.waitRuns(3)
	l.want(200, "PATCH", "/api/cameras/lab", `{"enabled":false}`)
	if i := l.info("lab"); i.State != stream.Disabled {
		t.Errorf("%+v", i)
	}
}

func TestMax(t *testing.T) {
	l := newLab(t, t.TempDir(), fileDoor)
	for i := range 7 {
		l.want(201, "POST", "/api/cameras", fmt.Sprintf(`{"id":"c%d","source":"test:"}`, i))
	}
	if text := l.want(409, "POST", "/api/cameras", `{"id":"more","source":"test:"}`); !strings.Contains(text, "remove one first") {
		t.Error(text)
	}
	l.want(204, "DELETE", "/api/cameras/c3", "")
	l.want(201, "POST", "/api/cameras", `{"id":"more","source":"test:"}`)
}

func TestKeptAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	source := "rtsp://admin:" + secret + "@192.0.2.9/s1"
	t.Run("first", func(t *testing.T) {
		l := newLab(t, dir)
		l.want(201, "POST", "/api/cameras", `{"id":"b","source":"`+source+`","name":"B"}`)
		l.want(201, "POST", "/api/cameras", `{"id":"a","source":"test:","enabled":false}`)
		l.want(201, "POST", "/api/cameras", `{"id":"gone","source":"test:"}`)
		l.want(204, "DELETE", "/api/cameras/gone", "")
	})
	if info, err := os.Stat(filepath.Join(dir, "cameras.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	l := newLab(t, dir, fileDoor)
	vs := l.list()
	if len(vs) != 3 || vs[0].ID != "file_door" || vs[1].ID != "b" || vs[2].ID != "a" || vs[1].Name != "B" || vs[2].Enabled {
		t.Errorf("%+v", vs)
	}
	if l.running() != "a b file_door" || l.info("a").State != stream.Disabled || l.kept()[0].Source != source {
		t.Errorf("%s", l.running())
	}
}

func TestKeptEntriesAreCheckedAgain(t *testing.T) {
	dir := t.TempDir()
	content := `{"version":1,"entries":[
		{"id":"cmd","source":"exec:reboot","quality":75,"enabled":true,"transport":"tcp"},
		{"id":"meta","source":"http://169.254.169.254/","quality":75,"enabled":true,"transport":"tcp"},
		{"id":"ok","source":"test:","quality":75,"enabled":true,"transport":"tcp"},
		{"id":"ok","source":"0"}, {"id":"no id","source":"0"}]}`
	if err := os.WriteFile(filepath.Join(dir, "cameras.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, dir)
	if l.running() != "ok" {
		t.Errorf("running: %s", l.running())
	}
	vs := l.list()
	if len(vs) != 3 || len(vs[0].Problems) != 1 || vs[0].Problems[0].Field != "source" || len(vs[1].Problems) != 1 || vs[2].Problems != nil {
		t.Errorf("%+v", vs)
	}
	if n := strings.Count(l.log.String(), "level=ERROR"); n != 4 {
		t.Errorf("%d complaints: %s", n, l.log)
	}
	// They can be mended and removed.
	if v := l.entry(l.want(200, "PATCH", "/api/cameras/meta", `{"source":"http://192.0.2.1/"}`)); v.Problems != nil {
		t.Errorf("%+v", v)
	}
	l.want(204, "DELETE", "/api/cameras/cmd", "")
	if l.running() != "meta ok" {
		t.Errorf("running: %s", l.running())
	}
}

func TestBrokenKeeperFileStartsEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cameras.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, dir, fileDoor)
	if l.running() != "file_door" || !strings.Contains(l.log.String(), "moved aside") {
		t.Errorf("%s: %s", l.running(), l.log)
	}
}

// A change that cannot be kept is not made.
func TestFullDisk(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:","name":"Old"}`)
	l.keeper.fail(errors.New("cameras.json: no space left on device"))
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/api/cameras", `{"id":"more","source":"test:"}`},
		{"PATCH", "/api/cameras/lab", `{"name":"New"}`},
		{"DELETE", "/api/cameras/lab", ""},
	} {
		if text := l.want(500, tt.method, tt.path, tt.body); !strings.Contains(text, "no space left") {
			t.Errorf("%s: %s", tt.method, text)
		}
	}
	check := func() {
		t.Helper()
		if vs := l.list(); len(vs) != 1 || vs[0].Name != "Old" || l.running() != "lab" || l.info("lab").Name != "Old" {
			t.Errorf("%+v, running %s", vs, l.running())
		}
	}
	check()
	l.keeper.fail(nil)
	l.want(201, "POST", "/api/cameras", `{"id":"more","source":"test:"}`)
	l.want(204, "DELETE", "/api/cameras/more", "")
	check()
}

func TestPublisherHoldsTheID(t *testing.T) {
	l := newLab(t, t.TempDir())
	p, err := l.reg.Publish("phone", stream.PublishOptions{Type: "mobile"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l.want(409, "POST", "/api/cameras", `{"id":"phone","source":"test:"}`)
	if len(l.list()) != 0 || len(l.kept()) != 0 {
		t.Error("it was taken")
	}
	l.want(404, "DELETE", "/api/cameras/phone", "")
	// The file's entry waits; a later change of it must not take the publisher's camera.
	e := Entry{ID: "phone", Source: "test:", Enabled: true}
	l.cams.SetFile("camwire.yaml", []Entry{e})
	e.Name = "Changed"
	l.cams.SetFile("camwire.yaml", []Entry{e})
	if i := l.info("phone"); i.Type != "mobile" || i.Name != "phone" || !strings.Contains(l.log.String(), "camera left out") {
		t.Errorf("%+v: %s", i, l.log)
	}
	if err := l.cams.Drop("phone"); err != nil {
		t.Error(err)
	}
	e.Name = "Again"
	l.cams.SetFile("camwire.yaml", []Entry{e})
	if i := l.info("phone"); i.Name != "Again" {
		t.Errorf("%+v", i)
	}
}

func TestFileWins(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.want(201, "POST", "/api/cameras", `{"id":"door","source":"test:?api","name":"Mine"}`)
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	l.waitRuns(2)
	file := Entry{ID: "door", Name: "File's", Source: "test:?api", Quality: 75, Enabled: true, Transport: "tcp"}
	for range 2 {
		l.cams.SetFile("camwire.yaml", []Entry{file})
		if i := l.info("door"); i.Name != "File's" || l.origin("door") != FromFile {
			t.Errorf("%+v", i)
		}
	}
	l.waitRuns(3) // another origin is another way to dial
	if n := strings.Count(l.log.String(), "the file counts"); n != 1 {
		t.Errorf("told %d times", n)
	}
	l.want(409, "PATCH", "/api/cameras/door", `{"name":"x"}`)
	if k := l.kept(); len(k) != 2 || k[0].Name != "Mine" {
		t.Errorf("%+v", k)
	}
	l.cams.SetFile("camwire.yaml", nil)
	if i := l.info("door"); i.Name != "Mine" || l.origin("door") != FromAPI {
		t.Errorf("%+v", i)
	}
	l.waitRuns(4)
	if n := l.runs.Load(); n != 4 {
		t.Errorf("%d runs: the other camera was touched", n)
	}
}

func TestReloadOfTheFile(t *testing.T) {
	a, b := fileDoor, Entry{ID: "b", Source: "test:", Enabled: true}
	l := newLab(t, t.TempDir(), a, b)
	l.waitRuns(2)
	a.Name = "New"
	l.cams.SetFile("camwire.yaml", []Entry{{ID: "c", Source: "test:", Enabled: true}, a})
	l.waitRuns(3)
	if l.running() != "c file_door" || l.info("file_door").Name != "New" || l.runs.Load() != 3 {
		t.Errorf("%s, %d runs", l.running(), l.runs.Load())
	}
	if vs := l.list(); vs[0].ID != "c" || vs[1].ID != "file_door" {
		t.Errorf("the order of the file is lost: %+v", vs)
	}
}

func TestDrop(t *testing.T) {
	l := newLab(t, t.TempDir(), fileDoor)
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	for _, id := range []string{"lab", "file_door"} {
		if err := l.cams.Drop(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if err := l.cams.Drop(id); !errors.Is(err, stream.ErrUnknown) {
			t.Errorf("%s again: %v", id, err)
		}
	}
	if len(l.kept()) != 0 || l.running() != "" {
		t.Errorf("kept %v, running %s", l.kept(), l.running())
	}
	// A dropped camera of the file comes back with a change of its entry, and
	// not because something else changes.
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	l.cams.SetFile("camwire.yaml", []Entry{fileDoor})
	if l.running() != "lab" {
		t.Errorf("running %s", l.running())
	}
	changed := fileDoor
	changed.Name = "Changed"
	l.cams.SetFile("camwire.yaml", []Entry{changed})
	if l.running() != "file_door lab" {
		t.Errorf("running %s", l.running())
	}
}

// Somebody removed the stream behind our back.
func TestStreamIsGone(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	if err := l.reg.Remove("lab"); err != nil {
		t.Fatal(err)
	}
	l.want(200, "PATCH", "/api/cameras/lab", `{"name":"New"}`)
	if l.info("lab").Name != "New" {
		t.Error("not started again")
	}
	if err := l.reg.Remove("lab"); err != nil {
		t.Fatal(err)
	}
	l.want(204, "DELETE", "/api/cameras/lab", "")
}

func TestViewersStayThroughAChangeOfName(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.want(201, "POST", "/api/cameras", `{"id":"lab","source":"test:"}`)
	c := l.reader("lab")
	if _, err := c.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.want(200, "PATCH", "/api/cameras/lab", `{"name":"New"}`)
	if i := l.info("lab"); i.Viewers["webrtc"] != 1 || i.State != stream.Live || l.runs.Load() != 1 {
		t.Errorf("%+v, %d runs", i, l.runs.Load())
	}
	// A removed camera ends them.
	l.want(204, "DELETE", "/api/cameras/lab", "")
	if _, err := c.Next(t.Context()); !errors.Is(err, hub.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestConcurrentChanges(t *testing.T) {
	l := newLab(t, t.TempDir(), fileDoor)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			id := fmt.Sprintf("c%d", i%3) // two fight for each
			for range 5 {
				l.do("POST", "/api/cameras", `{"id":"`+id+`","source":"test:"}`)
				l.do("PATCH", "/api/cameras/"+id, `{"name":"x"}`)
				l.do("GET", "/api/cameras", "")
				l.do("DELETE", "/api/cameras/"+id, "")
			}
		})
	}
	wg.Go(func() {
		for i := range 5 {
			e := fileDoor
			e.Name = fmt.Sprint(i)
			l.cams.SetFile("camwire.yaml", []Entry{e})
		}
	})
	wg.Wait()
	var ids []string
	for _, v := range l.list() {
		ids = append(ids, v.ID)
	}
	slices.Sort(ids)
	if got := strings.Join(ids, " "); got != l.running() || len(l.kept()) != len(ids)-1 {
		t.Errorf("listed %s, running %s, kept %v", got, l.running(), l.kept())
	}
}

func TestOptionsAreRequired(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no error")
	}
}
