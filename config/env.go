package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// envPrefix begins the name of every environment variable of Camwire.
const envPrefix = "CAMWIRE_"

// Override sets one value by its dotted path, as in Keys with an index for
// "<n>": {"http.address", ":9000"}, {"cameras.0.fps", "5"}. A list is written
// with commas between its elements and replaces the one before.
type Override struct{ Path, Value string }

// Overrides are applied in order, after file and environment.
type Overrides []Override

// envName returns the variable of a dotted path. "<n>" stays as it is.
func envName(path string) string {
	upper := strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
	return envPrefix + strings.ReplaceAll(upper, "<N>", "<n>")
}

// step is one part of a path: a key, or an index into the list before it.
type step struct {
	f     field
	index int // -1 for a key
}

// assignment is one value from the environment or a flag.
type assignment struct {
	at    position
	steps []step
	value string
}

// splitEnv finds the path of an environment variable's name without prefix.
// Keys hold underscores themselves, so it tries each key that fits.
func splitEnv(f field, name string) []step {
	for _, c := range f.fields {
		rest, ok := strings.CutPrefix(name, strings.ToUpper(c.name))
		if !ok {
			continue
		}
		here := step{f: c, index: -1}
		if rest == "" {
			if c.fields == nil {
				return []step{here}
			}
			continue
		}
		if rest, ok = strings.CutPrefix(rest, "_"); !ok || c.fields == nil {
			continue
		}
		steps := []step{here}
		if c.typ.Kind() == reflect.Slice {
			digits, after, _ := strings.Cut(rest, "_")
			i, ok := listIndex(digits)
			if !ok {
				continue
			}
			steps, rest = append(steps, step{f: c.element(), index: i}), after
		}
		if tail := splitEnv(c, rest); tail != nil {
			return append(steps, tail...)
		}
	}
	return nil
}

// splitPath finds the steps of a dotted path.
func splitPath(path string) []step {
	var steps []step
	f := root()
	for part := range strings.SplitSeq(path, ".") {
		if f.typ.Kind() == reflect.Slice && f.fields != nil {
			i, ok := listIndex(part)
			if !ok {
				return nil
			}
			f = f.element()
			steps = append(steps, step{f: f, index: i})
			continue
		}
		c, ok := f.lookup(part)
		if !ok {
			return nil
		}
		f = c
		steps = append(steps, step{f: c, index: -1})
	}
	if f.fields != nil {
		return nil // a section or a list, no value
	}
	return steps
}

func listIndex(s string) (int, bool) {
	i, err := strconv.ParseUint(s, 10, 16)
	return int(i), err == nil
}

// serviceLink matches the variables that Kubernetes and old Docker links set
// for a service whose name begins with "camwire". They are nobody's settings.
var serviceLink = regexp.MustCompile(`^CAMWIRE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && (strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://"))
}

// applyEnv applies the variables of env, each "NAME=value" as os.Environ has
// them, except those named in ignore.
func applyEnv(col *collector, env, ignore []string, c *Config) {
	var todo []assignment
	for _, kv := range env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || slices.Contains(ignore, name) || isServiceLink(name, value) {
			continue
		}
		at := position{file: name}
		steps := splitEnv(root(), strings.TrimPrefix(name, envPrefix))
		if steps == nil {
			col.add(at, "", "unknown variable", nearestIndexed(name, func(k Key) string { return k.Env }))
			continue
		}
		todo = append(todo, assignment{at, steps, value})
	}
	// By place, so that entry 9 is there before entry 10 is asked for; the
	// environment itself has no order.
	slices.SortStableFunc(todo, func(a, b assignment) int {
		return slices.CompareFunc(a.steps, b.steps, func(x, y step) int {
			return cmp.Or(cmp.Compare(x.f.index, y.f.index), cmp.Compare(x.index, y.index))
		})
	})
	for _, a := range todo {
		assign(col, a, c)
	}
}

func applyOverrides(col *collector, overrides Overrides, c *Config) {
	for _, o := range overrides {
		at := position{file: "flag " + o.Path}
		steps := splitPath(o.Path)
		if steps == nil {
			col.add(at, "", "unknown key", nearestIndexed(o.Path, func(k Key) string { return k.Path }))
			continue
		}
		assign(col, assignment{at, steps, o.Value}, c)
	}
}

var indexPart = regexp.MustCompile(`([._])(\d+)([._])`)

// nearestIndexed suggests the key that name may have meant, with name's own
// index in the place of "<n>".
func nearestIndexed(name string, of func(Key) string) string {
	var candidates []string
	for _, k := range Keys() {
		candidates = append(candidates, of(k))
	}
	index := "0"
	if m := indexPart.FindStringSubmatch(name); m != nil {
		index = m[2]
	}
	best := nearest(indexPart.ReplaceAllString(name, "$1<n>$3"), candidates)
	if best == "" {
		return "remove it"
	}
	return fmt.Sprintf("did you mean %q?", strings.ReplaceAll(best, "<n>", index))
}

// assign sets one value, adding an element to a list where its index is the
// next one.
func assign(col *collector, a assignment, c *Config) {
	v, path := reflect.ValueOf(c).Elem(), ""
	for _, s := range a.steps {
		if s.index < 0 {
			v, path = v.Field(s.f.index), join(path, s.f.name)
			continue
		}
		switch n := v.Len(); {
		case s.index > n:
			col.add(a.at, "", fmt.Sprintf("%s has %d entries", path, n), fmt.Sprintf("the next index is %d", n))
			return
		case s.index == n:
			v.Set(reflect.Append(v, newElement(v.Type().Elem())))
			col.set[joinIndex(path, n)] = a.at
		}
		v, path = v.Index(s.index), joinIndex(path, s.index)
	}
	f := a.steps[len(a.steps)-1].f
	for p := range col.set { // the places of a list's old elements
		if strings.HasPrefix(p, path+"[") {
			delete(col.set, p)
		}
	}
	col.set[path] = a.at
	delete(col.spoiled, path)
	if err := setText(v, a.value); err != nil {
		got := ""
		if !f.secret {
			got = fmt.Sprintf(", got %q", printable(a.value))
		}
		col.spoil(a.at, path, "wants "+article(f.kind())+got, "")
	}
}

// setText sets a scalar or a list of texts from one string.
func setText(v reflect.Value, s string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return err
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		v.SetInt(int64(i))
	case reflect.Float64:
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil {
			return err
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return errors.New("not finite")
		}
		v.SetFloat(f)
	default:
		var list []string
		for e := range strings.SplitSeq(s, ",") {
			if e = strings.TrimSpace(e); e != "" {
				list = append(list, e)
			}
		}
		v.Set(reflect.ValueOf(list))
	}
	return nil
}
