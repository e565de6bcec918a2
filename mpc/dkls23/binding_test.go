package dkls23

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/pair"
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

// A dsid is of one session, one direction, one slot and one pair setup: seeds of
// another setup never serve under it.
func TestPitfall26_EveryItemOfTheDSIDIsBound(t *testing.T) {
	dsid := func(sid, setup byte, bob, alice mpc.ID, slot uint64) [32]byte {
		s := &run{self: 1, sid: [32]byte{sid}, setups: map[mpc.ID]*pair.Setup{
			2: {Hash: [32]byte{setup}}, 3: {Hash: [32]byte{setup}},
		}}
		return s.dsid(bob, alice, slot)
	}
	seen := make(map[[32]byte]string)
	for name, d := range map[string][32]byte{
		"nothing": dsid(1, 2, 1, 2, 0), "session": dsid(9, 2, 1, 2, 0), "setup": dsid(1, 9, 1, 2, 0),
		"direction": dsid(1, 2, 2, 1, 0), "peer": dsid(1, 2, 1, 3, 0), "slot": dsid(1, 2, 1, 2, 1),
		"peer as bob": dsid(1, 2, 3, 1, 0), // beside "direction", 2 as bob
	} {
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s give one dsid", name, other)
		}
		seen[d] = name
	}
}
