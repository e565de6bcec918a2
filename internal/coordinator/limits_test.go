package coordinator

import (
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/sim"
)

// What people are shown under a limit counts what was signed before.
func TestLimitsAsPeopleSeeThem(t *testing.T) {
	f := own(t, seed+12)
	r := f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	d := source.MustCompile(fmt.Sprintf(`
assets: {ETH: {id: %s, decimals: 18}}
limits: [{name: daily, max: 2 ETH, window: 24h}]
rules:
  - {name: small, when: onlyTransfers && within("daily"), then: allow}
`, evm.NativeAsset(sim.Chain)))
	if _, err := f.co.Change(t.Context(), f.change(d, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	next := *r
	next.Bundle = f.transfer(sim.Known, sim.ETH(2))
	x, err := f.co.Explain(t.Context(), &next)
	if err != nil || x.Decision.Allow || len(x.Limits) != 1 || x.Limits[0].Used != sim.ETH(3) {
		t.Errorf("%+v, %v", x, err)
	}
}
