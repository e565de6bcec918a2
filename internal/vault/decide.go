package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/vault/planted"
	"github.com/cofferhq/coffer/mpc"
)

// decide is everything that a vault checks by itself before it takes part in a
// signature: from the bytes that get signed, and the signatures of the people
// who want it, and nothing else. It changes nothing but what is remembered of their
// passkeys' counters.
func (v *Vault) decide(s *signSession, c *cluster.Command) *refusal.Refusal {
	if r := v.decodeRequest(s, c); r != nil {
		return r
	}
	if r := v.decideSigners(s, c); r != nil {
		return r
	}

	// Whether anything is signed now with this key, and for this chain.
	if err := s.gov.CheckSigning(s.key.id, s.bundle.Request.Chain); err != nil {
		return refusal.As(err)
	}

	// Who asked, who approved, what the risk engine said.
	verified, err := s.gov.Roster.CheckBundle(s.bundle, v.clusterID(), v.now)
	if err != nil {
		return refusal.As(err)
	}
	if r := v.seeBundle(s.bundle); r != nil {
		return r
	}

	// What the bytes do, decoded here.
	if r := v.decideTransaction(s, c); r != nil {
		return r
	}

	// What policy says of that.
	s.verified = verified
	if r := v.evaluate(s); r != nil {
		return r
	}
	if r := v.recordMovement(s); r != nil {
		return r
	}

	// Whether another version of the same request may already exist.
	return v.decideVersion(s)
}

func (v *Vault) decodeRequest(s *signSession, c *cluster.Command) *refusal.Refusal {
	b, err := request.DecodeBundle(c.Body)
	if err != nil {
		return refusal.New("bundle.encoding", "", err.Error(), "a canonical bundle")
	}
	s.bundle, s.bundleBytes, s.request = b, c.Body, b.Request.ID()
	s.key = v.keys[b.Request.Wallet]
	if s.key == nil {
		return refusal.New("request.wallet", "", fmt.Sprintf("no wallet with key id %x here", b.Request.Wallet[:8]), "a wallet of this cluster (coffer wallet list)")
	}
	return nil
}

func (v *Vault) decideSigners(s *signSession, c *cluster.Command) *refusal.Refusal {
	if r := v.decideQuorum(s, c); r != nil {
		return r
	}
	// What peers wrote of this attempt does not matter here: they may have reserved
	// before the command came to this vault.
	if v.index.of(s.attempt, v.cfg.ID) != nil || v.signs[s.attempt] != nil {
		return refusal.New("sign.attempt", "", fmt.Sprintf("attempt %x was used before", s.attempt), "a fresh attempt id")
	}
	return nil
}

func (v *Vault) decideTransaction(s *signSession, c *cluster.Command) *refusal.Refusal {
	q := s.bundle.Request
	codec, ok := v.codec(q.Chain)
	if !ok {
		return refusal.New("request.chain", "", fmt.Sprintf("chain %q", q.Chain), "a chain that this vault can read")
	}
	if s.key.scheme() != codec.Scheme() {
		return refusal.New("request.chain", "", fmt.Sprintf("%s takes signatures by %v, this wallet's key is for %s", q.Chain, codec.Scheme(), s.key.cert.Purpose), "a wallet for that chain")
	}
	sender, err := codec.Address(q.Chain, s.key.publicKey())
	if err != nil {
		return refusal.New("request.chain", "", err.Error(), "a chain that this vault can read")
	}
	if sender != q.Sender {
		return refusal.New("request.sender", "", fmt.Sprintf("sender %s is not this wallet", q.Sender), "sender "+sender)
	}
	s.prepared, err = codec.Prepare(q.Chain, q.Sender, q.Intent, q.MaxFee, c.Unsigned, s.gov.Policy.Methods)
	if planted.Bug == planted.Digest && err != nil {
		s.prepared, err = plantedDigest(codec, q, c.Unsigned, s.gov.Policy.Methods)
	}
	if err != nil {
		return refusal.New("transaction", "", err.Error(), "the transaction that was requested, and nothing else")
	}
	if len(s.prepared.Digests) != 1 {
		return refusal.New("transaction", "", fmt.Sprintf("%d signatures are needed", len(s.prepared.Digests)), "one")
	}
	return nil
}

