package secp256k1

import (
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"
)

func TestBaseMultAgainstDecred(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genWord().Draw(t, "k")
		got := NewPoint().ScalarBaseMult(scalarOf(v)).Bytes()
		if want := oracleBase(v); got != want {
			t.Fatalf("%x*G = %x, want %x", v, got, want)
		}
	})
}

func TestVarMultAgainstDecred(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genWord().Draw(t, "k")
		w := genWord().Draw(t, "p")
		p := NewPoint().ScalarBaseMult(scalarOf(w))
		got := NewPoint().ScalarMult(scalarOf(v), p)
		if want := oracleBase(new(big.Int).Mul(v, w)); got.Bytes() != want {
			t.Fatalf("%x*(%x*G) = %x, want %x", v, w, got.Bytes(), want)
		}
		vt := NewPoint().MultiScalarMultVartime([]*Scalar{scalarOf(v)}, []*Point{p})
		if vt.Equal(got) != 1 {
			t.Fatalf("MultiScalarMultVartime differs from ScalarMult")
		}
	})
}

var _ = secp256k1.PrivKeyBytesLen
