package secp256k1

// proj is a point in homogeneous projective coordinates: x = X/Z, y = Y/Z, the
// identity (0 : 1 : 0). Magnitudes at rest: X <= 3, Y <= 4, Z <= 2.
type proj struct {
	x, y, z fe
}

// affinePoint is a point with Z = 1, never the identity. Magnitudes: 1 and,
// after a conditional negation, 2 for y.
type affinePoint struct {
	x, y fe
}

// b3 is 3b for the curve y^2 = x^3 + b, b = 7.
const b3 = 21

// add sets p = a + b with the complete formulas of Renes, Costello and Batina
// (eprint 2015/1060, algorithm 7, curve with a = 0): no input is exceptional.
func (p *proj) add(a, b *proj) {
	var t0, t1, t2, t3, t4, u, v fe
	t0.mul(&a.x, &b.x)
	t1.mul(&a.y, &b.y)
	t2.mul(&a.z, &b.z)
	u.add(&a.x, &a.y) // 7
	v.add(&b.x, &b.y) // 7
	t3.mul(&u, &v)
	u.add(&t0, &t1)
	t3.sub(&t3, &u, 3) // t3 = X1 Y2 + X2 Y1, 4
	u.add(&a.y, &a.z)  // 6
	v.add(&b.y, &b.z)
	t4.mul(&u, &v)
	u.add(&t1, &t2)
	t4.sub(&t4, &u, 3) // t4 = Y1 Z2 + Y2 Z1, 4
	u.add(&a.x, &a.z)  // 5
	v.add(&b.x, &b.z)
	u.mul(&u, &v)
	v.add(&t0, &t2)
	u.sub(&u, &v, 3)     // u = X1 Z2 + X2 Z1, 4
	u.mulSmall(&u, b3)   // 84
	t2.mulSmall(&t2, b3) // 21
	v.add(&t1, &t2)      // v = Y1 Y2 + b3 Z1 Z2, 22
	t1.sub(&t1, &t2, 23) // t1 = Y1 Y2 - b3 Z1 Z2, 24
	t2.mulSmall(&t0, 3)  // t2 = 3 X1 X2, 3

	var s fe
	s.mul(&t4, &u)       // 336
	p.x.mul(&t3, &t1)    // 96
	p.x.sub(&p.x, &s, 2) // 3
	s.mul(&u, &t2)       // 252
	p.y.mul(&t1, &v)     // 528
	p.y.add(&p.y, &s)    // 2
	s.mul(&t2, &t3)      // 12
	p.z.mul(&v, &t4)     // 88
	p.z.add(&p.z, &s)    // 2
}

// addAffine sets p = a + b (algorithm 8): complete for every a, b not being
// the identity.
func (p *proj) addAffine(a *proj, b *affinePoint) {
	var t0, t1, t2, t3, t4, u, v fe
	t0.mul(&a.x, &b.x)
	t1.mul(&a.y, &b.y)
	u.add(&b.x, &b.y) // 3
	v.add(&a.x, &a.y) // 7
	t3.mul(&u, &v)
	u.add(&t0, &t1)
	t3.sub(&t3, &u, 3) // t3 = X1 Y2 + X2 Y1, 4
	t4.mul(&b.y, &a.z)
	t4.add(&t4, &a.y) // t4 = Y1 + Y2 Z1, 5
	u.mul(&b.x, &a.z)
	u.add(&u, &a.x)       // u = X1 + X2 Z1, 4
	u.mulSmall(&u, b3)    // 84
	t2.mulSmall(&a.z, b3) // 42
	t2.carry()            // 1
	v.add(&t1, &t2)       // v = Y1 Y2 + b3 Z1, 2
	t1.sub(&t1, &t2, 2)   // t1 = Y1 Y2 - b3 Z1, 3
	t2.mulSmall(&t0, 3)   // t2 = 3 X1 X2, 3

	var s fe
	s.mul(&t4, &u)       // 420
	p.x.mul(&t3, &t1)    // 12
	p.x.sub(&p.x, &s, 2) // 3
	s.mul(&u, &t2)       // 252
	p.y.mul(&t1, &v)     // 6
	p.y.add(&p.y, &s)    // 2
	s.mul(&t2, &t3)      // 12
	p.z.mul(&v, &t4)     // 10
	p.z.add(&p.z, &s)    // 2
}

// double sets p = 2a (algorithm 9).
func (p *proj) double(a *proj) {
	var t0, t1, t2, u, v fe
	t0.sqr(&a.y)
	t1.mul(&a.y, &a.z)
	t2.sqr(&a.z)
	t2.mulSmall(&t2, b3)
	t2.carry()          // t2 = b3 Z^2, 1
	u.mulSmall(&t2, 3)  // 3
	u.sub(&t0, &u, 4)   // u = Y^2 - 3 b3 Z^2, 5
	v.mul(&a.x, &a.y)   // X Y
	v.mulSmall(&v, 2)   // 2
	p.x.mul(&u, &v)     // 1
	v.add(&t0, &t2)     // v = Y^2 + b3 Z^2, 2
	u.mul(&u, &v)       // 10
	t0.mulSmall(&t0, 8) // 8 Y^2, 8
	p.y.mul(&t2, &t0)   // 8
	p.y.add(&p.y, &u)   // 2
	p.z.mul(&t1, &t0)   // 1
}

// sel sets p = a if m is all ones, b if m is zero.
func (p *proj) sel(a, b *proj, m uint64) {
	p.x.sel(&a.x, &b.x, m)
	p.y.sel(&a.y, &b.y, m)
	p.z.sel(&a.z, &b.z, m)
}
