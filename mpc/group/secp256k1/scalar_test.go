package secp256k1

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestScalarArithmeticAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := genWord().Draw(t, "x")
		y := genWord().Draw(t, "y")
		z := genWord().Draw(t, "z")
		a, b, c := scalarOf(x), scalarOf(y), scalarOf(z)
		check := func(op string, got *Scalar, want *big.Int) {
			t.Helper()
			want.Mod(want, bigQ)
			if bigOf(got).Cmp(want) != 0 {
				t.Fatalf("%s of %x, %x, %x = %x, want %x", op, x, y, z, bigOf(got), want)
			}
		}
		n := func() *big.Int { return new(big.Int) }
		check("add", NewScalar().Add(a, b), n().Add(x, y))
		check("sub", NewScalar().Sub(a, b), n().Sub(x, y))
		check("mul", NewScalar().Mul(a, b), n().Mul(x, y))
		check("square", NewScalar().Square(a), n().Mul(x, x))
		check("negate", NewScalar().Negate(a), n().Neg(x))
		check("muladd", NewScalar().MulAdd(a, b, c), n().Add(n().Mul(x, y), z))
		inv := n()
		if xr := n().Mod(x, bigQ); xr.Sign() != 0 {
			inv.ModInverse(xr, bigQ)
		}
		check("invert", NewScalar().Invert(a), inv)
	})
}
