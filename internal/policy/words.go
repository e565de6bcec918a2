package policy

import (
	"fmt"
	"slices"
	"strings"
)

// show writes an account, an asset or any other value for people: an asset of the
// document by its symbol, an account on the request's chain by its address. An
// address is never shortened: two that look alike when shortened are the oldest
// trick there is.
func (e *evaluation) show(s string) string {
	if a, ok := e.doc.asset(s); ok {
		return a.Symbol
	}
	if s == "" {
		return "(none)"
	}
	address, ok := strings.CutPrefix(s, e.in.Request.Chain+":")
	if !ok {
		return s
	}
	for i := range e.doc.AddressBook {
		if slices.Contains(e.doc.AddressBook[i].Addresses, s) {
			return fmt.Sprintf("%s (%s)", address, e.doc.AddressBook[i].Label)
		}
	}
	return address
}

// list writes a set for people.
func (e *evaluation) list(set []string) string {
	var out []string
	for _, s := range set {
		if label, ok := strings.CutPrefix(s, "label:"); ok {
			out = append(out, "in label "+label)
		} else if group, ok := strings.CutPrefix(s, "group:"); ok {
			out = append(out, "in group "+group)
		} else {
			out = append(out, e.show(s))
		}
	}
	return orList(out)
}

func article(noun string) string {
	if strings.HasPrefix(noun, "a") {
		return "an " + noun
	}
	return "a " + noun
}

// orList is "a, b or c", and cut when long.
func orList(list []string) string {
	const most = 8
	if n := len(list); n > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" or %d more", n-most)
	}
	switch n := len(list); n {
	case 0:
		return "nobody"
	case 1:
		return list[0]
	default:
		return strings.Join(list[:n-1], ", ") + " or " + list[n-1]
	}
}

// words writes a condition as the document has it: "amountAtMost 2 ETH".
func (d *Document) words(c *Condition) string {
	var out []string
	for _, s := range c.Set {
		if a, ok := d.asset(s); ok {
			s = a.Symbol
		}
		out = append(out, s)
	}
	for i := range c.Limits {
		out = append(out, d.Amount(c.Limits[i].Asset, c.Limits[i].Amount))
	}
	for _, o := range c.Outcomes {
		out = append(out, o.String())
	}
	const most = 8
	if n := len(out); n > most {
		out = append(out[:most], fmt.Sprintf("and %d more", n-most))
	}
	if len(out) == 0 {
		return c.Op.String()
	}
	return c.Op.String() + " " + strings.Join(out, ", ")
}

// words writes what a rule does.
func (v *Verdict) words() string {
	switch v.Effect {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	}
	var out []string
	for _, q := range v.Require {
		out = append(out, approvals(int(q.Count), "", q.Group))
	}
	s := "require " + strings.Join(out, " and ")
	if v.InitiatorExcluded {
		s += ", not counting the initiator's own"
	}
	return s
}

// approvals is "2 approvals from treasurers", "1 more approval from treasurers".
func approvals(n int, more, group string) string {
	s := "approvals"
	if n == 1 {
		s = "approval"
	}
	return fmt.Sprintf("%d %s%s from %s", n, more, s, group)
}
