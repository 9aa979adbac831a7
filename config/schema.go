package config

import (
	_ "embed"
	"encoding/json"
	"reflect"
)

//go:embed camwire.example.yaml
var example string

// Example returns a commented configuration with every key in it.
func Example() string { return example }

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors.
func Schema() []byte {
	s := object(root(), reflect.ValueOf(base()))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Camwire configuration"
	s["patternProperties"] = map[string]any{"^x-": map[string]any{"description": "Ignored: a place for YAML anchors."}}
	// Cannot fail: maps, texts and numbers only. Keys come out sorted, so the
	// same structs make the same bytes.
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil
	}
	return append(b, '\n')
}

// object describes a struct; v holds its default values.
func object(f field, v reflect.Value) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, c := range f.fields {
		properties[c.name] = property(c, v.Field(c.index))
		switch c.check {
		case "id", "source", "ice":
			required = append(required, c.name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		s["required"] = required
	}
	return s
}

func property(f field, v reflect.Value) map[string]any {
	var s map[string]any
	switch {
	case f.typ.Kind() == reflect.Struct:
		s = object(f, v)
		s["type"] = []string{"object", "null"}
	case f.fields != nil:
		s = map[string]any{
			"type":  []string{"array", "null"},
			"items": object(f.element(), newElement(f.typ.Elem())),
		}
	case f.typ.Kind() == reflect.Slice:
		item := scalar(f.element())
		s = map[string]any{
			"anyOf":   []any{item, map[string]any{"type": []string{"array", "null"}, "items": item}},
			"default": []string{},
		}
	case f.check == "source":
		s = sourceSchema()
	default:
		s = scalar(f)
		s["default"] = v.Interface()
		if f.check == "id" { // required, so a default would mislead
			delete(s, "default")
		}
	}
	s["description"] = f.help
	return s
}

func scalar(f field) map[string]any {
	s := map[string]any{}
	switch f.typ.Kind() {
	case reflect.Bool:
		s["type"] = "boolean"
	case reflect.Int:
		s["type"] = "integer"
	case reflect.Float64:
		s["type"] = "number"
	default:
		s["type"] = "string"
		// A name or id of digits needs no quotes.
		if f.enum == nil && f.check != "address" {
			s["type"] = []string{"string", "number"}
		}
		if f.max != nil {
			s["maxLength"] = *f.max
		}
	}
	if f.enum != nil {
		s["enum"] = f.enum
	}
	if s["type"] == "integer" || s["type"] == "number" {
		if f.min != nil {
			s["minimum"] = *f.min
		}
		if f.max != nil {
			s["maximum"] = *f.max
		}
	}
	switch f.check {
	case "id":
		s["pattern"] = idPattern.String()
	case "required":
		s["minLength"] = 1
	case "ice":
		s["pattern"] = "^(stuns?|turns?):"
	}
	return s
}

func sourceSchema() map[string]any {
	argv := map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"type": []string{"string", "number"}}}
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "integer", "minimum": 0, "maximum": maxDevice},
		map[string]any{"type": "string", "pattern": `^([0-9]+$|/dev/|usb:|rtsps?://|https?://|images:|watch:|exec:|test:$|whep:https?://)`},
		map[string]any{
			"type": "object", "additionalProperties": false, "required": []string{"exec"},
			"properties": map[string]any{"exec": argv},
		},
	}}
}
