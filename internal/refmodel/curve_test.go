package refmodel

import (
	"math/big"
	"strings"
	"testing"
)

// mulByRule is k·a by nothing but chord and tangent.
func mulByRule(a Point, k *big.Int) Point {
	var sum Point
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = sum.Add(sum)
		if k.Bit(i) == 1 {
			sum = sum.Add(a)
		}
	}
	return sum
}

func TestMul(t *testing.T) {
	rnd := NewStream("refmodel curve")
	scalars := []*big.Int{new(big.Int), big.NewInt(1), big.NewInt(2), big.NewInt(3), neg(big.NewInt(1)), neg(big.NewInt(2))}
	for range 10 {
		scalars = append(scalars, rnd.Scalar())
	}
	a := mulByRule(g, rnd.Scalar())
	for _, k := range scalars {
		for _, pt := range []Point{g, a} {
			want := mulByRule(pt, k)
			if !pt.Mul(k).Equal(want) {
				t.Fatalf("%x times %x", k, pt.Bytes())
			}
			if back, err := DecodePoint(want.Bytes()); !want.IsIdentity() && (err != nil || !back.Equal(want)) {
				t.Fatalf("decoding %x: %v", want.Bytes(), err)
			}
		}
	}
}

func TestGroupLaws(t *testing.T) {
	rnd := NewStream("refmodel laws")
	a, b := rnd.Scalar(), rnd.Scalar()
	pa, pb := Base(a), Base(b)
	for name, pair := range map[string][2]Point{
		"aG + bG = (a+b)G":   {pa.Add(pb), Base(add(a, b))},
		"aG + aG = 2aG":      {pa.Add(pa), pa.Mul(big.NewInt(2))},
		"aG − aG = O":        {pa.Sub(pa), {}},
		"b(aG) = (ab)G":      {pa.Mul(b), Base(mul(a, b))},
		"O + aG = aG":        {Point{}.Add(pa), pa},
		"qG = O":             {g.Mul(q), {}},
		"(q+1)G = G":         {g.Mul(new(big.Int).Add(q, big.NewInt(1))), g},
		"0·aG = O":           {pa.Mul(new(big.Int)), {}},
		"−(aG) = (−a)G":      {pa.Neg(), Base(neg(a))},
		"λ₁f(1)+λ₃f(3)=f(0)": {Base(add(mul(lagrange(1, []int{1, 3}), add(a, b)), mul(lagrange(3, []int{1, 3}), add(a, b, b, b)))), pa},
	} {
		if !pair[0].Equal(pair[1]) {
			t.Error(name)
		}
	}
	for _, bad := range [][]byte{make([]byte, 33), g.Bytes()[:32], cat(u8(4), g.Bytes()[1:]), cat(u8(2), p.Bytes()), cat(u8(2), make([]byte, 31), u8(5))} {
		if _, err := DecodePoint(bad); err == nil {
			t.Errorf("%x was decoded", bad)
		}
	}
	for _, bad := range [][]byte{q.Bytes(), make([]byte, 31), make([]byte, 33)} {
		if _, err := DecodeScalar(bad); err == nil {
			t.Errorf("%x was decoded", bad)
		}
	}
}

// RFC 9380, appendix J.8.1.
func TestHashToCurve(t *testing.T) {
	dst := []byte("QUUX-V01-CS02-with-secp256k1_XMD:SHA-256_SSWU_RO_")
	for _, v := range []struct{ msg, want string }{
		{"", "03c1cae290e291aee617ebaef1be6d73861479c48b841eaba9b7b5852ddfeb1346"},
		{"abc", "023377e01eab42db296b512293120c6cee72b6ecf9f9205760bd9ff11fb3cb2c4b"},
		{"abcdef0123456789", "02bac54083f293f1fe08e4a70137260aa90783a5cb84d3f35848b324d0674b0e3a"},
		{"q128_" + strings.Repeat("q", 128), "03e2167bc785333a37aa562f021f1e881defb853839babf52a7f72b102e41890e9"},
		{"a512_" + strings.Repeat("a", 512), "02e3c8d35aaaf0b9b647e88a0a0a7ee5d5bed5ad38238152e4e6fd8c1f8cb7c998"},
	} {
		same(t, "the point of "+v.msg, HashToCurve([]byte(v.msg), dst).Bytes(), unhex(t, v.want))
	}
}
