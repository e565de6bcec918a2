package policy

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
)

// Evaluate decides. It is total: any document, roster and input give a Decision.
func (d *Document) Evaluate(roster *identity.Roster, in Input) Decision {
	if d == nil || roster == nil || in.incomplete() {
		return Decision{Code: CodeInput, Detail: "there is no policy, roster, request, effects or verified signatures to decide with"}
	}
	return newEvaluation(d, d.program(), roster, in).decide()
}

func (in *Input) incomplete() bool {
	return in.Request == nil || in.Effects == nil || in.Verified == nil
}

// decide is the order of decision: built-in guards, guards, rules.
func (e *evaluation) decide() Decision {
	out := e.verdictOf()
	out.Limits = e.uses()
	out.Rule = wire.CleanText(out.Rule, refusal.MaxRule)
	out.Detail, out.Fix = wire.CleanText(out.Detail, refusal.MaxDetail), wire.CleanText(out.Fix, refusal.MaxFix)
	return out
}

func (e *evaluation) verdictOf() Decision {
	if out, done := e.builtin(); done {
		return out
	}
	if out, done := e.guards(); done {
		return out
	}
	out, decided := e.rules()
	if decided || !e.held() {
		return out
	}
	// Nothing matched. If a risk engine holds the request and would let it through
	// once it says pass, it waits instead of being denied for good.
	e.holdWaits = true
	e.forget()
	if waiting, decided := e.rules(); decided && waiting.Pending {
		return waiting
	}
	return out
}

func (e *evaluation) held() bool {
	for i := range e.in.Verified.Risk {
		if e.in.Verified.Risk[i].Outcome == riskHold {
			return true
		}
	}
	return false
}

// builtin are the guards of every policy: what was decoded must be what people
// signed, and all of it understood.
func (e *evaluation) builtin() (Decision, bool) {
	q, f := e.in.Request, e.in.Effects
	wrong := func(field, got, want string) (Decision, bool) {
		return Decision{
			Code: CodeEffects, Rule: effectsGuard, Fix: "a transaction that does what the request says",
			Detail: fmt.Sprintf("the transaction's %s is %s, the request says %s", field, got, want),
		}, true
	}
	switch {
	case f.Chain != q.Chain:
		return wrong("chain", f.Chain, q.Chain)
	case f.Sender != q.Sender:
		return wrong("sender", f.Sender, q.Sender)
	case f.MaxFee.Gt(&q.MaxFee):
		return wrong("maximum fee", f.MaxFee.Dec(), "at most "+q.MaxFee.Dec())
	case f.Undecoded != "":
		return Decision{
			Code: CodeUndecoded, Rule: undecodedGuard, Fix: "a transaction that the vaults understand completely",
			Detail: "the transaction could not be understood: " + f.Undecoded,
		}, true
	}
	return Decision{}, false
}

// guards denies when a guard matches, else when one cannot be computed. One that
// waits stops everything behind it, unless another one denies.
func (e *evaluation) guards() (Decision, bool) {
	failed, waiting := -1, -1
	for i := range e.prog.guards {
		name := e.doc.Guards[i].Name
		switch e.boolean(&e.prog.guards[i]) {
		case True:
			n := e.explain(&e.prog.guards[i])
			return Decision{Code: CodeGuard, Rule: name, Detail: fmt.Sprintf("guard %s denies: %s", name, n.Detail), Fix: n.Fix}, true
		case Failed:
			if failed < 0 {
				failed = i
			}
		case Waiting:
			if waiting < 0 {
				waiting = i
			}
		}
	}
	switch {
	case failed >= 0:
		n, name := e.explain(&e.prog.guards[failed]), e.doc.Guards[failed].Name
		return Decision{Code: n.errorCode(), Rule: name, Detail: fmt.Sprintf("guard %s cannot be computed: %s", name, n.Detail), Fix: n.Fix}, true
	case waiting >= 0:
		n, name := e.explain(&e.prog.guards[waiting]), e.doc.Guards[waiting].Name
		return Decision{Pending: true, Code: n.waitCode(), Rule: name, Detail: fmt.Sprintf("guard %s cannot be passed yet: %s", name, n.Detail), Fix: n.Fix}, true
	}
	return Decision{}, false
}

// rules lets the first rule decide that does not fail to match. When none does it
// returns the default, and false. Why rules before it do not match is only said
// when it does not allow.
func (e *evaluation) rules() (Decision, bool) {
	for i := range e.prog.rules {
		t := e.boolean(&e.prog.rules[i])
		if t == False {
			continue
		}
		r := &e.doc.Rules[i]
		out := e.by(r, &e.prog.rules[i], t)
		out.Rule, out.BreakGlass = r.Name, r.BreakGlass
		if !out.Allow {
			if passed := e.passed(i); len(passed) > 0 {
				out.Detail = mismatches(passed) + "; " + out.Detail
				out.Fix = alternatives(append(nearest(passed, 1), out.Fix))
			}
		}
		return out, true
	}
	passed := e.passed(len(e.prog.rules))
	if len(passed) == 0 {
		return Decision{Code: CodeDefault, Detail: "there is no rule, and what no rule allows is denied"}, false
	}
	return Decision{
		Code: CodeDefault, Detail: mismatches(passed) + "; what no rule allows is denied",
		Fix: alternatives(nearest(passed, 0)),
	}, false
}

