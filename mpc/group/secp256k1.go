package group

import (
	"io"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

type secpCurve struct{}

func (secpCurve) Name() string      { return "secp256k1" }
func (secpCurve) NewScalar() Scalar { return secpScalar{secp256k1.NewScalar()} }
func (secpCurve) NewPoint() Point   { return secpPoint{secp256k1.NewPoint()} }
func (secpCurve) Generator() Point  { return secpPoint{secp256k1.Generator()} }
func (secpCurve) PointSize() int    { return secp256k1.PointSize }
func (secpCurve) UniformSize() int  { return 48 }

// secpScalar is a pointer in a struct, so that an interface holds it without
// another allocation. Whatever refuses to be printed is promoted.
type secpScalar struct{ *secp256k1.Scalar }

// Secp256k1Scalar is the scalar itself, not a copy. It panics for another curve's.
func Secp256k1Scalar(s Scalar) *secp256k1.Scalar { return s.(secpScalar).Scalar }

// FromSecp256k1Scalar is the scalar itself, not a copy.
func FromSecp256k1Scalar(s *secp256k1.Scalar) Scalar { return secpScalar{s} }

func (s secpScalar) Curve() Curve { return secpCurve{} }

func (s secpScalar) Set(a Scalar) Scalar {
	s.Scalar.Set(Secp256k1Scalar(a))
	return s
}

func (s secpScalar) SetUint64(v uint64) Scalar {
	s.Scalar.SetUint64(v)
	return s
}

func (s secpScalar) SetRandom(r io.Reader) error { return s.Scalar.SetRandom(r) }

func (s secpScalar) SetUniform(b []byte) Scalar {
	wide(s.Curve(), b)
	s.SetWide((*[48]byte)(b))
	return s
}

func (s secpScalar) Decode(b []byte) error { return s.SetBytes(b) }

func (s secpScalar) Encode() []byte {
	b := s.Bytes()
	return b[:]
}

func (s secpScalar) Add(a, b Scalar) Scalar {
	s.Scalar.Add(Secp256k1Scalar(a), Secp256k1Scalar(b))
	return s
}

func (s secpScalar) Sub(a, b Scalar) Scalar {
	s.Scalar.Sub(Secp256k1Scalar(a), Secp256k1Scalar(b))
	return s
}

func (s secpScalar) Mul(a, b Scalar) Scalar {
	s.Scalar.Mul(Secp256k1Scalar(a), Secp256k1Scalar(b))
	return s
}

func (s secpScalar) Negate(a Scalar) Scalar {
	s.Scalar.Negate(Secp256k1Scalar(a))
	return s
}

func (s secpScalar) Invert(a Scalar) Scalar {
	s.Scalar.Invert(Secp256k1Scalar(a))
	return s
}

func (s secpScalar) Select(a, b Scalar, cond int) Scalar {
	s.Scalar.Select(Secp256k1Scalar(a), Secp256k1Scalar(b), cond)
	return s
}

func (s secpScalar) Equal(a Scalar) int { return s.Scalar.Equal(Secp256k1Scalar(a)) }

type secpPoint struct{ *secp256k1.Point }

// Secp256k1Point is the point itself, not a copy. It panics for another curve's.
func Secp256k1Point(p Point) *secp256k1.Point { return p.(secpPoint).Point }

// FromSecp256k1Point is the point itself, not a copy.
func FromSecp256k1Point(p *secp256k1.Point) Point { return secpPoint{p} }

func (p secpPoint) Curve() Curve { return secpCurve{} }

func (p secpPoint) Set(a Point) Point {
	p.Point.Set(Secp256k1Point(a))
	return p
}

func (p secpPoint) Add(a, b Point) Point {
	p.Point.Add(Secp256k1Point(a), Secp256k1Point(b))
	return p
}

func (p secpPoint) Sub(a, b Point) Point {
	p.Point.Sub(Secp256k1Point(a), Secp256k1Point(b))
	return p
}

func (p secpPoint) Negate(a Point) Point {
	p.Point.Negate(Secp256k1Point(a))
	return p
}

func (p secpPoint) ScalarMult(k Scalar, a Point) Point {
	p.Point.ScalarMult(Secp256k1Scalar(k), Secp256k1Point(a))
	return p
}

func (p secpPoint) ScalarBaseMult(k Scalar) Point {
	p.Point.ScalarBaseMult(Secp256k1Scalar(k))
	return p
}

func (p secpPoint) DoubleScalarMultVartime(k Scalar, a Point, l Scalar) Point {
	p.Point.MultiScalarMultVartime(
		[]*secp256k1.Scalar{Secp256k1Scalar(k), Secp256k1Scalar(l)},
		[]*secp256k1.Point{Secp256k1Point(a), secp256k1.Generator()})
	return p
}

func (p secpPoint) MultiScalarMultVartime(ks []Scalar, ps []Point) Point {
	scalars := make([]*secp256k1.Scalar, len(ks))
	for i := range ks {
		scalars[i] = Secp256k1Scalar(ks[i])
	}
	p.Point.MultiScalarMultVartime(scalars, secpPoints(ps))
	return p
}

func (p secpPoint) Equal(a Point) int { return p.Point.Equal(Secp256k1Point(a)) }

func (p secpPoint) Decode(b []byte) error { return p.SetBytes(b) }

func (p secpPoint) Encode() []byte {
	b := p.Bytes()
	return b[:]
}

func secpPoints(ps []Point) []*secp256k1.Point {
	out := make([]*secp256k1.Point, len(ps))
	for i := range ps {
		out[i] = Secp256k1Point(ps[i])
	}
	return out
}

func encodeSecp256k1(ps []Point) [][]byte {
	encoded := secp256k1.EncodePoints(secpPoints(ps))
	out := make([][]byte, len(ps))
	for i := range encoded {
		out[i] = encoded[i][:]
	}
	return out
}
