package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// orderVault puts an order about a vault in force, in the logs of these vaults; none:
// all.
func (w *world) orderVault(o *governance.VaultOrder, vaults ...uint16) {
	w.t.Helper()
	w.tick()
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: w.gov.Cluster, Seq: w.gov.Seq + 1, Prev: w.gov.Head, Kind: governance.KindVault, Body: o.Encode(), Created: w.now, Author: "alice",
	}}
	for _, a := range []string{"alice", "bob"} {
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: a, Key: w.key(a), Signature: signEd(w.people[a], s.Change.Statement())})
	}
	w.gov = must[*governance.State](w.t)(w.gov.Apply(s, w.now))
	if len(vaults) == 0 {
		vaults = []uint16{1, 2, 3}
	}
	for _, id := range vaults {
		w.append(id, audit.KindChange, s.Encode())
	}
	w.changes = append(w.changes, s.Encode())
}

func (w *world) position(id uint16) governance.Position {
	l := audit.Load(w.vaults[id].entries)
	return governance.Position{Size: l.Size(), Root: l.Root()}
}

// copyOf is a copy of a vault's log as this version of it would seal it.
func (w *world) copyOf(v *testVault, name string) Copy {
	now := w.vaults[v.card.ID]
	w.vaults[v.card.ID] = v
	cp := w.checkpoint(v.card.ID)
	c := w.copyWith(v.card.ID, v.entries, cp.Encode())
	w.vaults[v.card.ID] = now
	c.Name = name
	return c
}

func (v *testVault) clone() *testVault {
	c := *v
	c.entries = slices.Clone(v.entries)
	return &c
}

// setBack is a history in which vault 2's disk is set back to before its second
// payment, with vault 3. dead is the vault as it was before.
func (w *world) setBack() (dead *testVault) {
	w.keygen()
	w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	w.refuse(w.payment(known, ether(2), 1), 2, []uint16{1, 2})
	old := w.vaults[2].clone()
	w.pay(w.payment(known, ether(1), 1), []uint16{2, 3}, hooks{})
	dead = w.vaults[2]
	w.vaults[2] = old
	w.bootVault(2)
	w.append(2, audit.KindIncident, (&audit.Incident{Peer: 3, Class: "benign", Step: "heads", Detail: "rolled back"}).Encode())
	return dead
}

// resume is the order that lets vault 2 go on.
func (w *world) resume(dead *testVault) *governance.VaultOrder {
	l := audit.Load(dead.entries)
	return &governance.VaultOrder{
		Action: governance.ResumeVault, Vault: 2, Boot: max(dead.boot, w.vaults[2].boot) + 1, From: w.position(2),
		Held: governance.Position{Size: l.Size(), Root: l.Root()}, Reason: "restored from a backup",
	}
}

// goOn has vault 2 start in the start that the order names, and pay.
func (w *world) goOn(o *governance.VaultOrder) {
	w.vaults[2].boot = o.Boot - 1
	w.bootVault(2)
	w.pay(w.payment(known, ether(1), 2), []uint16{1, 2}, hooks{})
}

// replacement is vault 2 with another device, another log key, or both, and the order
// that puts its card in force.
func (w *world) replacement(device, log bool) (*testVault, *governance.VaultOrder) {
	v := w.vaults[2].clone()
	if device {
		v.identity, v.card.Identity = p256Key(w.t)
		v.decision, v.card.Decision = p256Key(w.t)
		v.card.Model = "spare"
	}
	if log {
		v.log, v.card.Log = edKey(w.t)
	}
	st := v.card.Statement()
	e := &governance.Enrolment{Vault: v.card, Identity: signP256(w.t, v.identity, st), Decision: signP256(w.t, v.decision, st), Log: signEd(v.log, st)}
	return v, &governance.VaultOrder{Action: governance.ReplaceVault, Vault: 2, Boot: v.boot + 1, Enrolment: e, Reason: "the token broke"}
}

