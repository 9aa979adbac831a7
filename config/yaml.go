package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on the file. The parser recurses with the nesting and its time grows
// with the square of the length of a mapping, so size alone is no bound.
const (
	maxFileSize = 1 << 20 // bytes
	maxTokens   = 100_000 // about 2000 cameras with every key set
	maxNesting  = 32
	maxIndent   = 200  // columns of a block list or mapping
	maxAnchors  = 1000 // anchors, aliases and tags
	maxVisits   = 200_000
)

// decoder fills structs from a YAML tree, strictly, and goes on after a mistake.
type decoder struct {
	*collector
	file    string
	anchors map[string]ast.Node
	visits  int // values looked at; aliases can make them many more than there are
}

// decodeFile reads YAML into c. It reports whether the file has a cameras key.
func decodeFile(col *collector, file string, data []byte, c *Config) (cameras bool) {
	d := &decoder{collector: col, file: file, anchors: map[string]ast.Node{}}
	start := position{file: file, line: 1, col: 1}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if i := invalidUTF8(data); i >= 0 {
		start.line += bytes.Count(data[:i], []byte("\n"))
		d.add(start, "", "is not UTF-8 text", "save the file with UTF-8 encoding")
		return false
	}
	tokens := lexer.Tokenize(string(data))
	if !d.bounded(tokens) {
		return false
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return false
	}
	var body ast.Node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			d.add(d.pos(doc.Body), "", "is a second document", `remove the line "---"`)
			return false
		}
		body = doc.Body
	}
	if body == nil {
		return false
	}
	ast.Walk(d, body)
	d.mapping(root(), body, reflect.ValueOf(c).Elem(), "")
	_, cameras = d.set["cameras"]
	return cameras
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// bounded reports a problem and false when the parser must not see the tokens.
func (d *decoder) bounded(tokens token.Tokens) bool {
	depth, anchors := 0, 0
	for i, t := range tokens {
		message := ""
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			if depth <= 0 && t.Position.Column > maxIndent {
				message = "is nested too deeply"
			}
		case token.AnchorType, token.AliasType, token.TagType:
			anchors++
		case token.InvalidType:
			message = "is not YAML"
			if t.Error != "" {
				message += " (" + t.Error + ")"
			}
		}
		switch {
		case i >= maxTokens:
			message = fmt.Sprintf("has more than %d words and signs", maxTokens)
		case depth > maxNesting:
			message = "is nested too deeply"
		case anchors > maxAnchors:
			message = fmt.Sprintf("has more than %d anchors, aliases and tags", maxAnchors)
		}
		if message != "" {
			d.add(d.tokenPos(t), "", message, "")
			return false
		}
	}
	return true
}

func (d *decoder) syntax(err error) {
	// The library's own text would quote the lines around, passwords included.
	at := position{file: d.file, line: 1, col: 1}
	message, hint := "is not YAML", ""
	var ye yaml.Error
	if errors.As(err, &ye) {
		if t := ye.GetToken(); t != nil {
			at = d.tokenPos(t)
		}
		message += " (" + ye.GetMessage() + ")"
		if strings.Contains(ye.GetMessage(), "mapping value is not allowed") {
			hint = `check the indentation; a value with ": " in it or ":" at its end wants quotes, as in source: "test:"`
		}
	}
	d.add(at, "", message, hint)
}

// Visit collects the anchors.
func (d *decoder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		name := a.Name.GetToken().Value
		if _, twice := d.anchors[name]; twice {
			d.add(d.pos(a), "", fmt.Sprintf("anchor %q is defined twice", name), "give each anchor its own name")
		}
		d.anchors[name] = a.Value
	}
	return d
}

func (d *decoder) tokenPos(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{file: d.file, line: 1, col: 1}
	}
	return position{file: d.file, line: max(t.Position.Line, 1), col: max(t.Position.Column, 1)}
}

// pos is where a value begins.
func (d *decoder) pos(n ast.Node) position {
	// A mapping's own token is the colon after its first key.
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() && n.GetToken().Type != token.MappingStartType {
			return d.tokenPos(it.Key().GetToken())
		}
	}
	return d.tokenPos(n.GetToken())
}

// resolve follows anchors and aliases. A nil node is a value left out.
func (d *decoder) resolve(n ast.Node, path string) (ast.Node, bool) {
	for range maxNesting {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			name := v.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.spoil(d.pos(v), path, fmt.Sprintf("alias *%s has no anchor &%s", name, name), "")
				return nil, false
			}
			n = target
		case *ast.TagNode:
			d.spoil(d.pos(v), path, "has a tag, which means nothing here", "remove "+v.Start.Value)
			return nil, false
		case *ast.NullNode:
			return nil, true
		default:
			return n, true
		}
	}
	d.spoil(d.at(path), path, "alias refers to itself", "")
	return nil, false
}

