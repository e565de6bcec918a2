package secp256k1

import (
	"errors"
	"fmt"
)

// Point is an element of the group. The zero value is the identity.
type Point struct {
	v proj
}

// Lengths of encoded points.
const (
	PointSize             = 33
	PointUncompressedSize = 65
)

var (
	errPointPrefix   = errors.New("point does not begin with 0x02 or 0x03")
	errPointRange    = errors.New("x of the point is not below the field prime")
	errPointNotCurve = errors.New("x is not that of a point on secp256k1")
)

// generator, as affine coordinates.
var (
	generatorX = fe{0x59f2815b16f81798, 0x029bfcdb2dce28d9, 0x55a06295ce870b07, 0x79be667ef9dcbbac}
	generatorY = fe{0x9c47d08ffb10d4b8, 0xfd17b448a6855419, 0x5da4fbfc0e1108a8, 0x483ada7726a3c465}
)

// NewPoint returns a new point, the identity.
func NewPoint() *Point { return new(Point).SetIdentity() }

// Generator returns a new point, the generator G of SEC 2.
func Generator() *Point {
	return &Point{proj{x: generatorX, y: generatorY, z: feOne}}
}

// Set sets p = a.
func (p *Point) Set(a *Point) *Point {
	p.v = a.v
	return p
}

// SetIdentity sets p to the identity.
func (p *Point) SetIdentity() *Point {
	p.v = proj{y: feOne}
	return p
}

// load returns the coordinates of p, with the zero value read as the identity.
func (p *Point) load() proj {
	v := p.v
	v.y[0] |= zeroMask(v.y[0]|v.y[1]|v.y[2]|v.y[3]|v.z[0]|v.z[1]|v.z[2]|v.z[3]) & 1
	return v
}

// Negate sets p = -a.
func (p *Point) Negate(a *Point) *Point {
	v := a.load()
	v.y.neg(&v.y)
	p.v = v
	return p
}

// Add sets p = a + b.
func (p *Point) Add(a, b *Point) *Point {
	va, vb := a.load(), b.load()
	p.v.add(&va, &vb)
	return p
}

// Sub sets p = a - b.
func (p *Point) Sub(a, b *Point) *Point {
	va, vb := a.load(), b.load()
	vb.y.neg(&vb.y)
	p.v.add(&va, &vb)
	return p
}

// Double sets p = 2a.
func (p *Point) Double(a *Point) *Point {
	v := a.load()
	p.v.double(&v)
	return p
}

// Select sets p = a if cond is 1, b if cond is 0, in constant time.
func (p *Point) Select(a, b *Point, cond int) *Point {
	m := -uint64(cond & 1)
	va, vb := a.load(), b.load()
	p.v.sel(&va, &vb, m)
	return p
}

// Equal returns 1 if p = a, else 0, in constant time.
func (p *Point) Equal(a *Point) int {
	vp, va := p.load(), a.load()
	var l, r fe
	l.mul(&vp.x, &va.z)
	r.mul(&va.x, &vp.z)
	l.sub(&l, &r)
	m := l.isZeroMask()
	l.mul(&vp.y, &va.z)
	r.mul(&va.y, &vp.z)
	l.sub(&l, &r)
	return int(m & l.isZeroMask() & 1)
}

// IsIdentity returns 1 if p is the identity, else 0, in constant time.
func (p *Point) IsIdentity() int {
	return int(p.v.z.isZeroMask() & 1)
}

// SetBytes sets p to a compressed point of SEC 1, 33 bytes. It accepts exactly
// one encoding for each point but the identity, which has none; an error leaves
// p as it was. Whether it is an error is public.
func (p *Point) SetBytes(b []byte) error {
	if len(b) != PointSize {
		return fmt.Errorf("point has %d bytes, want %d", len(b), PointSize)
	}
	if b[0] != 2 && b[0] != 3 {
		return errPointPrefix
	}
	var x, y, t fe
	if x.setBytes((*[32]byte)(b[1:])) == 0 {
		return errPointRange
	}
	t.sqr(&x)
	t.mul(&t, &x)
	t.add(&t, &fe{7})
	if y.sqrt(&t) == 0 {
		return errPointNotCurve
	}
	// y is never 0: the group has no point of order 2.
	y.condNeg(&y, -(y.isOdd() ^ uint64(b[0]&1)))
	p.v = proj{x: x, y: y, z: feOne}
	return nil
}

// affine returns x/z and y/z, (0, 0) for the identity.
func (p *Point) affine() (x, y fe) {
	var zi fe
	zi.invert(&p.v.z)
	x.mul(&p.v.x, &zi)
	y.mul(&p.v.y, &zi)
	return x, y
}

// Bytes returns p as a compressed point of SEC 1. The identity gives 33 zero
// bytes, which SetBytes refuses.
func (p *Point) Bytes() (b [33]byte) {
	x, y := p.affine()
	compress(&b, &x, &y, p.v.z.isZeroMask())
	return b
}

// compress writes the affine point (x, y), or zeroes if identity is all ones.
func compress(b *[33]byte, x, y *fe, identity uint64) {
	xb := x.bytes()
	b[0] = byte((2 | y.isOdd()) &^ identity)
	for i := range xb {
		b[1+i] = xb[i] &^ byte(identity)
	}
}

// BytesUncompressed returns p as an uncompressed point of SEC 1. The identity
// gives 65 zero bytes.
func (p *Point) BytesUncompressed() (b [65]byte) {
	x, y := p.affine()
	b[0] = byte(4 &^ p.v.z.isZeroMask())
	xb, yb := x.bytes(), y.bytes()
	copy(b[1:], xb[:])
	copy(b[33:], yb[:])
	return b
}

// XBytes returns the affine x of p, big-endian; zero for the identity.
func (p *Point) XBytes() [32]byte {
	x, _ := p.affine()
	return x.bytes()
}

// YIsOdd returns 1 if the affine y of p is odd, else 0.
func (p *Point) YIsOdd() int {
	_, y := p.affine()
	return int(y.isOdd())
}

// Destroy overwrites p with zeroes, which read as the identity.
func (p *Point) Destroy() { p.v = proj{} }

// EncodePoints returns what Bytes returns for each point, with one inversion
// for all of them.
func EncodePoints(ps []*Point) [][33]byte {
	out := make([][33]byte, len(ps))
	// prefix[i] is the product of the z of the points before i; an identity
	// counts as 1.
	prefix := make([]fe, len(ps))
	acc := feOne
	for i, p := range ps {
		var z fe
		z.sel(&feOne, &p.v.z, p.v.z.isZeroMask())
		prefix[i] = acc
		acc.mul(&acc, &z)
	}
	acc.invert(&acc)
	for i := len(ps) - 1; i >= 0; i-- {
		identity := ps[i].v.z.isZeroMask()
		var z, zi, x, y fe
		z.sel(&feOne, &ps[i].v.z, identity)
		zi.mul(&acc, &prefix[i])
		acc.mul(&acc, &z)
		x.mul(&ps[i].v.x, &zi)
		y.mul(&ps[i].v.y, &zi)
		compress(&out[i], &x, &y, identity)
	}
	return out
}
