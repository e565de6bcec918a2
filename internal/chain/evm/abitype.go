package evm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// abiKind is a kind of type of the contract ABI.
type abiKind uint8

const (
	abiUint abiKind = iota
	abiInt
	abiAddress
	abiBool
	abiFixedBytes // bytes1 to bytes32
	abiBytes
	abiString
	abiList  // T[]
	abiArray // T[n]
	abiTuple
)

// abiType is a type of the contract ABI.
type abiType struct {
	kind    abiKind
	size    int // bits of abiUint and abiInt, bytes of abiFixedBytes, items of abiArray
	item    *abiType
	fields  []abiField
	name    string // of a struct of typed data
	dynamic bool   // it lies behind an offset
	words   int    // that its items' heads take; of a static type all that it has
	values  int    // single ones in it, a list counting as one item
	least   int    // bytes of its shortest encoding in typed data
}

// abiField is a parameter, or a component of a tuple; name may be empty.
type abiField struct {
	name string
	typ  *abiType
}

// Bounds of a signature: far above what contracts have, so that the arithmetic
// and the text of effects stay small.
const (
	maxSignature = 1024
	maxMethod    = 256 // the signature without names
	maxTypeDepth = 8
	maxTypeWords = 1024
	maxName      = 64
)

// method is a method of contracts.
type method struct {
	name     string // "swap(address,uint256)", which the selector is the hash of
	selector [4]byte
	params   *abiType // a tuple
}

// parseMethod reads the signature of a method, "swap(address token,uint256
// amount)": Solidity's elementary types under their full names, tuples in
// parentheses, lists; a name after a type is optional. There is one way to write
// a signature: one space before a name, none elsewhere.
func parseMethod(signature string) (*method, error) {
	m, err := readMethod(signature)
	if err != nil {
		return nil, fmt.Errorf("method %.120q: %w", signature, err)
	}
	return m, nil
}

func readMethod(signature string) (*method, error) {
	if len(signature) > maxSignature {
		return nil, fmt.Errorf("%d bytes, at most %d", len(signature), maxSignature)
	}
	p := typeParser{rest: signature}
	name := p.identifier()
	if name == "" {
		return nil, fmt.Errorf("want a name and the types in parentheses, like transfer(address to,uint256 amount)")
	}
	params, err := p.tuple(0)
	if err != nil {
		return nil, err
	}
	if p.rest != "" {
		return nil, fmt.Errorf("%.40q after the parameters, want nothing", p.rest)
	}
	m := &method{name: name + params.String(), params: params}
	if len(m.name) > maxMethod {
		return nil, fmt.Errorf("%d bytes without names, at most %d", len(m.name), maxMethod)
	}
	sum := keccak256([]byte(m.name))
	m.selector = [4]byte(sum[:])
	return m, nil
}

// CheckMethod checks a method or message that a policy declares: the contract's
// spelling and the signature's.
func CheckMethod(m *chain.Method) error {
	if m.Contract != "" {
		if _, _, err := ParseAccount(m.Contract); err != nil {
			return fmt.Errorf("method %.120q: %w", m.Signature, err)
		}
	}
	if message, ok := strings.CutPrefix(m.Signature, messagePrefix); ok {
		return checkMessage(message)
	}
	x, err := parseMethod(m.Signature)
	if err == nil && m.Contract == "" && wrappers[x.name] != nil {
		return fmt.Errorf("method %s makes other calls, and what those are depends on the contract: declare it for one contract", x.name)
	}
	return err
}

type typeParser struct{ rest string }

func (p *typeParser) skip(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// identifier takes a name off the rest, or nothing.
func (p *typeParser) identifier() string {
	n := 0
	for n < len(p.rest) && n < maxName {
		c := p.rest[n]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$'
		if !letter && (n == 0 || c < '0' || c > '9') {
			break
		}
		n++
	}
	name := p.rest[:n]
	p.rest = p.rest[n:]
	return name
}

// tuple reads "(type name,…)".
func (p *typeParser) tuple(depth int) (*abiType, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("types nested deeper than %d", maxTypeDepth)
	}
	if !p.skip('(') {
		return nil, fmt.Errorf("%.40q, want the types in parentheses", p.rest)
	}
	t := &abiType{kind: abiTuple}
	if depth == 0 && p.skip(')') {
		return t, nil
	}
	for {
		typ, err := p.typ(depth + 1)
		if err != nil {
			return nil, err
		}
		name := ""
		if p.skip(' ') {
			if name = p.identifier(); name == "" {
				return nil, fmt.Errorf("%.40q, want a name after the space", p.rest)
			}
		}
		if err := t.add(name, typ); err != nil {
			return nil, err
		}
		if p.skip(')') {
			return t.sized()
		}
		if !p.skip(',') {
			return nil, fmt.Errorf("%.40q, want a comma or the closing parenthesis", p.rest)
		}
	}
}

