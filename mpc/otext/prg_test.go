package otext

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"testing"

	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// expandSlowly is PRG of docs/spec/random-oracle.md, written out.
func expandSlowly(t *testing.T, dsid [32]byte, tree, n int, leaf [16]byte) []byte {
	t.Helper()
	key := transcript.Sum(transcript.TagPRG, dsid[:])
	var out []byte
	for c := 0; len(out) < rowSize(n); c++ {
		in := binary.BigEndian.AppendUint16(key[:len(key):len(key)], uint16(tree))
		k := sha256.Sum256(binary.BigEndian.AppendUint16(in, uint16(c)))
		block, err := aes.NewCipher(k[:16])
		if err != nil {
			t.Fatal(err)
		}
		for b := range byte(5) {
			in := leaf
			in[15] ^= b
			block.Encrypt(in[:], in[:])
			subtle.XORBytes(in[:], in[:], leaf[:])
			out = append(out, in[:]...)
		}
	}
	return out[:rowSize(n)]
}

// The expansion is that of the specification, in every block and chunk: equal
// blocks would repeat choices and show the tail.
func TestPRGCountsItsBlocks(t *testing.T) {
	dsid := [32]byte{7}
	for _, n := range []int{1, 2, 16} {
		g := newPRG(&dsid, n)
		for _, tree := range []int{0, 1, 31} {
			g.tree(tree)
			leaf := [16]byte{1, 2, 3, 15: 0xf0}
			g.expand(5, &leaf)
			if want := expandSlowly(t, dsid, tree, n, leaf); !bytes.Equal(g.leaf[5][:rowSize(n)], want) {
				t.Errorf("tree %d, batch of %d: PRG gives %x, want %x", tree, n, g.leaf[5][:rowSize(n)], want)
			}
			seen := map[[16]byte]bool{}
			for b := range len(g.leaf[5]) / 16 {
				seen[[16]byte(g.leaf[5][16*b:])] = true
			}
			if len(seen) != len(g.leaf[5])/16 {
				t.Errorf("tree %d, batch of %d: a block repeats", tree, n)
			}
		}
	}
}

// The expansion depends on dsid and on the tree: no session and no row repeats
// another's, though the leaves be equal.
func TestPRGBindsDSIDAndTree(t *testing.T) {
	leaf := [16]byte{9}
	seen := map[string]bool{}
	for _, dsid := range []byte{1, 2} {
		g := newPRG(&[32]byte{dsid}, 1)
		for tree := range pprf.Trees {
			g.tree(tree)
			g.expand(0, &leaf)
			seen[string(g.leaf[0])] = true
		}
	}
	if len(seen) != 2*pprf.Trees {
		t.Errorf("%d expansions of one leaf, want %d", len(seen), 2*pprf.Trees)
	}
}

// fold against its definition: Σ r_x, and Σ r_x over the x that have bit b.
func TestFold(t *testing.T) {
	g := newPRG(&[32]byte{8}, 2)
	g.tree(3)
	var want [1 + depth][]byte
	for i := range want {
		want[i] = make([]byte, len(g.leaf[0]))
	}
	for x := range pprf.Leaves {
		g.expand(x, &[16]byte{byte(x), 1})
		subtle.XORBytes(want[0], want[0], g.leaf[x])
		for b := range depth {
			if x>>b&1 == 1 {
				subtle.XORBytes(want[1+b], want[1+b], g.leaf[x])
			}
		}
	}
	g.fold()
	if !bytes.Equal(g.leaf[0], want[0]) {
		t.Error("u is not the sum of the leaves")
	}
	for b := range depth {
		if !bytes.Equal(g.leaf[1<<b], want[1+b]) {
			t.Errorf("bit %d of v is not the sum of the leaves that have it", b)
		}
	}
}
