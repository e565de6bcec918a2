package verify

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// A vault may have had several logs: a new one with a new card (replace), and one
// that the admins gave up when they let it go on from an older head (resume). Only
// their changes make two logs of one vault anything but a fork.

// govern finds the newest governance that a copy tells of. The admins' signatures
// make each change its own proof; whether every log has the same ones replay says.
func (v *verifier) govern(copies []copied) {
	v.newest = v.start
	for _, c := range copies {
		st := v.governs(c)
		if st.Seq > v.newest.Seq {
			v.newest = st
		}
	}
}

// generation is a log that a vault has had: all its cards with one log key.
type generation struct {
	cards []governance.Card
	until uint64 // the change that began the next one; 0: it is in force
}

func (g *generation) key() signature.PublicKey { return g.cards[0].Vault.Log }

func (g *generation) name() string { return g.cards[0].Vault.Name }

func (v *verifier) generations(id uint16) []*generation {
	var out []*generation
	for _, c := range v.newest.Cards(id) {
		if n := len(out); n > 0 && out[n-1].key() == c.Vault.Log {
			out[n-1].cards = append(out[n-1].cards, c)
			continue
		} else if n > 0 {
			out[n-1].until = c.From
		}
		out = append(out, &generation{cards: []governance.Card{c}})
	}
	return out
}

// sealed checks a copy's checkpoint under a generation's cards, the newest first.
// retired is the change that took the card which signed it out of service, or 0.
func (g *generation) sealed(cluster [32]byte, cp *audit.SignedCheckpoint) (retired uint64, err error) {
	for i := len(g.cards) - 1; i >= 0; i-- {
		e := cp.Verify(keysOf(cluster, &g.cards[i].Vault))
		if e == nil {
			return retired, nil
		}
		if err == nil {
			err = e
		}
		retired = g.cards[i].From
	}
	return 0, err
}

// generationOf says which of a vault's logs a copy is: the one whose key its
// checkpoint names; the one in force if it names none.
func (v *verifier) generationOf(c copied, all []*generation) *generation {
	if cp, err := audit.DecodeSignedCheckpoint(c.checkpoint); err == nil {
		for _, g := range all {
			if _, err := g.sealed(v.cluster, cp); err == nil {
				return g
			}
		}
	}
	return all[len(all)-1]
}

// collect checks every copy against its own checkpoint and makes one log of all
// copies of each that a vault has had.
func (v *verifier) collect(copies []copied) {
	for i := range v.start.Vaults {
		all := v.generations(v.start.Vaults[i].ID)
		of := map[*generation][]copied{}
		for _, c := range copies {
			if c.header.Vault == v.start.Vaults[i].ID {
				g := v.generationOf(c, all)
				of[g] = append(of[g], c)
			}
		}
		for _, g := range all {
			v.collectLog(v.start.Vaults[i].ID, g, of[g])
		}
	}
}

func (v *verifier) collectLog(id uint16, g *generation, copies []copied) {
	if len(copies) == 0 {
		if g.until > 0 {
			v.report.note("no copy of the log that vault %d (%s) had until change %d", id, g.name(), g.until)
		} else {
			v.report.note("no copy of the log of vault %d (%s)", id, g.name())
		}
		return
	}
	var live, dead []*vaultLog
	for _, c := range copies {
		l := v.check(c, id, g)
		if l.abandoned = v.abandons(l); l.abandoned != nil {
			dead = append(dead, l)
		} else {
			live = append(live, l)
		}
	}
	for _, ls := range [][]*vaultLog{dead, live} {
		if len(ls) == 0 {
			continue
		}
		best := ls[0]
		for _, l := range ls[1:] {
			v.compare(best, l)
			if l.covered > best.covered || l.covered == best.covered && l.size() > best.size() {
				best = l
			}
		}
		v.addLog(best, len(ls))
	}
}