// take has vault 2 run as v: with a fresh log that replays all changes, or in the log
// that it has.
func (w *world) take(v *testVault, o *governance.VaultOrder, key []byte) {
	if v.card.Log != w.vaults[2].card.Log {
		v.entries = nil
		w.vaults[2] = v
		w.append(2, audit.KindGenesis, w.genesis.Encode())
		for _, c := range w.changes {
			w.append(2, audit.KindChange, c)
		}
	} else {
		v.entries = w.vaults[2].entries
		w.vaults[2] = v
	}
	v.boot = o.Boot - 1
	w.bootVault(2)
	if key != nil {
		w.append(2, audit.KindKey, key)
	}
}

// replaced is a history in which vault 2's device and log are lost after two payments
// and replaced, and it pays again. old is the vault as it was.
func (w *world) replaced() (old *testVault) {
	w.keygen()
	key := keyEntryOf(w.vaults[2])
	w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	old = w.vaults[2].clone()
	v, o := w.replacement(true, true)
	w.orderVault(o, 1, 3)
	w.take(v, o, key)
	w.pay(w.payment(known, ether(1), 1), []uint16{1, 2}, hooks{})
	w.pay(w.payment(known, ether(1), 2), []uint16{2, 3}, hooks{})
	return old
}

func keyEntryOf(v *testVault) []byte {
	for _, b := range v.entries {
		if e, err := audit.DecodeEntry(b); err == nil && e.Kind == audit.KindKey {
			return e.Body
		}
	}
	return nil
}

func (r *Report) has(note string) bool {
	return slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, note) })
}

// A log that went on from an older head by a change is not a fork: it is exactly what
// the change says, with a copy of what was given up and without one.
func TestResumedLog(t *testing.T) {
	for name, between := range map[string]bool{"set back to before the decision": false, "to between decision and release": true} {
		w := newWorld(t)
		dead := w.setBack()
		if between { // the restored disk ends with the decision
			restored := w.vaults[2]
			n := slices.IndexFunc(dead.entries[5:], func(b []byte) bool {
				return isKind(b, audit.KindOutcome) && !slices.ContainsFunc(restored.entries, same(b))
			}) + 5
			tail := restored.entries[len(restored.entries)-2:]
			restored.entries = append(slices.Clone(dead.entries[:n]), tail...)
		}
		o := w.resume(dead)
		w.orderVault(o)
		w.goOn(o)
		r := w.verify(w.copies())
		if !r.OK || r.Counts.Receipts != 3 || len(r.Signed) != 3 {
			t.Fatalf("%s: %+v", name, r.Faults)
		}
		what := "the decision of vault 2 is in the history that change 1 gave up"
		if between {
			what = "the release of vault 2 is in the history that change 1 gave up"
		}
		if !r.has(what) {
			t.Errorf("%s: %q is not noted: %v", name, what, r.Notes)
		}
		// With a copy of the history that was given up everything can be shown.
		whole := w.verify(append(w.copies(), w.copyOf(dead, "backup")))
		if !whole.OK || len(whole.Signed) != 3 {
			t.Fatalf("%s, with the backup: %+v", name, whole.Faults)
		}
		if whole.has("the decision of vault 2") || whole.has("the release of vault 2") || !whole.has("backup is the history of which change 1 gave up") {
			t.Errorf("%s, with the backup: %v", name, whole.Notes)
		}
		if whole.Counts.Refused != r.Counts.Refused || len(whole.Reports) != len(r.Reports) || len(whole.Vaults) != 4 {
			t.Errorf("%s: the shared part counts twice: %+v, %+v", name, whole.Counts, r.Counts)
		}
	}
}

func isKind(b []byte, k audit.Kind) bool {
	e, err := audit.DecodeEntry(b)
	return err == nil && e.Kind == k
}

func same(b []byte) func([]byte) bool { return func(x []byte) bool { return string(x) == string(b) } }

