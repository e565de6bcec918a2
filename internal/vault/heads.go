package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault/planted"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/handover"
)

// The start gate (docs/spec/rollback.md). A disk does not know that it is old. After
// every start a vault reserves, votes and signs nothing until as many others have
// said, over the nonce of this start, what they hold of it, that one of them was
// there whenever it promised anything.

// Rounds of innerHeads.
const (
	headsQuery  = 0 // private: the asker's boot nonce
	headsAnswer = 1 // broadcast: answer
	headsProve  = 2 // private: two sizes of the receiver's log
	headsProof  = 3 // broadcast: those and the proof
	headsShow   = 4 // private: checkpoints
	headsLedger = 5 // private: how far the sender has its own ledger
	headsDelta  = 6 // private: what the sender knows of the receiver's ledger beyond that
)

// answer is what a vault holds of another, which has started. Its signature, by the
// session key, makes it evidence.
type answer struct {
	Asker      mpc.ID
	Nonce      [32]byte // of the asker's start
	Hello      []byte   // the newest start of the asker that is known here; signed by the asker
	Checkpoint []byte   // the newest checkpoint of the asker; signed by the asker; empty: none
	Ledger     ledgerHead
	Votes      [][]byte // handover.Bundle: what is known of open plans in which the asker has a part
}

const maxToldVotes = 8

func (a *answer) encode() []byte {
	w := wire.NewWriter(1).Uint16(uint16(a.Asker)).Fixed(a.Nonce[:]).Var(a.Hello).Var(a.Checkpoint)
	w.Uint64(a.Ledger.Seq).Fixed(a.Ledger.Hash[:]).Count(len(a.Votes))
	for _, b := range a.Votes {
		w.Var(b)
	}
	return w.Bytes()
}

func decodeAnswer(b []byte) (*answer, error) {
	r := wire.NewReader(b, 1)
	a := &answer{Asker: mpc.ID(r.Uint16("asker"))}
	r.Into("nonce", a.Nonce[:])
	a.Hello, a.Checkpoint = r.Var("hello", maxHello), r.Var("checkpoint", maxCheckpointBytes)
	a.Ledger = ledgerHead{Party: a.Asker, Seq: r.Uint64("ledger")}
	r.Into("ledger head", a.Ledger.Hash[:])
	for range r.Count("votes", maxToldVotes, 4) {
		a.Votes = append(a.Votes, r.Var("votes", MaxFrame))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode heads: %w", err)
	}
	return a, nil
}

// gate is what is known about this start.
type gate struct {
	answered map[mpc.ID]bool
	asked    map[mpc.ID]uint64
	claims   map[mpc.ID]ledgerHead // of this vault's ledger, beyond what it has; nobody can prove them
	votes    []toldVotes
	began    uint64 // when this start came about
	sure     bool   // a hardware counter confirms that the disk is the newest
	named    bool   // the admins named this start
	voting   bool   // handovers go on
	rolled   *rolledBack
	undone   [][16]byte // attempts that ended with the last start, before this vault had decided

	// While the admins' order to resume is carried out.
	resumed uint64                // the newest order that was carried out, by seq
	floor   uint64                // events of the own ledger up to then
	live    bool                  // the order came while this vault ran: it names this start
	held    head                  // the newest checkpoint of the history that the order ends
	merged  map[mpc.ID]ledgerHead // peers whose copy of this vault's ledger was taken over
}

type toldVotes struct {
	from   mpc.ID
	bundle *handover.Bundle
}

// rolledBack says that this vault's disk is older than what was shown to others.
type rolledBack struct {
	Why        string
	OwnSize    uint64
	HeldBoot   uint64
	HeldSize   uint64
	HeldRoot   [32]byte
	Quarantine [32]byte // head of the quarantines in that checkpoint
	By         []mpc.ID // who showed it; empty: the device's counter
}

const (
	recordRolledBack = "rolled-back"
	recordResumed    = "resumed"
)

