package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// The secret of every test, and all the forms in which it must not be seen.
const plain = "hunter2!"

// Pairs of bytes, since one alone could be part of an address.
var traces = []string{
	plain, "hunter", "68756e74657232", "68756E74657232", "68 75 6e", "68 75 6E", "0x68 0x75", "0x68, 0x75", "aHVudGVyMiE", // text, hex, base64
	"104 117 110", "104, 117", "104,117", "150 165", "0150 0165", "0o150", "1101000 1110101", "U+0068", // %v, %d, %o, %O, %b, %U of the bytes
}

// TestTraces: a slice of the same bytes is caught by every verb.
func TestTraces(t *testing.T) {
	for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
		if got := fmt.Sprintf("%"+string(verb), struct{ b []byte }{[]byte(plain)}); leaks(got) == "" && !strings.ContainsRune("TtceEfFgGpw", verb) {
			t.Errorf("%%%c prints %s, and that goes unseen", verb, got)
		}
	}
}

func leaks(s string) string {
	for _, x := range traces {
		if strings.Contains(s, x) {
			return x
		}
	}
	return ""
}

type exported struct{ Key Bytes }

type unexported struct {
	name string
	key  Bytes
}

type nested struct {
	inner *unexported
	any   any
}

// holders are all the ways in which a program may come to print a secret.
func holders() map[string]any {
	s := New([]byte(plain))
	u := unexported{"n", s}
	return map[string]any{
		"value": s, "pointer": &s, "slice": []Bytes{s}, "array": [1]Bytes{s}, "map": map[string]Bytes{"k": s}, "pointer slice": []*Bytes{&s},
		"exported field": exported{s}, "pointer to exported field": &exported{s},
		"unexported field": u, "pointer to unexported field": &u, "slice of structs": []unexported{u},
		"map of structs": map[string]unexported{"k": u}, "nested": nested{&u, s}, "interface": any(s), "map key": map[any]int{s: 1},
	}
}

// TestNoVerbPrints: every verb, with and without flags, of every holder.
func TestNoVerbPrints(t *testing.T) {
	const verbs = "vTtbcdoOqxXUeEfFgGspw"
	for name, h := range holders() {
		for _, verb := range verbs {
			for _, flags := range []string{"", "+", "#", " ", "0", "-", "20", ".5", "#+", "+20.3"} {
				format := "%" + flags + string(verb)
				if got := fmt.Sprintf(format, h); leaks(got) != "" {
					t.Errorf("%s of a %s shows %q: %s", format, name, leaks(got), got)
				}
			}
		}
		for _, got := range []string{fmt.Sprint(h), fmt.Sprintln(h), fmt.Errorf("x: %v", h).Error()} {
			if leaks(got) != "" {
				t.Errorf("printing a %s shows %q: %s", name, leaks(got), got)
			}
		}
	}
	// What Format answers, so that the test above cannot pass by printing nothing.
	s := New([]byte(plain))
	for _, got := range []string{fmt.Sprintf("%v", s), fmt.Sprintf("%x", s), fmt.Sprintf("%#v", []Bytes{s})[len("[]secret.Bytes{") : len("[]secret.Bytes{")+len(redacted)], s.String(), s.GoString()} {
		if got != redacted {
			t.Errorf("got %q, want %q", got, redacted)
		}
	}
}

// TestEncodersRefuse: whatever would carry the bytes away fails, and writes none
// of them before it fails.
func TestEncodersRefuse(t *testing.T) {
	s := New([]byte(plain))
	for name, encode := range map[string]func(any, io.Writer) error{
		"json": func(v any, w io.Writer) error { return json.NewEncoder(w).Encode(v) },
		"gob":  func(v any, w io.Writer) error { return gob.NewEncoder(w).Encode(v) },
		"xml":  func(v any, w io.Writer) error { return xml.NewEncoder(w).Encode(v) },
	} {
		for what, v := range map[string]any{"value": s, "pointer": &s, "field": exported{s}, "slice": []Bytes{s}} {
			var out bytes.Buffer
			if err := encode(v, &out); err == nil {
				t.Errorf("%s encodes a %s", name, what)
			}
			if leaks(out.String()) != "" {
				t.Errorf("%s of a %s shows %q", name, what, leaks(out.String()))
			}
		}
	}
	for name, encode := range map[string]func() ([]byte, error){"text": s.MarshalText, "json": s.MarshalJSON, "binary": s.MarshalBinary, "gob": s.GobEncode} {
		if b, err := encode(); b != nil || !errors.Is(err, errSecret) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, err := json.Marshal(map[string]any{"k": unexported{"n", s}}); err != nil || leaks(string(b)) != "" {
		t.Errorf("json of an unexported field: %s, %v", b, err)
	}
}

func TestLoggersDoNotPrint(t *testing.T) {
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		for what, h := range holders() {
			var out bytes.Buffer
			slog.New(handler(&out)).Info("message", "secret", h, slog.Group("g", "s", h))
			if out.Len() == 0 || leaks(out.String()) != "" {
				t.Errorf("%s log of a %s: %s", name, what, out.String())
			}
		}
	}
}

