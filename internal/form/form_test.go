package form

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// read reads a small form that uses every method.
func read(data string) error {
	v, err := Parse([]byte(data))
	if err != nil {
		return err
	}
	v.Fields("name", "size", "on", "kind", "tags", "books", "only")
	v.Get("name").Name("a name")
	v.Get("size").Int(1, 10)
	if on, ok := v.Lookup("on"); ok {
		on.Bool()
	}
	v.Get("kind").Choice("person", "service")
	for _, tag := range v.Get("tags").Items("a list of tags") {
		tag.Text("a tag")
	}
	v.Get("books").Each("an object of books", func(name string, b *Value) { b.Fields("title"); b.Get("title").Text("a title") })
	if name, f := v.Get("only").Only("a or b"); !f.Absent() {
		f.Fail("it is %s", name)
	}
	return v.Err()
}

const good = `{
  "name": "a-1",
  "size": 10,
  "on": true,
  "kind": "person",
  "tags": ["x", "y"],
  "books": {"A": {"title": "t"}},
  "only": []
}`

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           []string
	}{
		{"only", `[]`, `{"a": 1}`, []string{"line 8: only.a: it is a"}},
		{"two of one", `[]`, `{"a": 1, "b": 2}`, []string{"line 8: only: 2 fields, want exactly one, a or b"}},
		{"none of one", `[]`, `{}`, []string{"line 8: only: 0 fields, want exactly one, a or b"}},
		{"name", `a-1`, `A`, []string{`line 2: name: name "A": want 1 to 63`}},
		{"name that is none", `"a-1"`, `7`, []string{"line 2: name: this is a number, want a name"}},
		{"too large", `10`, `11`, []string{"line 3: size: 11, want a whole number from 1 to 10"}},
		{"too small", `10`, `0`, []string{"line 3: size: 0, want"}},
		{"huge", `10`, `1e99`, []string{"line 3: size: 1e99, want"}},
		{"fraction", `10`, `1.0`, []string{"line 3: size: 1.0, want"}},
		{"text for a number", `10`, `"10"`, []string{"line 3: size: this is a string, want a whole number"}},
		{"bool", `true`, `1`, []string{"line 4: on: this is a number, want true or false"}},
		{"null", `true`, `null`, []string{"line 4: on: this is null, want true or false"}},
		{"choice", `person`, `persn`, []string{`line 5: kind: "persn" is not one of "person", "service"; did you mean "person"?`}},
		{"choice far off", `person`, `x`, []string{`line 5: kind: "x" is not one of "person", "service"`}},
		{"list", `["x", "y"]`, `{"x": "y"}`, []string{"line 6: tags: this is an object, want a list of tags"}},
		{"item", `"y"`, `["y"]`, []string{"line 6: tags[1]: this is a list, want a tag"}},
		{"object", `{"A": {"title": "t"}}`, `[]`, []string{"line 7: books: this is a list, want an object of books"}},
		{"inner", `"title"`, `"titel"`, []string{`line 7: books.A.titel: unknown field, want "title"; did you mean "title"?`, `line 7: books.A: the field "title" is missing`}},
		{"missing", `"size": 10,`, ``, []string{`line 1: the field "size" is missing`}},
		{"twice", `"size": 10,`, `"size": 10, "size": 10,`, []string{"line 3: size: this field stands here twice"}},
		{"control characters in the path", `"A"`, `"\u001b[31m"`, nil},
		{"syntax", `"size": 10,`, `"size": 10`, []string{`line 4: not JSON: invalid character '"' after object key:value pair`}},
		{"not JSON", good, `size = 10`, []string{"line 1: not JSON: invalid character 's'"}},
		{"comments", `10,`, `10, // ten`, []string{"line 3: not JSON: invalid character '/'"}},
		{"nothing", good, "", []string{"line 1: not JSON: unexpected end of JSON input"}},
		{"cut", "\n}", "", []string{"line 8: not JSON: unexpected end"}},
		{"UTF-8", `"x"`, "\"\xc3\x28\"", []string{"line 6: not UTF-8"}},
		{"deep", `"y"`, strings.Repeat("[", 80) + strings.Repeat("]", 80), []string{"nested deeper than 64 levels"}},
		{"deep, with more behind it", `"y"`, strings.Repeat("[", 80) + `{"a": [1, {}, null]}` + strings.Repeat("]", 80), []string{"nested deeper than 64 levels"}},
		{"a list for all", good, "[1]", []string{`line 1: this is a list, want an object with "name"`}},
	} {
		err := read(strings.Replace(good, c.from, c.to, 1))
		if len(c.want) > 0 && err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s\n got  %v\n want %s", c.name, err, w)
			}
		}
		var list Errors
		if err != nil && !errors.As(err, &list) {
			t.Errorf("%s: %T is not Errors", c.name, err)
		}
	}
	if err := read(good); err != nil && !strings.Contains(err.Error(), "only") || err == nil {
		t.Errorf("the good form: %v", err)
	}
}

