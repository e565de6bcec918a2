package analysis

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
)

func TestInvariants(t *testing.T) {
	big := infix(policy.OpGt, tot(usdc), amountOf(10_000_000_000, usdc))
	small := and(onlyTr, infix(policy.OpLe, tot(usdc), amountOf(10_000_000_000, usdc)))
	two := require(true, policy.Requirement{Group: "treasurers", Count: 2})
	one := require(false, policy.Requirement{Group: "treasurers", Count: 1})
	alone := policy.Floor{Approvals: 1, InitiatorExcluded: true}
	sum := ex{Op: policy.OpAdd, Args: []ex{tot(usdc), amountOf(1, usdc)}}
	for _, c := range []struct {
		name  string
		rules []policy.Rule
		when  ex
		floor policy.Floor
		want  Outcome
		words string
	}{
		{"nobody alone", []policy.Rule{rule("small", small, allow), rule("large", onlyTr, two)}, big, alone, Proven, "1 approval besides the initiator's"},
		{"somebody alone", []policy.Rule{rule("small", onlyTr, allow), rule("large", onlyTr, two)}, big, alone, Broken, "a transfer of 11000 USDC"},
		{"the initiator's own approval", []policy.Rule{rule("small", small, allow), rule("large", onlyTr, one)}, big, alone, Broken, "approved by alice"},
		{"two of anybody", []policy.Rule{rule("large", onlyTr, two)}, big, policy.Floor{Approvals: 2}, Proven, ""},
		{"three of anybody", []policy.Rule{rule("large", onlyTr, two)}, big, policy.Floor{Approvals: 3}, Broken, ""},
		{"another group", []policy.Rule{rule("large", onlyTr, two)}, big, policy.Floor{Approvals: 1, Group: "traders"}, Broken, "alice"},
		{"admins, who are the same people", []policy.Rule{rule("large", onlyTr, two)}, big, policy.Floor{Approvals: 2, Group: "admins"}, Proven, ""},
		{"a denial", []policy.Rule{rule("any", boolean(true), two)}, anyBad, policy.Floor{Deny: true}, Proven, "it takes a denial"},
		{"no denial", []policy.Rule{rule("any", boolean(true), two)}, leaf(policy.OpMessagePresent), policy.Floor{Deny: true}, Broken, "a message"},
		{"in small parts", []policy.Rule{rule("small", quant(policy.OpAll, policy.OpTransfers, and(infix(policy.OpEq, field("asset"), str(usdc)), infix(policy.OpLe, field("amount"), amountOf(1_000_000_000, usdc)))), allow)}, big, alone, Broken, "times a transfer of 1000 USDC"},
		{"outside the fragment", []policy.Rule{rule("small", infix(policy.OpLe, sum, amountOf(5, usdc)), allow)}, big, alone, Unproven, "total"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := base(c.rules...)
			d.Invariants = []policy.Invariant{{Name: "i", When: c.when, AtLeast: c.floor}}
			if err := d.Check(testRoster()); err != nil {
				t.Fatal(err)
			}
			got := Invariants(d, testRoster())[0]
			if got.Outcome != c.want || !strings.Contains(got.Reason, c.words) {
				t.Errorf("%s: %s\nwant %s: …%s…", got.Outcome, got.Reason, c.want, c.words)
			}
		})
	}
}
