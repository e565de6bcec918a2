package secp256k1

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// feOf returns v, below 2^256, as it is: not reduced.
func feOf(v *big.Int) fe {
	b := bytes32(v)
	return fe(limbsFromBytes(&b))
}

// rawBig returns the number that a holds, not reduced.
func rawBig(a *fe) *big.Int {
	b := limbsToBytes((*[4]uint64)(a))
	return new(big.Int).SetBytes(b[:])
}

func bigFe(a *fe) *big.Int {
	b := a.bytes()
	return new(big.Int).SetBytes(b[:])
}

func modP(v *big.Int) *big.Int { return new(big.Int).Mod(v, bigP) }

func TestFieldArithmeticAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := genWord().Draw(t, "x"), genWord().Draw(t, "y")
		a, b := feOf(x), feOf(y)
		n := func() *big.Int { return new(big.Int) }
		for _, c := range []struct {
			op   string
			f    func(z, a, b *fe)
			want *big.Int
		}{
			{"mul", func(z, a, b *fe) { z.mul(a, b) }, n().Mul(x, y)},
			{"sqr", func(z, a, _ *fe) { z.sqr(a) }, n().Mul(x, x)},
			{"add", func(z, a, b *fe) { z.add(a, b) }, n().Add(x, y)},
			{"sub", func(z, a, b *fe) { z.sub(a, b) }, n().Sub(x, y)},
			{"neg", func(z, a, _ *fe) { z.neg(a) }, n().Neg(x)},
			{"mulSmall 21", func(z, a, _ *fe) { z.mulSmall(a, 21) }, n().Mul(x, big.NewInt(21))},
			{"mulSmall max", func(z, a, _ *fe) { z.mulSmall(a, 1<<16-1) }, n().Mul(x, big.NewInt(1<<16-1))},
			{"condNeg 1", func(z, a, _ *fe) { z.condNeg(a, ^uint64(0)) }, n().Neg(x)},
			{"condNeg 0", func(z, a, _ *fe) { z.condNeg(a, 0) }, x},
			{"sel 1", func(z, a, b *fe) { z.sel(a, b, ^uint64(0)) }, x},
			{"sel 0", func(z, a, b *fe) { z.sel(a, b, 0) }, y},
			{"sqrN", func(z, a, _ *fe) { z.sqrN(a, 3) }, n().Exp(x, big.NewInt(8), bigP)},
		} {
			// The receiver may be either operand.
			var z fe
			za, zb := a, b
			c.f(&z, &a, &b)
			c.f(&za, &za, &b)
			c.f(&zb, &a, &zb)
			for i, got := range []*fe{&z, &za, &zb} {
				if bigFe(got).Cmp(modP(c.want)) != 0 {
					t.Fatalf("%s (aliasing %d) of %x, %x = %x, want %x", c.op, i, x, y, bigFe(got), modP(c.want))
				}
			}
		}
		xr := modP(x)
		if got, want := a.isZeroMask(), xr.Sign() == 0; (got == ^uint64(0)) != want || (got == 0) == want {
			t.Fatalf("isZeroMask of %x = %x", x, got)
		}
		if got := a.isOdd(); got != uint64(xr.Bit(0)) {
			t.Fatalf("isOdd of %x = %d", x, got)
		}
		z := a
		z.canon()
		if rawBig(&z).Cmp(xr) != 0 {
			t.Fatalf("canon of %x = %x", x, rawBig(&z))
		}
	})
}

func TestFieldPowersAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := genWord().Draw(t, "x")
		a := feOf(x)
		var z fe
		z.invert(&a)
		if want := new(big.Int).Exp(x, new(big.Int).Sub(bigP, big.NewInt(2)), bigP); bigFe(&z).Cmp(want) != 0 {
			t.Fatalf("1/%x = %x, want %x", x, bigFe(&z), want)
		}
		y := genWord().Draw(t, "y")
		zs := [2]fe{a, feOf(y)}
		powP34(&zs)
		for i, v := range []*big.Int{x, y} {
			if want := new(big.Int).Exp(v, new(big.Int).Rsh(bigP, 2), bigP); bigFe(&zs[i]).Cmp(want) != 0 {
				t.Fatalf("%x^((p-3)/4) = %x, want %x", v, bigFe(&zs[i]), want)
			}
		}
		isSquare := big.Jacobi(modP(x), bigP) >= 0
		ok := z.sqrt(&a)
		if (ok == ^uint64(0)) != isSquare || (ok == 0) == isSquare {
			t.Fatalf("sqrt of %x: mask %x, want square %v", x, ok, isSquare)
		}
		if isSquare {
			z.sqr(&z)
			if bigFe(&z).Cmp(modP(x)) != 0 {
				t.Fatalf("sqrt(%x)^2 = %x", x, bigFe(&z))
			}
		}
	})
}

