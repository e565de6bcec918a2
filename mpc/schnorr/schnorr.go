// Package schnorr verifies Schnorr signatures over secp256k1: those of BIP-340,
// and the equation z·G = R + c·P of any other scheme. It signs nothing.
//
// It stands on decred's arithmetic, not on mpc/group/secp256k1: a signature that
// our own arithmetic made is judged by another's. Everything here is public and
// takes variable time.
package schnorr

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// ErrInvalid says that the equation does not hold.
var ErrInvalid = errors.New("signature does not verify")

// TaggedHash is SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ items…) of BIP-340.
func TaggedHash(tag string, items ...[]byte) [32]byte {
	t := sha256.Sum256([]byte(tag))
	h := sha256.New()
	h.Write(t[:])
	h.Write(t[:])
	for _, b := range items {
		h.Write(b)
	}
	var out [32]byte
	h.Sum(out[:0])
	return out
}

// VerifyBIP340 checks a signature of 64 bytes under an x-only key of 32.
func VerifyBIP340(key, message, sig []byte) error {
	if len(key) != 32 || len(sig) != 64 {
		return fmt.Errorf("key of %d and signature of %d bytes, want 32 and 64: %w", len(key), len(sig), ErrInvalid)
	}
	p, err := point(append([]byte{2}, key...))
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	c := TaggedHash("BIP0340/challenge", sig[:32], key, message)
	r, err := combine(p, c[:], sig[32:])
	if err != nil {
		return err
	}
	x := r.X.Bytes()
	if r.Y.IsOdd() || [32]byte(sig[:32]) != *x {
		return ErrInvalid
	}
	return nil
}

// Verify checks z·G = R + c·P. The points are SEC1 compressed; the challenge is
// reduced mod n, z must be below it.
func Verify(key, r, challenge, z []byte) error {
	p, err := point(key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	want, err := point(r)
	if err != nil {
		return fmt.Errorf("point R: %w", err)
	}
	if len(challenge) != 32 || len(z) != 32 {
		return fmt.Errorf("challenge of %d and z of %d bytes, want 32 and 32: %w", len(challenge), len(z), ErrInvalid)
	}
	got, err := combine(p, challenge, z)
	if err != nil {
		return err
	}
	if !got.X.Equals(&want.X) || !got.Y.Equals(&want.Y) {
		return ErrInvalid
	}
	return nil
}

func point(b []byte) (*secp256k1.JacobianPoint, error) {
	k, err := secp256k1.ParsePubKey(b)
	if err != nil || len(b) != 33 {
		return nil, fmt.Errorf("%x is no compressed point: %w", b, ErrInvalid)
	}
	p := new(secp256k1.JacobianPoint)
	k.AsJacobian(p)
	return p, nil
}

// combine is z·G − c·P, affine. The identity is refused.
func combine(p *secp256k1.JacobianPoint, challenge, z []byte) (*secp256k1.JacobianPoint, error) {
	var s, c secp256k1.ModNScalar
	if s.SetByteSlice(z) {
		return nil, fmt.Errorf("z is not below the group order: %w", ErrInvalid)
	}
	c.SetByteSlice(challenge)
	c.Negate()
	var zg, cp, r secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(&s, &zg)
	secp256k1.ScalarMultNonConst(&c, p, &cp)
	secp256k1.AddNonConst(&zg, &cp, &r)
	if (r.X.IsZero() && r.Y.IsZero()) || r.Z.IsZero() {
		return nil, fmt.Errorf("z·G − c·P is the identity: %w", ErrInvalid)
	}
	r.ToAffine()
	return &r, nil
}
