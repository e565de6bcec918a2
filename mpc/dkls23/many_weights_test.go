package dkls23_test

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// Errors of two slots that cancel in the plain sum of the products: δ₀χ₀ + δ₁χ₁ = 0.
// It takes a cheat who knows a relation of the χ, which nobody does; the weights ρ
// come after the errors, and so catch this one too.
func TestPitfall20_ManyErrorsThatCancel(t *testing.T) {
	errorsThatCancel(t, []string{"batch", "V2"}, func(s *dkls23.Secrets) *secp256k1.Scalar { return s.R })
}

func TestPitfall21_ManyErrorsThatCancel(t *testing.T) {
	errorsThatCancel(t, flavours, func(s *dkls23.Secrets) *secp256k1.Scalar { return s.SK })
}

func errorsThatCancel(t *testing.T, flavours []string, input func(*dkls23.Secrets) *secp256k1.Scalar) {
	c := shared(t, 3, 2)
	for _, flavour := range flavours {
		var delta [2]*secp256k1.Scalar
		_, err := c.cheatMany(t, flavour, func(m *mpctest.Many) {
			bob := m.Sessions[1].(interface {
				Chi(j mpc.ID, slot int) *secp256k1.Scalar
			})
			delta[0] = secp256k1.NewScalar().Set(bob.Chi(2, 1))
			delta[1] = secp256k1.NewScalar().Negate(bob.Chi(2, 0))
			sum := secp256k1.NewScalar().Mul(delta[0], bob.Chi(2, 0))
			if sum.MulAdd(delta[1], bob.Chi(2, 1), sum).IsZero() != 1 {
				t.Fatal("the errors do not cancel: the test proves nothing")
			}
		}, func(slot int, s *dkls23.Secrets) { input(s).Add(input(s), delta[slot]) })
		mpctest.WantAbort(t, err, mpc.Quarantine, 2)
		mpctest.WantStep(t, err, dkls23.Step3Gamma)
	}
}

// The weights of the joint check: 1, then 128 bits that depend on every item.
func TestPitfall20_EveryItemOfTheWeightsIsBound(t *testing.T) {
	c := shared(t, 3, 2)
	m := c.start(t, "batch", mpctest.IDs(2), 1)
	other := c.start(t, "batch", mpctest.IDs(2), 1)
	b := m.Batch[1]
	points := [][33]byte{{1}, {2}}
	seen := make(map[[32]byte]string)
	for name, rho := range map[string][][32]byte{
		"as they are":     b.Weights(1, 2, [32]byte{3}, points, [33]byte{4}),
		"another session": other.Batch[1].Weights(1, 2, [32]byte{3}, points, [33]byte{4}),
		"back":            b.Weights(2, 1, [32]byte{3}, points, [33]byte{4}),
		"another mu":      b.Weights(1, 2, [32]byte{5}, points, [33]byte{4}),
		"another first R": b.Weights(1, 2, [32]byte{3}, [][33]byte{{6}, {2}}, [33]byte{4}),
		"another last R":  b.Weights(1, 2, [32]byte{3}, [][33]byte{{1}, {32: 6}}, [33]byte{4}),
		"another pk":      b.Weights(1, 2, [32]byte{3}, points, [33]byte{32: 4}),
	} {
		if len(rho) != 2 || rho[0] != [32]byte{31: 1} || [16]byte(rho[1][:16]) != [16]byte{} || rho[1] == [32]byte{} {
			t.Errorf("%s: weights %x, want 1 and 128 bits", name, rho)
		}
		if seen[rho[1]] != "" {
			t.Errorf("%s has the weights of %s", name, seen[rho[1]])
		}
		seen[rho[1]] = name
	}
	if a, z := b.Weights(1, 2, [32]byte{3}, points, [33]byte{4}), m.Batch[2].Weights(1, 2, [32]byte{3}, points, [33]byte{4}); a[1] != z[1] {
		t.Error("the signers have different weights")
	}
}
