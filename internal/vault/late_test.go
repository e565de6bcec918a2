package vault_test

import "testing"

// An order to resume reaches the vaults one after another: a peer that hears of it
// later than it sees the resumed vault's log must not hold that against it for good.
func TestResumeReachesAPeerLate(t *testing.T) {
	f := startQuick(t)
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.pass(25)
	old := f.Parties[2].Disk.Clone()
	f.works(1, 2)
	f.pass(2)
	f.restore(2, old)
	f.pass(2)
	f.stopped(2)
	o, err := f.ResumeOrder(2)
	f.ok(err)
	_, err = f.OrderVault(o)
	f.ok(err)
	f.ok(f.CatchUp(2))
	f.ok(f.CatchUp(1))
	f.ok(f.Settle())
	f.pass(5)
	if !f.Parties[3].Vault.Suspended(2) {
		t.Fatal("who has not heard of the order takes the shorter log for honest")
	}
	f.Crash(3)
	f.ok(f.Restart(3))
	f.ok(f.Settle())
	f.ok(f.CatchUpAll())
	f.ok(f.Settle())
	f.pass(5)
	if f.Parties[3].Vault.Suspended(2) || f.Parties[1].Vault.Suspended(2) {
		t.Errorf("an honest resumed vault stays suspended: %v", f.incidents(3, 2))
	}
}
