package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is the served description, with references followed by hand where
// the tests walk it and by the validator where answers are checked.
type document struct {
	t   *testing.T
	all map[string]any
	c   *jsonschema.Compiler
}

const documentURL = "https://camwire.example/openapi.json"

func loadDocument(l *lab) *document {
	l.t.Helper()
	status, text := l.get("/api/openapi.json")
	if status != http.StatusOK {
		l.t.Fatalf("openapi.json: %d %s", status, text)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		l.t.Fatal(err)
	}
	d := &document{t: l.t, all: v.(map[string]any), c: jsonschema.NewCompiler()}
	// A field that is not described is a mistake too. Validators of others must
	// be free to take it, so the served document does not say so.
	for _, s := range d.all["components"].(map[string]any)["schemas"].(map[string]any) {
		seal(s)
	}
	if err := d.c.AddResource(documentURL, d.all); err != nil {
		l.t.Fatal(err)
	}
	return d
}

func seal(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, open := v["additionalProperties"]
		if _, object := v["properties"]; object && v["type"] == "object" && !open {
			v["additionalProperties"] = false
		}
		for _, x := range v {
			seal(x)
		}
	case []any:
		for _, x := range v {
			seal(x)
		}
	}
}

// at follows a JSON pointer, and references on the way.
func (d *document) at(pointer string) (any, string) {
	d.t.Helper()
	var node any = d.all
	at := "#"
	for _, key := range strings.Split(strings.TrimPrefix(pointer, "#/"), "/") {
		m, ok := node.(map[string]any)
		if !ok {
			return nil, ""
		}
		node = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
		at += "/" + key
		if m, ok := node.(map[string]any); ok {
			if ref, ok := m["$ref"].(string); ok {
				node, at = d.at(ref)
			}
		}
	}
	return node, at
}

func escape(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

// operations lists all that is described as "GET /path/{id}".
func (d *document) operations() map[string]map[string]any {
	out := map[string]map[string]any{}
	for path := range d.all["paths"].(map[string]any) {
		item, _ := d.at("#/paths/" + escape(path))
		m, ok := item.(map[string]any)
		if !ok {
			d.t.Errorf("%s leads nowhere", path)
			continue
		}
		for _, method := range []string{"get", "post", "put", "patch", "delete", "options", "head"} {
			if op, ok := m[method].(map[string]any); ok {
				out[strings.ToUpper(method)+" "+path] = op
			}
		}
	}
	return out
}

// template turns a path as gin writes it into one as OpenAPI does.
func template(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p != "" && strings.ContainsAny(p[:1], ":*") {
			parts[i] = "{" + p[1:] + "}"
		}
	}
	return strings.Join(parts, "/")
}

