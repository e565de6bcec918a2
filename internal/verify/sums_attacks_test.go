package verify

import (
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/policy/source"
)

// TestLimitsOfOneShape: limits that count the same over two calendar windows are each
// compared with their own count.
func TestLimitsOfOneShape(t *testing.T) {
	w := newWorldUnder(t, source.MustCompile(fmt.Sprintf(`
assets:
  ETH: {id: %s, decimals: 18}
zones: {UTC: 2035}
limits:
  - {name: day, max: 5 ETH, window: {calendar: day, zone: UTC}, per: [wallet]}
  - {name: month, max: 9 ETH, window: {calendar: month, zone: UTC}, per: [wallet]}
  - {name: rolling, max: 8 ETH, window: 48h, per: [wallet]}
rules:
  - name: ether
    when: onlyTransfers && within("day") && within("month") && within("rolling")
    then: allow
`, testETH)))
	w.keygen()
	send := func(eth, day, month, rolling, nonce uint64) *payment {
		w.now += 5 * minute
		p := w.payment(known, ether(eth), nonce)
		w.counts = func(uint16) []audit.LimitUse {
			use := func(name string, used, max uint64) audit.LimitUse {
				return audit.LimitUse{Name: name, Used: ether(used), Max: ether(max)}
			}
			return []audit.LimitUse{use("day", day, 5), use("month", month, 9), use("rolling", rolling, 8)}
		}
		return p
	}
	w.pay(send(4, 4, 4, 4, 0), []uint16{1, 2}, hooks{})
	w.now += 24 * 60 * minute
	w.pay(send(3, 3, 7, 7, 1), []uint16{1, 3}, hooks{})
	w.now += 60 * 60 * minute
	w.refuse(send(3, 3, 10, 3, 2), 1, []uint16{1, 2})
	if r := w.verify(w.copies()); !r.OK {
		t.Errorf("%v", r.Faults)
	}
}

// TestAttemptOfTwoRequests: a vault that takes part in two sessions by one attempt's name,
// one of which comes to nothing, hides with it what it gave in the other from nobody who
// has the logs.
func TestAttemptOfTwoRequests(t *testing.T) {
	w := limited(t)
	uses := func(daily, each uint64) func(uint16) []audit.LimitUse {
		return func(uint16) []audit.LimitUse {
			return []audit.LimitUse{{Name: "daily", Used: ether(daily), Max: ether(5)}, {Name: "each", Used: ether(each), Max: ether(3)}}
		}
	}
	w.tick()
	w.counts = uses(1, 1) // vault 1 decides on a session with vault 2, which ends there
	w.appendEntry(1, w.decide(1, w.payment(known, ether(1), 0), w.nextAttempt(), []uint16{1, 2}).Entry())
	w.attempt--
	w.send(known, 3, 0, told{2: {3, 3}, 3: {3, 3}}, hooks{})             // by the same name
	w.send(evm.Address{0x33}, 3, 1, told{1: {4, 3}, 2: {3, 3}}, hooks{}) // vault 1 counts what it decided itself
	found := map[uint16]bool{}
	r := w.verify(w.copies())
	for _, f := range r.Faults {
		found[f.Vault] = found[f.Vault] || f.Code == LimitUncounted
	}
	if !found[1] || !found[2] {
		t.Errorf("6 ETH of 5 were given, vault 1 was not told of 3, and vault 2 knew: %v", r.Faults)
	}
}

// TestClocksSetBack: what was reserved by clocks that were fast, and are right since a start,
// counts from that start, as the vaults count it; but not by the word of one of them.
func TestClocksSetBack(t *testing.T) {
	for name, tt := range map[string]struct {
		started []uint16
		after   uint64 // minutes
		ok      bool
	}{
		"both, and the day is over": {[]uint16{1, 2}, 24 * 60, true},
		"both, within the day":      {[]uint16{1, 2}, 23 * 60, false},
		"one of them":               {[]uint16{1}, 24 * 60, false},
	} {
		w := limited(t)
		w.now += 15 * minute // too fast
		w.send(known, 3, 0, told{1: {3, 3}, 2: {3, 3}}, hooks{})
		w.now -= 15 * minute
		for _, id := range tt.started {
			w.bootVault(id)
		}
		w.now += tt.after * minute
		w.send(evm.Address{0x33}, 3, 1, told{1: {3, 3}, 3: {3, 3}}, hooks{})
		if r := w.verify(w.copies()); r.OK != tt.ok {
			t.Errorf("%s: %v", name, r.Faults)
		}
	}
}
