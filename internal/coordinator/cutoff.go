package coordinator

import (
	"slices"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
)

// cutsOff says whether a roster that waited would, if it were in force at once at a late
// vault, have that refuse for good what was adopted after it while it waited: changes by
// people, or keys, that it took away. Such a roster is brought without proofs and waits
// there by itself, so that they come before it is in force.
func cutsOff(gov *governance.State, f *governance.Fate, all []*StoredChange) bool {
	ro := rosterOf(f, all)
	return ro != nil && slices.ContainsFunc(all, func(x *StoredChange) bool {
		g, ok := gov.Fate(x.Signed.Change.Seq)
		return ok && x.Applied && g.Seq > f.Seq && g.Adopted < f.Due && !follows(gov, ro, x.Signed)
	})
}

// rosterOf is the roster of an applied change; nil if it is of another kind.
func rosterOf(f *governance.Fate, all []*StoredChange) *identity.Roster {
	for _, x := range all {
		if x.Applied && f.Kind == governance.KindRoster && x.Signed.Change.Hash() == f.Hash {
			ro, _ := identity.DecodeRoster(x.Signed.Change.Body)
			return ro
		}
	}
	return nil
}

// farewell is how long before a roster that waits comes in force nobody whom it takes away
// moves the chain any more, in ms: more than vaults' clocks may differ by, and a change
// takes to reach them.
const farewell = 120_000

// checkFarewell refuses a change that vaults whose clocks differ could disagree about for
// good: by somebody whom a roster takes away that is about to come in force.
func checkFarewell(gov *governance.State, s *governance.SignedChange, at uint64, all []*StoredChange) error {
	for i := range gov.Fates {
		f := &gov.Fates[i]
		if f.Status != governance.Waiting || f.Due <= at || f.Due-at > farewell {
			continue
		}
		if ro := rosterOf(f, all); ro != nil && !follows(gov, ro, s) {
			return refusal.Newf("change.farewell", "others' signatures, and another author; they may sign at any time",
				"change %d is by people whose rights end in %d s, by change %d: vaults whose clocks differ could disagree about it for good", s.Change.Seq, (f.Due-at+999)/1000, f.Seq)
		}
	}
	return nil
}

// follows says whether a change is adopted under a roster, as far as its author and its
// signers go: by admins, or as a withdrawal that somebody who was one may make.
func follows(gov *governance.State, ro *identity.Roster, s *governance.SignedChange) bool {
	if s.Change.Kind == governance.KindWithdraw && len(s.Signatures) == 1 && s.Signatures[0].Principal == s.Change.Author {
		if w, err := governance.DecodeWithdrawal(s.Change.Body); err == nil {
			named, ok := gov.Fate(w.Seq)
			return ok && named.Kind != governance.KindFreeze && named.Kind != governance.KindWithdraw
		}
	}
	return ro.InGroup(s.Change.Author, identity.Admins) && !slices.ContainsFunc(s.Signatures, func(sig governance.AdminSignature) bool {
		p, ok := ro.Principal(sig.Principal)
		return !ok || !ro.InGroup(sig.Principal, identity.Admins) || !slices.Contains(p.Credentials, sig.Key)
	})
}
