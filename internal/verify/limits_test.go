package verify_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/verify"
)

// What vaults decided under limits, and a refusal because one is used up, verifies.
func TestLimitsVerify(t *testing.T) {
	doc := source.MustCompile(`
assets:
  ETH: {id: "` + evm.NativeAsset(sim.Chain) + `", decimals: 18}
limits:
  - {name: hourly, max: 3 ETH, window: 1h}
  - {name: daily, max: 5 ETH, window: 24h, per: [wallet]}
rules:
  - name: ether
    when: onlyTransfers && within("hourly") && within("daily")
    then: allow
`)
	w, err := sim.New(17, 3, sim.Roster(17), doc)
	v := &vaults{T: t, World: w}
	v.ok(err)
	v.x, err = w.Keygen("treasury", 2)
	v.ok(err)
	one := sim.ETH(1)
	v.pay(v.Transfer(v.x, sim.Known, one), sim.Unsigned(sim.Known, one, 0), 1, 2)
	v.pay(v.Transfer(v.x, sim.Known, one), sim.Unsigned(sim.Known, one, 1), 2, 3)
	v.x, err = w.Keygen("second", 2) // which has a day's limit of its own
	v.ok(err)
	v.pay(v.Transfer(v.x, sim.Known, one), sim.Unsigned(sim.Known, one, 0), 1, 2)
	v.refuse(2, v.Attempt(), v.Transfer(v.x, sim.Known, one), sim.Unsigned(sim.Known, one, 2), 2, 3)
	v.ok(w.Tick(5_000))
	v.ok(w.Settle())
	r := verify.Copies(w.Genesis.Hash(), v.copies(), sim.Codecs())
	if !r.OK || r.Counts.Receipts != 3 || r.Counts.Refused != 1 || r.Counts.Stateful != 0 {
		t.Fatalf("%+v", r)
	}
}
