package sharing_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// ids draws n distinct ids, ascending.
func ids(t *rapid.T, n int) []mpc.ID {
	out := rapid.SliceOfNDistinct(rapid.Uint16Min(1), n, n, rapid.ID[uint16]).Draw(t, "ids")
	slices.Sort(out)
	set := make([]mpc.ID, n)
	for i, id := range out {
		set[i] = mpc.ID(id)
	}
	return set
}

// onEach checks a property over both curves.
func onEach(t *testing.T, f func(t *rapid.T, c group.Curve)) {
	for _, c := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		t.Run(c.Name(), rapid.MakeCheck(func(t *rapid.T) { f(t, c) }))
	}
}

func polynomial(t *rapid.T, c group.Curve, threshold int) *sharing.Polynomial {
	size := c.UniformSize() * threshold
	seed := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "coefficients")
	seed[0] |= 1 // not all zero
	p, err := sharing.NewPolynomial(c, bytes.NewReader(seed), threshold)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Any t shares interpolate to f(0), in the field and in the group, and Feldman's
// check takes each share and no other.
func TestSharesInterpolate(t *testing.T) {
	onEach(t, func(t *rapid.T, curve group.Curve) {
		threshold := rapid.IntRange(2, 6).Draw(t, "threshold")
		set := ids(t, threshold)
		p := polynomial(t, curve, threshold)
		c := p.Commit()
		sum, points := curve.NewScalar(), make(map[mpc.ID]group.Point)
		for _, id := range set {
			share := p.Eval(id)
			if err := c.Verify(id, share); err != nil {
				t.Fatalf("share of %d: %v", id, err)
			}
			points[id] = c.Eval(id)
			l, err := sharing.Lagrange(curve, set, id)
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(sum, l.Mul(l, share))
			wrong := share.Add(share, curve.NewScalar().SetUint64(1))
			if err := c.Verify(id, wrong); !errors.Is(err, sharing.ErrShare) {
				t.Fatalf("wrong share of %d: %v", id, err)
			}
		}
		if sum.Equal(p.Constant()) != 1 {
			t.Fatalf("shares of %v do not interpolate to the secret", set)
		}
		key, err := sharing.InterpolatePoint(curve, set, points)
		if err != nil || key.Equal(c[0]) != 1 {
			t.Fatalf("public shares of %v do not interpolate to the key: %v", set, err)
		}
	})
}

// Σ λᵢ·iᵏ is 1 for k = 0 and 0 for 0 < k < |S|: what defines the weights.
func TestLagrangeWeights(t *testing.T) {
	onEach(t, func(t *rapid.T, curve group.Curve) {
		set := ids(t, rapid.SampledFrom([]int{1, 2, 3, 5, mpc.MaxParties}).Draw(t, "n"))
		for k := range set {
			sum := curve.NewScalar()
			for _, id := range set {
				l, err := sharing.Lagrange(curve, set, id)
				if err != nil {
					t.Fatal(err)
				}
				for range k {
					l.Mul(l, sharing.Scalar(curve, id))
				}
				sum.Add(sum, l)
			}
			want := curve.NewScalar()
			if k == 0 {
				want.SetUint64(1)
			}
			if sum.Equal(want) != 1 {
				t.Fatalf("Σ λᵢ·i^%d over %v is wrong", k, set)
			}
		}
	})
}

// The commitment to f + g is the sum of the commitments, and its hash is of the
// points alone.
func TestCommitmentsAddUp(t *testing.T) {
	onEach(t, func(t *rapid.T, curve group.Curve) {
		f, g := polynomial(t, curve, 3), polynomial(t, curve, 3)
		sum, err := sharing.SumCommitments(f.Commit(), g.Commit())
		if err != nil {
			t.Fatal(err)
		}
		id := mpc.ID(rapid.Uint16Min(1).Draw(t, "id"))
		share := f.Eval(id)
		share.Add(share, g.Eval(id))
		if err := sum.Verify(id, share); err != nil {
			t.Fatal(err)
		}
		if sum.Hash() == f.Commit().Hash() || sum[:2].Hash() == sum.Hash() {
			t.Fatal("different vectors have one hash")
		}
	})
}

func TestSumCommitmentsRefuses(t *testing.T) {
	for _, c := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		g := c.Generator()
		minus := c.NewPoint().Negate(g)
		for name, v := range map[string][]sharing.Commitment{
			"none":               nil,
			"empty":              {{}, {}},
			"different lengths":  {{g, g}, {g}},
			"longer second":      {{g}, {g, g}},
			"key is zero":        {{g, g}, {minus, g}},
			"degree is lower":    {{g, g}, {g, minus}},
			"identity in it":     {{g, c.NewPoint()}},
			"three cancel in A0": {{g, g}, {g, g}, {c.NewPoint().Add(minus, minus), g}},
		} {
			if _, err := sharing.SumCommitments(v...); err == nil {
				t.Errorf("%s, %s: accepted", c.Name(), name)
			}
		}
	}
}

