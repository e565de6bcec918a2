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
	w := v
	if subQ(&w, 0) != 0 {
		return errScalarRange
	}
	s.n = v
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
	return s.SetWideWords(&[6]uint64{
		binary.BigEndian.Uint64(b[40:48]),
		binary.BigEndian.Uint64(b[32:40]),
		binary.BigEndian.Uint64(b[24:32]),
		binary.BigEndian.Uint64(b[16:24]),
		binary.BigEndian.Uint64(b[8:16]),
		binary.BigEndian.Uint64(b[0:8]),
	})
}

// SetWideWords sets s to the number of 384 bits in w, least significant word
// first, mod q.
func (s *Scalar) SetWideWords(w *[6]uint64) *Scalar {
	reduce384(&s.n, w)
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

// PutBytes writes s as 32 big-endian bytes to b, which has at least as many.
func (s *Scalar) PutBytes(b []byte) {
	_ = b[ScalarSize-1]
	binary.BigEndian.PutUint64(b, s.n[3])
	binary.BigEndian.PutUint64(b[8:], s.n[2])
	binary.BigEndian.PutUint64(b[16:], s.n[1])
	binary.BigEndian.PutUint64(b[24:], s.n[0])
}

// Destroy overwrites s with zeroes. Copies that the runtime made are out of
// its reach.
func (s *Scalar) Destroy() { s.n = [4]uint64{} }

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
func (s *Scalar) Square(a *Scalar) *Scalar {
	var w [8]uint64
	sqr512(&w, &a.n)
	reduce512(&s.n, &w)
	return s
}

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
	reduce576(&s.n, &acc)
	return s
}

// MulMulAdd sets s = a*b + c*d + e, with one reduction.
func (s *Scalar) MulMulAdd(a, b, c, d, e *Scalar) *Scalar {
	acc := [9]uint64{e.n[0], e.n[1], e.n[2], e.n[3]}
	mulAcc576(&acc, &a.n, &b.n)
	mulAcc576(&acc, &c.n, &d.n)
	reduce576(&s.n, &acc)
	return s
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
