package refmodel

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

// hexBytes is a byte string of a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// load reads a vector file of a package of mpc/.
func load(t *testing.T, pkg, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "mpc", pkg, "testdata", name))
	if err != nil {
		t.Fatalf("couldn't read the vectors: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // what the model does not compare, it must at least know
	if err := d.Decode(into); err != nil {
		t.Fatalf("couldn't decode %s: %v", name, err)
	}
}

// same compares bytes and names the first that differs.
func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Errorf("%s: the model has %d bytes, the vector %d", what, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			end := min(i+32, len(got), len(want))
			t.Fatalf("%s differs at byte %d: model %x, vector %x", what, i, got[i:end], want[i:end])
		}
	}
	t.FailNow()
}

func scalarOf(t *testing.T, b []byte) *big.Int {
	t.Helper()
	k, err := DecodeScalar(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// forest cuts b into the leaves of all trees.
func forest(t *testing.T, b []byte) [][][]byte {
	t.Helper()
	if len(b) != trees*leaves*16 {
		t.Fatalf("%d bytes are not the leaves of %d trees", len(b), trees)
	}
	var out [][][]byte
	for ; len(b) > 0; b = b[leaves*16:] {
		var tree [][]byte
		for x := range leaves {
			tree = append(tree, b[16*x:16*x+16])
		}
		out = append(out, tree)
	}
	return out
}

// flip gives b with one bit of byte i changed.
func flip(b []byte, i int) []byte {
	out := bytes.Clone(b)
	out[i] ^= 1
	return out
}