func (x *rolledBack) encode() []byte {
	w := wire.NewWriter(1).String(x.Why).Uint64(x.OwnSize).Uint64(x.HeldBoot).Uint64(x.HeldSize).Fixed(x.HeldRoot[:]).Fixed(x.Quarantine[:])
	writeParties(w, x.By)
	return w.Bytes()
}

func decodeRolledBack(b []byte) (*rolledBack, error) {
	r := wire.NewReader(b, 1)
	x := &rolledBack{Why: r.String("why", 4096), OwnSize: r.Uint64("own size"), HeldBoot: r.Uint64("held boot"), HeldSize: r.Uint64("held size")}
	r.Into("held root", x.HeldRoot[:])
	r.Into("quarantine", x.Quarantine[:])
	x.By = readParties(r, "by")
	return x, r.Done()
}

func (v *Vault) newGate() gate {
	return gate{answered: map[mpc.ID]bool{}, asked: map[mpc.ID]uint64{}, claims: map[mpc.ID]ledgerHead{}, merged: map[mpc.ID]ledgerHead{}, began: v.now, resumed: v.gate.resumed, floor: v.gate.floor}
}

func (v *Vault) loadGate(records map[string][]byte) error {
	v.gate = v.newGate()
	if b, ok := records[recordRolledBack]; ok {
		x, err := decodeRolledBack(b)
		if err != nil {
			return fmt.Errorf("record %s: %w", recordRolledBack, err)
		}
		v.gate.rolled = x
	}
	if b, ok := records[recordResumed]; ok {
		r := wire.NewReader(b, 1)
		v.gate.resumed, v.gate.floor = r.Uint64("seq"), r.Uint64("floor")
		if err := r.Done(); err != nil {
			return fmt.Errorf("record %s: %w", recordResumed, err)
		}
	}
	return nil
}

// witnesses is how many others must answer: of those with whom this vault can have
// finished anything, t−1 at a time, one is among any n−t+1.
func witnesses(n, t int) int { return min(n-1, n-t+1) }

// voters is how many must answer before this vault votes on a handover: it may have
// closed an epoch in the company of any n−t others, or dealt in that of t−1.
func voters(n, t int) int { return min(n-1, max(n-t+1, t)) }

// confirmed says whether enough of the parties have said what they hold of this
// vault. The error says who is missing.
func (v *Vault) confirmed(parties []mpc.ID, need int) error {
	if v.gate.sure || v.gate.named {
		return nil
	}
	var waiting []string
	for _, id := range parties {
		switch {
		case id == v.cfg.ID:
		case v.gate.answered[id]:
			need--
		default:
			waiting = append(waiting, fmt.Sprint(id))
		}
	}
	if need <= 0 || planted.Bug == planted.Gate {
		return nil
	}
	return fmt.Errorf("vault %d has started anew and waits until %d more of the vaults %s say what they hold of it", v.cfg.ID, need, strings.Join(waiting, ", "))
}

// everybody are all vaults of the cluster with the threshold that stands for keys
// which this vault does not know.
func (v *Vault) everybody() ([]mpc.ID, int) {
	ids := append(sortedIDs(v.peers), v.cfg.ID)
	slices.Sort(ids)
	return ids, len(ids)/2 + 1
}

// stopped says that this vault signs nothing, whoever has answered.
func (v *Vault) stopped() error {
	if planted.Bug == planted.Gate {
		return nil
	}
	if x := v.gate.rolled; x != nil {
		return errors.New(x.words(v.cfg.ID))
	}
	if o, ok := v.gov.Suspended(uint16(v.cfg.ID)); ok {
		return fmt.Errorf("the admins have suspended this vault by change %d: %s", o.Seq, o.Reason)
	}
	for _, id := range sortedIDs(v.gate.claims) {
		if c := v.gate.claims[id]; !v.barred(v.peers[id]) {
			return fmt.Errorf("vault %d says that vault %d's ledger has %d events, here it has %d, or others: either this vault's disk was rolled back, or vault %d lies: the admins resume this vault (coffer vault resume %d) or suspend that one",
				id, v.cfg.ID, c.Seq, v.ledgers[v.cfg.ID].head().Seq, id, v.cfg.ID)
		}
	}
	return nil
}

