package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// lose takes a vault's disk and device away for good and starts it again, enrolled
// anew; its card is in force nowhere yet.
func (f *fixture) lose(id mpc.ID) *governance.Enrolment {
	f.Helper()
	e, err := f.Enrol(id, 1)
	f.ok(err)
	f.ok(f.Restart(id))
	f.ok(f.Settle())
	return e
}

// replaced puts a card in force and tells these vaults.
func (f *fixture) replaced(id mpc.ID, e *governance.Enrolment, boot uint64, tell ...mpc.ID) {
	f.Helper()
	_, err := f.Replace(id, e, boot)
	f.ok(err)
	for _, to := range tell {
		f.ok(f.CatchUp(to))
	}
	f.ok(f.Settle())
}

// repaired lets time pass until nothing more happens.
func (f *fixture) repaired() {
	f.Helper()
	for range 15 {
		f.ok(f.Tick(2_000))
		f.ok(f.Settle())
	}
}

func (f *fixture) noted(id mpc.ID, text string) bool {
	return slices.ContainsFunc(f.Parties[id].Notes, func(n string) bool { return strings.Contains(n, text) })
}

// A vault loses disk and device. Enrolled anew it stands outside until the admins'
// change reaches it; then the others repair its share, and after a refresh it signs.
func TestLostDevice(t *testing.T) {
	for _, tier := range []governance.Tier{governance.TierHot, governance.TierWarm, governance.TierCold} {
		f := startQuick(t)
		f.Tier = tier
		first := f.x
		other, err := f.Keygen("vaulted", 2)
		f.ok(err)
		f.works(1, 2)
		paid := f.Transfer(f.x, sim.Known, sim.ETH(1))
		f.signed(paid, sim.Unsigned(sim.Known, sim.ETH(1), 7), 2, 3)
		promised := f.Parties[3].Vault.LedgerSeq(2)
		e := f.lose(2)
		if n := len(f.Frames); n > 0 || f.Parties[2].Vault.Peers() != 0 {
			t.Fatalf("it speaks before its card is in force: %d frames", n)
		}
		f.refused("vault.replaced", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 2))
		f.works(1, 3)
		f.replaced(2, e, 50, 1, 2, 3)
		f.repaired()
		if b := f.Parties[2].Vault.Boot(); b != 50 {
			t.Errorf("boot %d, want that of the order", b)
		}
		for _, name := range []string{"treasury", "vaulted"} {
			if f.Parties[2].Vault.KeyEpoch(name) != 1 {
				t.Fatalf("%v: its share of %s is not repaired: %v", tier, name, f.Parties[2].Notes)
			}
		}
		if n := f.Parties[2].Vault.LedgerSeq(2); n < promised {
			t.Errorf("it has %d of its %d events", n, promised)
		}
		if got := f.Parties[2].Vault.TierOf("vaulted"); got != tier {
			t.Errorf("the repaired share is kept %v, want %v", got, tier)
		}
		// It signs after a refresh, not before.
		r := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 5), 2, 3)[2]
		if r == nil || r.Outcome != cluster.OutcomeAborted || !strings.Contains(r.Detail, "next refresh") {
			t.Errorf("before the refresh it says %s", show(r))
		}
		f.ok(f.Tick(151_000))
		f.ok(f.Settle())
		for _, x := range []*sim.Wallet{first, other} {
			f.x = x
			name := "treasury"
			if x == other {
				name = "vaulted"
			}
			s, err := f.OrderChange(f.x, name, governance.Refresh, 0)
			f.ok(err)
			f.handOver(s, 1, 2, 3)
			f.works(1, 2)
			f.works(2, 3)
		}
		// What it promised before it holds to: no second version of that payment.
		f.refused("version.conflict", f.sign(paid, sim.Unsigned(sim.Known, sim.ETH(1), 8), 1, 2))
		f.Crash(2)
		f.ok(f.Restart(2))
		f.ok(f.Settle())
		f.repaired()
		f.works(1, 2)
		if !f.noted(2, "all shares that the others know of are repaired") {
			t.Error("it does not say when it is over")
		}
		f.blameless()
	}
}

