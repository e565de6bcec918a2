package evm

import (
	"encoding/hex"
	"math/big"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/form"
)

// ParseTypedData reads typed data as wallets take it (eth_signTypedData_v4): an
// object with types, primaryType, domain and message. It is strict: whatever the
// hash would not cover, and whatever two readers might take for two things, is an
// error. This is for the person who proposes; a vault never reads JSON.
func ParseTypedData(b []byte) (*TypedData, error) {
	v, err := form.Parse(b)
	if err != nil {
		return nil, err
	}
	v.Fields("types", "primaryType", "domain", "message")
	m := &TypedData{}
	types, domain := v.Get("types"), v.Get("domain")
	m.readDomain(domain)
	if d, ok := types.Lookup("EIP712Domain"); ok {
		m.checkDomainType(d)
	}
	primary := v.Get("primaryType")
	m.types = readTypes(types, primary.Text("the name of the message's type"))
	if err := v.Err(); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		types.Fail("%v", err)
		return nil, v.Err()
	}
	m.value.parse(v.Get("message"))
	if err := v.Err(); err != nil {
		return nil, err
	}
	// What is signed is what decodes, so that the vaults see the same.
	return DecodeTypedData(m.Encode())
}

func (m *TypedData) readDomain(d *form.Value) {
	d.Fields("name", "version", "chainId", "verifyingContract")
	text := func(name string) *string {
		f, ok := d.Lookup(name)
		if !ok {
			return nil
		}
		s := f.Text("text")
		if len(s) > maxDomainText || strings.ContainsRune(s, '\ufffd') {
			f.Fail("%d bytes of text, want at most %d without U+FFFD", len(s), maxDomainText)
		}
		return &s
	}
	m.Name, m.Version = text("name"), text("version")
	id := d.Get("chainId")
	if n := integer(id); n != nil {
		if !n.IsUint64() || checkChainID(n.Uint64()) != nil {
			id.Fail("%s, want 1 to %d", n, uint64(maxChainID))
		} else {
			m.ChainID = n.Uint64()
		}
	}
	m.Contract = parseAddressAt(d.Get("verifyingContract"))
}

// checkDomainType: a definition of the domain must be that of the domain that is
// there; wallets hash what is defined, and so a field left out would not be signed.
func (m *TypedData) checkDomainType(d *form.Value) {
	want := []structField{{"name", "string"}, {"version", "string"}, {"chainId", "uint256"}, {"verifyingContract", "address"}}
	if m.Version == nil {
		want = slices.Delete(want, 1, 2)
	}
	if m.Name == nil {
		want = want[1:]
	}
	if got := readFields(d); d.Err() == nil && !slices.Equal(got, want) {
		text := (&structType{"EIP712Domain", want}).text()
		d.Fail("%.200s, want %s, the fields of the domain in this order", (&structType{"EIP712Domain", got}).text(), text)
	}
}

// readTypes reads the types in the order of their encoding.
func readTypes(v *form.Value, primary string) []structType {
	var out []structType
	v.Each("an object of types, each a list of fields", func(name string, field *form.Value) {
		if name != "EIP712Domain" {
			out = append(out, structType{name, readFields(field)})
		}
	})
	slices.SortFunc(out, func(a, b structType) int {
		if a.name == primary || b.name == primary {
			return btoi(b.name == primary) - btoi(a.name == primary)
		}
		return strings.Compare(a.name, b.name)
	})
	if len(out) > 0 && out[0].name != primary {
		v.Fail("the primary type %.80q is not among them", primary)
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func readFields(v *form.Value) (out []structField) {
	for _, f := range v.Items("a list of fields, each an object with name and type") {
		f.Fields("name", "type")
		out = append(out, structField{f.Get("name").Text("a name"), f.Get("type").Text("a type")})
	}
	return out
}

// parse reads a value of its type.
func (v *abiValue) parse(f *form.Value) {
	switch t := v.typ; t.kind {
	case abiTuple:
		names := make([]string, len(t.fields))
		for i := range t.fields {
			names[i] = t.fields[i].name
		}
		f.Fields(names...)
		for i := range t.fields {
			v.items = append(v.items, abiValue{typ: t.fields[i].typ})
			v.items[i].parse(f.Get(names[i]))
		}
	case abiList, abiArray:
		items := f.Items("a list")
		if t.kind == abiArray && len(items) != t.size {
			f.Fail("%d items, want %d", len(items), t.size)
		}
		for i, x := range items {
			v.items = append(v.items, abiValue{typ: t.item})
			v.items[i].parse(x)
		}
	case abiString:
		s := f.Text("text")
		if strings.ContainsRune(s, '\ufffd') {
			f.Fail("it holds U+FFFD, which stands for text that was lost")
		}
		v.data = []byte(s)
	case abiBytes, abiFixedBytes:
		v.parseBytes(f)
	case abiAddress:
		a := parseAddressAt(f)
		copy(v.word[12:], a[:])
	case abiBool:
		if f.Bool() {
			v.word[31] = 1
		}
	default:
		v.parseInteger(f)
	}
}

func (v *abiValue) parseBytes(f *form.Value) {
	s := f.Text("0x and hex digits")
	digits, ok := strings.CutPrefix(s, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil {
		f.Fail("%.80q, want 0x and an even number of hex digits", s)
		return
	}
	if v.typ.kind == abiBytes {
		v.data = b
	} else if copy(v.word[:], b); len(b) != v.typ.size {
		f.Fail("%d bytes, want %d", len(b), v.typ.size)
	}
}

func parseAddressAt(f *form.Value) Address {
	s := f.Text("an address, 0x and 40 hex digits")
	a, err := ParseAddress(s)
	if err != nil && f.IsText() {
		f.Fail("%v", err)
	}
	return a
}

// parseInteger reads a number of so many bits.
func (v *abiValue) parseInteger(f *form.Value) {
	n := integer(f)
	if n == nil {
		return
	}
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(v.typ.size))
	if v.typ.kind == abiInt {
		high.Rsh(high, 1)
		low.Neg(high)
	}
	if n.Cmp(low) < 0 || n.Cmp(high) >= 0 {
		f.Fail("%.80s does not fit into %s", n, v.typ)
		return
	}
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), 256))
	}
	n.FillBytes(v.word[:])
}

// integer reads a whole number: a number up to 2⁵³−1, or a string of decimal
// digits, or of 0x and hex digits. Beyond 2⁵³ most programs have lost digits of a
// number that is not written as a string.
func integer(f *form.Value) *big.Int {
	s, quoted := f.Number("a whole number, or a string of its digits")
	if s == "" {
		return nil
	}
	digits, negative := strings.CutPrefix(s, "-")
	n, ok := new(big.Int), false
	if hexDigits, is := strings.CutPrefix(digits, "0x"); is && quoted && len(hexDigits) <= 64 && !negative {
		_, ok = n.SetString(hexDigits, 16)
		ok = ok && hexDigits[0] != '-' && hexDigits[0] != '+'
	} else if len(digits) <= 78 && strings.Trim(digits, "0123456789") == "" && (digits == "0" || len(digits) > 0 && digits[0] != '0') {
		_, ok = n.SetString(digits, 10)
	}
	if !ok {
		f.Fail("%.80q, want a whole number, or a string of its digits", s)
		return nil
	}
	if !quoted && n.BitLen() > 53 {
		f.Fail("%s, want a number above 2^53 as a string, so that no program has rounded it", s)
		return nil
	}
	if negative {
		n.Neg(n)
	}
	return n
}
