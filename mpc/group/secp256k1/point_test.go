package secp256k1

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"
)

// pointOf returns v*G, in coordinates with a Z of its own.
func pointOf(v *big.Int) *Point {
	p := NewPoint().ScalarBaseMult(scalarOf(v))
	z := fe{0x1234567, 89, 10, 11}
	z.mul(&z, &fe{v.Uint64() | 1})
	p.v.x.mul(&p.v.x, &z)
	p.v.y.mul(&p.v.y, &z)
	p.v.z.mul(&p.v.z, &z)
	return p
}

// decredPoint returns p for the oracle.
func decredPoint(t interface{ Fatalf(string, ...any) }, p *Point) (r secp256k1.JacobianPoint) {
	if p.IsIdentity() == 1 {
		return r
	}
	b := p.Bytes()
	k, err := secp256k1.ParsePubKey(b[:])
	if err != nil {
		t.Fatalf("decred refuses %x: %v", b, err)
	}
	k.AsJacobian(&r)
	return r
}

// genPoint draws a multiple of G: often the identity, or near.
func genPoint() *rapid.Generator[*Point] {
	return rapid.Custom(func(t *rapid.T) *Point {
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			return NewPoint()
		case 1:
			return new(Point)
		case 2:
			return pointOf(big.NewInt(int64(rapid.IntRange(-3, 3).Draw(t, "small"))))
		default:
			return pointOf(genWord().Draw(t, "multiple"))
		}
	})
}

func TestPointAddAgainstDecred(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := genPoint().Draw(t, "p"), genPoint().Draw(t, "q")
		dp, dq := decredPoint(t, p), decredPoint(t, q)
		var sum, dbl secp256k1.JacobianPoint
		secp256k1.AddNonConst(&dp, &dq, &sum)
		secp256k1.DoubleNonConst(&dp, &dbl)
		if got, want := NewPoint().Add(p, q).Bytes(), oracleEncode(&sum); got != want {
			t.Fatalf("%x + %x = %x, want %x", p.Bytes(), q.Bytes(), got, want)
		}
		if got, want := NewPoint().Double(p).Bytes(), oracleEncode(&dbl); got != want {
			t.Fatalf("2*%x = %x, want %x", p.Bytes(), got, want)
		}
		pb, qb := p.Bytes(), q.Bytes()
		if got, want := p.Equal(q), pb == qb; (got == 1) != want || (got == 0) == want {
			t.Fatalf("%x equal %x: %d", pb, qb, got)
		}
	})
}

func TestPointLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q, r := genPoint().Draw(t, "p"), genPoint().Draw(t, "q"), genPoint().Draw(t, "r")
		k, l := scalarOf(genWord().Draw(t, "k")), scalarOf(genWord().Draw(t, "l"))
		pt := NewPoint
		same := func(law string, a, b *Point) {
			t.Helper()
			if a.Equal(b) != 1 || a.Bytes() != b.Bytes() {
				t.Fatalf("%s: %x is not %x", law, a.Bytes(), b.Bytes())
			}
		}
		same("p+q = q+p", pt().Add(p, q), pt().Add(q, p))
		same("(p+q)+r = p+(q+r)", pt().Add(pt().Add(p, q), r), pt().Add(p, pt().Add(q, r)))
		same("p+0 = p", pt().Add(p, pt()), p)
		same("0+p = p", pt().Add(pt(), p), p)
		same("p+zero value = p", pt().Add(p, new(Point)), p)
		same("p-p = 0", pt().Sub(p, p), pt())
		same("p+(-p) = 0", pt().Add(p, pt().Negate(p)), new(Point))
		same("p+p = 2p", pt().Add(p, p), pt().Double(p))
		same("p-q = p+(-q)", pt().Sub(p, q), pt().Add(p, pt().Negate(q)))
		same("-(-p) = p", pt().Negate(pt().Negate(p)), p)
		kl := NewScalar().Add(k, l)
		same("kp+lp = (k+l)p", pt().Add(pt().ScalarMult(k, p), pt().ScalarMult(l, p)), pt().ScalarMult(kl, p))
		same("k(p+q) = kp+kq", pt().ScalarMult(k, pt().Add(p, q)), pt().Add(pt().ScalarMult(k, p), pt().ScalarMult(k, q)))
		kl.Mul(k, l)
		same("k(lp) = (kl)p", pt().ScalarMult(k, pt().ScalarMult(l, p)), pt().ScalarMult(kl, p))
		same("kG = base k", pt().ScalarMult(k, Generator()), pt().ScalarBaseMult(k))
		same("select 1", pt().Select(p, q, 1), p)
		same("select 0", pt().Select(p, q, 0), q)
		same("multi", pt().MultiScalarMultVartime([]*Scalar{k, l}, []*Point{p, q}),
			pt().Add(pt().ScalarMult(k, p), pt().ScalarMult(l, q)))
		same("multi, constant time", pt().MultiScalarMult([]*Scalar{k, l}, []*Point{p, q}),
			pt().Add(pt().ScalarMult(k, p), pt().ScalarMult(l, q)))

		// The receiver may be an operand.
		for name, f := range map[string]func(z, a, b *Point) *Point{
			"add":    func(z, a, b *Point) *Point { return z.Add(a, b) },
			"sub":    func(z, a, b *Point) *Point { return z.Sub(a, b) },
			"double": func(z, a, _ *Point) *Point { return z.Double(a) },
			"negate": func(z, a, _ *Point) *Point { return z.Negate(a) },
			"select": func(z, a, b *Point) *Point { return z.Select(a, b, 1) },
			"mult":   func(z, a, _ *Point) *Point { return z.ScalarMult(k, a) },
			"multi": func(z, a, b *Point) *Point {
				return z.MultiScalarMultVartime([]*Scalar{k, l}, []*Point{a, b})
			},
			"multi, constant time": func(z, a, b *Point) *Point {
				return z.MultiScalarMult([]*Scalar{k, l}, []*Point{a, b})
			},
		} {
			want := f(pt(), p, q)
			a, b := pt().Set(p), pt().Set(q)
			same(name+" into the first operand", f(a, a, q), want)
			same(name+" into the second operand", f(b, p, b), want)
		}
	})
}

