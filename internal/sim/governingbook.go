package sim

import (
	"bytes"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
)

// book is what the simulation holds to be in force at a vault, from the changes in the
// vault's log and the times of those entries.
type book struct {
	read    int
	ceiling uint64
	waits   uint64 // the ceiling of the policy that waits
	due     uint64 // 0: none waits
	policy  uint64 // its change
	frozen  map[[32]byte]bool

	people      people
	peopleWait  people
	peopleDue   uint64
	peopleSeq   uint64
	suspended   map[mpc.ID]bool
	liftedAfter map[mpc.ID]uint64
}

// bookOf reads on in a vault's log.
func (g *governing) bookOf(id mpc.ID) *book {
	b := g.books[id]
	if b == nil {
		b = &book{ceiling: firstCeiling, frozen: map[[32]byte]bool{}, suspended: map[mpc.ID]bool{}, liftedAfter: map[mpc.ID]uint64{}}
		g.books[id] = b
	}
	entries := g.Parties[id].Disk.Entries
	for ; b.read < len(entries); b.read++ {
		e, err := audit.DecodeEntry(entries[b.read])
		if err != nil || e.Kind != audit.KindChange {
			continue
		}
		i := -1
		for k, c := range g.changes {
			if bytes.Equal(c.Encode(), e.Body) {
				i = k
			}
		}
		if i < 0 {
			g.check.fault("governance: vault %d's log has a change that nobody ordered", id)
			continue
		}
		g.apply(b, &g.changes[i].Change, e.Time)
	}
	return b
}

func (g *governing) apply(b *book, c *governance.Change, at uint64) {
	b.at(at)
	switch c.Kind {
	case governance.KindPolicy:
		if n := g.ceilings[c.Seq]; n <= b.ceiling { // what waited is superseded
			b.ceiling, b.due = n, 0
		} else {
			b.waits, b.due, b.policy = n, at+cooling, c.Seq
		}
	case governance.KindRoster:
		if p := g.rosters[c.Seq]; p.without(&b.people) {
			b.people, b.peopleDue = p, 0
		} else {
			b.peopleWait, b.peopleDue, b.peopleSeq = p, at+cooling, c.Seq
		}
	case governance.KindWithdraw:
		w, err := governance.DecodeWithdrawal(c.Body)
		switch {
		case err != nil:
			g.check.fault("governance: %v", err)
		case b.due != 0 && b.policy == w.Seq:
			b.due = 0
		case b.peopleDue != 0 && b.peopleSeq == w.Seq:
			b.peopleDue = 0
		}
	case governance.KindVault:
		o, err := governance.DecodeVaultOrder(c.Body)
		switch {
		case err != nil:
			g.check.fault("governance: %v", err)
		case o.Action == governance.SuspendVault:
			b.suspended[mpc.ID(o.Vault)] = true
			delete(b.liftedAfter, mpc.ID(o.Vault))
		case o.Action == governance.LiftVault:
			b.liftedAfter[mpc.ID(o.Vault)] = at + cooling
		}
	case governance.KindFreeze:
		if f, err := governance.DecodeFreeze(c.Body); err != nil {
			g.check.fault("governance: %v", err)
		} else {
			b.frozen[f.Wallet] = !f.Thaw
		}
	}
}

// at is the book at a time of the vault's clock, which does not go back: what has waited
// long enough is in force.
func (b *book) at(now uint64) {
	if b.due != 0 && b.due <= now {
		b.ceiling, b.due = b.waits, 0
	}
	if b.peopleDue != 0 && b.peopleDue <= now {
		b.people, b.peopleDue = b.peopleWait, 0
	}
	for id, due := range b.liftedAfter {
		if due <= now {
			b.suspended[id] = false
			delete(b.liftedAfter, id)
		}
	}
}
