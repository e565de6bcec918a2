package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
)

// frostRun is a run of FROST: R0 commits to fresh nonces, which are in memory only;
// R1 and R2 carry nothing but what the vaults attach; the final share is z. It
// needs no pair setups, and sends nothing that only one peer may read.
type frostRun struct {
	*frost.Session
	own []byte // R0
}

func (v *Vault) beginFROST(s *signSession) (protocol, error) {
	run, err := frost.New(frost.Config{
		Key: s.share, Purpose: s.key.cert.Purpose,
		Terms: cluster.FROSTTerms(s.signers, s.attempt, s.request, s.prepared.Message(0)),
	}, v.sessionRand())
	if err != nil {
		return nil, err
	}
	return &frostRun{Session: run}, nil
}

func (r *frostRun) Round0(attachment []byte) ([]byte, error) {
	b, err := r.Session.Round0(attachment)
	r.own = b
	return b, err
}

func (r *frostRun) Round1(r0 map[mpc.ID][]byte, attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	b, err := r.Exchange(r0, attachment)
	return b, nil, err
}

func (r *frostRun) Round2(r1, private map[mpc.ID][]byte, attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	if err := nothingPrivate(1, private); err != nil {
		return nil, nil, err
	}
	b, err := r.Exchange(r1, attachment)
	return b, nil, err
}

func (r *frostRun) Final(r2, private map[mpc.ID][]byte) ([]byte, error) {
	if err := nothingPrivate(2, private); err != nil {
		return nil, err
	}
	share, err := r.Share(r2)
	if err != nil {
		return nil, err
	}
	x := cluster.FROSTShare{Share: share, Commitments: r.own}
	return x.Encode(), nil
}

func (*frostRun) Paired() bool { return false }

// nothingPrivate: what a peer sends beside a broadcast is its own doing, since the
// channel is authenticated.
func nothingPrivate(round int, private map[mpc.ID][]byte) error {
	for _, id := range sortedIDs(private) {
		if n := len(private[id]); n > 0 {
			return attributed(id, fmt.Sprintf("sign R%d", round), fmt.Errorf("a private message of %d bytes, want none", n))
		}
	}
	return nil
}
