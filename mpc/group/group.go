// Package group gives the protocols that run over more than one curve (sharing,
// dkg, lifecycle, frost) one view of them. The curves themselves are the packages
// below it; what serves one curve only (dkls23) uses that package directly.
//
// Values of two curves must not be mixed: that is a programmer's error, and
// panics. Everything runs in constant time but what has Vartime in its name and
// what a curve's package says about the validity of an encoding.
//
// A Scalar may be secret. Its owner calls Destroy; it refuses to be printed,
// within the limits of package fmt: a struct that holds one in an unexported
// field implements fmt.Formatter itself.
package group

import "io"

// Curve is a group of prime order q with a generator, and the field of its
// scalars.
type Curve interface {
	Name() string      // "secp256k1", "ed25519"
	NewScalar() Scalar // 0
	NewPoint() Point   // the identity
	Generator() Point
	PointSize() int   // of an encoded point: 33, 32
	UniformSize() int // bytes that SetUniform takes: 48, 64
}

// Scalar is an element of Z_q. Methods with a result set the receiver and return
// it; the receiver may be an argument.
type Scalar interface {
	Curve() Curve
	Set(a Scalar) Scalar
	SetUint64(v uint64) Scalar
	SetRandom(r io.Reader) error
	SetUniform(b []byte) Scalar // UniformSize bytes, reduced: bias below 2⁻¹²⁸
	Decode(b []byte) error      // 32 bytes, the curve's byte order, canonical
	Encode() []byte
	Add(a, b Scalar) Scalar
	Sub(a, b Scalar) Scalar
	Mul(a, b Scalar) Scalar
	Negate(a Scalar) Scalar
	Invert(a Scalar) Scalar // 0 for 0
	Select(a, b Scalar, cond int) Scalar
	IsZero() int
	Equal(a Scalar) int
	Destroy()
}

// Point is an element of the group.
type Point interface {
	Curve() Curve
	Set(a Point) Point
	Add(a, b Point) Point
	Sub(a, b Point) Point
	Negate(a Point) Point
	ScalarMult(k Scalar, p Point) Point
	ScalarBaseMult(k Scalar) Point
	DoubleScalarMultVartime(k Scalar, a Point, l Scalar) Point // k·a + l·G, of public data
	MultiScalarMultVartime(ks []Scalar, ps []Point) Point
	Equal(a Point) int
	IsIdentity() int
	Decode(b []byte) error // canonical; refuses the identity and what is outside the group of order q
	Encode() []byte        // the identity gives bytes that Decode refuses
}