// codeConflict is the refusal of another version.
const codeConflict = "version.conflict"

// decideVersion: a second version of one request is signed only if the chain can
// take one of the two.
func (v *Vault) decideVersion(s *signSession) *refusal.Refusal {
	other := v.index.conflicting(s.request, s.prepared.Digests[0], s.prepared.Slots)
	if other == nil {
		return nil
	}
	return refusal.New(codeConflict, "",
		fmt.Sprintf("this request may already be signed in another version, which uses %v; this one uses %v, so both could happen", other.reserve.Slots, s.prepared.Slots),
		fmt.Sprintf("a version that uses one of %v", other.reserve.Slots))
}

// decision is what goes into the log about an attempt.
func (v *Vault) decision(s *signSession, unsigned []byte, r *refusal.Refusal) audit.Decision {
	d := audit.Decision{
		Attempt: s.attempt, Request: s.request, Bundle: s.bundleBytes, Unsigned: unsigned, Parties: fromIDs(s.signers), Witnesses: fromIDs(s.witnesses),
		R0Hash: s.r0Hash, GovernanceSeq: s.gov.Seq, GovernanceHead: s.gov.Head,
		PolicyRoot: s.gov.Policy.Root(), RosterRoot: s.gov.Roster.Root(),
		LedgerHead: v.ledgers[v.cfg.ID].head().Hash, Time: s.decidedAt,
	}
	d.Limits = s.limits
	if s.key != nil {
		d.Key, d.Epoch = s.key.id, s.key.epoch()
	}
	if r == nil {
		d.Allow, d.Rule, d.Detail, d.Approval = true, s.rule, audit.Clip(s.detail), s.approval
		d.BreakGlass = s.breakGlass
	} else {
		d.Code, d.Rule, d.Detail, d.Fix = r.Code, r.Rule, audit.Clip(r.Detail), audit.Clip(r.Fix)
	}
	return d
}

// checkCertificate verifies that a peer's HSM has signed for the same decision
// in the same session. Without it no final share leaves.
func (v *Vault) checkCertificate(s *signSession, p *peer, b []byte) (*audit.SignedCheckpoint, error) {
	cert, err := audit.DecodeCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("vault %d's decision certificate: %w", p.id, err)
	}
	if err := cert.Verify(v.keysOf(p)); err != nil {
		return nil, fmt.Errorf("vault %d's decision certificate: %w", p.id, err)
	}
	d, own := &cert.Decision, &s.decided
	switch {
	case !d.Allow:
		err = fmt.Errorf("vault %d certifies a refusal: %s", p.id, d.Detail)
	case d.Attempt != own.Attempt || d.Request != own.Request || d.R0Hash != own.R0Hash:
		err = fmt.Errorf("vault %d certifies another session", p.id)
	case d.Key != own.Key || d.Epoch != own.Epoch || !s.sameMembers(d):
		err = fmt.Errorf("vault %d certifies another key, epoch or set of signers", p.id)
	case string(d.Unsigned) != string(own.Unsigned):
		err = fmt.Errorf("vault %d certifies another transaction", p.id)
	case d.GovernanceSeq != own.GovernanceSeq || d.GovernanceHead != own.GovernanceHead || d.PolicyRoot != own.PolicyRoot || d.RosterRoot != own.RosterRoot:
		err = fmt.Errorf("vault %d decided under another policy or roster", p.id)
	default:
		if !s.witness(p.id) {
			err = v.checkApproved(s, p.id, d)
		}
	}
	if err != nil {
		return nil, err
	}
	return &cert.Checkpoint, v.witness(p, cert.Checkpoint.Encode())
}

func attributed(id mpc.ID, step string, err error) *mpc.Abort {
	return &mpc.Abort{Class: mpc.Attributed, Culprits: []mpc.ID{id}, Step: step, Err: err}
}