// spend counts one visit and says whether it may be made.
func (d *decoder) spend(at position) bool {
	d.visits++
	if d.visits == maxVisits+1 {
		d.add(at, "", "aliases repeat too much", "write the values out")
	}
	return d.visits <= maxVisits
}

type pair struct {
	key   string
	at    position
	value ast.Node
}

// pairs returns the keys of a mapping, those of merge keys (<<) last and only
// where the mapping itself does not have them.
func (d *decoder) pairs(m ast.MapNode, path string, depth int) []pair {
	var out, merged []pair
	first := map[string]position{}
	for it := m.MapRange(); it.Next(); {
		key := it.Key()
		at := d.tokenPos(key.GetToken())
		if !d.spend(at) {
			return nil
		}
		if key.IsMergeKey() {
			merged = append(merged, d.merge(it.Value(), path, depth)...)
			continue
		}
		scalar, ok := key.(ast.ScalarNode)
		if !ok {
			d.add(at, path, "a key must be plain text", "")
			continue
		}
		name := scalar.GetToken().Value
		if before, ok := first[name]; ok {
			d.add(at, path, fmt.Sprintf("key %q is there twice", name), fmt.Sprintf("the first one is in line %d", before.line))
			continue
		}
		first[name] = at
		out = append(out, pair{name, at, it.Value()})
	}
	for _, p := range merged {
		if _, ok := first[p.key]; !ok {
			first[p.key] = p.at
			out = append(out, p)
		}
	}
	return out
}

func (d *decoder) merge(n ast.Node, path string, depth int) []pair {
	if depth >= maxNesting {
		d.add(d.pos(n), path, "merges too deeply", "")
		return nil
	}
	v, ok := d.resolve(n, path)
	if !ok {
		return nil
	}
	switch v := v.(type) {
	case ast.MapNode:
		return d.pairs(v, path, depth+1)
	case *ast.SequenceNode:
		var out []pair
		for _, e := range v.Values {
			if !d.spend(d.pos(n)) {
				return nil
			}
			out = append(out, d.merge(e, path, depth+1)...)
		}
		return out
	}
	d.add(d.pos(n), path, "<< wants a mapping", "write for example << : *name")
	return nil
}

// mapping fills a struct.
func (d *decoder) mapping(f field, n ast.Node, v reflect.Value, path string) {
	at := d.pos(n)
	n, ok := d.resolve(n, path)
	if !ok {
		return
	}
	if n == nil {
		// A section whose keys are all commented out keeps its defaults. A list
		// entry without anything is more likely a slip.
		if strings.HasSuffix(path, "]") {
			d.spoil(at, path, "is empty", "remove the line or fill it in")
		}
		return
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		d.mismatch(at, path, f, n)
		return
	}
	for _, p := range d.pairs(m, path, 0) {
		c, ok := f.lookup(p.key)
		switch {
		case ok:
			d.value(c, p, v.Field(c.index), join(path, p.key))
		case path == "" && strings.HasPrefix(p.key, "x-"):
			// A place for anchors, as in Compose files.
		default:
			d.add(p.at, path, fmt.Sprintf("unknown key %q", printable(p.key)), didYouMean(p.key, f.names()))
		}
	}
}

