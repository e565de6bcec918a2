package ed25519

import (
	"bytes"
	stdlib "crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"
)

var (
	prime, _ = new(big.Int).SetString("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed", 16)
	ell, _   = new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
)

// little is v as 32 little-endian bytes.
func little(v *big.Int) []byte {
	b := v.FillBytes(make([]byte, 32))
	for i := range 16 {
		b[i], b[31-i] = b[31-i], b[i]
	}
	return b
}

func big32(b [32]byte) *big.Int {
	for i := range 16 {
		b[i], b[31-i] = b[31-i], b[i]
	}
	return new(big.Int).SetBytes(b[:])
}

func scalar(t *rapid.T, label string) *Scalar {
	edge := rapid.SampledFrom([]string{"random", "0", "1", "-1", "small"}).Draw(t, label+" kind")
	s := NewScalar()
	switch edge {
	case "0":
	case "1":
		s.SetUint64(1)
	case "-1":
		s.Negate(s.SetUint64(1))
	case "small":
		s.SetUint64(rapid.Uint64().Draw(t, label))
	default:
		s.SetWide((*[64]byte)(rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, label)))
	}
	return s
}

// The field is that of big integers mod ℓ.
func TestScalarsAreIntegersModEll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := scalar(t, "a"), scalar(t, "b")
		x, y := big32(a.Bytes()), big32(b.Bytes())
		mod := func(v *big.Int) *big.Int { return v.Mod(v, ell) }
		for name, c := range map[string]struct {
			got  *Scalar
			want *big.Int
		}{
			"a+b":   {NewScalar().Add(a, b), mod(new(big.Int).Add(x, y))},
			"a-b":   {NewScalar().Sub(a, b), mod(new(big.Int).Sub(x, y))},
			"ab":    {NewScalar().Mul(a, b), mod(new(big.Int).Mul(x, y))},
			"ab+a":  {NewScalar().MulAdd(a, b, a), mod(new(big.Int).Add(new(big.Int).Mul(x, y), x))},
			"-a":    {NewScalar().Negate(a), mod(new(big.Int).Neg(x))},
			"1?a:b": {NewScalar().Select(a, b, 1), x},
			"0?a:b": {NewScalar().Select(a, b, 0), y},
		} {
			if big32(c.got.Bytes()).Cmp(c.want) != 0 {
				t.Fatalf("%s is %x", name, c.got.Bytes())
			}
		}
		inverse := new(big.Int).ModInverse(x, ell)
		if inverse == nil {
			inverse = new(big.Int)
		}
		if big32(NewScalar().Invert(a).Bytes()).Cmp(inverse) != 0 {
			t.Fatalf("1/%x is wrong", a.Bytes())
		}
		if (a.Equal(b) == 1) != (x.Cmp(y) == 0) || (a.IsZero() == 1) != (x.Sign() == 0) {
			t.Fatal("comparison is wrong")
		}
		wide := rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "wide")
		value := new(big.Int)
		for i := 63; i >= 0; i-- {
			value.Add(value.Lsh(value, 8), big.NewInt(int64(wide[i])))
		}
		if big32(NewScalar().SetWide((*[64]byte)(wide)).Bytes()).Cmp(mod(value)) != 0 {
			t.Fatal("wide reduction is wrong")
		}
	})
}

func TestPitfall46_ScalarsAreCanonical(t *testing.T) {
	s := NewScalar().SetUint64(7)
	all := bytes.Repeat([]byte{0xff}, 32)
	for _, b := range [][]byte{
		nil, make([]byte, 31), make([]byte, 33), all,
		little(ell), little(new(big.Int).Add(ell, big.NewInt(1))), little(new(big.Int).Lsh(ell, 3)),
		little(new(big.Int).Lsh(big.NewInt(1), 255)),
	} {
		if err := s.SetBytes(b); err == nil {
			t.Errorf("scalar %x is accepted", b)
		}
		if s.Equal(NewScalar().SetUint64(7)) != 1 {
			t.Fatalf("the refusal of %x changed the scalar", b)
		}
	}
	if err := s.SetBytes(little(new(big.Int).Sub(ell, big.NewInt(1)))); err != nil {
		t.Error(err)
	}
}

// The eight points of small order, in every encoding of them.
func TestPitfall45_SmallOrderPoints(t *testing.T) {
	for i, p := range torsion(t) {
		if err := NewPoint().SetBytes(p.Bytes()); err == nil {
			t.Errorf("%d·T₈ is accepted", i)
		}
	}
	// y = 0, 1, −1 and the same + p, each with both signs; and the y of order 8
	// is not below 2²⁵⁵ − p.
	for _, y := range []int64{0, 1, -1} {
		v := new(big.Int).Mod(big.NewInt(y), prime)
		for _, v := range []*big.Int{v, new(big.Int).Add(v, prime)} {
			if v.BitLen() > 255 {
				continue
			}
			for _, sign := range []byte{0, 0x80} {
				b := little(v)
				b[31] |= sign
				if err := NewPoint().SetBytes(b); err == nil {
					t.Errorf("%x is accepted", b)
				}
			}
		}
	}
}