// A replaced vault's log starts fresh under its new log key; under the same one it
// goes on. What the old device signed stands.
func TestReplacedVault(t *testing.T) {
	w := newWorld(t)
	old := w.replaced()
	r := w.verify(w.copies())
	if !r.OK || len(r.Signed) != 3 {
		t.Fatalf("%+v", r.Faults)
	}
	if !r.has("no copy of the log that vault 2 (vault-2) had until change 1") || !r.has("the decision of vault 2 was in the log that ended with change 1") {
		t.Errorf("%v", r.Notes)
	}
	whole := w.verify(append(w.copies(), w.copyOf(old, "old")))
	if !whole.OK || len(whole.Signed) != 3 || len(whole.Vaults) != 4 || whole.has("was in the log that ended") {
		t.Fatalf("with the old log: %+v, %v", whole.Faults, whole.Notes)
	}
	var text strings.Builder
	if err := whole.WriteText(&text); err != nil || !strings.Contains(text.String(), "ended by change 1") || !strings.Contains(text.String(), "begun with change 1") {
		t.Error(text.String())
	}

	for name, device := range map[string]bool{"another device, the same log": true, "the same device, another log": false} {
		w := newWorld(t)
		w.keygen()
		key := keyEntryOf(w.vaults[2])
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		older := w.copyOf(w.vaults[2].clone(), "older")
		v, o := w.replacement(device, !device)
		if device {
			w.orderVault(o)
			key = nil
		} else {
			w.orderVault(o, 1, 3)
		}
		w.take(v, o, key)
		w.pay(w.payment(known, ether(1), 1), []uint16{1, 2}, hooks{})
		if r := w.verify(append(w.copies(), older)); !r.OK || len(r.Signed) != 2 || len(r.Vaults) != map[bool]int{true: 3, false: 4}[device] {
			t.Errorf("%s: %+v", name, r.Faults)
		}
	}
}

// A vault that was set back and resumed is replaced later, and that one is set back
// and resumed in its turn; each order is about one of its logs.
func TestResumedReplacedResumed(t *testing.T) {
	w := newWorld(t)
	first := w.setBack()
	o := w.resume(first)
	w.orderVault(o)
	w.goOn(o)
	key := keyEntryOf(w.vaults[2])
	v, o := w.replacement(true, true)
	w.orderVault(o)
	old := w.vaults[2]
	w.take(v, o, key)
	w.pay(w.payment(known, ether(1), 3), []uint16{1, 2}, hooks{})
	snapshot := w.vaults[2].clone()
	w.pay(w.payment(known, ether(1), 4), []uint16{2, 3}, hooks{})
	second := w.vaults[2]
	w.vaults[2] = snapshot
	w.bootVault(2)
	o = w.resume(second)
	w.orderVault(o)
	// The old device is there still, and takes the change too.
	old.entries = append(old.entries, w.vaults[2].entries[len(w.vaults[2].entries)-1])
	w.vaults[2].boot = o.Boot - 1
	w.bootVault(2)
	w.pay(w.payment(known, ether(1), 5), []uint16{1, 2}, hooks{})
	for name, more := range map[string][]Copy{
		"alone": nil, "with the old log": {w.copyOf(old, "old")}, "with all": {w.copyOf(second, "second"), w.copyOf(old, "old"), w.copyOf(first, "first")},
	} {
		if r := w.verify(append(w.copies(), more...)); !r.OK || len(r.Signed) != 6 {
			t.Errorf("%s: %+v", name, r.Faults)
		}
	}
}

// After a suspension the others go on; after the lift the vault takes part again.
func TestSuspendedVault(t *testing.T) {
	w := newWorld(t)
	w.keygen()
	w.orderVault(&governance.VaultOrder{Action: governance.SuspendVault, Vault: 2, Reason: "stolen"})
	w.pay(w.payment(known, ether(1), 0), []uint16{1, 3}, hooks{})
	w.orderVault(&governance.VaultOrder{Action: governance.LiftVault, Vault: 2, Reason: "found"})
	w.pay(w.payment(known, ether(1), 1), []uint16{1, 2}, hooks{})
	if r := w.verify(w.copies()); !r.OK || len(r.Signed) != 2 {
		t.Errorf("%+v", r.Faults)
	}
}

// resumedBy makes a forgery of a history that is resumed by a changed order.
func resumedBy(edit func(w *world, dead *testVault, o *governance.VaultOrder)) func(w *world) []Copy {
	return func(w *world) []Copy {
		dead := w.setBack()
		o := w.resume(dead)
		if edit != nil {
			edit(w, dead, o)
		}
		w.orderVault(o)
		w.goOn(o)
		return w.copies()
	}
}

// withBackup adds a changed copy of the history that was given up.
func withBackup(edit func(w *world, dead *testVault)) func(w *world) []Copy {
	return func(w *world) []Copy {
		dead := w.setBack()
		o := w.resume(dead)
		w.orderVault(o)
		w.goOn(o)
		edit(w, dead)
		return append(w.copies(), w.copyOf(dead, "backup"))
	}
}

