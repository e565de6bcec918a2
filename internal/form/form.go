package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cofferhq/coffer/internal/wire"
)

// Bounds of what is read and told.
const (
	MaxSize   = 4 << 20 // bytes
	maxDepth  = 64
	maxErrors = 10
)

// Error is one thing that is wrong.
type Error struct {
	Line int    // counted from 1
	Path string // "rules[0].when.amountAtMost[1]"; empty for the whole
	Text string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Text)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Text)
}

// Errors is everything that is wrong, in the order in which it was found.
type Errors []*Error

func (e Errors) Error() string {
	var lines []string
	for _, x := range e {
		lines = append(lines, x.Error())
	}
	return strings.Join(lines, "\n")
}

// kind is what a JSON value is.
type kind string

const (
	null    kind = "null"
	boolean kind = "true or false"
	number  kind = "a number"
	text    kind = "a string"
	list    kind = "a list"
	object  kind = "an object"
	absent  kind = "" // reported already; answers with zero values
)

// Value is a JSON value with its place. Its methods return zero values after they
// have recorded what is wrong, so that a reader goes on and Err tells everything.
type Value struct {
	form    *state
	line    int
	path    string
	kind    kind
	scalar  string // of a number or a string
	truth   bool
	items   []*Value
	members []member
}

type member struct {
	name  string
	line  int
	value *Value
}

type state struct{ errors Errors }

// Parse reads one JSON value. The error is of type Errors.
func Parse(data []byte) (*Value, error) {
	fail := func(offset int64, format string, args ...any) (*Value, error) {
		return nil, Errors{{Line: lineAt(data, offset), Text: fmt.Sprintf(format, args...)}}
	}
	if len(data) > MaxSize {
		return fail(0, "%d bytes, at most %d", len(data), MaxSize)
	}
	if !utf8.Valid(data) {
		return fail(firstInvalid(data), "not UTF-8 text")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		offset := int64(len(data))
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			offset = syntax.Offset
		}
		return fail(offset, "not JSON: %v", err)
	}
	p := &parser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), form: new(state)}
	p.dec.UseNumber()
	v := p.value("", 1)
	if err := p.form.err(); err != nil {
		return nil, err
	}
	return v, nil
}

func firstInvalid(data []byte) int64 {
	for i := 0; i < len(data); {
		c, n := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && n == 1 {
			return int64(i)
		}
		i += n
	}
	return 0
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}

// parser reads JSON that was found well formed.
type parser struct {
	data  []byte
	dec   *json.Decoder
	form  *state
	seen  int64 // how far lines were counted
	lines int
	// failed stands for an error that cannot be: all was scanned before.
	failed bool
}

// token returns the next token with its line.
func (p *parser) token() (json.Token, int) {
	t, err := p.dec.Token()
	if err != nil {
		p.failed = true
		p.form.add(p.lines+1, "", "not JSON: %v", err)
		return nil, p.lines + 1
	}
	end := p.dec.InputOffset()
	p.lines += bytes.Count(p.data[p.seen:end], []byte("\n"))
	p.seen = end
	return t, p.lines + 1
}

func (p *parser) value(path string, depth int) *Value {
	t, line := p.token()
	v := &Value{form: p.form, line: line, path: path}
	switch t := t.(type) {
	case nil:
		v.kind = null
	case bool:
		v.kind, v.truth = boolean, t
	case json.Number:
		v.kind, v.scalar = number, t.String()
	case string:
		v.kind, v.scalar = text, t
	case json.Delim:
		if depth > maxDepth {
			v.Fail("nested deeper than %d levels", maxDepth)
			p.skip()
			return v
		}
		if t == '[' {
			p.list(v, depth)
		} else {
			p.object(v, depth)
		}
	}
	return v
}

// skip passes over what is left of a list or an object.
func (p *parser) skip() {
	for open := 1; open > 0 && !p.failed; {
		switch t, _ := p.token(); t {
		case json.Delim('['), json.Delim('{'):
			open++
		case json.Delim(']'), json.Delim('}'):
			open--
		}
	}
}

func (p *parser) list(v *Value, depth int) {
	v.kind = list
	for !p.failed && p.dec.More() {
		v.items = append(v.items, p.value(fmt.Sprintf("%s[%d]", v.path, len(v.items)), depth+1))
	}
	p.token()
}

func (p *parser) object(v *Value, depth int) {
	v.kind = object
	names := make(map[string]bool)
	for !p.failed && p.dec.More() {
		t, line := p.token()
		name, _ := t.(string)
		path := name
		if v.path != "" {
			path = v.path + "." + name
		}
		if names[name] {
			p.form.add(line, path, "this field stands here twice")
		}
		names[name] = true
		v.members = append(v.members, member{name, line, p.value(path, depth+1)})
	}
	p.token()
}

