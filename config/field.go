package config

import (
	"reflect"
	"strconv"
	"strings"
)

// field describes one key of the configuration, taken from a struct tag.
type field struct {
	name   string
	index  int // in the struct
	typ    reflect.Type
	help   string
	enum   []string
	min    *float64 // of a number
	max    *float64 // of a number, or the length of a text in bytes
	check  string   // name of a check in validate.go
	secret bool     // the value never appears in a message
	apply  string   // "restart" or "live", what a change of the value asks for
	fields []field  // of a struct or of the elements of a list
}

// kind of value, in the words that messages and Keys use.
func (f field) kind() string { return kindOf(f.typ) }

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "list of mappings"
		}
		return "list of texts"
	default:
		return "mapping"
	}
}

// describe returns the keys of a struct type in order of declaration.
func describe(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		sf := t.Field(i)
		f := field{
			name:   sf.Tag.Get("json"),
			index:  i,
			typ:    sf.Type,
			help:   sf.Tag.Get("help"),
			check:  sf.Tag.Get("check"),
			secret: sf.Tag.Get("secret") == "true",
			apply:  sf.Tag.Get("apply"),
			min:    number(sf.Tag.Get("min")),
			max:    number(sf.Tag.Get("max")),
		}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		switch {
		case sf.Type.Kind() == reflect.Struct:
			f.fields = describe(sf.Type)
		case sf.Type.Kind() == reflect.Slice && sf.Type.Elem().Kind() == reflect.Struct:
			f.fields = describe(sf.Type.Elem())
		}
		fields = append(fields, f)
	}
	return fields
}

func number(s string) *float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil
	}
	return &v
}

// root describes the whole configuration.
func root() field {
	t := reflect.TypeFor[Config]()
	return field{typ: t, fields: describe(t)}
}

func (f field) lookup(name string) (field, bool) {
	for _, c := range f.fields {
		if c.name == name {
			return c, true
		}
	}
	return field{}, false
}

// element describes an element of a list.
func (f field) element() field {
	e := f
	e.typ = f.typ.Elem()
	return e
}

func (f field) names() []string {
	names := make([]string, len(f.fields))
	for i, c := range f.fields {
		names[i] = c.name
	}
	return names
}

// join appends a key to a dotted path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func joinIndex(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// newElement returns an addressable list element with its default values.
func newElement(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if t == reflect.TypeFor[Camera]() {
		v.Set(reflect.ValueOf(DefaultCamera()))
	}
	return v
}

// Key is one value that can be set.
type Key struct {
	// Path is the dotted path, "http.address". In lists of mappings "<n>"
	// stands for the index from 0: "cameras.<n>.id".
	Path string
	// Env is the environment variable, "CAMWIRE_HTTP_ADDRESS".
	Env string
	// Type is "text", "whole number", "number", "true or false" or "list of
	// texts". A list is written with commas between its elements.
	Type string
	// Default is the default value as it would be written in Overrides.
	Default string
	// Help is one line for people.
	Help string
	// Enum lists the accepted values, none if they are free.
	Enum []string
	// Listed says that the key belongs to an element of a list (Path has "<n>").
	Listed bool
}

// Keys lists everything that can be set, in the order of the structs.
func Keys() []Key {
	return appendKeys(nil, root(), reflect.ValueOf(base()), "", false)
}

func appendKeys(keys []Key, f field, v reflect.Value, path string, listed bool) []Key {
	for _, c := range f.fields {
		p, cv := join(path, c.name), v.Field(c.index)
		switch {
		case c.typ.Kind() == reflect.Struct:
			keys = appendKeys(keys, c, cv, p, listed)
		case c.fields != nil:
			keys = appendKeys(keys, c.element(), newElement(c.typ.Elem()), p+".<n>", true)
		default:
			keys = append(keys, Key{
				Path: p, Env: envName(p), Type: c.kind(), Default: text(cv),
				Help: c.help, Enum: c.enum, Listed: listed,
			})
		}
	}
	return keys
}

// text writes a scalar or a list of texts as Overrides take it.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Slice:
		s := make([]string, v.Len())
		for i := range s {
			s[i] = v.Index(i).String()
		}
		return strings.Join(s, ",")
	default:
		return v.String()
	}
}

// nearest returns the candidate that is the fewest edits away, or "" when none
// is near enough to be what was meant.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		// A short word is within two edits of nearly everything.
		if d := distance(word, c); d < bestDistance && d < max(len(word), len(c)) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes with a swap of two neighbours
// counted as one edit (optimal string alignment), the commonest slip of all.
func distance(a, b string) int {
	const longest = 128 // bounds the work for a hostile key
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func didYouMean(word string, candidates []string) string {
	if n := nearest(word, candidates); n != "" {
		return "did you mean " + strconv.Quote(n) + "?"
	}
	return ""
}
