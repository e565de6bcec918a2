package ecdsa

import (
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// Check is Verify and demands the right recovery id besides, with one operation:
// it recovers the key and compares. The key Q that is recovered from (r, s), h and
// the point R that r and the id name is r⁻¹(sR − hG), so Q is the public key
// exactly when sR = hG + rQ, the equation of verification for that very R.
func Check(publicKey [33]byte, hash [32]byte, sig *Signature) error {
	key, err := Recover(hash, sig)
	if err != nil {
		return err
	}
	if key != publicKey {
		return fmt.Errorf("recovery id %d gives the key %x, want %x: %w", sig.RecoveryID, key, publicKey, ErrInvalid)
	}
	return nil
}

// Key is a public key, ready for CheckAt. It does not change, so several may use
// it at once.
type Key struct {
	point secp256k1.JacobianPoint      // z = 1
	comb  *[16]secp256k1.JacobianPoint // see Precompute; nil if it was not called
}

// NewKey decodes a public key (SEC1 compressed or not).
func NewKey(publicKey []byte) (*Key, error) {
	k := new(Key)
	return k, decode(&k.point, publicKey)
}

// Bytes returns the key in SEC1, compressed.
func (k *Key) Bytes() [33]byte {
	return [33]byte(secp256k1.NewPublicKey(&k.point.X, &k.point.Y).SerializeCompressed())
}

// Precompute makes a table that more than halves the work of CheckAt, for a key
// that serves many times: comb[b] is the sum of 2^{64i}·Q over the bits i of b.
// It takes about the time of two checks. It returns the key.
func (k *Key) Precompute() *Key {
	comb := new([16]secp256k1.JacobianPoint)
	step := k.point
	for i := range 4 {
		for b := range 1 << i {
			sum := &comb[1<<i|b]
			secp256k1.AddNonConst(&comb[b], &step, sum)
			sum.ToAffine()
		}
		for range 64 {
			secp256k1.DoubleNonConst(&step, &step)
		}
		step.ToAffine()
	}
	k.comb = comb
	return k
}

// mult is r·Q.
func (k *Key) mult(r *secp256k1.ModNScalar, p *secp256k1.JacobianPoint) {
	if k.comb == nil {
		secp256k1.ScalarMultNonConst(r, &k.point, p)
		return
	}
	b := r.Bytes()
	*p = secp256k1.JacobianPoint{}
	for i := 63; i >= 0; i-- {
		secp256k1.DoubleNonConst(p, p)
		var index byte
		for j := range 4 { // bit i + 64j
			n := i + 64*j
			index |= b[31-n/8] >> (n % 8) & 1 << j
		}
		if index != 0 {
			secp256k1.AddNonConst(p, &k.comb[index], p)
		}
	}
}

func decode(p *secp256k1.JacobianPoint, b []byte) error {
	key, err := secp256k1.ParsePubKey(b)
	if err != nil {
		return fmt.Errorf("couldn't parse the point: %w", err)
	}
	key.AsJacobian(p)
	return nil
}

// CheckAt is Check for whoever knows the point R of the signature, before s was
// lowered: it saves the square root and the inversion in the field. point is R in
// SEC1, not compressed. With P = s⁻¹(hG + rQ), in decred's arithmetic, it demands
//
//	x(R) mod q = r,  P = ±R,  and the sign and x(R) ≥ q as the recovery id says.
func CheckAt(key *Key, hash [32]byte, sig *Signature, point *[65]byte) error {
	r, s, err := sig.scalars()
	if err != nil {
		return err
	}
	var want, p, q secp256k1.JacobianPoint
	if err := decode(&want, point[:]); err != nil {
		return err
	}
	if err := named(&want, (*[32]byte)(point[1:33]), &r, sig.RecoveryID); err != nil {
		return err
	}
	var h secp256k1.ModNScalar
	h.SetByteSlice(hash[:])
	s.InverseNonConst()
	secp256k1.ScalarBaseMultNonConst(h.Mul(&s), &p)
	key.mult(r.Mul(&s), &q)
	secp256k1.AddNonConst(&p, &q, &p)
	if !p.EquivalentNonConst(&want) {
		return ErrInvalid
	}
	return nil
}

// named checks that r and bit 1 of the recovery id are those of R, whose x is
// given, and takes for R the point that bit 0 names: R as it is after s was
// lowered.
func named(point *secp256k1.JacobianPoint, x *[32]byte, r *secp256k1.ModNScalar, id byte) error {
	var v secp256k1.ModNScalar
	overflow := v.SetBytes(x) != 0
	if !v.Equals(r) || overflow != (id&2 != 0) {
		return fmt.Errorf("r or bit 1 of the recovery id is not that of R: %w", ErrInvalid)
	}
	if point.Y.IsOdd() != (id&1 != 0) {
		point.Y.Negate(1).Normalize()
	}
	return nil
}
