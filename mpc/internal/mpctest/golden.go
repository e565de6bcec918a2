package mpctest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

var update = flag.Bool("update", false, "rewrite the golden vectors")

// Golden compares v, as JSON, with a file of testdata. With -update it writes
// the file.
func Golden(t *testing.T, path string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("couldn't read golden vectors; -update writes them: %v", err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			t.Fatalf("%s, line %d:\n got %.200s\nwant %.200s", path, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s has %d lines, got %d", path, len(w), len(g))
}

// Hex is bytes in lower-case hex.
type Hex []byte

// MarshalText encodes h.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// HexMap is messages by author.
func HexMap(m map[mpc.ID][]byte) map[mpc.ID]Hex {
	out := make(map[mpc.ID]Hex, len(m))
	for id, b := range m {
		out[id] = b
	}
	return out
}

// HexPrivate is messages by author and recipient.
func HexPrivate(m map[mpc.ID]map[mpc.ID][]byte) map[mpc.ID]map[mpc.ID]Hex {
	out := make(map[mpc.ID]map[mpc.ID]Hex, len(m))
	for id, b := range m {
		out[id] = HexMap(b)
	}
	return out
}
