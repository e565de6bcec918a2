package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/handover"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// handoverSession is this vault's part in one attempt at a key's next epoch: the
// dealing, if it takes part in that, and the wait for the epoch to begin.
type handoverSession struct {
	attempt [16]byte
	command uint64
	started uint64
	plan    handover.Plan
	id      [32]byte
	m       *handover.Machine
	order   *governance.Order
	old     *dkg.Certificate
	peers   []mpc.ID // in the dealing
	run     *lifecycle.Session
	round   uint8 // of the dealing that is being waited for; 4: it is done
	got     [4]map[mpc.ID][]byte

	opening  bool              // of this vault's share, by the device
	early    []earlyFrame      // that came meanwhile
	tier     governance.Tier   // of the key; for who does not know it, the one that waits longest
	made     map[mpc.ID]making // as the dealers say
	out      *lifecycle.Output // of the dealing, until the share rests
	share    *dkg.KeyShare     // a dealer's
	borrowed bool              // the device opened it for this dealing
}

func (s *handoverSession) has(id mpc.ID) bool { return containsID(s.peers, id) }

func (s *handoverSession) waitingFor() string {
	if s.opening {
		return "the device, which opens this vault's share"
	}
	if s.run != nil && s.round == 4 && s.out != nil {
		return fmt.Sprintf("the custody tier of the key, from %v", missing(s.plan.Dealers, s.made))
	}
	if s.run != nil && s.round < 4 {
		return fmt.Sprintf("round %d of the dealing, from %v", s.round, missing(s.peers, s.got[s.round]))
	}
	for _, p := range s.m.Progress() {
		if p.Plan.ID() == s.id {
			return fmt.Sprintf("%s of %v", p.Step, p.Waiting)
		}
	}
	return "nobody"
}

// handover is the command: an order of the admins is carried out.
func (v *Vault) handover(id uint64, c *cluster.Command) {
	h, err := cluster.DecodeHandover(c.Body)
	if err != nil {
		v.refuse(id, refusal.New("handover.encoding", "", err.Error(), "a canonical handover command"))
		return
	}
	order, ok := v.gov.FindOrder(h.Order)
	if !ok {
		v.reply(id, abortReply(benign("handover", fmt.Errorf("no change %x with an order is in force here: bring this vault up to date", h.Order[:8]))))
		return
	}
	if err := v.mayVote(); err != nil {
		v.reply(id, abortReply(benign("handover", err)))
		return
	}
	k := v.keys[order.Key]
	if k != nil && k.name != order.Name {
		v.refuse(id, refusal.New("handover.name", "", fmt.Sprintf("the order calls key %x %q, here it is %q", order.Key[:8], order.Name, k.name), "the wallet's name"))
		return
	}
	if other := v.keyNamed(order.Name); k == nil && other != nil {
		v.refuse(id, refusal.New("handover.name", "", fmt.Sprintf("wallet %q is key %x here", order.Name, other.id[:8]), "another name"))
		return
	}
	if k != nil && k.cert.Epoch > order.Epoch {
		v.fulfilled(id, order, k)
		return
	}
	switch order.Action {
	case governance.Abandon, governance.Erase:
		v.endEpochs(id, order)
		return
	case governance.SetTier:
		v.setTier(id, k)
		return
	}
	if err := v.startHandover(id, c, order, k, h.Certificate); err != nil {
		if r := refusal.As(err); r != nil {
			v.refuse(id, r)
			return
		}
		v.reply(id, abortReply(asAbort("handover", err)))
	}
}

// fulfilled answers an order whose epoch has ended.
func (v *Vault) fulfilled(id uint64, o *governance.Order, k *key) {
	switch o.Action {
	case governance.Erase:
		v.endEpochs(id, o)
		return
	case governance.SetTier:
		v.setTier(id, k)
		return
	}
	if k.cert.Epoch == o.Epoch+1 && o.Action != governance.Abandon {
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone, Body: k.cert.Encode()})
		return
	}
	v.refuse(id, refusal.New("handover.epoch", "", fmt.Sprintf("the order is for epoch %d, the wallet is in epoch %d", o.Epoch, k.cert.Epoch), "an order for the present epoch"))
}

