package vault_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// startMixed has a hot wallet, a warm and a cold one.
func startMixed(t *testing.T) (*fixture, map[string]*sim.Wallet) {
	t.Helper()
	f := startQuick(t)
	all := map[string]*sim.Wallet{"treasury": f.x}
	for name, tier := range map[string]governance.Tier{"daily": governance.TierWarm, "reserve": governance.TierCold} {
		f.Tier = tier
		x, err := f.Keygen(name, 2)
		f.ok(err)
		all[name] = x
	}
	return f, all
}

func (f *fixture) allWork(all map[string]*sim.Wallet, signers ...mpc.ID) {
	f.Helper()
	for _, x := range all {
		f.x = x
		f.works(signers...)
	}
}

// moveTo makes vault 2's disk ready for another device and puts its card in force.
func (f *fixture) rotated(next *sim.Device) *vault.Rotation {
	f.Helper()
	f.Crash(2)
	r, err := f.Rotate(2, next)
	f.ok(err)
	return r
}

// up starts a vault with a device.
func (f *fixture) up(id mpc.ID, d *sim.Device) error {
	f.Helper()
	f.Parties[id].Device = d
	if err := f.Restart(id); err != nil {
		return err
	}
	return f.Settle()
}

// A vault moves to another device with all its keys: until its card is in force the
// old device works as before, and after it only the new one; the log goes on.
func TestRotateDevice(t *testing.T) {
	f, all := startMixed(t)
	old := f.Parties[2].Device
	next, err := f.NewDevice(2, 1)
	f.ok(err)
	asked := 0
	old.Operator = func([]byte) error { asked++; return nil }
	r := f.rotated(next)
	if asked != 1 {
		t.Errorf("the old device's operator was asked %d times, want once for the cold share", asked)
	}
	st, err := governance.Start(f.Genesis)
	f.ok(err)
	card, _ := st.Vault(2)
	f.ok(r.Verify(card))
	if three, _ := st.Vault(3); r.Verify(three) == nil {
		t.Error("the card is taken for vault 3's")
	}
	forged := *r
	forged.Old.Bytes = flip(r.Old.Bytes, 9)
	if forged.Verify(card) == nil {
		t.Error("a card that the old device has not signed for is taken")
	}
	f.ok(f.up(2, old))
	f.allWork(all, 1, 2)
	// On the new device before its card is in force: it stands outside, and nothing is
	// lost for the old one.
	f.Crash(2)
	f.ok(f.up(2, next))
	f.refused("vault.replaced", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 2))
	f.Crash(2)
	f.ok(f.up(2, old))
	f.allWork(all, 2, 3)
	size := len(f.Parties[2].Disk.Entries)
	f.replaced(2, r.Card, f.Parties[2].Vault.Boot()+10, 1, 2, 3)
	f.refused("vault.replaced", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 5), 2))
	f.Crash(2)
	if err := f.up(2, old); err == nil || !strings.Contains(err.Error(), "names another device") {
		t.Fatalf("the old device starts: %v", err)
	}
	f.Devices, f.Frames, f.Parties[2].Vault = nil, nil, nil
	f.ok(f.up(2, next))
	f.repaired()
	f.allWork(all, 1, 2)
	f.allWork(all, 2, 3)
	if got := len(f.Parties[2].Disk.Entries); got <= size {
		t.Errorf("the log has %d entries, before it had %d", got, size)
	}
	// The old device does not open the disk any more.
	f.Parties[2].Device = old
	if err := f.opens(2, f.Parties[2].Disk); err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("the old device opens the disk: %v", err)
	}
	f.Parties[2].Device = next
	f.Crash(2)
	f.ok(f.up(2, next))
	f.repaired()
	f.x = all["treasury"]
	f.refresh()
	f.ratcheted()
	f.allWork(all, 1, 2)
	f.blameless()
}

// The change can reach the vault when it runs on the new device already: the old one
// died in between.
func TestRotateOldDeviceDies(t *testing.T) {
	f, all := startMixed(t)
	next, err := f.NewDevice(2, 1)
	f.ok(err)
	r := f.rotated(next)
	f.ok(f.up(2, next))
	f.replaced(2, r.Card, 30, 1, 3, 2)
	f.repaired()
	f.allWork(all, 1, 2)
	f.Crash(2)
	f.ok(f.up(2, next))
	f.repaired()
	f.allWork(all, 2, 3)
}

