package vault

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/pair"
)

// signSession is one attempt at a signature, from the command to the final
// share.
type signSession struct {
	attempt [16]byte
	command uint64
	started uint64

	// What was decided (decide.go).
	bundle      *request.Bundle
	bundleBytes []byte
	request     [32]byte
	prepared    *chain.Prepared
	key         *key
	gov         *governance.State // policy and roster of this session; no session mixes versions
	signers     []mpc.ID
	witnesses   []mpc.ID // of the ledger quorum, without the signers
	peers       []mpc.ID // signers and witnesses without this vault
	movement    []byte   // policy.Movement, encoded: what limits count
	limits      []audit.LimitUse
	breakGlass  bool
	verified    *identity.Verified
	rule        string
	detail      string
	decidedAt   uint64

	share     *dkg.KeyShare // for this session's time; its own unless the key is hot
	borrowed  bool          // the session wipes it
	run       protocol
	envelope  *envelope
	round     uint8 // the round whose messages are being waited for: 0, 1, 2
	broadcast [3]map[mpc.ID][]byte
	private   [3]map[mpc.ID][]byte
	own       [3][]byte // own broadcasts
	busy      bool      // waits for the device; messages are kept
	opening   bool      // for the share
	approving bool      // for the approval key
	approval  signature.Signature
	r0Hash    [32]byte
	decided   audit.Decision
	cert      []byte
	proving   bool              // waits for a peer's proof that its log only grew
	clocks    map[mpc.ID]uint64 // of the peers, when they reserved
}

func (s *signSession) has(id mpc.ID) bool { return containsID(s.peers, id) }

func (s *signSession) waitingFor() string {
	if s.opening {
		return "the device, which opens this vault's share"
	}
	if s.approving {
		return "the device's approval key"
	}
	if s.busy {
		return "the device's signature on the checkpoint"
	}
	if s.proving {
		return "a peer's proof that its log only grew"
	}
	return fmt.Sprintf("R%d of %v", s.round, missing(s.peers, s.broadcast[s.round]))
}

// Bounds of what a coordinator can cause: sessions at once; what waits for a
// checkpoint; the refusals in the log, 64 KB a second and 16 MB at once.
const (
	maxSessions       = 128
	maxWaiting        = 2 * maxSessions
	refusalBytesPerMs = 64
	refusalBurst      = 256_000 // milliseconds' worth
)

// sign is the command: decide, reserve, R0.
func (v *Vault) sign(id uint64, c *cluster.Command) {
	if len(v.signs) >= maxSessions {
		v.reply(id, abortReply(benign("sign", fmt.Errorf("%d sessions run already", maxSessions))))
		return
	}
	if len(v.waiters) >= maxWaiting || v.refusals.spent(v.now, refusalBurst) {
		// Every refusal is logged: what could not be logged is not looked at.
		v.reply(id, abortReply(benign("sign", errors.New("too much is refused or waits for the device: retry later"))))
		return
	}
	if err := v.mayGrow(); err != nil {
		v.reply(id, abortReply(benign("sign", err)))
		return
	}
	s := &signSession{attempt: c.Attempt, command: id, started: v.now, decidedAt: v.now, gov: v.gov}
	if r := v.decide(s, c); r != nil {
		if r.Code == codeConflict || len(s.limits) > 0 {
			v.askLedgers(s)
		}
		v.refuseSign(s, c, r)
		return
	}
	if err := v.maySign(s.key); err != nil {
		v.reply(id, abortReply(benign("sign", err)))
		return
	}
	s.clocks = map[mpc.ID]uint64{}
	for i := range s.broadcast {
		s.broadcast[i], s.private[i] = map[mpc.ID][]byte{}, map[mpc.ID][]byte{}
	}
	if s.witness(v.cfg.ID) { // no share, and no approval that would free one
		v.reserve(s)
		v.advanceSign(s)
		return
	}
	if card := s.gov.Approves(uint16(v.cfg.ID), s.key.id, s.key.made.tier); card != nil {
		v.approve(s, c, card)
		return
	}
	v.takeShare(s, c)
}

// takeShare goes on with the share, once all that can be decided here is decided.
func (v *Vault) takeShare(s *signSession, c *cluster.Command) {
	if s.key.held.sealed() {
		v.openForSign(s, c)
		return
	}
	s.share = s.key.held.share
	v.reserve(s)
	v.advanceSign(s)
}

