package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// What the admins order about vaults (docs/spec/rollback.md): resume, replace, lift,
// suspend. What a rolled-back vault has promised it takes over from the others: the
// union of what they know, never one of them by choice.

const (
	// resumeWithin is how long a vault that is resumed waits for all with whom there is a
	// channel, though enough have answered; and for those with whom there is none: the
	// admins have named this very start, they answer for them.
	resumeWithin = 10_000
)

// obey does what an order in force says about this vault or a peer.
func (v *Vault) obey(before *governance.State, o *governance.VaultChange) {
	id := mpc.ID(o.Vault)
	p := v.peers[id]
	switch o.Action {
	case governance.LiftVault:
		v.lift(o)
	case governance.SuspendVault:
		if p != nil {
			v.closePair(p)
			v.endSessionsWith(id, fmt.Errorf("the admins have suspended vault %d", id))
		}
	case governance.ResumeVault:
		if p != nil {
			v.letGoOn(p, o)
			return
		}
		if id == v.cfg.ID {
			v.resume(o)
		}
	case governance.ReplaceVault:
		if p != nil && before.FreshLog(&o.VaultOrder) {
			p.held = witness{dirty: true}
			v.saveWitness(p)
		}
	}
}

// letGoOn forgets what is held of a peer that the admins let go on from an older
// head.
func (v *Vault) letGoOn(p *peer, o *governance.VaultChange) {
	x := &p.held
	x.seen, x.pending, x.good, x.other = head{}, nil, nil, nil
	x.proven = head{size: o.From.Size, root: o.From.Root, boot: o.Boot}
	x.remember(x.proven)
	x.dirty = true
	v.saveWitness(p)
	p.forked = false
	if p.suspended && p.suspendedOf.apart(o.Boot) {
		// This order had not come yet when the new history was seen.
		v.unsuspend(p, o, "suspension explained by the admins' order to resume")
	}
	if p.hello != nil && p.hello.Boot < o.Boot {
		v.closeChannel(p)
	}
}

// closeChannel forgets a channel: the peer has to start anew.
func (v *Vault) closeChannel(p *peer) {
	v.closePair(p)
	v.endSessionsWith(p.id, fmt.Errorf("the channel with vault %d is closed", p.id))
	p.hello, p.send, p.receive, p.confirmed = nil, nil, nil, false
	p.shown, p.shownAt, p.relayed, p.cosigned = 0, 0, nil, 0
	v.dropEarly(p.id)
}

func (v *Vault) unsuspend(p *peer, o *governance.VaultChange, why string) {
	p.suspended, p.suspendedOf, p.held.other, p.held.pending = false, boots{}, nil, nil
	p.pairAnew()
	v.store.remove(recordSuspended + idText(p.id))
	v.note(why, "peer", p.id, "change", o.Seq, "reason", o.Reason)
}

// lift ends the quarantine of a pair at both its ends, or the suspension of a vault
// at everybody.
func (v *Vault) lift(o *governance.VaultChange) {
	if o.Peer == 0 {
		if p := v.peers[mpc.ID(o.Vault)]; p != nil && p.suspended {
			v.unsuspend(p, o, "suspension lifted by the admins")
		}
		return
	}
	other := mpc.ID(o.Peer)
	if other == v.cfg.ID {
		other = mpc.ID(o.Vault)
	} else if mpc.ID(o.Vault) != v.cfg.ID {
		return
	}
	if p := v.peers[other]; p != nil && p.quarantined {
		p.quarantined = false
		p.pairAnew()
		v.store.remove(recordQuarantine + idText(p.id))
		v.note("quarantine lifted by the admins", "peer", p.id, "change", o.Seq, "reason", o.Reason)
	}
}

// pairAnew has the next tick begin a pair setup. What the peer began while it was
// barred has not arrived here: it would wait for an answer until its time is over.
func (p *peer) pairAnew() {
	p.pairAttempt++
	p.pairStarted = 0
}