// endEpochs carries out the two orders that only end something.
func (v *Vault) endEpochs(id uint64, o *governance.Order) {
	m, err := v.machine(o.Key)
	if err != nil {
		v.reply(id, failed(err))
		return
	}
	if o.Action == governance.Erase {
		v.carryOut(o.Key, m, m.Erase())
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
		return
	}
	for _, p := range m.Progress() {
		if p.Plan.From != o.Epoch || p.Committed {
			continue
		}
		out, err := m.Abandon(p.Plan.ID())
		if err != nil {
			v.reply(id, abortReply(benign("handover", err)))
			return
		}
		v.carryOut(o.Key, m, out)
	}
	v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
}

// planOf is what an order comes to with the key's present certificate.
func planOf(o *governance.Order, cert *dkg.Certificate, dealers []mpc.ID, attempt [16]byte) handover.Plan {
	p := handover.Plan{
		Key: o.Key, From: cert.Epoch, Previous: cert.Digest(), Old: cert.Parties, OldThreshold: cert.Threshold,
		Dealers: dealers, New: cert.Parties, NewThreshold: cert.Threshold, Order: o.Hash, Attempt: attempt,
	}
	if o.Action == governance.Reshare {
		p.New, p.NewThreshold = toIDs(o.Parties), int(o.Threshold)
	}
	return p
}

// checkPlan says whether a plan is what its order says.
func checkPlan(p *handover.Plan, o *governance.Order) error {
	ok := p.Key == o.Key && p.From == o.Epoch && p.Previous == o.Certificate && p.Order == o.Hash
	switch o.Action {
	case governance.Refresh:
		ok = ok && equalIDs(p.New, p.Old) && p.NewThreshold == p.OldThreshold
	case governance.Reshare:
		ok = ok && equalIDs(p.New, toIDs(o.Parties)) && p.NewThreshold == int(o.Threshold)
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("the plan is not what change %d orders: %s of wallet %q in epoch %d", o.Seq, o.Action, o.Name, o.Epoch)
	}
	return nil
}

func (v *Vault) startHandover(id uint64, c *cluster.Command, o *governance.Order, k *key, certificate []byte) error {
	cert, err := v.oldCertificate(o, k, certificate)
	if err != nil {
		return err
	}
	m, err := v.machine(o.Key)
	if err != nil {
		return err
	}
	s := &handoverSession{attempt: c.Attempt, command: id, started: v.now, order: o, old: cert, m: m}
	s.plan = planOf(o, cert, toIDs(c.Signers), c.Attempt)
	if s.tier = governance.TierCold; k != nil {
		s.tier = v.tierOf(o.Key, k.made.tier)
	}
	s.id = s.plan.ID()
	if err := s.plan.Check(); err != nil {
		return refusal.New("handover.plan", "", err.Error(), "dealers who hold shares, as many as sign")
	}
	if err := v.mayLeave(&s.plan); err != nil {
		return err
	}
	if err := v.mayHandOver(s); err != nil {
		return err
	}
	out, err := m.Join(&s.plan, containsID(s.plan.Dealers, v.cfg.ID))
	if err != nil {
		return err
	}
	v.restate(&s.plan)
	v.carryOut(o.Key, m, out)
	v.handovers[c.Attempt], v.begun[c.Attempt] = s, true
	if !containsID(s.plan.Dealers, v.cfg.ID) && !containsID(s.plan.New, v.cfg.ID) {
		return nil // it leaves, and only has to close the epoch
	}
	if k == nil || !k.holds() || !containsID(s.plan.Dealers, v.cfg.ID) {
		v.dealOrAbort(s, cert, k)
		return nil
	}
	// What comes meanwhile waits, for the time that a cold key's operator has.
	s.opening = true
	v.lend(k, func(share *dkg.KeyShare, own bool, err error) {
		if v.handovers[c.Attempt] != s {
			if own {
				share.Destroy()
			}
			return
		}
		s.opening, s.share, s.borrowed = false, share, own
		if err != nil {
			v.abortHandover(s, benign("handover", err))
			return
		}
		v.dealOrAbort(s, cert, k)
		for _, f := range s.early {
			if v.handovers[c.Attempt] == s && v.peers[f.from] != nil {
				v.onHandover(v.peers[f.from], f.in)
			}
		}
		s.early = nil
	})
	return nil
}

func (v *Vault) dealOrAbort(s *handoverSession, cert *dkg.Certificate, k *key) {
	if err := v.deal(s, cert, k); err != nil {
		v.abortHandover(s, asAbort("handover", err))
	}
}

