package vault

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/frost"
)

// The ledger quorum (docs/spec/ledger.md). With a key that states faults, more vaults
// take part in the ledger of a signature than sign: the witnesses decide by
// themselves, reserve, send R0, R1 and their certificate, and compute nothing.

// witness says whether a vault takes part without signing.
func (s *signSession) witness(id mpc.ID) bool { return containsID(s.witnesses, id) }

// members are the signers and the witnesses, sorted.
func (s *signSession) members() []mpc.ID {
	ids := slices.Concat(s.signers, s.witnesses)
	slices.Sort(ids)
	return ids
}

// cosigned are the messages of those who sign: all that the protocol's run sees.
func (s *signSession) cosigned(m map[mpc.ID][]byte) map[mpc.ID][]byte {
	if len(s.witnesses) == 0 {
		return m
	}
	out := make(map[mpc.ID][]byte, len(m))
	for id, b := range m {
		if !s.witness(id) {
			out[id] = b
		}
	}
	return out
}

// cosigners are the signers without this vault.
func (s *signSession) cosigners() []mpc.ID {
	return slices.DeleteFunc(slices.Clone(s.peers), s.witness)
}

// attachment reads what a peer has attached to its broadcast of a round.
func (s *signSession) attachment(round int, id mpc.ID) ([]byte, error) {
	b := s.broadcast[round][id]
	if s.witness(id) {
		return decodeWitnessed(b, round)
	}
	return attached(s.key.cert.Suite, round, b)
}

// stating reads the envelope of a peer's R0. A coordinator that gives one attempt id to
// vaults for different keys, or in different parts, makes a peer speak in another form:
// that is nobody's fault here.
func (s *signSession) stating(id mpc.ID) (*envelope, error) {
	b, err := s.attachment(0, id)
	if err == nil {
		var e *envelope
		if e, err = decodeEnvelope(b); err == nil {
			return e, nil
		}
	}
	for _, read := range []func([]byte) ([]byte, error){
		func(b []byte) ([]byte, error) { return decodeWitnessed(b, 0) },
		dkls23.Attachment0,
		func(b []byte) ([]byte, error) { return frost.Attachment(b, 0) },
	} {
		if b, other := read(s.broadcast[0][id]); other == nil {
			if _, other = decodeEnvelope(b); other == nil {
				return nil, benign("sign R0", fmt.Errorf("vault %d was asked for this attempt with another key or in another part: here as one of signers %v, witnesses %v", id, s.signers, s.witnesses))
			}
		}
	}
	return nil, attributed(id, "sign R0", err)
}

// attached reads what a signer has attached to its broadcast; everything else is
// checked by the round that takes it.
func attached(suite mpc.Suite, round int, b []byte) ([]byte, error) {
	switch {
	case suite != mpc.DKLS23Secp256k1:
		return frost.Attachment(b, round)
	case round == 0:
		return dkls23.Attachment0(b)
	case round == 1:
		return dkls23.Attachment1(b)
	}
	return dkls23.Attachment2(b)
}

// witnessRun is the run of a witness: its broadcasts are what it attaches.
type witnessRun struct{}

func encodeWitnessed(round int, attachment []byte) []byte {
	return wire.NewWriter(1).Uint8(uint8(round)).Var(attachment).Bytes()
}

func decodeWitnessed(b []byte, round int) ([]byte, error) {
	r := wire.NewReader(b, 1)
	if n := r.Uint8("round"); r.Err() == nil && int(n) != round {
		r.Failf("round: %d, want %d", n, round)
	}
	a := r.Var("attachment", MaxFrame)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode a witness's message: %w", err)
	}
	return a, nil
}

func (witnessRun) Round0(attachment []byte) ([]byte, error) {
	return encodeWitnessed(0, attachment), nil
}

func (witnessRun) Round1(_ map[mpc.ID][]byte, attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	return encodeWitnessed(1, attachment), nil, nil
}

func (witnessRun) Round2(_, _ map[mpc.ID][]byte, attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	return encodeWitnessed(2, attachment), nil, nil
}

func (witnessRun) Final(_, _ map[mpc.ID][]byte) ([]byte, error) {
	return nil, benign("sign", fmt.Errorf("a witness gives no share"))
}

func (witnessRun) Paired() bool { return false }
func (witnessRun) Destroy()     {}

// witnessed ends a witness's part: its certificate leaves, and what it has reserved
// stays until those who sign have released it.
func (v *Vault) witnessed(s *signSession, r2 []byte) error {
	v.record(&event{Kind: eventFinal, Attempt: s.attempt})
	v.broadcast(innerSign, s.attempt, 2, s.peers, r2, nil)
	v.endSign(s)
	v.reply(s.command, cluster.Reply{Outcome: cluster.OutcomeDone, Certificate: s.cert})
	return nil
}

// decideQuorum checks who is to take part: exactly the key's ledger quorum, this vault
// in it.
func (v *Vault) decideQuorum(s *signSession, c *cluster.Command) *refusal.Refusal {
	s.signers, s.witnesses = toIDs(c.Signers), toIDs(c.Witnesses)
	t, q := s.key.cert.Threshold, s.key.quorum()
	self := containsID(s.signers, v.cfg.ID) || s.witness(v.cfg.ID)
	if len(s.signers) != t || !self {
		return refusal.New("sign.signers", "", fmt.Sprintf("signers %v, witnesses %v", s.signers, s.witnesses), fmt.Sprintf("exactly %d parties of the key %v, this vault (%d) among them or their witnesses", t, s.key.cert.Parties, v.cfg.ID))
	}
	if len(s.witnesses) != q-t || slices.ContainsFunc(s.witnesses, func(id mpc.ID) bool { return containsID(s.signers, id) }) {
		return refusal.New("sign.witnesses", "", fmt.Sprintf("signers %v, witnesses %v", s.signers, s.witnesses),
			fmt.Sprintf("%d other parties of the key as witnesses: its ledger withstands %d corrupt vaults with %d of %d", q-t, s.key.faults(), q, len(s.key.cert.Parties)))
	}
	s.peers = nil
	for _, id := range s.members() {
		if !containsID(s.key.cert.Parties, id) {
			return refusal.New("sign.signers", "", fmt.Sprintf("vault %d holds no share of this key", id), fmt.Sprintf("%d of %v", q, s.key.cert.Parties))
		}
		if id != v.cfg.ID {
			s.peers = append(s.peers, id)
		}
	}
	return nil
}

// equal says that a peer has reserved what this vault has, at the time that its R0
// stated.
func (e *event) equal(own *event, at uint64) bool {
	return e.same(own) && e.Time == at && e.Policy == own.Policy && e.Expires == own.Expires && e.Faults == own.Faults &&
		equalIDs(e.Witnesses, own.Witnesses) && slices.Equal(e.Slots, own.Slots) && string(e.Movement) == string(own.Movement)
}

func movementHash(b []byte) [32]byte { return wire.Hash("coffer/movement/v1", b) }

// sameMembers says that a peer's certificate is of this session's quorum.
func (s *signSession) sameMembers(d *audit.Decision) bool {
	return equalIDs(toIDs(d.Parties), s.signers) && equalIDs(toIDs(d.Witnesses), s.witnesses)
}