// Ed25519 keys are repaired too, and a key that has gone on to later epochs.
func TestLostDeviceLaterEpoch(t *testing.T) {
	f := startFive(t)
	f.handOver(f.order(governance.Refresh, 0), 1, 2, 3)
	f.handOver(f.order(governance.Reshare, 3, 1, 2, 3, 4, 5), 1, 3)
	sol, err := f.KeygenEd25519("sol", 3)
	f.ok(err)
	f.replaced(4, f.lose(4), 9, f.IDs...)
	f.repaired()
	if f.Parties[4].Vault.KeyEpoch("treasury") != 3 || f.Parties[4].Vault.KeyEpoch("sol") != 1 {
		t.Fatalf("not repaired: %v", f.Parties[4].Notes)
	}
	f.handOver(f.order(governance.Refresh, 0), f.IDs...)
	f.works(1, 4, 5)
	s, err := f.OrderChange(sol, "sol", governance.Refresh, 0)
	f.ok(err)
	sol, err = f.Handover(sol, s, f.IDs...)
	f.ok(err)
	f.pays(sol, 2, 3, 4)
	f.blameless()
}

// The device that was replaced, or stolen, speaks to nobody: neither the process that
// runs on it, nor one started from its disk.
func TestReplacedDeviceIsRefused(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	old, disk := f.Parties[2].Device, f.Parties[2].Disk.Clone()
	stolen := f.Parties[2].Vault
	e := f.lose(2)
	f.replaced(2, e, 20, 1, 3)
	renewed, fresh, device := f.Parties[2].Vault, f.Parties[2].Disk, f.Parties[2].Device
	f.Parties[2].Vault, f.Parties[2].Disk, f.Parties[2].Device = stolen, disk, old
	for _, boot := range []uint64{stolen.Boot(), stolen.Boot() + 1, 20, 1000} {
		f.ok(f.Step(1, vault.Input{Frame: stolen.HelloOf(1, boot, old)}))
		f.ok(f.Settle())
		if f.Parties[1].Vault.Connected(2) {
			t.Fatalf("vault 1 speaks with the stolen device, start %d", boot)
		}
	}
	for range 5 {
		f.ok(f.Tick(1_000))
		f.ok(f.Settle())
	}
	f.ok(f.Step(1, vault.Input{Frame: stolen.SealedFor(1)}))
	r := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	if r[1] == nil || r[1].Outcome == cluster.OutcomeDone {
		t.Errorf("vault 1 signs with the stolen device: %s", show(r[1]))
	}
	// Told of the change, the old process stops; and it does not start again.
	f.ok(f.CatchUp(2))
	f.ok(f.Settle())
	f.refused("vault.replaced", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 5), 2))
	f.Crash(2)
	err := f.Restart(2)
	if err == nil {
		err = f.Settle()
	}
	if err == nil || !strings.Contains(err.Error(), "names another device") {
		t.Errorf("the old device starts: %v", err)
	}
	f.Parties[2].Vault, f.Parties[2].Disk, f.Parties[2].Device = renewed, fresh, device
	f.Devices, f.Frames = nil, nil
	f.ok(f.CatchUp(2))
	f.ok(f.Settle())
	f.repaired()
	f.refresh()
	f.works(1, 2)
}

// The replaced device's votes on a later order count nowhere.
func TestReplacedDeviceDoesNotVote(t *testing.T) {
	f := startFive(t)
	old := f.Parties[2].Device
	f.replaced(2, f.lose(2), 20, f.IDs...)
	f.repaired()
	s := f.order(governance.Refresh, 0)
	f.Intercept = func(sim.Frame) bool { return false }
	_, err := f.StartHandover(f.x, s, 1, 2, 3)
	f.ok(err)
	f.Intercept = nil
	abort := func(d *sim.Device) {
		x := f.Parties[3].Vault.AbortOf("treasury", 2, d)
		f.ok(f.Step(3, vault.Input{Frame: f.Parties[1].Vault.Seal(3, vault.InnerVotes, [16]byte{}, 0, nil, x)}))
	}
	abort(old)
	if f.Parties[3].Vault.PlanAborted("treasury") {
		t.Error("a vote of the replaced device counts")
	}
	abort(f.Parties[2].Device)
	if !f.Parties[3].Vault.PlanAborted("treasury") {
		t.Error("a vote of the device in force does not count")
	}
}

