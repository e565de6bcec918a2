package group_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
)

func curves() []group.Curve { return []group.Curve{group.Secp256k1(), group.Ed25519()} }

func scalar(t *rapid.T, c group.Curve, label string) group.Scalar {
	switch rapid.SampledFrom([]string{"random", "random", "0", "1", "-1", "small"}).Draw(t, label+" kind") {
	case "0":
		return c.NewScalar()
	case "1":
		return c.NewScalar().SetUint64(1)
	case "-1":
		return c.NewScalar().Negate(c.NewScalar().SetUint64(1))
	case "small":
		return c.NewScalar().SetUint64(rapid.Uint64().Draw(t, label))
	}
	return c.NewScalar().SetUniform(rapid.SliceOfN(rapid.Byte(), c.UniformSize(), c.UniformSize()).Draw(t, label))
}

// The laws of a field and of a group with that field's scalars.
func TestLaws(t *testing.T) {
	for _, c := range curves() {
		t.Run(c.Name(), rapid.MakeCheck(func(t *rapid.T) {
			x, y, z := scalar(t, c, "x"), scalar(t, c, "y"), scalar(t, c, "z")
			zero, one := c.NewScalar(), c.NewScalar().SetUint64(1)
			n, p := c.NewScalar, c.NewPoint
			scalars := map[string][2]group.Scalar{
				"x + y = y + x":           {n().Add(x, y), n().Add(y, x)},
				"(x + y) + z = x + (y+z)": {n().Add(n().Add(x, y), z), n().Add(x, n().Add(y, z))},
				"x + 0 = x":               {n().Add(x, zero), x},
				"x − y = x + (−y)":        {n().Sub(x, y), n().Add(x, n().Negate(y))},
				"x − x = 0":               {n().Sub(x, x), zero},
				"xy = yx":                 {n().Mul(x, y), n().Mul(y, x)},
				"(xy)z = x(yz)":           {n().Mul(n().Mul(x, y), z), n().Mul(x, n().Mul(y, z))},
				"x·1 = x":                 {n().Mul(x, one), x},
				"x(y + z) = xy + xz":      {n().Mul(x, n().Add(y, z)), n().Add(n().Mul(x, y), n().Mul(x, z))},
				"x·x⁻¹·x = x":             {n().Mul(x, n().Mul(x, n().Invert(x))), x},
				"select 1":                {n().Select(x, y, 1), x},
				"select 0":                {n().Select(x, y, 0), y},
				"set":                     {n().Set(x), x},
			}
			if x.IsZero() == 0 {
				scalars["x·x⁻¹ = 1"] = [2]group.Scalar{n().Mul(x, n().Invert(x)), one}
			}
			for law, s := range scalars {
				if s[0].Equal(s[1]) != 1 || !bytes.Equal(s[0].Encode(), s[1].Encode()) {
					t.Fatalf("%s does not hold", law)
				}
			}
			g := c.Generator()
			base := func(k group.Scalar) group.Point { return p().ScalarBaseMult(k) }
			xg, yg := base(x), base(y)
			for law, q := range map[string][2]group.Point{
				"P + Q = Q + P":      {p().Add(xg, yg), p().Add(yg, xg)},
				"xG + yG = (x + y)G": {p().Add(xg, yg), base(n().Add(x, y))},
				"xG − yG = (x − y)G": {p().Sub(xg, yg), base(n().Sub(x, y))},
				"−xG = (−x)G":        {p().Negate(xg), base(n().Negate(x))},
				"x(yG) = (xy)G":      {p().ScalarMult(x, yg), base(n().Mul(x, y))},
				"xG = x·G":           {p().ScalarMult(x, g), xg},
				"P + O = P":          {p().Add(xg, p()), xg},
				"P − P = O":          {p().Sub(xg, xg), p()},
				"P + P = 2P":         {p().Add(xg, xg), p().ScalarMult(n().SetUint64(2), xg)},
				"sum":                {p().MultiScalarMultVartime([]group.Scalar{x, z}, []group.Point{yg, xg}), p().Add(p().ScalarMult(x, yg), p().ScalarMult(z, xg))},
				"x(yG) + zG":         {p().DoubleScalarMultVartime(x, yg, z), p().Add(p().ScalarMult(x, yg), base(z))},
				"set":                {p().Set(xg), xg},
			} {
				if q[0].Equal(q[1]) != 1 || !bytes.Equal(q[0].Encode(), q[1].Encode()) {
					t.Fatalf("%s does not hold", law)
				}
			}
			if (xg.IsIdentity() == 1) != (x.IsZero() == 1) || (xg.Equal(yg) == 1) != (x.Equal(y) == 1) {
				t.Fatal("comparison is wrong")
			}
			roundTrip(t, c, x, xg)
		}))
	}
}

