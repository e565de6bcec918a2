package ed25519

import (
	"crypto/rand"
	"encoding/hex"
	"testing"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// order multiplies by ℓ, bit by bit: the definition that inSubgroup is measured
// against.
func order(p *edwards25519.Point) *edwards25519.Point {
	// ℓ − 1, which is a scalar, and once more.
	k := edwards25519.NewScalar()
	k.Subtract(k, must(edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))))
	q := new(edwards25519.Point).ScalarMultSlow(k, p)
	return q.Add(q, p)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// torsion returns the eight points of order dividing 8, i·T₈ at i.
func torsion(t testing.TB) []*edwards25519.Point {
	t8 := must(new(edwards25519.Point).SetBytes(must(hex.DecodeString("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"))))
	out := []*edwards25519.Point{edwards25519.NewIdentityPoint()}
	for i := 1; i < 8; i++ {
		out = append(out, new(edwards25519.Point).Add(out[i-1], t8))
		if out[i].Equal(out[0]) == 1 {
			t.Fatalf("T₈ has order %d", i)
		}
	}
	if new(edwards25519.Point).Add(out[7], t8).Equal(out[0]) != 1 {
		t.Fatal("T₈ has not order 8")
	}
	return out
}

func TestConstants(t *testing.T) {
	minus := func(a *field.Element) *field.Element { return new(field.Element).Negate(a) }
	for name, c := range map[string]struct{ root, square *field.Element }{
		"i":         {rootMinus, minus(one)},
		"c":         {montC, minus(small(486664))},
		"t":         {montT, small(486664)},
		"otherRoot": {otherRoot, minus(product(rootMinus, product(small(486660), small(486664))))},
	} {
		if product(c.root, c.root).Equal(c.square) != 1 {
			t.Errorf("%s is not the root it should be", name)
		}
	}
}

// inSubgroup agrees with the multiplication by ℓ on points with every part of
// small order.
func TestSubgroupAgreesWithOrder(t *testing.T) {
	small := torsion(t)
	for range 64 {
		var b [64]byte
		_, _ = rand.Read(b[:])
		p := new(edwards25519.Point).ScalarBaseMult(must(edwards25519.NewScalar().SetUniformBytes(b[:])))
		for i := range small {
			q := new(edwards25519.Point).Add(p, small[i])
			want := order(q).Equal(small[0]) == 1
			if want != (i == 0) {
				t.Fatalf("%d·T₈ + P is in the subgroup: %v", i, want)
			}
			// Affine coordinates.
			x, y, _, _ := must(new(edwards25519.Point).SetBytes(q.Bytes())).ExtendedCoordinates()
			if got := inSubgroup(x, y); got != want {
				t.Fatalf("P + %d·T₈ = %x: in the subgroup %v, want %v", i, q.Bytes(), got, want)
			}
			err := NewPoint().SetBytes(q.Bytes())
			if (err == nil) != want {
				t.Fatalf("P + %d·T₈ = %x: %v", i, q.Bytes(), err)
			}
		}
	}
}
