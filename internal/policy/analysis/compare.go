package analysis

import (
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// reading is a policy in a model: when each of its rules allows.
type reading struct {
	*view
	guards []truth
	rules  []ruleReading
	passed lit // no guard stands in the way
	allows lit
}

// ruleReading is one rule in a model.
type ruleReading struct {
	when    truth
	reached lit // no guard, and no earlier rule, decides
	fires   lit // it decides
	allows  lit // it decides, and the approvals meet what it asks for
}

// read reads a document: a guard that is not false denies (an error) or waits, and
// so does a rule before the one that decides.
func (m *model) read(doc *policy.Document, roster *identity.Roster, stated bool) *reading {
	r := &reading{view: m.view(doc, roster)}
	passed := []lit{}
	for i := range doc.Guards {
		t := r.truth(&doc.Guards[i].When, nil)
		r.guards = append(r.guards, t)
		passed = append(passed, t.isNot)
	}
	r.passed = m.and(passed...)
	before := passed
	var allows []lit
	for i := range doc.Rules {
		rule := &doc.Rules[i]
		t := r.truth(&rule.When, nil)
		reached := m.and(before...)
		x := ruleReading{when: t, reached: reached, fires: m.and(reached, t.is)}
		x.allows = m.and(x.fires, r.verdict(&rule.Then, stated))
		r.rules = append(r.rules, x)
		allows = append(allows, x.allows)
		before = []lit{reached, t.isNot}
	}
	r.allows = m.or(allows...)
	return r
}

// Example is an input that shows a difference, with what the policies say to it.
type Example struct {
	Input    *Input          `json:"-"`
	Words    string          `json:"words"` // for people
	Old, New policy.Decision // decided again, by the policies themselves
}

// comparison looks for what a new policy lets pass and an old one does not.
type comparison struct {
	*model
	old, new             *reading
	oldRoster, newRoster *identity.Roster
	wider                lit                   // the new one allows, the old one does not
	test                 func(*Input) *Example // decides an input again; nil when it is no example
	against              demand                // what approvals must not meet, where no rule of the old policy decides
	unverified           int                   // models that were no example
}

// defaultBudget bounds one comparison, in steps of the solver: some seconds on a
// slow machine.
const defaultBudget = 60_000_000

func compare(old, new *policy.Document, oldRoster, newRoster *identity.Roster, budget int64) *comparison {
	c := &comparison{model: newModel(newRoster, budget, old, new), oldRoster: oldRoster, newRoster: newRoster}
	c.old = c.read(old, oldRoster, false)
	c.new = c.read(new, newRoster, true)
	c.wider = c.and(c.new.allows, c.old.allows.not())
	c.test, c.against = c.decide, demand{deny: true}
	c.methods()
	return c
}

// methods: what the old policy could not read, or read otherwise, passes newly if it
// passes; what the new one cannot read does not pass.
func (c *comparison) methods() {
	if l := c.declaredIn(otherwise(c.old.doc, c.new.doc)); l != no {
		c.wider = c.or(c.wider, c.and(c.new.allows, l))
	}
	if l := c.declaredIn(unreadable(c.old.doc, c.new.doc)); l != no {
		c.wider = c.and(c.wider, l.not())
	}
}

// search finds an input that the new policy lets pass and the old one does not,
// under assumptions.
func (c *comparison) search(assume ...lit) (*Example, answer) {
	const attempts = 40
	here := c.fresh() // what is forbidden below is forbidden in this search only
	assume = append(slices.Clone(assume), here, c.wider)
	c.unverified = 0
	for range attempts {
		c.forget()
		switch a := c.solve(assume...); a {
		case unsat, exhausted:
			if a == unsat && c.unverified > 0 {
				a = exhausted
			}
			return nil, a
		}
		if x := c.verify(); x != nil {
			return x, sat
		}
		c.unverified++
		c.block(here)
	}
	return nil, exhausted
}

// verify makes an example of the solver's model, as small as it goes.
func (c *comparison) verify() *Example {
	approvers, ok := c.approve()
	if !ok {
		return nil
	}
	x := c.test(c.build(c.new.doc, approvers))
	if x == nil {
		return nil
	}
	for _, smaller := range []func(f *chain.Effects, i int) bool{
		func(f *chain.Effects, i int) bool { return without(&f.Transfers, i) },
		func(f *chain.Effects, i int) bool { return without(&f.Approvals, i) },
		func(f *chain.Effects, i int) bool { return without(&f.Calls, i) },
		func(f *chain.Effects, i int) bool { return without(&f.Creates, i) },
	} {
		for i := 0; ; {
			in, effects := *x.Input, *x.Input.Effects
			in.Effects = &effects
			if !smaller(&effects, i) {
				break
			}
			if y := c.test(&in); y != nil {
				x = y
			} else {
				i++
			}
		}
	}
	x.Words = Describe(c.new.doc, x.Input)
	return x
}

// without takes item i away; false when there is none.
func without[T any](list *[]T, i int) bool {
	if i >= len(*list) {
		return false
	}
	*list = slices.Delete(slices.Clone(*list), i, i+1)
	return true
}

// decide lets both policies decide; nil when it is no example.
func (c *comparison) decide(in *Input) *Example {
	x := &Example{Input: in}
	x.New = c.new.doc.Evaluate(c.newRoster, in.Policy())
	if !x.New.Allow {
		return nil
	}
	before := in.Policy()
	if c.unread(in) {
		effects := *in.Effects
		effects.Undecoded = "it calls a method that the policy does not declare"
		before.Effects = &effects
	}
	if x.Old = c.old.doc.Evaluate(c.oldRoster, before); x.Old.Allow {
		return nil
	}
	return x
}

// approve finds approvals for the rule that lets the model pass, which do not
// suffice for the rule of the old policy that decides it, if one does.
func (c *comparison) approve() ([]string, bool) {
	var asked *demand
	for i := range c.new.rules {
		if c.holds(c.new.rules[i].allows) {
			d := c.new.demandOf(&c.new.doc.Rules[i].Then)
			asked = &d
		}
	}
	if asked == nil {
		return nil, false
	}
	other := c.against
	for i := range c.old.rules {
		if c.holds(c.old.rules[i].fires) && !c.holds(c.old.allows) {
			other = c.old.demandOf(&c.old.doc.Rules[i].Then)
		}
	}
	for i := range c.initiator.classes {
		if class := &c.initiator.classes[i]; c.holds(class.is) {
			return asked.beyond(&other, class.named[0])
		}
	}
	return nil, false
}

// block forbids the combination of rules that gave no example.
func (c *comparison) block(here lit) {
	out := []lit{here.not()}
	for _, r := range c.new.rules {
		if c.holds(r.allows) {
			out = append(out, r.allows.not())
		}
	}
	for _, r := range c.old.rules {
		if c.holds(r.fires) {
			out = append(out, r.fires.not())
		}
	}
	for _, t := range c.textList {
		if strings.Contains(t.name, ".") {
			continue
		}
		for _, k := range t.classes {
			if c.holds(k.is) {
				out = append(out, k.is.not())
			}
		}
	}
	c.clause(out...)
}
