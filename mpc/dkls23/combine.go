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
	parts := make([]part, len(shares))
	for i, f := range shares {
		parts[i] = part{from: f.From, session: f.SID, epoch: f.Epoch, echo: f.Echo, point: f.R, w: &f.W, u: &f.U}
	}
	if err := belong(signers, parts); err != nil {
		return nil, session.Benign(stepCombine, err)
	}
	sig, err := release(parts, func(sig *ecdsa.Signature) error { return ecdsa.Check(child.Bytes(), messageHash, sig) })
	if err != nil {
		return nil, session.Unattributed(stepCombine, err)
	}
	return sig, nil
}

// part is one signer's part of one signature.
type part struct {
	from    mpc.ID
	session [32]byte
	epoch   uint64
	echo    [32]byte
	point   [33]byte // R
	w, u    *secp256k1.Scalar
}

// belong checks that the parts are of all signers and of one session in which
// all saw the same messages (h₂) and the same R.
func belong(signers []mpc.ID, parts []part) error {
	if err := sharing.CheckIDs(signers); err != nil {
		return err
	}
	if len(parts) != len(signers) {
		return fmt.Errorf("%d final shares, want one of each of %v", len(parts), signers)
	}
	seen := make(map[mpc.ID]bool, len(parts))
	first := &parts[0]
	for i := range parts {
		f := &parts[i]
		if !sharing.Contains(signers, f.from) || seen[f.from] {
			return fmt.Errorf("final share of participant %d, want one of each of %v", f.from, signers)
		}
		seen[f.from] = true
		switch {
		case f.session != first.session || f.epoch != first.epoch:
			return fmt.Errorf("final shares of participants %d and %d are of different sessions", first.from, f.from)
		case f.echo != first.echo:
			return fmt.Errorf("participants %d and %d saw different messages in round 2", first.from, f.from)
		case f.point != first.point:
			return fmt.Errorf("participants %d and %d hold different R", first.from, f.from)
		}
	}
	return nil
}

// release makes the signature from parts that belong together and gives it out
// only when it verifies, by a verifier that is not ours: check is one of package
// ecdsa.
func release(parts []part, check func(*ecdsa.Signature) error) (*ecdsa.Signature, error) {
	sig, err := sum(parts)
	if err != nil {
		return nil, err
	}
	if err := check(sig); err != nil {
		return nil, err
	}
	return sig, nil
}

// sum makes the signature w/u, with w = Σwᵢ and u = Σuᵢ. Nobody has verified it
// yet.
func sum(parts []part) (*ecdsa.Signature, error) {
	w, u := secp256k1.NewScalar(), secp256k1.NewScalar()
	for i := range parts {
		w.Add(w, parts[i].w)
		u.Add(u, parts[i].u)
	}
	return assemble(&parts[0].point, w, u)
}

// assemble is s = w/u with r, s ≤ q/2 and the recovery id. That R is on the curve
// is for the verification to say.
func assemble(point *[33]byte, w, u *secp256k1.Scalar) (*ecdsa.Signature, error) {
	if point[0] != 2 && point[0] != 3 {
		return nil, fmt.Errorf("R is no point: its first byte is %d, want 2 or 3", point[0])
	}
	r, id, err := xCoordinate((*[32]byte)(point[1:]), int(point[0]&1))
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