// openForSign has the device open the share. Nothing is reserved before that, and
// what holds is decided once more after it: a cold key's operator may have taken
// minutes.
func (v *Vault) openForSign(s *signSession, c *cluster.Command) {
	s.busy, s.opening = true, true
	v.signs[s.attempt] = s
	v.replayEarly(innerSign, s.attempt)
	k := s.key
	v.lend(k, func(share *dkg.KeyShare, own bool, err error) {
		if v.signs[s.attempt] != s {
			if own {
				share.Destroy()
			}
			return
		}
		delete(v.signs, s.attempt)
		s.busy, s.opening, s.share, s.borrowed = false, false, share, own
		if err != nil {
			v.reply(s.command, abortReply(benign("sign", err)))
			return
		}
		s.gov, s.decidedAt = v.gov, v.now
		if r := v.decide(s, c); r != nil {
			s.giveBack()
			v.refuseSign(s, c, r)
			return
		}
		err = v.maySign(s.key)
		if s.key != k {
			err = errors.New("the wallet went to another epoch meanwhile: retry")
		}
		if err != nil {
			s.giveBack()
			v.reply(s.command, abortReply(benign("sign", err)))
			return
		}
		v.reserve(s)
		v.advanceSign(s)
	})
}

// giveBack wipes a share that the device opened for this session.
func (s *signSession) giveBack() {
	if s.borrowed && s.share != nil {
		s.share.Destroy()
	}
	s.share = nil
}

// reserve begins the run: the reservation, then R0.
func (v *Vault) reserve(s *signSession) {
	var err error
	if s.run, err = v.begin(s); err != nil {
		s.giveBack()
		v.reply(s.command, abortReply(asAbort("sign", err)))
		return
	}
	v.signs[s.attempt] = s

	// The reservation is durable before R0 leaves.
	v.record(&event{
		Kind: eventReserve, Attempt: s.attempt, Request: s.request, Key: s.key.id, Parties: s.signers,
		Policy: s.gov.Policy.Root(), Digest: s.prepared.Digests[0], Slots: s.prepared.Slots, Expires: s.bundle.Request.Expires,
		Witnesses: s.witnesses, Faults: uint16(s.key.faults()), Movement: s.movement,
	})
	for _, id := range s.peers {
		v.show(v.peers[id], false)
	}
	s.envelope = v.envelope(s)
	b, err := s.run.Round0(s.envelope.encode())
	if err != nil {
		v.abortSign(s, asAbort("sign R0", err))
		return
	}
	s.own[0] = b
	v.broadcast(innerSign, s.attempt, 0, s.peers, b, nil)
	v.replayEarly(innerSign, s.attempt)
}

// refuseSign logs the refusal and answers once the HSM's signature covers it.
func (v *Vault) refuseSign(s *signSession, c *cluster.Command, r *refusal.Refusal) {
	if s.bundle == nil || s.key == nil {
		// Nothing that names a wallet of ours: no decision was made, and a stranger
		// cannot fill the log.
		v.refuse(s.command, r)
		return
	}
	d := v.decision(s, c.Unsigned, r)
	v.refusals.force(v.now, uint64(len(d.Bundle)+len(d.Unsigned))/refusalBytesPerMs)
	index := v.appendDecision(&d)
	v.covered(func(cp *audit.SignedCheckpoint, err error) {
		reply := cluster.Reply{Outcome: cluster.OutcomeRefused, Refusal: r.Encode()}
		if err == nil {
			if cert, err := audit.Certify(v.log, &d, index, cp); err == nil {
				reply.Certificate = cert.Encode()
			}
		}
		v.reply(s.command, reply)
	})
}

// onSign takes a peer's message of a signing session.
func (v *Vault) onSign(p *peer, in *inner) {
	s := v.signs[in.Attempt]
	if s == nil {
		v.keepEarly(p, in)
		return
	}
	if !s.has(p.id) || in.Round > 2 {
		return
	}
	if old, dup := s.broadcast[in.Round][p.id]; dup {
		if string(old) != string(in.Broadcast) {
			v.abortSign(s, attributed(p.id, fmt.Sprintf("sign R%d", in.Round), errors.New("two different broadcasts of one round, both signed")))
		}
		return
	}
	s.broadcast[in.Round][p.id] = in.Broadcast
	s.private[in.Round][p.id] = in.Private
	v.advanceSign(s)
}

// advanceSign runs the rounds whose messages are all there.
func (v *Vault) advanceSign(s *signSession) {
	for v.signs[s.attempt] == s && !s.busy && !s.proving && len(s.broadcast[s.round]) == len(s.peers) {
		var err error
		switch s.round {
		case 0:
			err = v.signR1(s)
		case 1:
			err = v.signDecide(s)
		case 2:
			err = v.signFinal(s)
		}
		if err != nil {
			v.abortSign(s, asAbort(fmt.Sprintf("sign, on R%d", s.round), err))
			return
		}
	}
}

