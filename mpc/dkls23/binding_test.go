package dkls23

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

// The commitment to R takes each of its items by itself.
func TestPitfall24_EveryItemOfTheCommitmentIsBound(t *testing.T) {
	c := func(sid byte, id mpc.ID, point, salt byte) [32]byte {
		return rCommitment([32]byte{sid}, id, &[33]byte{point}, &[32]byte{salt})
	}
	seen := make(map[[32]byte]string)
	for name, h := range map[string][32]byte{
		"nothing": c(1, 2, 3, 4), "session": c(9, 2, 3, 4), "author": c(1, 9, 3, 4), "point": c(1, 2, 9, 4), "salt": c(1, 2, 3, 9),
	} {
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s give one commitment", name, other)
		}
		seen[h] = name
	}
}
