package evm

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

// encode is the ABI's encoding of a decoded value, written from its definition:
// heads, then tails.
func encode(v *abiValue) []byte {
	word := func(n int) []byte {
		a := amount(uint64(n))
		b := a.Bytes32()
		return b[:]
	}
	switch v.typ.kind {
	case abiBytes, abiString:
		return append(append(word(len(v.data)), v.data...), make([]byte, (32-len(v.data)%32)%32)...)
	case abiList, abiArray, abiTuple:
		var head, tail []byte
		at := 0
		for i := range v.items {
			if v.items[i].typ.dynamic {
				at += 32
			} else {
				at += len(encode(&v.items[i]))
			}
		}
		for i := range v.items {
			if b := encode(&v.items[i]); v.items[i].typ.dynamic {
				head = append(head, word(at+len(tail))...)
				tail = append(tail, b...)
			} else {
				head = append(head, b...)
			}
		}
		if v.typ.kind == abiList {
			head = append(word(len(v.items)), head...)
		}
		return append(head, tail...)
	}
	return v.word[:]
}

// value makes a value of a type out of Go's: uint64, bool, string, Address,
// []byte (of bytes and bytesN), []any (of lists and tuples).
func value(t testing.TB, typ *abiType, x any) abiValue {
	t.Helper()
	v := abiValue{typ: typ}
	switch x := x.(type) {
	case int:
		a := amount(uint64(x))
		v.word = a.Bytes32()
	case chain.Amount:
		v.word = x.Bytes32()
	case bool:
		if x {
			v.word[31] = 1
		}
	case Address:
		copy(v.word[12:], x[:])
	case string:
		v.data = []byte(x)
	case []byte:
		v.data = x
		if typ.kind == abiFixedBytes {
			copy(v.word[:], x)
		}
	case []any:
		for i := range x {
			item := typ.item
			if typ.kind == abiTuple {
				item = typ.fields[i].typ
			}
			v.items = append(v.items, value(t, item, x[i]))
		}
	default:
		t.Fatalf("no value of %T", x)
	}
	return v
}

// invoke is the data of a call.
func invoke(t testing.TB, signature string, args ...any) []byte {
	t.Helper()
	m, err := parseMethod(signature)
	if err != nil {
		t.Fatal(err)
	}
	if len(args) != len(m.params.fields) {
		t.Fatalf("%d arguments of %s", len(args), signature)
	}
	v := value(t, m.params, append([]any{}, args...))
	return append(m.selector[:], encode(&v)...)
}

func TestParseMethod(t *testing.T) {
	for in, want := range map[string]string{
		"deposit()":                                                    "deposit()",
		"transfer(address to,uint256 amount)":                          "transfer(address,uint256)",
		"transfer(address,uint256)":                                    "transfer(address,uint256)",
		"f(bytes1,bytes32,int8,uint248,bool[3])":                       "f(bytes1,bytes32,int8,uint248,bool[3])",
		"f((address target,bool allowFailure,bytes callData)[] calls)": "f((address,bool,bytes)[])",
		"f(string[2][] a,((uint8 x) y)[1022] z)":                       "f(string[2][],((uint8))[1022])",
		"$_f0($)":                                                      "",
	} {
		m, err := parseMethod(in)
		if want == "" {
			if err == nil {
				t.Errorf("%s was accepted", in)
			}
			continue
		}
		if err != nil || m.name != want {
			t.Errorf("%s is %v, %v, want %s", in, m, err, want)
		}
	}
	m, err := parseMethod("transfer(address to,uint256 amount)")
	if err != nil || hex.EncodeToString(m.selector[:]) != "a9059cbb" {
		t.Errorf("selector %x, %v", m.selector, err)
	}
}