// y may be encoded below p only. There are 19 values of y with a second
// encoding; those on the curve decode in other libraries.
func TestPitfall46_PointsAreCanonical(t *testing.T) {
	lax := 0
	for y := range int64(19) {
		for _, sign := range []byte{0, 0x80} {
			b := little(new(big.Int).Add(prime, big.NewInt(y)))
			b[31] |= sign
			if _, err := new(edwards25519.Point).SetBytes(b); err == nil {
				lax++
			}
			err := NewPoint().SetBytes(b)
			if err == nil {
				t.Errorf("%x is accepted", b)
			}
			if y > 1 && err != errPointNotCanonical && err != errPointNotCurve {
				t.Errorf("%x: %v", b, err)
			}
		}
	}
	if lax < 10 {
		t.Errorf("only %d of these encodings mean a point to a lax decoder", lax)
	}
	for _, b := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		if NewPoint().SetBytes(b) == nil {
			t.Errorf("%x is accepted", b)
		}
	}
	p := Generator()
	if err := p.SetBytes(little(big.NewInt(2))); !errors.Is(err, errPointNotCurve) || p.Equal(Generator()) != 1 {
		t.Errorf("y = 2: %v", err)
	}
}

// Public keys of the standard library are our multiples of B.
func TestKeysOfTheStandardLibrary(t *testing.T) {
	for range 16 {
		public, private, err := stdlib.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		h := sha512.Sum512(private.Seed())
		h[0] &= 248
		h[31] = h[31]&127 | 64
		var wide [64]byte
		copy(wide[:], h[:32])
		k := NewScalar().SetWide(&wide)
		if got := NewPoint().ScalarBaseMult(k).Bytes(); !bytes.Equal(got[:], public) {
			t.Fatalf("public key of %x is %x, want %x", private.Seed(), got, public)
		}
		p := NewPoint()
		if err := p.SetBytes(public); err != nil || p.Equal(NewPoint().ScalarMult(k, Generator())) != 1 {
			t.Fatalf("%x: %v", public, err)
		}
	}
}

func TestMultiplesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := scalar(t, "a"), scalar(t, "b")
		p := NewPoint().ScalarBaseMult(scalar(t, "p"))
		want := NewPoint().Add(NewPoint().ScalarMult(a, p), NewPoint().ScalarBaseMult(b))
		if NewPoint().DoubleScalarMultVartime(a, p, b).Equal(want) != 1 {
			t.Fatal("aP + bB, in variable time, differs")
		}
		if NewPoint().MultiScalarMultVartime([]*Scalar{a, b}, []*Point{p, Generator()}).Equal(want) != 1 {
			t.Fatal("the sum, in variable time, differs")
		}
		ps := []*Point{want, p, NewPoint(), {}, NewPoint().Double(want), NewPoint().Select(p, want, 0), NewPoint().Negate(p)}
		for i, e := range EncodePoints(ps) {
			if e != ps[i].Bytes() {
				t.Fatalf("encoded together, point %d is %x, alone %x", i, e, ps[i].Bytes())
			}
		}
	})
}

// The zero value is the identity, wherever it goes in.
func TestZeroValueIsTheIdentity(t *testing.T) {
	var zero Point
	b := Generator()
	if zero.IsIdentity() != 1 || NewPoint().Equal(&zero) != 1 || zero.Equal(b) == 1 {
		t.Error("not the identity")
	}
	for name, p := range map[string]*Point{
		"add": NewPoint().Add(&zero, b), "sub": NewPoint().Sub(b, &zero), "select": NewPoint().Select(b, &zero, 1),
		"sum": NewPoint().MultiScalarMultVartime([]*Scalar{NewScalar().SetUint64(1), NewScalar()}, []*Point{b, &zero}),
	} {
		if p.Equal(b) != 1 {
			t.Errorf("%s with it is wrong", name)
		}
	}
	if NewPoint().Set(&zero).IsIdentity() != 1 || NewPoint().Negate(&zero).IsIdentity() != 1 || NewPoint().Double(&zero).IsIdentity() != 1 ||
		NewPoint().ScalarMult(NewScalar().SetUint64(5), &zero).IsIdentity() != 1 {
		t.Error("multiples of it are not the identity")
	}
	b.Destroy()
	if b.IsIdentity() != 1 {
		t.Error("a destroyed point is left")
	}
}

