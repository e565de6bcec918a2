package dkls23

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// Combine makes the signature from the final shares of all signers of one
// session and checks it, with a verifier that is not ours, under
// publicKey + tweak·G, publicKey being the untweaked group key. Nothing here is
// secret; a coordinator can do it.
//
// Shares that do not belong together are a benign abort. A signature that does
// not verify is never returned: the abort is unattributed, and the same set of
// signers must not be tried again.
func Combine(publicKey *secp256k1.Point, signers []mpc.ID, messageHash [32]byte, tweak *secp256k1.Scalar, shares []*FinalShare) (*ecdsa.Signature, error) {
	child, err := childKey(publicKey, tweak)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	if err := belong(signers, shares); err != nil {
		return nil, session.Benign(stepCombine, err)
	}
	w, u := secp256k1.NewScalar(), secp256k1.NewScalar()
	for _, f := range shares {
		w.Add(w, &f.W)
		u.Add(u, &f.U)
	}
	r := secp256k1.NewPoint()
	if err := r.SetBytes(shares[0].R[:]); err != nil {
		return nil, session.Unattributed(stepCombine, fmt.Errorf("point R: %w", err))
	}
	sig, err := assemble(r, w, u)
	if err != nil {
		return nil, session.Unattributed(stepCombine, err)
	}
	key := child.Bytes()
	if err := ecdsa.Verify(key, messageHash, sig); err != nil {
		return nil, session.Unattributed(stepCombine, err)
	}
	recovered, err := ecdsa.Recover(messageHash, sig)
	if err != nil {
		return nil, session.Unattributed(stepCombine, err)
	}
	if recovered != key {
		return nil, session.Unattributed(stepCombine, fmt.Errorf("recovery id %d gives the key %x, want %x", sig.RecoveryID, recovered, key))
	}
	return sig, nil
}

// belong checks that the shares are of all signers and of one session in which
// all saw the same messages (h₂) and the same R.
func belong(signers []mpc.ID, shares []*FinalShare) error {
	if err := sharing.CheckIDs(signers); err != nil {
		return err
	}
	if len(shares) != len(signers) {
		return fmt.Errorf("%d final shares, want one of each of %v", len(shares), signers)
	}
	seen := make(map[mpc.ID]bool, len(shares))
	for _, f := range shares {
		if !sharing.Contains(signers, f.From) || seen[f.From] {
			return fmt.Errorf("final share of participant %d, want one of each of %v", f.From, signers)
		}
		seen[f.From] = true
		first := shares[0]
		switch {
		case f.SID != first.SID || f.Epoch != first.Epoch:
			return fmt.Errorf("final shares of participants %d and %d are of different sessions", first.From, f.From)
		case f.Echo != first.Echo:
			return fmt.Errorf("participants %d and %d saw different messages in round 2", first.From, f.From)
		case f.R != first.R:
			return fmt.Errorf("participants %d and %d hold different R", first.From, f.From)
		}
	}
	return nil
}

// assemble is s = w/u with r, s ≤ q/2 and the recovery id.
func assemble(point *secp256k1.Point, w, u *secp256k1.Scalar) (*ecdsa.Signature, error) {
	x := point.XBytes()
	r, id, err := xCoordinate(&x, point.YIsOdd())
	if err != nil {
		return nil, err
	}
	if u.IsZero() == 1 {
		return nil, errors.New("the final shares' u add up to 0")
	}
	s := secp256k1.NewScalar().Invert(u)
	s.Mul(s, w)
	if s.IsZero() == 1 {
		return nil, errors.New("s is 0")
	}
	// −s belongs to −R: low s flips the parity of y, never the overflow of x.
	if s.IsHigh() == 1 {
		s.Negate(s)
		id ^= 1
	}
	return &ecdsa.Signature{R: r.Bytes(), S: s.Bytes(), RecoveryID: id}, nil
}

// xCoordinate is r = x mod q and the recovery id of R before s is lowered: bit 0
// is the parity of y, bit 1 says that x ≥ q.
func xCoordinate(x *[32]byte, yIsOdd int) (r *secp256k1.Scalar, id byte, err error) {
	r = secp256k1.NewScalar().SetReduced(x)
	if r.IsZero() == 1 {
		return nil, 0, errors.New("x of R is 0 mod q")
	}
	id = byte(yIsOdd)
	if r.Bytes() != *x {
		id |= 2
	}
	return r, id, nil
}
