package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

var update = flag.Bool("update", false, "write camwire.schema.json anew")

// TestSchemaFile holds the published file to the structs.
func TestSchemaFile(t *testing.T) {
	const name = "camwire.schema.json"
	if *update {
		if err := os.WriteFile(name, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, Schema()) {
		t.Errorf("%s is not that of the structs: run go test ./config -run TestSchemaFile -update", name)
	}
}

func schema(t *testing.T) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaHasEveryKey(t *testing.T) {
	for _, k := range Keys() {
		s := schema(t)
		for part := range strings.SplitSeq(k.Path, ".") {
			var ok bool
			if part == "<n>" {
				s, ok = s["items"].(map[string]any)
			} else {
				s, ok = s["properties"].(map[string]any)[part].(map[string]any)
				if s["description"] == "" || s["description"] == nil {
					t.Errorf("%s: %s has no description", k.Path, part)
				}
			}
			if !ok {
				t.Fatalf("the schema lacks %s", k.Path)
			}
		}
		if d, ok := s["default"]; ok && k.Type != "list of texts" && fmt.Sprint(d) != k.Default {
			t.Errorf("%s: default %v, want %v", k.Path, d, k.Default)
		}
	}
}

func TestSchemaAcceptsAndRefuses(t *testing.T) {
	for name, text := range map[string]string{"contract": contract + contractSections, "example": Example(), "empty sections": "http:\ncameras:\n", "x": "x-a: 1\n"} {
		if err := validateYAML(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{
		"htp: {}\n", "http: { adress: \":1\" }\n", "http: 1\n", "log: { level: loud }\n", "data_dir: \"\"\n",
		"cameras: [{ id: a }]\n", "cameras: [{ source: 0 }]\n", "cameras: [{ id: a b, source: 0 }]\n",
		"cameras: [{ id: a, source: 0, fps: 241 }]\n", "cameras: [{ id: a, source: 0, width: 1.5 }]\n",
		"cameras: [{ id: a, source: rtmp://h }]\n", "cameras: [{ id: a, source: { exec: [] } }]\n",
		"cameras: [{ id: a, source: 0, enabled: yes }]\n", "auth: { anonymous: [veiw] }\n",
	} {
		if validateYAML(t, text) == nil {
			t.Errorf("the schema accepts %q", text)
		}
		if _, problems, _ := Parse("x", []byte(text), Options{}); len(problems) == 0 {
			t.Errorf("the loader accepts %q", text)
		}
	}
}

func validateYAML(t *testing.T, text string) error {
	t.Helper()
	j, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(j, &v); err != nil {
		t.Fatal(err)
	}
	return conform(schema(t), v, "")
}

// conform checks v against the part of JSON Schema that Schema uses, and fails
// on a keyword it does not know.
func conform(s map[string]any, v any, path string) error {
	for keyword, arg := range s {
		if err := keywordHolds(s, keyword, arg, v, path); err != nil {
			return err
		}
	}
	return nil
}

func keywordHolds(s map[string]any, keyword string, arg, v any, path string) error {
	bad := fmt.Errorf("%s: %v fails %s %v", path, v, keyword, arg)
	text, isText := v.(string)
	num, isNum := v.(float64)
	list, isList := v.([]any)
	object, isObject := v.(map[string]any)
	holds := true
	switch keyword {
	case "$schema", "title", "description", "default", "patternProperties", "additionalProperties":
	case "type":
		names, ok := arg.([]any)
		if !ok {
			names = []any{arg}
		}
		holds = slices.ContainsFunc(names, func(n any) bool { return isType(n.(string), v) })
	case "enum":
		holds = slices.ContainsFunc(arg.([]any), func(e any) bool { return reflect.DeepEqual(e, v) })
	case "minimum":
		holds = !isNum || num >= arg.(float64)
	case "maximum":
		holds = !isNum || num <= arg.(float64)
	case "minLength":
		holds = !isText || len(text) >= int(arg.(float64))
	case "maxLength":
		holds = !isText || len(text) <= int(arg.(float64))
	case "minItems":
		holds = !isList || len(list) >= int(arg.(float64))
	case "pattern":
		holds = !isText || regexp.MustCompile(arg.(string)).MatchString(text)
	case "required":
		for _, name := range arg.([]any) {
			if _, ok := object[name.(string)]; isObject && !ok {
				return bad
			}
		}
	case "anyOf":
		holds = slices.ContainsFunc(arg.([]any), func(o any) bool { return conform(o.(map[string]any), v, path) == nil })
	case "items":
		for i, e := range list {
			if err := conform(arg.(map[string]any), e, joinIndex(path, i)); err != nil {
				return err
			}
		}
	case "properties":
		for name, e := range object {
			p, ok := arg.(map[string]any)[name].(map[string]any)
			if !ok {
				if s["patternProperties"] != nil && strings.HasPrefix(name, "x-") {
					continue
				}
				return fmt.Errorf("%s: unknown key %s", path, name)
			}
			if err := conform(p, e, join(path, name)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%s: unknown keyword %s", path, keyword)
	}
	if !holds {
		return bad
	}
	return nil
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == float64(int64(v))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}
