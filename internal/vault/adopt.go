package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// Changes of the governance (docs/spec/governance.md): adopted in the order of their
// numbers, in force at once if they are proven to tighten, otherwise when this
// vault's clock says that their time has come.

// keptChange is a change on this vault's disk, with the time from which it waits.
type keptChange struct {
	adopted uint64
	told    uint64 // the time by this vault's clock, or by proofs; adopted is never before the change before
	signed  *governance.SignedChange
	bytes   []byte
}

func (k *keptChange) encode() []byte {
	return wire.NewWriter(2).Uint64(k.adopted).Uint64(k.told).Var(k.bytes).Bytes()
}

func decodeKeptChange(b []byte) (*keptChange, error) {
	r := wire.NewReader(b, 2)
	k := &keptChange{adopted: r.Uint64("adopted"), told: r.Uint64("told"), bytes: r.Var("change", cluster.MaxBody)}
	err := r.Done()
	if err == nil {
		k.signed, err = governance.DecodeSignedChange(k.bytes)
	}
	return k, err
}

func (v *Vault) keepChange(k *keptChange) error {
	return v.store.put(fmt.Sprintf("%s%016x", recordChange, k.signed.Change.Seq), k.encode())
}

func decodeTime(b []byte) (uint64, error) {
	r := wire.NewReader(b, 1)
	t := r.Uint64("time")
	return t, r.Done()
}

// change adopts a change that enough admins have signed. With proofs (c.Unsigned) of
// when most vaults adopted it, it waits from then on, not from now; so does one that
// waits here already.
func (v *Vault) change(id uint64, c *cluster.Command) {
	signed, err := governance.DecodeSignedChange(c.Body)
	if err != nil {
		v.refuseChange(id, nil, refusal.New("change.encoding", "", err.Error(), "a canonical signed change"))
		return
	}
	seq, hash := signed.Change.Seq, signed.Change.Hash()
	k, proofs, r := v.adoptionTime(&keptChange{v.now, v.now, signed, c.Body}, c.Unsigned)
	f, known := v.gov.Fate(seq)
	switch {
	case r != nil:
		// What is proven wrongly is not believed. The change itself stands on its
		// signatures: it is taken, and waits here by itself.
		v.logRefusal(&signed.Change, r)
		k, proofs = &keptChange{v.now, v.now, signed, c.Body}, nil
	case known && f.Hash == hash && proofs != nil:
		v.backdate(id, k, proofs)
		return
	}
	if seq == v.gov.Seq && hash == v.gov.Head {
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
		return
	}
	next, err := v.gov.Apply(signed, k.told)
	if err != nil {
		v.refuseChange(id, &signed.Change, refusal.As(err))
		return
	}
	fresh, _ := next.Fate(next.Seq)
	k.adopted = fresh.Adopted
	if err := v.keepChange(k); err != nil {
		v.reply(id, failed(err))
		return
	}
	if proofs != nil {
		v.appendLog(audit.KindGovernance, (&audit.Governance{Event: audit.ChangeBackdated, Seq: seq, Change: hash, Time: k.told, Proofs: proofs}).Encode())
	}
	v.seeChange(signed)
	v.appendLog(audit.KindChange, c.Body)
	if (fresh.Due > fresh.Adopted || fresh.Leaver) && proofs == nil {
		v.noteAdoption(fresh)
	}
	v.govern(next.At(v.now), fmt.Errorf("change %d of the governance was adopted: retry", next.Seq))
	v.adopted(id)
}

// adopted answers once a checkpoint covers what this step wrote.
func (v *Vault) adopted(id uint64) {
	if !v.mayCheckpoint() || v.outside {
		// It is durable and adopted. This vault may not sign for its log, or not yet.
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
		return
	}
	v.covered(func(_ *audit.SignedCheckpoint, err error) {
		if err != nil {
			v.reply(id, failed(err))
			return
		}
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
	})
}