// When the last fold of a product carries, and the second limb with it, is rare
// enough that random operands never get there. These do: (p-a)(p-b) leaves a*b,
// just above 2^64.
func TestFieldLastFoldCarries(t *testing.T) {
	mask := new(big.Int).Sub(big256, big.NewInt(1))
	fold := big.NewInt(foldC)
	carried := 0
	for i := int64(0); i < 40; i++ {
		for j := int64(0); j < 40; j++ {
			x := new(big.Int).Sub(bigP, big.NewInt(1<<32+13*i))
			y := new(big.Int).Sub(bigP, big.NewInt(1<<32+11*j))
			a, b := feOf(x), feOf(y)
			var z fe
			z.mul(&a, &b)
			want := modP(new(big.Int).Mul(x, y))
			if bigFe(&z).Cmp(want) != 0 {
				t.Fatalf("%x * %x = %x, want %x", x, y, bigFe(&z), want)
			}
			z.sqr(&a)
			want = modP(new(big.Int).Mul(x, x))
			if bigFe(&z).Cmp(want) != 0 {
				t.Fatalf("%x^2 = %x, want %x", x, bigFe(&z), want)
			}

			// Follow the folds, to know that the case occurs.
			w := new(big.Int).Mul(x, y)
			for range 2 {
				hi := new(big.Int).Rsh(w, 256)
				w.And(w, mask).Add(w, hi.Mul(hi, fold))
			}
			if w.BitLen() > 256 {
				low := new(big.Int).And(w, new(big.Int).SetUint64(1<<64-1))
				if low.Add(low, fold).BitLen() > 64 {
					carried++
				}
			}
		}
	}
	if carried == 0 {
		t.Fatal("no case carries: the test tests nothing")
	}
}

// The high halves of the products with foldC or a small number are small, so
// that the carries between them are rare: they need low halves of all ones. The
// limbs here give such low halves, in every combination.
func TestFieldFoldCarries(t *testing.T) {
	two64 := new(big.Int).Lsh(big.NewInt(1), 64)
	allOnes := func(k int64) uint64 { // the limb x with low(k*x) = 2^64 - 1
		inv := new(big.Int).ModInverse(big.NewInt(k), two64)
		return new(big.Int).Sub(two64, inv).Uint64()
	}
	check := func(op string, z *fe, want *big.Int) {
		t.Helper()
		if bigFe(z).Cmp(modP(want)) != 0 {
			t.Fatalf("%s = %x, want %x", op, bigFe(z), modP(want))
		}
	}
	limbs := []uint64{0, ^uint64(0), allOnes(foldC), allOnes(foldC) - 1, allOnes(b3), allOnes(b3) - 1}
	shift := new(big.Int).Lsh(big.NewInt(1), 255)
	half := feOf(shift)
	for i := range len(limbs) * len(limbs) * len(limbs) * len(limbs) {
		var w fe
		for j, k := 0, i; j < 4; j, k = j+1, k/len(limbs) {
			w[j] = limbs[k%len(limbs)]
		}
		v := rawBig(&w)
		var z fe
		z.mulSmall(&w, b3)
		check("mulSmall", &z, new(big.Int).Mul(v, big.NewInt(b3)))

		// A product and a square with high halves of w, but for the top bit
		// and the lowest bits.
		x := new(big.Int).Lsh(v, 1)
		x.And(x, new(big.Int).Sub(big256, big.NewInt(1)))
		a := feOf(x)
		z.mul(&a, &half)
		check("mul", &z, new(big.Int).Mul(x, shift))
		root := new(big.Int).Sqrt(new(big.Int).Lsh(v, 256))
		a = feOf(root)
		z.sqr(&a)
		check("sqr", &z, new(big.Int).Mul(root, root))
	}
}

func TestFieldSetWide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hi, lo := genWord().Draw(t, "hi"), genWord().Draw(t, "lo")
		v := new(big.Int).Rsh(hi, 128)
		v.Lsh(v, 256).Or(v, lo)
		var b [48]byte
		v.FillBytes(b[:])
		var z fe
		z.setWide(&b)
		if bigFe(&z).Cmp(modP(v)) != 0 {
			t.Fatalf("%x mod p = %x, want %x", v, bigFe(&z), modP(v))
		}
	})
}
