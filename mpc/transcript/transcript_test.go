package transcript

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/big"
	"os"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorsFile = "testdata/ro-DKLS23-SECP256K1-B4.json"

// NIST SP 800-185, cSHAKE256 sample 3: the primitive under RO.
func TestCSHAKESample(t *testing.T) {
	h := sha3.NewCSHAKE256(nil, []byte("Email Signature"))
	h.Write([]byte{0, 1, 2, 3})
	out := make([]byte, 64)
	if _, err := io.ReadFull(h, out); err != nil {
		t.Fatal(err)
	}
	want := "d008828e2b80ac9d2218ffee1d070c48b8e4c87bff32c9699d5b6896eee0edd1" +
		"64020e2be0560858d9c00c037e34a96937c561a74c412bb4c746469527281c8c"
	if got := hex.EncodeToString(out); got != want {
		t.Errorf("cSHAKE256 = %s, want %s", got, want)
	}
}

// RO is cSHAKE256 over count, lengths and items, as the specification says.
func TestEncoding(t *testing.T) {
	h := sha3.NewCSHAKE256(nil, []byte("coffer/mpc/v1/sid"))
	h.Write([]byte("\x00\x00\x00\x03" + "\x00\x00\x00\x00\x00\x00\x00\x02" + "ab" +
		"\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "c"))
	var want [100]byte
	if _, err := io.ReadFull(h, want[:]); err != nil {
		t.Fatal(err)
	}
	items := [][]byte{[]byte("ab"), nil, []byte("c")}
	var got [100]byte
	Fill(got[:], TagSID, items...)
	if got != want {
		t.Errorf("Fill = %x, want %x", got, want)
	}
	if s := Sum(TagSID, items...); !bytes.Equal(s[:], want[:32]) {
		t.Errorf("Sum = %x, want %x", s, want[:32])
	}
	q, ok := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	if !ok {
		t.Fatal("bad q")
	}
	ss := Scalars(2, TagSID, items...)
	for i := range ss {
		n := new(big.Int).SetBytes(want[48*i : 48*i+48])
		b := ss[i].Bytes()
		if new(big.Int).SetBytes(b[:]).Cmp(n.Mod(n, q)) != 0 {
			t.Errorf("scalar %d = %x, want %x", i, b, n)
		}
	}
	if Scalar(TagSID, items...).Equal(&ss[0]) != 1 {
		t.Error("Scalar is not the first of Scalars")
	}
}

// Another tag, count or border between items gives another output.
func TestInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 3), 0, 4)
		a, b := g.Draw(t, "a"), g.Draw(t, "b")
		same := len(a) == len(b)
		for i := 0; same && i < len(a); i++ {
			same = bytes.Equal(a[i], b[i])
		}
		if same != (Sum(TagSID, a...) == Sum(TagSID, b...)) {
			t.Fatalf("%x and %x: equal outputs is not %v", a, b, same)
		}
		if Sum(TagSID, a...) == Sum(TagDSID, a...) {
			t.Fatal("the tag does not separate")
		}
	})
}

// No two tags are equal.
func TestTagsAreDistinct(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "tags.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			name, value := v.Names[0].Name, v.Values[0].(*ast.BasicLit).Value
			if other, ok := seen[value]; ok {
				t.Errorf("%s and %s are both %s", name, other, value)
			}
			seen[value] = name
		}
		return true
	})
	if len(seen) < 20 {
		t.Errorf("only %d tags were found", len(seen))
	}
}

type vector struct {
	Tag   string   `json:"tag"`
	Items []string `json:"items"`
	Out   string   `json:"out"`
}

// The frozen outputs: a change fails here and needs a new suite name.
func TestVectors(t *testing.T) {
	var vs []vector
	for _, c := range []struct {
		tag   Tag
		n     int
		items [][]byte
	}{
		{TagSID, 32, nil},
		{TagSID, 32, [][]byte{{}}},
		{TagDSID, 32, [][]byte{{1}, {2, 3}}},
		{TagChi, 64, [][]byte{make([]byte, 32), bytes.Repeat([]byte{0xff}, 200)}},
		{TagGadget, 96, [][]byte{[]byte("DKLS23-SECP256K1-B4"), []byte("secp256k1")}},
	} {
		v := vector{Tag: string(c.tag), Items: []string{}}
		for _, x := range c.items {
			v.Items = append(v.Items, hex.EncodeToString(x))
		}
		out := make([]byte, c.n)
		Fill(out, c.tag, c.items...)
		v.Out = hex.EncodeToString(out)
		vs = append(vs, v)
	}
	got, err := json.MarshalIndent(vs, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the outputs differ from the frozen vectors")
	}
}