// add gives a tuple its next component.
func (t *abiType) add(name string, typ *abiType) error {
	for _, o := range t.fields {
		if name != "" && o.name == name {
			return fmt.Errorf("two parameters are called %s", name)
		}
	}
	t.fields = append(t.fields, abiField{name, typ})
	t.dynamic = t.dynamic || typ.dynamic
	t.words += typ.head()
	t.values += typ.values
	t.least += typ.least
	return nil
}

// sized bounds a type.
func (t *abiType) sized() (*abiType, error) {
	if t.words > maxTypeWords || t.values > maxTypeWords {
		return nil, fmt.Errorf("a type of %d words and %d values, at most %d", t.words, t.values, maxTypeWords)
	}
	return t, nil
}

// head is the number of words that the type takes where its parent lists it.
func (t *abiType) head() int {
	if t.dynamic {
		return 1
	}
	return t.words
}

// typ reads a type with its list suffixes.
func (p *typeParser) typ(depth int) (t *abiType, err error) {
	if strings.HasPrefix(p.rest, "(") {
		t, err = p.tuple(depth)
	} else {
		name := p.identifier()
		if t = elementary(name); t == nil {
			err = fmt.Errorf("type %.40q: want one of address, bool, uint8 to uint256, int8 to int256, bytes1 to bytes32, bytes, string or a tuple in parentheses", name)
		}
	}
	if err != nil {
		return nil, err
	}
	return p.suffixes(t, depth)
}

// suffixes reads what makes lists of a type.
func (p *typeParser) suffixes(t *abiType, depth int) (_ *abiType, err error) {
	for err == nil && p.skip('[') {
		if depth++; depth > maxTypeDepth {
			return nil, fmt.Errorf("types nested deeper than %d", maxTypeDepth)
		}
		end := strings.IndexByte(p.rest, ']')
		if end < 0 {
			return nil, fmt.Errorf("%.40q, want a closing bracket", p.rest)
		}
		number := p.rest[:end]
		p.rest = p.rest[end+1:]
		t, err = listOf(t, number)
	}
	return t, err
}

func listOf(item *abiType, number string) (*abiType, error) {
	if number == "" {
		return &abiType{kind: abiList, item: item, dynamic: true, words: 1, values: item.values, least: 4}, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxTypeWords || strconv.Itoa(n) != number {
		return nil, fmt.Errorf("list of %.20q items, want 1 to %d", number, maxTypeWords)
	}
	t := &abiType{kind: abiArray, size: n, item: item, dynamic: item.dynamic, words: n * item.head(), values: n * item.values, least: n * item.least}
	return t.sized()
}

// elementary is a type by its full name; nil: there is none of that name. uint
// and int, which the compiler takes for uint256 and int256, are not names that
// selectors are made of.
func elementary(name string) *abiType {
	switch name {
	case "address":
		return &abiType{kind: abiAddress, words: 1, values: 1, least: 20}
	case "bool":
		return &abiType{kind: abiBool, words: 1, values: 1, least: 1}
	case "bytes":
		return &abiType{kind: abiBytes, dynamic: true, words: 1, values: 1, least: 4}
	case "string":
		return &abiType{kind: abiString, dynamic: true, words: 1, values: 1, least: 4}
	}
	for _, k := range []struct {
		prefix string
		kind   abiKind
		unit   int
	}{{"uint", abiUint, 8}, {"int", abiInt, 8}, {"bytes", abiFixedBytes, 1}} {
		if number, ok := strings.CutPrefix(name, k.prefix); ok {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || n > 32*k.unit || n%k.unit != 0 || strconv.Itoa(n) != number {
				return nil
			}
			least := 32
			if k.kind == abiFixedBytes {
				least = n
			}
			return &abiType{kind: k.kind, size: n, words: 1, values: 1, least: least}
		}
	}
	return nil
}

// String is the type without names.
func (t *abiType) String() string { return t.text(false) }

// text is the type, with the names of components or without.
func (t *abiType) text(names bool) string {
	switch t.kind {
	case abiUint:
		return "uint" + strconv.Itoa(t.size)
	case abiInt:
		return "int" + strconv.Itoa(t.size)
	case abiAddress:
		return "address"
	case abiBool:
		return "bool"
	case abiFixedBytes:
		return "bytes" + strconv.Itoa(t.size)
	case abiBytes:
		return "bytes"
	case abiString:
		return "string"
	case abiList:
		return t.item.text(names) + "[]"
	case abiArray:
		return t.item.text(names) + "[" + strconv.Itoa(t.size) + "]"
	}
	s := make([]string, len(t.fields))
	for i := range t.fields {
		f := &t.fields[i]
		if s[i] = f.typ.text(names); names && f.name != "" {
			s[i] += " " + f.name
		}
	}
	return "(" + strings.Join(s, ",") + ")"
}
