package refmodel

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

func hexInt(s string) *big.Int {
	v, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic("refmodel: a constant is not hexadecimal")
	}
	return v
}

// p is the prime of the field, q the order of the group (SEC 2, secp256k1).
var (
	p = hexInt("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
	q = hexInt("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	g = Point{
		hexInt("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
		hexInt("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
	}
)

// Scalars, mod q.

func mod(k *big.Int) *big.Int { return new(big.Int).Mod(k, q) }
func add(terms ...*big.Int) *big.Int {
	sum := new(big.Int)
	for _, t := range terms {
		sum.Add(sum, t)
	}
	return mod(sum)
}
func sub(a, b *big.Int) *big.Int { return mod(new(big.Int).Sub(a, b)) }
func mul(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }
func neg(a *big.Int) *big.Int    { return mod(new(big.Int).Neg(a)) }
func inv(a *big.Int) *big.Int    { return new(big.Int).ModInverse(a, q) }

// Field elements, mod p.

func fmod(x *big.Int) *big.Int    { return x.Mod(x, p) }
func fadd(a, b *big.Int) *big.Int { return fmod(new(big.Int).Add(a, b)) }
func fsub(a, b *big.Int) *big.Int { return fmod(new(big.Int).Sub(a, b)) }
func fmul(a, b *big.Int) *big.Int { return fmod(new(big.Int).Mul(a, b)) }
func fneg(a *big.Int) *big.Int    { return fmod(new(big.Int).Neg(a)) }
func finv(a *big.Int) *big.Int    { return new(big.Int).ModInverse(a, p) }
func fint(v int64) *big.Int       { return fmod(big.NewInt(v)) }

// fsqrt is a root of a, or nil if there is none (p ≡ 3 mod 4).
func fsqrt(a *big.Int) *big.Int {
	e := new(big.Int).Add(p, big.NewInt(1))
	r := new(big.Int).Exp(a, e.Rsh(e, 2), p)
	if fmul(r, r).Cmp(a) != 0 {
		return nil
	}
	return r
}

// curveEq is x³ + 7.
func curveEq(x *big.Int) *big.Int { return fadd(fmul(fmul(x, x), x), big.NewInt(7)) }

// Point is a point of secp256k1; the identity O has no coordinates.
type Point struct{ X, Y *big.Int }

// IsIdentity says that a is O.
func (a Point) IsIdentity() bool { return a.X == nil }

// Equal says that two points are the same.
func (a Point) Equal(b Point) bool {
	if a.IsIdentity() || b.IsIdentity() {
		return a.IsIdentity() && b.IsIdentity()
	}
	return a.X.Cmp(b.X) == 0 && a.Y.Cmp(b.Y) == 0
}

// Neg is −a.
func (a Point) Neg() Point {
	if a.IsIdentity() {
		return a
	}
	return Point{a.X, fneg(a.Y)}
}

// Add is a + b, by chord and tangent.
func (a Point) Add(b Point) Point {
	if a.IsIdentity() {
		return b
	}
	if b.IsIdentity() {
		return a
	}
	var slope *big.Int
	if a.X.Cmp(b.X) == 0 {
		if a.Y.Cmp(b.Y) != 0 {
			return Point{} // no point has order 2
		}
		slope = fmul(fmul(big.NewInt(3), fmul(a.X, a.X)), finv(fadd(a.Y, a.Y)))
	} else {
		slope = fmul(fsub(b.Y, a.Y), finv(fsub(b.X, a.X)))
	}
	x := fsub(fsub(fmul(slope, slope), a.X), b.X)
	return Point{x, fsub(fmul(slope, fsub(a.X, x)), a.Y)}
}

// Sub is a − b.
func (a Point) Sub(b Point) Point { return a.Add(b.Neg()) }

// Mul is k·a. It is decred's: with the rule above, a base OT would take a
// minute under the race detector. TestMul compares the two.
func (a Point) Mul(k *big.Int) Point {
	if a.IsIdentity() {
		return a
	}
	var in, out secp256k1.JacobianPoint
	in.X.SetByteSlice(enc(a.X))
	in.Y.SetByteSlice(enc(a.Y))
	in.Z.SetInt(1)
	var s secp256k1.ModNScalar
	s.SetByteSlice(enc(mod(k)))
	secp256k1.ScalarMultNonConst(&s, &in, &out)
	if out.Z.IsZero() {
		return Point{}
	}
	out.ToAffine()
	x, y := out.X.Bytes(), out.Y.Bytes()
	return Point{new(big.Int).SetBytes(x[:]), new(big.Int).SetBytes(y[:])}
}

// Base is k·G.
func Base(k *big.Int) Point { return g.Mul(k) }

// Bytes is the SEC 1 compressed encoding; 33 zero bytes for O, which has none.
func (a Point) Bytes() []byte {
	out := make([]byte, 33)
	if a.IsIdentity() {
		return out
	}
	out[0] = 2 + byte(a.Y.Bit(0))
	a.X.FillBytes(out[1:])
	return out
}

// DecodePoint reads a compressed point.
func DecodePoint(b []byte) (Point, error) {
	if len(b) != 33 || b[0] != 2 && b[0] != 3 {
		return Point{}, fmt.Errorf("not a compressed point: %x", b)
	}
	x := new(big.Int).SetBytes(b[1:])
	if x.Cmp(p) >= 0 {
		return Point{}, errors.New("x is not below p")
	}
	y := fsqrt(curveEq(x))
	if y == nil {
		return Point{}, errors.New("x is of no point of the curve")
	}
	if byte(y.Bit(0)) != b[0]&1 {
		y = fneg(y)
	}
	return Point{x, y}, nil
}

// DecodeScalar reads 32 bytes below q.
func DecodeScalar(b []byte) (*big.Int, error) {
	k := new(big.Int).SetBytes(b)
	if len(b) != 32 || k.Cmp(q) >= 0 {
		return nil, fmt.Errorf("not a scalar: %x", b)
	}
	return k, nil
}

// lagrange is λᵢ = Π_{j≠i} j·(j − i)⁻¹ over the set.
func lagrange(i int, set []int) *big.Int {
	l := big.NewInt(1)
	for _, j := range set {
		if j != i {
			l = mul(l, mul(big.NewInt(int64(j)), inv(mod(big.NewInt(int64(j-i))))))
		}
	}
	return l
}

// evalPoints is Σ_k A_k·iᵏ.
func evalPoints(a []Point, i int) Point {
	sum, power := Point{}, big.NewInt(1)
	for _, ak := range a {
		sum = sum.Add(ak.Mul(power))
		power = mul(power, big.NewInt(int64(i)))
	}
	return sum
}