func (x *rolledBack) words(self mpc.ID) string {
	return fmt.Sprintf("vault %d is rolled back and signs nothing: %s. Its log has %d entries here. Only the admins let it go on: coffer vault resume %d", self, x.Why, x.OwnSize, self)
}

// mayReserve says whether this start may take part in a signature with a key.
func (v *Vault) mayReserve(parties []mpc.ID, threshold int) error {
	if err := v.stopped(); err != nil {
		return err
	}
	if v.resuming() {
		return fmt.Errorf("vault %d is being resumed and waits for what the vaults %v hold of it", v.cfg.ID, v.awaited())
	}
	return v.confirmed(parties, witnesses(len(parties), threshold))
}

// mayCheckpoint says whether this vault may sign for its log: it may for one of its
// keys, or there is none.
func (v *Vault) mayCheckpoint() bool {
	if v.stopped() != nil {
		return false
	}
	held := false
	for _, k := range v.keys {
		if !k.holds() {
			continue
		}
		if v.mayReserve(k.cert.Parties, k.cert.Threshold) == nil {
			return true
		}
		held = true
	}
	return !held && v.mayReserve(v.everybody()) == nil
}

// ready says why commands that sign are not looked at yet.
func (v *Vault) ready() error {
	if err := v.stopped(); err != nil {
		return err
	}
	if v.mayCheckpoint() {
		return nil
	}
	for _, k := range v.sortedKeys() {
		if k.holds() {
			return v.mayReserve(k.cert.Parties, k.cert.Threshold)
		}
	}
	return v.mayReserve(v.everybody())
}

// mayVote says whether this start may cast votes on handovers.
func (v *Vault) mayVote() error {
	if err := v.stopped(); err != nil {
		return err
	}
	if v.resuming() {
		return errors.New("it is being resumed")
	}
	sets := 0
	check := func(parties []mpc.ID, t int) error {
		sets++
		return v.confirmed(parties, voters(len(parties), t))
	}
	for _, k := range v.sortedKeys() {
		if !k.holds() {
			continue
		}
		if err := check(k.cert.Parties, k.cert.Threshold); err != nil {
			return err
		}
	}
	for _, kid := range sortedHashes(v.machines) {
		for _, p := range v.machines[kid].Progress() {
			if containsID(p.Plan.New, v.cfg.ID) {
				if err := check(p.Plan.New, p.Plan.NewThreshold); err != nil {
					return err
				}
			}
		}
	}
	if sets == 0 {
		parties, t := v.everybody()
		return check(parties, t)
	}
	return nil
}

// answerHeads tells a peer what this vault holds of it, over the nonce of its
// present start.
func (v *Vault) answerHeads(p *peer) {
	if p.hello == nil || p.send == nil {
		return
	}
	a := v.answerFor(p, p.hello.Nonce)
	v.saveWitness(p)
	v.broadcast(innerHeads, [16]byte{}, headsAnswer, []mpc.ID{p.id}, a.encode(), nil)
}

func (v *Vault) answerFor(p *peer, nonce [32]byte) *answer {
	a := &answer{Asker: p.id, Nonce: nonce, Hello: p.held.hello, Checkpoint: p.held.seen.raw, Ledger: v.ledgers[p.id].head()}
	if nonce == p.held.nonce && p.held.other != nil {
		a.Hello = p.held.other
	}
	for _, kid := range sortedHashes(v.machines) {
		for _, b := range v.machines[kid].Open(p.id) {
			if enc := b.Encode(); len(a.Votes) < maxToldVotes && len(enc) < MaxFrame/(2*maxToldVotes) {
				a.Votes = append(a.Votes, enc)
			}
		}
	}
	return a
}

// frameTell carries an answer to a start with which there is no channel, because it
// is not the newest: hello, answer and the session key's signature on it.
const frameTell = 3

