package group

import (
	"io"

	"github.com/cofferhq/coffer/mpc/group/ed25519"
)

type edCurve struct{}

func (edCurve) Name() string      { return "ed25519" }
func (edCurve) NewScalar() Scalar { return edScalar{ed25519.NewScalar()} }
func (edCurve) NewPoint() Point   { return edPoint{ed25519.NewPoint()} }
func (edCurve) Generator() Point  { return edPoint{ed25519.Generator()} }
func (edCurve) PointSize() int    { return ed25519.PointSize }
func (edCurve) UniformSize() int  { return ed25519.WideSize }

// edScalar is a pointer in a struct, so that an interface holds it without
// another allocation. Whatever refuses to be printed is promoted.
type edScalar struct{ *ed25519.Scalar }

// Ed25519Scalar is the scalar itself, not a copy. It panics for another curve's.
func Ed25519Scalar(s Scalar) *ed25519.Scalar { return s.(edScalar).Scalar }

// FromEd25519Scalar is the scalar itself, not a copy.
func FromEd25519Scalar(s *ed25519.Scalar) Scalar { return edScalar{s} }

func (s edScalar) Curve() Curve { return edCurve{} }

func (s edScalar) Set(a Scalar) Scalar {
	s.Scalar.Set(Ed25519Scalar(a))
	return s
}

func (s edScalar) SetUint64(v uint64) Scalar {
	s.Scalar.SetUint64(v)
	return s
}

func (s edScalar) SetRandom(r io.Reader) error { return s.Scalar.SetRandom(r) }

func (s edScalar) SetUniform(b []byte) Scalar {
	wide(s.Curve(), b)
	s.SetWide((*[ed25519.WideSize]byte)(b))
	return s
}

func (s edScalar) Decode(b []byte) error { return s.SetBytes(b) }

func (s edScalar) Encode() []byte {
	b := s.Bytes()
	return b[:]
}

func (s edScalar) Add(a, b Scalar) Scalar {
	s.Scalar.Add(Ed25519Scalar(a), Ed25519Scalar(b))
	return s
}

func (s edScalar) Sub(a, b Scalar) Scalar {
	s.Scalar.Sub(Ed25519Scalar(a), Ed25519Scalar(b))
	return s
}

func (s edScalar) Mul(a, b Scalar) Scalar {
	s.Scalar.Mul(Ed25519Scalar(a), Ed25519Scalar(b))
	return s
}

func (s edScalar) Negate(a Scalar) Scalar {
	s.Scalar.Negate(Ed25519Scalar(a))
	return s
}

func (s edScalar) Invert(a Scalar) Scalar {
	s.Scalar.Invert(Ed25519Scalar(a))
	return s
}

func (s edScalar) Select(a, b Scalar, cond int) Scalar {
	s.Scalar.Select(Ed25519Scalar(a), Ed25519Scalar(b), cond)
	return s
}

func (s edScalar) Equal(a Scalar) int { return s.Scalar.Equal(Ed25519Scalar(a)) }

type edPoint struct{ *ed25519.Point }

// Ed25519Point is the point itself, not a copy. It panics for another curve's.
func Ed25519Point(p Point) *ed25519.Point { return p.(edPoint).Point }

// FromEd25519Point is the point itself, not a copy.
func FromEd25519Point(p *ed25519.Point) Point { return edPoint{p} }

func (p edPoint) Curve() Curve { return edCurve{} }

func (p edPoint) Set(a Point) Point {
	p.Point.Set(Ed25519Point(a))
	return p
}

func (p edPoint) Add(a, b Point) Point {
	p.Point.Add(Ed25519Point(a), Ed25519Point(b))
	return p
}

func (p edPoint) Sub(a, b Point) Point {
	p.Point.Sub(Ed25519Point(a), Ed25519Point(b))
	return p
}

func (p edPoint) Negate(a Point) Point {
	p.Point.Negate(Ed25519Point(a))
	return p
}

func (p edPoint) ScalarMult(k Scalar, a Point) Point {
	p.Point.ScalarMult(Ed25519Scalar(k), Ed25519Point(a))
	return p
}

func (p edPoint) ScalarBaseMult(k Scalar) Point {
	p.Point.ScalarBaseMult(Ed25519Scalar(k))
	return p
}

func (p edPoint) DoubleScalarMultVartime(k Scalar, a Point, l Scalar) Point {
	p.Point.DoubleScalarMultVartime(Ed25519Scalar(k), Ed25519Point(a), Ed25519Scalar(l))
	return p
}

func (p edPoint) MultiScalarMultVartime(ks []Scalar, ps []Point) Point {
	scalars := make([]*ed25519.Scalar, len(ks))
	for i := range ks {
		scalars[i] = Ed25519Scalar(ks[i])
	}
	p.Point.MultiScalarMultVartime(scalars, edPoints(ps))
	return p
}

func (p edPoint) Equal(a Point) int { return p.Point.Equal(Ed25519Point(a)) }

func (p edPoint) Decode(b []byte) error { return p.SetBytes(b) }

func (p edPoint) Encode() []byte {
	b := p.Bytes()
	return b[:]
}

func edPoints(ps []Point) []*ed25519.Point {
	out := make([]*ed25519.Point, len(ps))
	for i := range ps {
		out[i] = Ed25519Point(ps[i])
	}
	return out
}

func encodeEd25519(ps []Point) [][]byte {
	encoded := ed25519.EncodePoints(edPoints(ps))
	out := make([][]byte, len(ps))
	for i := range encoded {
		out[i] = encoded[i][:]
	}
	return out
}