// resumption is the newest order by which this vault's history began anew.
func (v *Vault) resumption() *governance.VaultChange {
	for i := len(v.gov.VaultOrders) - 1; i >= 0; i-- {
		o := &v.gov.VaultOrders[i]
		if mpc.ID(o.Vault) == v.cfg.ID && (o.Action == governance.ResumeVault || o.Action == governance.ReplaceVault && v.freshLog(o)) {
			return o
		}
	}
	return nil
}

// freshLog says whether this vault's log began with an order.
func (v *Vault) freshLog(o *governance.VaultChange) bool {
	cards := v.gov.Cards(o.Vault)
	for i := 1; i < len(cards); i++ {
		if cards[i].From == o.Seq {
			return cards[i].Vault.Log != cards[i-1].Vault.Log
		}
	}
	return false
}

// resuming says that an order to go on is in force and not carried out yet.
func (v *Vault) resuming() bool {
	o := v.resumption()
	return o != nil && v.mayResume(o) == nil
}

// mayResume says why this vault cannot go on by an order.
func (v *Vault) mayResume(o *governance.VaultChange) error {
	root, err := v.log.RootAt(min(o.From.Size, v.log.Size()))
	x := v.gate.rolled
	switch {
	case o.Seq <= v.gate.resumed:
		return errors.New("it is done")
	case v.boot < o.Boot:
		return fmt.Errorf("it is for start %d, this is start %d", o.Boot, v.boot)
	case o.Action == governance.ReplaceVault:
		return nil
	case err != nil || o.From.Size > v.log.Size() || root != o.From.Root:
		return fmt.Errorf("it is for a log of %d entries with root %x, which this log does not continue", o.From.Size, o.From.Root[:8])
	case x != nil && x.HeldSize > o.Held.Size:
		return fmt.Errorf("it gives up a log of %d entries, vaults %v hold one of %d", o.Held.Size, x.By, x.HeldSize)
	}
	return nil
}

// resume goes on by an order that came while this vault runs: in a start of the
// number that the order names.
func (v *Vault) resume(o *governance.VaultChange) {
	if o.Boot <= v.boot {
		v.note("the order to resume comes too late: this vault has started since; a new one is needed", "change", o.Seq, "boot", o.Boot, "this start", v.boot)
		v.continueResumption()
		return
	}
	was := v.boot
	v.boot = o.Boot
	if err := v.mayResume(o); err != nil {
		v.boot = was
		v.note("the order to resume does not fit this vault", "change", o.Seq, "error", err.Error())
		return
	}
	if err := v.startAnew(); err != nil {
		v.note("couldn't start anew", "error", err.Error())
		return
	}
	v.gate.live = true
	v.note("resumed by the admins: this vault goes on from its log, and takes its ledger over from the others", "change", o.Seq, "log", o.From.Size, "given up", o.Held.Size, "start", v.boot)
}

// startAnew makes of this moment a start: another boot number, nonce and keys.
func (v *Vault) startAnew() error {
	for _, id := range sortedIDs(v.peers) {
		v.closeChannel(v.peers[id])
		v.peers[id].pairAttempt = 0
	}
	rolled := v.gate.rolled
	v.gate = v.newGate()
	v.gate.rolled = rolled
	v.continueResumption()
	v.channelKey.Destroy()
	v.hello, v.helloFrame = nil, nil
	v.store.dirty = true
	v.bindCounter()
	v.logBoot()
	return v.makeHello()
}

// continueResumption: while the order is carried out what was found before it does
// not stop this vault.
func (v *Vault) continueResumption() {
	if x := v.gate.rolled; x != nil && v.resuming() {
		v.gate.held = head{size: x.HeldSize, root: x.HeldRoot, boot: x.HeldBoot, quarantine: x.Quarantine}
		v.gate.rolled = nil
	}
}

