package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"

	"filippo.io/edwards25519"
)

// Table verifies many Ed25519 signatures of one public key A faster than the standard
// library: it holds (j+1)·256^i·(−A), so that k·(−A) is at most 32 additions. It is for
// public data only: its time depends on what it verifies.
//
// It answers as crypto/ed25519 does. Both compute S·B + k·(−A), with k reduced to
// 0 ≤ k < l and multiplied as an integer, so that a part of small order in A counts the
// same; both compare the canonical encoding of that point with the bytes of R, without the
// cofactor; both refuse S ≥ l; and both read A as filippo.io/edwards25519 does. A caller
// asks the standard library about each no all the same, so that a fault here
// could never refuse what is good.
type Table struct {
	key   [32]byte
	minus [32][255]edwards25519.Point
}

// NewTable makes the table (1.3 MB) of an Ed25519 key; nil for what is none.
func NewTable(k PublicKey) *Table {
	if k.Algorithm != Ed25519 || len(k.Key) != ed25519.PublicKeySize {
		return nil
	}
	a, err := new(edwards25519.Point).SetBytes([]byte(k.Key))
	if err != nil {
		return nil
	}
	t := &Table{key: [32]byte([]byte(k.Key))}
	base := new(edwards25519.Point).Negate(a)
	for i := range t.minus {
		t.minus[i][0].Set(base)
		for j := 1; j < len(t.minus[i]); j++ {
			t.minus[i][j].Add(&t.minus[i][j-1], base)
		}
		base = new(edwards25519.Point).Add(&t.minus[i][254], base)
	}
	return t
}

// Confirms says whether sig is the key's over the message.
func (t *Table) Confirms(message, sig []byte) bool {
	if len(sig) != ed25519.SignatureSize {
		return false
	}
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(sig[32:])
	if err != nil {
		return false
	}
	h := sha512.New()
	h.Write(sig[:32])
	h.Write(t.key[:])
	h.Write(message)
	var sum [64]byte
	k, err := new(edwards25519.Scalar).SetUniformBytes(h.Sum(sum[:0]))
	if err != nil {
		return false
	}
	r := new(edwards25519.Point).ScalarBaseMult(s)
	for i, b := range k.Bytes() {
		if b > 0 {
			r.Add(r, &t.minus[i][b-1])
		}
	}
	return bytes.Equal(r.Bytes(), sig[:32])
}
