package evm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

const messageVersion = 2 // of an intent

// Bounds of typed data.
const (
	maxStructs    = 32
	maxFields     = 64
	maxDomainText = 256
	maxMessage    = MaxData
)

// TypedData is structured data of EIP-712 that is signed for a contract. Its
// encoding is an intent of version 2 (docs/spec/evm.md).
type TypedData struct {
	ChainID  uint64
	Contract Address // that checks the signature
	Name     *string // of the domain; nil: the domain has none
	Version  *string
	types    []structType // the primary one, then those that it needs, by name
	value    abiValue
}

// structType is a type with a name, as typed data defines it.
type structType struct {
	name   string
	fields []structField
}

type structField struct{ name, typ string }

// Primary is the name of the message's type.
func (m *TypedData) Primary() string { return m.types[0].name }

// Encode is the canonical encoding, an intent.
func (m *TypedData) Encode() []byte {
	w := wire.NewWriter(messageVersion).Uint64(m.ChainID).Fixed(m.Contract[:])
	for _, s := range []*string{m.Name, m.Version} {
		if w.Bool(s != nil); s != nil {
			w.String(*s)
		}
	}
	w.Count(len(m.types))
	for _, t := range m.types {
		w.String(t.name).Count(len(t.fields))
		for _, f := range t.fields {
			w.String(f.name).String(f.typ)
		}
	}
	m.value.write(w)
	return w.Bytes()
}

func (v *abiValue) write(w *wire.Writer) {
	switch t := v.typ; t.kind {
	case abiAddress:
		w.Fixed(v.word[12:])
	case abiBool:
		w.Bool(v.flag())
	case abiFixedBytes:
		w.Fixed(v.word[:t.size])
	case abiBytes, abiString:
		w.Var(v.data)
	case abiList, abiArray, abiTuple:
		if t.kind == abiList {
			w.Count(len(v.items))
		}
		for i := range v.items {
			v.items[i].write(w)
		}
	default:
		w.Fixed(v.word[:])
	}
}

// DecodeTypedData is the inverse of Encode.
func DecodeTypedData(b []byte) (*TypedData, error) {
	r := wire.NewReader(b, messageVersion)
	m := &TypedData{ChainID: r.Uint64("chain id")}
	r.Into("contract", m.Contract[:])
	for _, f := range []struct {
		name string
		into **string
	}{{"domain's name", &m.Name}, {"domain's version", &m.Version}} {
		if r.Bool("has " + f.name) {
			s := readUTF8(r, f.name, maxDomainText)
			*f.into = &s
		}
	}
	for range r.Count("types", maxStructs, 20) {
		t := structType{name: r.String("type", maxName)}
		for range r.Count("fields", maxFields, 8) {
			t.fields = append(t.fields, structField{r.String("field", maxName), r.String("field's type", maxMethod)})
		}
		m.types = append(m.types, t)
	}
	err := r.Err()
	if err == nil {
		err = m.check()
	}
	if err == nil {
		m.value.read(r)
		err = r.Done()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode typed data: %w", err)
	}
	return m, nil
}

func readUTF8(r *wire.Reader, field string, max int) string {
	s := r.String(field, max)
	if !utf8.ValidString(s) {
		r.Failf("%s: %q is not UTF-8", field, s)
	}
	return s
}

// check checks domain and types, and gives the value its type.
func (m *TypedData) check() error {
	if err := checkChainID(m.ChainID); err != nil {
		return err
	}
	if m.Contract == (Address{}) {
		return errors.New("verifying contract: 0, want the contract that checks the signature")
	}
	t, err := resolve(m.types)
	m.value.typ = t
	return err
}

// read reads a value of its type.
func (v *abiValue) read(r *wire.Reader) {
	switch t := v.typ; t.kind {
	case abiAddress:
		r.Into("address", v.word[12:])
	case abiBool:
		if r.Bool("bool") {
			v.word[31] = 1
		}
	case abiFixedBytes:
		r.Into(t.String(), v.word[:t.size])
	case abiBytes:
		v.data = r.Var("bytes", maxMessage)
	case abiString:
		v.data = []byte(readUTF8(r, "string", maxMessage))
	case abiList, abiArray:
		n := t.size
		if t.kind == abiList {
			n = r.Count("list", maxMessage, t.item.least)
		}
		for range n {
			v.readItem(r, t.item)
		}
	case abiTuple:
		for i := range t.fields {
			v.readItem(r, t.fields[i].typ)
		}
	default:
		r.Into(t.String(), v.word[:])
		if err := v.checkWord("of type " + t.String()); err != nil {
			r.Fail(err)
		}
	}
}

func (v *abiValue) readItem(r *wire.Reader, t *abiType) {
	if r.Err() != nil {
		return
	}
	v.items = append(v.items, abiValue{typ: t})
	v.items[len(v.items)-1].read(r)
}

// structs builds types out of the definitions.
type structs struct {
	defined []structType
	built   map[string]*abiType // nil while it is being built
}

