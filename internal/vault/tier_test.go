package vault_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// startTier is a cluster of three with a wallet in a tier, besides the hot one.
func startTier(t *testing.T, tier governance.Tier) *fixture {
	t.Helper()
	f := startQuick(t)
	f.Tier = tier
	var err error
	f.x, err = f.Keygen("vaulted", 2)
	f.ok(err)
	return f
}

// shares counts the key shares that can be reached from a vault's memory.
func shares(v *vault.Vault) int {
	seen, n := map[uintptr]bool{}, 0
	var walk func(x reflect.Value)
	walk = func(x reflect.Value) {
		switch x.Kind() {
		case reflect.Pointer:
			if x.IsNil() || seen[x.Pointer()] {
				return
			}
			seen[x.Pointer()] = true
			if x.Type() == reflect.TypeFor[*dkg.KeyShare]() {
				n++
			}
			walk(x.Elem())
		case reflect.Interface:
			if !x.IsNil() {
				walk(x.Elem())
			}
		case reflect.Struct:
			for i := range x.NumField() {
				walk(x.Field(i))
			}
		case reflect.Slice, reflect.Array:
			if k := x.Type().Elem().Kind(); k == reflect.Uint8 || k == reflect.Uint64 {
				return
			}
			for i := range x.Len() {
				walk(x.Index(i))
			}
		case reflect.Map:
			for it := x.MapRange(); it.Next(); {
				walk(it.Value())
			}
		}
	}
	walk(reflect.ValueOf(v))
	return n
}

func zero(k *dkg.KeyShare) bool {
	for _, b := range k.Share().Encode() {
		if b != 0 {
			return false
		}
	}
	return k.ChainCode() == [32]byte{}
}

// Between sessions the share of a warm or cold key is not in the vault's memory, and
// the one that a session used is wiped, whatever became of the session.
func TestTierShareIsNotInMemory(t *testing.T) {
	for _, tier := range []governance.Tier{governance.TierWarm, governance.TierCold} {
		f := startTier(t, tier)
		idle := func(when string) {
			t.Helper()
			for _, id := range f.IDs {
				v := f.Parties[id].Vault
				if n := shares(v); n != 1 || v.DeviceCommands() != 0 { // that of the hot wallet
					t.Errorf("%v, %s: %d shares in vault %d's memory, want the hot one only", tier, when, n, id)
				}
			}
		}
		idle("made")
		f.works(1, 2)
		idle("signed")
		b := f.Transfer(f.x, sim.Known, sim.ETH(1))
		c := f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
		n := f.command(2, c)
		f.ok(f.Settle())
		lent := f.Parties[2].Vault.Lent(c.Attempt)
		if lent == nil || zero(lent) {
			t.Fatal("no share in the session")
		}
		f.ok(f.Tick(151_000)) // vault 1 stays silent
		f.aborted(n, mpc.Benign, "silent")
		f.ok(f.Settle())
		if !zero(lent) {
			t.Errorf("%v: the share of an ended session is not wiped", tier)
		}
		idle("aborted")
		for _, id := range f.IDs {
			f.Crash(id)
			f.ok(f.Restart(id))
		}
		f.ok(f.Settle())
		idle("restarted")
		f.works(2, 3)
	}
}