func TestScalarIsNotPrinted(t *testing.T) {
	s := NewScalar()
	if err := s.SetRandom(rand.Reader); err != nil {
		t.Fatal(err)
	}
	raw := s.Bytes()
	shown := []string{hex.EncodeToString(raw[:]), big32(raw).String(), fmt.Sprint(raw[:4])[1:], fmt.Sprint(raw[:])}
	for _, v := range []any{*s, s, []Scalar{*s}, map[string]Scalar{"k": *s}, struct{ S Scalar }{*s}, struct{ s *Scalar }{s}, *Generator(), Generator()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
			out := fmt.Sprintf(verb, v)
			for _, x := range shown {
				if strings.Contains(strings.ToLower(out), x) {
					t.Errorf("%s of %T prints %q", verb, v, out)
				}
			}
		}
	}
	for _, out := range []string{s.String(), s.GoString(), fmt.Sprint(s), fmt.Sprintf("%#v", *s)} {
		if out != redacted {
			t.Errorf("prints %q", out)
		}
	}
	for _, out := range []string{Generator().String(), Generator().GoString(), fmt.Sprintf("%+v", *Generator())} {
		if out != redactedPoint {
			t.Errorf("prints %q", out)
		}
	}
	if _, err := json.Marshal(s); err == nil {
		t.Error("encodes to JSON")
	}
	if err := gob.NewEncoder(new(bytes.Buffer)).Encode(s); err == nil {
		t.Error("encodes to gob")
	}
	if _, err := s.MarshalText(); err == nil {
		t.Error("encodes to text")
	}
	if _, err := s.MarshalBinary(); err == nil {
		t.Error("encodes to binary")
	}
	s.Destroy()
	if s.IsZero() != 1 {
		t.Error("a destroyed scalar is left")
	}
	if err := s.SetRandom(bytes.NewReader(make([]byte, 63))); err == nil {
		t.Error("a scalar from too little randomness")
	}
}

// What decodes encodes to the same bytes, has order ℓ and is not the identity.
func FuzzDecodePoint(f *testing.F) {
	for _, p := range torsion(f) {
		f.Add(p.Bytes())
		f.Add(new(edwards25519.Point).Add(p, edwards25519.NewGeneratorPoint()).Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := NewPoint()
		err := p.SetBytes(b)
		v, lax := new(edwards25519.Point).SetBytes(b)
		if err != nil {
			if lax == nil && bytes.Equal(v.Bytes(), b) && order(v).Equal(edwards25519.NewIdentityPoint()) == 1 && v.Equal(edwards25519.NewIdentityPoint()) != 1 {
				t.Fatalf("%x is refused: %v", b, err)
			}
			return
		}
		if e := p.Bytes(); !bytes.Equal(e[:], b) {
			t.Fatalf("%x decodes, and encodes as %x", b, e)
		}
		if p.IsIdentity() == 1 || order(v).Equal(edwards25519.NewIdentityPoint()) != 1 {
			t.Fatalf("%x is not of order ℓ", b)
		}
	})
}

func FuzzDecodeScalar(f *testing.F) {
	f.Add(little(ell))
	f.Add(little(new(big.Int).Sub(ell, big.NewInt(1))))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewScalar()
		if s.SetBytes(b) != nil {
			return
		}
		if e := s.Bytes(); !bytes.Equal(e[:], b) || big32(e).Cmp(ell) >= 0 {
			t.Fatalf("%x decodes, and encodes as %x", b, e)
		}
	})
}

func BenchmarkEd25519(b *testing.B) {
	k, l := NewScalar(), NewScalar()
	_, _ = k.SetRandom(rand.Reader), l.SetRandom(rand.Reader)
	p := NewPoint().ScalarBaseMult(k)
	enc := p.Bytes()
	public, private, _ := stdlib.GenerateKey(rand.Reader)
	sig := stdlib.Sign(private, enc[:])
	x, y, _, _ := must(new(edwards25519.Point).SetBytes(enc[:])).ExtendedCoordinates()
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"std-verify", func() { stdlib.Verify(public, enc[:], sig) }},
		{"base-mult", func() { p.ScalarBaseMult(k) }},
		{"var-mult", func() { p.ScalarMult(k, p) }},
		{"double-vartime", func() { p.DoubleScalarMultVartime(k, p, l) }},
		{"decode", func() { _ = p.SetBytes(enc[:]) }},
		{"subgroup", func() { inSubgroup(x, y) }},
		{"times-ell-vartime", func() { p.DoubleScalarMultVartime(k, p, NewScalar()) }},
		{"encode", func() { p.Bytes() }},
		{"scalar-mul", func() { l.Mul(l, k) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.f()
			}
		})
	}
}
