package secp256k1

import "math/bits"

// The limbs of q, and of q' = 2^256 - q, whose highest limb is 1.
const (
	q0 = 0xbfd25e8cd0364141
	q1 = 0xbaaedce6af48a03b
	q2 = 0xfffffffffffffffe
	q3 = 0xffffffffffffffff

	qc0 = 0x402da1732fc9bebf
	qc1 = 0x4551231950b75fc4
)

// subQ subtracts q once from carry*2^256 + v if that is not below q, and
// returns 1 if it did, else 0. The number must be below 2q.
func subQ(v *[4]uint64, carry uint64) uint64 {
	d0, b := bits.Sub64(v[0], q0, 0)
	d1, b := bits.Sub64(v[1], q1, b)
	d2, b := bits.Sub64(v[2], q2, b)
	d3, b := bits.Sub64(v[3], q3, b)
	_, b = bits.Sub64(carry, 0, b)
	m := b - 1
	v[0] ^= m & (v[0] ^ d0)
	v[1] ^= m & (v[1] ^ d1)
	v[2] ^= m & (v[2] ^ d2)
	v[3] ^= m & (v[3] ^ d3)
	return m & 1
}

// mul512 sets w = a*b.
func mul512(w *[8]uint64, a, b *[4]uint64) {
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

	h3, _ = bits.Add64(h3, 0, c)
	w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] = w0, w1, w2, w3, w4, w5, w6, h3
}

// sqr512 sets w = a^2: the mixed products once, doubled, and the squares.
func sqr512(w *[8]uint64, a *[4]uint64) {
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

	w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] = w0, w1, w2, w3, w4, w5, w6, w7
}

// reduce512 sets r = w mod q. It replaces 2^256 by q' = 2^256 - q, a number of
// 129 bits, three times: 512 -> 385 -> 258 -> 257 bits, and subtracts q once.
func reduce512(r *[4]uint64, w *[8]uint64) {
	x0, x1, x2, x3 := w[4], w[5], w[6], w[7]

	// t = w[0:4] + x * q', 7 limbs.
	h0, l0 := bits.Mul64(x0, qc0)
	h1, l1 := bits.Mul64(x1, qc0)
	h2, l2 := bits.Mul64(x2, qc0)
	h3, l3 := bits.Mul64(x3, qc0)
	l1, c := bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	t0, c := bits.Add64(w[0], l0, 0)
	t1, c := bits.Add64(w[1], l1, c)
	t2, c := bits.Add64(w[2], l2, c)
	t3, c := bits.Add64(w[3], l3, c)
	t4, t5 := bits.Add64(h3, 0, c)

	h0, l0 = bits.Mul64(x0, qc1)
	h1, l1 = bits.Mul64(x1, qc1)
	h2, l2 = bits.Mul64(x2, qc1)
	h3, l3 = bits.Mul64(x3, qc1)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)
	t1, c = bits.Add64(t1, l0, 0)
	t2, c = bits.Add64(t2, l1, c)
	t3, c = bits.Add64(t3, l2, c)
	t4, c = bits.Add64(t4, l3, c)
	t5, _ = bits.Add64(t5, h3, c)

	// The highest limb of q' is 1.
	t2, c = bits.Add64(t2, x0, 0)
	t3, c = bits.Add64(t3, x1, c)
	t4, c = bits.Add64(t4, x2, c)
	t5, c = bits.Add64(t5, x3, c)
	t6 := c

	// u = t[0:4] + t[4:7] * q'. t6 is 0 or 1: the product is below 1.28 * 2^384.
	m6 := -t6
	h0, l0 = bits.Mul64(t4, qc0)
	h1, l1 = bits.Mul64(t5, qc0)
	l1, c = bits.Add64(l1, h0, 0)
	h1, _ = bits.Add64(h1, 0, c)
	t0, c = bits.Add64(t0, l0, 0)
	t1, c = bits.Add64(t1, l1, c)
	t2, c = bits.Add64(t2, h1, c)
	t3, u4 := bits.Add64(t3, 0, c)
	h0, l0 = bits.Mul64(t4, qc1)
	h1, l1 = bits.Mul64(t5, qc1)
	l1, c = bits.Add64(l1, h0, 0)
	h1, _ = bits.Add64(h1, 0, c)
	t1, c = bits.Add64(t1, l0, 0)
	t2, c = bits.Add64(t2, l1, c)
	t3, c = bits.Add64(t3, h1, c)
	u4 += c
	t2, c = bits.Add64(t2, t4, 0)
	t3, c = bits.Add64(t3, t5, c)
	u4 += t6 + c
	t2, c = bits.Add64(t2, m6&qc0, 0)
	t3, c = bits.Add64(t3, m6&qc1, c)
	u4 += c

	// r = u[0:4] + u4 * q'. u4 is at most 2: the products fit in their limbs.
	r[0], c = bits.Add64(t0, u4*qc0, 0)
	r[1], c = bits.Add64(t1, u4*qc1, c)
	r[2], c = bits.Add64(t2, u4, c)
	r[3], c = bits.Add64(t3, 0, c)
	subQ(r, c)
}