// A helper gives its part once for a key and a card: whoever has the new device later
// and shows an empty disk gets nothing, until the admins put another card in force.
func TestRepairOnce(t *testing.T) {
	f := startQuick(t)
	f.replaced(2, f.lose(2), 20, f.IDs...)
	f.repaired()
	if f.Parties[2].Vault.KeyEpoch("treasury") != 1 {
		t.Fatal("not repaired")
	}
	for _, id := range f.IDs {
		if id != 2 && len(f.records(id, "helped/")) != 1 {
			t.Errorf("vault %d does not remember that it helped", id)
		}
		f.Crash(id)
		f.ok(f.Restart(id))
	}
	f.ok(f.Settle())
	f.ok(f.Tick(1_000))
	f.ok(f.Settle())
	// Another start of it, which says that it has no share.
	p, one := f.Parties[2], f.Parties[1].Vault
	f.frame(2, 1, vault.InnerRepair, f.Attempt(), vault.RepairBegin, nil, p.Vault.Begin("treasury", 1, 3))
	if one.RepairCount() != 0 {
		t.Error("vault 1 helps a second time")
	}
	f.ok(f.Settle())
	// Another card, on an empty disk: they help again.
	e, err := f.Enrol(2, 2)
	f.ok(err)
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.replaced(2, e, 40, f.IDs...)
	f.repaired()
	if p.Vault.KeyEpoch("treasury") != 1 {
		t.Fatalf("not repaired under another card: %v", p.Notes)
	}
	f.refresh()
	f.works(2, 3)
}

// Whoever is not a replaced vault, or is no party of the key, gets no help.
func TestRepairRefused(t *testing.T) {
	f := startFive(t)
	f.replaced(5, f.lose(5), 20, f.IDs...)
	f.repaired()
	one := f.Parties[1].Vault
	for name, c := range map[string]struct {
		from mpc.ID
		body []byte
	}{
		"not replaced":    {2, f.Parties[2].Vault.Begin("treasury", 1, 3)},
		"not a party":     {5, f.Parties[2].Vault.Begin("treasury", 1, 3)},
		"garbage":         {5, []byte{1}},
		"too few helpers": {5, f.Parties[2].Vault.Begin("treasury", 1)},
	} {
		f.frame(c.from, 1, vault.InnerRepair, f.Attempt(), vault.RepairBegin, nil, c.body)
		if one.RepairCount() != 0 {
			t.Errorf("%s: vault 1 helps", name)
		}
	}
	f.ok(f.Settle())
	f.frame(2, 1, vault.InnerRepair, [16]byte{}, vault.RepairAsk, nil, make([]byte, 33))
	for _, fr := range f.Frames {
		if fr.From == 1 && fr.To == 2 && one.KindOf(2, fr.Bytes) == vault.InnerRepair {
			t.Error("vault 1 tells of its keys to a vault that was not replaced")
		}
	}
	f.blameless()
}

// While a wallet is on its way to its next epoch nobody helps: who is repaired does
// not know what it has promised about it.
func TestNoRepairWhileAnEpochEnds(t *testing.T) {
	f := startFive(t)
	e := f.lose(2)
	f.ok(f.Tick(1_000))
	f.ok(f.Settle())
	s := f.order(governance.Reshare, 2, 1, 3, 4)
	closed := func() bool { return !f.Parties[1].Vault.MaySign("treasury") }
	f.Intercept = func(fr sim.Frame) bool {
		return !closed() || f.Parties[fr.From].Vault.KindOf(fr.To, fr.Bytes) != vault.InnerVotes
	}
	_, err := f.StartHandover(f.x, s, 1, 3)
	f.ok(err)
	for !closed() && len(f.Frames)+len(f.Devices) > 0 {
		if len(f.Devices) > 0 {
			f.ok(f.Answer(0))
		} else {
			f.ok(f.Deliver(0))
		}
	}
	if !closed() {
		t.Fatal("vault 1 has not closed the epoch")
	}
	f.Frames = slices.DeleteFunc(f.Frames, func(fr sim.Frame) bool {
		return f.Parties[fr.From].Vault.KindOf(fr.To, fr.Bytes) == vault.InnerVotes
	})
	f.replaced(2, e, 20, 1, 2, 3, 5)
	f.repaired()
	if f.Parties[2].Vault.KeyEpoch("treasury") != 0 {
		t.Error("its share was repaired while the epoch ends")
	}
	if !f.noted(2, "does not help") {
		t.Errorf("it does not say why: %v", f.Parties[2].Notes)
	}
}