// A key is made, signs, is refreshed and reshared in each tier, in both suites; and
// the ratchet goes on with it.
func TestTierLifecycle(t *testing.T) {
	for _, tier := range []governance.Tier{governance.TierWarm, governance.TierCold} {
		f := startFive(t)
		f.Tier = tier
		var err error
		f.x, err = f.KeygenAmong("vaulted", 2, 1, 2, 3)
		f.ok(err)
		f.works(1, 2)
		handOver := func(action governance.Action, threshold int, parties []mpc.ID, dealers ...mpc.ID) {
			t.Helper()
			s, err := f.OrderChange(f.x, "vaulted", action, threshold, parties...)
			f.ok(err)
			f.handOver(s, dealers...)
			f.ratcheted()
		}
		old := f.Parties[2].Disk.Clone()
		handOver(governance.Refresh, 0, nil, 1, 2, 3)
		if f.opens(2, old) == nil {
			t.Errorf("%v: the disk of before the refresh opens", tier)
		}
		f.works(2, 3)
		handOver(governance.Reshare, 2, []mpc.ID{2, 4, 5}, 1, 3)
		f.works(4, 5)
		for _, id := range []mpc.ID{2, 4, 5} {
			f.Crash(id)
			f.ok(f.Restart(id))
			f.ok(f.Settle())
			if got := f.Parties[id].Vault.TierOf("vaulted"); got != tier {
				t.Errorf("vault %d keeps its share %v, want %v", id, got, tier)
			}
		}
		f.works(2, 4)
		f.blameless()
	}
}

func TestTierFROST(t *testing.T) {
	for _, tier := range []governance.Tier{governance.TierWarm, governance.TierCold} {
		f := startQuick(t)
		f.Tier = tier
		x, err := f.KeygenEd25519("sol", 2)
		f.ok(err)
		f.pays(x, 1, 2)
		f.Crash(2)
		f.ok(f.Restart(2))
		f.ok(f.Settle())
		f.pays(x, 2, 3)
		if n := shares(f.Parties[2].Vault); n != 1 {
			t.Errorf("%d shares in memory", n)
		}
	}
}

// The operator of a cold key's device refuses, or is late: a benign abort that says
// what would make it pass, and nothing stays reserved; the next attempt goes through.
func TestColdNotAuthorised(t *testing.T) {
	f := startTier(t, governance.TierCold)
	var asked [][]byte
	answer := errors.New("the operator refused")
	f.Parties[2].Device.Operator = func(use []byte) error { asked = append(asked, use); return answer }
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	unsigned := sim.Unsigned(sim.Known, sim.ETH(1), 4)
	before := f.Parties[2].Vault.LedgerSeq(2)
	replies := f.sign(b, unsigned, 1, 2)
	if r := replies[2]; r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, "coffer hsm authorize") {
		t.Fatalf("vault 2 says %s", show(r))
	}
	if n := f.Parties[2].Vault.LedgerSeq(2); n != before {
		t.Errorf("%d events in the ledger, before it were %d", n, before)
	}
	if len(asked) != 1 || !strings.Contains(string(asked[0]), "coffer/share/") {
		t.Errorf("the operator was asked %q", asked)
	}
	// Vault 1 waits as long as an operator may take, then gives its reservation back.
	f.ok(f.Tick(100_000))
	if f.Parties[1].Vault.SessionCount() != 1 {
		t.Error("vault 1 did not wait")
	}
	f.ok(f.Tick(51_000))
	if f.Parties[1].Vault.SessionCount() != 0 {
		t.Error("vault 1 still waits")
	}
	answer = nil
	f.ok(f.Settle())
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 5), 1, 2) // another version: the first is released
	f.blameless()
}

// While the operator takes his time the session ends by itself, by a crash, or by
// the coordinator; and what was true when it was asked is looked at again.
func TestColdWaits(t *testing.T) {
	f := startTier(t, governance.TierCold)
	hold := func(nonce uint64) (one, two uint64, c *cluster.Command) {
		c = f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), nonce), 1, 2)
		one = f.command(1, c)
		f.ok(f.Settle())
		two = f.command(2, c)
		if f.Parties[2].Vault.WaitingCold() != 1 {
			t.Fatal("nobody is asked")
		}
		return one, two, c
	}
	// It comes after more than a session of a hot key would wait.
	one, two, _ := hold(4)
	f.ok(f.Tick(25_000))
	f.ok(f.Settle())
	for _, n := range []uint64{one, two} {
		if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeDone {
			t.Errorf("after 25 s: %s", show(r))
		}
	}
	// Abandoned meanwhile.
	_, two, c := hold(5)
	f.command(2, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	f.aborted(two, mpc.Benign, "abandoned")
	f.ok(f.Settle())
	f.command(1, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	// A crash.
	hold(6)
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Tick(151_000))
	f.ok(f.Settle())
	f.works(1, 2)
	// The request has expired when the operator comes.
	_, two, _ = hold(7)
	f.Now += 3_600_001
	f.ok(f.Settle())
	if r := f.Replies[two]; r == nil || r.Outcome != cluster.OutcomeRefused {
		t.Errorf("an expired request: %s", show(r))
	}
	f.ok(f.Tick(151_000))
	f.works(2, 3)
	// So many at once and no more.
	var ids []uint64
	for i := range vault.MaxColdUses + 1 {
		ids = append(ids, f.command(2, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), uint64(20+i)), 1, 2)))
	}
	f.aborted(ids[vault.MaxColdUses], mpc.Benign, "wait for this device's operator already")
	f.blameless()
}

