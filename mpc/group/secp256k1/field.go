package secp256k1

import (
	"encoding/binary"
	"math/bits"
)

// fe is an element of F_p, p = 2^256 - foldC, as four limbs of 64 bits, least
// significant first. Any number below 2^256 stands for its class: only canon,
// and what calls it, distinguishes a number from its remainder.
type fe [4]uint64

// foldC is 2^256 mod p: what a carry out of the highest limb is worth.
const foldC = 1<<32 + 977

var (
	feZero = fe{}
	feOne  = fe{1}
)

// mul sets z = a*b.
func (z *fe) mul(a, b *fe) {
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	b0 := b[0]
	h0, w0 := bits.Mul64(a0, b0)
	h1, l1 := bits.Mul64(a1, b0)
	h2, l2 := bits.Mul64(a2, b0)
	h3, l3 := bits.Mul64(a3, b0)
	w1, c := bits.Add64(l1, h0, 0)
	w2, c := bits.Add64(l2, h1, c)
	w3, c := bits.Add64(l3, h2, c)
	w4, _ := bits.Add64(h3, 0, c)

	b0 = b[1]
	h0, l0 := bits.Mul64(a0, b0)
	h1, l1 = bits.Mul64(a1, b0)
	h2, l2 = bits.Mul64(a2, b0)
	h3, l3 = bits.Mul64(a3, b0)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	w1, c = bits.Add64(w1, l0, 0)
	w2, c = bits.Add64(w2, l1, c)
	w3, c = bits.Add64(w3, l2, c)
	w4, c = bits.Add64(w4, l3, c)
	w5, _ := bits.Add64(h3, 0, c)

	b0 = b[2]
	h0, l0 = bits.Mul64(a0, b0)
	h1, l1 = bits.Mul64(a1, b0)
	h2, l2 = bits.Mul64(a2, b0)
	h3, l3 = bits.Mul64(a3, b0)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	w2, c = bits.Add64(w2, l0, 0)
	w3, c = bits.Add64(w3, l1, c)
	w4, c = bits.Add64(w4, l2, c)
	w5, c = bits.Add64(w5, l3, c)
	w6, _ := bits.Add64(h3, 0, c)

	b0 = b[3]
	h0, l0 = bits.Mul64(a0, b0)
	h1, l1 = bits.Mul64(a1, b0)
	h2, l2 = bits.Mul64(a2, b0)
	h3, l3 = bits.Mul64(a3, b0)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	w3, c = bits.Add64(w3, l0, 0)
	w4, c = bits.Add64(w4, l1, c)
	w5, c = bits.Add64(w5, l2, c)
	w6, c = bits.Add64(w6, l3, c)
	w7, _ := bits.Add64(h3, 0, c)

	// Fold the high half: w = w[0:4] + foldC*w[4:8], h3 below 2^34.
	h0, l0 = bits.Mul64(w4, foldC)
	h1, l1 = bits.Mul64(w5, foldC)
	h2, l2 = bits.Mul64(w6, foldC)
	h3, l3 = bits.Mul64(w7, foldC)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	w0, c = bits.Add64(w0, l0, 0)
	w1, c = bits.Add64(w1, l1, c)
	w2, c = bits.Add64(w2, l2, c)
	w3, c = bits.Add64(w3, l3, c)
	h3, _ = bits.Add64(h3, 0, c)
	// Fold h3, below 2^67 in all. If that carries, what is left is below 2^67
	// too, and folding the carry reaches no further than the second limb.
	h0, l0 = bits.Mul64(h3, foldC)
	w0, c = bits.Add64(w0, l0, 0)
	w1, c = bits.Add64(w1, h0, c)
	w2, c = bits.Add64(w2, 0, c)
	w3, c = bits.Add64(w3, 0, c)
	z[0], c = bits.Add64(w0, -c&foldC, 0)
	z[1] = w1 + c
	z[2] = w2
	z[3] = w3
}