// A helper that lies is found out and blamed, with evidence where it signed the lie;
// the others help without it.
func TestRepairLies(t *testing.T) {
	for lie, round := range map[string]uint8{"parts": 1, "wrong share": 3} {
		f := startFive(t)
		f.handOver(f.order(governance.Reshare, 3, 1, 2, 3, 4, 5), 1, 3)
		e := f.lose(5)
		liar, lied := f.Parties[1].Vault, 0
		f.Intercept = func(fr sim.Frame) bool {
			if fr.From != 1 {
				return true
			}
			b, ok := liar.LieInRepair(fr.To, fr.Bytes, round)
			if ok {
				lied++
				f.Frames = append(f.Frames, sim.Frame{From: 1, To: fr.To, Bytes: b})
			}
			return !ok
		}
		f.replaced(5, e, 20, f.IDs...)
		f.repaired()
		if lied == 0 {
			t.Fatalf("%s: vault 1 had no occasion", lie)
		}
		is := f.incidents(5, 1)
		if len(is) == 0 || is[0].Class != mpc.Attributed.String() || lie == "parts" && len(is[0].Evidence) == 0 {
			t.Errorf("%s: vault 5 writes %+v", lie, is)
		}
		if f.Parties[5].Vault.KeyEpoch("treasury") != 2 {
			t.Errorf("%s: not repaired without the liar: %v", lie, f.Parties[5].Notes)
		}
		for _, id := range []mpc.ID{2, 3, 4} {
			if len(f.incidents(5, id)) != 0 {
				t.Errorf("%s: vault 5 blames vault %d", lie, id)
			}
		}
	}
}

// Helpers and the vault that lost its share die at each write of a repair: in the
// end the share is there, or it is said what it takes.
func TestCrashAtEveryWriteOfARepair(t *testing.T) {
	for _, victim := range []mpc.ID{2, 3} {
		for k := 1; ; k++ {
			if k > 30 {
				t.Fatal("a repair takes no end of writes")
			}
			if !repairWithCrash(t, victim, k) {
				break
			}
		}
	}
}

func repairWithCrash(t *testing.T, victim mpc.ID, k int) (crashed bool) {
	t.Helper()
	f := startQuick(t)
	e := f.lose(2)
	n := 0
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		if p.ID != victim || len(r.Writes) == 0 || crashed {
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
	f.replaced(2, e, 20, f.IDs...)
	f.repaired()
	f.OnReady = nil
	if crashed {
		f.ok(f.Restart(victim))
		f.ok(f.Settle())
		for _, id := range f.IDs {
			f.ok(f.CatchUp(id))
		}
		f.ok(f.Settle())
		f.repaired()
	}
	if f.Parties[2].Vault.KeyEpoch("treasury") != 1 {
		// The parts were given and the share was not durable: that takes another card.
		if !crashed || !f.noted(2, "have given their parts to this card already") {
			t.Fatalf("crash of vault %d at write %d: not repaired: %v", victim, k, f.Parties[2].Notes)
		}
		e, err := f.Enrol(2, 2)
		f.ok(err)
		f.ok(f.Restart(2))
		f.ok(f.Settle())
		f.replaced(2, e, 60, f.IDs...)
		f.repaired()
	}
	f.refresh()
	f.works(1, 2)
	f.works(2, 3)
	f.blameless()
	return crashed
}

// What one helper says of a key counts for nothing: not its name, not its tier, not an
// epoch that its parties have not signed.
func TestRepairLyingOffers(t *testing.T) {
	for _, lie := range []string{"tier", "name", "later epoch"} {
		f := startFive(t)
		f.Tier = governance.TierCold
		var err error
		f.x, err = f.KeygenAmong("vaulted", 3, 1, 2, 3, 4, 5)
		f.ok(err)
		e := f.lose(5)
		liar, lied := f.Parties[1].Vault, false
		f.Intercept = func(fr sim.Frame) bool {
			if fr.From != 1 {
				return true
			}
			b, ok := liar.LieInOffers(fr.To, fr.Bytes, lie)
			if ok {
				lied = true
				f.Frames = append(f.Frames, sim.Frame{From: 1, To: fr.To, Bytes: b})
			}
			return !ok
		}
		f.replaced(5, e, 20, f.IDs...)
		f.repaired()
		p := f.Parties[5].Vault
		if !lied || p.KeyEpoch("vaulted") != 1 || p.TierOf("vaulted") != governance.TierCold {
			t.Errorf("%s: lied %v, repaired in epoch %d: %v", lie, lied, p.KeyEpoch("vaulted"), f.Parties[5].Notes)
		}
	}
	// Of two helpers who do not agree nobody is believed.
	f := startQuick(t)
	e := f.lose(2)
	f.Intercept = func(fr sim.Frame) bool {
		if fr.From != 1 {
			return true
		}
		b, ok := f.Parties[1].Vault.LieInOffers(fr.To, fr.Bytes, "tier")
		if ok {
			f.Frames = append(f.Frames, sim.Frame{From: 1, To: fr.To, Bytes: b})
		}
		return !ok
	}
	f.replaced(2, e, 20, f.IDs...)
	f.repaired()
	if f.Parties[2].Vault.KeyEpoch("treasury") != 0 || !f.noted(2, "must say the same") {
		t.Errorf("repaired on one vault's word, or nobody is told: %v", f.Parties[2].Notes)
	}
}
