package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// Repair (docs/spec/repair.md): a vault whose disk is lost gets each of its shares
// again from t others. What orders it is the change that put its new card in force.
// Each helper takes part once for a key and a card: whoever takes the new device
// later, and shows an empty disk, gets nothing.

// repairSession is one run of mpc/lifecycle.Repair, at a helper or at the vault that
// lost its share.
type repairSession struct {
	attempt [16]byte
	started uint64
	key     [32]byte
	lost    mpc.ID
	helpers []mpc.ID
	peers   []mpc.ID
	tier    governance.Tier
	cert    *dkg.Certificate
	seq     uint64 // of the change that ordered it
	claim   *claim // at the vault that lost its share

	run       *lifecycle.Repair
	round     uint8
	broadcast [2]map[mpc.ID][]byte
	private   [4]map[mpc.ID][]byte // by round: 2 and 3
	early     []earlyFrame         // that came while the device opened the share
	share     *dkg.KeyShare
	borrowed  bool
}

func (s *repairSession) has(id mpc.ID) bool { return containsID(s.peers, id) }

func (s *repairSession) got() map[mpc.ID][]byte {
	if s.round < 2 {
		return s.broadcast[s.round]
	}
	return s.private[s.round]
}

// awaited is from whom messages of the round come: the last one only from helpers.
func (s *repairSession) awaited() []mpc.ID {
	if s.round == 3 {
		return s.helpers
	}
	return s.peers
}

func (s *repairSession) waitingFor() string {
	if s.run == nil {
		return "the device, which opens this vault's share"
	}
	return fmt.Sprintf("P%d of %v", s.round, missing(s.awaited(), s.got()))
}

func newRepairSession(attempt [16]byte, now uint64) *repairSession {
	s := &repairSession{attempt: attempt, started: now}
	for i := range s.broadcast {
		s.broadcast[i] = map[mpc.ID][]byte{}
	}
	for i := range s.private {
		s.private[i] = map[mpc.ID][]byte{}
	}
	return s
}

const (
	recordHelped   = "helped/"  // KEY/PEER: 01 ‖ u64 change ‖ boot nonce of the start to which this vault gave its part
	recordRepaired = "repaired" // the change by which this vault's shares were repaired
	maxRepairs     = 4          // at once
	repairEvery    = 2_000      // ms between questions, and between attempts
)

func helpedName(kid [32]byte, id mpc.ID) string {
	return fmt.Sprintf("%s%x/%s", recordHelped, kid, idText(id))
}

// begin names a repair.
type begin struct {
	key     [32]byte
	cert    [32]byte // digest
	helpers []mpc.ID
}

func (x *begin) encode() []byte {
	w := wire.NewWriter(1).Fixed(x.key[:]).Fixed(x.cert[:])
	writeParties(w, x.helpers)
	return w.Bytes()
}

func decodeBegin(b []byte) (*begin, error) {
	r := wire.NewReader(b, 1)
	x := new(begin)
	r.Into("key", x.key[:])
	r.Into("certificate", x.cert[:])
	x.helpers = readParties(r, "helpers")
	return x, r.Done()
}

// onRepair takes a frame about repairs.
func (v *Vault) onRepair(p *peer, in *inner) {
	switch in.Round {
	case repairAsk:
		v.onRepairAsk(p, in.Private)
	case repairOffers:
		v.onOffers(p, in.Private)
	case repairBegin:
		v.onRepairBegin(p, in)
	case repairNo:
		v.onRepairNo(p, in)
	case 0, 1, 2, 3:
		v.onRepairRound(p, in)
	}
}

// helpGiven is that this vault gave its part of a repair: by which change, and to
// which start of the receiver.
type helpGiven struct {
	seq   uint64
	start [32]byte // boot nonce
}

// helped says why this vault does not help a peer to its share of a key: it has
// given its part to this card. The start that got it may have it again, while that
// runs: the repair may have failed elsewhere, and it learns nothing new.
func (v *Vault) helped(k *key, id mpc.ID) error {
	card, ok := v.freshCard(id)
	if !ok {
		return fmt.Errorf("no change in force gives vault %d a new card with a fresh log", id)
	}
	x, ok := v.helps[helpedName(k.id, id)]
	if p := v.peers[id]; ok && x.seq >= card.From && (p.hello == nil || p.hello.Nonce != x.start) {
		return fmt.Errorf("vault %d has given its part of vault %d's share of %q to that card already: a second time needs another card in force (coffer vault --enrol on an empty disk, coffer vault replace), or a reshare of the wallet", v.cfg.ID, id, k.name)
	}
	return nil
}

