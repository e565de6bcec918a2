package dkls23_test

import (
	"errors"
	"io"
	"testing"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/vole"
)

// freshDelta is Alice's Δ of a vault that starts: from a base OT, as in a pair
// setup.
func freshDelta(t *testing.T, restore int) [16]byte {
	t.Helper()
	_, m1, err := baseot.Start(mpctest.Reader("restore/bob/%d", restore))
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := baseot.Receive(mpctest.Reader("restore/alice/%d", restore), baseot.Instance{Sender: 2, Receiver: 1}, m1)
	if err != nil {
		t.Fatal(err)
	}
	return out.Delta
}

// treesOf deals the trees that belong to a Δ.
func treesOf(t *testing.T, rand io.Reader, delta [16]byte) (*pprf.Full, *pprf.Punctured) {
	t.Helper()
	bob, alice := new(pprf.Full), &pprf.Punctured{Delta: delta}
	for i := range bob.Leaf {
		for x := range bob.Leaf[i] {
			read(t, rand, bob.Leaf[i][x][:])
		}
		for z := 1; z < pprf.Leaves; z++ {
			alice.Leaf[i][z] = bob.Leaf[i][z^block(delta, i)]
		}
	}
	return bob, alice
}

// block is the i-th four bits of Δ.
func block(delta [16]byte, i int) int { return int(delta[i/2]>>(4*(i%2))) & 15 }

// A peer that cheats in the OT extension learns whether its guess of four bits of
// Δ is right: the check passes exactly then. Quarantine ends that, unless the host
// restores the vault to before. Against a setup that came back with the snapshot
// 300 tries collect half of Δ; but no setup does, and what the tries teach is of
// many Δ, none of which is in force.
func TestPitfall28_FailedCheckRepeatedByRestoring(t *testing.T) {
	restores := 300
	if raceEnabled || testing.Short() {
		restores = 30
	}
	a := [][2]*secp256k1.Scalar{{secp256k1.NewScalar().SetUint64(5), secp256k1.NewScalar().SetUint64(6)}}
	// try guesses block i of Δ: it changes the leaf that Alice lacks if it is right.
	try := func(delta [16]byte, run, i, guess int) bool {
		rand := mpctest.Reader("restore/%d", run)
		bob, alice := treesOf(t, rand, delta)
		bob.Leaf[i][guess][0] ^= 1
		dsid := [32]byte{byte(run), byte(run >> 8), byte(i), byte(guess)}
		_, m, err := vole.Receive(rand, bob, dsid, 1)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = vole.Send(rand, alice, dsid, m, a)
		if err != nil && !errors.Is(err, vole.ErrCheck) {
			t.Fatal(err)
		}
		return err == nil
	}
	// collect tries all guesses of a block, then goes on to the next.
	collect := func(deltaOf func(run int) [16]byte) map[int]int {
		learned := make(map[int]int)
		i, guess := 0, 0
		for run := range restores {
			delta := deltaOf(run)
			right := try(delta, run, i, guess)
			if right != (block(delta, i) == guess) {
				t.Fatalf("try %d: passed %t, but block %d of Δ is %d and the guess %d", run, right, i, block(delta, i), guess)
			}
			if right {
				learned[i] = guess
			}
			if guess++; right || guess == 16 {
				i, guess = i+1, 0
			}
		}
		return learned
	}
	fits := func(learned map[int]int, delta [16]byte) (n int) {
		for i, guess := range learned {
			if block(delta, i) == guess {
				n++
			}
		}
		return n
	}
	same := freshDelta(t, 0)
	if learned := collect(func(int) [16]byte { return same }); len(learned) < restores/16 || fits(learned, same) != len(learned) {
		t.Errorf("against one Δ the attack learns %d blocks, %d of them right: it proves nothing", len(learned), fits(learned, same))
	}
	seen := make(map[[16]byte]int)
	var last [16]byte
	learned := collect(func(run int) [16]byte {
		last = freshDelta(t, run)
		if before, ok := seen[last]; ok {
			t.Fatalf("restores %d and %d have one Δ", before, run)
		}
		seen[last] = run
		return last
	})
	if len(seen) != restores {
		t.Errorf("%d different Δ in %d restores", len(seen), restores)
	}
	if n := fits(learned, last); len(learned) > 4 && n > len(learned)/2 {
		t.Errorf("%d of %d blocks learned are of the Δ in force", n, len(learned))
	}
}
