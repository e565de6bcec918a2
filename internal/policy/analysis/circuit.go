package analysis

import (
	"encoding/binary"
	"slices"
)

// circuit builds formulas as clauses. Equal gates are one, so that what two
// documents have in common is decided without a search.
type circuit struct {
	*solver
	gates map[string]lit
}

func newCircuit(budget int64) *circuit {
	return &circuit{newSolver(budget), make(map[string]lit)}
}

// and is true when all of them are.
func (c *circuit) and(ls ...lit) lit {
	in := slices.Clone(ls)
	slices.Sort(in)
	in = slices.Compact(in)
	kept := in[:0]
	for i, l := range in {
		if l == no || i > 0 && in[i-1] == l.not() && l.negated() {
			return no
		}
		if l != yes {
			kept = append(kept, l)
		}
	}
	switch len(kept) {
	case 0:
		return yes
	case 1:
		return kept[0]
	}
	key := make([]byte, 0, 4*len(kept))
	for _, l := range kept {
		key = binary.BigEndian.AppendUint32(key, uint32(l))
	}
	if g, ok := c.gates[string(key)]; ok {
		return g
	}
	g := c.fresh()
	c.gates[string(key)] = g
	all := make([]lit, 0, len(kept)+1)
	for _, l := range kept {
		c.clause(g.not(), l)
		all = append(all, l.not())
	}
	c.clause(append(all, g)...)
	return g
}

// or is true when one of them is.
func (c *circuit) or(ls ...lit) lit {
	in := make([]lit, len(ls))
	for i, l := range ls {
		in[i] = l.not()
	}
	return c.and(in...).not()
}

// oneOf demands that exactly one is true.
func (c *circuit) oneOf(ls []lit) {
	c.clause(ls...)
	if len(ls) <= 6 {
		for i := range ls {
			for k := range i {
				c.clause(ls[i].not(), ls[k].not())
			}
		}
		return
	}
	// before: one of those up to here is true.
	before := ls[0]
	for _, l := range ls[1:] {
		c.clause(before.not(), l.not())
		next := c.fresh()
		c.clause(before.not(), next)
		c.clause(l.not(), next)
		c.clause(next.not(), before, l)
		before = next
	}
}
