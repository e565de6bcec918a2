package analysis

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// Issue is something in a policy that cannot be meant.
type Issue struct {
	Kind    string   `json:"kind"` // one of the kinds below
	Place   string   `json:"place"`
	Words   string   `json:"words"`
	Example *Example `json:"-"` // where there is one; Example.Old is empty
}

// The kinds of issues. All but the last are proven for every input.
const (
	NeverTrue   = "never-true"    // a condition, or an operand of one, that nothing makes true
	AlwaysTrue  = "always-true"   // one that nothing makes false
	Shadowed    = "shadowed"      // a rule that never decides, because an earlier one always does
	Unreachable = "unreachable"   // the same, by several rules or the guards together
	Unmeetable  = "unmeetable"    // a rule whose approvals nobody can give
	Vacuous     = "holds-of-none" // a rule that passes something of which there is nothing to look at
)

// Lint finds what is without effect in a document, and rules that pass more than
// they look at.
func Lint(doc *policy.Document, roster *identity.Roster) []Issue {
	if doc == nil || roster == nil {
		return nil
	}
	if err := wellTyped(doc); err != nil {
		return []Issue{{Kind: NeverTrue, Place: "policy", Words: err.Error()}}
	}
	l := &lint{comparison: &comparison{model: newModel(roster, defaultBudget, doc), oldRoster: roster, newRoster: roster}}
	l.new = l.read(doc, roster, true)
	l.old = &reading{view: l.new.view, allows: no}
	l.against = demand{deny: true}
	n, _ := l.count(policy.OpTransfers, "", nil)
	l.moved = l.positive(n)
	if !l.finish() {
		return nil
	}
	for i := range doc.Guards {
		l.guard(i)
	}
	for i := range doc.Rules {
		l.rule(i)
	}
	return l.issues
}

type lint struct {
	*comparison
	moved  lit // there is a transfer
	issues []Issue
}

func (l *lint) say(kind, place, format string, args ...any) {
	l.issues = append(l.issues, Issue{Kind: kind, Place: place, Words: fmt.Sprintf(format, args...)})
}

// never reports whether it is proven that the literals are never all true.
func (l *lint) never(ls ...lit) bool { return l.solve(ls...) == unsat }

func (l *lint) guard(i int) {
	g, t := &l.new.doc.Guards[i], l.new.guards[i]
	place := "guard " + g.Name
	switch {
	case l.never(t.is):
		l.say(NeverTrue, place, "never matches: it denies nothing")
	case l.never(t.is.not()):
		l.say(AlwaysTrue, place, "always matches: everything is denied")
	default:
		l.operands(place, &g.When)
	}
}

func (l *lint) rule(i int) {
	r, x := &l.new.doc.Rules[i], &l.new.rules[i]
	place := "rule " + r.Name
	switch {
	case l.never(x.when.is):
		l.say(NeverTrue, place, "never matches")
		return
	case l.never(x.fires):
		l.unreached(i)
		return
	case r.When.Op != policy.OpBool && l.never(x.when.is.not()):
		l.say(AlwaysTrue, place, "its condition is always true")
	default:
		l.operands(place, &r.When)
	}
	if r.Then.Effect == policy.Require {
		l.approvals(i)
	}
	if r.Then.Effect != policy.Deny && looksAtAll(&r.When) {
		l.vacuous(i)
	}
}

// unreached says why a rule never decides.
func (l *lint) unreached(i int) {
	place, x := "rule "+l.new.doc.Rules[i].Name, &l.new.rules[i]
	if l.never(l.new.passed, x.when.is) {
		l.say(Unreachable, place, "never decides: the guards deny everything that it matches")
		return
	}
	for k := range i {
		if l.never(l.new.passed, x.when.is, l.new.rules[k].when.isNot) {
			l.say(Shadowed, place, "never decides: rule %s, before it, matches everything that it matches", l.new.doc.Rules[k].Name)
			return
		}
	}
	l.say(Unreachable, place, "never decides: the guards and rules before it match everything that it matches")
}

// approvals says for whose requests nobody can give what a rule asks for.
func (l *lint) approvals(i int) {
	place, x := "rule "+l.new.doc.Rules[i].Name, &l.new.rules[i]
	if l.never(x.allows) {
		l.say(Unmeetable, place, "nobody can give the approvals that it asks for: %s", verdictWords(&l.new.doc.Rules[i].Then))
		return
	}
	var stuck []string
	for k := range l.initiator.classes {
		c := &l.initiator.classes[k]
		if l.never(x.allows, c.is) && !l.never(x.fires, c.is) {
			stuck = append(stuck, c.named...)
		}
	}
	if len(stuck) > 0 {
		l.say(Unmeetable, place, "requests of %s cannot be approved: %s, and there are not enough others", strings.Join(stuck, " and "), verdictWords(&l.new.doc.Rules[i].Then))
	}
}

func verdictWords(v *policy.Verdict) string {
	var parts []string
	for _, q := range v.Require {
		parts = append(parts, fmt.Sprintf("%d of %s", q.Count, q.Group))
	}
	s := strings.Join(parts, " and ")
	if v.InitiatorExcluded {
		s += " besides the initiator"
	}
	return s
}

// operands finds operands of && that are always true, and of || that never are.
func (l *lint) operands(place string, e *policy.Expr) {
	switch e.Op {
	case policy.OpAnd, policy.OpOr:
	case policy.OpNot:
		l.operands(place, &e.Args[0])
		return
	default:
		return
	}
	for i := range e.Args {
		a := &e.Args[i]
		t := l.new.truth(a, nil)
		switch {
		case e.Op == policy.OpAnd && l.never(t.is.not()):
			l.say(AlwaysTrue, place, "%s is always true", l.new.format(a))
		case e.Op == policy.OpOr && l.never(t.is):
			l.say(NeverTrue, place, "%s is never true", l.new.format(a))
		default:
			l.operands(place, a)
		}
	}
}

// looksAtAll reports whether a condition quantifies over all transfers.
func looksAtAll(e *policy.Expr) bool {
	if e.Op == policy.OpAll && e.Args[0].Op == policy.OpTransfers {
		return true
	}
	for i := range e.Args {
		if looksAtAll(&e.Args[i]) {
			return true
		}
	}
	return false
}

// vacuous finds a transaction without transfers that a rule passes which looks at
// all transfers.
func (l *lint) vacuous(i int) {
	name := l.new.doc.Rules[i].Name
	l.test = func(in *Input) *Example {
		x := &Example{Input: in, New: l.new.doc.Evaluate(l.newRoster, in.Policy())}
		if !x.New.Allow || x.New.Rule != name || len(in.Effects.Transfers) > 0 {
			return nil
		}
		return x
	}
	l.wider = yes
	if x, a := l.search(l.new.rules[i].allows, l.moved.not()); a == sat {
		l.issues = append(l.issues, Issue{Vacuous, "rule " + name, "all of no transfers holds: it passes " + x.Words, x})
	}
}
