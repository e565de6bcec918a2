package policy

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/identity"
)

// Check says whether the document is well formed and fits the roster: every group,
// role, principal, risk engine and price source that it names exists, and every
// requirement can be met. The error is a *refusal.Refusal that names the place.
func (d *Document) Check(roster *identity.Roster) error {
	if err := d.checkForm(); err != nil {
		return err
	}
	if n := len(d.Encode()); n > MaxDocument {
		return invalid("policy", "%d bytes, at most %d", n, MaxDocument)
	}
	for _, s := range d.Prices.Sources {
		if err := principalOf(roster, s, identity.Source, "a price source"); err != nil {
			return invalid("prices", "%v", err)
		}
	}
	for i := range d.Guards {
		if err := fits(&d.Guards[i].When, roster); err != nil {
			return invalid("guard "+d.Guards[i].Name, "%v", err)
		}
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		if err := fits(&r.When, roster); err != nil {
			return invalid("rule "+r.Name, "%v", err)
		}
		for _, q := range r.Then.Require {
			at := fmt.Sprintf("rule %s: require %d of %s", r.Name, q.Count, q.Group)
			if err := groupOf(roster, q.Group); err != nil {
				return invalid(at, "%v", err)
			}
			if have := persons(roster, q.Group); have < int(q.Count) {
				return invalid(at, "the group has %d persons: it could never be met", have)
			}
		}
	}
	for i := range d.Invariants {
		v := &d.Invariants[i]
		err := fits(&v.When, roster)
		if err == nil && v.AtLeast.Group != "" {
			err = groupOf(roster, v.AtLeast.Group)
		}
		if err != nil {
			return invalid("invariant "+v.Name, "%v", err)
		}
	}
	return nil
}

// fits checks the names that a condition takes from the roster.
func fits(e *Expr, roster *identity.Roster) error {
	for i := range e.Args {
		if err := fits(&e.Args[i], roster); err != nil {
			return err
		}
	}
	var err error
	switch e.Op {
	case OpInGroup:
		err = groupOf(roster, e.Text)
	case OpHasRole:
		if _, ok := roster.Role(e.Text); !ok {
			err = fmt.Errorf("there is no role %q in the roster%s", e.Text, form.Suggest(e.Text, names(roster.Roles, func(r *identity.Role) string { return r.Name })))
		}
	case OpRiskOutcome, OpRiskScore:
		err = principalOf(roster, e.Text, identity.Risk, "a risk engine")
	case OpIn:
		if principal(&e.Args[0]) {
			for _, s := range e.Set {
				if err == nil {
					err = principalOf(roster, s, 0, "")
				}
			}
		}
	case OpEq, OpNe:
		for i := range e.Args {
			if e.Args[i].Op == OpText && principal(&e.Args[1-i]) && err == nil {
				err = principalOf(roster, e.Args[i].Text, 0, "")
			}
		}
	}
	if err != nil {
		return wrong(e, "%v", err)
	}
	return nil
}

func principal(e *Expr) bool { return e.Op == OpInitiator || e.Op == OpItem }

func groupOf(roster *identity.Roster, name string) error {
	if roster.HasGroup(name) {
		return nil
	}
	return fmt.Errorf("there is no group %q in the roster%s", name, form.Suggest(name, names(roster.Groups, func(g *identity.Group) string { return g.Name })))
}

// principalOf checks that a principal exists and is of a kind, if one is given.
func principalOf(roster *identity.Roster, id string, kind identity.Kind, want string) error {
	p, ok := roster.Principal(id)
	if !ok {
		return fmt.Errorf("%q is not in the roster%s", id, form.Suggest(id, names(roster.Principals, func(p *identity.Principal) string { return p.ID })))
	}
	if kind != 0 && p.Kind != kind {
		return fmt.Errorf("%s is a %s principal, want %s", id, p.Kind, want)
	}
	return nil
}

func persons(roster *identity.Roster, group string) int {
	n := 0
	for _, m := range roster.Members(group) {
		if p, ok := roster.Principal(m); ok && p.Kind == identity.Person {
			n++
		}
	}
	return n
}
