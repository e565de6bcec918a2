package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// envelope is what a vault states with its R0 (ARCHITECTURE.md §2): everything
// that the signers must agree on before a secret is used, and what it holds of
// the others' ledgers. The protocol's own R0 carries the hashes of the pair
// setups.
type envelope struct {
	Attempt        [16]byte
	Clock          uint64
	Request        [32]byte
	Digest         [32]byte
	Key            [32]byte
	Epoch          uint32
	Signers        []mpc.ID
	Witnesses      []mpc.ID
	Movement       [32]byte // hash of what the reservation says that is moved
	GovernanceSeq  uint64
	GovernanceHead [32]byte
	PolicyRoot     [32]byte
	RosterRoot     [32]byte
	InForce        [32]byte     // all of the governance that is in force (State.InForce)
	Heads          []ledgerHead // of each party, own included
	Checkpoint     []byte       // audit.SignedCheckpoint
}

const envelopeVersion = 2

func (e *envelope) encode() []byte {
	w := wire.NewWriter(envelopeVersion).Fixed(e.Attempt[:]).Uint64(e.Clock).Fixed(e.Request[:]).Fixed(e.Digest[:])
	w.Fixed(e.Key[:]).Uint32(e.Epoch)
	writeParties(w, e.Signers)
	writeParties(w, e.Witnesses)
	w.Fixed(e.Movement[:])
	w.Uint64(e.GovernanceSeq).Fixed(e.GovernanceHead[:]).Fixed(e.PolicyRoot[:]).Fixed(e.RosterRoot[:]).Fixed(e.InForce[:])
	writeHeads(w, e.Heads)
	return w.Var(e.Checkpoint).Bytes()
}

func decodeEnvelope(b []byte) (*envelope, error) {
	r := wire.NewReader(b, envelopeVersion)
	e := &envelope{}
	r.Into("attempt", e.Attempt[:])
	e.Clock = r.Uint64("clock")
	r.Into("request", e.Request[:])
	r.Into("digest", e.Digest[:])
	r.Into("key", e.Key[:])
	e.Epoch = r.Uint32("epoch")
	e.Signers, e.Witnesses = readParties(r, "signers"), readParties(r, "witnesses")
	r.Into("movement", e.Movement[:])
	e.GovernanceSeq = r.Uint64("governance seq")
	r.Into("governance head", e.GovernanceHead[:])
	r.Into("policy root", e.PolicyRoot[:])
	r.Into("roster root", e.RosterRoot[:])
	r.Into("in force", e.InForce[:])
	e.Heads = readHeads(r)
	e.Checkpoint = r.Var("checkpoint", 4096)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode R0 envelope: %w", err)
	}
	return e, nil
}

func (v *Vault) envelope(s *signSession) *envelope {
	return &envelope{
		Attempt: s.attempt, Clock: v.now, Request: s.request, Digest: s.prepared.Digests[0],
		Key: s.key.id, Epoch: s.key.epoch(), Signers: s.signers, Witnesses: s.witnesses, Movement: movementHash(s.movement),
		GovernanceSeq: s.gov.Seq, GovernanceHead: s.gov.Head,
		PolicyRoot: s.gov.Policy.Root(), RosterRoot: s.gov.Roster.Root(), InForce: s.gov.InForce(),
		Heads: v.heads(), Checkpoint: v.checkpointBytes(),
	}
}

func (v *Vault) checkpointBytes() []byte {
	if v.checkpoint == nil {
		return nil
	}
	return v.checkpoint.Encode()
}

// agree checks a peer's envelope against this vault's own. A difference is
// nobody's fault: the attempt ends, and says what to bring in line.
func (v *Vault) agree(s *signSession, p *peer, e *envelope) error {
	own := s.envelope
	switch {
	case e.Attempt != own.Attempt:
		return fmt.Errorf("vault %d speaks of another attempt", p.id)
	case e.Request != own.Request:
		return fmt.Errorf("vault %d was asked to sign another request, %x; here it is %x", p.id, e.Request[:8], own.Request[:8])
	case e.Digest != own.Digest:
		return fmt.Errorf("vault %d was given another transaction for this request", p.id)
	case e.Key != own.Key || e.Epoch != own.Epoch:
		return fmt.Errorf("vault %d would sign with another key or epoch", p.id)
	case !equalIDs(e.Signers, own.Signers):
		return fmt.Errorf("vault %d was given other signers, %v; here they are %v", p.id, e.Signers, own.Signers)
	case !equalIDs(e.Witnesses, own.Witnesses):
		return fmt.Errorf("vault %d was given other witnesses, %v; here they are %v", p.id, e.Witnesses, own.Witnesses)
	case e.GovernanceSeq != own.GovernanceSeq || e.GovernanceHead != own.GovernanceHead:
		return fmt.Errorf("vault %d is at governance change %d, this vault at %d: bring the one that lags up to date", p.id, e.GovernanceSeq, own.GovernanceSeq)
	case e.PolicyRoot != own.PolicyRoot || e.RosterRoot != own.RosterRoot:
		return fmt.Errorf("vault %d holds another policy or roster", p.id)
	case e.InForce != own.InForce:
		return fmt.Errorf("at vault %d another part of the same changes is in force: one of the two heard of a change later and waits for its time (coffer changes)", p.id)
	}
	if e.Movement != own.Movement {
		return fmt.Errorf("vault %d counts this request otherwise: it was given other prices", p.id)
	}
	if skew := distance(e.Clock, v.now); skew > maxSkew {
		return fmt.Errorf("vault %d's clock differs by %d ms, at most %d: set the clocks", p.id, skew, maxSkew)
	}
	return v.witness(p, e.Checkpoint)
}

func distance(a, b uint64) uint64 {
	if a > b {
		return a - b
	}
	return b - a
}

func (v *Vault) keysOf(p *peer) audit.Keys {
	return audit.Keys{Cluster: v.clusterID(), Vault: uint16(p.id), Decision: p.decision, Log: p.log}
}

func equalIDs(a, b []mpc.ID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
