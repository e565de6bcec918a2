package ed25519

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"filippo.io/edwards25519"
)

// Scalar is an element of Z_ℓ, ℓ = 2²⁵² + 27742317777372353535851937790883648493.
// The zero value is 0.
//
// A Scalar may be secret. It refuses to be printed, logged or marshalled: only
// Bytes gives its value away. Its owner calls Destroy.
type Scalar struct {
	v edwards25519.Scalar
}

// Lengths of an encoded scalar, and of what SetWide reduces.
const (
	ScalarSize = 32
	WideSize   = 64
)

var errScalarRange = errors.New("scalar is not below the group order")

// NewScalar returns a new scalar, 0.
func NewScalar() *Scalar { return new(Scalar) }

// Set sets s = a.
func (s *Scalar) Set(a *Scalar) *Scalar {
	s.v = a.v
	return s
}

// SetUint64 sets s = v.
func (s *Scalar) SetUint64(v uint64) *Scalar {
	var b [ScalarSize]byte
	binary.LittleEndian.PutUint64(b[:], v)
	mustSet(s.v.SetCanonicalBytes(b[:]))
	clear(b[:])
	return s
}

// mustSet takes the error of a call whose input has the right length and range.
func mustSet(_ *edwards25519.Scalar, err error) {
	if err != nil {
		panic("ed25519: " + err.Error())
	}
}

// SetBytes sets s to the 32 little-endian bytes of b. A value that is not below
// ℓ is an error and leaves s as it was. Whether it is an error is public.
func (s *Scalar) SetBytes(b []byte) error {
	if len(b) != ScalarSize {
		return fmt.Errorf("scalar has %d bytes, want %d", len(b), ScalarSize)
	}
	if _, err := s.v.SetCanonicalBytes(b); err != nil {
		return errScalarRange
	}
	return nil
}

// SetWide sets s to the 64 little-endian bytes of b, mod ℓ. For uniform b the
// result is within 2⁻²⁵⁶ of uniform.
func (s *Scalar) SetWide(b *[WideSize]byte) *Scalar {
	mustSet(s.v.SetUniformBytes(b[:]))
	return s
}

// SetRandom sets s to a uniform scalar, from 64 bytes of r.
func (s *Scalar) SetRandom(r io.Reader) error {
	var b [WideSize]byte
	defer clear(b[:])
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("couldn't read randomness for a scalar: %w", err)
	}
	s.SetWide(&b)
	return nil
}

// Bytes returns s as 32 little-endian bytes.
func (s *Scalar) Bytes() (b [ScalarSize]byte) {
	copy(b[:], s.v.Bytes())
	return b
}

// Destroy overwrites s with zeroes. Copies that the runtime made are out of its
// reach.
func (s *Scalar) Destroy() { s.v = edwards25519.Scalar{} }

// Add sets s = a + b.
func (s *Scalar) Add(a, b *Scalar) *Scalar {
	s.v.Add(&a.v, &b.v)
	return s
}

// Sub sets s = a - b.
func (s *Scalar) Sub(a, b *Scalar) *Scalar {
	s.v.Subtract(&a.v, &b.v)
	return s
}

// Negate sets s = -a.
func (s *Scalar) Negate(a *Scalar) *Scalar {
	s.v.Negate(&a.v)
	return s
}

// Mul sets s = a*b.
func (s *Scalar) Mul(a, b *Scalar) *Scalar {
	s.v.Multiply(&a.v, &b.v)
	return s
}

// MulAdd sets s = a*b + c.
func (s *Scalar) MulAdd(a, b, c *Scalar) *Scalar {
	s.v.MultiplyAdd(&a.v, &b.v, &c.v)
	return s
}

// Invert sets s = 1/a, and 0 for 0.
func (s *Scalar) Invert(a *Scalar) *Scalar {
	s.v.Invert(&a.v)
	return s
}

// Select sets s = a if cond is 1, b if cond is 0, in constant time.
func (s *Scalar) Select(a, b *Scalar, cond int) *Scalar {
	// s = cond·(a − b) + b
	var c, d Scalar
	c.SetUint64(uint64(cond & 1))
	d.Sub(a, b)
	s.MulAdd(&c, &d, b)
	d.Destroy()
	return s
}

// Equal returns 1 if s = a, else 0, in constant time.
func (s *Scalar) Equal(a *Scalar) int { return s.v.Equal(&a.v) }

// IsZero returns 1 if s = 0, else 0, in constant time.
func (s *Scalar) IsZero() int {
	var zero edwards25519.Scalar
	return s.v.Equal(&zero)
}
