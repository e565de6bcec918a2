package secp256k1

// proj is a point in homogeneous projective coordinates: x = X/Z, y = Y/Z, the
// identity (0 : 1 : 0).
type proj struct {
	x, y, z fe
}

// affinePoint is a point with Z = 1: never the identity.
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
	u.add(&a.x, &a.y)
	v.add(&b.x, &b.y)
	t3.mul(&u, &v)
	u.add(&t0, &t1)
	t3.sub(&t3, &u) // t3 = X1 Y2 + X2 Y1
	u.add(&a.y, &a.z)
	v.add(&b.y, &b.z)
	t4.mul(&u, &v)
	u.add(&t1, &t2)
	t4.sub(&t4, &u) // t4 = Y1 Z2 + Y2 Z1
	u.add(&a.x, &a.z)
	v.add(&b.x, &b.z)
	u.mul(&u, &v)
	v.add(&t0, &t2)
	u.sub(&u, &v)
	u.mulSmall(&u, b3) // u = b3 (X1 Z2 + X2 Z1)
	t2.mulSmall(&t2, b3)
	v.add(&t1, &t2)     // v = Y1 Y2 + b3 Z1 Z2
	t1.sub(&t1, &t2)    // t1 = Y1 Y2 - b3 Z1 Z2
	t0.mulSmall(&t0, 3) // t0 = 3 X1 X2
	p.finish(&t0, &t1, &t3, &t4, &u, &v)
}

// finish is the common end of add and addAffine.
func (p *proj) finish(t0, t1, t3, t4, u, v *fe) {
	var s fe
	s.mul(t4, u)
	p.x.mul(t3, t1)
	p.x.sub(&p.x, &s) // X3 = t3 t1 - t4 u
	s.mul(u, t0)
	p.y.mul(t1, v)
	p.y.add(&p.y, &s) // Y3 = t1 v + u t0
	s.mul(t0, t3)
	p.z.mul(v, t4)
	p.z.add(&p.z, &s) // Z3 = v t4 + t0 t3
}

// addAffine sets p = a + b (algorithm 8): complete for every a, b not being
// the identity.
func (p *proj) addAffine(a *proj, b *affinePoint) {
	var t0, t1, t2, t3, t4, u, v fe
	t0.mul(&a.x, &b.x)
	t1.mul(&a.y, &b.y)
	u.add(&b.x, &b.y)
	v.add(&a.x, &a.y)
	t3.mul(&u, &v)
	u.add(&t0, &t1)
	t3.sub(&t3, &u) // t3 = X1 Y2 + X2 Y1
	t4.mul(&b.y, &a.z)
	t4.add(&t4, &a.y) // t4 = Y1 + Y2 Z1
	u.mul(&b.x, &a.z)
	u.add(&u, &a.x)
	u.mulSmall(&u, b3) // u = b3 (X1 + X2 Z1)
	t2.mulSmall(&a.z, b3)
	v.add(&t1, &t2)     // v = Y1 Y2 + b3 Z1
	t1.sub(&t1, &t2)    // t1 = Y1 Y2 - b3 Z1
	t0.mulSmall(&t0, 3) // t0 = 3 X1 X2
	p.finish(&t0, &t1, &t3, &t4, &u, &v)
}

// double sets p = 2a (algorithm 9).
func (p *proj) double(a *proj) {
	var t0, t1, t2, u, v fe
	t0.sqr(&a.y)
	t1.mul(&a.y, &a.z)
	t2.sqr(&a.z)
	t2.mulSmall(&t2, b3) // t2 = b3 Z^2
	u.mulSmall(&t2, 3)
	u.sub(&t0, &u) // u = Y^2 - 3 b3 Z^2
	v.mul(&a.x, &a.y)
	v.add(&v, &v)
	p.x.mul(&u, &v) // X3 = 2 X Y u
	v.add(&t0, &t2)
	u.mul(&u, &v)
	t0.mulSmall(&t0, 8)
	p.y.mul(&t2, &t0)
	p.y.add(&p.y, &u) // Y3 = 8 Y^2 b3 Z^2 + u (Y^2 + b3 Z^2)
	p.z.mul(&t1, &t0) // Z3 = 8 Y^3 Z
}

// sel sets p = a if m is all ones, b if m is zero.
func (p *proj) sel(a, b *proj, m uint64) {
	p.x.sel(&a.x, &b.x, m)
	p.y.sel(&a.y, &b.y, m)
	p.z.sel(&a.z, &b.z, m)
}