// printable shortens a key from the file for a message.
func printable(s string) string {
	const longest = 40
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

// value fills one key of a struct.
func (d *decoder) value(f field, p pair, v reflect.Value, path string) {
	if !d.spend(p.at) {
		return
	}
	d.set[path] = p.at
	n := p.value
	if n == nil { // cannot come from the parser, which writes a null
		return
	}
	if f.typ.Kind() == reflect.Struct {
		d.mapping(f, n, v, path)
		return
	}
	at := d.pos(n)
	n, ok := d.resolve(n, path)
	if !ok {
		return
	}
	if f.typ.Kind() == reflect.Slice {
		d.list(f, n, at, v, path)
		return
	}
	if n == nil {
		hint := "remove the key for its default"
		if f.typ.Kind() == reflect.String {
			hint = `write "" for nothing, or ` + hint
		}
		d.spoil(p.at, path, "has no value", hint)
		return
	}
	d.set[path] = at
	if f.check == "source" {
		d.source(f, n, at, v, path)
		return
	}
	d.scalar(f, n, at, v, path)
}

// list fills a slice. One text without brackets is a list of one.
func (d *decoder) list(f field, n ast.Node, at position, v reflect.Value, path string) {
	v.SetZero()
	e := f.element()
	structs := e.typ.Kind() == reflect.Struct
	switch n := n.(type) {
	case nil:
	case *ast.SequenceNode:
		for i, item := range n.Values {
			p := joinIndex(path, i)
			itemAt := d.pos(item)
			if !d.spend(itemAt) {
				return
			}
			d.set[p] = itemAt
			elem := newElement(e.typ)
			if structs {
				d.mapping(e, item, elem, p)
			} else if item, ok := d.resolve(item, p); ok {
				d.scalar(e, item, itemAt, elem, p)
			}
			// Also after a mistake, so that an index means the place in the file.
			v.Set(reflect.Append(v, elem))
		}
	case ast.ScalarNode:
		if structs {
			d.mismatch(at, path, f, n)
			return
		}
		p := joinIndex(path, 0)
		d.set[p] = at
		elem := newElement(e.typ)
		d.scalar(e, n, at, elem, p)
		v.Set(reflect.Append(v, elem))
	default:
		d.mismatch(at, path, f, n)
	}
}

// scalar sets a text, number or switch.
func (d *decoder) scalar(f field, n ast.Node, at position, v reflect.Value, path string) {
	d.set[path] = at
	switch v.Kind() {
	case reflect.String:
		switch n := n.(type) {
		case *ast.StringNode:
			v.SetString(n.Value)
			return
		case *ast.LiteralNode:
			v.SetString(strings.TrimRight(n.Value.Value, "\n"))
			return
		case *ast.IntegerNode, *ast.FloatNode: // name: 2024
			v.SetString(n.GetToken().Value)
			return
		}
	case reflect.Bool:
		if n, ok := n.(*ast.BoolNode); ok {
			v.SetBool(n.Value)
			return
		}
	case reflect.Int:
		if i, ok := integer(n); ok {
			v.SetInt(i)
			return
		}
	case reflect.Float64:
		if i, ok := integer(n); ok {
			v.SetFloat(float64(i))
			return
		}
		if n, ok := n.(*ast.FloatNode); ok && !math.IsInf(n.Value, 0) {
			v.SetFloat(n.Value)
			return
		}
	}
	d.mismatch(at, path, f, n)
}

func integer(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch i := i.Value.(type) {
	case int64:
		return i, true
	case uint64:
		return int64(i), i <= math.MaxInt64
	}
	return 0, false
}

// source accepts a number, a text, or a mapping with the argv list of exec.
func (d *decoder) source(f field, n ast.Node, at position, v reflect.Value, path string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		if i, ok := integer(n); ok {
			v.SetString(strconv.FormatInt(i, 10))
			return
		}
		d.scalar(f, n, at, v, path)
		return
	}
	for _, p := range d.pairs(m, path, 0) {
		if p.key != "exec" {
			d.spoil(p.at, path, fmt.Sprintf("unknown key %q", printable(p.key)), "only exec: with an argv list is written as a mapping; quote all other sources")
			continue
		}
		var argv []string
		items, ok := d.resolve(p.value, path)
		if !ok {
			return
		}
		list := field{name: "exec", typ: reflect.TypeFor[[]string](), secret: true}
		d.list(list, items, at, reflect.ValueOf(&argv).Elem(), join(path, "exec"))
		v.SetString(ExecSource(argv))
	}
}

// mismatch reports a value of the wrong kind.
func (d *decoder) mismatch(at position, path string, f field, n ast.Node) {
	got, hint := "nothing", ""
	switch n := n.(type) {
	case ast.MapNode:
		got = "a mapping"
		if f.typ.Kind() == reflect.Slice {
			hint = "begin each entry with \"- \""
		}
	case *ast.SequenceNode:
		got = "a list"
	case *ast.StringNode:
		got = "text"
		if !f.secret {
			got = fmt.Sprintf("text %q", printable(n.Value))
		}
		switch strings.ToLower(n.Value) {
		case "yes", "on", "y", "true":
			hint = "write true"
		case "no", "off", "n", "false":
			hint = "write false"
		}
		if f.typ.Kind() != reflect.Bool {
			hint = ""
			if _, err := strconv.ParseFloat(n.Value, 64); err == nil && (f.typ.Kind() == reflect.Int || f.typ.Kind() == reflect.Float64) {
				hint = "remove the quotes"
			}
		}
	case *ast.LiteralNode:
		got = "text"
	case *ast.BoolNode:
		got = strconv.FormatBool(n.Value)
		if f.typ.Kind() == reflect.String {
			hint = "put it in quotes"
		}
	case nil:
	default: // numbers, .nan, .inf
		got = printable(n.GetToken().Value)
	}
	d.spoil(at, path, fmt.Sprintf("wants %s, got %s", article(f.kind()), got), hint)
}

func article(kind string) string {
	switch kind {
	case "text", "true or false":
		return kind
	}
	return "a " + kind
}
