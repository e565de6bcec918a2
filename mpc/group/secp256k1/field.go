package secp256k1

import (
	"encoding/binary"
	"math/bits"
)

// fe is an element of F_p, p = 2^256 - 2^32 - 977, in radix 2^52.
//
// Limbs are loose: fe has "magnitude" m when every limb is at most
// m * 2^52 * 16/15. Additions do not carry; they add magnitudes. mul and sqr
// accept operands whose magnitudes multiply to at most maxProduct and return
// magnitude 1. The magnitudes are tracked by hand in comments and by the
// bounds test.
type fe struct {
	l0, l1, l2, l3, l4 uint64
}

const (
	mask52 = 1<<52 - 1
	mask48 = 1<<48 - 1

	// foldC is 2^256 mod p; foldR is 2^260 mod p, what a carry out of the
	// fifth limb is worth.
	foldC = 1<<32 + 977
	foldR = foldC << 4

	// The limbs of 16p = 2^260 - foldR, all of them close to 2^52, so that
	// k*16p - a has no negative limb when a has a magnitude below k*15/16.
	p16Low  = 1<<52 - foldR
	p16High = mask52
)

var (
	feZero = fe{}
	feOne  = fe{l0: 1}
)

// maxProduct bounds the product of the magnitudes of two factors: beyond it
// the carry out of the highest column would not fit in 64 bits.
const maxProduct = 780

// mulAcc returns (hi, lo) + a*b.
func mulAcc(hi, lo, a, b uint64) (uint64, uint64) {
	h, l := bits.Mul64(a, b)
	lo, c := bits.Add64(lo, l, 0)
	hi, _ = bits.Add64(hi, h, c)
	return hi, lo
}

// shr52 returns (hi, lo) >> 52.
func shr52(hi, lo uint64) (uint64, uint64) {
	return hi >> 52, hi<<12 | lo>>52
}

// mul sets z = a*b.
func (z *fe) mul(a, b *fe) {
	a0, a1, a2, a3, a4 := a.l0, a.l1, a.l2, a.l3, a.l4
	b0, b1, b2, b3, b4 := b.l0, b.l1, b.l2, b.l3, b.l4

	// Columns 5..8, worth 2^260 * 2^(52 i), carried into h0..h4.
	hi, lo := bits.Mul64(a1, b4)
	hi, lo = mulAcc(hi, lo, a2, b3)
	hi, lo = mulAcc(hi, lo, a3, b2)
	hi, lo = mulAcc(hi, lo, a4, b1)
	h0 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, a2, b4)
	hi, lo = mulAcc(hi, lo, a3, b3)
	hi, lo = mulAcc(hi, lo, a4, b2)
	h1 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, a3, b4)
	hi, lo = mulAcc(hi, lo, a4, b3)
	h2 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, a4, b4)
	h3 := lo & mask52
	_, h4 := shr52(hi, lo)

	// Columns 0..4, with foldR * h_i added in.
	hi, lo = bits.Mul64(h0, foldR)
	hi, lo = mulAcc(hi, lo, a0, b0)
	r0 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h1, foldR)
	hi, lo = mulAcc(hi, lo, a0, b1)
	hi, lo = mulAcc(hi, lo, a1, b0)
	r1 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h2, foldR)
	hi, lo = mulAcc(hi, lo, a0, b2)
	hi, lo = mulAcc(hi, lo, a1, b1)
	hi, lo = mulAcc(hi, lo, a2, b0)
	z.l2 = lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h3, foldR)
	hi, lo = mulAcc(hi, lo, a0, b3)
	hi, lo = mulAcc(hi, lo, a1, b2)
	hi, lo = mulAcc(hi, lo, a2, b1)
	hi, lo = mulAcc(hi, lo, a3, b0)
	z.l3 = lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h4, foldR)
	hi, lo = mulAcc(hi, lo, a0, b4)
	hi, lo = mulAcc(hi, lo, a1, b3)
	hi, lo = mulAcc(hi, lo, a2, b2)
	hi, lo = mulAcc(hi, lo, a3, b1)
	hi, lo = mulAcc(hi, lo, a4, b0)
	z.l4 = lo & mask52
	_, lo = shr52(hi, lo)
	hi, lo = bits.Mul64(lo, foldR)
	lo, c := bits.Add64(lo, r0, 0)
	hi += c
	z.l0 = lo & mask52
	_, lo = shr52(hi, lo)
	z.l1 = r1 + lo
}