// abandons says by which change the admins gave a copy's history up: it has the very
// head that the change names, is of an older start, and has not gone on by it.
func (v *verifier) abandons(l *vaultLog) *governance.VaultChange {
	for i := range v.newest.VaultOrders {
		o := &v.newest.VaultOrders[i]
		if !v.about(l, o) || l.applied >= o.Seq || l.boot >= o.Boot {
			continue
		}
		if root, err := l.tree.RootAt(o.Held.Size); err == nil && l.tree.Size() >= o.Held.Size && root == o.Held.Root {
			return o
		}
	}
	return nil
}

// about says whether an order lets this log's vault go on, in this log.
func (v *verifier) about(l *vaultLog, o *governance.VaultChange) bool {
	return o.Action == governance.ResumeVault && o.Vault == l.id && l.begun < o.Seq && (l.until == 0 || o.Seq < l.until)
}

func (v *verifier) addLog(l *vaultLog, copies int) {
	v.logs = append(v.logs, l)
	row := VaultLog{Vault: l.id, Name: l.name, Entries: uint64(l.size()), Covered: l.covered, Copies: copies, Since: l.begun, Until: l.until}
	if o := l.abandoned; o != nil {
		row.GivenUp = o.Seq
		v.report.note("vault %d: %s is the history of which change %d gave up what came after the head that it names: %s", l.id, l.copy, o.Seq, o.Reason)
	}
	v.report.Vaults = append(v.report.Vaults, row)
	if tail := uint64(l.size()) - l.covered; tail > 0 {
		v.report.note("vault %d: the last %s not covered by its signed checkpoint: the vault's HSM does not vouch for them", l.id, count(int(tail), "entry is", "entries are"))
	}
}

// check is entries ↔ root ↔ checkpoint ↔ the keys of the vault's cards.
func (v *verifier) check(c copied, id uint16, g *generation) *vaultLog {
	l := &vaultLog{
		id: id, name: g.name(), copy: c.name, key: g.key(), begun: g.cards[0].From, until: g.until,
		scanned: c.scanned, applied: appliedBy(c.changes), young: young{exported: c.exported}, released: map[[32]byte][]*decision{}, keys: map[[32]byte]*dkg.Certificate{},
		decisions: map[[16]byte]*decision{}, outcomes: map[[16]byte]*outcome{},
	}
	fault := func(code Code, format string, args ...any) {
		v.report.fault(id, nil, code, "%s: %s", c.name, fmt.Sprintf(format, args...))
	}
	if c.checkpoint == nil {
		fault(CheckpointMissing, "the log has no signed checkpoint")
		return l
	}
	cp, err := audit.DecodeSignedCheckpoint(c.checkpoint)
	if err != nil {
		fault(CheckpointForm, "%v", err)
		return l
	}
	if l.retired, err = g.sealed(v.cluster, cp); err != nil {
		fault(CheckpointForeign, "%v", err)
		return l
	}
	if cp.Size > l.tree.Size() {
		fault(CheckpointSize, "the log has %s, its signed checkpoint covers %d: the rest was cut off", count(l.size(), "entry", "entries"), cp.Size)
		return l
	}
	if root, err := l.tree.RootAt(cp.Size); err != nil || root != cp.Root {
		fault(CheckpointRoot, "the first %d entries are not those that the signed checkpoint covers", cp.Size)
		return l
	}
	l.covered, l.boot = cp.Size, cp.Boot
	return l
}

// appliedBy is the number of the newest change in a log, by its own word.
func appliedBy(changes []posEntry) (seq uint64) {
	for _, x := range changes {
		if e, err := audit.DecodeEntry(x.bytes); err == nil && e.Kind == audit.KindChange {
			if s, err := governance.DecodeSignedChange(e.Body); err == nil {
				seq = max(seq, s.Change.Seq)
			}
		}
	}
	return seq
}

