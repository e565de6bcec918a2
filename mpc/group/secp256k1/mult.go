package secp256k1

import (
	"math/bits"
	"sync"
)

// The endomorphism phi(x, y) = (beta x, y) is multiplication by lambda.
var (
	beta      = fe{0xc1396c28719501ee, 0x9cf0497512f58995, 0x6e64479eac3434e9, 0x7ae96a2b657c0710}
	negLambda = Scalar{[4]uint64{0xe0cfc810b51283cf, 0xa880b9fc8ec739c2, 0x5ad9e3fd77ed9ba4, 0xac9c52b33fa3cf1f}}

	// A short basis (a1, b1), (a2, b2) of the lattice of (x, y) with
	// x + y lambda = 0 mod q; g1 = round(2^384 b2/q), g2 = round(-2^384 b1/q).
	glvG1    = [4]uint64{0xe893209a45dbb031, 0x3daa8a1471e8ca7f, 0xe86c90e49284eb15, 0x3086d221a7d46bcd}
	glvG2    = [4]uint64{0x1571b4ae8ac47f71, 0x221208ac9df506c6, 0x6f547fa90abfe4c4, 0xe4437ed6010e8828}
	glvNegB1 = Scalar{[4]uint64{0x6f547fa90abfe4c3, 0xe4437ed6010e8828}}
	glvNegB2 = Scalar{[4]uint64{0xd765cda83db1562c, 0x8a280ac50774346d, 0xfffffffffffffffe, 0xffffffffffffffff}}
)

// half is one of the two halves of a scalar: a sign, all ones for negative,
// and an absolute value below 2^128.
type half struct {
	neg uint64
	abs [2]uint64
}

// splitGLV finds short k1, k2 with k = k1 + k2 lambda, in constant time.
func splitGLV(k *Scalar) (k1, k2 half) {
	var c1, c2, t Scalar
	mulShift384(&c1, &k.n, &glvG1)
	mulShift384(&c2, &k.n, &glvG2)
	c1.Mul(&c1, &glvNegB1)
	c2.Mul(&c2, &glvNegB2)
	c2.Add(&c1, &c2) // k2 = -c1 b1 - c2 b2
	t.Mul(&c2, &negLambda)
	t.Add(&t, k) // k1 = k - k2 lambda
	return signed(&t), signed(&c2)
}

// mulShift384 sets c = round(a*b / 2^384).
func mulShift384(c *Scalar, a, b *[4]uint64) {
	var w [8]uint64
	mul512(&w, a, b)
	c.n = [4]uint64{w[6], w[7]}
	// The quotient is below 2^128 - 1, the carry stays in 192 bits.
	var r Scalar
	r.n[0] = w[5] >> 63
	c.Add(c, &r)
}

// signed reads s as a number between -2^128 and 2^128.
func signed(s *Scalar) half {
	var n Scalar
	h := s.IsHigh()
	n.Negate(s)
	n.Select(&n, s, h)
	return half{-uint64(h), [2]uint64{n.n[0], n.n[1]}}
}

const (
	varWindow = 4
	varDigits = 33 // 128 bits and a carry
	varTable  = 1 << (varWindow - 1)
)

// digits recodes h as the sum of d[i]*16^i with -8 <= d[i] < 8, and returns
// d[i]+8, except for the highest, which is 0 or 1 and is returned plain.
func (h *half) digits() (d [varDigits]uint8) {
	// Adding 8 to every digit makes the signed digits plain ones.
	const eights = 0x8888888888888888
	lo, c := bits.Add64(h.abs[0], eights, 0)
	hi, c := bits.Add64(h.abs[1], eights, c)
	for i := range 16 {
		d[i] = uint8(lo>>(4*i)) & 15
		d[16+i] = uint8(hi>>(4*i)) & 15
	}
	d[32] = uint8(c)
	return d
}

// varTab holds 1P .. 8P.
type varTab [varTable]proj

func (t *varTab) init(p *proj) {
	t[0] = *p
	for i := 1; i < varTable; i += 2 {
		t[i].double(&t[i/2])
		if i+1 < varTable {
			t[i+1].add(&t[i], p)
		}
	}
}