// sqr sets z = a^2.
func (z *fe) sqr(a *fe) {
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	w2, w1 := bits.Mul64(a0, a1)
	h2, l2 := bits.Mul64(a0, a2)
	h3, l3 := bits.Mul64(a0, a3)
	w2, c := bits.Add64(w2, l2, 0)
	w3, c := bits.Add64(l3, h2, c)
	w4, _ := bits.Add64(h3, 0, c)
	h0, l0 := bits.Mul64(a1, a2)
	h1, l1 := bits.Mul64(a1, a3)
	h2, l2 = bits.Mul64(a2, a3)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	w6, _ := bits.Add64(h2, 0, c)
	w3, c = bits.Add64(w3, l0, 0)
	w4, c = bits.Add64(w4, l1, c)
	w5, c := bits.Add64(l2, 0, c)
	w6, _ = bits.Add64(w6, 0, c)

	w1, c = bits.Add64(w1, w1, 0)
	w2, c = bits.Add64(w2, w2, c)
	w3, c = bits.Add64(w3, w3, c)
	w4, c = bits.Add64(w4, w4, c)
	w5, c = bits.Add64(w5, w5, c)
	w6, c = bits.Add64(w6, w6, c)
	w7, _ := bits.Add64(0, 0, c)

	h0, w0 := bits.Mul64(a0, a0)
	h1, l1 = bits.Mul64(a1, a1)
	h2, l2 = bits.Mul64(a2, a2)
	h3, l3 = bits.Mul64(a3, a3)
	w1, c = bits.Add64(w1, h0, 0)
	w2, c = bits.Add64(w2, l1, c)
	w3, c = bits.Add64(w3, h1, c)
	w4, c = bits.Add64(w4, l2, c)
	w5, c = bits.Add64(w5, h2, c)
	w6, c = bits.Add64(w6, l3, c)
	w7, _ = bits.Add64(w7, h3, c)

	h0, l0 = bits.Mul64(w4, foldC)
	h1, l1 = bits.Mul64(w5, foldC)
	h2, l2 = bits.Mul64(w6, foldC)
	h3, l3 = bits.Mul64(w7, foldC)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	w0, c = bits.Add64(w0, l0, 0)
	w1, c = bits.Add64(w1, l1, c)
	w2, c = bits.Add64(w2, l2, c)
	w3, c = bits.Add64(w3, l3, c)
	h3, _ = bits.Add64(h3, 0, c)
	h0, l0 = bits.Mul64(h3, foldC)
	w0, c = bits.Add64(w0, l0, 0)
	w1, c = bits.Add64(w1, h0, c)
	w2, c = bits.Add64(w2, 0, c)
	w3, c = bits.Add64(w3, 0, c)
	z[0], c = bits.Add64(w0, -c&foldC, 0)
	z[1] = w1 + c
	z[2] = w2
	z[3] = w3
}

// sqrN sets z = a^(2^n), n >= 1.
func (z *fe) sqrN(a *fe, n int) {
	z.sqr(a)
	for i := 1; i < n; i++ {
		z.sqr(z)
	}
}

// add sets z = a + b.
func (z *fe) add(a, b *fe) {
	w0, c := bits.Add64(a[0], b[0], 0)
	w1, c := bits.Add64(a[1], b[1], c)
	w2, c := bits.Add64(a[2], b[2], c)
	w3, c := bits.Add64(a[3], b[3], c)
	w0, c = bits.Add64(w0, -c&foldC, 0)
	w1, c = bits.Add64(w1, 0, c)
	w2, c = bits.Add64(w2, 0, c)
	w3, c = bits.Add64(w3, 0, c)
	// After a second carry w0 is below foldC.
	z[0] = w0 + -c&foldC
	z[1] = w1
	z[2] = w2
	z[3] = w3
}

// sub sets z = a - b.
func (z *fe) sub(a, b *fe) {
	w0, c := bits.Sub64(a[0], b[0], 0)
	w1, c := bits.Sub64(a[1], b[1], c)
	w2, c := bits.Sub64(a[2], b[2], c)
	w3, c := bits.Sub64(a[3], b[3], c)
	w0, c = bits.Sub64(w0, -c&foldC, 0)
	w1, c = bits.Sub64(w1, 0, c)
	w2, c = bits.Sub64(w2, 0, c)
	w3, c = bits.Sub64(w3, 0, c)
	// After a second borrow w0 is at least 2^64 - foldC.
	z[0] = w0 - -c&foldC
	z[1] = w1
	z[2] = w2
	z[3] = w3
}

// neg sets z = -a.
func (z *fe) neg(a *fe) { z.sub(&feZero, a) }