// reduce384 sets r = w mod q for a number of 384 bits: 384 -> 258 -> 257 bits,
// and subtracts q once.
func reduce384(r *[4]uint64, w *[6]uint64) {
	x0, x1 := w[4], w[5]

	// t = w[0:4] + x * q', 5 limbs: below 2^258.
	h0, l0 := bits.Mul64(x0, qc0)
	h1, l1 := bits.Mul64(x1, qc0)
	l1, c := bits.Add64(l1, h0, 0)
	h1, _ = bits.Add64(h1, 0, c)
	t0, c := bits.Add64(w[0], l0, 0)
	t1, c := bits.Add64(w[1], l1, c)
	t2, c := bits.Add64(w[2], h1, c)
	t3, t4 := bits.Add64(w[3], 0, c)
	h0, l0 = bits.Mul64(x0, qc1)
	h1, l1 = bits.Mul64(x1, qc1)
	l1, c = bits.Add64(l1, h0, 0)
	h1, _ = bits.Add64(h1, 0, c)
	t1, c = bits.Add64(t1, l0, 0)
	t2, c = bits.Add64(t2, l1, c)
	t3, c = bits.Add64(t3, h1, c)
	t4 += c
	// The highest limb of q' is 1.
	t2, c = bits.Add64(t2, x0, 0)
	t3, c = bits.Add64(t3, x1, c)
	t4 += c

	// r = t[0:4] + t4 * q'. t4 is at most 3: the products fit in their limbs.
	r[0], c = bits.Add64(t0, t4*qc0, 0)
	r[1], c = bits.Add64(t1, t4*qc1, c)
	r[2], c = bits.Add64(t2, t4, c)
	r[3], c = bits.Add64(t3, 0, c)
	subQ(r, c)
}

// 2^512 mod q.
const (
	r512n0 = 0x896cf21467d7d140
	r512n1 = 0x741496c20e7cf878
	r512n2 = 0xe697f5e45bcd07c6
	r512n3 = 0x9d671cd581c69bc5
)

// reduce576 sets r = acc mod q: the highest limb times 2^512 mod q goes to the
// 512 bits below it, and so does the one carry out of them.
func reduce576(r *[4]uint64, acc *[9]uint64) {
	x := acc[8]
	h0, l0 := bits.Mul64(x, r512n0)
	h1, l1 := bits.Mul64(x, r512n1)
	h2, l2 := bits.Mul64(x, r512n2)
	h3, l3 := bits.Mul64(x, r512n3)
	l1, c := bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3, _ = bits.Add64(h3, 0, c)

	var w [8]uint64
	w[0], c = bits.Add64(acc[0], l0, 0)
	w[1], c = bits.Add64(acc[1], l1, c)
	w[2], c = bits.Add64(acc[2], l2, c)
	w[3], c = bits.Add64(acc[3], l3, c)
	w[4], c = bits.Add64(acc[4], h3, c)
	w[5], c = bits.Add64(acc[5], 0, c)
	w[6], c = bits.Add64(acc[6], 0, c)
	w[7], c = bits.Add64(acc[7], 0, c)
	m := -c // after a carry w is below 2^320
	w[0], c = bits.Add64(w[0], m&r512n0, 0)
	w[1], c = bits.Add64(w[1], m&r512n1, c)
	w[2], c = bits.Add64(w[2], m&r512n2, c)
	w[3], c = bits.Add64(w[3], m&r512n3, c)
	w[4], _ = bits.Add64(w[4], 0, c)
	reduce512(r, &w)
}

// mulAcc576 adds a*b to acc.
func mulAcc576(acc *[9]uint64, a, b *[4]uint64) {
	var w [8]uint64
	mul512(&w, a, b)
	var c uint64
	acc[0], c = bits.Add64(acc[0], w[0], 0)
	acc[1], c = bits.Add64(acc[1], w[1], c)
	acc[2], c = bits.Add64(acc[2], w[2], c)
	acc[3], c = bits.Add64(acc[3], w[3], c)
	acc[4], c = bits.Add64(acc[4], w[4], c)
	acc[5], c = bits.Add64(acc[5], w[5], c)
	acc[6], c = bits.Add64(acc[6], w[6], c)
	acc[7], c = bits.Add64(acc[7], w[7], c)
	acc[8] += c
}