func (s *state) add(line int, path, format string, args ...any) {
	if len(s.errors) < maxErrors {
		s.errors = append(s.errors, &Error{line, wire.CleanText(path, 200), wire.CleanText(fmt.Sprintf(format, args...), 600)})
	}
}

func (s *state) err() error {
	if len(s.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(s.errors, func(a, b *Error) int { return a.Line - b.Line })
	return s.errors
}

// Err returns what was found wrong so far, of type Errors, or nil.
func (v *Value) Err() error { return v.form.err() }

// Fail records that v is wrong.
func (v *Value) Fail(format string, args ...any) { v.form.add(v.line, v.path, format, args...) }

// want checks the kind.
func (v *Value) want(k kind, what string) bool {
	if v.kind == k {
		return true
	}
	if v.kind != absent {
		v.Fail("this is %s, want %s", v.kind, what)
	}
	return false
}

// Fields checks that v is an object with no other fields than these.
func (v *Value) Fields(names ...string) {
	if !v.want(object, "an object with "+quoted(names)) {
		return
	}
	for _, m := range v.members {
		if !slices.Contains(names, m.name) {
			v.form.add(m.line, m.value.path, "unknown field, want %s%s", quoted(names), Suggest(m.name, names))
		}
	}
}

func quoted(names []string) string {
	var q []string
	for _, n := range names {
		q = append(q, strconv.Quote(n))
	}
	return strings.Join(q, ", ")
}

// Get returns a field that must be there.
func (v *Value) Get(name string) *Value {
	f, ok := v.Lookup(name)
	if !ok && v.kind == object {
		v.Fail("the field %q is missing", name)
	}
	return f
}

// Lookup returns a field that may be missing.
func (v *Value) Lookup(name string) (*Value, bool) {
	for _, m := range v.members {
		if m.name == name {
			return m.value, true
		}
	}
	return &Value{form: v.form, line: v.line, path: v.path}, false
}

// Only returns the one field of an object that has exactly one, with its name.
func (v *Value) Only(what string) (string, *Value) {
	if v.want(object, "an object with one field, "+what) {
		if len(v.members) == 1 {
			return v.members[0].name, v.members[0].value
		}
		v.Fail("%d fields, want exactly one, %s", len(v.members), what)
	}
	return "", &Value{form: v.form, line: v.line, path: v.path}
}

// Each calls f for every field of an object whose names are free.
func (v *Value) Each(what string, f func(name string, field *Value)) {
	if v.want(object, what) {
		for _, m := range v.members {
			f(m.name, m.value)
		}
	}
}

// Items returns the values of a list.
func (v *Value) Items(what string) []*Value {
	v.want(list, what)
	return v.items
}

// Is reports whether v is the string s.
func (v *Value) Is(s string) bool { return v.kind == text && v.scalar == s }

// IsText reports whether v is a string.
func (v *Value) IsText() bool { return v.kind == text }

// Absent reports whether v stands for something that was reported missing.
func (v *Value) Absent() bool { return v.kind == absent }

// Text returns a string.
func (v *Value) Text(what string) string {
	v.want(text, what)
	if v.kind != text {
		return ""
	}
	return v.scalar
}

// Name returns a name (wire.CheckName).
func (v *Value) Name(what string) string {
	s := v.Text(what)
	if v.kind == text {
		if err := wire.CheckName(s); err != nil {
			v.Fail("%v", err)
		}
	}
	return s
}

// Choice returns one of the choices.
func (v *Value) Choice(choices ...string) string {
	s := v.Text("one of " + quoted(choices))
	if v.kind == text && !slices.Contains(choices, s) {
		v.Fail("%q is not one of %s%s", s, quoted(choices), Suggest(s, choices))
	}
	return s
}

// Int returns a whole number between min and max.
func (v *Value) Int(min, max int) int {
	what := fmt.Sprintf("a whole number from %d to %d", min, max)
	if !v.want(number, what) {
		return 0
	}
	n, err := strconv.Atoi(v.scalar)
	if err != nil || n < min || n > max {
		v.Fail("%s, want %s", v.scalar, what)
		return 0
	}
	return n
}

// Number returns a number as it is written, or a string, for numbers that Int
// cannot hold; quoted says which of the two. It is "" when v is neither, or an
// empty string.
func (v *Value) Number(what string) (s string, quoted bool) {
	if v.kind == number {
		return v.scalar, false
	}
	if v.want(text, what) && v.scalar == "" {
		v.Fail("it is empty, want %s", what)
	}
	return v.scalar, true
}

// Bool returns true or false.
func (v *Value) Bool() bool {
	v.want(boolean, "true or false")
	return v.truth
}
