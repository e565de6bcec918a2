package ed25519

import (
	"bytes"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// Point is an element of the group of order ℓ. The zero value is the identity.
type Point struct {
	v   edwards25519.Point
	set bool // v is valid; the zero value of v is not
}

// PointSize is the length of an encoded point.
const PointSize = 32

var (
	errPointNotCurve     = errors.New("y is not that of a point on edwards25519")
	errPointNotCanonical = errors.New("point is not encoded canonically")
	errPointSmall        = errors.New("point is the identity or of order 2")
	errPointTorsion      = errors.New("point is not in the subgroup of prime order")
)

// NewPoint returns a new point, the identity.
func NewPoint() *Point { return new(Point).SetIdentity() }

// Generator returns a new point, the generator B of RFC 8032.
func Generator() *Point {
	return &Point{*edwards25519.NewGeneratorPoint(), true}
}

// load returns the value of p, with the zero value read as the identity.
func (p *Point) load() *edwards25519.Point {
	if !p.set {
		return edwards25519.NewIdentityPoint()
	}
	return &p.v
}

// Set sets p = a.
func (p *Point) Set(a *Point) *Point {
	p.v.Set(a.load())
	p.set = true
	return p
}

// SetIdentity sets p to the identity.
func (p *Point) SetIdentity() *Point {
	p.v.Set(edwards25519.NewIdentityPoint())
	p.set = true
	return p
}

// Add sets p = a + b.
func (p *Point) Add(a, b *Point) *Point {
	p.v.Add(a.load(), b.load())
	p.set = true
	return p
}

// Sub sets p = a - b.
func (p *Point) Sub(a, b *Point) *Point {
	p.v.Subtract(a.load(), b.load())
	p.set = true
	return p
}

// Double sets p = 2a.
func (p *Point) Double(a *Point) *Point {
	p.v.Double(a.load())
	p.set = true
	return p
}

// Negate sets p = -a.
func (p *Point) Negate(a *Point) *Point {
	p.v.Negate(a.load())
	p.set = true
	return p
}

// Select sets p = a if cond is 1, b if cond is 0, in constant time.
func (p *Point) Select(a, b *Point, cond int) *Point {
	p.v.Select(a.load(), b.load(), cond&1)
	p.set = true
	return p
}

// ScalarMult sets p = k*a.
func (p *Point) ScalarMult(k *Scalar, a *Point) *Point {
	p.v.ScalarMult(&k.v, a.load())
	p.set = true
	return p
}

// ScalarBaseMult sets p = k*B.
func (p *Point) ScalarBaseMult(k *Scalar) *Point {
	p.v.ScalarBaseMult(&k.v)
	p.set = true
	return p
}

// DoubleScalarMultVartime sets p = k*a + l*B. Its time depends on the scalars:
// public data only.
func (p *Point) DoubleScalarMultVartime(k *Scalar, a *Point, l *Scalar) *Point {
	p.v.VarTimeDoubleScalarBaseMult(&k.v, a.load(), &l.v)
	p.set = true
	return p
}

// MultiScalarMultVartime sets p to the sum of ks[i]*ps[i]. Its time depends on
// the scalars: public data only. The slices must have the same length: anything
// else is a programmer's error, and panics.
func (p *Point) MultiScalarMultVartime(ks []*Scalar, ps []*Point) *Point {
	if len(ks) != len(ps) {
		panic("ed25519: as many scalars as points are needed")
	}
	scalars := make([]*edwards25519.Scalar, len(ks))
	points := make([]*edwards25519.Point, len(ps))
	for i := range ks {
		scalars[i], points[i] = &ks[i].v, ps[i].load()
	}
	p.v.VarTimeMultiScalarMult(scalars, points)
	p.set = true
	return p
}

// Equal returns 1 if p = a, else 0, in constant time.
func (p *Point) Equal(a *Point) int { return p.load().Equal(a.load()) }

// IsIdentity returns 1 if p is the identity, else 0, in constant time.
func (p *Point) IsIdentity() int { return p.load().Equal(edwards25519.NewIdentityPoint()) }

// SetBytes sets p to the point that RFC 8032 §5.1.2 encodes as b, 32 bytes. It
// accepts exactly one encoding for each point of the group but the identity,
// which has none, and none for the points of the curve outside the group of
// order ℓ. An error leaves p as it was. Whether it is an error is public.
func (p *Point) SetBytes(b []byte) error {
	if len(b) != PointSize {
		return fmt.Errorf("point has %d bytes, want %d", len(b), PointSize)
	}
	var v edwards25519.Point
	if _, err := v.SetBytes(b); err != nil {
		return errPointNotCurve
	}
	x, y, _, _ := v.ExtendedCoordinates() // Z = 1
	if x.Equal(new(field.Element)) == 1 { // y = ±1
		return errPointSmall
	}
	if !bytes.Equal(encode(x, y), b) {
		return errPointNotCanonical
	}
	if !inSubgroup(x, y) {
		return errPointTorsion
	}
	p.v.Set(&v)
	p.set = true
	return nil
}

// encode writes the affine point (x, y).
func encode(x, y *field.Element) []byte {
	out := y.Bytes()
	out[31] |= byte(x.IsNegative() << 7)
	return out
}

// Bytes returns p as RFC 8032 encodes it. The identity gives 01 00 … 00, which
// SetBytes refuses.
func (p *Point) Bytes() (b [PointSize]byte) {
	copy(b[:], p.load().Bytes())
	return b
}

// Destroy overwrites p with zeroes, which read as the identity.
func (p *Point) Destroy() { *p = Point{} }

// EncodePoints returns what Bytes returns for each point, with one inversion for
// all of them.
func EncodePoints(ps []*Point) [][PointSize]byte {
	out := make([][PointSize]byte, len(ps))
	// prefix[i] is the product of the z of the points before i; no z is 0.
	prefix := make([]field.Element, len(ps))
	acc := new(field.Element).One()
	for i, p := range ps {
		_, _, z, _ := p.load().ExtendedCoordinates()
		prefix[i].Set(acc)
		acc.Multiply(acc, z)
	}
	acc.Invert(acc)
	for i := len(ps) - 1; i >= 0; i-- {
		x, y, z, _ := ps[i].load().ExtendedCoordinates()
		inverse := new(field.Element).Multiply(acc, &prefix[i])
		acc.Multiply(acc, z)
		copy(out[i][:], encode(x.Multiply(x, inverse), y.Multiply(y, inverse)))
	}
	return out
}
