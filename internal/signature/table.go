package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"sync"

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
	minus multiples
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
	fill(&t.minus, a.Negate(a))
	return t
}

type multiples = [32][255]edwards25519.Point

func fill(m *multiples, base *edwards25519.Point) {
	base = new(edwards25519.Point).Set(base)
	for i := range m {
		m[i][0].Set(base)
		for j := 1; j < len(m[i]); j++ {
			m[i][j].Add(&m[i][j-1], base)
		}
		base.Add(&m[i][254], base)
	}
}

// addMultiple adds s times the point of m to r.
func addMultiple(r *edwards25519.Point, m *multiples, s *edwards25519.Scalar) {
	for i, b := range s.Bytes() {
		if b > 0 {
			r.Add(r, &m[i][b-1])
		}
	}
}

// generator is the table of B, made when it is first asked for.
var generator = sync.OnceValue(func() *multiples {
	m := new(multiples)
	fill(m, edwards25519.NewGeneratorPoint())
	return m
})

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
	r := edwards25519.NewIdentityPoint()
	addMultiple(r, generator(), s)
	addMultiple(r, &t.minus, k)
	return bytes.Equal(r.Bytes(), sig[:32])
}
