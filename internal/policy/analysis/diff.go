package analysis

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// Diff is what a change of policy means.
type Diff struct {
	Result
	Allowed   []Difference // what passes now and did not, one example for each pair of rules
	Forbidden []Difference // what passed and does not any more
	Open      []string     // where there may be more of either, that was not found and not excluded
}

// Difference is one transaction that the two policies judge differently.
type Difference struct {
	Old, New string // the rules or guards that decide it; empty: none does
	Example  *Example
}

// maxDifferences bounds how many pairs of rules one rule is shown with.
const maxDifferences = 3

// Compare classifies a change, and finds examples of all that passes newly and of
// all that passes no more.
func Compare(old, new *policy.Document, oldRoster, newRoster *identity.Roster) *Diff {
	d := &Diff{Result: Classify(old, new, oldRoster, newRoster)}
	if old == nil || new == nil || oldRoster == nil || newRoster == nil || wellTyped(old) != nil || wellTyped(new) != nil {
		return d
	}
	d.Allowed = differences(old, new, oldRoster, newRoster, func(rule string) {
		d.Open = append(d.Open, fmt.Sprintf("rule %s may allow more than is told here", rule))
	})
	d.Forbidden = differences(new, old, newRoster, oldRoster, func(rule string) {
		d.Open = append(d.Open, fmt.Sprintf("what rule %s allowed may be forbidden beyond what is told here", rule))
	})
	for i := range d.Forbidden {
		x := &d.Forbidden[i]
		x.Old, x.New = x.New, x.Old
		x.Example.Old, x.Example.New = x.Example.New, x.Example.Old
	}
	return d
}

// differences finds what b lets pass and a does not, by the rules of b.
func differences(a, b *policy.Document, rosterA, rosterB *identity.Roster, open func(rule string)) []Difference {
	c := compare(a, b, rosterA, rosterB, defaultBudget)
	if c.solve(c.wider) == unsat {
		return nil
	}
	if !c.finish() {
		open("any")
		return nil
	}
	var out []Difference
	for i := range c.new.rules {
		r := &c.new.rules[i]
		others := c.fresh()
		for n := 0; ; n++ {
			x, a := c.search(r.allows, others)
			if a == unsat || n == maxDifferences && a == sat {
				break
			}
			if a != sat {
				open(b.Rules[i].Name)
				break
			}
			out = append(out, Difference{Old: x.Old.Rule, New: x.New.Rule, Example: x})
			if !c.other(x.Old.Rule, others) {
				break
			}
		}
	}
	return out
}

// other demands, under a literal, that another rule of the old policy decides. It
// reports whether there could be one.
func (c *comparison) other(name string, under lit) bool {
	if i := slices.IndexFunc(c.old.doc.Rules, func(r policy.Rule) bool { return r.Name == name }); i >= 0 {
		c.clause(under.not(), c.old.rules[i].fires.not())
		return true
	}
	if i := slices.IndexFunc(c.old.doc.Guards, func(g policy.Guard) bool { return g.Name == name }); i >= 0 {
		c.clause(under.not(), c.old.guards[i].isNot)
		return true
	}
	var fires []lit
	for i := range c.old.rules {
		fires = append(fires, c.old.rules[i].fires)
	}
	c.clause(append(fires, under.not())...)
	return true
}
