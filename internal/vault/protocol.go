package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/pair"
)

// protocol is one run of a threshold signature in the rounds of ARCHITECTURE.md
// §5, whatever the suite. R0 fixes what is signed and by whom, R1 brings the
// ledgers, R2 the decisions, and the final share is the last thing that leaves.
// Messages are by author; what a suite has no private messages for is nil.
type protocol interface {
	Round0(attachment []byte) (broadcast []byte, err error)
	Round1(r0 map[mpc.ID][]byte, attachment []byte) (broadcast []byte, private map[mpc.ID][]byte, err error)
	Round2(r1, private map[mpc.ID][]byte, attachment []byte) (broadcast []byte, out map[mpc.ID][]byte, err error)
	Final(r2, private map[mpc.ID][]byte) (share []byte, err error)

	// Paired says that the run rests on the pair setups with its peers, and ends with
	// them.
	Paired() bool
	Destroy()
}

// begin makes the run for the suite of the session's key. A peer whose pair is
// quarantined has cheated: no suite signs with it.
func (v *Vault) begin(s *signSession) (protocol, error) {
	for _, id := range s.peers {
		if err := v.mayWorkWith(v.peers[id]); err != nil {
			return nil, benign("sign", err)
		}
	}
	if s.witness(v.cfg.ID) {
		return witnessRun{}, nil
	}
	switch s.key.cert.Suite {
	case mpc.DKLS23Secp256k1:
		return v.beginECDSA(s)
	case mpc.FROSTEd25519:
		return v.beginFROST(s)
	}
	return nil, benign("sign", fmt.Errorf("this vault signs with no key of suite %q", string(s.key.cert.Suite)))
}

// ecdsaRun is a run of DKLs23. It rests on the pair setups.
type ecdsaRun struct{ *dkls23.Session }

func (v *Vault) beginECDSA(s *signSession) (protocol, error) {
	setups, err := v.setupsOf(s)
	if err != nil {
		return nil, benign("sign", err)
	}
	run, err := dkls23.New(dkls23.Config{
		Key: s.share, Signers: s.signers, Setups: setups, AttemptID: s.attempt,
		RequestHash: s.request, MessageHash: s.prepared.Digests[0], Purpose: s.key.cert.Purpose,
	}, v.sessionRand())
	if err != nil {
		return nil, err
	}
	return ecdsaRun{run}, nil
}

func (r ecdsaRun) Final(r2, private map[mpc.ID][]byte) ([]byte, error) {
	share, err := r.Session.Round3(r2, private)
	if err != nil {
		return nil, err
	}
	return share.MarshalBinary()
}

func (ecdsaRun) Paired() bool { return true }

// setupsOf are the pair setups with the session's peers.
func (v *Vault) setupsOf(s *signSession) (map[mpc.ID]*pair.Setup, error) {
	setups := map[mpc.ID]*pair.Setup{}
	for _, id := range s.cosigners() {
		p := v.peers[id]
		if p.setup == nil {
			return nil, fmt.Errorf("the pair setup with vault %d is not done yet", id)
		}
		setups[id] = p.setup
	}
	return setups, nil
}
