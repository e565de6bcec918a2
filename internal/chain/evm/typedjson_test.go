package evm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

// everyMessage has every kind of type, at every place.
const everyMessage = `{
  "types": {
    "All": [{"name": "a", "type": "uint8"}, {"name": "b", "type": "int16"}, {"name": "c", "type": "Inner[2][]"}, {"name": "d", "type": "bytes"}, {"name": "e", "type": "bytes3"},
      {"name": "f", "type": "bool"}, {"name": "g", "type": "address[]"}, {"name": "h", "type": "uint256"}, {"name": "i", "type": "Inner"}],
    "Inner": [{"name": "s", "type": "string"}, {"name": "deep", "type": "Deep"}],
    "Deep": [{"name": "x", "type": "int256[]"}]
  },
  "primaryType": "All",
  "domain": {"version": "2", "chainId": "0x89", "verifyingContract": "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"},
  "message": {
    "a": 255, "b": "-32768", "c": [[{"s": "€\\", "deep": {"x": [1, "-1"]}}, {"s": "", "deep": {"x": []}}]], "d": "0x00ff", "e": "0x010203",
    "f": true, "g": [], "h": "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "i": {"s": "i", "deep": {"x": ["57896044618658097711785492504343953926634992332820282019728792003956564819967"]}}
  }
}`

func TestParseTypedData(t *testing.T) {
	m := typedData(t, everyMessage)
	again, err := DecodeTypedData(m.Encode())
	if err != nil || !bytes.Equal(again.Encode(), m.Encode()) || !bytes.Equal(again.Unsigned(), m.Unsigned()) {
		t.Fatal(err)
	}
	e, err := Codec{}.Intent("eip155:137", strings.Replace(sender(t), mainnet, "eip155:137", 1), m.Encode(), amount(0),
		[]chain.Method{{Signature: "message All(uint8 a,int16 b,(string s,(int256[] x) deep)[2][] c,bytes d,bytes3 e,bool f,address[] g,uint256 h,(string s,(int256[] x) deep) i)"}})
	if err != nil || e.Undecoded != "" {
		t.Fatal(err, e.Undecoded)
	}
	var lines []string
	for _, a := range e.Message.Fields {
		lines = append(lines, a.Path+"="+valueOf(&a))
	}
	const want = `a=255 b=-32768 c.length=1 c[0][0].s=\u{20ac}\\ c[0][0].deep.x.length=2 c[0][0].deep.x[0]=1 c[0][0].deep.x[1]=-1 c[0][1].s= c[0][1].deep.x.length=0 d=0x00ff e=0x010203 f=1 g.length=0 h=` + huge +
		` i.s=i i.deep.x.length=1 i.deep.x[0]=57896044618658097711785492504343953926634992332820282019728792003956564819967`
	if got := strings.Join(lines, " "); got != want || e.Message.Version != "2" {
		t.Errorf("fields\n%s, want\n%s", got, want)
	}
	// Without a definition of the domain, the domain's own fields are hashed.
	i := strings.Index(mail, `"EIP712Domain"`)
	if short := mail[:i] + mail[strings.Index(mail, `"Person"`):]; !bytes.Equal(typedData(t, short).Unsigned(), typedData(t, mail).Unsigned()) {
		t.Error("the definition of the domain changes what is signed")
	}
}

func TestParseTypedDataRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"primaryType": "Mail"`, `"primaryType": "Mail", "more": 1`, "unknown field"},
		{`"primaryType": "Mail"`, `"primaryType": "Nothing"`, "is not among them"},
		{`"primaryType": "Mail"`, `"primaryType": "Person"`, "type Mail is not needed by Person"},
		{`"primaryType": "Mail",`, ``, `the field "primaryType" is missing`},
		{`"contents": "Hello, Bob!"`, `"contents": "Hello", "contents": "Bob"`, "stands here twice"},
		{`"contents": "Hello, Bob!"`, `"contents": "Hello", "more": 1`, "unknown field"},
		{`,
    "contents": "Hello, Bob!"`, ``, `the field "contents" is missing`},
		{`"contents": "Hello, Bob!"`, `"contents": 7`, "want text"},
		{`"contents": "Hello, Bob!"`, `"contents": null`, "want text"},
		{`"contents": "Hello, Bob!"`, `"contents": "\ud800"`, "text that was lost"},
		{`"chainId": 1,`, ``, `the field "chainId" is missing`},
		{`"chainId": 1`, `"chainId": 0`, "0, want 1 to"},
		{`"chainId": 1`, `"chainId": "18446744073709551617"`, "want 1 to"},
		{`"chainId": 1`, `"chainId": 9007199254740993`, ""},
		{`, "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"`, ``, `the field "verifyingContract" is missing`},
		{`0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC`, `0x0000000000000000000000000000000000000000`, "verifying contract: 0"},
		{`0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC`, `0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccc`, "wrong checksum"},
		{`"version": "1",`, ``, "the fields of the domain in this order"},
		{`"name": "Ether Mail",`, ``, "the fields of the domain in this order"},
		{`"version": "1",`, `"version": "1", "salt": "0x00",`, "unknown field"},
		{`"name": "Ether Mail"`, `"name": "` + strings.Repeat("x", 257) + `"`, "257 bytes of text"},
		{`"name": "Ether Mail"`, `"name": "\ufffd"`, "without U+FFFD"},
		{`{"name": "chainId", "type": "uint256"}, `, ``, "the fields of the domain in this order"},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wallet", "type": "address", "x": 1}`, "unknown field"},
		{`{"name": "wallet", "type": "address"}`, `{"name": "name", "type": "address"}`, "two parameters are called name"},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wal let", "type": "address"}`, "want a name of letters"},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wallet", "type": "uint"}`, "full name, like uint256"},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wallet", "type": "Wallet"}`, `"Wallet" is not defined`},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wallet", "type": "Mail"}`, "type Mail contains itself"},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wallet", "type": "address payable"}`, `" payable" at its end`},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wallet", "type": "address[0]"}`, "want 1 to 1024"},
		{`{"name": "wallet", "type": "address"}`, `{"name": "wallet", "type": "address[][][][][][][][]"}`, "nested deeper than 8"},
		{`"Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}]`, `"Person": []`, "Person has no fields"},
		{`"Person": [`, `"Unused": [{"name": "x", "type": "bool"}], "Person": [`, "type Unused is not needed by Mail"},
		{`"Person": [`, `"uint": [{"name": "x", "type": "bool"}], "Person": [`, "that is no type of Solidity's"},
		{`"Person": [`, `"Per-son": [{"name": "x", "type": "bool"}], "Person": [`, "want a name of letters"},
		{`"wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"`, `"wallet": "cow.eth"`, "want 0x and 40 hex digits"},
		{`"wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"`, `"wallet": 7`, "want an address"},
	} {
		if !strings.Contains(mail, c.old) {
			t.Fatalf("%s is not in the example", c.old)
		}
		_, err := ParseTypedData([]byte(strings.Replace(mail, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.new, err, c.want)
		}
	}
}

