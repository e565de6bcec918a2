package policy

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

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

// Explanation is a decision and how every guard and rule stands to the input,
// those that were not reached included.
type Explanation struct {
	Decision Decision `json:"decision"`
	Guards   []Trace  `json:"guards"`
	Rules    []Trace  `json:"rules"`
}

// Evaluate decides. It is total: any document, roster and input give a Decision.
func (d *Document) Evaluate(roster *identity.Roster, in Input) Decision {
	out := d.evaluate(roster, in)
	out.Rule = wire.CleanText(out.Rule, refusal.MaxRule)
	out.Detail, out.Fix = wire.CleanText(out.Detail, refusal.MaxDetail), wire.CleanText(out.Fix, refusal.MaxFix)
	return out
}

// Explain decides and shows how.
func (d *Document) Explain(roster *identity.Roster, in Input) Explanation {
	x := Explanation{Decision: d.Evaluate(roster, in)}
	if d == nil || roster == nil || in.incomplete() {
		return x
	}
	e := &evaluation{doc: d, roster: roster, in: in}
	for i := range d.Guards {
		x.Guards = append(x.Guards, e.guard(&d.Guards[i]))
	}
	for i := range d.Rules {
		x.Rules = append(x.Rules, e.rule(&d.Rules[i]))
	}
	for _, list := range [][]Trace{x.Guards, x.Rules} {
		for i := range list {
			list[i].Decides = list[i].Name == x.Decision.Rule
		}
	}
	return x
}

func (in *Input) incomplete() bool {
	return in.Request == nil || in.Effects == nil || in.Verified == nil
}

func (e *evaluation) guard(g *Guard) Trace {
	n := e.node(&g.When)
	return Trace{Name: g.Name, Guard: true, Value: n.Value, Then: "deny", When: n, effect: Deny}
}

func (e *evaluation) rule(r *Rule) Trace {
	n := e.node(&r.When)
	return Trace{Name: r.Name, Value: n.Value, Then: r.Then.words(), When: n, effect: r.Then.Effect}
}

// evaluate is the order of decision: input, built-in guards, guards, rules.
func (d *Document) evaluate(roster *identity.Roster, in Input) Decision {
	if d == nil || roster == nil || in.incomplete() {
		return Decision{Code: CodeInput, Detail: "there is no policy, roster, request, effects or verified signatures to decide with"}
	}
	e := &evaluation{doc: d, roster: roster, in: in}
	if out, done := e.builtin(); done {
		return out
	}
	if out, done := e.guards(); done {
		return out
	}
	out, decided := e.rules()
	if decided {
		return out
	}
	// Nothing matched. If a risk engine holds the request and would let it through
	// once it says pass, it waits instead of being denied for good.
	if e.held() {
		e.holdWaits = true
		if waiting, decided := e.rules(); decided {
			return waiting
		}
	}
	return out
}

func (e *evaluation) held() bool {
	for i := range e.in.Verified.Risk {
		if e.in.Verified.Risk[i].Outcome == request.Hold {
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

// guards denies when a guard matches. One that waits stops everything behind it,
// unless another one denies.
func (e *evaluation) guards() (Decision, bool) {
	var waiting *Trace
	for i := range e.doc.Guards {
		t := e.guard(&e.doc.Guards[i])
		switch t.Value {
		case True:
			return Decision{Code: CodeGuard, Rule: t.Name, Detail: fmt.Sprintf("guard %s denies: %s", t.Name, t.When.Detail), Fix: t.When.Fix}, true
		case Waiting:
			if waiting == nil {
				waiting = &t
			}
		}
	}
	if waiting == nil {
		return Decision{}, false
	}
	return Decision{
		Pending: true, Code: CodeRisk, Rule: waiting.Name, Fix: waiting.When.Fix,
		Detail: fmt.Sprintf("guard %s cannot be passed yet: %s", waiting.Name, waiting.When.Detail),
	}, true
}

// rules lets the first rule decide that matches or waits. When none does it
// returns the default, and false.
func (e *evaluation) rules() (Decision, bool) {
	var passed []Trace
	for i := range e.doc.Rules {
		r := &e.doc.Rules[i]
		t := e.rule(r)
		var out Decision
		switch t.Value {
		case False:
			passed = append(passed, t)
			continue
		case True:
			out = e.then(r, &t)
		case Waiting:
			out = e.wait(r, &t)
		}
		out.Rule = r.Name
		if !out.Allow {
			if len(passed) > 0 {
				out.Detail = mismatches(passed) + "; " + out.Detail
			}
			out.Fix = alternatives(append(nearest(passed, 1), out.Fix))
		}
		return out, true
	}
	out := Decision{Code: CodeDefault, Detail: "there is no rule, and what no rule allows is denied"}
	if len(passed) > 0 {
		out.Detail = mismatches(passed) + "; what no rule allows is denied"
		out.Fix = alternatives(nearest(passed, 0))
	}
	return out, false
}

// wait is for a rule that a missing verdict will settle. Approvals can be given
// in the meantime.
func (e *evaluation) wait(r *Rule, t *Trace) Decision {
	out := Decision{Pending: true, Code: CodeRisk, Detail: fmt.Sprintf("rule %s waits: %s", r.Name, t.When.Detail), Fix: t.When.Fix}
	if r.Then.Effect == Require {
		out.Missing = e.count(&r.Then).missing
	}
	return out
}

// then is for a rule that matches.
func (e *evaluation) then(r *Rule, t *Trace) Decision {
	switch r.Then.Effect {
	case Allow:
		return Decision{Allow: true, Code: CodeAllow, Detail: fmt.Sprintf("rule %s allows: %s", r.Name, t.When.Detail)}
	case Require:
		return e.require(r, t)
	}
	return Decision{Code: CodeRule, Detail: fmt.Sprintf("rule %s denies: %s", r.Name, t.When.Detail), Fix: t.When.Fix}
}

// mismatches says why rules do not match.
func mismatches(passed []Trace) string {
	const most = 12
	var out []string
	for i := range passed {
		if i == most {
			out = append(out, fmt.Sprintf("%d more rules do not match", len(passed)-most))
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
