package governance

import (
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/analysis"
	"github.com/cofferhq/coffer/internal/refusal"
)

// judgePolicy compares two policies, each with its roster.
func judgePolicy(old, new *policy.Document, oldRoster, newRoster *identity.Roster) Judgement {
	if old.Root() == new.Root() && oldRoster.Root() == newRoster.Root() {
		return tightens("the policy says the same")
	}
	r := analysis.Classify(old, new, oldRoster, newRoster)
	j := Judgement{r.Class, r.Reason}
	if r.Example != nil && !strings.Contains(j.Reason, r.Example.Words) {
		j.Reason += "; for example " + r.Example.Words
	}
	return j
}

// checkInvariants: what the admins stated of their policy is proven, or it does not
// come in force.
func checkInvariants(d *policy.Document, ro *identity.Roster) error {
	for _, f := range analysis.Invariants(d, ro) {
		switch {
		case f.Outcome == analysis.Proven:
		case f.Example != nil:
			return refusal.Newf("policy.invariant", "rules by which it holds, or a policy without that invariant",
				"invariant %q is broken: %s", f.Invariant, f.Reason)
		default:
			return refusal.Newf("policy.invariant", "rules by which it can be proven, or a policy without that invariant",
				"invariant %q is %s: %s", f.Invariant, f.Outcome, f.Reason)
		}
	}
	return nil
}
