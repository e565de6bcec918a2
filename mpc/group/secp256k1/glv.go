package secp256k1

import "math/bits"

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

// multiple is k*q in parts: the tables of q and phi(q), and the digits of the
// halves of k.
type multiple struct {
	t1, t2 varTab
	n1, n2 uint64 // all ones: the half is negative
	d1, d2 [varDigits]uint8
}

func (m *multiple) init(k *Scalar, q *proj) {
	m.t1.init(q)
	for i := range m.t1 {
		m.t2[i] = m.t1[i]
		m.t2[i].x.mul(&m.t1[i].x, &beta)
	}
	k1, k2 := splitGLV(k)
	m.d1, m.d2 = k1.digits(), k2.digits()
	m.n1, m.n2 = k1.neg, k2.neg
}

// top sets p to what the highest digits give.
func (m *multiple) top(p *proj) {
	var e proj
	m.t1.lookup(p, m.d1[varDigits-1]+8, m.n1)
	m.t2.lookup(&e, m.d2[varDigits-1]+8, m.n2)
	p.add(p, &e)
}

// add adds to p what the digits i give; i is public.
func (m *multiple) add(p *proj, i int) {
	var e proj
	m.t1.lookup(&e, m.d1[i], m.n1)
	p.add(p, &e)
	m.t2.lookup(&e, m.d2[i], m.n2)
	p.add(p, &e)
}

// ScalarMult sets p = k*q in constant time.
func (p *Point) ScalarMult(k *Scalar, q *Point) *Point {
	var m multiple
	var acc proj
	v := q.load()
	m.init(k, &v)
	m.top(&acc)
	for i := varDigits - 2; i >= 0; i-- {
		for range varWindow {
			acc.double(&acc)
		}
		m.add(&acc, i)
	}
	p.v = acc
	return p
}

// MultiScalarMult sets p to the sum of ks[i]*qs[i] in constant time: only their
// number shows. It is ScalarMult with doublings that all share. The slices must
// have the same length: anything else is a programmer's error, and panics.
func (p *Point) MultiScalarMult(ks []*Scalar, qs []*Point) *Point {
	if len(ks) != len(qs) {
		panic("secp256k1: as many scalars as points are needed")
	}
	ms := make([]multiple, len(ks))
	acc := proj{y: feOne}
	var e proj
	for j := range ms {
		v := qs[j].load()
		ms[j].init(ks[j], &v)
		ms[j].top(&e)
		acc.add(&acc, &e)
	}
	for i := varDigits - 2; i >= 0; i-- {
		for range varWindow {
			acc.double(&acc)
		}
		for j := range ms {
			ms[j].add(&acc, i)
		}
	}
	// The digits are on the heap, where they would stay for long.
	clear(ms)
	p.v = acc
	return p
}