// sqr sets z = a^2.
func (z *fe) sqr(a *fe) {
	a0, a1, a2, a3, a4 := a.l0, a.l1, a.l2, a.l3, a.l4
	d0, d1, d2, d3 := a0*2, a1*2, a2*2, a3*2

	hi, lo := bits.Mul64(d1, a4)
	hi, lo = mulAcc(hi, lo, d2, a3)
	h0 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, d2, a4)
	hi, lo = mulAcc(hi, lo, a3, a3)
	h1 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, d3, a4)
	h2 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, a4, a4)
	h3 := lo & mask52
	_, h4 := shr52(hi, lo)

	hi, lo = bits.Mul64(h0, foldR)
	hi, lo = mulAcc(hi, lo, a0, a0)
	r0 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h1, foldR)
	hi, lo = mulAcc(hi, lo, d0, a1)
	r1 := lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h2, foldR)
	hi, lo = mulAcc(hi, lo, d0, a2)
	hi, lo = mulAcc(hi, lo, a1, a1)
	z.l2 = lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h3, foldR)
	hi, lo = mulAcc(hi, lo, d0, a3)
	hi, lo = mulAcc(hi, lo, d1, a2)
	z.l3 = lo & mask52
	hi, lo = shr52(hi, lo)
	hi, lo = mulAcc(hi, lo, h4, foldR)
	hi, lo = mulAcc(hi, lo, d0, a4)
	hi, lo = mulAcc(hi, lo, d1, a3)
	hi, lo = mulAcc(hi, lo, a2, a2)
	z.l4 = lo & mask52
	_, lo = shr52(hi, lo)
	hi, lo = bits.Mul64(lo, foldR)
	lo, c := bits.Add64(lo, r0, 0)
	hi += c
	z.l0 = lo & mask52
	_, lo = shr52(hi, lo)
	z.l1 = r1 + lo
}

// sqrN sets z = a^(2^n), n >= 1.
func (z *fe) sqrN(a *fe, n int) {
	z.sqr(a)
	for i := 1; i < n; i++ {
		z.sqr(z)
	}
}

// add sets z = a + b; magnitudes add up.
func (z *fe) add(a, b *fe) {
	z.l0 = a.l0 + b.l0
	z.l1 = a.l1 + b.l1
	z.l2 = a.l2 + b.l2
	z.l3 = a.l3 + b.l3
	z.l4 = a.l4 + b.l4
}

// sub sets z = a + k*16p - b. b must have a magnitude of at most k*15/16; the
// result has that of a plus k.
func (z *fe) sub(a, b *fe, k uint64) {
	z.l0 = a.l0 + k*p16Low - b.l0
	z.l1 = a.l1 + k*p16High - b.l1
	z.l2 = a.l2 + k*p16High - b.l2
	z.l3 = a.l3 + k*p16High - b.l3
	z.l4 = a.l4 + k*p16High - b.l4
}

// mulSmall sets z = a*k; the magnitude is multiplied by k.
func (z *fe) mulSmall(a *fe, k uint64) {
	z.l0 = a.l0 * k
	z.l1 = a.l1 * k
	z.l2 = a.l2 * k
	z.l3 = a.l3 * k
	z.l4 = a.l4 * k
}

// carry brings z down to magnitude 1 without making it canonical.
func (z *fe) carry() {
	c := z.l4 >> 52
	l0 := z.l0 + c*foldR
	l1 := z.l1 + l0>>52
	l2 := z.l2 + l1>>52
	l3 := z.l3 + l2>>52
	z.l0 = l0 & mask52
	z.l1 = l1 & mask52
	z.l2 = l2 & mask52
	z.l3 = l3 & mask52
	z.l4 = z.l4&mask52 + l3>>52
}

// canon reduces z to its only representative below p.
func (z *fe) canon() {
	// After this pass z < 2^256 + 2^231.
	c := z.l4 >> 48
	l0 := z.l0 + c*foldC
	l1 := z.l1 + l0>>52
	l2 := z.l2 + l1>>52
	l3 := z.l3 + l2>>52
	l4 := z.l4&mask48 + l3>>52
	l0 &= mask52
	l1 &= mask52
	l2 &= mask52
	l3 &= mask52

	// z >= p exactly when z + foldC carries out of bit 256.
	t0 := l0 + foldC
	t1 := l1 + t0>>52
	t2 := l2 + t1>>52
	t3 := l3 + t2>>52
	t4 := l4 + t3>>52
	m := -(t4 >> 48)
	z.l0 = l0 ^ m&(l0^t0&mask52)
	z.l1 = l1 ^ m&(l1^t1&mask52)
	z.l2 = l2 ^ m&(l2^t2&mask52)
	z.l3 = l3 ^ m&(l3^t3&mask52)
	z.l4 = l4 ^ m&(l4^t4&mask48)
}

// sel sets z = a if m is all ones, b if m is zero.
func (z *fe) sel(a, b *fe, m uint64) {
	z.l0 = b.l0 ^ m&(a.l0^b.l0)
	z.l1 = b.l1 ^ m&(a.l1^b.l1)
	z.l2 = b.l2 ^ m&(a.l2^b.l2)
	z.l3 = b.l3 ^ m&(a.l3^b.l3)
	z.l4 = b.l4 ^ m&(a.l4^b.l4)
}

// isZeroMask returns all ones if a = 0 mod p, else zero.
func (a *fe) isZeroMask() uint64 {
	t := *a
	t.canon()
	return zeroMask(t.l0 | t.l1 | t.l2 | t.l3 | t.l4)
}

// isOdd returns the lowest bit of the canonical value: sgn0 of RFC 9380.
func (a *fe) isOdd() uint64 {
	t := *a
	t.canon()
	return t.l0 & 1
}