func roundTrip(t *rapid.T, c group.Curve, x group.Scalar, p group.Point) {
	s, q := c.NewScalar(), c.Generator()
	if err := s.Decode(x.Encode()); err != nil || s.Equal(x) != 1 {
		t.Fatalf("scalar %x doesn't come back: %v", x.Encode(), err)
	}
	err := q.Decode(p.Encode())
	if p.IsIdentity() == 1 {
		if err == nil {
			t.Fatal("the identity decodes")
		}
		return
	}
	if err != nil || q.Equal(p) != 1 || len(p.Encode()) != c.PointSize() {
		t.Fatalf("point %x doesn't come back: %v", p.Encode(), err)
	}
	for i, b := range group.EncodePoints([]group.Point{p, c.NewPoint(), c.Generator()}) {
		if want := []group.Point{p, c.NewPoint(), c.Generator()}[i].Encode(); !bytes.Equal(b, want) {
			t.Fatalf("encoded together %x, alone %x", b, want)
		}
	}
}

// Receivers may be arguments.
func TestAliases(t *testing.T) {
	for _, c := range curves() {
		x, y := c.NewScalar().SetUint64(7), c.NewScalar().SetUint64(11)
		g := c.Generator()
		x.Sub(x, y).Mul(x, x).Add(x, x).Negate(x) // −2·16
		if x.Add(x, c.NewScalar().SetUint64(32)).IsZero() != 1 {
			t.Errorf("%s: scalars", c.Name())
		}
		g.Add(g, g).Add(g, g).Sub(g, c.Generator()).Negate(g) // −3G
		g.ScalarMult(y, g)
		g.MultiScalarMultVartime([]group.Scalar{y, y}, []group.Point{g, c.Generator()}) // 11(−33 + 1)G
		if g.Add(g, c.NewPoint().ScalarBaseMult(c.NewScalar().SetUint64(352))).IsIdentity() != 1 {
			t.Errorf("%s: points", c.Name())
		}
	}
}

func TestNamesAndSuites(t *testing.T) {
	for _, c := range curves() {
		if got, err := group.ByName(c.Name()); err != nil || got != c {
			t.Errorf("%s: %v, %v", c.Name(), got, err)
		}
		if c.NewScalar().Curve() != c || c.NewPoint().Curve() != c || c.Generator().Curve() != c {
			t.Errorf("%s: its values are another curve's", c.Name())
		}
	}
	if _, err := group.ByName("P-256"); err == nil {
		t.Error("P-256 is known")
	}
	for _, s := range mpc.Suites() {
		c, err := group.OfSuite(s)
		if err != nil || (c == group.Ed25519()) != strings.Contains(string(s), "ED25519") {
			t.Errorf("%s: %v, %v", s, c, err)
		}
	}
	if _, err := group.OfSuite("FROST-ED448-SHAKE256-v1"); err == nil {
		t.Error("an unknown suite has a curve")
	}
}