func TestParseTypedDataRefusesValues(t *testing.T) {
	for typ, values := range map[string]map[string]string{
		"uint8": {
			`256`: "does not fit into uint8", `-1`: "does not fit", `"-1"`: "does not fit", `1.0`: "want a whole number", `1e2`: "want a whole number", `""`: "it is empty", `"01"`: "want a whole number",
			`"0x"`: "want a whole number", `"0x-1"`: "want a whole number", `"0x+1"`: "want a whole number", `"+1"`: "want a whole number", `" 1"`: "want a whole number", `"1_0"`: "want a whole number", `true`: "want a whole number", `null`: "want a whole number",
		},
		"uint256":    {`9007199254740993`: "above 2^53 as a string", `"` + strings.Repeat("9", 79) + `"`: "want a whole number", `"0x1` + strings.Repeat("0", 64) + `"`: "want a whole number"},
		"int8":       {`128`: "does not fit into int8", `-129`: "does not fit"},
		"bytes":      {`"00"`: "want 0x and an even number", `"0x0"`: "want 0x and an even number", `"0xzz"`: "want 0x and an even number", `1`: "want 0x"},
		"bytes2":     {`"0x00"`: "1 bytes, want 2", `"0x000000"`: "3 bytes, want 2", `"0x` + strings.Repeat("00", 33) + `"`: "33 bytes, want 2"},
		"bool":       {`"true"`: "want true or false", `1`: "want true or false"},
		"uint8[2]":   {`[1]`: "1 items, want 2", `[1,2,3]`: "3 items, want 2", `1`: "want a list"},
		"uint8[]":    {`{}`: "want a list", `[[1]]`: "want a whole number"},
		"string":     {`true`: "want text"},
		"bool[1025]": {`[]`: "want 1 to 1024"},
	} {
		for value, want := range values {
			text := `{"types": {"T": [{"name": "x", "type": "` + typ + `"}]}, "primaryType": "T", "domain": {"chainId": 1, "verifyingContract": "` + tokenHex + `"}, "message": {"x": ` + value + `}}`
			if _, err := ParseTypedData([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: %v, want %q", value, typ, err, want)
			}
		}
	}
	if _, err := ParseTypedData([]byte("[")); err == nil {
		t.Error("no JSON was accepted")
	}
}

// TestDecodeTypedDataRefuses: what the reader of JSON never writes.
func TestDecodeTypedDataRefuses(t *testing.T) {
	fields := func(n int) (out []structField) {
		for i := range n {
			out = append(out, structField{"f" + itoa(i), "bool"})
		}
		return out
	}
	for want, change := range map[string]func(m *TypedData){
		"chain id 0":                      func(m *TypedData) { m.ChainID = 0 },
		"verifying contract: 0":           func(m *TypedData) { m.Contract = Address{} },
		"domain's name: \"\\xff\"":        func(m *TypedData) { s := "\xff"; m.Name = &s },
		"domain's version: 257":           func(m *TypedData) { s := strings.Repeat("x", 257); m.Version = &s },
		"no types":                        func(m *TypedData) { m.types = nil },
		"types: 33":                       func(m *TypedData) { m.types = make([]structType, 33) },
		"fields: 65":                      func(m *TypedData) { m.types[1].fields = fields(65) },
		"want the primary type, then the": func(m *TypedData) { m.types = append(m.types, m.types[1]) },
		"each once":                       func(m *TypedData) { m.types = append(m.types, m.types[0]) },
		"type \"1\"":                      func(m *TypedData) { m.types[1].name = "1" },
		"EIP712Domain":                    func(m *TypedData) { m.types[1].name = "EIP712Domain" },
		"string: \"\\xff\" is not UTF-8":  func(m *TypedData) { m.value.items[2].data = []byte{0xff} },
		"a type of 40 words and 1600 values": func(m *TypedData) {
			m.types = []structType{{"A", nil}, {"B", []structField{{"x", "C[40]"}}}, {"C", []structField{{"x", "D[40][]"}}}, {"D", []structField{{"x", "bool"}}}}
			m.types[0].fields = []structField{{"x", "B"}}
		},
	} {
		m := typedData(t, mail)
		change(m)
		_, err := DecodeTypedData(m.Encode())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	small := typedData(t, `{"types": {"T": [{"name": "x", "type": "uint8"}, {"name": "y", "type": "bool"}]}, "primaryType": "T", "domain": {"chainId": 1, "verifyingContract": "`+tokenHex+`"}, "message": {"x": 1, "y": true}}`).Encode()
	for i, want := range map[int]string{1: "byte 2 is not a boolean", 33: "is not a uint8"} {
		b := bytes.Clone(small)
		b[len(b)-i] = 2
		if _, err := DecodeTypedData(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzDecodeTypedData(f *testing.F) {
	f.Add(typedData(f, mail).Encode())
	f.Add(typedData(f, everyMessage).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeTypedData(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.Encode(), b) {
			t.Fatalf("accepted %x, which encodes as %x", b, m.Encode())
		}
		name := ChainName(m.ChainID)
		from := strings.Replace(sender(t), mainnet, name, 1)
		p, err := Codec{}.Prepare(name, from, b, amount(0), m.Unsigned(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chain.DecodeEffects(p.Effects.Encode()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTypedDataBounds: structs within structs, the number of values, and lists of
// short items, which need few bytes.
func TestTypedDataBounds(t *testing.T) {
	typed := func(types, message string) ([]byte, error) {
		m, err := ParseTypedData([]byte(`{"types": {` + types + `}, "primaryType": "T0", "domain": {"chainId": 1, "verifyingContract": "` + tokenHex + `"}, "message": ` + message + `}`))
		if err != nil {
			return nil, err
		}
		return m.Encode(), nil
	}
	nested := func(n int) (types, message string) {
		message = "true"
		for i := range n {
			typ := "T" + itoa(i+1)
			if i == n-1 {
				typ = "bool"
			}
			types += `, "T` + itoa(i) + `": [{"name": "x", "type": "` + typ + `"}]`
			message = `{"x": ` + message + `}`
		}
		return types[1:], message
	}
	if _, err := typed(nested(8)); err != nil {
		t.Error(err)
	}
	if _, err := typed(nested(9)); err == nil || !strings.Contains(err.Error(), "nested deeper than 8") {
		t.Errorf("9 structs: %v", err)
	}
	list := func(n int) string { return `{"x": [` + strings.TrimSuffix(strings.Repeat(`"0x00",`, n), ",") + `]}` }
	for n, want := range map[int]string{3: "it is not built in", 256: "message T0: 257 values, at most 256"} {
		b, err := typed(`"T0": [{"name": "x", "type": "bytes1[]"}]`, list(n))
		if err != nil {
			t.Fatal(err)
		}
		e, err := Codec{}.Intent(mainnet, sender(t), b, amount(0), nil)
		if err != nil || !strings.Contains(e.Undecoded, want) {
			t.Errorf("%d items: %v, %v", n, e, err)
		}
	}
	fields := strings.TrimPrefix(strings.Repeat(`,{"name": "x", "type": "bool"}`, 65), ",")
	if _, err := typed(`"T0": [`+fields+`]`, `{}`); err == nil {
		t.Error("65 fields were accepted")
	}
}