// mulSmall sets z = a*k, k below 2^16.
func (z *fe) mulSmall(a *fe, k uint64) {
	h0, l0 := bits.Mul64(a[0], k)
	h1, l1 := bits.Mul64(a[1], k)
	h2, l2 := bits.Mul64(a[2], k)
	h3, l3 := bits.Mul64(a[3], k)
	l1, c := bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	w0, c := bits.Add64(l0, h3*foldC, 0)
	w1, c := bits.Add64(l1, 0, c)
	w2, c := bits.Add64(l2, 0, c)
	w3, c := bits.Add64(l3, 0, c)
	z[0] = w0 + -c&foldC
	z[1] = w1
	z[2] = w2
	z[3] = w3
}

// canon reduces z to its only representative below p.
func (z *fe) canon() {
	// z >= p exactly when z + foldC carries.
	t0, c := bits.Add64(z[0], foldC, 0)
	t1, c := bits.Add64(z[1], 0, c)
	t2, c := bits.Add64(z[2], 0, c)
	t3, c := bits.Add64(z[3], 0, c)
	m := -c
	z[0] ^= m & (z[0] ^ t0)
	z[1] ^= m & (z[1] ^ t1)
	z[2] ^= m & (z[2] ^ t2)
	z[3] ^= m & (z[3] ^ t3)
}

// sel sets z = a if m is all ones, b if m is zero.
func (z *fe) sel(a, b *fe, m uint64) {
	z[0] = b[0] ^ m&(a[0]^b[0])
	z[1] = b[1] ^ m&(a[1]^b[1])
	z[2] = b[2] ^ m&(a[2]^b[2])
	z[3] = b[3] ^ m&(a[3]^b[3])
}

// condNeg sets z = -a if m is all ones, a if m is zero.
func (z *fe) condNeg(a *fe, m uint64) {
	var n fe
	n.neg(a)
	z.sel(&n, a, m)
}

// isZeroMask returns all ones if a = 0 mod p, else zero.
func (a *fe) isZeroMask() uint64 {
	t := *a
	t.canon()
	return zeroMask(t[0] | t[1] | t[2] | t[3])
}

// isOdd returns the lowest bit of the canonical value: sgn0 of RFC 9380.
func (a *fe) isOdd() uint64 {
	t := *a
	t.canon()
	return t[0] & 1
}

// zeroMask returns all ones if v is zero, else zero.
func zeroMask(v uint64) uint64 {
	return (v|-v)>>63 - 1
}

// setBytes sets z to the 32 big-endian bytes of b and returns all ones if they
// are below p, else zero.
func (z *fe) setBytes(b *[32]byte) uint64 {
	*z = limbsFromBytes(b)
	_, c := bits.Add64(z[0], foldC, 0)
	_, c = bits.Add64(z[1], 0, c)
	_, c = bits.Add64(z[2], 0, c)
	_, c = bits.Add64(z[3], 0, c)
	return c - 1
}

// setWide sets z to the 48 big-endian bytes of b, mod p.
func (z *fe) setWide(b *[48]byte) {
	h := fe{binary.BigEndian.Uint64(b[8:16]), binary.BigEndian.Uint64(b[0:8])}
	h.mul(&h, &fe{foldC})
	z.setBytes((*[32]byte)(b[16:]))
	z.add(z, &h)
}

// bytes returns the canonical value as 32 big-endian bytes.
func (a *fe) bytes() [32]byte {
	t := *a
	t.canon()
	return limbsToBytes((*[4]uint64)(&t))
}

func limbsFromBytes(b *[32]byte) [4]uint64 {
	return [4]uint64{
		binary.BigEndian.Uint64(b[24:32]),
		binary.BigEndian.Uint64(b[16:24]),
		binary.BigEndian.Uint64(b[8:16]),
		binary.BigEndian.Uint64(b[0:8]),
	}
}

func limbsToBytes(v *[4]uint64) (b [32]byte) {
	binary.BigEndian.PutUint64(b[0:8], v[3])
	binary.BigEndian.PutUint64(b[8:16], v[2])
	binary.BigEndian.PutUint64(b[16:24], v[1])
	binary.BigEndian.PutUint64(b[24:32], v[0])
	return b
}
