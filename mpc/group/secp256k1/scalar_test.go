package secp256k1

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func modQ(v *big.Int) *big.Int { return new(big.Int).Mod(v, bigQ) }

func TestScalarArithmeticAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y, w := genWord().Draw(t, "x"), genWord().Draw(t, "y"), genWord().Draw(t, "w")
		a, b, c := scalarOf(x), scalarOf(y), scalarOf(w)
		n := func() *big.Int { return new(big.Int) }
		inv := n()
		if modQ(x).Sign() != 0 {
			inv.ModInverse(modQ(x), bigQ)
		}
		for _, o := range []struct {
			op   string
			f    func(z, a, b *Scalar) *Scalar
			want *big.Int
		}{
			{"add", func(z, a, b *Scalar) *Scalar { return z.Add(a, b) }, n().Add(x, y)},
			{"sub", func(z, a, b *Scalar) *Scalar { return z.Sub(a, b) }, n().Sub(x, y)},
			{"mul", func(z, a, b *Scalar) *Scalar { return z.Mul(a, b) }, n().Mul(x, y)},
			{"square", func(z, a, _ *Scalar) *Scalar { return z.Square(a) }, n().Mul(x, x)},
			{"negate", func(z, a, _ *Scalar) *Scalar { return z.Negate(a) }, n().Neg(x)},
			{"muladd", func(z, a, b *Scalar) *Scalar { return z.MulAdd(a, b, c) }, n().Add(n().Mul(x, y), w)},
			{"invert", func(z, a, _ *Scalar) *Scalar { return z.Invert(a) }, inv},
			{"select 1", func(z, a, b *Scalar) *Scalar { return z.Select(a, b, 1) }, x},
			{"select 0", func(z, a, b *Scalar) *Scalar { return z.Select(a, b, 0) }, y},
			{"set", func(z, a, _ *Scalar) *Scalar { return z.Set(a) }, x},
		} {
			// The receiver may be either operand, and is what is returned.
			z, za, zb := NewScalar(), *a, *b
			for i, got := range []struct{ recv, ret *Scalar }{
				{z, o.f(z, a, b)}, {&za, o.f(&za, &za, b)}, {&zb, o.f(&zb, a, &zb)},
			} {
				if got.recv != got.ret {
					t.Fatalf("%s doesn't return its receiver", o.op)
				}
				if bigOf(got.ret).Cmp(modQ(o.want)) != 0 {
					t.Fatalf("%s (aliasing %d) of %x, %x, %x = %x, want %x", o.op, i, x, y, w, bigOf(got.ret), modQ(o.want))
				}
			}
		}
		isTrue := func(name string, got int, want bool) {
			if (got == 1) != want || (got == 0) == want {
				t.Fatalf("%s of %x, %x = %d, want %v", name, x, y, got, want)
			}
		}
		isTrue("equal", a.Equal(b), modQ(x).Cmp(modQ(y)) == 0)
		isTrue("equal to itself", a.Equal(scalarOf(x)), true)
		isTrue("isZero", a.IsZero(), modQ(x).Sign() == 0)
		isTrue("isHigh", a.IsHigh(), modQ(x).Cmp(new(big.Int).Rsh(bigQ, 1)) > 0)
	})
}

func TestScalarEdges(t *testing.T) {
	for _, v := range edges {
		b := bytes32(v)
		if err := NewScalar().SetBytes(b[:]); (err == nil) != (v.Cmp(bigQ) < 0) {
			t.Errorf("SetBytes(%x): %v", b, err)
		}
		s := NewScalar().SetReduced(&b)
		if bigOf(s).Cmp(modQ(v)) != 0 {
			t.Errorf("SetReduced(%x) = %x", b, s.Bytes())
		}
		if got, want := s.IsHigh() == 1, modQ(v).Cmp(new(big.Int).Rsh(bigQ, 1)) > 0; got != want {
			t.Errorf("IsHigh of %x: %v", s.Bytes(), got)
		}
		for i := 0; i < len(edges); i += 5 {
			w := edges[i]
			r := scalarOf(w)
			for op, c := range map[string]struct {
				got  *Scalar
				want *big.Int
			}{
				"+": {NewScalar().Add(s, r), new(big.Int).Add(v, w)},
				"-": {NewScalar().Sub(s, r), new(big.Int).Sub(v, w)},
				"*": {NewScalar().Mul(s, r), new(big.Int).Mul(v, w)},
			} {
				if bigOf(c.got).Cmp(modQ(c.want)) != 0 {
					t.Errorf("%x %s %x = %x, want %x", s.Bytes(), op, r.Bytes(), c.got.Bytes(), modQ(c.want))
				}
			}
		}
	}
}