// tell shows a start of a peer that is refused what is known of a newer one.
func (v *Vault) tell(p *peer, nonce [32]byte) {
	if v.now-p.toldAt < helloEvery && p.toldAt > 0 {
		return
	}
	p.toldAt = max(v.now, 1)
	b := v.answerFor(p, nonce).encode()
	sig := v.signSession(v.broadcastStatement(innerHeads, [16]byte{}, headsAnswer, v.cfg.ID, b))
	v.send(p.id, frameTell, wire.NewWriter(1).Var(v.helloFrame).Var(b).Fixed(sig.Bytes).Bytes())
}

// onTell: what it says of this vault is believed as far as this vault signed it.
func (v *Vault) onTell(p *peer, b []byte) {
	r := wire.NewReader(b, 1)
	hb, body := r.Var("hello", maxHello), r.Var("answer", MaxFrame)
	sig := signature.Signature{Algorithm: signature.Ed25519, Bytes: r.Fixed("signature", 64)}
	if r.Done() != nil || v.hello == nil || !p.showPace.spend(v.now, proofCost, proofBurst) {
		return
	}
	h, err := decodeHello(hb)
	if err != nil || h.Vault != p.id || h.Cluster != v.clusterID() || signature.Verify(p.identity, h.statement(), h.Signature) != nil {
		return
	}
	if signature.Verify(h.Session, v.broadcastStatement(innerHeads, [16]byte{}, headsAnswer, p.id, body), sig) != nil {
		return
	}
	if a, err := decodeAnswer(body); err == nil && a.Asker == v.cfg.ID && a.Nonce == v.bootNonce {
		_ = v.judge(p, a)
	}
}

// onHeads takes a frame about heads.
func (v *Vault) onHeads(p *peer, in *inner) {
	switch in.Round {
	case headsQuery:
		r := wire.NewReader(in.Private, 1)
		nonce := r.Fixed("nonce", 32)
		if r.Done() == nil && [32]byte(nonce) == p.hello.Nonce && p.proofPace.spend(v.now, proofCost, proofBurst) {
			v.answerHeads(p)
		}
	case headsAnswer:
		v.onAnswer(p, in.Broadcast)
	case headsProve:
		v.onProve(p, in.Private)
	case headsProof:
		v.onProof(p, in)
	case headsShow:
		v.onShow(p, in.Private)
	case headsLedger:
		v.onOwnLedgerAsked(p, in.Private)
	case headsDelta:
		v.onOwnLedger(p, in.Private)
	case headsCosign:
		v.onCosign(p, in.Private)
	}
}

// onAnswer counts a peer's answer.
func (v *Vault) onAnswer(p *peer, b []byte) {
	a, err := decodeAnswer(b)
	if err != nil || a.Asker != v.cfg.ID || a.Nonce != v.bootNonce || !p.showPace.spend(v.now, proofCost, proofBurst) {
		return // of another start: stale, or not for us
	}
	if err := v.judge(p, a); err != nil {
		v.notePeer(p, "this peer's word about this vault does not count", "error", err.Error())
		return
	}
	// Who answers has this start for the newest and works with no other copy: only so
	// much counts.
	if v.gate.rolled != nil || string(a.Hello) != string(v.helloFrame) {
		return
	}
	first := !v.gate.answered[p.id]
	v.gate.answered[p.id] = true
	if first {
		for _, raw := range a.Votes {
			if x, err := handover.DecodeBundle(raw); err == nil {
				v.gate.votes = append(v.gate.votes, toldVotes{p.id, x})
			}
		}
		if cp, err := audit.DecodeSignedCheckpoint(a.Checkpoint); err == nil {
			p.shown = cp.Size
		}
	}
	v.passGate()
}