// The admins move a key between the tiers. Where no operator is needed it happens by
// itself; out of cold it takes one authorised use; and old disks close.
func TestSetTier(t *testing.T) {
	f := startQuick(t)
	set := func(tier governance.Tier) {
		t.Helper()
		s, err := f.OrderTier(f.x, "treasury", tier)
		f.ok(err)
		for _, id := range f.IDs {
			f.ok(f.CatchUp(id))
		}
		f.ok(f.Settle())
		h := cluster.Handover{Order: s.Change.Hash()}
		var ids []uint64
		for _, id := range f.IDs {
			ids = append(ids, f.command(id, &cluster.Command{Kind: cluster.CommandHandover, Attempt: f.Attempt(), Body: h.Encode()}))
		}
		f.ok(f.Settle())
		for i, id := range f.IDs {
			if r := f.Replies[ids[i]]; r == nil || r.Outcome != cluster.OutcomeDone {
				t.Fatalf("to %v: %s", tier, show(r))
			}
			if got := f.Parties[id].Vault.TierOf("treasury"); got != tier {
				t.Fatalf("vault %d keeps its share %v, want %v", id, got, tier)
			}
		}
		f.works(1, 2)
		f.ratcheted()
		f.Crash(3)
		f.ok(f.Restart(3))
		f.ok(f.Settle())
		if got := f.Parties[3].Vault.TierOf("treasury"); got != tier {
			t.Errorf("after a restart the share is kept %v, want %v", got, tier)
		}
		f.works(2, 3)
	}
	hot := f.Parties[2].Disk.Clone()
	set(governance.TierWarm)
	if n := shares(f.Parties[1].Vault); n != 0 {
		t.Errorf("%d shares in memory", n)
	}
	if f.opens(2, hot) == nil {
		t.Error("a disk with the hot share still opens")
	}
	set(governance.TierCold)
	set(governance.TierHot)
	set(governance.TierCold)
	set(governance.TierWarm)
	f.blameless()
	// No command comes: the vault does it by itself.
	_, err := f.OrderTier(f.x, "treasury", governance.TierCold)
	f.ok(err)
	f.ok(f.CatchUp(1))
	f.ok(f.Settle())
	f.ratcheted()
	if got := f.Parties[1].Vault.TierOf("treasury"); got != governance.TierCold {
		t.Errorf("without a command the share is kept %v", got)
	}
}

// A cold share follows the ratchet with its next use; until then the device keeps
// the seal key that opens it, and nothing is lost.
func TestColdFollowsTheRatchet(t *testing.T) {
	f := startTier(t, governance.TierCold)
	cold := f.x
	var err error
	f.Tier = governance.TierHot
	f.x, err = f.Next(f.Parties[1].Vault.KeyCertificate("treasury"))
	f.ok(err)
	old := f.Parties[2].Disk.Clone()
	f.refresh()
	f.ratcheted()
	epoch, _, erased := f.Parties[2].Vault.SealEpochs()
	if epoch != 2 || erased != 0 {
		t.Errorf("seal epoch %d, erased below %d: the cold share rests in epoch 1", epoch, erased)
	}
	f.x = cold
	f.works(1, 2)
	f.works(2, 3)
	f.ratcheted()
	for _, id := range f.IDs {
		if _, _, erased := f.Parties[id].Vault.SealEpochs(); erased != 2 {
			t.Errorf("vault %d: erased below %d, want 2", id, erased)
		}
	}
	if f.opens(2, old) == nil {
		t.Error("the old disk opens")
	}
	f.works(1, 2)
}

