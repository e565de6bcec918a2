package group

import (
	"fmt"

	"github.com/cofferhq/coffer/mpc"
)

// Secp256k1 is the group of SEC 2, by package secp256k1.
func Secp256k1() Curve { return secpCurve{} }

// Ed25519 is the subgroup of prime order of edwards25519, by package ed25519.
func Ed25519() Curve { return edCurve{} }

// ByName returns the curve that has the name.
func ByName(name string) (Curve, error) {
	for _, c := range []Curve{Secp256k1(), Ed25519()} {
		if c.Name() == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("curve %q is unknown, want secp256k1 or ed25519", name)
}

// OfSuite returns the curve of a suite.
func OfSuite(s mpc.Suite) (Curve, error) {
	switch s {
	case mpc.DKLS23Secp256k1, mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR:
		return Secp256k1(), nil
	case mpc.FROSTEd25519:
		return Ed25519(), nil
	}
	return nil, s.Check()
}

// EncodePoints returns what Encode returns for each point, with one inversion
// for all of them. The points are of one curve.
func EncodePoints(ps []Point) [][]byte {
	if len(ps) == 0 {
		return nil
	}
	if ps[0].Curve() == Ed25519() {
		return encodeEd25519(ps)
	}
	return encodeSecp256k1(ps)
}

// wide demands the length that SetUniform takes.
func wide(c Curve, b []byte) {
	if len(b) != c.UniformSize() {
		panic(fmt.Sprintf("group: %d uniform bytes for a scalar of %s, want %d", len(b), c.Name(), c.UniformSize()))
	}
}