// lookup sets p to the multiple of the digit d8 - 8, negated if neg is all
// ones. It reads the whole table.
func (t *varTab) lookup(p *proj, d8 uint8, neg uint64) {
	d := uint64(d8) - 8 // in two's complement
	s := -(d >> 63)
	abs := (d ^ s) - s
	*p = proj{}
	for i := range t {
		m := zeroMask(abs ^ uint64(i+1))
		q := &t[i]
		p.x[0] |= m & q.x[0]
		p.x[1] |= m & q.x[1]
		p.x[2] |= m & q.x[2]
		p.x[3] |= m & q.x[3]
		p.y[0] |= m & q.y[0]
		p.y[1] |= m & q.y[1]
		p.y[2] |= m & q.y[2]
		p.y[3] |= m & q.y[3]
		p.z[0] |= m & q.z[0]
		p.z[1] |= m & q.z[1]
		p.z[2] |= m & q.z[2]
		p.z[3] |= m & q.z[3]
	}
	p.y[0] |= zeroMask(abs) & 1 // digit 0: the identity
	p.y.condNeg(&p.y, s^neg)
}

// ScalarMult sets p = k*q in constant time.
func (p *Point) ScalarMult(k *Scalar, q *Point) *Point {
	var t1, t2 varTab
	v := q.load()
	t1.init(&v)
	for i := range t1 {
		t2[i] = t1[i]
		t2[i].x.mul(&t1[i].x, &beta)
	}
	k1, k2 := splitGLV(k)
	d1, d2 := k1.digits(), k2.digits()
	var acc, e proj
	t1.lookup(&acc, d1[varDigits-1]+8, k1.neg)
	t2.lookup(&e, d2[varDigits-1]+8, k2.neg)
	acc.add(&acc, &e)
	for i := varDigits - 2; i >= 0; i-- {
		for range varWindow {
			acc.double(&acc)
		}
		t1.lookup(&e, d1[i], k1.neg)
		acc.add(&acc, &e)
		t2.lookup(&e, d2[i], k2.neg)
		acc.add(&acc, &e)
	}
	p.v = acc
	return p
}

const (
	baseWindow = 5
	baseDigits = 52
	baseOdd    = 1 << (baseWindow - 1)
)

// baseTable holds, for each digit position i, the odd multiples
// (2j+1) * 32^i * G. It is computed once, from public data.
var baseTable = sync.OnceValue(func() *[baseDigits][baseOdd]affinePoint {
	pts := make([]proj, baseDigits*baseOdd)
	g := Generator().v
	for i := range baseDigits {
		var two proj
		two.double(&g)
		row := pts[i*baseOdd : (i+1)*baseOdd]
		row[0] = g
		for j := 1; j < baseOdd; j++ {
			row[j].add(&row[j-1], &two)
		}
		for range baseWindow {
			g.double(&g)
		}
	}
	prefix := make([]fe, len(pts))
	acc := feOne
	for i := range pts {
		prefix[i] = acc
		acc.mul(&acc, &pts[i].z)
	}
	acc.invert(&acc)
	t := new([baseDigits][baseOdd]affinePoint)
	for i := len(pts) - 1; i >= 0; i-- {
		var zi, x, y fe
		zi.mul(&acc, &prefix[i])
		acc.mul(&acc, &pts[i].z)
		x.mul(&pts[i].x, &zi)
		y.mul(&pts[i].y, &zi)
		t[i/baseOdd][i%baseOdd] = affinePoint{x, y}
	}
	return t
})

// baseHalf is 1/2 and baseOffset is (2^260 - 1)/2, mod q.
var (
	baseHalf   = Scalar{[4]uint64{0xdfe92f46681b20a1, 0x5d576e7357a4501d, 0xffffffffffffffff, 0x7fffffffffffffff}}
	baseOffset = Scalar{[4]uint64{0xe1563adfe6691698, 0x87e0873ddd5f4e3f, 0x9, 0x8000000000000000}}
)

// lookupBase sets p to the multiple of the odd digit 2v - 31. It reads the
// whole row.
func lookupBase(p *affinePoint, row *[baseOdd]affinePoint, v uint64) {
	neg := v>>4 - 1 // all ones for v < 16
	idx := (v ^ neg) & 15
	*p = affinePoint{}
	for j := range row {
		m := zeroMask(idx ^ uint64(j))
		e := &row[j]
		p.x[0] |= m & e.x[0]
		p.x[1] |= m & e.x[1]
		p.x[2] |= m & e.x[2]
		p.x[3] |= m & e.x[3]
		p.y[0] |= m & e.y[0]
		p.y[1] |= m & e.y[1]
		p.y[2] |= m & e.y[2]
		p.y[3] |= m & e.y[3]
	}
	p.y.condNeg(&p.y, neg)
}