// A vault dies at each step while a key moves to another tier: the share is never
// lost.
func TestCrashAtEveryStepOfATierChange(t *testing.T) {
	f := startQuick(t)
	for _, deviceDone := range []bool{false, true} {
		tiers := []governance.Tier{governance.TierWarm, governance.TierCold, governance.TierWarm, governance.TierHot}
		for i := range 12 {
			tier := tiers[i%len(tiers)]
			k, n, crashed := 1+i/len(tiers), 0, false
			_, err := f.OrderTier(f.x, "treasury", tier)
			f.ok(err)
			for _, id := range f.IDs {
				f.ok(f.CatchUp(id))
			}
			f.ok(f.Settle())
			f.OnReady = func(p *sim.Party, r vault.Ready) error {
				if p.ID != 2 || len(r.Writes)+len(r.Device) == 0 || crashed {
					return nil
				}
				if n++; n < k {
					return nil
				}
				crashed = true
				if deviceDone {
					for _, c := range r.Device {
						p.Device.Do(c)
					}
				}
				return sim.ErrCrash
			}
			f.ratcheted()
			f.OnReady = nil
			if crashed {
				f.ok(f.Restart(2))
				f.ok(f.Settle())
			}
			f.ratcheted()
			f.works(1, 2) // moves what was cold
			f.works(2, 3)
			f.ratcheted()
			for _, id := range f.IDs {
				if got := f.Parties[id].Vault.TierOf("treasury"); got != tier {
					t.Fatalf("vault %d keeps its share %v, want %v", id, got, tier)
				}
			}
		}
	}
	f.blameless()
}

// A device that asks nobody serves no cold key.
func TestColdNeedsADeviceThatAsks(t *testing.T) {
	f := startQuick(t)
	f.PerUse = map[mpc.ID]hsm.Grade{2: hsm.GradeNone}
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.Tier = governance.TierCold
	c := f.keygenCommand("vaulted")
	n := f.command(2, c)
	r := f.refused("key.tier", map[mpc.ID]*cluster.Reply{2: f.Replies[n]})
	if !strings.Contains(r.Fix, "warm") {
		t.Errorf("it would take %q", r.Fix)
	}
}

// A dealer that tells a newcomer another custody tier ends the dealing; without it
// the key moves, and is kept as it should be.
func TestDealerLiesAboutTheTier(t *testing.T) {
	f := startFive(t)
	f.Tier = governance.TierWarm
	var err error
	f.x, err = f.KeygenAmong("vaulted", 2, 1, 2, 3)
	f.ok(err)
	s, err := f.OrderChange(f.x, "vaulted", governance.Reshare, 2, 2, 3, 4)
	f.ok(err)
	liar, lied := f.Parties[1].Vault, false
	f.Intercept = func(fr sim.Frame) bool {
		if fr.From != 1 {
			return true
		}
		b, ok := liar.OtherTier(fr.To, fr.Bytes)
		if ok {
			lied = true
			f.Frames = append(f.Frames, sim.Frame{From: 1, To: fr.To, Bytes: b})
		}
		return !ok
	}
	ids, err := f.StartHandover(f.x, s, 1, 2)
	f.ok(err)
	f.calm()
	if !lied {
		t.Fatal("vault 1 had no occasion")
	}
	f.aborted(ids[4], mpc.Benign, "do not agree on the key's custody tier")
	f.handOver(s, 2, 3)
	if got := f.Parties[4].Vault.TierOf("vaulted"); got != governance.TierWarm {
		t.Errorf("vault 4 keeps its share %v", got)
	}
	f.works(2, 4)
}