func TestParseMethodRefuses(t *testing.T) {
	deep := "f(" + strings.Repeat("(", 9) + "bool" + strings.Repeat(")", 10)
	if _, err := parseMethod("f(" + strings.Repeat("(", 8) + "bool" + strings.Repeat(")", 9)); err != nil {
		t.Errorf("depth 8: %v", err)
	}
	for in, want := range map[string]string{
		"":                        "want a name and the types",
		"1f()":                    "want a name and the types",
		"f":                       "want the types in parentheses",
		"f(":                      "want one of address",
		"f(address":               "want a comma or the closing",
		"f(address,)":             "want one of address",
		"f(address, bool)":        "want one of address",
		"f(address  a)":           "want a name after the space",
		"f(address a b)":          "want a comma or the closing",
		"f() ":                    "after the parameters",
		"f()(bool)":               "after the parameters",
		"f(uint)":                 `type "uint": want one of`,
		"f(int)":                  `type "int"`,
		"f(uint7)":                `type "uint7"`,
		"f(uint264)":              `type "uint264"`,
		"f(uint08)":               `type "uint08"`,
		"f(uint0)":                `type "uint0"`,
		"f(bytes0)":               `type "bytes0"`,
		"f(bytes33)":              `type "bytes33"`,
		"f(fixed128x18)":          `type "fixed128x18"`,
		"f(function)":             `type "function"`,
		"f(())":                   "want one of address",
		"f(bool[0])":              "want 1 to 1024",
		"f(bool[01])":             "want 1 to 1024",
		"f(bool[1025])":           "want 1 to 1024",
		"f(bool[-1])":             "want 1 to 1024",
		"f(bool[)":                "want a closing bracket",
		"f(bool[1024][2])":        "2048 words and 2048 values, at most 1024",
		"f(bool[1024],bool[1])":   "1025 words and 1025 values, at most 1024",
		"f(bool a,uint8 a)":       "two parameters are called a",
		deep:                      "nested deeper than 8",
		"f(bool[][][][][][][][])": "nested deeper than 8",
		"f(" + strings.Repeat("bool,", 60) + "bool)":        "bytes without names, at most 256",
		"f(bool " + strings.Repeat("a", 65) + ")":           "want a comma or the closing",
		"f(bool " + strings.Repeat("a", maxSignature) + ")": "1032 bytes, at most 1024",
	} {
		if _, err := parseMethod(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", in, err, want)
		}
	}
}