// by is the decision of the rule that does not fail to match.
func (e *evaluation) by(r *Rule, n *node, t Truth) Decision {
	switch t {
	case True:
		return e.then(r, n)
	case Waiting:
		x := e.explain(n)
		out := Decision{Pending: true, Code: x.waitCode(), Detail: fmt.Sprintf("rule %s waits: %s", r.Name, x.Detail), Fix: x.Fix}
		if r.Then.Effect == Require { // approvals can be given in the meantime
			out.Missing = e.tally(&r.Then).missing
		}
		return out
	}
	x := e.explain(n)
	return Decision{Code: x.errorCode(), Detail: fmt.Sprintf("rule %s cannot be computed: %s", r.Name, x.Detail), Fix: x.Fix}
}

// then is for a rule that matches.
func (e *evaluation) then(r *Rule, n *node) Decision {
	switch r.Then.Effect {
	case Allow:
		return Decision{Allow: true, Code: CodeAllow, Detail: "rule " + r.Name + " allows it"}
	case Require:
		return e.require(r)
	}
	x := e.explain(n)
	return Decision{Code: CodeRule, Detail: fmt.Sprintf("rule %s denies: %s", r.Name, x.Detail), Fix: x.Fix}
}

// maxPassed is how many rules that do not match an answer explains.
const maxPassed = 12

// passed explains the rules before n: the first few, and those that are nearest to
// allowing something.
func (e *evaluation) passed(n int) []Trace {
	out := make([]Trace, 0, n)
	for i := range n {
		out = append(out, e.rule(i))
	}
	return out
}

// Trace is one guard or rule with what it made of the input.
type Trace struct {
	Name    string `json:"name"`
	Guard   bool   `json:"guard"`
	Value   Truth  `json:"value"` // does it match
	Then    string `json:"then"`  // what it does when it matches
	When    Node   `json:"when"`
	Decides bool   `json:"decides"` // this one decided
	effect  Effect
}

func (e *evaluation) guard(i int) Trace {
	n := e.explain(&e.prog.guards[i])
	return Trace{Name: e.doc.Guards[i].Name, Guard: true, Value: n.Value, Then: "deny", When: n, effect: Deny}
}

func (e *evaluation) rule(i int) Trace {
	r, n := &e.doc.Rules[i], e.explain(&e.prog.rules[i])
	return Trace{Name: r.Name, Value: n.Value, Then: r.Then.words(), When: n, effect: r.Then.Effect}
}

// Explanation is a decision and how every guard and rule stands to the input,
// those that were not reached included, and how the limits stand.
type Explanation struct {
	Decision Decision   `json:"decision"`
	Guards   []Trace    `json:"guards"`
	Rules    []Trace    `json:"rules"`
	Limits   []LimitUse `json:"limits,omitempty"`
}

// Explain decides and shows how.
func (d *Document) Explain(roster *identity.Roster, in Input) Explanation {
	x := Explanation{Decision: d.Evaluate(roster, in)}
	if d == nil || roster == nil || in.incomplete() {
		return x
	}
	e := newEvaluation(d, d.program(), roster, in)
	for i := range d.Guards {
		x.Guards = append(x.Guards, e.guard(i))
	}
	for i := range d.Rules {
		x.Rules = append(x.Rules, e.rule(i))
	}
	for _, list := range [][]Trace{x.Guards, x.Rules} {
		for i := range list {
			list[i].Decides = list[i].Name == x.Decision.Rule
		}
	}
	if in.Ledger != nil {
		for i := range d.Limits {
			e.limit(i)
		}
	}
	x.Limits = e.uses()
	return x
}

// mismatches says why rules do not match.
func mismatches(passed []Trace) string {
	var out []string
	for i := range passed {
		if i == maxPassed {
			out = append(out, fmt.Sprintf("%d more rules do not match", len(passed)-maxPassed))
			break
		}
		out = append(out, fmt.Sprintf("rule %s does not match: %s", passed[i].Name, passed[i].When.Detail))
	}
	return strings.Join(out, "; ")
}

// nearest returns what would make the nearest of the rules match that allow
// something; with within > 0 only those where so few things would have to change.
func nearest(passed []Trace, within int) []string {
	best := within
	for i := range passed {
		if n := passed[i].When.failing; passed[i].effect != Deny && within == 0 && (best == 0 || n < best) {
			best = n
		}
	}
	var out []string
	for i := range passed {
		t := &passed[i]
		if t.effect == Deny || t.When.failing > best || len(out) == 3 {
			continue
		}
		fix := t.When.Fix
		if t.effect == Require && within == 0 {
			fix += ", with " + strings.TrimPrefix(t.Then, "require ")
		}
		if t.effect == Allow || within == 0 {
			out = append(out, fix)
		}
	}
	return out
}

func alternatives(fixes []string) string { return join(fixes, ", or ") }
