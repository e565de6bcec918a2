package governance

import "testing"

// What else one order about a vault ends that waits, and what it leaves.
func TestSupersededVaultOrders(t *testing.T) {
	waits := func(first, second *VaultOrder, who ...string) Status {
		st := adopt(t, cooling(t), t0, KindVault, first.Encode(), both...)
		st = adopt(t, st, t0+1, KindVault, second.Encode(), who...)
		return status(t, st, 1)
	}
	spare := card(t, "third", "third")
	for name, c := range map[string]struct {
		first, second *VaultOrder
		want          Status
	}{
		"a suspension ends a lift":            {lift(2, 0), suspend(2), Superseded},
		"of another vault it does not":        {lift(1, 0), suspend(2), Waiting},
		"of a pair it does not":               {lift(2, 1), suspend(2), Waiting},
		"a replacement ends a resume":         {resume(3), replace(spare, 4), Superseded},
		"a newer resume ends a resume":        {resume(3), resume(4), Superseded},
		"a lift does not end a resume":        {resume(3), lift(2, 0), Waiting},
		"a lift of a pair not one of a vault": {lift(2, 0), lift(2, 1), Waiting},
	} {
		if got := waits(c.first, c.second, both...); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestNoFate(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindPolicy, sendTo("2", t), both...)
	for _, seq := range []uint64{0, 2} {
		if _, ok := st.Fate(seq); ok {
			t.Errorf("change %d has a fate", seq)
		}
	}
	if _, err := st.Forecast(&next(st, KindFreeze, (&Freeze{Thaw: true, Reason: "x"}).Encode()).Change, t0); err == nil {
		t.Error("a thaw of what is not frozen is worth signing")
	}
	refused(t, st, t0, "change.body", "at most 281474976710656", KindVault, resume(MaxBoot+1).Encode(), both...)
	adopt(t, st, t0, KindVault, resume(MaxBoot).Encode(), both...)
	// What is not a leaver's, or had its effect, is not told anew.
	for _, seq := range []uint64{1, 2} {
		late := adopt(t, st, t0+day/2, KindWithdraw, (&Withdrawal{Seq: 1, Reason: "x"}).Encode(), "carol")
		if _, err := late.Backdate(seq, t0-1); err == nil {
			t.Errorf("change %d was backdated", seq)
		}
	}
}

// A vault that is suspended can be suspended again: before a lift that waits has its time,
// and just after; vaults that disagree about which of the two it was agree again.
func TestSuspendedAgain(t *testing.T) {
	start := cooling(t)
	adopted := func(lifted uint64) *State {
		st := adopt(t, start, t0, KindVault, suspend(2).Encode(), "bob")
		st = adopt(t, st, lifted, KindVault, lift(2, 0).Encode(), both...)
		st = adopt(t, st, t0+day+5, KindVault, suspend(2).Encode(), "bob")
		if c, ok := st.At(t0 + 9*day).Suspended(2); !ok || c.Seq != 3 {
			t.Errorf("vault 2 is suspended by %+v", c)
		}
		return st
	}
	early, late := adopted(t0+1), adopted(t0+10)
	if status(t, early, 2) != InForce || status(t, late, 2) != Superseded {
		t.Errorf("the lift: %s and %s", status(t, early, 2), status(t, late, 2))
	}
	if early.InForce() != late.InForce() {
		t.Error("the same is in force, and its names differ")
	}
	other := adopt(t, late, t0+day+6, KindVault, suspend(1).Encode(), "bob")
	if other.InForce() == late.InForce() {
		t.Error("a suspension of another vault made this one's silent")
	}
}
