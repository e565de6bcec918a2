package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestVectors pins every field's form (docs/spec/wire.md).
func TestVectors(t *testing.T) {
	for _, c := range []struct {
		name string
		w    *Writer
		want string
	}{
		{"version", NewWriter(7), "07"},
		{"u8", new(Writer).Uint8(0xab), "ab"},
		{"u16", new(Writer).Uint16(0x0102), "0102"},
		{"u32", new(Writer).Uint32(0x01020304), "01020304"},
		{"u64", new(Writer).Uint64(0x0102030405060708), "0102030405060708"},
		{"true, false", new(Writer).Bool(true).Bool(false), "0100"},
		{"count", new(Writer).Count(258), "00000102"},
		{"fixed", new(Writer).Fixed([]byte{1, 2, 3}), "010203"},
		{"bytes", new(Writer).Var([]byte{1, 2, 3}), "00000003010203"},
		{"empty bytes", new(Writer).Var(nil), "00000000"},
		{"string", new(Writer).String("ab"), "000000026162"},
	} {
		if got := hex.EncodeToString(c.w.Bytes()); got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
}

func TestHashVectors(t *testing.T) {
	for _, c := range []struct {
		tag   string
		items [][]byte
		input string // what SHA-256 is taken of, written by hand
	}{
		{"t", nil, "0174" + "00000000"},
		{"t", [][]byte{nil}, "0174" + "00000001" + "0000000000000000"},
		{"tag", [][]byte{{1}, {2, 3}}, "03746167" + "00000002" + "000000000000000101" + "00000000000000020203"},
	} {
		b, err := hex.DecodeString(c.input)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := Hash(c.tag, c.items...), sha256.Sum256(b); got != want {
			t.Errorf("Hash(%q, %x) = %x, want %x", c.tag, c.items, got, want)
		}
	}
	for _, tag := range []string{"", strings.Repeat("t", 256)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a tag of %d bytes is taken", len(tag))
				}
			}()
			Hash(tag)
		}()
	}
}

// TestHashIsInjective: no other tag, and no other way to cut the same bytes into
// items, gives the same hash.
func TestHashIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
		cut := func(label string) [][]byte {
			var items [][]byte
			rest := all
			for len(rest) > 0 {
				n := rapid.IntRange(0, len(rest)).Draw(t, label)
				items, rest = append(items, rest[:n]), rest[n:]
			}
			return items
		}
		a, b := cut("a"), cut("b")
		same := len(a) == len(b)
		for i := 0; same && i < len(a); i++ {
			same = len(a[i]) == len(b[i])
		}
		if (Hash("t", a...) == Hash("t", b...)) != same {
			t.Fatalf("%x and %x", a, b)
		}
		if Hash("t", a...) == Hash("u", a...) {
			t.Fatal("the tag does not matter")
		}
	})
}

