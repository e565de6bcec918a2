package analysis

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// Outcome is the answer to a question about all inputs.
type Outcome uint8

// The outcomes.
const (
	Proven   Outcome = 1 // it holds for all inputs
	Broken   Outcome = 2 // there is an input for which it does not
	Unproven Outcome = 3 // it is not known
)

func (o Outcome) String() string {
	switch o {
	case Proven:
		return "proven"
	case Broken:
		return "broken"
	case Unproven:
		return "unproven"
	}
	return fmt.Sprintf("outcome-%d", uint8(o))
}

// Finding is what is known of one invariant.
type Finding struct {
	Invariant string
	Outcome   Outcome
	Reason    string
	Example   *Example // Broken: an input that passes with less; Example.Old is empty
}

// Invariants says for each invariant of the document whether it holds: that
// whatever its condition is true of passes only with a verdict of at least its
// floor.
func Invariants(doc *policy.Document, roster *identity.Roster) []Finding {
	return invariants(doc, roster, defaultBudget)
}

func invariants(doc *policy.Document, roster *identity.Roster, budget int64) []Finding {
	if doc == nil || roster == nil {
		return nil
	}
	err := wellTyped(doc)
	var out []Finding
	for i := range doc.Invariants {
		f := Finding{Invariant: doc.Invariants[i].Name, Outcome: Unproven}
		if err != nil {
			f.Reason = err.Error()
		} else {
			newInvariant(doc, roster, &doc.Invariants[i], budget/int64(len(doc.Invariants))).decide(&f)
		}
		out = append(out, f)
	}
	return out
}

// invariant looks for what an invariant forbids. The floor is the old policy, and
// the document the new one.
type invariant struct {
	*comparison
	of    *policy.Invariant
	probe *policy.Document // a policy that allows what the condition is true of
	floor demand
}

func newInvariant(doc *policy.Document, roster *identity.Roster, of *policy.Invariant, budget int64) *invariant {
	probe := *doc
	probe.Guards, probe.Rules = nil, []policy.Rule{{Name: "invariant", When: of.When, Then: policy.Verdict{Effect: policy.Allow}}}
	c := &comparison{model: newModel(roster, budget, doc), oldRoster: roster, newRoster: roster}
	c.new = c.read(doc, roster, true)
	v := &invariant{comparison: c, of: of, probe: &probe, floor: c.new.view.floor(&of.AtLeast)}
	c.old = &reading{view: c.new.view, allows: no}
	c.wider = c.and(c.new.allows, c.new.truth(&of.When, nil).is, c.want(v.floor, false).not())
	c.test = v.test
	c.against = v.floor
	return v
}

// test decides an input again: it passes, the condition is true of it, and the
// approvals do not reach the floor.
func (v *invariant) test(in *Input) *Example {
	x := &Example{Input: in, New: v.new.doc.Evaluate(v.newRoster, in.Policy())}
	if !x.New.Allow {
		return nil
	}
	if d := v.probe.Evaluate(v.newRoster, in.Policy()); !d.Allow {
		return nil
	}
	if v.floor.satisfied(in.Verified.Approvers, in.Verified.Initiator) {
		return nil
	}
	return x
}

func (v *invariant) decide(f *Finding) {
	f.Outcome, f.Reason = Proven, fmt.Sprintf("whenever %s, it takes %s", v.new.format(&v.of.When), floorWords(&v.of.AtLeast))
	if v.solve(v.wider) == unsat {
		return
	}
	if !v.finish() {
		f.Outcome, f.Reason = Unproven, "the policy is too large to prove it"
		return
	}
	x, a := v.search()
	switch a {
	case sat:
		f.Outcome, f.Example = Broken, x
		f.Reason = fmt.Sprintf("rule %s allows %s; want %s", x.New.Rule, x.Words, floorWords(&v.of.AtLeast))
	case exhausted:
		f.Outcome, f.Reason = Unproven, v.doubt()
	}
}

func floorWords(f *policy.Floor) string {
	if f.Deny {
		return "a denial"
	}
	s := fmt.Sprintf("%d approvals", f.Approvals)
	if f.Approvals == 1 {
		s = "1 approval"
	}
	if f.Group != "" {
		s += " from " + f.Group
	}
	if f.InitiatorExcluded {
		s += " besides the initiator's"
	}
	return strings.TrimSpace(s)
}
