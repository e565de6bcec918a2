package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
)

// tally is how the approvals stand to a verdict's requirements.
type tally struct {
	given   [][]string // by requirement: whose approval counts for it
	missing []Missing
	never   bool // not even everyone who is left could meet the requirements
}

// tally assigns approvers to requirements. Everyone counts once, for one of the
// groups that they are in, however many keys they hold. As many as possible count;
// and they are placed so that those who have not approved yet can fill what is
// missing, if they can at all.
func (e *evaluation) tally(v *Verdict) tally {
	var pool []string
	for _, who := range e.in.Verified.Approvers {
		if !e.excluded(v, who) && !slices.Contains(pool, who) {
			pool = append(pool, who)
		}
	}
	everyone := slices.Clone(pool)
	for _, q := range v.Require {
		everyone = append(everyone, e.left(v, q.Group, everyone)...)
	}
	t := tally{given: make([][]string, len(v.Require))}
	could := make([]int, len(v.Require)) // how many places those could fill who have not approved
	for i, r := range e.assign(v.Require, everyone, len(pool)) {
		switch {
		case r < 0:
		case i < len(pool):
			t.given[r] = append(t.given[r], pool[i])
		default:
			could[r]++
		}
	}
	for i, q := range v.Require {
		n := int(q.Count) - len(t.given[i])
		if n > 0 {
			t.missing = append(t.missing, Missing{Requirement{q.Group, uint8(n)}, e.left(v, q.Group, pool)})
		}
		t.never = t.never || could[i] < n
	}
	return t
}

func (e *evaluation) excluded(v *Verdict, who string) bool {
	return v.InitiatorExcluded && who == e.in.Verified.Initiator
}

func (e *evaluation) inAny(v *Verdict, who string) bool {
	return slices.ContainsFunc(v.Require, func(q Requirement) bool { return e.roster.InGroup(who, q.Group) })
}

// left are the persons of a group who could still approve.
func (e *evaluation) left(v *Verdict, group string, approved []string) []string {
	var out []string
	for _, who := range e.roster.Members(group) {
		p, ok := e.roster.Principal(who)
		if ok && p.Kind == identity.Person && !e.excluded(v, who) && !slices.Contains(approved, who) {
			out = append(out, who)
		}
	}
	return out
}

// assign gives every place of every requirement to at most one of the people, and
// every one of the people at most one place; it returns the requirement that each
// counts for, or -1. As many as possible of the first few count, and then as many
// as possible of all (augmenting paths, which displace nobody who has a place).
// There are at most MaxRequirements·maxCount places.
func (e *evaluation) assign(require []Requirement, people []string, first int) []int {
	var place []int // the requirement of each place
	for i, q := range require {
		for range q.Count {
			place = append(place, i)
		}
	}
	holds := make([]int, len(people)) // the place that each holds, or -1
	for i := range holds {
		holds[i] = -1
	}
	var fill func(p int, seen []bool) bool
	fill = func(p int, seen []bool) bool {
		group := require[place[p]].Group
		for i := range seen { // somebody free, before anybody moves
			if holds[i] < 0 && e.roster.InGroup(people[i], group) {
				holds[i] = p
				return true
			}
		}
		for i := range seen {
			if seen[i] || !e.roster.InGroup(people[i], group) {
				continue
			}
			seen[i] = true
			if fill(holds[i], seen) {
				holds[i] = p
				return true
			}
		}
		return false
	}
	for _, n := range []int{first, len(people)} {
		for p := range place {
			if !slices.Contains(holds, p) {
				fill(p, make([]bool, n))
			}
		}
	}
	for i, p := range holds {
		if p >= 0 {
			holds[i] = place[p]
		}
	}
	return holds
}

// require decides a matching rule that asks for approvals.
func (e *evaluation) require(r *Rule) Decision {
	for _, q := range r.Then.Require {
		for _, who := range e.in.Verified.Denials {
			if e.roster.InGroup(who, q.Group) {
				return Decision{
					Code: CodeDenied, Detail: fmt.Sprintf("rule %s: %s of %s denied this request", r.Name, who, q.Group),
					Fix: "a new request that " + who + " does not deny",
				}
			}
		}
	}
	if len(r.Then.Require) == 0 { // never of a checked document; nobody to ask is not nobody needed
		return Decision{Code: CodeRule, Detail: fmt.Sprintf("rule %s requires approvals of no group", r.Name)}
	}
	n := e.tally(&r.Then)
	detail := fmt.Sprintf("rule %s needs %s", r.Name, e.standing(r, n.given))
	if len(n.missing) == 0 {
		return Decision{Allow: true, Code: CodeAllow, Detail: detail}
	}
	if n.never {
		return Decision{Code: CodeUnmeetable, Detail: detail + ", and there are not enough others whose approval counts", Fix: "a request by another initiator, or larger groups"}
	}
	var fixes []string
	for _, m := range n.missing {
		more := ""
		if g := n.given[slices.IndexFunc(r.Then.Require, func(q Requirement) bool { return q.Group == m.Group })]; len(g) > 0 {
			more = "more "
		}
		fixes = append(fixes, fmt.Sprintf("%s (%s)", approvals(int(m.Count), more, m.Group), orList(m.From)))
	}
	return Decision{Pending: true, Code: CodeApprovals, Detail: detail, Fix: strings.Join(fixes, " and "), Missing: n.missing}
}

// standing is "2 approvals from treasurers, 1 given (bob)", and whose approval is
// there but does not count.
func (e *evaluation) standing(r *Rule, given [][]string) string {
	var parts, groups []string
	for i, q := range r.Then.Require {
		s := approvals(int(q.Count), "", q.Group) + ", none given"
		if len(given[i]) > 0 {
			s = fmt.Sprintf("%s, %d given (%s)", approvals(int(q.Count), "", q.Group), len(given[i]), strings.Join(given[i], ", "))
		}
		parts, groups = append(parts, s), append(groups, q.Group)
	}
	s := strings.Join(parts, " and ")
	var not []string
	for _, who := range e.in.Verified.Approvers {
		switch {
		case e.excluded(&r.Then, who):
			not = append(not, who+" proposed it")
		case !e.inAny(&r.Then, who):
			not = append(not, who+" is not in "+orList(groups))
		}
	}
	for _, x := range e.in.Verified.Ignored {
		if p, ok := e.roster.Principal(x.Principal); ok && p.Kind == identity.Person {
			not = append(not, x.Principal+": "+x.Why)
		}
	}
	if len(not) > 0 {
		s += fmt.Sprintf(", not counted: %s", strings.Join(not, "; "))
	}
	return s
}
