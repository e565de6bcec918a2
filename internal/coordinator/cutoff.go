package coordinator

import (
	"slices"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
)

// cutsOff says whether a roster that waited would, if it were in force at once at a late
// vault, have that refuse for good what was adopted after it while it waited: changes by
// people, or keys, that it took away. Such a roster is brought without proofs and waits
// there by itself, so that they come before it is in force.
func cutsOff(gov *governance.State, f *governance.Fate, all []*StoredChange) bool {
	var ro *identity.Roster
	for _, x := range all {
		if x.Applied && f.Kind == governance.KindRoster && x.Signed.Change.Hash() == f.Hash {
			ro, _ = identity.DecodeRoster(x.Signed.Change.Body)
		}
	}
	return ro != nil && slices.ContainsFunc(all, func(x *StoredChange) bool {
		g, ok := gov.Fate(x.Signed.Change.Seq)
		return ok && x.Applied && g.Seq > f.Seq && g.Adopted < f.Due && !follows(gov, ro, x.Signed)
	})
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