// noteAdoption writes down that this vault has just adopted a change that waits, or a
// leaver's withdrawal: by this entry it proves to a vault that hears late when it did.
func (v *Vault) noteAdoption(f *governance.Fate) {
	body := (&audit.Governance{Event: audit.ChangeWaits, Seq: f.Seq, Change: f.Hash, Time: v.now}).Encode()
	entry := &audit.Entry{Time: v.now, Kind: audit.KindGovernance, Body: body}
	v.adoptions[f.Seq] = adoption{v.appendEntry(entry), entry.Encode()}
	if f.Leaver {
		v.note("somebody who was an admin withdrew", "change", f.Seq, "outcome", f.Text())
		return
	}
	v.note("a change waits for its time", "change", f.Seq, "kind", f.Kind.String(), "class", f.Class.String(), "why", f.Reason, "due", f.Due)
}

// adoption is where this vault's log says that it adopted a change.
type adoption struct {
	index uint64
	entry []byte
}

// loadAdoption finds it again after a start.
func (v *Vault) loadAdoption(index uint64, e *audit.Entry, entry []byte) {
	if g, err := audit.DecodeGovernance(e.Body); err == nil && g.Event == audit.ChangeWaits {
		v.adoptions[g.Seq] = adoption{index, entry}
	}
}

// proveAdoption answers with the proof of when this vault adopted a change.
func (v *Vault) proveAdoption(id uint64, c *cluster.Command) {
	r := wire.NewReader(c.Body, 1)
	seq := r.Uint64("seq")
	a, ok := v.adoptions[seq]
	if err := r.Done(); err != nil || !ok || v.outside || !v.mayCheckpoint() {
		v.refuse(id, refusal.New("change.adopted", "", fmt.Sprintf("this vault's log does not say when it adopted change %d", seq), "a change that this vault saw when it was new, and that had to wait"))
		return
	}
	answer := func(cp *audit.SignedCheckpoint, err error) {
		var p *audit.AdoptionProof
		if err == nil {
			p, err = audit.ProveAdoption(v.log, a.entry, a.index, cp)
		}
		if err != nil {
			v.reply(id, failed(err))
			return
		}
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone, Body: audit.EncodeAdoptions([]audit.AdoptionProof{*p})})
	}
	if v.checkpoint != nil && v.checkpoint.Boot == v.boot && v.checkpoint.Size > a.index {
		answer(v.checkpoint, nil)
		return
	}
	v.covered(answer)
}

// adoptionTime is a change with the time that proofs give it; a time that is not before
// this vault's clock says nothing.
func (v *Vault) adoptionTime(k *keptChange, raw []byte) (*keptChange, []audit.AdoptionProof, *refusal.Refusal) {
	if len(raw) == 0 {
		return k, nil, nil
	}
	proofs, err := audit.DecodeAdoptions(raw)
	if err != nil {
		return nil, nil, refusal.New("change.adopted", "", err.Error(), "canonical proofs of when vaults adopted the change")
	}
	at, err := governance.AdoptedAt(v.gov, k.signed.Change.Seq, k.signed.Change.Hash(), proofs)
	if err != nil {
		return nil, nil, refusal.As(err)
	}
	if at >= k.told {
		return k, nil, nil
	}
	return &keptChange{at, at, k.signed, k.bytes}, proofs, nil
}

// backdate takes the time from which a change that waits here waits elsewhere.
func (v *Vault) backdate(id uint64, k *keptChange, proofs []audit.AdoptionProof) {
	c := &k.signed.Change
	next, err := v.gov.Backdate(c.Seq, k.told)
	if err != nil || next == v.gov {
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone}) // it does not wait any more, or not longer than elsewhere
		return
	}
	f, _ := next.Fate(c.Seq)
	k.adopted = f.Adopted
	if err := v.keepChange(k); err != nil {
		v.reply(id, failed(err))
		return
	}
	v.appendLog(audit.KindGovernance, (&audit.Governance{Event: audit.ChangeBackdated, Seq: c.Seq, Change: c.Hash(), Time: k.told, Proofs: proofs}).Encode())
	v.note("others adopted a change earlier: it waits from then on", "change", c.Seq)
	v.govern(next.At(v.now), fmt.Errorf("change %d of the governance waits from another time: retry", c.Seq))
	v.adopted(id)
}