// mayHelp says why this vault does not take part in a repair.
func (v *Vault) mayHelp(p *peer, x *begin) (*key, error) {
	k := v.keys[x.key]
	switch {
	case k == nil || !k.holds():
		return nil, fmt.Errorf("vault %d holds no share of key %x", v.cfg.ID, x.key[:8])
	case k.cert.Digest() != x.cert:
		return nil, fmt.Errorf("vault %d has wallet %q in epoch %d, by another certificate", v.cfg.ID, k.name, k.cert.Epoch)
	case !containsID(k.cert.Parties, p.id):
		return nil, fmt.Errorf("vault %d is not one of the wallet's parties %v", p.id, k.cert.Parties)
	case !containsID(x.helpers, v.cfg.ID) || len(x.helpers) != k.cert.Threshold:
		return nil, fmt.Errorf("helpers %v, want %d, vault %d among them", x.helpers, k.cert.Threshold, v.cfg.ID)
	case len(v.repairs) >= maxRepairs:
		return nil, fmt.Errorf("%d repairs run already", len(v.repairs))
	}
	// A disk that may be an old one has forgotten to whom it has given.
	if err := v.mayReserve(k.cert.Parties, k.cert.Threshold); err != nil {
		return nil, err
	}
	if err := v.helped(k, p.id); err != nil {
		return nil, err
	}
	// Who is repaired knows nothing of what it has promised about the next epoch.
	if m := v.machines[x.key]; m != nil {
		if !m.MaySign(k.cert.Epoch) {
			return nil, fmt.Errorf("vault %d has closed epoch %d of the wallet", v.cfg.ID, k.cert.Epoch)
		}
		for _, y := range m.Progress() {
			if y.Plan.From == k.cert.Epoch && !y.Committed && !y.Aborted {
				return nil, fmt.Errorf("the wallet may be on its way to epoch %d: let that end first", y.Plan.To())
			}
		}
	}
	return k, nil
}

// onRepairBegin takes part as a helper.
func (v *Vault) onRepairBegin(p *peer, in *inner) {
	x, err := decodeBegin(in.Private)
	if err != nil || v.repairs[in.Attempt] != nil || v.begun[in.Attempt] || len(v.begun) >= maxBegun || !p.repairPace.spend(v.now, repairCost, repairBurst) {
		return
	}
	k, err := v.mayHelp(p, x)
	if err != nil {
		v.decline(p, in.Attempt, err)
		return
	}
	for _, a := range sortedAttempts(v.repairs) { // it has given up what it began before
		if s := v.repairs[a]; s.key == x.key && s.lost == p.id {
			v.endRepair(s)
		}
	}
	card, _ := v.freshCard(p.id)
	s := newRepairSession(in.Attempt, v.now)
	s.key, s.lost, s.helpers, s.cert, s.seq, s.tier = k.id, p.id, x.helpers, k.cert, card.From, k.tier()
	s.peers = without(append(slices.Clone(x.helpers), p.id), v.cfg.ID)
	v.repairs[s.attempt], v.begun[s.attempt] = s, true
	v.lend(k, func(share *dkg.KeyShare, own bool, err error) {
		if v.repairs[s.attempt] != s {
			if own {
				share.Destroy()
			}
			return
		}
		s.share, s.borrowed = share, own
		if err == nil {
			err = v.runRepair(s)
		}
		if err != nil {
			v.abortRepair(s, asAbort("repair", err))
		}
	})
}

func (v *Vault) decline(p *peer, attempt [16]byte, why error) {
	v.sendSealed(p, &inner{Kind: innerRepair, Attempt: attempt, Round: repairNo, Private: wire.NewWriter(1).String(audit.Clip(why.Error())).Bytes()})
}

func without(ids []mpc.ID, id mpc.ID) []mpc.ID {
	ids = slices.DeleteFunc(ids, func(x mpc.ID) bool { return x == id })
	slices.Sort(ids)
	return ids
}

// runRepair begins the protocol.
func (v *Vault) runRepair(s *repairSession) error {
	cfg := lifecycle.RepairConfig{
		Self: v.cfg.ID, Lost: s.lost, Helpers: s.helpers, Certificate: s.cert, VerifyCertificate: v.verifyCertificate, Share: s.share,
		Identities: map[mpc.ID][]byte{v.cfg.ID: v.cfg.Identity.Bytes()}, AttemptID: s.attempt,
		Sign:   func(d [32]byte) []byte { return v.signSession(dkgStatement(d)).Bytes },
		Verify: v.verifyDealt,
	}
	for _, id := range s.peers {
		p, err := v.partner(id)
		if err != nil {
			return err
		}
		cfg.Identities[id] = p.identity.Bytes()
	}
	var err error
	if s.run, err = lifecycle.NewRepair(cfg, v.rand); err != nil {
		return err
	}
	b, err := s.run.Round0()
	if err != nil {
		return err
	}
	v.broadcast(innerRepair, s.attempt, 0, s.peers, b, nil)
	v.replayEarly(innerRepair, s.attempt)
	for _, f := range s.early {
		if v.repairs[s.attempt] == s {
			v.onRepairRound(v.peers[f.from], f.in)
		}
	}
	s.early = nil
	return nil
}

