package refmodel

import (
	"bytes"
	"errors"
	"testing"
)

// dealtOT deals base OTs for trees without a base OT.
func dealtOT(seed string) (bob, alice Seeds) {
	rnd := NewStream(seed)
	alice.Delta = rnd.Bytes(16)
	for i := range rows {
		k := [2][]byte{rnd.Bytes(16), rnd.Bytes(16)}
		bob.K0, bob.K1 = append(bob.K0, k[0]), append(bob.K1, k[1])
		alice.K = append(alice.K, k[bit(alice.Delta, i)])
	}
	return bob, alice
}

var treesInstance = OTInstance{H256([]byte("psid")), 1, 300}

// Alice has all leaves but r_{i,Δ_i}, in her order.
func TestTreesPunctured(t *testing.T) {
	bobSeeds, aliceSeeds := dealtOT("trees")
	bob, m := PlantTrees(treesInstance, bobSeeds)
	if len(m) != 4129 {
		t.Errorf("the message has %d bytes", len(m))
	}
	alice, err := GrowTrees(treesInstance, aliceSeeds, m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range trees {
		lacks := block(aliceSeeds.Delta, i)
		for x, r := range bob.Leaves[i] {
			if x == lacks {
				r = make([]byte, 16)
			}
			if !bytes.Equal(alice.Shifted[i][x^lacks], r) {
				t.Errorf("tree %d, leaf %d: Alice has %x, not %x", i, x, alice.Shifted[i][x^lacks], r)
			}
		}
	}
}

func TestTreesRefuse(t *testing.T) {
	bobSeeds, seeds := dealtOT("trees")
	_, m := PlantTrees(treesInstance, bobSeeds)
	for _, b := range [][]byte{nil, m[:len(m)-1], cat(m, u8(0)), flip(m, 0)} {
		if _, err := GrowTrees(treesInstance, seeds, b); err == nil || errors.Is(err, errCheck) {
			t.Errorf("%d bytes that are no trees' message: %v", len(b), err)
		}
	}
	totals := 1 + trees*3*2*16
	for _, at := range []int{totals, totals + 32*31, len(m) - 32, len(m) - 1} { // T_0, T_31, S
		if _, err := GrowTrees(treesInstance, seeds, flip(m, at)); !errors.Is(err, errCheck) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	for _, in := range []OTInstance{{treesInstance.PSID, 300, 1}, {treesInstance.PSID, 1, 301}, {flip(treesInstance.PSID, 0), 1, 300}} {
		if _, err := GrowTrees(in, seeds, m); !errors.Is(err, errCheck) {
			t.Errorf("another instance: %v", err)
		}
	}
	// Alice uses C_{i,d,1−c_d} alone: of two wrong corrections she sees one.
	for _, i := range []int{0, 31} {
		for d := 2; d <= depth; d++ {
			for side := range 2 {
				_, err := GrowTrees(treesInstance, seeds, flip(m, 1+16*(6*i+2*(d-2)+side)))
				if passed := err == nil; passed != (side == bit(seeds.Delta, base(i, d))) {
					t.Errorf("C_{%d,%d,%d}: %v", i, d, side, err)
				}
			}
		}
	}
}
