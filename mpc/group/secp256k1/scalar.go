package secp256k1

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Scalar is an element of Z_q, q the order of the group. The zero value is 0.
//
// A Scalar may be secret. It refuses to be printed, logged or marshalled: only
// Bytes gives its value away. Its owner calls Destroy.
//
// The package fmt reads the unexported fields of other structs without asking
// their methods. A struct that keeps a secret in an unexported field must
// therefore hold a *Scalar, or implement fmt.Formatter itself.
type Scalar struct {
	// n is the canonical value, below q, least significant limb first.
	n [4]uint64
}

// The limbs of q, and of q' = 2^256 - q, whose highest limb is 1.
const (
	q0 = 0xbfd25e8cd0364141
	q1 = 0xbaaedce6af48a03b
	q2 = 0xfffffffffffffffe
	q3 = 0xffffffffffffffff

	qc0 = 0x402da1732fc9bebf
	qc1 = 0x4551231950b75fc4
)

// ScalarSize is the length of an encoded scalar.
const ScalarSize = 32

var errScalarRange = errors.New("scalar is not below the group order")

// NewScalar returns a new scalar, 0.
func NewScalar() *Scalar { return new(Scalar) }

// Set sets s = a.
func (s *Scalar) Set(a *Scalar) *Scalar {
	s.n = a.n
	return s
}

// SetUint64 sets s = v.
func (s *Scalar) SetUint64(v uint64) *Scalar {
	s.n = [4]uint64{v}
	return s
}

// SetBytes sets s to the 32 big-endian bytes of b. A value that is not below q
// is an error and leaves s as it was. Whether it is an error is public.
func (s *Scalar) SetBytes(b []byte) error {
	if len(b) != ScalarSize {
		return fmt.Errorf("scalar has %d bytes, want %d", len(b), ScalarSize)
	}
	v := limbsFromBytes((*[32]byte)(b))
	if subQ(&v, 0) != 0 {
		return errScalarRange
	}
	s.n = limbsFromBytes((*[32]byte)(b))
	return nil
}

// SetReduced sets s to the 32 big-endian bytes of b, mod q: what ECDSA does
// with a hash.
func (s *Scalar) SetReduced(b *[32]byte) *Scalar {
	s.n = limbsFromBytes(b)
	subQ(&s.n, 0)
	return s
}

// SetWide sets s to the 48 big-endian bytes of b, mod q. For uniform b the
// result is within 2^-128 of uniform.
func (s *Scalar) SetWide(b *[48]byte) *Scalar {
	w := [8]uint64{
		binary.BigEndian.Uint64(b[40:48]),
		binary.BigEndian.Uint64(b[32:40]),
		binary.BigEndian.Uint64(b[24:32]),
		binary.BigEndian.Uint64(b[16:24]),
		binary.BigEndian.Uint64(b[8:16]),
		binary.BigEndian.Uint64(b[0:8]),
	}
	reduce512(&s.n, &w)
	return s
}

// SetRandom sets s to a uniform scalar, from 48 bytes of r.
func (s *Scalar) SetRandom(r io.Reader) error {
	var b [48]byte
	defer clear(b[:])
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("couldn't read randomness for a scalar: %w", err)
	}
	s.SetWide(&b)
	return nil
}

// Bytes returns s as 32 big-endian bytes.
func (s *Scalar) Bytes() [32]byte { return limbsToBytes(&s.n) }

// Destroy overwrites s with zeroes. Copies that the runtime made are out of
// its reach.
func (s *Scalar) Destroy() { s.n = [4]uint64{} }

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

// Add sets s = a + b.
func (s *Scalar) Add(a, b *Scalar) *Scalar {
	var r [4]uint64
	var c uint64
	r[0], c = bits.Add64(a.n[0], b.n[0], 0)
	r[1], c = bits.Add64(a.n[1], b.n[1], c)
	r[2], c = bits.Add64(a.n[2], b.n[2], c)
	r[3], c = bits.Add64(a.n[3], b.n[3], c)
	subQ(&r, c)
	s.n = r
	return s
}

// Sub sets s = a - b.
func (s *Scalar) Sub(a, b *Scalar) *Scalar {
	r0, c := bits.Sub64(a.n[0], b.n[0], 0)
	r1, c := bits.Sub64(a.n[1], b.n[1], c)
	r2, c := bits.Sub64(a.n[2], b.n[2], c)
	r3, c := bits.Sub64(a.n[3], b.n[3], c)
	m := -c // add q back after a borrow
	s.n[0], c = bits.Add64(r0, m&q0, 0)
	s.n[1], c = bits.Add64(r1, m&q1, c)
	s.n[2], c = bits.Add64(r2, m&q2, c)
	s.n[3], _ = bits.Add64(r3, m&q3, c)
	return s
}

// Negate sets s = -a.
func (s *Scalar) Negate(a *Scalar) *Scalar {
	var zero Scalar
	return s.Sub(&zero, a)
}

// Mul sets s = a*b.
func (s *Scalar) Mul(a, b *Scalar) *Scalar {
	var w [8]uint64
	mul512(&w, &a.n, &b.n)
	reduce512(&s.n, &w)
	return s
}

// Square sets s = a^2.
func (s *Scalar) Square(a *Scalar) *Scalar { return s.Mul(a, a) }

