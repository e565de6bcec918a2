package verify

import (
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/cofferhq/coffer/internal/chain"
)

// A busy wallet signs hundreds of thousands of times with one key. fixedKey holds
// multiples of it, so that a verification is two multiplications by table, of the
// generator and of the key, instead of one of each and a recovery. The arithmetic is
// decred's. It only ever says yes: what it does not confirm the slow way decides.
//
// It confirms (r, s, parity) for the digest z under Q when R = z/s·G + r/s·Q has the
// x-coordinate r, and a y-coordinate of that parity. That is ECDSA's equation, and it
// is also what recovery comes to: the key recovered from (R, s) is r⁻¹(s·R − z·G) = Q.
type fixedKey struct {
	table *[32][255]secp256k1.JacobianPoint // [i][j]: (j+1)·256^i·Q, affine
}

// worthTable is how many signatures of a key make the table worth its making.
const worthTable = 256

func newFixedKey(publicKey []byte) *fixedKey {
	key, err := secp256k1.ParsePubKey(publicKey)
	if err != nil {
		return nil
	}
	t := new([32][255]secp256k1.JacobianPoint)
	var base secp256k1.JacobianPoint
	key.AsJacobian(&base)
	for i := range t {
		t[i][0] = base
		for j := 1; j < len(t[i]); j++ {
			secp256k1.AddNonConst(&t[i][j-1], &base, &t[i][j])
			t[i][j].ToAffine()
		}
		var next secp256k1.JacobianPoint
		secp256k1.AddNonConst(&t[i][254], &base, &next)
		next.ToAffine()
		base = next
	}
	return &fixedKey{t}
}

func (k *fixedKey) mult(s *secp256k1.ModNScalar, sum *secp256k1.JacobianPoint) {
	b := s.Bytes()
	var next secp256k1.JacobianPoint
	for i, j := range b {
		if j == 0 {
			continue
		}
		secp256k1.AddNonConst(sum, &k.table[31-i][j-1], &next)
		*sum = next
	}
}

// confirms says whether the signature is this key's, low in s, with the right
// recovery id, which is 0 or 1.
func (k *fixedKey) confirms(digest [32]byte, sig *chain.Signature) bool {
	var r, s, z secp256k1.ModNScalar
	if r.SetBytes(&sig.R) != 0 || s.SetBytes(&sig.S) != 0 || r.IsZero() || s.IsZero() || s.IsOverHalfOrder() || sig.RecoveryID > 1 {
		return false
	}
	z.SetBytes(&digest)
	s.InverseNonConst()
	var point secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(z.Mul(&s), &point)
	k.mult(s.Mul(&r), &point)
	if point.Z.IsZero() {
		return false
	}
	if !toAffine(&point) {
		return false
	}
	x := point.X.Bytes()
	return *x == sig.R && point.Y.IsOdd() == (sig.RecoveryID == 1)
}

// toAffine is point.ToAffine with an inverse that math/big finds, which is faster than a
// power, and that is checked.
func toAffine(p *secp256k1.JacobianPoint) bool {
	z := p.Z.Normalize().Bytes()
	inverse := new(big.Int).SetBytes(z[:])
	if inverse.ModInverse(inverse, fieldPrime) == nil {
		return false
	}
	var i, square, check secp256k1.FieldVal
	if i.SetByteSlice(inverse.FillBytes(z[:])) || !check.Mul2(&i, &p.Z).Normalize().IsOne() {
		return false
	}
	square.SquareVal(&i)
	p.X.Mul(&square).Normalize()
	p.Y.Mul(square.Mul(&i)).Normalize()
	p.Z.SetInt(1)
	return true
}

var fieldPrime = secp256k1.Params().P