// Values of different curves don't mix, and a wrong length is a programmer's
// error.
func TestMixingPanics(t *testing.T) {
	s, e := group.Secp256k1(), group.Ed25519()
	for name, f := range map[string]func(){
		"scalars":       func() { s.NewScalar().Add(s.NewScalar(), e.NewScalar()) },
		"points":        func() { e.NewPoint().Add(s.Generator(), e.Generator()) },
		"multiple":      func() { e.NewPoint().ScalarMult(s.NewScalar(), e.Generator()) },
		"comparison":    func() { e.NewPoint().Equal(s.NewPoint()) },
		"unwrap":        func() { group.Secp256k1Point(e.NewPoint()) },
		"uniform bytes": func() { e.NewScalar().SetUniform(make([]byte, 48)) },
		"sum":           func() { e.NewPoint().MultiScalarMultVartime([]group.Scalar{e.NewScalar()}, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// Wrapping shares memory.
func TestWrapping(t *testing.T) {
	s := group.Secp256k1().NewScalar()
	group.Secp256k1Scalar(s).SetUint64(5)
	if group.FromSecp256k1Scalar(group.Secp256k1Scalar(s)).Sub(s, group.Secp256k1().NewScalar().SetUint64(5)); s.IsZero() != 1 {
		t.Error("secp256k1 scalar was copied")
	}
	e := group.Ed25519().NewScalar()
	group.Ed25519Scalar(e).SetUint64(5)
	if group.FromEd25519Scalar(group.Ed25519Scalar(e)).Sub(e, group.Ed25519().NewScalar().SetUint64(5)); e.IsZero() != 1 {
		t.Error("ed25519 scalar was copied")
	}
	for _, c := range curves() {
		p := c.Generator()
		if c == group.Ed25519() {
			group.FromEd25519Point(group.Ed25519Point(p)).Sub(p, p)
		} else {
			group.FromSecp256k1Point(group.Secp256k1Point(p)).Sub(p, p)
		}
		if p.IsIdentity() != 1 {
			t.Errorf("%s point was copied", c.Name())
		}
	}
}

func TestScalarIsNotPrinted(t *testing.T) {
	for _, c := range curves() {
		s := c.NewScalar()
		if err := s.SetRandom(rand.Reader); err != nil {
			t.Fatal(err)
		}
		secret := hex.EncodeToString(s.Encode())
		for _, v := range []any{s, []group.Scalar{s}, map[string]group.Scalar{"k": s}, struct{ S group.Scalar }{s}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
				out := fmt.Sprintf(verb, v)
				if strings.Contains(out, secret) || strings.ContainsAny(out, "[0x") && !strings.Contains(out, "redacted") {
					t.Errorf("%s of %T prints %q", verb, v, out)
				}
			}
		}
		if out := fmt.Sprint(s); !strings.Contains(out, "redacted") {
			t.Errorf("prints %q", out)
		}
		if _, err := json.Marshal(s); err == nil {
			t.Error("encodes to JSON")
		}
		s.Destroy()
		if s.IsZero() != 1 {
			t.Error("a destroyed scalar is left")
		}
		if err := s.SetRandom(bytes.NewReader(nil)); err == nil {
			t.Error("a scalar from no randomness")
		}
	}
}

// What decodes encodes to the same bytes, on both curves.
func FuzzDecode(f *testing.F) {
	for _, c := range curves() {
		f.Add(c.Generator().Encode())
		f.Add(c.NewPoint().Encode())
		f.Add(c.NewScalar().Negate(c.NewScalar().SetUint64(1)).Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range curves() {
			if s := c.NewScalar(); s.Decode(b) == nil && !bytes.Equal(s.Encode(), b) {
				t.Fatalf("%s scalar %x encodes as %x", c.Name(), b, s.Encode())
			}
			p := c.NewPoint()
			if p.Decode(b) != nil {
				continue
			}
			minus := c.NewScalar().Negate(c.NewScalar().SetUint64(1)) // q − 1
			if !bytes.Equal(p.Encode(), b) || p.IsIdentity() == 1 || c.NewPoint().Add(p, c.NewPoint().ScalarMult(minus, p)).IsIdentity() != 1 {
				t.Fatalf("%s point %x is not one of order q, or encodes as %x", c.Name(), b, p.Encode())
			}
		}
	})
}