func TestPointAdditionSpecialCases(t *testing.T) {
	g := Generator()
	neg := NewPoint().Negate(g)
	two := NewPoint().Double(g)
	for _, c := range []struct {
		name    string
		a, b, w *Point
	}{
		{"P+P", g, g, two},
		{"P+P, other Z", g, pointOf(big.NewInt(1)), two},
		{"P+(-P)", g, neg, NewPoint()},
		{"P+(-P), other Z", pointOf(big.NewInt(-1)), g, NewPoint()},
		{"P+O", g, NewPoint(), g},
		{"O+P", NewPoint(), g, g},
		{"O+O", NewPoint(), NewPoint(), NewPoint()},
		{"zero value + zero value", new(Point), new(Point), NewPoint()},
		{"P+zero value", g, new(Point), g},
		{"2P+(-P)", two, neg, g},
		{"P+phi(P)+phi(phi(P))", NewPoint().Add(g, phi(g)), phi(phi(g)), NewPoint()},
	} {
		got := NewPoint().Add(c.a, c.b)
		if got.Equal(c.w) != 1 || got.Bytes() != c.w.Bytes() {
			t.Errorf("%s = %x, want %x", c.name, got.Bytes(), c.w.Bytes())
		}
	}
	// The mixed addition has the same special cases but one.
	for _, a := range []*Point{g, neg, two, NewPoint(), pointOf(big.NewInt(1)), pointOf(big.NewInt(-1))} {
		var got Point
		av := a.load()
		got.v.addAffine(&av, &affinePoint{generatorX, generatorY})
		if want := NewPoint().Add(a, g); got.Equal(want) != 1 {
			t.Errorf("mixed %x + G = %x, want %x", a.Bytes(), got.Bytes(), want.Bytes())
		}
	}
}

func phi(p *Point) *Point {
	q := NewPoint().Set(p)
	q.v.x.mul(&q.v.x, &beta)
	return q
}

func TestPointIdentity(t *testing.T) {
	for name, p := range map[string]*Point{
		"NewPoint": NewPoint(), "zero value": new(Point), "SetIdentity": Generator().SetIdentity(),
		"0G": NewPoint().ScalarBaseMult(NewScalar()), "0P": NewPoint().ScalarMult(NewScalar(), Generator()),
		"kO": NewPoint().ScalarMult(scalarOf(big.NewInt(5)), NewPoint()), "k zero value": NewPoint().ScalarMult(scalarOf(big.NewInt(5)), new(Point)),
		"2O": NewPoint().Double(new(Point)), "-O": NewPoint().Negate(new(Point)),
		"empty sum": Generator().MultiScalarMultVartime(nil, nil), "empty sum, constant time": Generator().MultiScalarMult(nil, nil),
		"destroyed": func() *Point { p := Generator(); p.Destroy(); return p }(),
	} {
		if p.IsIdentity() != 1 || p.Equal(NewPoint()) != 1 || NewPoint().Equal(p) != 1 || p.Equal(Generator()) != 0 {
			t.Errorf("%s is not the identity", name)
		}
		if p.Bytes() != [33]byte{} || p.BytesUncompressed() != [65]byte{} || p.XBytes() != [32]byte{} || p.YIsOdd() != 0 {
			t.Errorf("%s encodes as %x", name, p.Bytes())
		}
	}
	if Generator().IsIdentity() != 0 {
		t.Error("G is the identity")
	}
}