// finishResumption ends it once enough others have handed over what they know. It
// says whether nothing of the kind is under way.
func (v *Vault) finishResumption() bool {
	if !v.resuming() {
		return true
	}
	if v.gate.rolled != nil {
		return false
	}
	switch enough := v.allConfirmed(); {
	case enough && v.now-v.gate.began < resumeWithin && !v.allHeard():
		return false // another may know more of this vault's ledger
	case !enough:
		if !v.gate.live || v.now-v.gate.began < resumeWithin || !v.allHeard() {
			return false
		}
		v.gate.named = true
	}
	o := v.resumption()
	v.gate.resumed = o.Seq
	v.gate.floor = v.ledgers[v.cfg.ID].head().Seq
	if err := v.store.put(recordResumed, wire.NewWriter(1).Uint64(o.Seq).Uint64(v.gate.floor).Bytes()); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
	v.store.remove(recordRolledBack)
	// Which quarantines were forgotten nobody knows: all pairs wait for the admins.
	if h := v.gate.held; h.size > 0 && h.quarantine != v.quarantineHead() {
		for _, id := range sortedIDs(v.peers) {
			v.halt(v.peers[id], [32]byte{}, 0, "resumed", "rollback", "which quarantines the rollback has forgotten is not known; the pair is halted until the admins lift it")
		}
	}
	return true
}

// allConfirmed says whether enough have answered for each of this vault's keys.
func (v *Vault) allConfirmed() bool {
	held := false
	for _, k := range v.keys {
		if !k.holds() {
			continue
		}
		held = true
		if v.confirmed(k.cert.Parties, witnesses(len(k.cert.Parties), k.cert.Threshold)) != nil {
			return false
		}
	}
	parties, t := v.everybody()
	return held || v.confirmed(parties, witnesses(len(parties), t)) == nil
}

// allHeard says whether everybody with whom there is a channel has answered.
func (v *Vault) allHeard() bool {
	for _, p := range v.peers {
		if p.confirmed && !v.gate.answered[p.id] {
			return false
		}
	}
	return true
}

// askOwnLedger asks a peer for its copy of this vault's ledger.
func (v *Vault) askOwnLedger(p *peer, from uint64) {
	v.sendSealed(p, &inner{Kind: innerHeads, Round: headsLedger, Private: wire.NewWriter(1).Uint64(from).Bytes()})
}

func (v *Vault) onOwnLedgerAsked(p *peer, b []byte) {
	r := wire.NewReader(b, 1)
	from := r.Uint64("from")
	if r.Done() == nil && p.proofPace.spend(v.now, proofCost, proofBurst) {
		v.sendSealed(p, &inner{Kind: innerHeads, Round: headsDelta, Private: v.ledgers[p.id].deltaFrom(from).encode()})
	}
}

// onOwnLedger takes over what a peer knows of this vault's ledger. Where two copies
// differ, what one has and the other has not comes after: all of it counts.
func (v *Vault) onOwnLedger(p *peer, b []byte) {
	d, err := decodeDelta(b)
	if err != nil || d.Head.Party != v.cfg.ID || !v.resuming() || len(d.Events) == 0 && d.Head.Seq > d.From {
		return
	}
	own := v.ledgers[v.cfg.ID]
	for i, enc := range d.Events {
		seq := d.From + uint64(i)
		if seq < uint64(len(own.events)) && string(own.events[seq]) == string(enc) {
			continue
		}
		e, err := decodeEvent(enc)
		if err != nil {
			return
		}
		if seq == uint64(len(own.events)) || !v.index.has(v.cfg.ID, e) {
			v.appendEvent(v.cfg.ID, e, slices.Clone(enc))
		}
	}
	if next := d.From + uint64(len(d.Events)); next < d.Head.Seq {
		v.askOwnLedger(p, next)
		return
	}
	v.gate.merged[p.id] = d.Head
	v.gate.asked[p.id] = 0 // asked anew at the next tick, which is in this step
}

// has says whether a party's event is known.
func (x *requestIndex) has(party mpc.ID, e *event) bool {
	p := x.of(e.Attempt, party)
	switch {
	case e.Kind == eventRestate:
		return slices.ContainsFunc(x.byRequest[e.Request], func(q *promise) bool {
			return q.party == party && q.restated && string(q.reserve.encode()) == string(e.encode())
		})
	case p == nil:
		return false
	case e.Kind == eventReserve:
		return true
	case e.Kind == eventRelease:
		return p.status == statusReleased || p.status == statusFinal
	}
	return p.status == statusFinal
}
