package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"math/big"
	"slices"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
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

// encodes says whether b is the canonical encoding of p. The inverse that this takes is
// found by math/big, which is faster than a power, and then checked.
func encodes(p *edwards25519.Point, b []byte) bool {
	x, y, z, _ := p.ExtendedCoordinates()
	inverse := new(big.Int).SetBytes(reversed(z.Bytes()))
	if inverse.ModInverse(inverse, prime) == nil {
		return false
	}
	var bytes32 [32]byte
	i, err := new(field.Element).SetBytes(reversed(inverse.FillBytes(bytes32[:])))
	if err != nil || new(field.Element).Multiply(i, z).Equal(one) != 1 {
		return false
	}
	out := y.Multiply(y, i).Bytes()
	out[31] |= byte(x.Multiply(x, i).IsNegative() << 7)
	return bytes.Equal(out, b)
}

var (
	prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	one   = new(field.Element).One()
)

func reversed(b []byte) []byte { slices.Reverse(b); return b }

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
	return encodes(r, sig[:32])
}