// TestPanicsDoNotPrint: a panic prints its value.
func TestPanicsDoNotPrint(t *testing.T) {
	for what, h := range holders() {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); leaks(got) != "" {
					t.Errorf("panic with a %s: %s", what, got)
				}
			}()
			panic(h)
		}()
	}
}

// TestBytesHoldsNoSlice: the reason why %v of a struct with an unexported Bytes is
// safe: fmt does not call Format there, and prints a pointer.
func TestBytesHoldsNoSlice(t *testing.T) {
	if f := reflect.TypeFor[Bytes]().Field(0); f.Type.Kind() != reflect.Pointer {
		t.Errorf("Bytes holds a %v: %%v of an unexported field would print it", f.Type)
	}
}

func TestNewWipesItsArgument(t *testing.T) {
	b := []byte(plain)
	s := New(b)
	if !bytes.Equal(b, make([]byte, len(plain))) {
		t.Errorf("the argument still holds %q", b)
	}
	if string(s.Reveal()) != plain || s.Len() != len(plain) {
		t.Errorf("the secret is %q", s.Reveal())
	}
}

func TestDestroy(t *testing.T) {
	s := New([]byte(plain))
	inside := s.Reveal()
	copied := s // a copy of the handle, not of the secret
	s.Destroy()
	if !bytes.Equal(inside, make([]byte, len(plain))) {
		t.Errorf("the memory still holds %q", inside)
	}
	if s.Reveal() != nil || s.Len() != 0 || copied.Reveal() != nil {
		t.Error("a destroyed secret can be revealed")
	}
	s.Destroy()
	Bytes{}.Destroy()
	if (Bytes{}).Len() != 0 || (Bytes{}).Reveal() != nil {
		t.Error("the zero value holds something")
	}
}

func TestClone(t *testing.T) {
	s := New([]byte(plain))
	c := s.Clone()
	s.Destroy()
	if string(c.Reveal()) != plain {
		t.Error("destroying a secret destroyed its clone")
	}
	c.Reveal()[0] ^= 1
	if d := c.Clone(); !d.Equal(c) {
		t.Error("a clone differs")
	}
}

func TestEqual(t *testing.T) {
	a := New([]byte(plain))
	for _, c := range []struct {
		b    Bytes
		want bool
	}{
		{New([]byte(plain)), true}, {a, true}, {New([]byte("hunter2?")), false}, {New([]byte("hunter2")), false}, {New(nil), false}, {Bytes{}, false},
	} {
		if a.Equal(c.b) != c.want || c.b.Equal(a) != c.want {
			t.Errorf("Equal is not %v", c.want)
		}
	}
}

func TestRandom(t *testing.T) {
	s, err := Random(strings.NewReader(plain+"rest"), len(plain))
	if err != nil || string(s.Reveal()) != plain {
		t.Errorf("%q, %v", s.Reveal(), err)
	}
	if s, err := Random(strings.NewReader("short"), 8); err == nil || s.Reveal() != nil {
		t.Error("a short read makes a secret")
	}
	broken := errors.New("broken")
	if _, err := Random(iotest.ErrReader(broken), 8); !errors.Is(err, broken) {
		t.Errorf("%v does not wrap the reader's error", err)
	}
}

func TestWipe(t *testing.T) {
	b := []byte(plain)
	Wipe(b)
	if !bytes.Equal(b, make([]byte, len(plain))) {
		t.Errorf("%q is left", b)
	}
}