// oldCertificate is that of the epoch which ends. The order names it: by that, and
// by the signatures of all its parties, a newcomer knows it; who holds a share of
// that epoch has its own.
func (v *Vault) oldCertificate(o *governance.Order, k *key, b []byte) (*dkg.Certificate, error) {
	cert, err := (*dkg.Certificate)(nil), error(nil)
	if k != nil && k.cert.Epoch == o.Epoch {
		cert = k.cert
	} else {
		cert, err = dkg.DecodeCertificate(b)
	}
	switch {
	case err != nil:
	case cert.Digest() != o.Certificate:
		err = fmt.Errorf("it has the digest %x, the order is about certificate %x", cert.Digest(), o.Certificate)
	case cert.KeyID() != o.Key || cert.Epoch != o.Epoch:
		err = fmt.Errorf("it is of key %x in epoch %d, the order of key %x in epoch %d", cert.KeyID(), cert.Epoch, o.Key, o.Epoch)
	default:
		err = cert.Complete(v.verifyCertificate)
	}
	if err != nil {
		return nil, refusal.New("handover.certificate", "", err.Error(), "the certificate of the wallet's present epoch")
	}
	return cert, nil
}

// mayHandOver ends what is left of earlier attempts, where this vault may.
func (v *Vault) mayHandOver(s *handoverSession) error {
	if v.begun[s.attempt] {
		return errors.New("this attempt was used before: take a fresh attempt id")
	}
	if len(v.handovers) >= maxKeygens || len(v.begun) >= maxBegun {
		return fmt.Errorf("%d handovers run and %d sessions were begun since the start: end some, or restart the vault", len(v.handovers), len(v.begun))
	}
	for _, a := range sortedAttempts(v.handovers) {
		// The newest attempt counts, or vaults that were asked at different times would
		// wait for each other in turn.
		if x := v.handovers[a]; x != nil && x.plan.Key == s.plan.Key {
			v.abortHandover(x, benign("handover", fmt.Errorf("overtaken by another attempt, while it waited for %s", x.waitingFor())))
		}
	}
	for _, p := range s.m.Progress() {
		if p.Committed || p.Aborted || p.Plan.From != s.plan.From {
			continue
		}
		out, err := s.m.GiveUp(p.Plan.ID())
		if err != nil && containsID(p.Plan.New, v.cfg.ID) {
			return fmt.Errorf("an earlier attempt may be complete elsewhere: it waits for %s of %v", p.Step, p.Waiting)
		}
		v.carryOut(s.plan.Key, s.m, out)
	}
	return nil
}

// deal begins the dealing.
func (v *Vault) deal(s *handoverSession, cert *dkg.Certificate, k *key) error {
	cfg := lifecycle.Config{
		Kind: lifecycle.Reshare, Self: v.cfg.ID, Certificate: cert, VerifyCertificate: v.verifyCertificate,
		Dealers: s.plan.Dealers, Parties: s.plan.New, Threshold: s.plan.NewThreshold,
		Identities: map[mpc.ID][]byte{v.cfg.ID: v.cfg.Identity.Bytes()}, AttemptID: s.attempt,
		Sign:   func(d [32]byte) []byte { return v.signSession(dkgStatement(d)).Bytes },
		Verify: v.verifyDealt,
	}
	if s.order.Action == governance.Refresh {
		cfg.Kind = lifecycle.Refresh
	}
	cfg.Share = s.share
	for _, id := range append(slices.Clone(s.plan.Dealers), s.plan.New...) {
		if id == v.cfg.ID || s.has(id) {
			continue
		}
		p, err := v.partner(id)
		if err != nil {
			return err
		}
		cfg.Identities[id] = p.identity.Bytes()
		s.peers = append(s.peers, id)
	}
	slices.Sort(s.peers)
	for i := range s.got {
		s.got[i] = map[mpc.ID][]byte{}
	}
	var err error
	if s.run, err = lifecycle.New(cfg, v.rand); err != nil {
		return err
	}
	b, err := s.run.Round0()
	if err != nil {
		return err
	}
	v.broadcast(innerHandover, s.attempt, 0, s.peers, b, nil)
	v.replayEarly(innerHandover, s.attempt)
	return nil
}

