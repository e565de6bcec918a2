package source

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/wire"
)

// value is a node of the file with its place. Its methods return zero values after
// they have recorded what is wrong, so that a reader goes on and tells everything.
// A nil node is one that was reported missing.
type value struct {
	*reports
	node *yaml.Node
	at   *yaml.Node // where to point at
	path string
}

// kind names what a node is.
func (v *value) kind() string {
	switch {
	case v.node == nil:
		return ""
	case v.node.Kind == yaml.MappingNode:
		return "a mapping"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch v.node.Tag {
	case "!!str", "!!timestamp":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "of the kind " + v.node.Tag
}

func (v *value) fail(format string, args ...any) {
	v.add(v.at.Line, v.at.Column, v.path, format, args...)
}

func (v *value) want(kind, what string) bool {
	k := v.kind()
	if k == kind {
		return true
	}
	if k != "" {
		v.fail("this is %s, want %s", k, what)
	}
	return false
}

func (v *value) child(n *yaml.Node, path string) *value {
	return &value{reports: v.reports, node: n, at: n, path: path}
}

func (v *value) fieldPath(name string) string {
	if v.path == "" {
		return name
	}
	return v.path + "." + name
}

// fields checks that v is a mapping with no other fields than these.
func (v *value) fields(names ...string) {
	if !v.want("a mapping", "a mapping with "+strings.Join(names, ", ")) {
		return
	}
	for i := 0; i < len(v.node.Content); i += 2 {
		if k := v.node.Content[i]; !slices.Contains(names, k.Value) {
			v.add(k.Line, k.Column, v.fieldPath(k.Value), "unknown field, want one of %s%s", strings.Join(names, ", "), form.Suggest(k.Value, names))
		}
	}
}

// lookup returns a field that may be missing.
func (v *value) lookup(name string) (*value, bool) {
	if v.node != nil && v.node.Kind == yaml.MappingNode {
		for i := 0; i < len(v.node.Content); i += 2 {
			if v.node.Content[i].Value == name {
				return v.child(v.node.Content[i+1], v.fieldPath(name)), true
			}
		}
	}
	return &value{reports: v.reports, at: v.at, path: v.fieldPath(name)}, false
}

// get returns a field that must be there.
func (v *value) get(name string) *value {
	f, ok := v.lookup(name)
	if !ok && v.node != nil && v.node.Kind == yaml.MappingNode {
		v.fail("the field %s is missing", name)
	}
	return f
}

// each calls f for every field of a mapping whose names are free.
func (v *value) each(what string, f func(name string, key, field *value)) {
	if v.want("a mapping", what) {
		for i := 0; i < len(v.node.Content); i += 2 {
			k := v.node.Content[i]
			path := v.fieldPath(k.Value)
			f(k.Value, v.child(k, path), v.child(v.node.Content[i+1], path))
		}
	}
}

// items returns the values of a list. Items that have a name are told by it.
func (v *value) items(what string) []*value {
	if !v.want("a list", what) {
		return nil
	}
	var out []*value
	for i, n := range v.node.Content {
		c := v.child(n, fmt.Sprintf("%s[%d]", v.path, i))
		if name, ok := c.lookup("name"); ok && name.isText() {
			c.path += " (" + wire.CleanText(name.node.Value, 64) + ")"
		}
		out = append(out, c)
	}
	return out
}

func (v *value) isText() bool    { return v.kind() == "text" }
func (v *value) isMapping() bool { return v.kind() == "a mapping" }

// text returns a string.
func (v *value) text(what string) string {
	if !v.want("text", what) {
		return ""
	}
	return v.node.Value
}

// name returns a name (wire.CheckName).
func (v *value) name(what string) string {
	s := v.text(what)
	if v.isText() {
		if err := wire.CheckName(s); err != nil {
			v.fail("%v", err)
		}
	}
	return s
}

// choice returns one of the choices.
func (v *value) choice(choices ...string) string {
	what := "one of " + strings.Join(choices, ", ")
	s := v.text(what)
	if v.isText() && !slices.Contains(choices, s) {
		v.fail("%q is not %s%s", s, what, form.Suggest(s, choices))
		return ""
	}
	return s
}

// integer returns a whole number between min and max, in plain digits.
func (v *value) integer(min, max int) int {
	what := fmt.Sprintf("a whole number from %d to %d", min, max)
	if !v.want("a number", what) {
		return 0
	}
	n, err := strconv.Atoi(v.node.Value)
	if err != nil || n < min || n > max || strconv.Itoa(n) != v.node.Value {
		v.fail("%s, want %s", v.node.Value, what)
		return 0
	}
	return n
}

// boolean returns true or false.
func (v *value) boolean() bool {
	return v.want("true or false", "true or false") && strings.EqualFold(v.node.Value, "true")
}

// failure is where an error of a library points to, without its words around it.
func failure(err error) (line, column int, text string) {
	var one *yaml.LoadError
	if e, ok := err.(*yaml.LoadError); ok {
		one = e
	} else if e, ok := err.(*yaml.LoadErrors); ok && len(e.Errors) > 0 {
		one = e.Errors[0]
	} else {
		return 1, 1, err.Error()
	}
	line, column = max(one.Mark.Line, 1), max(one.Mark.Column, 1)
	text = one.Message
	if text == "" {
		text = one.Unwrap().Error()
	}
	return line, column, strings.TrimPrefix(text, "yaml: ")
}
