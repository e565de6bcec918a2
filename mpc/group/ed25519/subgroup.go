package ed25519

import "filippo.io/edwards25519/field"

// The curve has 8ℓ points, and a cyclic group of them: it is ℤ₈ × ℤ_ℓ. A point
// is in the subgroup of order ℓ exactly if it is eight times another point. That
// can be asked without the multiplication by ℓ: halve the point once, and ask of
// the half Q whether it is four times another point.
//
// On the Montgomery form E: v² = u(u² + Au + 1), u = (1+y)/(1−y), v = c·u/x with
// c² = −(A+2) (RFC 7748 §4.1), A² − 4 is not a square and (0,0) the only point
// of order 2. Let E': Y² = X(X² − 2AX + A² − 4), with the isogenies of degree 2
//
//	φ: E → E', (u, v) ↦ (v²/u², …)      φ̂: E' → E, (X, Y) ↦ (Y²/4X², …)
//
// φ̂∘φ is the doubling. To halve P = (u, v):
//
//	w = √u, which exists iff P is in φ̂(E') = 2E;
//	X = A + 2u ± 2v/w are the x-coordinates above P. Their product is A² − 4, so
//	exactly one of the two is a square; it is that of φ(Q);
//	s = √X is v_Q/u_Q, and u_Q = (s² − A)/2 + ws.
//
// The other roots of these equations give Q plus a point of order 2, or −Q: all
// in 4E, or none.
//
// Q is in 4E exactly if its Tate pairing of order 4 with the point T = (1, t),
// t² = A + 2, of order 4 is 1, as 4 divides p − 1 and T generates E[4]. The
// function with divisor 4(T) − 4(O) is (v − tu)²/u, since the tangent at T goes
// through 2T = (0,0). At Q it is u_Q(s − t)². The pairing is its power (p−1)/4.
//
// Neither w nor u_Q nor s − t is 0: Q would be of order 1, 2 or 4 and P of order
// 1 or 2, and so x = 0.

var (
	curveA    = small(486662)
	one       = small(1)
	rootMinus = root(new(field.Element).Negate(one))                                                       // i, i² = −1
	montC     = root(new(field.Element).Negate(small(486664)))                                             // c
	montT     = root(small(486664))                                                                        // t
	otherRoot = root(new(field.Element).Negate(product(rootMinus, product(small(486660), small(486664))))) // √((A²−4)/i)
)

func small(v uint32) *field.Element {
	return new(field.Element).Mult32(new(field.Element).One(), v)
}

func product(a, b *field.Element) *field.Element { return new(field.Element).Multiply(a, b) }

func root(a *field.Element) *field.Element {
	r, _ := new(field.Element).SqrtRatio(a, new(field.Element).One())
	return r
}

// inSubgroup says whether the affine point (x, y) of the curve, x ≠ 0, has order
// ℓ. It takes three powers, a third of a multiplication by ℓ.
func inSubgroup(x, y *field.Element) bool {
	var n, d, w, m, k, den, x1, r, s, other, g, h field.Element
	n.Add(one, y)
	d.Subtract(one, y)
	_, square := w.SqrtRatio(&n, &d)

	// X = (m ± k)/den with den = d·x: v/w = c·w/x, since u = w².
	den.Multiply(&d, x)
	m.Multiply(curveA, &d)
	m.Add(&m, &n)
	m.Add(&m, &n)
	m.Multiply(&m, x)
	k.Multiply(montC, &w)
	k.Multiply(&k, &d)
	k.Add(&k, &k)
	x1.Add(&m, &k)

	// s = √(x1/den), or the root of the other X, (A²−4)·den/x1.
	_, first := r.SqrtRatio(one, h.Multiply(&x1, &den))
	s.Multiply(&x1, &r)
	other.Multiply(&den, &r)
	other.Multiply(&other, otherRoot)
	s.Select(&s, &other, first)

	// u_Q(s − t)², times 16, which is a fourth power.
	g.Square(&s)
	g.Subtract(&g, curveA)
	h.Multiply(&w, &s)
	g.Add(&g, &h)
	g.Add(&g, &h)
	g.Mult32(&g, 8)
	h.Subtract(&s, montT)
	h.Square(&h)
	g.Multiply(&g, &h)

	// (p−1)/4 = 2·(p−5)/8 + 1
	h.Pow22523(&g)
	h.Square(&h)
	h.Multiply(&h, &g)
	return square&h.Equal(one) == 1
}