func init() {
	forgeries = append(forgeries, []forgery{
		// A log that was set back.
		{"set back, no change", WitnessForked, "vault 2: its first 8 entries are not those that vault 3 saw", then(func(w *world) {
			w.setBack()
			for range 5 {
				w.bootVault(2)
			}
		})},
		{"set back, no change, short", WitnessTruncated, "cut off or set back", then(func(w *world) {
			w.setBack()
			w.vaults[2].entries = w.vaults[2].entries[:7]
		})},
		{"resumed from another place", ResumeOther, "change 1 lets the vault go on from a log of", resumedBy(func(_ *world, _ *testVault, o *governance.VaultOrder) { o.From.Root[0]++ })},
		{"resumed from later on", ResumeOther, "does not begin so", resumedBy(func(_ *world, _ *testVault, o *governance.VaultOrder) { o.From.Size++ })},
		{"peers saw more than was given up", WitnessForked, "vault 3 saw", resumedBy(func(_ *world, _ *testVault, o *governance.VaultOrder) { o.Held.Size = 7 })},
		{"another head of that size", WitnessForked, "vault 3 saw", resumedBy(func(w *world, dead *testVault, o *governance.VaultOrder) {
			seen := w.witnessed(3, 2)
			o.Held = governance.Position{Size: seen.Size, Root: [32]byte{1}}
		})},
		{"given up was a start that counts", OutcomePeer, "log has no decision on it", func(w *world) []Copy {
			dead := w.setBack()
			// The newest head is of start 1, and the change ends no start.
			o := w.resume(dead)
			o.Boot = 1
			w.orderVault(o)
			w.goOn(o)
			return w.copies()
		}},
		{"resumed by the others alone", WitnessForked, "vault 3 saw", func(w *world) []Copy {
			o := w.resume(w.setBack())
			w.orderVault(o, 1, 3)
			for range 5 {
				w.bootVault(2)
			}
			return w.copies()
		}},
		{"another vault's resumption", WitnessForked, "vault 3 saw", func(w *world) []Copy {
			o := w.resume(w.setBack())
			o.Vault, o.From = 1, w.position(1)
			w.orderVault(o)
			for range 5 {
				w.bootVault(2)
			}
			return w.copies()
		}},
		{"backup that is not what was given up", CopyForked, "backup", withBackup(func(_ *world, dead *testVault) {
			dead.entries[len(dead.entries)-1] = dead.entries[3]
		})},
		{"backup that ends before it", CopyForked, "backup", withBackup(func(_ *world, dead *testVault) {
			dead.entries = dead.entries[:len(dead.entries)-1]
		})},
		{"backup of a start that counts", CopyForked, "backup", withBackup(func(_ *world, dead *testVault) { dead.boot = 9 })},
		{"goes on in an old start", BootEnded, "in start 2, and by then only starts from 3 on count", then(func(w *world) {
			w.orderVault(w.resume(w.setBack()))
			w.pay(w.payment(known, ether(1), 2), []uint16{1, 2}, hooks{})
		})},
		{"seen in an old start", OutcomeWitness, "a checkpoint of start 2 of vault 2, and by then only starts from 3 on count", then(func(w *world) {
			w.orderVault(w.resume(w.setBack()))
			w.pay(w.payment(known, ether(1), 2), []uint16{1, 2}, hooks{})
		})},

		{"resumed, and a later release is missing", ReceiptReleases, "the log of vault 2 does not say that it released its share", func(w *world) []Copy {
			o := w.resume(w.setBack())
			w.orderVault(o)
			w.goOn(o)
			es := w.vaults[2].entries
			i := len(es) - 1
			for !isKind(es[i], audit.KindOutcome) {
				i--
			}
			es[i] = (&audit.Entry{Time: w.now, Kind: audit.KindIncident, Body: (&audit.Incident{Peer: 1}).Encode()}).Encode()
			return w.copies()
		}},
		{"an old log, and the new one was resumed", WitnessForked, "that vault 1 saw", func(w *world) []Copy {
			old := w.replaced()
			old.entries[2] = (&audit.Entry{Time: w.now, Kind: audit.KindIncident, Body: (&audit.Incident{Peer: 1}).Encode()}).Encode()
			w.orderVault(&governance.VaultOrder{
				Action: governance.ResumeVault, Vault: 2, Boot: 9, From: w.position(2), Held: governance.Position{Size: 99}, Reason: "x",
			})
			return append(w.copies(), w.copyOf(old, "old"))
		}},

		// A vault that was replaced.
		{"old device goes on", CardRetired, "names another log", func(w *world) []Copy {
			w.keygen()
			old := w.vaults[2]
			v, o := w.replacement(true, true)
			w.orderVault(o)
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
			_ = v
			return append(w.copies(), w.copyOf(old, "old"))
		}},
		{"seen by the old card", OutcomeWitness, "HSM signature", then(func(w *world) {
			w.keygen()
			_, o := w.replacement(true, false)
			w.orderVault(o)
			w.vaults[2].boot = o.Boot - 1
			w.bootVault(2)
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		})},
		{"old device vouches for what came later", CardRetired, "signed by the device that this change took out of service", func(w *world) []Copy {
			w.keygen()
			old := w.vaults[2]
			v, o := w.replacement(true, false)
			w.orderVault(o)
			w.take(v, o, nil)
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
			cs := w.copies()
			thief := old.clone()
			thief.entries, thief.boot = w.vaults[2].entries, w.vaults[2].boot
			cs[1] = w.copyOf(thief, "copy-2")
			return cs
		}},
		{"new card before its change", CardRetired, "names another log", func(w *world) []Copy {
			w.keygen()
			key := keyEntryOf(w.vaults[2])
			v, o := w.replacement(true, true)
			early := w.payment(known, ether(1), 0)
			old := w.gov
			w.orderVault(o, 1, 3)
			now := w.gov
			w.gov = old
			seq := w.changes
			w.changes = nil
			w.take(v, o, key)
			w.pay(early, []uint16{1, 2}, hooks{})
			w.gov = now
			w.append(2, audit.KindChange, seq[0])
			return w.copies()
		}},
		{"certified by a device that came later", KeySigners, "signature", func(w *world) []Copy {
			v, o := w.replacement(true, true)
			k := w.keyEntry()
			was := w.vaults[2]
			w.vaults[2] = v
			k.Certificate = w.recert(func(c *dkg.Certificate) {}, 1, 2, 3)
			w.vaults[2] = was
			w.append(1, audit.KindKey, k.Encode())
			w.orderVault(o)
			return w.copies()
		}},
		{"old log without the decision", OutcomePeer, "log has no decision on it", func(w *world) []Copy {
			old := w.replaced()
			i := slices.IndexFunc(old.entries, func(b []byte) bool { return isKind(b, audit.KindDecision) })
			old.entries[i] = (&audit.Entry{Time: w.now, Kind: audit.KindIncident, Body: (&audit.Incident{Peer: 1}).Encode()}).Encode()
			return append(w.copies(), w.copyOf(old, "old"))
		}},
		{"checkpoint of no card that it had", CheckpointForeign, "old: checkpoint", func(w *world) []Copy {
			old := w.replaced()
			old.log, _ = edKey(w.t)
			return append(w.copies(), w.copyOf(old, "old"))
		}},

		// A vault that is suspended.
		{"released with a suspended vault", OutcomeSuspended, "with vault 2, which change 1 has suspended", then(func(w *world) {
			w.keygen()
			w.orderVault(&governance.VaultOrder{Action: governance.SuspendVault, Vault: 2, Reason: "stolen"})
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		})},
	}...)
}

// witnessed is what vault by saw last of another.
func (w *world) witnessed(by, of uint16) *audit.SignedCheckpoint {
	var out *audit.SignedCheckpoint
	for _, b := range w.vaults[by].entries {
		e := must[*audit.Entry](w.t)(audit.DecodeEntry(b))
		if e.Kind != audit.KindOutcome {
			continue
		}
		o := must[*audit.Outcome](w.t)(audit.DecodeOutcome(e.Body))
		for i := range o.Witnessed {
			if o.Witnessed[i].Vault == of {
				out = &o.Witnessed[i]
			}
		}
	}
	return out
}
