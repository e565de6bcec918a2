package dkls23

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

// δ takes each of its items by itself: none may stand for another, as the job
// stands for message and tweak in an honest run.
func TestPitfall30_EveryItemOfDeltaIsBound(t *testing.T) {
	delta := func(edit func(*Online)) [32]byte {
		o := &Online{
			m:      &material{id: [32]byte{1}, self: 1, signers: []mpc.ID{1, 2}, encoded: [33]byte{2, 7}},
			item:   item{h: secp256k1.NewScalar().SetUint64(2), tweak: secp256k1.NewScalar().SetUint64(3), job: [32]byte{4}},
			nonce:  [32]byte{5},
			bodies: map[mpc.ID]*bodyA{2: {nonce: [32]byte{6}}},
		}
		edit(o)
		return o.delta().Bytes()
	}
	seen := map[[32]byte]string{delta(func(*Online) {}): "nothing"}
	for name, edit := range map[string]func(*Online){
		"R":            func(o *Online) { o.m.encoded[1] = 9 },
		"child key":    func(o *Online) { o.child[0] = 9 },
		"message":      func(o *Online) { o.item.h.SetUint64(9) },
		"tweak":        func(o *Online) { o.item.tweak.SetUint64(9) },
		"signers":      func(o *Online) { o.m.signers = []mpc.ID{1, 3}; o.bodies[3] = o.bodies[2] },
		"presignature": func(o *Online) { o.m.id[0] = 9 },
		"job":          func(o *Online) { o.item.job[0] = 9 },
		"own nonce":    func(o *Online) { o.nonce[0] = 9 },
		"other nonce":  func(o *Online) { o.bodies[2].nonce[0] = 9 },
	} {
		d := delta(edit)
		if other, ok := seen[d]; ok {
			t.Errorf("another %s and another %s give one δ", name, other)
		}
		seen[d] = name
	}
}
