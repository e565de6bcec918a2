package otext

import "math/bits"

// gf is an element of GF(2)[x]/(x¹²⁸ + x⁷ + x² + x + 1). Bit n of the pair
// (lo first) is the coefficient of xⁿ.
type gf struct{ lo, hi uint64 }

// double returns x·a, for a public a or a secret one.
func (a gf) double() gf {
	return gf{a.lo<<1 ^ 0x87&-(a.hi>>63), a.hi<<1 | a.lo>>63}
}

// wide is a product before its reduction, 255 bits.
type wide [4]uint64

// spread is a public or secret 64-bit polynomial, split so that integer
// multiplication becomes carry-less: every fourth bit, in four classes.
type spread [4]uint64

const (
	class0 = 0x1111111111111111
	class1 = class0 << 1
	class2 = class0 << 2
	class3 = class0 << 3
)

func split(x uint64) spread {
	return spread{x & class0, x & class1, x & class2, x & class3}
}

// clmulLow returns the low 64 bits of the carry-less product. In every integer
// product below, at most 16 ones meet in one bit position, and 16 only in the
// topmost class, whose carry leaves the word: no carry reaches another position
// of the same class.
func clmulLow(x, y *spread) uint64 {
	z0 := x[0]*y[0] ^ x[1]*y[3] ^ x[2]*y[2] ^ x[3]*y[1]
	z1 := x[0]*y[1] ^ x[1]*y[0] ^ x[2]*y[3] ^ x[3]*y[2]
	z2 := x[0]*y[2] ^ x[1]*y[1] ^ x[2]*y[0] ^ x[3]*y[3]
	z3 := x[0]*y[3] ^ x[1]*y[2] ^ x[2]*y[1] ^ x[3]*y[0]
	return z0&class0 | z1&class1 | z2&class2 | z3&class3
}

// factor is a multiplier prepared for many products: its two halves and their
// sum, each also with its bits reversed, which gives the high half of a product.
type factor [6]spread

func newFactor(a gf) factor {
	m := a.lo ^ a.hi
	return factor{
		split(a.lo), split(bits.Reverse64(a.lo)),
		split(a.hi), split(bits.Reverse64(a.hi)),
		split(m), split(bits.Reverse64(m)),
	}
}

// clmul returns the 127-bit carry-less product of one half of f and x.
func (f *factor) clmul(half int, x uint64) (lo, hi uint64) {
	a, b := split(x), split(bits.Reverse64(x))
	lo = clmulLow(&f[2*half], &a)
	hi = bits.Reverse64(clmulLow(&f[2*half+1], &b)) >> 1
	return lo, hi
}

// mulAdd adds f·v to w, by Karatsuba. Its time does not depend on f or v.
func (w *wide) mulAdd(f *factor, v gf) {
	l0, l1 := f.clmul(0, v.lo)
	h0, h1 := f.clmul(1, v.hi)
	m0, m1 := f.clmul(2, v.lo^v.hi)
	m0 ^= l0 ^ h0
	m1 ^= l1 ^ h1
	w[0] ^= l0
	w[1] ^= l1 ^ m0
	w[2] ^= h0 ^ m1
	w[3] ^= h1
}

// reduce folds x¹²⁸ = x⁷ + x² + x + 1 in, twice.
func (w *wide) reduce() gf {
	// What x⁷ and x² push out of the high half. (x pushes nothing: a product has
	// 255 bits.)
	over := w[3]>>57 ^ w[3]>>62
	a := w[2] ^ over
	return gf{
		lo: w[0] ^ a ^ a<<7 ^ a<<2 ^ a<<1,
		hi: w[1] ^ w[3] ^ (w[3]<<7 | a>>57) ^ (w[3]<<2 | a>>62) ^ (w[3]<<1 | a>>63),
	}
}