// TestEveryRouteIsDescribed holds the document to the code, both ways: what is
// registered is described, with its permission, and nothing else is.
func TestEveryRouteIsDescribed(t *testing.T) {
	l := start(t, "cameras: []\n")
	d := loadDocument(l)
	described := d.operations()
	for _, r := range l.app.server.Routes() {
		if r.Method == http.MethodHead {
			continue
		}
		name := r.Method + " " + template(r.Path)
		op := described[name]
		if op == nil {
			t.Errorf("%s is not described: add it to server/openapi/spec", name)
			continue
		}
		delete(described, name)
		if op["x-permission"] != string(r.Perm) {
			t.Errorf("%s takes the permission %s, described is %v", name, r.Perm, op["x-permission"])
		}
		if _, open := op["security"]; open != (r.Perm == "public") {
			t.Errorf("%s: \"security: []\" belongs to what is public, and only there", name)
		}
		checkOperation(t, d, name, op)
	}
	for name := range described {
		t.Errorf("%s is described, but there is no such route", name)
	}
	// Every schema is one, every reference leads somewhere.
	checkReferences(t, d, d.all)
	for name := range d.all["components"].(map[string]any)["schemas"].(map[string]any) {
		if _, err := d.c.Compile(documentURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
}

func checkOperation(t *testing.T, d *document, name string, op map[string]any) {
	if s, _ := op["summary"].(string); s == "" {
		t.Errorf("%s has no summary", name)
	}
	var tags []string
	for _, x := range d.all["tags"].([]any) {
		tags = append(tags, x.(map[string]any)["name"].(string))
	}
	mine, _ := op["tags"].([]any)
	if len(mine) != 1 || !slices.Contains(tags, fmt.Sprint(mine[0])) {
		t.Errorf("%s: tags %v; use one of %v", name, mine, tags)
	}
	if r, _ := op["responses"].(map[string]any); len(r) == 0 {
		t.Errorf("%s has no responses", name)
	}
}

func checkReferences(t *testing.T, d *document, v any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			if node, _ := d.at(ref); node == nil {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, x := range v {
			checkReferences(t, d, x)
		}
	case []any:
		for _, x := range v {
			checkReferences(t, d, x)
		}
	}
}

// check holds one real answer against the description.
func (d *document) check(op string, res *http.Response, body []byte) {
	d.t.Helper()
	method, path, _ := strings.Cut(op, " ")
	_, at := d.at("#/paths/" + escape(path))
	at += "/" + strings.ToLower(method)
	r, where := d.at(fmt.Sprintf("%s/responses/%d", at, res.StatusCode))
	if r == nil {
		if r, where = d.at(at + "/responses/default"); r == nil {
			d.t.Errorf("%s: an answer with %d is not described", op, res.StatusCode)
			return
		}
	}
	content, _ := r.(map[string]any)["content"].(map[string]any)
	if len(content) == 0 {
		if len(body) > 0 {
			d.t.Errorf("%s: %d has a body that is not described: %.100s", op, res.StatusCode, body)
		}
		return
	}
	typ, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || content[typ] == nil {
		d.t.Errorf("%s: %d answers with %q, which is not described", op, res.StatusCode, res.Header.Get("Content-Type"))
		return
	}
	if typ != "application/json" {
		return
	}
	s, err := d.c.Compile(documentURL + where + "/content/" + escape(typ) + "/schema")
	if err != nil {
		d.t.Errorf("%s: %v", op, err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		d.t.Errorf("%s: %v: %.200s", op, err, body)
		return
	}
	if err := s.Validate(v); err != nil {
		d.t.Errorf("%s: %d is not as described: %v\n%.1000s", op, res.StatusCode, err, body)
	}
}

func somePicture(t *testing.T, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestAnswersAreAsDescribed holds real answers of the main addresses against
// the schemas, good ones and bad ones.
func TestAnswersAreAsDescribed(t *testing.T) {
	l := start(t, `
cameras:
  - { id: off, source: "rtsp://user:pass@192.0.2.1/x", enabled: false }
  - { id: broken, source: "images:/nothing/here/*.jpg" }
`)
	d := loadDocument(l)
	picture, contentType := form("phone", somePicture(t, 64, 48))
	res, body := l.do(http.MethodPost, "/api/camera/frame", picture, "Content-Type", contentType)
	d.check("POST /api/camera/frame", res, body)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("upload: %d %s", res.StatusCode, body)
	}
	l.eventually("the uploaded camera is in the list", func() (bool, string) {
		_, text := l.get("/api/camera/list")
		return strings.Contains(text, `"phone"`), text
	})
	entry := `{"id":"made","source":"images:` + l.dir + `/data/*.jpg","enabled":false}`
	for _, tt := range []struct {
		op, path, body string
		want           int
		header         []string
	}{
		{op: "GET /api/camera/list", path: "/api/camera/list", want: 200},
		{op: "GET /api/camera/server/status", path: "/api/camera/server/status", want: 200},
		{op: "GET /api/camera/snapshot/{id}", path: "/api/camera/snapshot/phone", want: 200},
		{op: "GET /api/camera/snapshot/{id}", path: "/api/camera/snapshot/nobody", want: 404},
		{op: "GET /api/camera/snapshot/{id}", path: "/api/camera/snapshot/phone?width=3", want: 400},
		{op: "GET /webcam/", path: "/webcam/?action=snapshot&cam=phone", want: 200},
		{op: "GET /webcam/", path: "/webcam/?action=dance&cam=phone", want: 400},
		{op: "GET /api/camera/ws/{id}", path: "/api/camera/ws/phone", want: 426},
		{op: "GET /api/camera/stream/{id}", path: "/api/camera/stream/phone", want: 426},
		{op: "POST /api/camera/frame", path: "/api/camera/frame", body: "x", want: 400},
		{op: "GET /api/inventory/cameras/usb", path: "/api/inventory/cameras/usb", want: 200},
		{op: "POST /api/cameras", path: "/api/cameras", body: entry, want: 201},
		{op: "POST /api/cameras", path: "/api/cameras", body: entry, want: 409},
		{op: "POST /api/cameras", path: "/api/cameras", body: `{"id":"x","source":"exec:rm"}`, want: 403},
		{op: "GET /api/cameras", path: "/api/cameras", want: 200},
		{op: "GET /api/cameras/{id}", path: "/api/cameras/made", want: 200},
		{op: "PATCH /api/cameras/{id}", path: "/api/cameras/made", body: `{"name":"Made"}`, want: 200},
		{op: "PUT /api/cameras/{id}", path: "/api/cameras/made", body: entry, want: 200},
		{op: "DELETE /api/cameras/{id}", path: "/api/cameras/made", want: 204},
		{op: "DELETE /api/cameras/{id}", path: "/api/cameras/made", want: 404},
		{op: "DELETE /api/camera/{id}", path: "/api/camera/phone", want: 200},
		{op: "DELETE /api/camera/camera/{id}", path: "/api/camera/camera/phone", want: 404},
		{op: "POST /whep/{id}", path: "/whep/off", body: "v=0", want: 400, header: []string{"Content-Type", "application/sdp"}},
		{op: "POST /whip/{id}", path: "/whip/x", body: "v=0", want: 415},
		{op: "OPTIONS /whep/{id}", path: "/whep/off", want: 204},
		{op: "DELETE /whep/{id}/{session}", path: "/whep/off/none", want: 404},
		{op: "GET /api/session", path: "/api/session", want: 200},
		{op: "POST /api/session", path: "/api/session", body: `{"token":"wrong"}`, want: 401},
		{op: "GET /api/users", path: "/api/users", want: 200},
		{op: "GET /api/tokens", path: "/api/tokens", want: 200},
		{op: "POST /api/tokens", path: "/api/tokens", body: `{"name":"t","permissions":["view"],"cameras":["off"]}`, want: 201},
		{op: "GET /api/ca.crt", path: "/api/ca.crt", want: 200},
		{op: "GET /api/ca.mobileconfig", path: "/api/ca.mobileconfig", want: 200},
		{op: "GET /api/connect/secure", path: "/api/connect/secure", want: 200},
		{op: "GET /api/connect", path: "/api/connect", want: 200},
		{op: "POST /api/connect", path: "/api/connect", body: `{"minutes":0}`, want: 400},
		{op: "POST /api/connect", path: "/api/connect", body: `{"minutes":1}`, want: 201},
		{op: "GET /api/camera/mse/{id}", path: "/api/camera/mse/off?video=nonsense", want: 400},
		{op: "GET /healthz", path: "/healthz", want: 200},
		{op: "GET /readyz", path: "/readyz", want: 200},
		{op: "GET /metrics", path: "/metrics", want: 200},
		{op: "GET /api/openapi.yaml", path: "/api/openapi.yaml", want: 200},
		{op: "GET /api/docs/{file}", path: "/api/docs/", want: 200},
		{op: "GET /api/docs/{file}", path: "/api/docs/nothing.js", want: 404},
	} {
		method, _, _ := strings.Cut(tt.op, " ")
		res, body := l.do(method, tt.path, strings.NewReader(tt.body), tt.header...)
		if res.StatusCode != tt.want {
			t.Errorf("%s %s: %d %.300s; want %d", method, tt.path, res.StatusCode, body, tt.want)
		}
		d.check(tt.op, res, body)
	}
}

// TestDocsPage checks that the page needs nothing from elsewhere and that what
// it refers to is there.
func TestDocsPage(t *testing.T) {
	l := start(t, "cameras: []\n")
	res, body := l.do(http.MethodGet, "/api/docs", nil)
	if res.Request.URL.Path != "/api/docs/" || !strings.Contains(string(body), "<title>Camwire: API") {
		t.Errorf("/api/docs leads to %s", res.Request.URL)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	for name, typ := range map[string]string{"docs.js": "text/javascript", "docs.css": "text/css"} {
		res, body := l.do(http.MethodGet, "/api/docs/"+name, nil)
		if !strings.HasPrefix(res.Header.Get("Content-Type"), typ) || len(body) == 0 {
			t.Errorf("%s: %s", name, res.Header.Get("Content-Type"))
		}
		if strings.Contains(string(body), "://") || strings.Contains(string(body), "innerHTML") {
			t.Errorf("%s refers to elsewhere, or writes HTML", name)
		}
	}
	var v map[string]any
	if _, text := l.get("/api/openapi.json"); json.Unmarshal([]byte(text), &v) != nil || v["openapi"] != "3.1.0" {
		t.Error("openapi.json is not the document")
	}
}
