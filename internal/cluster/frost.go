package cluster

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
)

// FROSTShare is what a vault answers an attempt with a FROST key: its signature
// share, and its own R0, by which a coordinator names those whose shares are wrong.
// Only a vault's own R0 counts: what it says of another's is hearsay.
type FROSTShare struct {
	Share       []byte
	Commitments []byte
}

const frostShareVersion = 1

// Encode is the canonical encoding (docs/spec/cluster.md).
func (s *FROSTShare) Encode() []byte {
	return wire.NewWriter(frostShareVersion).Var(s.Share).Var(s.Commitments).Bytes()
}

// DecodeFROSTShare is the inverse of Encode.
func DecodeFROSTShare(b []byte) (*FROSTShare, error) {
	r := wire.NewReader(b, frostShareVersion)
	s := &FROSTShare{Share: r.Var("share", 1<<16), Commitments: r.Var("commitments", 1<<17)}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode FROST share: %w", err)
	}
	return s, nil
}

// frostExchanges are the rounds between FROST's commitments and its shares: R1
// brings the ledgers, R2 the decisions.
const frostExchanges = 2

// FROSTTerms are what the signers of an attempt agree on.
func FROSTTerms(signers []mpc.ID, attempt [16]byte, request [32]byte, message []byte) frost.Terms {
	return frost.Terms{
		Signers: signers, AttemptID: attempt, RequestHash: request,
		Jobs: []frost.Job{{Message: message}}, Exchanges: frostExchanges,
	}
}

// CombineFROST makes the signature of the shares that the signers answered
// (FROSTShare, encoded). It is verified by a verifier that is not ours; if it is
// refused, the *mpc.Abort names those whose shares are wrong.
func CombineFROST(cert *dkg.Certificate, terms frost.Terms, replies map[mpc.ID][]byte) ([]byte, error) {
	commitments, shares := map[mpc.ID][]byte{}, map[mpc.ID][]byte{}
	for _, id := range terms.Signers {
		s, err := DecodeFROSTShare(replies[id])
		if err != nil {
			return nil, &mpc.Abort{Class: mpc.Attributed, Culprits: []mpc.ID{id}, Step: "frost combine", Err: err}
		}
		commitments[id], shares[id] = s.Commitments, s.Share
	}
	public := &frost.Public{
		Suite: cert.Suite, KeyID: cert.KeyID(), Epoch: cert.Epoch, Threshold: cert.Threshold, Parties: cert.Parties,
		PublicKey: cert.PublicKey(), PublicShares: cert.PublicShares, FeldmanHash: cert.Feldman.Hash(),
		RosterHash: cert.RosterHash, Purpose: cert.Purpose,
	}
	out, err := frost.Combine(public, terms, commitments, shares)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}