// field writes one random field and returns how it is read back and compared.
func field(t *rapid.T, w *Writer) func(r *Reader) bool {
	switch rapid.IntRange(0, 9).Draw(t, "field") {
	case 0:
		v := rapid.Uint8().Draw(t, "u8")
		w.Uint8(v)
		return func(r *Reader) bool { return r.Uint8("f") == v }
	case 1:
		v := rapid.Uint16().Draw(t, "u16")
		w.Uint16(v)
		return func(r *Reader) bool { return r.Uint16("f") == v }
	case 2:
		v := rapid.Uint32().Draw(t, "u32")
		w.Uint32(v)
		return func(r *Reader) bool { return r.Uint32("f") == v }
	case 3:
		v := rapid.Uint64().Draw(t, "u64")
		w.Uint64(v)
		return func(r *Reader) bool { return r.Uint64("f") == v }
	case 4:
		v := rapid.Bool().Draw(t, "bool")
		w.Bool(v)
		return func(r *Reader) bool { return r.Bool("f") == v }
	case 5:
		v := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
		w.Var(v)
		return func(r *Reader) bool { return bytes.Equal(r.Var("f", 40), v) }
	case 6:
		v := rapid.SliceOfN(rapid.Byte(), 5, 5).Draw(t, "fixed")
		w.Fixed(v)
		return func(r *Reader) bool { return bytes.Equal(r.Fixed("f", 5), v) }
	case 7:
		v := [3]byte(rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "into"))
		w.Fixed(v[:])
		return func(r *Reader) bool { var got [3]byte; r.Into("f", got[:]); return got == v }
	case 8:
		v := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,62}`).Draw(t, "name")
		w.String(v)
		return func(r *Reader) bool { return r.Name("f") == v }
	default:
		v := CleanText(rapid.String().Draw(t, "text"), 100)
		w.String(v)
		return func(r *Reader) bool { return r.Text("f", 100) == v }
	}
}

// TestRoundTrip: what is written is read back; one byte less or more is an error.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := NewWriter(3)
		var fields []func(*Reader) bool
		for range rapid.IntRange(1, 6).Draw(t, "fields") {
			fields = append(fields, field(t, w))
		}
		read := func(b []byte) (same bool, err error) {
			r := NewReader(b, 3)
			same = true
			for _, f := range fields {
				same = f(r) && same
			}
			return same, r.Done()
		}
		if same, err := read(w.Bytes()); !same || err != nil {
			t.Fatalf("not read back: %v", err)
		}
		if _, err := read(w.Bytes()[:len(w.Bytes())-1]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("one byte less: %v", err)
		}
		if _, err := read(append(w.Bytes(), 0)); !errors.Is(err, ErrTrailing) {
			t.Fatalf("one byte more: %v", err)
		}
	})
}

func TestReaderRefuses(t *testing.T) {
	big := make([]byte, MaxMessage+1)
	big[0] = 1
	for _, c := range []struct {
		name string
		b    []byte
		read func(*Reader)
		is   error
		want string
	}{
		{"no version", nil, func(*Reader) {}, ErrTruncated, "version: message ends early: 1 bytes wanted, 0 left"},
		{"another version", []byte{2}, func(*Reader) {}, nil, "version 2, want 1"},
		{"large message", big, func(*Reader) {}, ErrTooLong, "message of 4194305 bytes, at most 4194304"},
		{"bool", []byte{1, 2}, func(r *Reader) { r.Bool("flag") }, nil, "flag: byte 2 is not a boolean"},
		{"u16", []byte{1, 2}, func(r *Reader) { r.Uint16("n") }, ErrTruncated, "n: message ends early: 2 bytes wanted, 1 left"},
		{"above the bound", []byte{1, 0, 0, 0, 4, 1, 2, 3, 4}, func(r *Reader) { r.Var("v", 3) }, ErrTooLong, "v: 4 items, at most 3"},
		{"more than there is", []byte{1, 0, 0, 0, 4, 1, 2, 3}, func(r *Reader) { r.Var("v", 9) }, ErrTruncated, "v: message ends early: 4 items do not fit in 3 bytes"},
		{"a huge count", []byte{1, 255, 255, 255, 255}, func(r *Reader) { r.Count("c", 1<<32-1, 1<<20) }, ErrTruncated, "4294967295 items do not fit in 0 bytes"},
		{"items larger than the rest", []byte{1, 0, 0, 0, 2, 9, 9, 9}, func(r *Reader) { r.Count("c", 9, 2) }, ErrTruncated, "2 items do not fit in 3 bytes"},
		{"name", []byte{1, 0, 0, 0, 1, 'A'}, func(r *Reader) { r.Name("who") }, nil, `who: name "A": want 1 to 63`},
		{"long name", append([]byte{1, 0, 0, 0, 64}, bytes.Repeat([]byte("a"), 64)...), func(r *Reader) { r.Name("who") }, ErrTooLong, "who: 64 items, at most 63"},
		{"text", []byte{1, 0, 0, 0, 1, '\n'}, func(r *Reader) { r.Text("memo", 5) }, nil, "memo: text \"\\n\" holds the character U+000A"},
		{"rest above the bound", []byte{1, 7, 8, 9}, func(r *Reader) { r.Rest("tail", 2) }, ErrTooLong, "tail: 3 bytes, at most 2"},
		{"trailing", []byte{1, 9, 9}, func(r *Reader) { r.Uint8("n") }, ErrTrailing, "1 bytes after the end of the message"},
		{"the first error stays", []byte{1, 7, 7}, func(r *Reader) { r.Bool("first"); r.Uint64("second"); r.Failf("third") }, nil, "first: byte 7"},
		{"a rule of one's own", []byte{1, 7}, func(r *Reader) { r.Failf("n: %d is odd", r.Uint8("n")) }, nil, "n: 7 is odd"},
	} {
		r := NewReader(c.b, 1)
		c.read(r)
		if err := r.Done(); err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if r.Err() == nil {
			t.Errorf("%s: Err says nothing", c.name)
		}
	}
}

// TestAfterAnError: zero values, and nothing is read any more.
func TestAfterAnError(t *testing.T) {
	r := NewReader([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1)
	r.Bool("x")
	dst := []byte{5}
	r.Into("d", dst)
	if r.Uint8("a") != 0 || r.Uint16("b") != 0 || r.Uint32("c") != 0 || r.Uint64("d") != 0 || r.Bool("e") || r.Count("f", 9, 0) != 0 ||
		r.Var("g", 9) != nil || r.Fixed("h", 1) != nil || r.String("i", 9) != "" || r.Text("j", 9) != "" || r.Name("k") != "" || r.Rest("l", 9) != nil {
		t.Error("a reader that failed still reads")
	}
}

// TestResultsAreCopies: a decoded value does not change with the buffer.
func TestResultsAreCopies(t *testing.T) {
	b := NewWriter(1).Var([]byte{1, 2}).Fixed([]byte{3, 4}).Bytes()
	r := NewReader(append(b, 5, 6), 1)
	v, f, rest := r.Var("v", 9), r.Fixed("f", 2), r.Rest("rest", 2)
	clear(b)
	if !bytes.Equal(v, []byte{1, 2}) || !bytes.Equal(f, []byte{3, 4}) || !bytes.Equal(rest, []byte{5, 6}) || r.Done() != nil || r.Rest("more", 0) != nil {
		t.Errorf("%x, %x, %x, %v", v, f, rest, r.Err())
	}
	_ = append(v, 9)
	if !bytes.Equal(f, []byte{3, 4}) {
		t.Error("appending to one field changes another")
	}
}

func TestCountPanics(t *testing.T) {
	for _, n := range []int{-1, 1 << 32} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a count of %d is written", n)
				}
			}()
			new(Writer).Count(n)
		}()
	}
}

func TestCheckText(t *testing.T) {
	for _, c := range []struct {
		s    string
		want string
	}{
		{"", ""}, {"invoice 17 – für Zoë 👩‍🚀", ""}, {strings.Repeat("é", 50), ""},
		{strings.Repeat("é", 51), "102 bytes of text, at most 100"},
		{"\xff", "not valid UTF-8"}, {"a\x00b", "U+0000"}, {"a\nb", "U+000A"}, {"\x1b[31m", "U+001B"}, {"\x7f", "U+007F"}, {"\u0085", "U+0085"},
		{"\u202e", "U+202E"}, {"\u2066", "U+2066"}, {"\u200f", "U+200F"}, {"\u061c", "U+061C"}, {"\u2028", "U+2028"}, {"\u2029", "U+2029"},
	} {
		err := CheckText(c.s, 100)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.s, err, c.want)
		}
	}
}

func TestCleanText(t *testing.T) {
	for _, c := range []struct {
		s    string
		max  int
		want string
	}{
		{"fine", 10, "fine"}, {"a\nb\xffc\u202e", 40, "a\uFFFDb\uFFFDc\uFFFD"},
		{"0123456789", 10, "0123456789"}, {"0123456789a", 10, "0123456…"},
		{"ééééé", 9, "ééé…"}, {"ééééé", 8, "éé…"}, {"\n\n", 5, "…"}, {"abcd", 3, "…"},
	} {
		if got := CleanText(c.s, c.max); got != c.want {
			t.Errorf("CleanText(%q, %d) = %q, want %q", c.s, c.max, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s, max := string(rapid.SliceOf(rapid.Byte()).Draw(t, "s")), rapid.IntRange(3, 50).Draw(t, "max")
		if got := CleanText(s, max); CheckText(got, max) != nil {
			t.Fatalf("CleanText(%q, %d) = %q: %v", s, max, got, CheckText(got, max))
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, s := range []string{"a", "0", "alice", "vault-1", "a.b_c-d", strings.Repeat("a", 63)} {
		if err := CheckName(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "-a", ".a", "_a", "A", "a b", "é", "a\x00", "a/b", "a:b", strings.Repeat("a", 64)} {
		if err := CheckName(s); err == nil {
			t.Errorf("%q is a name", s)
		}
	}
}

// FuzzReader: no bytes make a reader panic, read past its end, or allocate more
// than it was handed.
func FuzzReader(f *testing.F) {
	f.Add(NewWriter(1).Var([]byte{1, 2}).String("ab").Count(2).Uint16(1).Uint16(2).Bool(true).Bytes(), []byte{4, 5, 6, 1, 1, 0})
	f.Fuzz(func(t *testing.T, b, script []byte) {
		r := NewReader(b, 1)
		w := NewWriter(1)
		for _, op := range script {
			switch op % 10 {
			case 0:
				w.Bool(r.Bool("x"))
			case 1:
				w.Uint16(r.Uint16("x"))
			case 2:
				w.Uint32(r.Uint32("x"))
			case 3:
				w.Uint64(r.Uint64("x"))
			case 4:
				w.Var(r.Var("x", 1<<30))
			case 5:
				w.String(r.Text("x", 64))
			case 6:
				w.Count(r.Count("x", 1<<30, 1))
			case 7:
				w.String(r.Name("x"))
			case 8:
				w.Fixed(r.Fixed("x", 3))
			default:
				w.Uint8(r.Uint8("x"))
			}
		}
		if r.Done() == nil && !bytes.Equal(w.Bytes(), b) {
			t.Fatalf("%x was read as %x", b, w.Bytes())
		}
	})
}
