package cameras

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxBody bounds the body of a request in bytes.
const maxBody = 64 << 10

// maxProblems bounds what one body can make us say.
const maxProblems = 20

// keys are those of an entry, as the configuration file has them.
func keys() []string {
	return []string{"id", "name", "source", "fps", "width", "height", "quality", "enabled", "on_demand", "transport", "microphone", "fingerprint"}
}

// shown are keys that are in an answer only. A client may send back what it
// got.
func shown() []string { return []string{"origin", "problems"} }

// decode reads a JSON object onto an entry: keys that it leaves out keep their
// value, null sets the default (RFC 7396). The error is a *refusal with all
// that is wrong with the form; what the values mean is not its business.
func decode(data []byte, onto, defaults Entry) (Entry, error) {
	d := &decoder{entry: onto, defaults: defaults, seen: map[string]bool{}}
	if err := d.object(data); err != nil {
		d.problem("", "the body is no JSON object: "+err.Error(), `send for example {"id": "door", "source": "rtsp://192.168.1.100/stream1"}`)
	}
	switch {
	case d.command:
		return onto, refuseCommand(d.entry.ID)
	case len(d.problems) > 0:
		return onto, &refusal{http.StatusBadRequest, d.entry.ID, d.problems}
	}
	return d.entry, nil
}

type decoder struct {
	entry, defaults Entry
	seen            map[string]bool
	problems        []Problem
	command         bool
}

func (d *decoder) problem(field, message, hint string) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, Problem{field, message, hint})
	}
}

// object reads key by key: encoding/json would take "ID" for "id" and the last
// of two equal keys.
func (d *decoder) object(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("it is not in UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return problemOf(err, `it does not begin with "{"`)
	}
	for dec.More() {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return problemOf(err, "a key is missing")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return problemOf(err, "")
		}
		d.key(key, raw)
	}
	if _, err := dec.Token(); err != nil {
		return problemOf(err, "")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// problemOf words an error of the JSON decoder.
func problemOf(err error, otherwise string) error {
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return errors.New(otherwise)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	case errors.As(err, &syntax):
		return fmt.Errorf("%w (byte %d)", err, syntax.Offset)
	}
	return err
}

// key takes one value over.
func (d *decoder) key(key string, raw json.RawMessage) {
	switch {
	case slices.Contains(shown(), key):
		return
	case !slices.Contains(keys(), key):
		d.problem(clip(key), "unknown key", didYouMean(key, keys()))
		return
	case d.seen[key]:
		d.problem(key, "is there twice", "remove one")
		return
	}
	d.seen[key] = true
	if string(raw) == "null" {
		raw = nil
	}
	e, def := &d.entry, d.defaults
	switch key {
	case "id":
		d.text(key, raw, &e.ID, def.ID)
	case "name":
		d.text(key, raw, &e.Name, def.Name)
	case "source":
		d.source(raw)
	case "fps":
		set(d, key, raw, &e.FPS, def.FPS, "a number")
	case "width":
		set(d, key, raw, &e.Width, def.Width, "a whole number")
	case "height":
		set(d, key, raw, &e.Height, def.Height, "a whole number")
	case "quality":
		set(d, key, raw, &e.Quality, def.Quality, "a whole number")
	case "enabled":
		set(d, key, raw, &e.Enabled, def.Enabled, "true or false")
	case "on_demand":
		set(d, key, raw, &e.OnDemand, def.OnDemand, "true or false")
	case "transport":
		d.text(key, raw, &e.Transport, def.Transport)
	case "microphone":
		d.text(key, raw, &e.Microphone, def.Microphone)
	case "fingerprint":
		d.text(key, raw, &e.Fingerprint, def.Fingerprint)
	}
}

// set takes a value of type T, or without one the default.
func set[T any](d *decoder, key string, raw json.RawMessage, to *T, def T, kind string) {
	v := def
	if raw != nil && json.Unmarshal(raw, &v) != nil {
		hint := ""
		if len(raw) > 2 && raw[0] == '"' {
			hint = "write it without quotes"
		}
		d.problem(key, "must be "+kind, hint)
		return
	}
	*to = v
}

func (d *decoder) text(key string, raw json.RawMessage, to *string, def string) {
	hint := ""
	if _, err := strconv.ParseFloat(string(raw), 64); err == nil {
		hint = "write it in quotes"
	}
	v := def
	if raw != nil && json.Unmarshal(raw, &v) != nil {
		d.problem(key, "must be a text", hint)
		return
	}
	*to = v
}

// source takes a text, or a bare number as the file does. The list form of the
// file is for commands only.
func (d *decoder) source(raw json.RawMessage) {
	switch {
	case raw == nil:
		d.entry.Source = d.defaults.Source
	case raw[0] == '"':
		d.text("source", raw, &d.entry.Source, "")
		d.command = d.command || isCommand(d.entry.Source)
	case raw[0] == '{':
		var m map[string]json.RawMessage
		_ = json.Unmarshal(raw, &m) // the decoder has read it once
		for k := range m {
			d.command = d.command || isCommand(k)
		}
		d.problem("source", "must be a text or a number", "")
	default:
		n, err := strconv.Atoi(string(raw))
		if err != nil {
			d.problem("source", "must be a text or a whole number", "")
			return
		}
		d.entry.Source = strconv.Itoa(n)
	}
}

// clip bounds what is told of a key.
func clip(s string) string {
	const longest = 40
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

// didYouMean names the candidate that is the fewest edits away, if one is near.
func didYouMean(word string, candidates []string) string {
	word = strings.ToLower(clip(word))
	// Nobody misspells one of these by more than three letters, and a short
	// word is within two of nearly everything.
	best, least := "", 4
	for _, c := range candidates {
		if n := distance(word, c); n < least && n < max(len(word), len(c)) {
			best, least = c, n
		}
	}
	if best == "" {
		return "known are " + strings.Join(candidates, ", ")
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