// replayOrder checks a log against an order about its own vault that it has applied.
func (v *verifier) replayOrder(l *vaultLog, i uint64, o *governance.VaultChange) {
	if o.Action != governance.ResumeVault || !v.about(l, o) {
		return
	}
	if root, err := l.tree.RootAt(o.From.Size); o.From.Size > i || err != nil || root != o.From.Root {
		v.entryFault(l, i, ResumeOther, "change %d lets the vault go on from a log of %v, and this log does not begin so", o.Seq, o.From)
		return
	}
	l.resumed = append(l.resumed, resumption{o, i})
}

// resumption is an order by which a log went on, and the entry that holds it.
type resumption struct {
	order *governance.VaultChange
	index uint64
}

// twice says that an entry of a history that was given up is in the log that went on,
// too, so that the report tells of it once.
func (v *verifier) twice(l *vaultLog, i uint64) bool {
	if l.abandoned == nil {
		return false
	}
	return slices.ContainsFunc(v.logsOf(l.id), func(o *vaultLog) bool {
		return o != l && o.key == l.key && i < uint64(o.size()) && o.sameEntry(l.scanned, i)
	})
}

// checkInForce: a vault takes part only by the card in force, in a start that counts,
// and while it is not suspended.
func (v *verifier) checkInForce(l *vaultLog, i uint64, what string) {
	st := l.state()
	card, ok := st.Vault(l.id)
	switch {
	case !ok: // admit has seen to it
	case card.Log != l.key:
		v.entryFault(l, i, CardRetired, "it %s, and the card in force of vault %d names another log", what, l.id)
	case l.retired > 0 && st.Enacted(l.retired):
		v.entryFault(l, i, CardRetired, "it %s after change %d, and its checkpoint is signed by the device that this change took out of service", what, l.retired)
	case l.lastBoot < st.MinBoot(l.id):
		v.entryFault(l, i, BootEnded, "it %s in start %d, and by then only starts from %d on count", what, l.lastBoot, st.MinBoot(l.id))
	}
}

// checkSuspended: a change that suspends a vault ends its sessions at once.
func (v *verifier) checkSuspended(l *vaultLog, i uint64, parties []uint16) {
	for _, id := range parties {
		if o, ok := l.state().Suspended(id); ok {
			v.entryFault(l, i, OutcomeSuspended, "a share was released with vault %d, which change %d has suspended", id, o.Seq)
		}
	}
}

// givenUp says by which change the admins gave up a head that a vault had signed: no
// newer than the one that the change names, of an older start, in a log that has gone
// on by it.
func (v *verifier) givenUp(cp *audit.Checkpoint, key signature.PublicKey) *governance.VaultChange {
	for _, l := range v.logsOf(cp.Vault) {
		if l.key != key {
			continue
		}
		for _, r := range l.resumed {
			o := r.order
			if cp.Boot < o.Boot && (cp.Size < o.Held.Size || cp.Size == o.Held.Size && cp.Root == o.Held.Root) {
				return o
			}
		}
	}
	return nil
}

// word is what a peer's log proves of a vault's part in an attempt, beside that
// vault's own log.
type word struct {
	change uint64 // why the vault's log does not show it: given up, or lost, by this change
	lost   bool
}

type share struct {
	attempt [16]byte
	vault   uint16
}

// excuse notes that a vault's part in an attempt cannot be shown any more, by the
// admins' change.
func (v *verifier) excuse(attempt [16]byte, vault uint16, w word) {
	if _, ok := v.words[share{attempt, vault}]; !ok {
		v.words[share{attempt, vault}] = w
	}
}

// excused says whether an attempt's decision or share of a vault is missing because
// of a change, and notes it.
func (v *verifier) excused(attempt [16]byte, vault uint16, what string) bool {
	w, ok := v.words[share{attempt, vault}]
	if !ok {
		return false
	}
	why := "is in the history that change %d gave up"
	if w.lost {
		why = "was in the log that ended with change %d, of which there is no copy"
	}
	text := fmt.Sprintf("attempt %x: %s of vault %d "+why+"; that vault's signed checkpoint is in its peers' logs", attempt, what, vault, w.change)
	if !slices.Contains(v.report.Notes, text) {
		v.report.note("%s", text)
	}
	return true
}
