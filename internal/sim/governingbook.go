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
	frozen  map[[32]byte]bool
}

// bookOf reads on in a vault's log.
func (g *governing) bookOf(id mpc.ID) *book {
	b := g.books[id]
	if b == nil {
		b = &book{ceiling: firstCeiling, frozen: map[[32]byte]bool{}}
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
	switch c.Kind {
	case governance.KindPolicy:
		b.ceilingAt(at)
		if n := g.ceilings[c.Seq]; n <= b.ceiling { // what waited is superseded
			b.ceiling, b.due = n, 0
		} else {
			b.waits, b.due = n, at+cooling
		}
	case governance.KindFreeze:
		if f, err := governance.DecodeFreeze(c.Body); err != nil {
			g.check.fault("governance: %v", err)
		} else {
			b.frozen[f.Wallet] = !f.Thaw
		}
	}
}

// ceilingAt is what is in force at a time of the vault's clock, which does not go back.
func (b *book) ceilingAt(now uint64) uint64 {
	if b.due != 0 && b.due <= now {
		b.ceiling, b.due = b.waits, 0
	}
	return b.ceiling
}