// ScalarBaseMult sets p = k*G in constant time.
func (p *Point) ScalarBaseMult(k *Scalar) *Point {
	t := baseTable()
	// With u = (k + 2^260 - 1)/2 mod q, k is the sum of (2u_i - 1) 2^i over the
	// 260 bits u_i of u: every digit of 5 bits is odd, none is zero.
	var u Scalar
	u.Mul(k, &baseHalf)
	u.Add(&u, &baseOffset)
	var acc proj
	var e affinePoint
	lookupBase(&e, &t[baseDigits-1], u.n[3]>>63)
	acc = proj{x: e.x, y: e.y, z: feOne}
	for i := baseDigits - 2; i >= 0; i-- {
		lookupBase(&e, &t[i], u.bits5(uint(i*baseWindow)))
		acc.addAffine(&acc, &e)
	}
	p.v = acc
	return p
}

// bits5 returns the 5 bits of s from bit i on; i is public.
func (s *Scalar) bits5(i uint) uint64 {
	w, b := i/64, i%64
	v := s.n[w] >> b
	if b > 59 && w < 3 {
		v |= s.n[w+1] << (64 - b)
	}
	return v & 31
}

// MultiScalarMultVartime sets p to the sum of ks[i]*ps[i]. Its time depends on
// the scalars: public data only. The slices must have the same length:
// anything else is a programmer's error, and panics.
func (p *Point) MultiScalarMultVartime(ks []*Scalar, ps []*Point) *Point {
	if len(ks) != len(ps) {
		panic("secp256k1: as many scalars as points are needed")
	}
	n := 2 * len(ks)
	tabs := make([]vartimeTab, n)
	nafs := make([][vartimeBits]int8, n)
	for i := range ks {
		v := ps[i].load()
		k1, k2 := splitGLV(ks[i])
		tabs[2*i].init(&v)
		for j := range tabs[2*i] {
			tabs[2*i+1][j] = tabs[2*i][j]
			tabs[2*i+1][j].x.mul(&tabs[2*i][j].x, &beta)
		}
		k1.wnafVartime(&nafs[2*i])
		k2.wnafVartime(&nafs[2*i+1])
	}
	acc := proj{y: feOne}
	started := false
	for bit := vartimeBits - 1; bit >= 0; bit-- {
		if started {
			acc.double(&acc)
		}
		for i := range nafs {
			d := nafs[i][bit]
			if d == 0 {
				continue
			}
			started = true
			if d > 0 {
				acc.add(&acc, &tabs[i][d/2])
				continue
			}
			e := tabs[i][-d/2]
			e.y.neg(&e.y)
			acc.add(&acc, &e)
		}
	}
	p.v = acc
	return p
}

const (
	vartimeWindow = 5
	vartimeBits   = 130
)

// vartimeTab holds 1P, 3P .. 15P.
type vartimeTab [1 << (vartimeWindow - 2)]proj

func (t *vartimeTab) init(p *proj) {
	var two proj
	two.double(p)
	t[0] = *p
	for i := 1; i < len(t); i++ {
		t[i].add(&t[i-1], &two)
	}
}

// wnafVartime recodes h in the non-adjacent form of width 5.
func (h *half) wnafVartime(d *[vartimeBits]int8) {
	lo, hi, top := h.abs[0], h.abs[1], uint64(0)
	for i := 0; lo|hi|top != 0; i++ {
		if lo&1 != 0 {
			w := int64(lo & (1<<vartimeWindow - 1))
			if w >= 1<<(vartimeWindow-1) {
				w -= 1 << vartimeWindow
			}
			v := int8(w)
			if h.neg != 0 {
				v = -v
			}
			d[i] = v
			// Subtract w.
			old := lo
			lo -= uint64(w)
			if w > 0 {
				if lo > old {
					hi--
				}
			} else if lo < old {
				hi++
				if hi == 0 {
					top++
				}
			}
		}
		lo = lo>>1 | hi<<63
		hi = hi>>1 | top<<63
		top >>= 1
	}
}