// With t values of f any other value is theirs, in the field and in the group:
// what repairs a lost share.
func TestInterpolationElsewhere(t *testing.T) {
	onEach(t, func(t *rapid.T, curve group.Curve) {
		threshold := rapid.IntRange(2, 5).Draw(t, "threshold")
		set := ids(t, threshold)
		x := mpc.ID(rapid.Uint16().Draw(t, "x"))
		p := polynomial(t, curve, threshold)
		c := p.Commit()
		sum, points := curve.NewScalar(), make(map[mpc.ID]group.Point)
		for _, id := range set {
			l, err := sharing.LagrangeAt(curve, set, id, x)
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(sum, l.Mul(l, p.Eval(id)))
			points[id] = c.Eval(id)
		}
		if sum.Equal(p.Eval(x)) != 1 {
			t.Fatalf("shares of %v do not interpolate to f(%d)", set, x)
		}
		got, err := sharing.InterpolatePointAt(curve, set, points, x)
		if err != nil || got.Equal(c.Eval(x)) != 1 {
			t.Fatalf("public shares of %v do not interpolate to f(%d)·G: %v", set, x, err)
		}
	})
}

// The constant term is the one that was given, or zero; the others are drawn.
func TestPolynomialWithAConstant(t *testing.T) {
	for _, c := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		seed := bytes.Repeat([]byte{7}, 2*c.UniformSize())
		given := c.NewScalar().SetUint64(42)
		p, err := sharing.NewPolynomialWith(c, bytes.NewReader(seed), given, 3)
		if err != nil {
			t.Fatal(err)
		}
		given.Destroy()
		if p.Constant().Equal(c.NewScalar().SetUint64(42)) != 1 || p.Eval(1).Equal(p.Eval(2)) == 1 {
			t.Errorf("%s: the constant is not a copy of the given, or the polynomial is flat", c.Name())
		}
		zero, err := sharing.NewPolynomialWith(c, bytes.NewReader(seed), nil, 3)
		if err != nil {
			t.Fatal(err)
		}
		if zero.Constant().IsZero() != 1 || zero.Eval(1).IsZero() == 1 || zero.Commit()[0].IsIdentity() != 1 || zero.Commit()[2].IsIdentity() == 1 {
			t.Errorf("%s: no sharing of zero", c.Name())
		}
		if _, err := sharing.NewPolynomialWith(c, bytes.NewReader(seed), nil, 4); err == nil {
			t.Error("a polynomial from too little randomness")
		}
	}
}

var secp = group.Secp256k1()

func TestPitfall33_CheckIDs(t *testing.T) {
	many := make([]mpc.ID, mpc.MaxParties+1)
	for i := range many {
		many[i] = mpc.ID(i + 1)
	}
	if err := sharing.CheckIDs(many[:mpc.MaxParties]); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]mpc.ID{nil, {}, {0}, {0, 1}, {1, 1}, {2, 1}, many} {
		if sharing.CheckIDs(bad) == nil {
			t.Errorf("ids %v are accepted", bad)
		}
		if _, err := sharing.Lagrange(secp, bad, 1); err == nil {
			t.Errorf("weights over %v", bad)
		}
	}
	if err := sharing.CheckIDs([]mpc.ID{1, 2, 65535}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ t, n int }{{0, 1}, {1, 1}, {1, 3}, {4, 3}, {2, 17}, {17, 17}} {
		if sharing.CheckThreshold(c.t, c.n) == nil {
			t.Errorf("threshold %d of %d is accepted", c.t, c.n)
		}
	}
}

func TestPitfall41_LagrangeWantsItsMember(t *testing.T) {
	if _, err := sharing.Lagrange(secp, []mpc.ID{1, 2}, 3); err == nil {
		t.Error("a weight for someone outside the set")
	}
	a, err := sharing.Lagrange(secp, []mpc.ID{1, 2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range [][]mpc.ID{{1, 3}, {1, 2, 3}, {1}} {
		b, err := sharing.Lagrange(secp, other, 1)
		if err != nil {
			t.Fatal(err)
		}
		if a.Equal(b) == 1 {
			t.Errorf("weight of 1 is the same over %v as over [1 2]", other)
		}
	}
	if _, err := sharing.InterpolatePoint(secp, []mpc.ID{1, 2}, map[mpc.ID]group.Point{1: secp.Generator()}); err == nil {
		t.Error("a key from too few public shares")
	}
}

func TestDestroyWipesThePolynomial(t *testing.T) {
	p, err := sharing.NewPolynomial(secp, bytes.NewReader(bytes.Repeat([]byte{7}, 96)), 2)
	if err != nil {
		t.Fatal(err)
	}
	p.Destroy()
	if p.Constant().IsZero() != 1 || p.Eval(5).IsZero() != 1 {
		t.Error("coefficients are left")
	}
	if _, err := sharing.NewPolynomial(secp, bytes.NewReader(make([]byte, 95)), 2); err == nil {
		t.Error("a polynomial from too little randomness")
	}
}