func TestBaseMultAgainstDecred(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genWord().Draw(t, "k")
		got := NewPoint().ScalarBaseMult(scalarOf(v)).Bytes()
		if want := oracleBase(v); got != want {
			t.Fatalf("%x*G = %x, want %x", v, got, want)
		}
	})
	for _, v := range edges {
		if got, want := NewPoint().ScalarBaseMult(scalarOf(v)).Bytes(), oracleBase(v); got != want {
			t.Errorf("%x*G = %x, want %x", v, got, want)
		}
	}
}

func TestVarMultAgainstDecred(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, v, w *big.Int) {
		p := pointOf(w)
		got := NewPoint().ScalarMult(scalarOf(v), p)
		if want := oracleBase(new(big.Int).Mul(v, w)); got.Bytes() != want {
			t.Fatalf("%x*(%x*G) = %x, want %x", v, w, got.Bytes(), want)
		}
		vt := NewPoint().MultiScalarMultVartime([]*Scalar{scalarOf(v)}, []*Point{p})
		if vt.Equal(got) != 1 {
			t.Fatalf("%x*(%x*G): MultiScalarMultVartime differs from ScalarMult", v, w)
		}
		if NewPoint().MultiScalarMult([]*Scalar{scalarOf(v)}, []*Point{p}).Equal(got) != 1 {
			t.Fatalf("%x*(%x*G): MultiScalarMult differs from ScalarMult", v, w)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, genWord().Draw(t, "k"), genWord().Draw(t, "p"))
	})
	lambda := new(big.Int).Sub(bigQ, bigOf(&negLambda))
	for _, v := range append([]*big.Int{lambda, new(big.Int).Add(lambda, big.NewInt(1)), new(big.Int).Sub(bigQ, lambda)}, edges...) {
		check(t, v, big.NewInt(3))
	}
}

func TestTableMult(t *testing.T) {
	for _, w := range []*big.Int{big.NewInt(1), big.NewInt(-2), bigHex("123456789abcdef0123456789abcdef0123456789abcdef0")} {
		q := pointOf(w)
		table, err := NewTable(q)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			k := scalarOf(genWord().Draw(t, "k"))
			got, want := NewPoint().ScalarTableMult(k, table), NewPoint().ScalarMult(k, q)
			if got.Equal(want) != 1 {
				t.Fatalf("%x * %x = %x by table, %x without", k.Bytes(), q.Bytes(), got.Bytes(), want.Bytes())
			}
		})
	}
	for _, q := range []*Point{NewPoint(), new(Point), NewPoint().Sub(Generator(), Generator())} {
		if _, err := NewTable(q); err == nil {
			t.Error("the identity has a table")
		}
	}
}

func TestMultiScalarMult(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 9).Draw(t, "n")
		ks, ps := make([]*Scalar, n), make([]*Point, n)
		want := NewPoint()
		for i := range n {
			ks[i] = scalarOf(genWord().Draw(t, "k"))
			ps[i] = genPoint().Draw(t, "p")
			if i > 0 && rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
				// Terms that double or cancel.
				ps[i] = ps[0]
				ks[i] = NewScalar().Negate(ks[0])
			}
			want.Add(want, NewPoint().ScalarMult(ks[i], ps[i]))
		}
		if got := NewPoint().MultiScalarMultVartime(ks, ps); got.Equal(want) != 1 {
			t.Fatalf("sum = %x, want %x", got.Bytes(), want.Bytes())
		}
		if got := NewPoint().MultiScalarMult(ks, ps); got.Equal(want) != 1 {
			t.Fatalf("sum in constant time = %x, want %x", got.Bytes(), want.Bytes())
		}
	})
	for name, f := range map[string]func(*Point, []*Scalar, []*Point) *Point{
		"vartime": (*Point).MultiScalarMultVartime, "constant time": (*Point).MultiScalarMult,
	} {
		func() {
			defer func() {
				if msg, ok := recover().(string); !ok || !strings.HasPrefix(msg, "secp256k1: ") {
					t.Errorf("%s: more scalars than points accepted", name)
				}
			}()
			f(NewPoint(), []*Scalar{NewScalar()}, nil)
		}()
	}
}

