package form

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Object is a JSON object whose fields keep their order.
type Object []Field

// Field is one field of an Object. Value is an Object, a []any, a string, a bool or
// an int.
type Field struct {
	Name  string
	Value any
}

// Strings makes a list.
func Strings(list []string) []any {
	out := make([]any, 0, len(list))
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

// Write writes v as JSON for people: indented, and what is short on one line.
func Write(v any) []byte { return append([]byte(format(v, "")), '\n') }

const lineWidth = 120

func format(v any, indent string) string {
	if s := compact(v); len(indent)+len(s) <= lineWidth && depth(v) <= 2 {
		return s
	}
	inner := indent + "  "
	var parts []string
	switch v := v.(type) {
	case Object:
		for _, f := range v {
			parts = append(parts, inner+quote(f.Name)+": "+format(f.Value, inner))
		}
		return "{\n" + strings.Join(parts, ",\n") + "\n" + indent + "}"
	case []any:
		for _, x := range v {
			parts = append(parts, inner+format(x, inner))
		}
		return "[\n" + strings.Join(parts, ",\n") + "\n" + indent + "]"
	}
	return compact(v)
}

// depth counts how deep objects stand in objects. More than two read badly on one
// line.
func depth(v any) int {
	n := 0
	switch v := v.(type) {
	case Object:
		for _, f := range v {
			n = max(n, depth(f.Value))
		}
		n++
	case []any:
		for _, x := range v {
			n = max(n, depth(x))
		}
	}
	return n
}

func compact(v any) string {
	var parts []string
	switch v := v.(type) {
	case Object:
		for _, f := range v {
			parts = append(parts, quote(f.Name)+": "+compact(f.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		for _, x := range v {
			parts = append(parts, compact(x))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		return quote(v)
	}
	return fmt.Sprint(v)
}

// quote writes a string without the escapes of HTML.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}