// The sum of a product that ends in ones and 1 carries into every limb.
func TestScalarMulAddCarries(t *testing.T) {
	one := big.NewInt(1)
	for n := uint(128); n <= 254; n++ {
		p := new(big.Int).Lsh(one, n)
		x, y := new(big.Int).Sub(p, one), new(big.Int).Add(p, one)
		got := NewScalar().MulAdd(scalarOf(x), scalarOf(y), scalarOf(one))
		if want := modQ(new(big.Int).Mul(p, p)); bigOf(got).Cmp(want) != 0 {
			t.Errorf("(2^%d-1)(2^%d+1)+1 = %x, want %x", n, n, bigOf(got), want)
		}
	}
}

func TestScalarEqualLooksAtEveryBit(t *testing.T) {
	a := scalarOf(new(big.Int).Rsh(bigQ, 2))
	for i := range 256 {
		b := *a
		b.n[i/64] ^= 1 << (i % 64)
		if a.Equal(&b) != 0 {
			t.Fatalf("equal in spite of bit %d", i)
		}
		z := Scalar{}
		z.n[i/64] = 1 << (i % 64)
		if z.IsZero() != 0 {
			t.Fatalf("zero in spite of bit %d", i)
		}
	}
}

// Every combination of extreme words, for the two reductions that are written for
// one length.
func TestScalarReduceExtremeWords(t *testing.T) {
	extremes := []uint64{0, 1, ^uint64(0)}
	value := func(w []uint64) *big.Int {
		v := new(big.Int)
		for i := len(w) - 1; i >= 0; i-- {
			v.Or(v.Lsh(v, 64), new(big.Int).SetUint64(w[i]))
		}
		return v
	}
	for n := range 19683 { // 3^9
		var acc [9]uint64
		for i, m := 0, n; i < len(acc); i, m = i+1, m/3 {
			acc[i] = extremes[m%3]
		}
		var s Scalar
		reduce576(&s.n, &acc)
		if v := value(acc[:]); bigOf(&s).Cmp(modQ(v)) != 0 {
			t.Fatalf("%x mod q = %x, want %x", v, bigOf(&s), modQ(v))
		}
		w := [6]uint64(acc[:6])
		s.SetWideWords(&w)
		if v := value(w[:]); bigOf(&s).Cmp(modQ(v)) != 0 {
			t.Fatalf("%x mod q = %x, want %x", v, bigOf(&s), modQ(v))
		}
	}
}

func TestScalarMulMulAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x [5]*big.Int
		var s [5]*Scalar
		for i := range x {
			s[i] = scalarOf(genWord().Draw(t, "x"))
			x[i] = bigOf(s[i])
		}
		want := new(big.Int).Mul(x[0], x[1])
		want.Add(want, new(big.Int).Mul(x[2], x[3])).Add(want, x[4])
		if s[4].MulMulAdd(s[0], s[1], s[2], s[3], s[4]); bigOf(s[4]).Cmp(modQ(want)) != 0 {
			t.Fatalf("got %x, want %x", bigOf(s[4]), modQ(want))
		}
	})
}

// reduce512 and reduce576 on any words, not only on products.
func TestScalarReduceAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo, hi := genWord().Draw(t, "lo"), genWord().Draw(t, "hi")
		top := rapid.SampledFrom([]uint64{0, 1, 416, 1 << 32, ^uint64(0)}).Draw(t, "top")
		v := new(big.Int).Lsh(hi, 256)
		v.Or(v, lo)
		l, h := feOf(lo), feOf(hi)
		w := [8]uint64{l[0], l[1], l[2], l[3], h[0], h[1], h[2], h[3]}
		var s Scalar
		reduce512(&s.n, &w)
		if bigOf(&s).Cmp(modQ(v)) != 0 {
			t.Fatalf("%x mod q = %x, want %x", v, bigOf(&s), modQ(v))
		}
		acc := [9]uint64{w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], top}
		v.Or(v, new(big.Int).Lsh(new(big.Int).SetUint64(top), 512))
		reduce576(&s.n, &acc)
		if bigOf(&s).Cmp(modQ(v)) != 0 {
			t.Fatalf("%x mod q = %x, want %x", v, bigOf(&s), modQ(v))
		}
	})
}

func TestScalarSetBytes(t *testing.T) {
	old := scalarOf(big.NewInt(42))
	rapid.Check(t, func(t *rapid.T) {
		v := genWord().Draw(t, "v")
		b := bytes32(v)
		s := *old
		err := s.SetBytes(b[:])
		if (err == nil) != (v.Cmp(bigQ) < 0) {
			t.Fatalf("SetBytes(%x): %v", b, err)
		}
		if err != nil && s != *old {
			t.Fatal("a refused encoding changed the receiver")
		}
		if err == nil && s.Bytes() != b {
			t.Fatalf("Bytes = %x, want %x", s.Bytes(), b)
		}
		if got := NewScalar().SetReduced(&b); bigOf(got).Cmp(modQ(v)) != 0 {
			t.Fatalf("SetReduced(%x) = %x", b, bigOf(got))
		}
	})
	for _, n := range []int{0, 1, 31, 33, 48, 64} {
		s := *old
		if err := s.SetBytes(make([]byte, n)); err == nil || s != *old {
			t.Errorf("%d bytes: err %v, receiver %x", n, err, s.Bytes())
		}
	}
	if err := old.SetBytes(nil); err == nil {
		t.Error("nil accepted")
	}
}

func TestScalarSetWideAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hi, lo := genWord().Draw(t, "hi"), genWord().Draw(t, "lo")
		v := new(big.Int).Rsh(hi, 128)
		v.Lsh(v, 256).Or(v, lo)
		var b [48]byte
		v.FillBytes(b[:])
		if got := NewScalar().SetWide(&b); bigOf(got).Cmp(modQ(v)) != 0 {
			t.Fatalf("%x mod q = %x, want %x", v, bigOf(got), modQ(v))
		}
		s := NewScalar()
		r := bytes.NewReader(append(b[:], 0xaa))
		if err := s.SetRandom(r); err != nil || bigOf(s).Cmp(modQ(v)) != 0 || r.Len() != 1 {
			t.Fatalf("SetRandom = %x, %v, %d bytes left", bigOf(s), err, r.Len())
		}
	})
}

// Known answers, computed apart from this code. A reduction of the first or
// the last 32 bytes instead of all 48 gives other ones.
func TestScalarSetWideKAT(t *testing.T) {
	for _, v := range []struct{ in, want string }{
		{"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000000"},
		{"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "4551231950b75fc4402da1732fc9bec04551231950b75fc4402da1732fc9bebe"},
		{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f", "101259f2ae83a986c3c506758609bd3a6206a8da85a101239e9676eca520cd60"},
		{"39d8d414e8d7715fbbafe7ca5b7eb24d4908b2799128cef22332552a6cec46d9bb735fd80de220f685d166abddb1e47d", "928b4d4194c8c1d5b0399e911f8c720475ae18d420d7a899a05b255b4b0311f0"},
		{"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd036414100000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000000"},
		{"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140ffffffffffffffffffffffffffffffff", "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140"},
		{"00000000000000000000000000000000fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", "0000000000000000000000000000000000000000000000000000000000000000"},
	} {
		in, err := hex.DecodeString(v.in)
		if err != nil {
			t.Fatal(err)
		}
		got := NewScalar().SetWide((*[48]byte)(in)).Bytes()
		if hex.EncodeToString(got[:]) != v.want {
			t.Errorf("%s mod q = %x, want %s", v.in, got, v.want)
		}
	}
}

func TestScalarSetRandomShortReader(t *testing.T) {
	s := scalarOf(big.NewInt(7))
	err := s.SetRandom(bytes.NewReader(make([]byte, 47)))
	if !errors.Is(err, io.ErrUnexpectedEOF) || bigOf(s).Int64() != 7 {
		t.Errorf("err = %v, scalar %x", err, s.Bytes())
	}
}

func TestScalarInnerProduct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 20).Draw(t, "n")
		a, b := make([]Scalar, n), make([]Scalar, n)
		want := new(big.Int)
		for i := range n {
			x, y := genWord().Draw(t, "x"), genWord().Draw(t, "y")
			a[i], b[i] = *scalarOf(x), *scalarOf(y)
			want.Add(want, new(big.Int).Mul(bigOf(&a[i]), bigOf(&b[i])))
		}
		if got := NewScalar().InnerProduct(a, b); bigOf(got).Cmp(modQ(want)) != 0 {
			t.Fatalf("inner product = %x, want %x", bigOf(got), modQ(want))
		}
	})
	// The largest sum of 416 products, into an element of the vector.
	top := scalarOf(new(big.Int).Sub(bigQ, big.NewInt(1)))
	a := make([]Scalar, 416)
	for i := range a {
		a[i] = *top
	}
	a[0].InnerProduct(a, a)
	if bigOf(&a[0]).Int64() != 416 {
		t.Errorf("416 * (-1)^2 = %x", a[0].Bytes())
	}
	defer func() {
		if msg, ok := recover().(string); !ok || !strings.HasPrefix(msg, "secp256k1: ") {
			t.Error("vectors of different lengths accepted")
		}
	}()
	NewScalar().InnerProduct(a[:3], a[:4])
}

func TestScalarDestroyAndZeroValue(t *testing.T) {
	s := scalarOf(big.NewInt(1 << 40))
	s.Destroy()
	if *s != (Scalar{}) || s.IsZero() != 1 {
		t.Errorf("after Destroy: %x", s.Bytes())
	}
	var z Scalar
	one := NewScalar().SetUint64(1)
	if one.Add(one, &z); bigOf(one).Int64() != 1 {
		t.Errorf("1 + zero value = %x", one.Bytes())
	}
	if v := NewScalar().SetUint64(^uint64(0)); bigOf(v).Cmp(new(big.Int).SetUint64(^uint64(0))) != 0 {
		t.Errorf("SetUint64 = %x", v.Bytes())
	}
}
