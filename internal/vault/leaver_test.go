package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
)

// changeBy is a change by the people named, the first its author.
func (f *fixture) changeBy(kind governance.Kind, body []byte, who ...string) *governance.SignedChange {
	f.Helper()
	st := f.Parties[1].Vault.Governance()
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: st.Cluster, Seq: st.Seq + 1, Prev: st.Head, Kind: kind, Body: body, Created: f.Now, Author: who[0],
	}}
	for _, w := range who {
		k := sim.Person(f.Seed, w)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: w, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	s.Sort()
	return s
}

// Two admins remove the third and loosen the policy; the third withdraws that, in every
// vault, through restarts, and in one that was away for longer than the right lasts.
func TestLeaverWithdraws(t *testing.T) {
	f := startCooling(t)
	was := sim.Roster(f.Seed)
	third := sim.Admins[2]
	for i := range was.Groups {
		if was.Groups[i].Name == "admins" {
			was.Groups[i].Members = slices.DeleteFunc(slices.Clone(was.Groups[i].Members), func(m string) bool { return m == third })
		}
	}
	removal := f.changeBy(governance.KindRoster, was.Encode(), sim.Admins[0], sim.Admins[1])
	for _, id := range f.IDs {
		f.adopts(id, removal, nil, "")
	}
	root := f.Parties[1].Vault.Governance().InForce()
	f.wait(20_000)
	loose := f.changeBy(governance.KindPolicy, looser(f).Encode(), sim.Admins[0], sim.Admins[1])
	f.adopts(1, loose, nil, "")
	f.adopts(2, loose, nil, "")
	f.wait(20_000)
	w := f.changeBy(governance.KindWithdraw, (&governance.Withdrawal{Seq: 2, Reason: "not with me"}).Encode(), third)
	f.adopts(1, w, nil, "")
	f.adopts(2, w, nil, "")
	f.Crash(2)
	f.ok(f.Restart(2))
	f.wait(2 * cooling)
	p1, p2 := f.proof(1, 3), f.proof(2, 3)
	// By its own clock the third vault would have it wait, and the right is over.
	f.adopts(3, loose, nil, "")
	f.adopts(3, w, nil, "")
	if got, _ := f.Parties[3].Vault.Governance().Fate(3); got.Status != governance.NoEffect || !strings.Contains(got.Detail, "ended at") {
		t.Fatalf("%+v", got)
	}
	f.adopts(3, w, audit.EncodeAdoptions([]audit.AdoptionProof{p1, p2}), "")
	for _, id := range f.IDs {
		if got, _ := f.Parties[id].Vault.Governance().Fate(2); got.Status != governance.Withdrawn {
			t.Errorf("vault %d: %+v", id, got)
		}
	}
	f.Crash(3)
	f.ok(f.Restart(3))
	f.wait(2 * cooling)
	f.same(root)
	f.works(1, 3)
	// Once more, told at once with the proofs.
	again := f.changeBy(governance.KindWithdraw, (&governance.Withdrawal{Seq: 2, Reason: "once more"}).Encode(), third)
	for _, id := range f.IDs {
		f.adopts(id, again, nil, "change.leaver")
	}
	f.blameless()
}