// MulAdd sets s = a*b + c.
func (s *Scalar) MulAdd(a, b, c *Scalar) *Scalar {
	var w [8]uint64
	mul512(&w, &a.n, &b.n)
	var cc uint64
	w[0], cc = bits.Add64(w[0], c.n[0], 0)
	w[1], cc = bits.Add64(w[1], c.n[1], cc)
	w[2], cc = bits.Add64(w[2], c.n[2], cc)
	w[3], cc = bits.Add64(w[3], c.n[3], cc)
	w[4], cc = bits.Add64(w[4], 0, cc)
	w[5], cc = bits.Add64(w[5], 0, cc)
	w[6], cc = bits.Add64(w[6], 0, cc)
	w[7], _ = bits.Add64(w[7], 0, cc)
	reduce512(&s.n, &w)
	return s
}

// InnerProduct sets s to the sum of a[i]*b[i]. It adds up the unreduced
// products and reduces once. The slices must have the same length: anything
// else is a programmer's error, and panics.
func (s *Scalar) InnerProduct(a, b []Scalar) *Scalar {
	if len(a) != len(b) {
		panic("secp256k1: inner product of vectors of different lengths")
	}
	var acc [9]uint64
	for i := range a {
		mulAcc576(&acc, &a[i].n, &b[i].n)
	}
	s.reduce576(&acc)
	return s
}

// reduce576 sets s = acc mod q.
func (s *Scalar) reduce576(acc *[9]uint64) {
	// acc = (low 384 bits) + 2^384 * (high 192 bits).
	lo := [8]uint64{acc[0], acc[1], acc[2], acc[3], acc[4], acc[5]}
	var l, h Scalar
	reduce512(&l.n, &lo)
	hi := [8]uint64{0, 0, 0, 0, acc[6], acc[7], acc[8]}
	reduce512(&h.n, &hi) // 2^256 * high
	hi = [8]uint64{0, 0, h.n[0], h.n[1], h.n[2], h.n[3]}
	reduce512(&h.n, &hi) // times 2^128
	s.Add(&l, &h)
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
	w4 := h3 + c

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
	w5 := h3 + c

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
	w6 := h3 + c

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

	w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] = w0, w1, w2, w3, w4, w5, w6, h3+c
}

// reduce512 sets r = w mod q. It replaces 2^256 by q' = 2^256 - q, a number of
// 129 bits, three times: 512 -> 386 -> 260 -> 257 bits, and subtracts q once.
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

	// u = t[0:4] + t[4:7] * q', t6 at most 3: below 2^260.
	h0, l0 = bits.Mul64(t4, qc0)
	h1, l1 = bits.Mul64(t5, qc0)
	h2, l2 = bits.Mul64(t6, qc0)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3 = h2 + c
	t0, c = bits.Add64(t0, l0, 0)
	t1, c = bits.Add64(t1, l1, c)
	t2, c = bits.Add64(t2, l2, c)
	t3, c = bits.Add64(t3, l3, c)
	u4 := c
	h0, l0 = bits.Mul64(t4, qc1)
	h1, l1 = bits.Mul64(t5, qc1)
	_, l2 = bits.Mul64(t6, qc1)
	l1, c = bits.Add64(l1, h0, 0)
	l2, _ = bits.Add64(l2, h1, c)
	t1, c = bits.Add64(t1, l0, 0)
	t2, c = bits.Add64(t2, l1, c)
	t3, c = bits.Add64(t3, l2, c)
	u4 += c
	t2, c = bits.Add64(t2, t4, 0)
	t3, c = bits.Add64(t3, t5, c)
	u4 += t6 + c

	// r = u[0:4] + u4 * q', u4 below 16: below 2^256 + 2^133.
	h0, l0 = bits.Mul64(u4, qc0)
	h1, l1 = bits.Mul64(u4, qc1)
	l1, c = bits.Add64(l1, h0, 0)
	l2 = u4 + h1 + c
	r[0], c = bits.Add64(t0, l0, 0)
	r[1], c = bits.Add64(t1, l1, c)
	r[2], c = bits.Add64(t2, l2, c)
	r[3], c = bits.Add64(t3, 0, c)
	subQ(r, c)
}

// squareN sets s = a^(2^n), n >= 1.
func (s *Scalar) squareN(a *Scalar, n int) *Scalar {
	s.Square(a)
	for i := 1; i < n; i++ {
		s.Square(s)
	}
	return s
}

// Select sets s = a if cond is 1, b if cond is 0, in constant time.
func (s *Scalar) Select(a, b *Scalar, cond int) *Scalar {
	m := -uint64(cond & 1)
	for i := range s.n {
		s.n[i] = b.n[i] ^ m&(a.n[i]^b.n[i])
	}
	return s
}

// Equal returns 1 if s = a, else 0, in constant time.
func (s *Scalar) Equal(a *Scalar) int {
	d := (s.n[0] ^ a.n[0]) | (s.n[1] ^ a.n[1]) | (s.n[2] ^ a.n[2]) | (s.n[3] ^ a.n[3])
	return int(zeroMask(d) & 1)
}

// IsZero returns 1 if s = 0, else 0, in constant time.
func (s *Scalar) IsZero() int {
	return int(zeroMask(s.n[0]|s.n[1]|s.n[2]|s.n[3]) & 1)
}

// IsHigh returns 1 if s > (q-1)/2, else 0, in constant time.
func (s *Scalar) IsHigh() int {
	_, b := bits.Sub64(0xdfe92f46681b20a0, s.n[0], 0)
	_, b = bits.Sub64(0x5d576e7357a4501d, s.n[1], b)
	_, b = bits.Sub64(0xffffffffffffffff, s.n[2], b)
	_, b = bits.Sub64(0x7fffffffffffffff, s.n[3], b)
	return int(b)
}