// onHandover takes a peer's message of a dealing.
func (v *Vault) onHandover(p *peer, in *inner) {
	s := v.handovers[in.Attempt]
	if s == nil {
		v.keepEarly(p, in)
		return
	}
	if s.opening && in.Round == 0 && len(s.early) < maxEarly {
		s.early = append(s.early, earlyFrame{v.now, p.id, in})
	}
	if in.Round == roundTier {
		v.onTier(s, p, in.Private)
		return
	}
	if !s.has(p.id) || in.Round > 3 || s.round > 3 {
		return
	}
	msg := in.Broadcast
	if in.Round == 3 {
		msg = in.Private
	}
	if old, dup := s.got[in.Round][p.id]; dup {
		if string(old) != string(msg) {
			v.abortHandover(s, attributed(p.id, fmt.Sprintf("handover round %d", in.Round), errors.New("two different messages of one round")))
		}
		return
	}
	s.got[in.Round][p.id] = msg
	v.advanceHandover(s)
}

// advanceHandover runs the rounds whose messages are all there.
func (v *Vault) advanceHandover(s *handoverSession) {
	for v.handovers[s.attempt] == s && s.round < 4 && len(s.got[s.round]) == len(s.peers) {
		var b []byte
		var private map[mpc.ID][]byte
		var out *lifecycle.Output
		var err error
		switch s.round {
		case 0:
			b, err = s.run.Round1(s.got[0])
		case 1:
			b, err = s.run.Round2(s.got[1])
		case 2:
			private, err = s.run.Round3(s.got[2])
		case 3:
			out, err = s.run.Finish(s.got[3])
		}
		if err == nil {
			s.round++
			if s.round < 4 {
				v.broadcast(innerHandover, s.attempt, s.round, s.peers, b, private)
				v.tellTier(s)
			} else {
				s.wipe()
				s.out = out
				err = v.restShare(s)
			}
		}
		for _, m := range private {
			secret.Wipe(m)
		}
		if err != nil {
			v.abortHandover(s, asAbort("handover", err))
			return
		}
	}
}

// patienceWith is how long a handover may wait. Who does not know the key's tier
// waits as for a cold one, but not when another has given up already.
func (v *Vault) patienceWith(s *handoverSession) uint64 {
	for _, p := range s.m.Progress() {
		if p.Plan.ID() == s.id && p.Aborted {
			return maxSession
		}
	}
	return patience(s.tier)
}

func (s *handoverSession) wipe() {
	for i := range s.got {
		for _, m := range s.got[i] {
			secret.Wipe(m)
		}
	}
}

func (v *Vault) endHandover(s *handoverSession) {
	delete(v.handovers, s.attempt)
	if s.run != nil {
		s.run.Destroy()
	}
	if s.borrowed && s.share != nil {
		s.share.Destroy()
	}
	s.share = nil
	if s.out != nil && s.out.Share != nil {
		s.out.Share.Destroy()
	}
	s.wipe()
}

// abortHandover ends this vault's part, as far as it has not promised anything: who
// is READY waits on, without the command.
func (v *Vault) abortHandover(s *handoverSession, a *mpc.Abort) {
	if v.handovers[s.attempt] != s {
		return
	}
	v.endHandover(s)
	if out, err := s.m.GiveUp(s.id); err == nil {
		v.carryOut(s.plan.Key, s.m, out)
	}
	v.blameBy(a, s.plan.Key, uint32(s.plan.From), func(e []byte) (mpc.ID, error) {
		return lifecycle.VerifyEvidence(e, s.old, v.verifyDealt)
	})
	v.reply(s.command, abortReply(a))
}

// finishHandovers answers the commands that wait for an epoch which has begun.
func (v *Vault) finishHandovers(kid [32]byte, cert *dkg.Certificate) {
	var commands []uint64
	for _, a := range sortedAttempts(v.handovers) {
		if s := v.handovers[a]; s.plan.Key == kid {
			v.endHandover(s)
			commands = append(commands, s.command)
		}
	}
	v.coveredReply(commands, cert.Encode())
}

// coveredReply answers once a checkpoint covers what is in the log now.
func (v *Vault) coveredReply(commands []uint64, body []byte) {
	v.covered(func(_ *audit.SignedCheckpoint, err error) {
		for _, id := range commands {
			if err != nil {
				v.reply(id, failed(err))
			} else {
				v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone, Body: body})
			}
		}
	})
}

func sortedHashes[T any](m map[[32]byte]T) [][32]byte {
	hs := make([][32]byte, 0, len(m))
	for h := range m {
		hs = append(hs, h)
	}
	slices.SortFunc(hs, func(a, b [32]byte) int { return slices.Compare(a[:], b[:]) })
	return hs
}
