package governance

import (
	"slices"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// judgePolicy compares two policies, each with its roster.
func judgePolicy(old, new *policy.Document, oldRoster, newRoster *identity.Roster) Judgement {
	if old.Root() == new.Root() && sameGroups(oldRoster, newRoster) {
		return tightens("the policy says the same")
	}
	return loosens("it is not proven that the policy allows nothing new")
}

// sameGroups says whether everybody who is left is in the groups that they were in.
// Somebody who is gone can do nothing; who is in a group no longer may be one whom
// a rule held back.
func sameGroups(old, new *identity.Roster) bool {
	for _, g := range old.Groups {
		if g.Name == identity.Admins {
			continue
		}
		for _, m := range g.Members {
			if _, left := new.Principal(m); left && !slices.Contains(new.Members(g.Name), m) {
				return false
			}
		}
	}
	return true
}