// signR1: every R0 is there. They must agree; then R1 with what the peers do not
// know yet of this vault's ledger.
func (v *Vault) signR1(s *signSession) error {
	from := v.ledgers[v.cfg.ID].head().Seq
	for _, id := range s.peers {
		e, err := s.stating(id)
		if err != nil {
			return err
		}
		if err := v.agree(s, v.peers[id], e); err != nil {
			return benign("sign R0", err)
		}
		known, err := v.stated(e)
		if err != nil {
			return benign("sign R0", err)
		}
		from = min(from, known)
		v.compareHeads(v.peers[id], e.Heads)
		s.clocks[id] = e.Clock
	}
	s.r0Hash = hashR0(s, v.cfg.ID)
	b, private, err := s.run.Round1(s.cosigned(s.broadcast[0]), v.ledgers[v.cfg.ID].deltaFrom(from).encode())
	if errors.Is(err, pair.ErrExhausted) {
		for _, id := range s.peers { // which of them does not matter: it happens once in half a million signatures
			v.startPairing(v.peers[id], v.peers[id].pairAttempt+1)
		}
	}
	if err != nil {
		return err
	}
	s.own[1], s.round = b, 1
	for _, id := range s.peers {
		v.peers[id].told = max(v.peers[id].told, v.ledgers[v.cfg.ID].head().Seq)
	}
	v.broadcast(innerSign, s.attempt, 1, s.peers, b, private)
	return nil
}

// stated is how far a peer says it knows this vault's ledger.
func (v *Vault) stated(e *envelope) (uint64, error) {
	for _, h := range e.Heads {
		if h.Party != v.cfg.ID {
			continue
		}
		if known, ok := v.ledgers[v.cfg.ID].hashAt(h.Seq); !ok || known != h.Hash {
			return 0, fmt.Errorf("a peer knows another history of vault %d's ledger at event %d: this vault's disk may have been rolled back", v.cfg.ID, h.Seq)
		}
		return h.Seq, nil
	}
	return 0, fmt.Errorf("a peer states no head of vault %d's ledger", v.cfg.ID)
}

// hashR0 is H(all R0), the same at every member.
func hashR0(s *signSession, self mpc.ID) [32]byte {
	items := make([][]byte, 0, 1+len(s.peers))
	for _, id := range s.members() {
		if id == self {
			items = append(items, s.own[0])
		} else {
			items = append(items, s.broadcast[0][id])
		}
	}
	return wire.Hash("coffer/r0/v1", items...)
}

// signDecide: every R1 is there. The ledgers of all signers are known up to
// their reservations of this request; on their union the last word is said. The
// Decision goes into the log, and R2 waits until the HSM has signed for it.
func (v *Vault) signDecide(s *signSession) error {
	for _, id := range s.peers {
		b, err := s.attachment(1, id)
		if err != nil {
			return attributed(id, "sign R1", err)
		}
		d, err := decodeDelta(b)
		if err != nil {
			return attributed(id, "sign R1", err)
		}
		if err := v.adoptOrReport(v.peers[id], d); err != nil {
			return benign("sign R1", err)
		}
		if v.ledgers[id].head().Seq < d.Head.Seq {
			v.askLedger(v.peers[id])
			return benign("sign R1", fmt.Errorf("vault %d's ledger is not known up to its R1 yet: retry", id))
		}
		if err := v.checkReservation(s, id); err != nil {
			return err
		}
	}
	if r := v.decideVersion(s); r != nil {
		v.askLedgers(s)
		return v.refuseLate(s, r)
	}
	if r := v.decideLimits(s); r != nil {
		v.askLedgers(s)
		return v.refuseLate(s, r)
	}
	// What the peers have shown is durable before R2 leaves.
	for _, id := range s.peers {
		v.saveWitness(v.peers[id])
	}
	s.decided = v.decision(s, s.prepared.Canonical, nil)
	index := v.appendDecision(&s.decided)
	if s.decided.BreakGlass {
		v.note("BREAK-GLASS: a rule for emergencies allows this request", "request", hex.EncodeToString(s.request[:8]), "rule", s.decided.Rule, "initiator", s.bundle.Request.Initiator)
	}
	s.busy, s.round = true, 2
	v.covered(func(cp *audit.SignedCheckpoint, err error) {
		if v.signs[s.attempt] != s {
			return
		}
		s.busy = false
		if err == nil {
			err = v.signR2(s, index, cp)
		}
		if err != nil {
			v.abortSign(s, asAbort("sign R2", err))
			return
		}
		v.advanceSign(s)
	})
	return nil
}