// refuseChange says no to a change, and writes it down.
func (v *Vault) refuseChange(id uint64, c *governance.Change, r *refusal.Refusal) {
	v.logRefusal(c, r)
	v.refuse(id, r)
}

// logRefusal writes down that a change, or what came with it, was refused; c is nil if
// it does not decode.
func (v *Vault) logRefusal(c *governance.Change, r *refusal.Refusal) {
	g := audit.Governance{Event: audit.ChangeRefused, Time: v.now, Code: r.Code, Detail: r.Detail}
	if c != nil {
		g.Seq, g.Change = c.Seq, c.Hash()
	}
	// What was adopted long ago may come again by mistake, and often: a few are enough.
	f, known := v.gov.Fate(g.Seq)
	again := known && f.Hash == g.Change
	if b := g.Encode(); again && v.repeats.spend(v.now, repeatCost, 4*repeatCost) ||
		!again && v.refusals.spend(v.now, uint64(len(b))/refusalBytesPerMs+1, refusalBurst) {
		v.appendLog(audit.KindGovernance, b)
	}
}

// repeatCost is how often it is logged that an adopted change was offered again, in
// milliseconds.
const repeatCost = 15 * 60_000

// enactDue puts in force what is due by this vault's clock.
func (v *Vault) enactDue() {
	if v.phase != phaseRunning || v.counter.stopped {
		return
	}
	next := v.gov.At(v.now)
	if next == v.gov {
		return
	}
	v.govern(next, fmt.Errorf("a change of the governance has come in force: retry"))
}

// govern goes over to the next state of the governance. What was begun under the one
// before ends: no session mixes versions.
func (v *Vault) govern(next *governance.State, why error) {
	before := v.gov
	v.gov = next
	if next.Genesis.Cooling > 0 {
		if err := v.store.put(recordGoverned, wire.NewWriter(1).Uint64(v.now).Bytes()); err != nil {
			panic("vault: randomness ended: " + err.Error())
		}
	}
	v.endSessions(func([]mpc.ID) bool { return true }, why)
	if string(before.Measurements.Normalize().Encode()) != string(next.Measurements.Normalize().Encode()) {
		v.remeasure()
	}
	for i := range next.Fates {
		f := &next.Fates[i]
		if i < len(before.Fates) && before.Fates[i].Status == f.Status {
			continue
		}
		v.settled(f)
		if f.Status == governance.InForce && f.Kind == governance.KindVault {
			for j := range next.VaultOrders {
				if o := &next.VaultOrders[j]; o.Seq == f.Seq {
					v.onVaultOrder(before, o)
				}
			}
		}
	}
}

// settled writes down what became of a change that had to wait.
func (v *Vault) settled(f *governance.Fate) {
	g := audit.Governance{Seq: f.Seq, Change: f.Hash, Time: f.Since, Detail: f.Detail}
	switch {
	case f.Status == governance.NoEffect:
		v.note("a withdrawal came too late", "change", f.Seq, "detail", f.Detail)
		return
	case f.Due == f.Adopted || f.Status == governance.Waiting:
		return
	case f.Status == governance.InForce:
		g.Event = audit.ChangeInForce
	case f.Status == governance.Dropped:
		g.Event = audit.ChangeDropped
	default: // the change that superseded or withdrew it stands in the log
		v.note("a change that waited has ended", "change", f.Text())
		return
	}
	v.appendLog(audit.KindGovernance, g.Encode())
	v.note("a change's time has come", "change", f.Text())
}

// wakeForChange asks for a step when the next change is due, if that is soon.
func (v *Vault) wakeForChange() {
	const soon = 60_000
	if due := v.gov.NextDue(); due > v.now && due-v.now < soon && (v.out.Wake == 0 || due < v.out.Wake) {
		v.out.Wake = due
	}
}

// Governance is what is in force at this vault; nil before it has its genesis.
func (v *Vault) Governance() *governance.State { return v.gov }
