package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
)

// What was promised in an epoch is known in every later one, also to vaults that never
// met those who promised it.
func TestTwoResharesDoNotEscapeVersions(t *testing.T) {
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	w, err := sim.New(6, 7, sim.Roster(6), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, World: w}
	f.x, err = w.KeygenAmong("treasury", 2, 1, 2, 3)
	f.ok(err)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.handOver(f.order(governance.Reshare, 2, 3, 4, 5), 1, 3)
	f.handOver(f.order(governance.Reshare, 2, 5, 6, 7), 4, 5)
	f.refused("version.conflict", f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 5), 6, 7))
}