func TestCheckMethod(t *testing.T) {
	const here = "eip155:1:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
	for _, good := range []chain.Method{{Contract: here, Signature: "multicall(bytes[] data)"}, {Signature: "swap(bool)"}} {
		if err := CheckMethod(&good); err != nil {
			t.Error(err)
		}
	}
	for want, bad := range map[string]chain.Method{
		"want it with its checksum":   {Contract: strings.ToLower(here), Signature: "f()"},
		"want one of address":         {Contract: here, Signature: "f(uint)"},
		"declare it for one contract": {Signature: "multicall(bytes[] calls)"},
	} {
		if err := CheckMethod(&bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := parseMethod("f(uint)"); err == nil {
		t.Error("f(uint) has a name")
	}
}

// everything has every kind of type, at every place.
const everything = "f(uint8 a,(string s,(int16 i,bytes4 b) p,bytes[2] c)[] list,bool[2] flags,bytes raw,address,uint256[][1] deep)"

func everyValue(t testing.TB) (*method, *abiValue) {
	m, err := parseMethod(everything)
	if err != nil {
		t.Fatal(err)
	}
	minus := *new(chain.Amount).Neg(new(chain.Amount).SetUint64(5))
	v := value(t, m.params, []any{
		200, []any{
			[]any{"x\\\n\u20ae", []any{minus, []byte{1, 2, 3, 4}}, []any{[]byte{}, bytes.Repeat([]byte{7}, 33)}},
			[]any{strings.Repeat("y", 97), []any{5, []byte{0xff, 0, 0, 0}}, []any{bytes.Repeat([]byte{1}, 96), bytes.Repeat([]byte{2}, 97)}},
			[]any{"\xff", []any{0, make([]byte, 4)}, []any{[]byte{}, []byte{}}},
		},
		[]any{true, false}, []byte("raw"), address(t, aliceHex), []any{[]any{1, 2}},
	})
	return m, &v
}

func TestArguments(t *testing.T) {
	m, v := everyValue(t)
	got, err := decodeABI(m.params, encode(v))
	if err != nil {
		t.Fatal(err)
	}
	hash := func(b string) string { return fmt.Sprintf("keccak256:0x%x", keccak256([]byte(b))) }
	want := []string{
		"a uint8 uint 200", "list.length uint256 uint 3",
		`list[0].s string text x\\\u{a}\u{20ae}`, "list[0].p.i int16 text -5", "list[0].p.b bytes4 bytes 0x01020304",
		"list[0].c[0] bytes bytes 0x", "list[0].c[1] bytes bytes 0x" + strings.Repeat("07", 33),
		"list[1].s string bytes " + hash(strings.Repeat("y", 97)), "list[1].p.i int16 uint 5", "list[1].p.b bytes4 bytes 0xff000000",
		"list[1].c[0] bytes bytes 0x" + strings.Repeat("01", 96), "list[1].c[1] bytes bytes " + hash(strings.Repeat("\x02", 97)),
		"list[2].s string bytes " + hash("\xff"), "list[2].p.i int16 uint 0", "list[2].p.b bytes4 bytes 0x00000000", "list[2].c[0] bytes bytes 0x", "list[2].c[1] bytes bytes 0x",
		"flags[0] bool flag 1", "flags[1] bool flag 0", "raw bytes bytes 0x726177", "4 address address eip155:1:" + aliceHex,
		"deep[0].length uint256 uint 2", "deep[0][0] uint256 uint 1", "deep[0][1] uint256 uint 2",
	}
	args := got.args(mainnet, "")
	for i := range args {
		a := &args[i]
		if s := fmt.Sprintf("%s %s %s %s", a.Path, a.Type, a.Kind, valueOf(a)); i >= len(want) || s != want[i] {
			t.Errorf("argument %d is %s, want %s", i, s, want[min(i, len(want)-1)])
		}
		if first := slices.IndexFunc(args, func(x chain.Arg) bool { return x.Path == a.Path }); first != i {
			t.Errorf("path %s names another argument", a.Path)
		}
	}
	if len(args) != len(want) {
		t.Errorf("%d arguments, want %d", len(args), len(want))
	}
}

// TestArgumentsHaveOneEncoding changes every byte: what is still read encodes as
// what was read, so that nothing that was decoded can be written twice.
func TestArgumentsHaveOneEncoding(t *testing.T) {
	m, v := everyValue(t)
	good := encode(v)
	for i := range good {
		for _, x := range []byte{1, 0x20, 0x80, 0xff} {
			b := bytes.Clone(good)
			b[i] ^= x
			if got, err := decodeABI(m.params, b); err == nil && !bytes.Equal(encode(got), b) {
				t.Fatalf("byte %d ^ %#x: %x is read, and is another encoding of %x", i, x, b, encode(got))
			}
		}
	}
	for n := range good {
		if _, err := decodeABI(m.params, good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are read", n, len(good))
		}
	}
	if _, err := decodeABI(m.params, append(bytes.Clone(good), make([]byte, 32)...)); err == nil {
		t.Fatal("a word at the end is read")
	}
}

func TestABIRefuses(t *testing.T) {
	word := func(s string) string { return strings.Repeat("0", 64-len(s)) + s }
	left := func(s string) string { return s + strings.Repeat("0", 64-len(s)) }
	for _, c := range []struct{ signature, data, want string }{
		{"f(uint8 a)", word("100"), "argument a is not a uint8: its padding is not 0x0"},
		{"f(uint256 a)", "", "0 bytes of arguments, want 32"},
		{"f(bool a)", word("2"), "argument a: 2, want 0 or 1"},
		{"f(bool a)", word("101"), "argument a is not a bool"},
		{"f(address a)", strings.Repeat("f", 64), "argument a is not an address"},
		{"f(int8 a)", word("80"), "argument a is not an int8: its padding is not 0xff"},
		{"f(int8 a)", strings.Repeat("f", 62) + "7f", "argument a is not an int8: its padding is not 0x0"},
		{"f(bytes2 a)", left("010203"), "argument a is not a bytes2"},
		{"f(bytes a)", word("40") + word("0"), "argument a: its offset is 0x40, want 0x20"},
		{"f(bytes a)", word("0"), "argument a: its offset is 0x00, want 0x20"},
		{"f(bytes a)", left("01") + word("0"), "argument a: its offset is 0x01000000"},
		{"f(bytes a)", word("20"), "the data ends before its length"},
		{"f(bytes a)", word("20") + word("1") + left("0102"), "argument a: its padding is not zero"},
		{"f(bytes a)", word("20") + word("21") + left("01"), "33 bytes in the last 32"},
		{"f(bytes a)", word("20") + word("20001"), "a length of 0x020001, at most 131072"},
		{"f(bytes a)", word("20") + left("01"), "a length of 0x01000000"},
		{"f(bytes a,bytes b)", word("40") + word("40") + word("0"), "argument b: its offset is 0x40, want 0x60"},
		{"f(bytes a)", word("20") + word("0") + word("0"), "96 bytes of arguments, want 64"},
		{"f(uint256[] a)", word("20") + word("2") + word("1"), "argument a: 2 items in 32 bytes"},
		{"f(uint256[2][] a)", word("20") + word("1") + word("1"), "argument a: 32 bytes, want at least 64"},
		{"f(bytes a,bool b)", word("40"), "arguments: 32 bytes, want at least 64"},
		{"f((bytes x)[] l)", word("20") + word("1") + word("20") + word("20") + word("1"), "argument l[0].x: 1 bytes in the last 0"},
	} {
		m, err := parseMethod(c.signature)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeABI(m.params, unhex(t, c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.signature, err, c.want)
		}
	}
}