// What changes meanwhile makes the rotation void, which is said; it is made again
// with the same devices, even after the card is in force.
func TestRotateOvertaken(t *testing.T) {
	f, all := startMixed(t)
	old := f.Parties[2].Device
	next, err := f.NewDevice(2, 1)
	f.ok(err)
	r := f.rotated(next)
	f.ok(f.up(2, old))
	f.repaired()
	f.x = all["treasury"]
	f.refresh()
	all["treasury"] = f.x
	f.ratcheted()
	if !f.noted(2, "the rotation that was prepared is void") {
		t.Errorf("nobody is told: %v", f.Parties[2].Notes)
	}
	f.replaced(2, r.Card, f.Parties[2].Vault.Boot()+10, 1, 2, 3)
	f.Crash(2)
	if err := f.up(2, next); err == nil {
		t.Fatal("the new device opens what was sealed anew since")
	}
	f.Devices, f.Parties[2].Vault = nil, nil
	f.Parties[2].Device = old
	again, err := f.Rotate(2, next)
	f.ok(err)
	if again.Card.Vault.Identity != r.Card.Vault.Identity || again.Card.Vault.Log != r.Card.Vault.Log {
		t.Error("another card")
	}
	f.ok(f.up(2, next))
	f.repaired()
	f.allWork(all, 1, 2)
}

// A crash at each step of the rotation, and of the first start on the new device,
// leaves one of the two that works.
func TestCrashAtEveryStepOfARotation(t *testing.T) {
	for _, late := range []bool{false, true} {
		for k := 1; crashInRotation(t, k, late); k++ {
			if k > 40 {
				t.Fatal("a rotation takes no end of steps")
			}
		}
	}
}

func crashInRotation(t *testing.T, k int, late bool) (crashed bool) {
	t.Helper()
	f, all := startMixed(t)
	old := f.Parties[2].Device
	next, err := f.NewDevice(2, 1)
	f.ok(err)
	n := 0
	crash := func(p *sim.Party, r vault.Ready) error {
		if p.ID != 2 || len(r.Writes)+len(r.Device) == 0 || crashed {
			return nil
		}
		if n++; n < k {
			return nil
		}
		if crashed = true; k%2 == 0 {
			p.Disk.Write(r)
		}
		return sim.ErrCrash
	}
	f.Crash(2)
	if !late {
		f.OnReady = crash
	}
	r, err := f.Rotate(2, next)
	f.OnReady = nil
	if crashed {
		if err == nil {
			t.Fatal("a crash went by")
		}
		f.Devices = nil
		f.ok(f.up(2, old)) // it works as before
		f.works(1, 2)
		f.Crash(2)
		r, err = f.Rotate(2, next)
	}
	f.ok(err)
	f.replaced(2, r.Card, 30, 1, 3)
	if late {
		f.OnReady = crash
	}
	err = f.up(2, next)
	if err == nil && f.Parties[2].Vault != nil {
		f.ok(f.CatchUp(2))
		err = f.Settle()
	}
	f.OnReady = nil
	if late && crashed {
		f.Devices, f.Frames = nil, nil
		f.ok(f.up(2, next))
		f.ok(f.CatchUp(2))
		err = f.Settle()
	}
	f.ok(err)
	f.repaired()
	f.allWork(all, 1, 2)
	return crashed
}

// Where a device does not do its part nothing changes.
func TestRotateRefused(t *testing.T) {
	f, all := startMixed(t)
	old := f.Parties[2].Device
	next, err := f.NewDevice(2, 1)
	f.ok(err)
	f.Crash(2)
	for name, c := range map[string]struct {
		set  func(error)
		says string
	}{
		"the operator says no": {func(e error) { old.Operator = func([]byte) error { return e } }, "does not open this vault's share"},
		"no new device":        {func(e error) { next.Down = e != nil }, "the new device"},
	} {
		c.set(errors.New("no"))
		if _, err := f.Rotate(2, next); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		c.set(nil)
		f.Devices = nil
		if n := len(f.records(2, "next/")); n != 0 {
			t.Errorf("%s: %d records are left", name, n)
		}
	}
	f.ok(f.up(2, old))
	f.allWork(all, 1, 2)
	// A vault that only gets its disk ready answers no command.
	if r := f.Replies[f.command(2, &cluster.Command{Kind: cluster.CommandStatus})]; r == nil {
		t.Error("no status")
	}
}