// resolve returns the first type. Every other one must be needed by it, and they
// stand in the order in which EIP-712 writes them; no type contains itself.
func resolve(defined []structType) (*abiType, error) {
	if len(defined) == 0 {
		return nil, errors.New("no types, want the primary type first")
	}
	s := &structs{defined: defined, built: make(map[string]*abiType)}
	for i, d := range defined {
		p := typeParser{rest: d.name}
		if p.identifier() != d.name || d.name == "" || reserved(d.name) {
			return nil, fmt.Errorf("type %.80q: want a name of letters and digits that is no type of Solidity's", d.name)
		}
		if i > 1 && defined[i-1].name >= d.name || i > 0 && d.name == defined[0].name {
			return nil, fmt.Errorf("type %s comes after %s: want the primary type, then the others by name, each once", d.name, defined[i-1].name)
		}
	}
	t, err := s.build(defined[0].name, 1)
	if err != nil {
		return nil, err
	}
	for _, d := range defined {
		if s.built[d.name] == nil {
			return nil, fmt.Errorf("type %s is not needed by %s: want it left out", d.name, defined[0].name)
		}
	}
	return t, nil
}

// reserved says that a name has another meaning.
func reserved(name string) bool {
	return elementary(name) != nil || slices.Contains([]string{"EIP712Domain", "uint", "int", "byte", "fixed", "ufixed", "function"}, name)
}

func (s *structs) build(name string, depth int) (*abiType, error) {
	if t, ok := s.built[name]; ok {
		if t == nil {
			return nil, fmt.Errorf("type %s contains itself", name)
		}
		return t, nil
	}
	i := slices.IndexFunc(s.defined, func(d structType) bool { return d.name == name })
	if i < 0 {
		return nil, fmt.Errorf("type %.80q is not defined", name)
	}
	s.built[name] = nil
	t := &abiType{kind: abiTuple, name: name}
	if len(s.defined[i].fields) == 0 {
		return nil, fmt.Errorf("type %s has no fields", name)
	}
	for _, f := range s.defined[i].fields {
		p := typeParser{rest: f.name}
		if p.identifier() != f.name || f.name == "" {
			return nil, fmt.Errorf("type %s: field %.80q: want a name of letters and digits", name, f.name)
		}
		typ, err := s.fieldType(f.typ, depth)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, f.name, err)
		}
		if err := t.add(f.name, typ); err != nil {
			return nil, fmt.Errorf("type %s: %w", name, err)
		}
	}
	s.built[name] = t
	return t.sized()
}

func (s *structs) fieldType(text string, depth int) (*abiType, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("types nested deeper than %d", maxTypeDepth)
	}
	p := typeParser{rest: text}
	name := p.identifier()
	t := elementary(name)
	if t == nil && reserved(name) {
		return nil, fmt.Errorf("type %.80q: want it under its full name, like uint256", text)
	}
	if t == nil {
		var err error
		if t, err = s.build(name, depth+1); err != nil {
			return nil, err
		}
	}
	t, err := p.suffixes(t, depth)
	if err == nil && p.rest != "" {
		return nil, fmt.Errorf("type %.80q: %.40q at its end, want nothing or []", text, p.rest)
	}
	return t, err
}

// typeText is what EIP-712 hashes of a type: its definition, and after it those
// of the types that it needs, by name.
func (m *TypedData) typeText(t *abiType) string {
	needed := make(map[string]bool)
	t.needs(needed)
	var first, rest string
	for i := range m.types {
		if d := &m.types[i]; d.name == t.name {
			first = d.text()
		} else if needed[d.name] {
			rest += d.text() // in their order: what is needed is never the primary type
		}
	}
	return first + rest
}

func (d *structType) text() string {
	fields := make([]string, len(d.fields))
	for i, f := range d.fields {
		fields[i] = f.typ + " " + f.name
	}
	return d.name + "(" + strings.Join(fields, ",") + ")"
}

// needs collects the names of t and of what it needs.
func (t *abiType) needs(names map[string]bool) {
	switch t.kind {
	case abiList, abiArray:
		t.item.needs(names)
	case abiTuple:
		if names[t.name] {
			return
		}
		names[t.name] = true
		for i := range t.fields {
			t.fields[i].typ.needs(names)
		}
	}
}

// hash is hashStruct of a struct, and encodeData of any other value.
func (m *TypedData) hash(v *abiValue) [32]byte {
	switch v.typ.kind {
	case abiBytes, abiString:
		return keccak256(v.data)
	case abiList, abiArray, abiTuple:
		var b bytes.Buffer
		if v.typ.kind == abiTuple {
			of := keccak256([]byte(m.typeText(v.typ)))
			b.Write(of[:])
		}
		for i := range v.items {
			item := m.hash(&v.items[i])
			b.Write(item[:])
		}
		return keccak256(b.Bytes())
	}
	return v.word
}

// separator is the hash of the domain.
func (m *TypedData) separator() [32]byte {
	var fields []string
	var data []byte
	for _, f := range []struct {
		text string
		is   *string
	}{{"string name", m.Name}, {"string version", m.Version}} {
		if f.is != nil {
			sum := keccak256([]byte(*f.is))
			fields, data = append(fields, f.text), append(data, sum[:]...)
		}
	}
	var id chain.Amount
	word := id.SetUint64(m.ChainID).Bytes32()
	data = append(data, word[:]...)
	data = append(append(data, make([]byte, 12)...), m.Contract[:]...)
	of := keccak256([]byte("EIP712Domain(" + strings.Join(append(fields, "uint256 chainId", "address verifyingContract"), ",") + ")"))
	return keccak256(of[:], data)
}

// Unsigned is what is signed, 0x19 ‖ 0x01 ‖ the domain's hash ‖ the message's: its
// keccak256 is the digest. No transaction begins so.
func (m *TypedData) Unsigned() []byte {
	domain, message := m.separator(), m.hash(&m.value)
	return slices.Concat([]byte{0x19, 0x01}, domain[:], message[:])
}