// zeroMask returns all ones if v is zero, else zero.
func zeroMask(v uint64) uint64 {
	return (v|-v)>>63 - 1
}

// fromLimbs sets z to the 256-bit number v, little-endian limbs of 64 bits,
// without reducing it.
func (z *fe) fromLimbs(v *[4]uint64) {
	z.l0 = v[0] & mask52
	z.l1 = (v[0]>>52 | v[1]<<12) & mask52
	z.l2 = (v[1]>>40 | v[2]<<24) & mask52
	z.l3 = (v[2]>>28 | v[3]<<36) & mask52
	z.l4 = v[3] >> 16
}

// limbs returns the canonical value as four limbs of 64 bits.
func (a *fe) limbs() [4]uint64 {
	t := *a
	t.canon()
	return [4]uint64{
		t.l0 | t.l1<<52,
		t.l1>>12 | t.l2<<40,
		t.l2>>24 | t.l3<<28,
		t.l3>>36 | t.l4<<16,
	}
}

// setBytes sets z to the 32 big-endian bytes of b and returns all ones if they
// are below p, else zero.
func (z *fe) setBytes(b *[32]byte) uint64 {
	v := limbsFromBytes(b)
	z.fromLimbs(&v)
	_, c := bits.Add64(v[0], foldC, 0)
	_, c = bits.Add64(v[1], 0, c)
	_, c = bits.Add64(v[2], 0, c)
	_, c = bits.Add64(v[3], 0, c)
	return c - 1
}

// setWide sets z to the 48 big-endian bytes of b, mod p.
func (z *fe) setWide(b *[48]byte) {
	var hi, lo [32]byte
	copy(hi[8:], b[:24])
	copy(lo[8:], b[24:])
	var h, l fe
	h.setBytes(&hi)
	l.setBytes(&lo)
	// 2^192 = 2^36 * 2^156.
	shift := fe{l3: 1 << 36}
	h.mul(&h, &shift)
	z.add(&h, &l)
	z.carry()
}

func (a *fe) bytes() [32]byte {
	v := a.limbs()
	return limbsToBytes(&v)
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

// pow223 computes x2 = a^(2^2-1), x22 = a^(2^22-1) and x223 = a^(2^223-1), the
// runs of ones that p-2, (p+1)/4 and (p-3)/4 have in common.
func pow223(x2, x22, x223, a *fe) {
	var x3, x6, x9, x11, x44, x88, t fe
	t.sqr(a)
	x2.mul(&t, a)
	t.sqr(x2)
	x3.mul(&t, a)
	t.sqrN(&x3, 3)
	x6.mul(&t, &x3)
	t.sqrN(&x6, 3)
	x9.mul(&t, &x3)
	t.sqrN(&x9, 2)
	x11.mul(&t, x2)
	t.sqrN(&x11, 11)
	x22.mul(&t, &x11)
	t.sqrN(x22, 22)
	x44.mul(&t, x22)
	t.sqrN(&x44, 44)
	x88.mul(&t, &x44)
	t.sqrN(&x88, 88)
	t.mul(&t, &x88) // 176 ones
	t.sqrN(&t, 44)
	t.mul(&t, &x44) // 220 ones
	t.sqrN(&t, 3)
	x223.mul(&t, &x3)
}

// invert sets z = a^(p-2), which is 1/a, and 0 for 0.
func (z *fe) invert(a *fe) {
	var x1, x2, x22, t fe
	x1 = *a
	pow223(&x2, &x22, &t, &x1)
	// p-2 = 223 ones, 0, 22 ones, 0000101101.
	t.sqrN(&t, 23)
	t.mul(&t, &x22)
	t.sqrN(&t, 5)
	t.mul(&t, &x1)
	t.sqrN(&t, 3)
	t.mul(&t, &x2)
	t.sqrN(&t, 2)
	z.mul(&t, &x1)
}

// sqrt sets z = a^((p+1)/4), a square root of a if a has one, and returns all
// ones if so, else zero.
func (z *fe) sqrt(a *fe) uint64 {
	var x1, x2, x22, t, check fe
	x1 = *a
	pow223(&x2, &x22, &t, &x1)
	// (p+1)/4 = 223 ones, 0, 22 ones, 00001100.
	t.sqrN(&t, 23)
	t.mul(&t, &x22)
	t.sqrN(&t, 6)
	t.mul(&t, &x2)
	t.sqrN(&t, 2)
	check.sqr(&t)
	check.sub(&check, &x1, 8)
	*z = t
	return check.isZeroMask()
}

// powP34 sets z = a^((p-3)/4), used by the square root of a ratio.
func (z *fe) powP34(a *fe) {
	var x1, x2, x22, t fe
	x1 = *a
	pow223(&x2, &x22, &t, &x1)
	// (p-3)/4 = 223 ones, 0, 22 ones, 00001011.
	t.sqrN(&t, 23)
	t.mul(&t, &x22)
	t.sqrN(&t, 5)
	t.mul(&t, &x1)
	t.sqrN(&t, 3)
	z.mul(&t, &x2)
}
