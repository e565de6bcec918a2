package coordinator

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group"
)

// combine makes the signature of the final shares that the vaults gave. It is
// verified by a verifier that is not ours.
func combine(cert *dkg.Certificate, a *Attempt, request [32]byte, prepared *chain.Prepared) (*chain.Signature, error) {
	switch cert.Suite {
	case mpc.DKLS23Secp256k1:
		return combineECDSA(cert, a.shares(), prepared)
	case mpc.FROSTEd25519:
		return combineFROST(cert, a, request, prepared)
	}
	return nil, fmt.Errorf("no vault signs with keys of suite %q", string(cert.Suite))
}

func combineECDSA(cert *dkg.Certificate, replies []*cluster.Reply, prepared *chain.Prepared) (*chain.Signature, error) {
	var shares []*dkls23.FinalShare
	var signers []mpc.ID
	for _, p := range replies {
		s := new(dkls23.FinalShare)
		if err := s.UnmarshalBinary(p.Body); err != nil {
			return nil, fmt.Errorf("vault %d's share: %w", p.Vault, err)
		}
		shares, signers = append(shares, s), append(signers, mpc.ID(p.Vault))
	}
	sig, err := dkls23.Combine(group.Secp256k1Point(cert.PublicKey()), signers, prepared.Digests[0], nil, shares)
	if err != nil {
		return nil, err
	}
	return &chain.Signature{R: sig.R, S: sig.S, RecoveryID: sig.RecoveryID}, nil
}

func combineFROST(cert *dkg.Certificate, a *Attempt, request [32]byte, prepared *chain.Prepared) (*chain.Signature, error) {
	var signers []mpc.ID
	bodies := map[mpc.ID][]byte{}
	for _, p := range a.shares() {
		signers = append(signers, mpc.ID(p.Vault))
		bodies[mpc.ID(p.Vault)] = p.Body
	}
	terms := cluster.FROSTTerms(signers, a.ID, request, prepared.Message(0))
	b, err := cluster.CombineFROST(cert, terms, bodies)
	if err != nil {
		return nil, err
	}
	if len(b) != 64 {
		return nil, fmt.Errorf("a signature of %d bytes, want 64", len(b))
	}
	return &chain.Signature{R: [32]byte(b[:32]), S: [32]byte(b[32:])}, nil
}