func TestAllErrorsInOrder(t *testing.T) {
	err := read(strings.NewReplacer("a-1", "A", "10", "11", "person", "pilot", `"x"`, "1").Replace(good))
	var list Errors
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	var lines []int
	for _, e := range list {
		lines = append(lines, e.Line)
	}
	if fmt.Sprint(lines) != "[2 3 5 6 8]" {
		t.Errorf("errors in lines %v: %v", lines, err)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	err := read(strings.Replace(good, `["x", "y"]`, "["+strings.Repeat("1, ", 1000)+"1]", 1))
	var list Errors
	if !errors.As(err, &list) || len(list) != maxErrors {
		t.Errorf("%d errors", len(list))
	}
	if err := read(strings.Replace(good, "person", strings.Repeat("x", 5000), 1)); len(err.Error()) > 2000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	if _, err := Parse([]byte(strings.Repeat(" ", MaxSize+1))); err == nil || !strings.Contains(err.Error(), "at most 4194304") {
		t.Errorf("too much: %v", err)
	}
}

func TestValues(t *testing.T) {
	v, err := Parse([]byte(`{"s": "a\u00e9\n", "n": -3, "b": false, "l": []}`))
	if err != nil {
		t.Fatal(err)
	}
	if s := v.Get("s"); !s.IsText() || s.Text("x") != "aé\n" || !s.Is("aé\n") || s.Is("a") {
		t.Error("the string is wrong")
	}
	if v.Get("n").Int(-5, 5) != -3 || v.Get("b").Bool() || len(v.Get("l").Items("x")) != 0 || v.Get("n").IsText() {
		t.Error("a value is wrong")
	}
	if v.Err() != nil {
		t.Error(v.Err())
	}
	// What is absent answers with zero values and is told once.
	gone := v.Get("gone")
	if !gone.Absent() || gone.Text("x") != "" || gone.Int(1, 2) != 0 || gone.Bool() || gone.Items("x") != nil || gone.Name("x") != "" || gone.Choice("a") != "" || !gone.Get("y").Absent() {
		t.Error("an absent value has a value")
	}
	gone.Fields("z")
	gone.Each("x", func(string, *Value) { t.Error("an absent value has fields") })
	if name, f := gone.Only("x"); name != "" || !f.Absent() {
		t.Error("an absent value has a field")
	}
	if got := v.Err().Error(); got != `line 1: the field "gone" is missing` {
		t.Errorf("got %s", got)
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"amountAtMost", "amountAtLeast", "any", "all"}
	for _, c := range []struct{ got, want string }{
		{"amountAtMots", `; did you mean "amountAtMost"?`},
		{"amountatmost", `; did you mean "amountAtMost"?`},
		{"amountAtLeats", `; did you mean "amountAtLeast"?`},
		{"al", `; did you mean "all"?`},
		{"zebra", ""}, {"", ""}, {"x", ""}, {strings.Repeat("a", 100), ""},
	} {
		if got := Suggest(c.got, names); got != c.want {
			t.Errorf("Suggest(%q) = %q, want %q", c.got, got, c.want)
		}
	}
}

func TestWrite(t *testing.T) {
	v := Object{
		{"empty", Object{}}, {"none", []any{}}, {"text", "a \"b\" <c> é\n"}, {"n", 3}, {"yes", true},
		{"short", Strings([]string{"a", "b"})}, {"long", Strings([]string{strings.Repeat("x", 60), strings.Repeat("y", 60)})},
		{"deep", Object{{"a", Object{{"b", Object{{"c", "d"}}}}}}},
	}
	want := `{
  "empty": {},
  "none": [],
  "text": "a \"b\" <c> é\n",
  "n": 3,
  "yes": true,
  "short": ["a", "b"],
  "long": [
    "` + strings.Repeat("x", 60) + `",
    "` + strings.Repeat("y", 60) + `"
  ],
  "deep": {
    "a": {"b": {"c": "d"}}
  }
}
`
	if got := string(Write(v)); got != want {
		t.Errorf("written as\n%s", got)
	}
	if !json.Valid(Write(v)) {
		t.Error("not JSON")
	}
}

// FuzzParse: no bytes make a reader panic, and JSON that encoding/json refuses is
// refused here.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`[[[[{"a": [1, null, true, "x"]}]]]]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := read(string(b)); err == nil {
			t.Fatal("read always fails at the field only")
		}
		if _, err := Parse(b); err == nil && !json.Valid(b) {
			t.Fatal("not JSON")
		}
	})
}
