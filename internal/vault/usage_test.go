package vault

import (
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

func amountOf(n uint64) (a chain.Amount) { a.SetUint64(n); return a }

// What people see is what decides: of each counter the sum, and the first moment at
// which less is used.
func TestUsage(t *testing.T) {
	x := newRequestIndex(1)
	const hour = 3_600_000
	now := uint64(1_000 * hour)
	x.add(1, reserving(1, 1, now-5*hour, moving("ada", testETH, 1, 5), 1, 2))
	x.add(2, reserving(1, 1, now-5*hour+7, moving("ada", testETH, 1, 5), 1, 2))
	x.add(1, reserving(2, 2, now-2*hour, moving("ben", testETH, 2, 3), 1, 2))
	x.add(2, reserving(3, 3, now-30*hour, moving("ben", testETH, 2, 100), 1, 2)) // before the window
	x.add(2, reserving(4, 4, now-hour, moving("ben", testDAI, 2, 9), 1, 2))
	x.add(1, reserving(5, 5, now-hour, moving("ben", testETH, 2, 50), 1))
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{5}}) // given back
	limit := func(m policy.Measure, per ...policy.Scope) *policy.Limit {
		l := &policy.Limit{Name: "daily", Measure: m, Per: per, Window: policy.Window{Kind: policy.Rolling, Length: 24 * hour}}
		if m == policy.MeasureAmount {
			l.Asset = testETH
		}
		return l
	}
	type want struct {
		of                string
		used, frees, then uint64
	}
	firstBack, secondBack := now+19*hour+7+policy.Margin+1, now+22*hour+policy.Margin+1
	for name, c := range map[string]struct {
		l    *policy.Limit
		want []want
	}{
		"whole cluster":   {limit(policy.MeasureAmount), []want{{"", 8, firstBack, 3}}},
		"requests":        {limit(policy.MeasureCount), []want{{"", 3, firstBack, 2}}},
		"per initiator":   {limit(policy.MeasureAmount, policy.PerInitiator), []want{{"ada", 5, firstBack, 0}, {"ben", 3, secondBack, 0}}},
		"per destination": {limit(policy.MeasureAmount, policy.PerDestination), []want{{account(1), 5, firstBack, 0}, {account(2), 3, secondBack, 0}}},
		"per asset":       {limit(policy.MeasureCount, policy.PerAsset), []want{{testETH, 2, firstBack, 1}, {testDAI, 1, now + 23*hour + policy.Margin + 1, 0}}},
		"per wallet":      {limit(policy.MeasureAmount, policy.PerWallet), []want{{"7", 8, firstBack, 3}}},
	} {
		got, more := x.usageOf(&policy.Document{}, c.l, now)
		if len(got) != len(c.want) || more != 0 {
			t.Errorf("%s: %d counters and %d more, want %d: %+v", name, len(got), more, len(c.want), got)
			continue
		}
		for i, w := range c.want {
			g := got[i]
			of := g.Initiator + g.Destination
			if name == "per asset" {
				of = g.Asset
			}
			if g.Wallet[0] == 7 {
				of = "7"
			}
			if of != w.of || g.Used != amountOf(w.used) || g.Frees != w.frees || g.Then != amountOf(w.then) || g.Error != "" {
				t.Errorf("%s: of %q used %s, frees %d, then %s (%s); want %+v", name, of, g.Used.Dec(), g.Frees, g.Then.Dec(), g.Error, w)
			}
		}
	}
	money := limit(policy.MeasureMoney)
	if got, _ := x.usageOf(&policy.Document{Currency: "USD"}, money, now); len(got) != 1 || got[0].Error == "" {
		t.Errorf("what has no price is counted: %+v", got)
	}
	money.Window = policy.Window{Kind: policy.Calendar, Unit: policy.Day, Zone: "Nowhere"}
	if got, _ := x.usageOf(&policy.Document{Currency: "USD"}, money, now); len(got) != 1 || got[0].Error == "" {
		t.Errorf("a zone that is not there: %+v", got)
	}
}

// Of many counters the fullest are told, and how many there are besides.
func TestUsageBounded(t *testing.T) {
	x := newRequestIndex(1)
	for i := range byte(20) {
		x.add(1, reserving(i+1, i+1, 1_000_000, moving("ada", testETH, int(i), uint64(i)+1), 1, 2))
	}
	l := &policy.Limit{Name: "l", Measure: policy.MeasureAmount, Asset: testETH, Per: []policy.Scope{policy.PerDestination}, Window: policy.Window{Kind: policy.Rolling, Length: 1000}}
	got, more := x.usageOf(&policy.Document{}, l, 1_000_001)
	if len(got) != shownCounters || more != 20-shownCounters || got[0].Used != amountOf(20) || got[7].Used != amountOf(13) {
		t.Errorf("%d, %d more: %+v", len(got), more, got)
	}
}
