package coordinator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/sim"
)

// A vault that was off while cleo's removal waited, and hears of it with the proofs, would
// refuse for good what cleo signed meanwhile; without, it follows (governance,
// TestAttackLateVaultIsCutOffByWhatLeaversDidInTime). What the others signed needs no such delay.
func TestAttackCutOffByProofs(t *testing.T) {
	freeze := func(reason string) []byte { return (&governance.Freeze{Reason: reason}).Encode() }
	withdraw := func(seq uint64) []byte { return (&governance.Withdrawal{Seq: seq, Reason: "x"}).Encode() }
	thaw := (&governance.Freeze{Thaw: true, Reason: "x"}).Encode()
	for name, x := range map[string]struct {
		kind governance.Kind
		body []byte
		who  []string
		late bool // after the removal
		want bool
	}{
		"cleo's freeze":                      {governance.KindFreeze, (&governance.Freeze{Wallet: [32]byte{1}, Reason: "mine"}).Encode(), []string{"cleo"}, false, true},
		"a thaw that cleo signed":            {governance.KindFreeze, thaw, []string{"ada", "cleo"}, false, true},
		"cleo's withdrawal of a freeze":      {governance.KindWithdraw, withdraw(1), []string{"cleo"}, false, true},
		"cleo's withdrawal of the removal":   {governance.KindWithdraw, withdraw(2), []string{"cleo"}, false, false},
		"others' thaw":                       {governance.KindFreeze, thaw, []string{"ada", "ben"}, false, false},
		"others' thaw when cleo was no more": {governance.KindFreeze, thaw, []string{"ada", "ben"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGoverned(t, time.Hour)
			g.must(g.change(governance.KindFreeze, freeze("stop"), "ada"))
			g.must(g.change(governance.KindRoster, withoutCleo(g), "ada", "ben"))
			if f, _ := g.co.Governance().Fate(2); f.Status != governance.Waiting {
				t.Fatalf("%+v", f)
			}
			if x.late {
				g.at(time.Hour)
			} else {
				g.at(time.Hour - farewell*time.Millisecond - time.Millisecond)
			}
			g.must(g.change(x.kind, x.body, x.who...))
			g.at(2 * time.Hour)
			all, err := g.co.Changes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			gov := g.co.Governance().At(g.co.now())
			f, _ := gov.Fate(2)
			if got := cutsOff(gov, f, all); got != x.want {
				t.Errorf("it cuts off: %v, want %v", got, x.want)
			}
		})
	}
}

// Shortly before cleo's removal is in force she moves the chain no more: vaults whose clocks
// differ would disagree about that for good. The others do.
func TestFarewell(t *testing.T) {
	g := newGoverned(t, time.Hour)
	g.must(g.change(governance.KindRoster, withoutCleo(g), "ada", "ben"))
	freeze := func(who string) error {
		_, err := g.change(governance.KindFreeze, (&governance.Freeze{Wallet: [32]byte{who[0]}, Reason: who}).Encode(), who)
		return err
	}
	g.at(time.Hour - farewell*time.Millisecond)
	if f := refusal.As(freeze("cleo")); f == nil || f.Code != "change.farewell" || !strings.Contains(f.Detail, "end in 120 s, by change 1") {
		t.Errorf("cleo's freeze: %v", f)
	}
	if err := freeze("ada"); err != nil {
		t.Errorf("ada's freeze: %v", err)
	}
	// Her withdrawal of the removal itself is good until the end, and after it for a while.
	g.must(g.change(governance.KindWithdraw, (&governance.Withdrawal{Seq: 1, Reason: "no"}).Encode(), "cleo"))
	if f, _ := g.co.Governance().Fate(1); f.Status != governance.Withdrawn {
		t.Errorf("%+v", f)
	}
	if err := freeze("cleo"); err != nil {
		t.Errorf("cleo's freeze, when nothing takes her away any more: %v", err)
	}
}

// withoutCleo is a roster without the admin cleo, which waits, since it has a new key.
func withoutCleo(g *governed) []byte {
	ro := sim.Roster(g.seed)
	for i := range ro.Groups {
		if ro.Groups[i].Name == "admins" {
			ro.Groups[i].Members = slices.DeleteFunc(slices.Clone(ro.Groups[i].Members), func(m string) bool { return m == "cleo" })
		}
	}
	for i := range ro.Principals {
		if ro.Principals[i].ID == "ada" { // so that it waits
			ro.Principals[i].Credentials = append(slices.Clone(ro.Principals[i].Credentials), sim.PublicKey(sim.Person(g.seed, "ada's second")))
		}
	}
	ro.Sort()
	return ro.Encode()
}
