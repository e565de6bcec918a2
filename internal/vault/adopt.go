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
	signed  *governance.SignedChange
	bytes   []byte
}

func (k *keptChange) encode() []byte {
	return wire.NewWriter(1).Uint64(k.adopted).Var(k.bytes).Bytes()
}

func decodeKeptChange(b []byte) (*keptChange, error) {
	r := wire.NewReader(b, 1)
	k := &keptChange{adopted: r.Uint64("adopted"), bytes: r.Var("change", cluster.MaxBody)}
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

// change adopts a change that enough admins have signed.
func (v *Vault) change(id uint64, c *cluster.Command) {
	signed, err := governance.DecodeSignedChange(c.Body)
	if err != nil {
		v.refuseChange(id, nil, refusal.New("change.encoding", "", err.Error(), "a canonical signed change"))
		return
	}
	if signed.Change.Seq == v.gov.Seq && signed.Change.Hash() == v.gov.Head {
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
		return
	}
	k := &keptChange{v.now, signed, c.Body}
	next, err := v.gov.Apply(signed, k.adopted)
	if err != nil {
		v.refuseChange(id, &signed.Change, refusal.As(err))
		return
	}
	if err := v.keepChange(k); err != nil {
		v.reply(id, failed(err))
		return
	}
	v.appendLog(audit.KindChange, c.Body)
	if f, _ := next.Fate(next.Seq); f.Due > f.Adopted {
		v.appendLog(audit.KindGovernance, (&audit.Governance{Event: audit.ChangeWaits, Seq: f.Seq, Change: f.Hash, Time: f.Adopted}).Encode())
		v.note("a change waits for its time", "change", f.Seq, "kind", f.Kind.String(), "class", f.Class.String(), "why", f.Reason, "due", f.Due)
	}
	v.govern(next, fmt.Errorf("change %d of the governance was adopted: retry", next.Seq))
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

// refuseChange says no to a change, and writes it down.
func (v *Vault) refuseChange(id uint64, c *governance.Change, r *refusal.Refusal) {
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
	v.refuse(id, r)
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
	if err := v.store.put(recordGoverned, wire.NewWriter(1).Uint64(v.now).Bytes()); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
	v.govern(next, fmt.Errorf("a change of the governance has come in force: retry"))
}

// govern goes over to the next state of the governance. What was begun under the one
// before ends: no session mixes versions.
func (v *Vault) govern(next *governance.State, why error) {
	before := v.gov
	v.gov = next
	v.endSessions(func([]mpc.ID) bool { return true }, why)
	if string(before.Measurements.Normalize().Encode()) != string(next.Measurements.Normalize().Encode()) {
		v.remeasure()
	}
	for i := range next.Fates {
		f := &next.Fates[i]
		if i < len(before.Fates) && before.Fates[i].Status == f.Status {
			continue
		}
		v.settled(f, i < len(before.Fates))
		if f.Status == governance.InForce && f.Kind == governance.KindVault {
			for j := range next.VaultOrders {
				if o := &next.VaultOrders[j]; o.Seq == f.Seq {
					v.onVaultOrder(before, o)
				}
			}
		}
	}
}

// settled writes down what became of a change that had waited.
func (v *Vault) settled(f *governance.Fate, waited bool) {
	g := audit.Governance{Seq: f.Seq, Change: f.Hash, Time: f.Since, Detail: f.Detail}
	switch {
	case f.Status == governance.NoEffect:
		v.note("a withdrawal came too late", "change", f.Seq, "detail", f.Detail)
		return
	case !waited || f.Status == governance.Waiting:
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