func (v *Vault) onRepairRound(p *peer, in *inner) {
	s := v.repairs[in.Attempt]
	switch {
	case s == nil:
		v.keepEarly(p, in)
		return
	case !s.has(p.id):
		return
	case s.run == nil:
		if in.Round == 0 && len(s.early) < maxEarly {
			s.early = append(s.early, earlyFrame{v.now, p.id, in})
		}
		return
	}
	msg, got := in.Private, s.private[in.Round]
	if in.Round < 2 {
		msg, got = in.Broadcast, s.broadcast[in.Round]
	}
	if old, dup := got[p.id]; dup {
		if string(old) != string(msg) {
			v.abortRepair(s, attributed(p.id, fmt.Sprintf("repair P%d", in.Round), errors.New("two different messages of one round")))
		}
		return
	}
	got[p.id] = msg
	v.advanceRepair(s)
}

// advanceRepair runs the rounds whose messages are all there.
func (v *Vault) advanceRepair(s *repairSession) {
	for v.repairs[s.attempt] == s && len(missing(s.awaited(), s.got())) == 0 {
		if err := v.repairRound(s); err != nil {
			v.abortRepair(s, asAbort("repair", err))
			return
		}
	}
}

func (v *Vault) repairRound(s *repairSession) error {
	var b []byte
	var private map[mpc.ID][]byte
	var err error
	switch s.round {
	case 0:
		b, err = s.run.Round1(s.broadcast[0])
	case 1:
		private, err = s.run.Round2(s.broadcast[1])
	case 2:
		if private, err = s.run.Round3(s.private[2]); err == nil && s.lost != v.cfg.ID {
			return v.gaveHelp(s, private)
		}
	case 3:
		share, err := s.run.Finish(s.private[3])
		if err != nil {
			return err
		}
		v.restRepaired(s, share)
		return nil
	}
	if err != nil {
		return err
	}
	s.round++
	if s.round == 1 {
		v.broadcast(innerRepair, s.attempt, 1, s.peers, b, nil)
		return nil
	}
	v.sendParts(s, private)
	return nil
}

func (v *Vault) sendParts(s *repairSession, private map[mpc.ID][]byte) {
	for _, id := range sortedIDs(private) {
		v.sendSealed(v.peers[id], &inner{Kind: innerRepair, Attempt: s.attempt, Round: s.round, Private: private[id]})
		secret.Wipe(private[id])
	}
}

// gaveHelp ends a helper's part. That it gave it is durable before it leaves.
func (v *Vault) gaveHelp(s *repairSession, private map[mpc.ID][]byte) error {
	name := helpedName(s.key, s.lost)
	x := helpGiven{seq: s.seq, start: v.peers[s.lost].hello.Nonce}
	if err := v.store.put(name, wire.NewWriter(1).Uint64(x.seq).Fixed(x.start[:]).Bytes()); err != nil {
		return err
	}
	v.helps[name] = x
	s.round = 3
	v.sendParts(s, private)
	k := v.keys[s.key]
	v.endRepair(s)
	v.note("gave this vault's part of a repair", "to", s.lost, "wallet", k.name, "epoch", s.cert.Epoch)
	return nil
}

func (v *Vault) endRepair(s *repairSession) {
	delete(v.repairs, s.attempt)
	if s.run != nil {
		s.run.Destroy()
	}
	if s.borrowed && s.share != nil {
		s.share.Destroy()
	}
	s.share = nil
	for i := range s.private {
		for _, m := range s.private[i] {
			secret.Wipe(m)
		}
	}
}

func (v *Vault) abortRepair(s *repairSession, a *mpc.Abort) {
	if v.repairs[s.attempt] != s {
		return
	}
	v.endRepair(s)
	v.blameBy(a, s.key, uint32(s.cert.Epoch), func(e []byte) (mpc.ID, error) {
		return lifecycle.VerifyRepairEvidence(e, s.cert, v.verifyDealt)
	})
	v.note("a repair ended without a share", "wallet", fmt.Sprintf("%x", s.key[:8]), "step", a.Step, "error", a.Err.Error(), "culprits", a.Culprits)
	if s.lost == v.cfg.ID {
		v.repairFailed(s, a)
	} else if p := v.peers[s.lost]; p != nil && !containsID(a.Culprits, s.lost) {
		v.decline(p, s.attempt, a)
	}
}

func (v *Vault) tickRepairs() {
	for _, a := range sortedAttempts(v.repairs) {
		if s := v.repairs[a]; s != nil && v.now-s.started > patience(s.tier) {
			v.abortRepair(s, benign("repair", errors.New("a vault stayed silent: "+s.waitingFor())))
		}
	}
	v.tickLost()
}