// k = k1 + k2 lambda, and both halves are as short as the digits need.
func TestSplitGLV(t *testing.T) {
	lambda := new(big.Int).Sub(bigQ, bigOf(&negLambda))
	if new(big.Int).Exp(lambda, big.NewInt(3), bigQ).Cmp(big.NewInt(1)) != 0 {
		t.Fatal("lambda is not a cube root of 1")
	}
	// The bounds of the lattice basis: (|a1| + |a2| + 1)/2 + 1 is generous.
	limit := new(big.Int).Lsh(big.NewInt(0xa3), 120)
	check := func(t interface{ Fatalf(string, ...any) }, v *big.Int) {
		k1, k2 := splitGLV(scalarOf(v))
		value := func(h half) *big.Int {
			r := new(big.Int).SetUint64(h.abs[1])
			r.Lsh(r, 64).Or(r, new(big.Int).SetUint64(h.abs[0]))
			if r.Cmp(limit) >= 0 {
				t.Fatalf("half of %x is %x, too long", v, r)
			}
			// The digits say the same.
			sum := new(big.Int)
			d := h.digits()
			for i := len(d) - 1; i >= 0; i-- {
				digit := int64(d[i]) - 8
				if i == len(d)-1 {
					digit = int64(d[i])
				}
				if digit < -8 || digit > 8 {
					t.Fatalf("digit %d of %x is %d", i, r, digit)
				}
				sum.Lsh(sum, 4).Add(sum, big.NewInt(digit))
			}
			if sum.Cmp(r) != 0 {
				t.Fatalf("digits of %x give %x", r, sum)
			}
			if h.neg != 0 {
				r.Neg(r)
			}
			return r
		}
		sum := new(big.Int).Mul(value(k2), lambda)
		sum.Add(sum, value(k1)).Sub(sum, v)
		if modQ(sum).Sign() != 0 {
			t.Fatalf("halves of %x don't add up", v)
		}
	}
	rapid.Check(t, func(t *rapid.T) { check(t, genWord().Draw(t, "k")) })
	for _, v := range edges {
		check(t, v)
	}
	// The corners of the fundamental domain: (±a1 ± a2)/2 and so on, rounded
	// either way.
	a1, b1 := bigHex("3086d221a7d46bcde86c90e49284eb15"), new(big.Int).Neg(bigHex("e4437ed6010e88286f547fa90abfe4c3"))
	a2, b2 := bigHex("114ca50f7a8e2f3f657c1108d9d44cfd8"), a1
	for _, s := range [][2]int64{{1, 1}, {1, -1}, {-1, 1}, {-1, -1}} {
		x := new(big.Int).Add(new(big.Int).Mul(a1, big.NewInt(s[0])), new(big.Int).Mul(a2, big.NewInt(s[1])))
		y := new(big.Int).Add(new(big.Int).Mul(b1, big.NewInt(s[0])), new(big.Int).Mul(b2, big.NewInt(s[1])))
		x.Rsh(x, 1)
		y.Rsh(y, 1)
		for dx := int64(-1); dx <= 1; dx++ {
			for dy := int64(-1); dy <= 1; dy++ {
				v := new(big.Int).Mul(new(big.Int).Add(y, big.NewInt(dy)), lambda)
				v.Add(v, x).Add(v, big.NewInt(dx))
				check(t, modQ(v))
			}
		}
	}
}

func TestPointEncodingsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(t, "n")
		ps := make([]*Point, n)
		for i := range ps {
			ps[i] = genPoint().Draw(t, "p")
		}
		encs := EncodePoints(ps)
		if len(encs) != n {
			t.Fatalf("%d encodings of %d points", len(encs), n)
		}
		for i, p := range ps {
			b, u, x := p.Bytes(), p.BytesUncompressed(), p.XBytes()
			if encs[i] != b {
				t.Fatalf("EncodePoints gives %x, Bytes %x", encs[i], b)
			}
			if p.IsIdentity() == 1 {
				continue
			}
			k, err := secp256k1.ParsePubKey(u[:])
			if err != nil || !bytes.Equal(k.SerializeCompressed(), b[:]) || !bytes.Equal(b[1:], x[:]) || int(b[0]-2) != p.YIsOdd() {
				t.Fatalf("encodings disagree: %x %x %x %d: %v", b, u, x, p.YIsOdd(), err)
			}
			q := new(Point)
			if err := q.SetBytes(b[:]); err != nil || q.Equal(p) != 1 || q.Bytes() != b {
				t.Fatalf("%x doesn't come back: %v", b, err)
			}
		}
	})
}

