package evm

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cofferhq/coffer/internal/chain"
)

// abiValue is a decoded value.
type abiValue struct {
	typ   *abiType
	word  [32]byte   // of elementary types that have one
	data  []byte     // of bytes and string
	items []abiValue // of lists and tuples
}

func (v *abiValue) address() Address { return Address(v.word[12:]) }

func (v *abiValue) uint() (a chain.Amount) { a.SetBytes32(v.word[:]); return a }

func (v *abiValue) flag() bool { return v.word[31] == 1 }

// decodeABI reads the arguments of a method: exactly the encoding that compilers
// make of them. Each part lies where the one before it ends, padding is zero, and
// nothing is left over. Contracts differ in what they make of anything else, so
// that two readers would see two transactions.
func decodeABI(t *abiType, b []byte) (*abiValue, error) {
	if !t.dynamic && len(b) != 32*t.words {
		return nil, fmt.Errorf("%d bytes of arguments, want %d", len(b), 32*t.words)
	}
	v := &abiValue{typ: t}
	n, err := v.decode(b, "")
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, fmt.Errorf("%d bytes of arguments, want %d", len(b), n)
	}
	return v, nil
}

// decode reads the value at the beginning of b and returns how many bytes it has.
func (v *abiValue) decode(b []byte, path string) (int, error) {
	switch v.typ.kind {
	case abiTuple:
		v.items = make([]abiValue, len(v.typ.fields))
		for i := range v.items {
			v.items[i].typ = v.typ.fields[i].typ
		}
		return v.decodeItems(b, path)
	case abiArray:
		return v.decodeList(v.typ.size, b, path)
	case abiList, abiBytes, abiString:
		n, err := length(b, path)
		if err != nil {
			return 0, err
		}
		if v.typ.kind != abiList {
			return v.decodeBytes(n, b, path)
		}
		// An item has at least one word, so that the loop ends with the bytes.
		if n > len(b)/32-1 {
			return 0, fmt.Errorf("argument %s: %d items in %d bytes", path, n, len(b)-32)
		}
		size, err := v.decodeList(n, b[32:], path)
		return size + 32, err
	}
	v.word = [32]byte(b) // the heads were there
	return 32, v.checkWord(path)
}

func length(b []byte, path string) (int, error) {
	if len(b) < 32 {
		return 0, fmt.Errorf("argument %s: the data ends before its length", path)
	}
	if [28]byte(b) != [28]byte{} || binary.BigEndian.Uint32(b[28:]) > MaxData {
		return 0, fmt.Errorf("argument %s: a length of 0x%x, at most %d", path, trimmed(b[:32]), MaxData)
	}
	return int(binary.BigEndian.Uint32(b[28:])), nil
}

