// Package ecdsa is a finished ECDSA signature over secp256k1 and its check by a
// verifier that is not ours (decred's).
//
// Everything here is public and takes variable time: no secret may come here. A
// signature is accepted only with s ≤ q/2 (the form that Ethereum and Bitcoin
// relay); mpc/dkls23 makes no other.
package ecdsa

import (
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// ErrInvalid is wrapped by every refusal of a signature.
var ErrInvalid = errors.New("signature does not verify")

// Signature is (r, s) with the id by which the public key is recovered: bit 0 is
// the parity of y(R), bit 1 is set when x(R) ≥ q.
type Signature struct {
	R, S       [32]byte
	RecoveryID byte // 0 to 3
}

// Bytes is r ‖ s ‖ recovery id, 65 bytes.
func (s *Signature) Bytes() [65]byte {
	var b [65]byte
	copy(b[:32], s.R[:])
	copy(b[32:64], s.S[:])
	b[64] = s.RecoveryID
	return b
}

// SetBytes is the inverse of Bytes. It checks the ranges of r, s and the
// recovery id: 0 < r < q, 0 < s ≤ q/2.
func (s *Signature) SetBytes(b []byte) error {
	if len(b) != 65 {
		return fmt.Errorf("signature has %d bytes, want 65", len(b))
	}
	var t Signature
	copy(t.R[:], b[:32])
	copy(t.S[:], b[32:64])
	t.RecoveryID = b[64]
	if _, _, err := t.scalars(); err != nil {
		return err
	}
	*s = t
	return nil
}

func (s *Signature) scalars() (r, t secp256k1.ModNScalar, err error) {
	if r.SetBytes(&s.R) != 0 || r.IsZero() {
		return r, t, fmt.Errorf("r is not in 1 … q−1: %w", ErrInvalid)
	}
	if t.SetBytes(&s.S) != 0 || t.IsZero() || t.IsOverHalfOrder() {
		return r, t, fmt.Errorf("s is not in 1 … q/2: %w", ErrInvalid)
	}
	if s.RecoveryID > 3 {
		return r, t, fmt.Errorf("recovery id %d, want 0 to 3: %w", s.RecoveryID, ErrInvalid)
	}
	return r, t, nil
}

// Verify checks a signature of hash under the public key (SEC1 compressed).
func Verify(publicKey [33]byte, hash [32]byte, sig *Signature) error {
	key, err := secp256k1.ParsePubKey(publicKey[:])
	if err != nil {
		return fmt.Errorf("couldn't parse the public key: %w", err)
	}
	r, s, err := sig.scalars()
	if err != nil {
		return err
	}
	if !ecdsa.NewSignature(&r, &s).Verify(hash[:], key) {
		return ErrInvalid
	}
	return nil
}

// Recover returns the public key (SEC1 compressed) under which the signature of
// hash verifies.
func Recover(hash [32]byte, sig *Signature) ([33]byte, error) {
	var out [33]byte
	if _, _, err := sig.scalars(); err != nil {
		return out, err
	}
	var compact [65]byte
	compact[0] = 27 + 4 + sig.RecoveryID // 4: the compressed form of the key
	copy(compact[1:33], sig.R[:])
	copy(compact[33:], sig.S[:])
	key, _, err := ecdsa.RecoverCompact(compact[:], hash[:])
	if err != nil {
		return out, fmt.Errorf("couldn't recover the public key: %w: %w", err, ErrInvalid)
	}
	copy(out[:], key.SerializeCompressed())
	return out, nil
}