// passGate lets begin what the answers so far allow.
func (v *Vault) passGate() {
	if !v.finishResumption() {
		return
	}
	v.releaseUndone()
	if v.gate.voting || v.mayVote() != nil {
		return
	}
	v.gate.voting = true
	told := v.gate.votes
	v.gate.votes = nil
	// What this vault has voted and its disk does not know comes first.
	for _, t := range told {
		if m := v.machineOf(t.bundle); m != nil {
			v.carryOut(t.bundle.Plan.Key, m, m.Remind(t.bundle))
		}
	}
	v.resumeHandovers()
	for _, t := range told {
		if m := v.machines[t.bundle.Plan.Key]; m != nil {
			v.carryOut(t.bundle.Plan.Key, m, m.Deliver(t.from, t.bundle))
		}
	}
}

// findUndone finds the reservations that ended with the last start and for which the
// log has no decision.
func (v *Vault) findUndone(entries [][]byte) {
	open := map[[16]byte]bool{}
	var all [][16]byte
	for a := range v.index.byAttempt {
		if p := v.index.of(a, v.cfg.ID); p != nil && p.status == statusReserved {
			open[a] = true
			all = append(all, a)
		}
	}
	// Of what was decided, or came from others' copies, this vault's share may have left:
	// the disk may be a copy from between the two. No peer's word frees it of that.
	defer func() {
		for _, a := range all {
			v.index.of(a, v.cfg.ID).given = !open[a]
		}
	}()
	for i := len(entries) - 1; i >= 0 && len(open) > 0; i-- {
		e, err := audit.DecodeEntry(entries[i])
		if err != nil || e.Kind != audit.KindDecision {
			continue
		}
		if d, err := audit.DecodeDecision(e.Body); err == nil && d.Allow {
			delete(open, d.Attempt)
		}
	}
	// What came from other copies of the ledger may have been decided in a log that was
	// given up.
	floor := min(v.gate.floor, uint64(len(v.ledgers[v.cfg.ID].events)))
	for _, enc := range v.ledgers[v.cfg.ID].events[:floor] {
		if e, err := decodeEvent(enc); err == nil {
			delete(open, e.Attempt)
		}
	}
	v.gate.undone = sortedAttempts(open)
}

// releaseUndone gives back what the last start had reserved and not decided, once
// the witnesses have confirmed the log. A party sends its final share only after it
// has stored this vault's checkpoint over that decision: if none of those who answer
// holds one, none of them has sent its share. Of what was decided nobody can say
// whether this vault's own share has left: it stays until another party releases it.
func (v *Vault) releaseUndone() {
	if len(v.gate.undone) == 0 || v.gate.sure || v.gate.named || planted.Bug == planted.Gate {
		return
	}
	kept := v.gate.undone[:0]
	for _, a := range v.gate.undone {
		p := v.index.of(a, v.cfg.ID)
		k := v.keys[p.reserve.Key]
		switch {
		case k == nil || p.status != statusReserved || v.signs[a] != nil:
		case v.mayReserve(k.cert.Parties, k.cert.Threshold) != nil || !v.heardOf(&p.reserve):
			kept = append(kept, a)
		default:
			v.release(a)
		}
	}
	v.gate.undone = kept
}

// heardOf says whether another party of an attempt has answered.
func (v *Vault) heardOf(e *event) bool {
	return slices.ContainsFunc(e.Parties, func(id mpc.ID) bool { return id != v.cfg.ID && v.gate.answered[id] })
}

// tickGate asks those who have not answered.
func (v *Vault) tickGate() {
	for _, id := range sortedIDs(v.peers) {
		p := v.peers[id]
		if v.gate.answered[id] || !p.confirmed || v.now-v.gate.asked[id] < helloEvery {
			continue
		}
		v.gate.asked[id] = v.now
		v.sendSealed(p, &inner{Kind: innerHeads, Round: headsQuery, Private: wire.NewWriter(1).Fixed(v.bootNonce[:]).Bytes()})
	}
	v.passGate()
}

// awaited are the peers who have not answered.
func (v *Vault) awaited() (ids []uint16) {
	for _, id := range sortedIDs(v.peers) {
		if !v.gate.answered[id] {
			ids = append(ids, uint16(id))
		}
	}
	return ids
}
