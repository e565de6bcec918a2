package analysis

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
)

func TestLint(t *testing.T) {
	two := require(true, policy.Requirement{Group: "traders", Count: 2})
	three := require(true, policy.Requirement{Group: "treasurers", Count: 3})
	for _, c := range []struct {
		name   string
		guards []policy.Guard
		rules  []policy.Rule
		want   []string
	}{
		{"nothing", nil, []policy.Rule{rule("a", and(onlyTr, allKnown, atMostETH(5)), allow), rule("rest", boolean(true), deny)}, nil},
		{"shadowed", nil, []policy.Rule{rule("a", and(onlyTr, atMostETH(5)), allow), rule("b", and(onlyTr, atMostETH(4), riskPass), allow)}, []string{"shadowed rule b never decides: rule a,"}},
		{"shadowed by two", nil, []policy.Rule{rule("a", and(onlyTr, atMostETH(5)), allow), rule("b", and(onlyTr, not(atMostETH(5))), deny), rule("c", onlyTr, allow)}, []string{"unreachable rule c never decides: the guards and rules"}},
		{"behind a guard", []policy.Guard{{Name: "g", When: not(onlyTr)}}, []policy.Rule{rule("m", leaf(policy.OpMessagePresent), allow)}, []string{"unreachable rule m never decides: the guards deny"}},
		{"never", []policy.Guard{{Name: "g", When: and(onlyTr, leaf(policy.OpMessagePresent))}}, []policy.Rule{rule("a", and(atMostETH(3), infix(policy.OpGt, tot(eth), amountOf(4, eth))), allow)}, []string{"never-true guard g never matches", "never-true rule a never matches"}},
		{"always", []policy.Guard{{Name: "g", When: or(onlyTr, not(onlyTr))}}, nil, []string{"always-true guard g always matches"}},
		{"an operand", nil, []policy.Rule{rule("a", and(onlyTr, infix(policy.OpGe, size(policy.OpTransfers), num(1)), or(riskPass, and(onlyTr, leaf(policy.OpMessagePresent)))), allow)}, []string{"never-true rule a onlyTransfers && message.present is never true"}},
		{"a small group", nil, []policy.Rule{rule("a", onlyTr, two)}, []string{"unmeetable rule a nobody can give the approvals that it asks for: 2 of traders besides the initiator"}},
		{"a small group for its members", nil, []policy.Rule{rule("a", onlyTr, three)}, []string{"unmeetable rule a requests of alice and bob and carol cannot be approved: 3 of treasurers"}},
		{"all of nothing", nil, []policy.Rule{rule("a", allKnown, allow)}, []string{"holds-of-none rule a all of no transfers holds: it passes a transaction that moves nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := base(c.rules...)
			d.Guards = c.guards
			var got []string
			for _, i := range Lint(d, testRoster()) {
				got = append(got, i.Kind+" "+i.Place+" "+i.Words)
				if i.Example != nil && !d.Evaluate(testRoster(), i.Example.Input.Policy()).Allow {
					t.Errorf("the example of %s does not pass", i.Words)
				}
			}
			ok := len(got) == len(c.want)
			for i := range c.want {
				ok = ok && strings.HasPrefix(got[i], c.want[i])
			}
			if !ok {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}