func trimmed(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

func (v *abiValue) decodeBytes(n int, b []byte, path string) (int, error) {
	padded := 32 + (n+31)/32*32
	if len(b) < padded {
		return 0, fmt.Errorf("argument %s: %d bytes in the last %d of the data", path, n, len(b)-32)
	}
	for _, x := range b[32+n : padded] {
		if x != 0 {
			return 0, fmt.Errorf("argument %s: its padding is not zero", path)
		}
	}
	v.data = b[32 : 32+n]
	return padded, nil
}

func (v *abiValue) decodeList(n int, b []byte, path string) (int, error) {
	v.items = make([]abiValue, n)
	for i := range v.items {
		v.items[i].typ = v.typ.item
	}
	return v.decodeItems(b, path)
}

// decodeItems reads the heads of the items in b, and what their offsets point to.
func (v *abiValue) decodeItems(b []byte, path string) (int, error) {
	end := 0 // of the heads, where the first tail begins
	for i := range v.items {
		end += 32 * v.items[i].typ.head()
	}
	if len(b) < end {
		return 0, fmt.Errorf("%s: %d bytes, want at least %d", argument(path), len(b), end)
	}
	head := 0
	for i := range v.items {
		x := &v.items[i]
		at := v.pathOf(path, i)
		if !x.typ.dynamic {
			n, err := x.decode(b[head:end], at)
			if err != nil {
				return 0, err
			}
			head += n
			continue
		}
		if offset := b[head : head+32]; [28]byte(offset) != [28]byte{} || uint64(binary.BigEndian.Uint32(offset[28:])) != uint64(end) {
			return 0, fmt.Errorf("argument %s: its offset is 0x%x, want %#x, where the data before it ends", at, trimmed(offset), end)
		}
		n, err := x.decode(b[end:], at)
		if err != nil {
			return 0, err
		}
		head += 32
		end += n
	}
	return end, nil
}

func argument(path string) string {
	if path == "" {
		return "arguments"
	}
	return "argument " + path
}

// pathOf is the path of the i-th item of the value at path.
func (v *abiValue) pathOf(path string, i int) string {
	if v.typ.kind != abiTuple {
		return path + "[" + strconv.Itoa(i) + "]"
	}
	name := v.typ.fields[i].name
	if name == "" {
		name = strconv.Itoa(i)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// checkWord refuses bits that the type does not have.
func (v *abiValue) checkWord(path string) error {
	t, w := v.typ, &v.word
	from, to, pad := 0, 0, byte(0) // where the padding is, and its byte
	switch t.kind {
	case abiUint:
		to = 32 - t.size/8
	case abiInt:
		if to = 32 - t.size/8; w[to]&0x80 != 0 {
			pad = 0xff
		}
	case abiAddress:
		to = 12
	case abiBool:
		if to = 31; w[31] > 1 {
			return fmt.Errorf("argument %s: %d, want 0 or 1", path, w[31])
		}
	case abiFixedBytes:
		from, to = t.size, 32
	}
	for _, x := range w[from:to] {
		if x != pad {
			return fmt.Errorf("argument %s is not %s %s: its padding is not %#x", path, article(t.String()), t, pad)
		}
	}
	return nil
}

func article(word string) string {
	if strings.IndexByte("aeio", word[0]) >= 0 {
		return "an"
	}
	return "a"
}

// maxArgText bounds text and bytes that effects show in full.
const maxArgText = 96

// args takes a value apart, for effects of the chain name.
func (v *abiValue) args(name, path string) []chain.Arg {
	switch v.typ.kind {
	case abiTuple, abiList, abiArray:
		var out []chain.Arg
		if v.typ.kind == abiList {
			n := chain.Arg{Path: path + ".length", Type: "uint256", Kind: chain.ArgUint}
			n.Uint.SetUint64(uint64(len(v.items)))
			out = append(out, n)
		}
		for i := range v.items {
			out = append(out, v.items[i].args(name, v.pathOf(path, i))...)
		}
		return out
	}
	return []chain.Arg{v.arg(name, path)}
}

func (v *abiValue) arg(name, path string) chain.Arg {
	a := chain.Arg{Path: path, Type: v.typ.String()}
	switch v.typ.kind {
	case abiUint:
		a.Kind, a.Uint = chain.ArgUint, v.uint()
	case abiInt:
		a.Kind, a.Uint = chain.ArgUint, v.uint()
		if a.Uint.Sign() < 0 {
			a.Kind, a.Text = chain.ArgText, "-"+new(chain.Amount).Neg(&a.Uint).Dec()
			a.Uint.Clear()
		}
	case abiAddress:
		a.Kind, a.Text = chain.ArgAddress, Account(name, v.address())
	case abiBool:
		a.Kind, a.Uint = chain.ArgFlag, v.uint()
	case abiFixedBytes:
		a.Kind, a.Text = chain.ArgBytes, bytesText(v.word[:v.typ.size])
	case abiBytes:
		a.Kind, a.Text = chain.ArgBytes, bytesText(v.data)
	case abiString:
		a.Kind, a.Text = stringText(v.data)
	}
	return a
}

// bytesText shows bytes, long ones by their hash.
func bytesText(b []byte) string {
	if len(b) > maxArgText {
		return fmt.Sprintf("keccak256:0x%x", keccak256(b))
	}
	return fmt.Sprintf("0x%x", b)
}

// stringText shows text in printable ASCII, so that no two texts look alike: what
// else there is is escaped. Text that is long or no UTF-8 is shown as bytes.
func stringText(b []byte) (chain.ArgKind, string) {
	var s strings.Builder
	for rest := b; len(rest) > 0 && s.Len() <= maxArgText; {
		c, n := utf8.DecodeRune(rest)
		switch {
		case c == utf8.RuneError && n <= 1:
			return chain.ArgBytes, fmt.Sprintf("keccak256:0x%x", keccak256(b))
		case c == '\\':
			s.WriteString(`\\`)
		case c < 0x20 || c > 0x7e:
			fmt.Fprintf(&s, `\u{%x}`, c)
		default:
			s.WriteRune(c)
		}
		rest = rest[n:]
	}
	if s.Len() > maxArgText {
		return chain.ArgBytes, fmt.Sprintf("keccak256:0x%x", keccak256(b))
	}
	return chain.ArgText, s.String()
}