// checkReservation: what a peer's ledger says of this attempt must be what its R0
// said, or the others would count something else.
func (v *Vault) checkReservation(s *signSession, id mpc.ID) error {
	own, q := v.index.of(s.attempt, v.cfg.ID), v.index.of(s.attempt, id)
	switch {
	case q == nil:
		v.askLedger(v.peers[id])
		return benign("sign R1", fmt.Errorf("vault %d's ledger is not known up to its reservation yet: retry", id))
	case q.status != statusReserved:
		return benign("sign R1", fmt.Errorf("vault %d has ended this attempt already", id))
	case !q.reserve.equal(&own.reserve, s.clocks[id]):
		return attributed(id, "sign R1", fmt.Errorf("vault %d has reserved something else than it said in R0", id))
	}
	return nil
}

// askLedgers: what a peer has reserved it may have released since. Nobody tells
// that by itself, and a vault that refuses begins no session in which it would
// hear it: so it asks, and the next attempt finds the answer.
func (v *Vault) askLedgers(s *signSession) {
	for _, id := range s.key.cert.Parties {
		if p := v.peers[id]; p != nil && p.confirmed && v.now-p.askedLedger >= ledgerEvery {
			v.askLedger(p)
		}
	}
}

// refuseLate is a refusal that only the union of the ledgers could show.
func (v *Vault) refuseLate(s *signSession, r *refusal.Refusal) error {
	v.endSign(s)
	v.refuseSign(s, &cluster.Command{Unsigned: s.prepared.Canonical}, r)
	return nil
}

// signR2: the HSM has signed for the Decision. R2 carries the certificate.
func (v *Vault) signR2(s *signSession, index uint64, cp *audit.SignedCheckpoint) error {
	cert, err := audit.Certify(v.log, &s.decided, index, cp)
	if err != nil {
		return err
	}
	s.cert = cert.Encode()
	b, private, err := s.run.Round2(s.cosigned(s.broadcast[1]), s.cosigned(s.private[1]), s.cert)
	if err != nil {
		return err
	}
	s.own[2] = b
	for _, id := range s.peers {
		v.show(v.peers[id], false)
	}
	if s.witness(v.cfg.ID) {
		return v.witnessed(s, b)
	}
	v.broadcast(innerSign, s.attempt, 2, s.peers, b, private)
	return nil
}

// signFinal: every R2 is there. No final share leaves before every peer's
// certificate verifies, nor before it is durable that it may have left.
func (v *Vault) signFinal(s *signSession) error {
	var witnessed []audit.SignedCheckpoint
	for _, id := range s.peers {
		b, err := s.attachment(2, id)
		if err != nil {
			return attributed(id, "sign R2", err)
		}
		cp, err := v.checkCertificate(s, v.peers[id], b)
		if err != nil {
			return attributed(id, "sign R2", err)
		}
		witnessed = append(witnessed, *cp)
		s.proving = v.unproven(v.peers[id], cp.Size) || s.proving
	}
	if s.proving {
		return nil
	}
	for _, id := range s.peers {
		v.saveWitness(v.peers[id])
	}
	share, err := s.run.Final(s.cosigned(s.broadcast[2]), s.cosigned(s.private[2]))
	if err != nil {
		return err
	}
	v.record(&event{Kind: eventFinal, Attempt: s.attempt})
	v.plantedRelease(s.attempt)
	o := audit.Outcome{Attempt: s.attempt, Request: s.request, Stage: audit.StageReleased, Witnessed: witnessed}
	v.appendLog(audit.KindOutcome, o.Encode())
	v.endSign(s)
	v.reply(s.command, cluster.Reply{Outcome: cluster.OutcomeDone, Body: share, Certificate: s.cert})
	return nil
}

// endSign wipes a session. What it had reserved and not authorised is released.
func (v *Vault) endSign(s *signSession) {
	delete(v.signs, s.attempt)
	if s.run != nil {
		s.run.Destroy()
	}
	s.giveBack()
	if p := v.index.of(s.attempt, v.cfg.ID); p != nil && p.status == statusReserved {
		v.release(s.attempt)
	}
}

// abortSign ends a session without a signature.
func (v *Vault) abortSign(s *signSession, a *mpc.Abort) {
	if v.signs[s.attempt] != s {
		return
	}
	v.endSign(s)
	v.blameFor(a, s.key.id, s.key.epoch())
	if a.Class != mpc.Benign {
		o := audit.Outcome{Attempt: s.attempt, Request: s.request, Stage: audit.StageAborted, Detail: audit.Clip(a.Step + ": " + a.Err.Error()), Culprits: fromIDs(a.Culprits)}
		v.appendLog(audit.KindOutcome, o.Encode())
	}
	v.reply(s.command, abortReply(a))
}