// Pitfall 12: the only encodings are those of points on the curve, each in one
// way, and never the identity.
func TestPitfall12_PointEncodings(t *testing.T) {
	g := Generator().Bytes()
	with := func(prefix byte, x *big.Int) []byte {
		b := bytes32(x)
		return append([]byte{prefix}, b[:]...)
	}
	u := Generator().BytesUncompressed()
	hybrid := append([]byte{6}, u[1:]...)
	type bad struct {
		name string
		b    []byte
	}
	cases := []bad{
		{"nil", nil},
		{"empty", []byte{}},
		{"identity, one zero byte", []byte{0}},
		{"identity, as Bytes writes it", make([]byte, 33)},
		{"identity, uncompressed", make([]byte, 65)},
		{"short by one", g[:32]},
		{"x only", g[1:]},
		{"long by one", append(g[:len(g):len(g)], 0)},
		{"uncompressed", u[:]},
		{"hybrid", hybrid},
		{"x = 0 is not on the curve", with(2, new(big.Int))},
		{"x = 5 is not on the curve", with(2, big.NewInt(5))},
		{"x = 5 is not on the curve, odd", with(3, big.NewInt(5))},
		{"x = p-1 is not on the curve", with(3, new(big.Int).Sub(bigP, big.NewInt(1)))},
		{"x = p", with(2, bigP)},
		{"x = p+1, the point with x = 1", with(2, new(big.Int).Add(bigP, big.NewInt(1)))},
		{"x = 2^256-1", with(3, new(big.Int).Sub(big256, big.NewInt(1)))},
	}
	for prefix := range 256 {
		if prefix != 2 && prefix != 3 {
			cases = append(cases, bad{fmt.Sprintf("prefix %02x", prefix), with(byte(prefix), new(big.Int).SetBytes(g[1:]))})
		}
	}
	// Every x from p on that would be on the curve if it were reduced.
	for i := int64(0); i < 100; i++ {
		cases = append(cases, bad{fmt.Sprintf("x = p+%d", i), with(2, new(big.Int).Add(bigP, big.NewInt(i)))})
	}
	for _, c := range cases {
		p := Generator()
		if err := p.SetBytes(c.b); err == nil {
			t.Errorf("%s: %x accepted", c.name, c.b)
		}
		if *p != *Generator() {
			t.Errorf("%s: a refused encoding changed the receiver", c.name)
		}
	}
	if p := NewPoint(); p.SetBytes(with(2, big.NewInt(1))) != nil {
		t.Error("the point with x = 1 refused")
	}
}

func TestPointXNotOnCurveAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := genWord().Draw(t, "x")
		xb := bytes32(x)
		b := append([]byte{byte(2 + rapid.IntRange(0, 1).Draw(t, "odd"))}, xb[:]...)
		y2 := new(big.Int).Exp(x, big.NewInt(3), bigP)
		y2.Add(y2, big.NewInt(7))
		want := x.Cmp(bigP) < 0 && big.Jacobi(modP(y2), bigP) == 1
		p := NewPoint()
		err := p.SetBytes(b)
		if (err == nil) != want {
			t.Fatalf("SetBytes(%x): %v, want valid %v", b, err, want)
		}
		if got := p.Bytes(); err == nil && !bytes.Equal(got[:], b) {
			t.Fatalf("%x comes back as %x", b, got)
		}
	})
}

func FuzzDecodePoint(f *testing.F) {
	g := Generator().Bytes()
	f.Add(g[:])
	f.Add(make([]byte, 33))
	f.Add(bytes.Repeat([]byte{0xff}, 33))
	u := Generator().BytesUncompressed()
	f.Add(u[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		p := new(Point)
		err := p.SetBytes(b)
		_, oracle := secp256k1.ParsePubKey(b)
		if want := len(b) == 33 && oracle == nil; (err == nil) != want {
			t.Fatalf("%x: %v, decred: %v", b, err, oracle)
		}
		if err != nil {
			return
		}
		if out := p.Bytes(); !bytes.Equal(out[:], b) {
			t.Fatalf("%x comes back as %x", b, out)
		}
		if p.IsIdentity() != 0 {
			t.Fatalf("%x is the identity", b)
		}
	})
}

func FuzzDecodeScalar(f *testing.F) {
	for _, v := range edges {
		b := bytes32(v)
		f.Add(b[:])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewScalar()
		err := s.SetBytes(b)
		if want := len(b) == 32 && new(big.Int).SetBytes(b).Cmp(bigQ) < 0; (err == nil) != want {
			t.Fatalf("%x: %v", b, err)
		}
		if out := s.Bytes(); err == nil && !bytes.Equal(out[:], b) {
			t.Fatalf("%x comes back as %x", b, out)
		}
	})
}
