package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
)

// TestReplacedVaultCatchesUp: a vault that lost disk and device stands outside, empty,
// until the coordinator has brought it every change from the first on, the one that
// puts its card in force among them. Its share is repaired, and after a refresh it
// signs again.
func TestReplacedVaultCatchesUp(t *testing.T) {
	f := own(t, seed+42)
	for _, o := range []*governance.VaultOrder{
		{Action: governance.SuspendVault, Vault: 2, Reason: "its host burns"},
		{Action: governance.LiftVault, Vault: 2, Reason: "the fire is out"},
	} {
		if _, err := f.co.Change(t.Context(), f.vaultChange(o, "ada", "ben")); err != nil {
			t.Fatal(err)
		}
	}
	f.upTo(2, 1, 2, 3)
	var card *governance.Enrolment
	var boot uint64
	f.v.Crash(2)
	f.v.Do(func(w *sim.World) {
		var err error
		if card, err = w.Enrol(2, 1); err != nil {
			t.Fatal(err)
		}
	})
	f.restartVault(2)
	for _, s := range f.co.Statuses(t.Context()) {
		if s.Err != nil {
			t.Fatalf("vault %d: %v", s.Vault.ID, s.Err)
		}
		if s.Vault.ID == 2 && (s.Status.State != cluster.StateReplaced || s.Status.GovernanceSeq != 0 || len(s.Status.Keys) > 0) {
			t.Errorf("before its card is in force: %+v", s.Status)
		}
		for _, p := range s.Status.Peers {
			if p.Vault == 2 {
				boot = max(boot, p.HeldBoot)
			}
		}
	}
	order := &governance.VaultOrder{Action: governance.ReplaceVault, Vault: 2, Boot: boot + 10, Enrolment: card, Reason: "burnt"}
	if _, err := f.co.Change(t.Context(), f.vaultChange(order, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	f.upTo(3, 1, 2, 3)
	if v, ok := f.co.Governance().Vault(2); !ok || v.Identity != card.Vault.Identity {
		t.Error("the coordinator goes by the old card")
	}
	// Meanwhile the others sign.
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(id, Confirmed)
	for _, a := range f.attempts(id) {
		if slices.Contains(a.Signers, 2) {
			t.Errorf("vault 2 was asked, before it has a share that signs: %v", a.Signers)
		}
	}
	f.v.Clock.Advance(151 * time.Second) // what it had promised has run out
	f.ordered(f.orderKey(governance.Refresh, 0))
	f.epoch(2)
	signed := false
	for range 6 {
		id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
		f.state(id, Confirmed)
		for _, a := range f.attempts(id) {
			signed = signed || slices.Contains(a.Signers, 2)
		}
	}
	if !signed {
		t.Error("vault 2 never signs again")
	}
}
