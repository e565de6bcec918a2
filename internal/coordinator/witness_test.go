package coordinator

import (
	"slices"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
)

// A wallet whose ledger withstands a corrupt vault takes all three: two sign, the
// third witnesses. Without it the request waits, says why, and goes on when it is back.
func TestLedgerQuorum(t *testing.T) {
	v := newVaults(t, 23)
	var order *governance.KeygenOrder
	v.Do(func(w *sim.World) {
		w.Faults = 1
		order = w.KeygenOrder("vigilant", 2)
	})
	f := fixtureOf(t, v, order, devnode.Options{}, nil)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(id, Confirmed)
	as := f.attempts(id)
	last := as[len(as)-1]
	if len(last.Signers) != 2 || len(last.Witnesses) != 1 || !slices.Equal(last.members(), []uint16{1, 2, 3}) {
		t.Errorf("signed by %v, witnessed by %v", last.Signers, last.Witnesses)
	}
	if len(last.Replies) != 3 {
		t.Errorf("%d answers, want 3", len(last.Replies))
	}

	f.v.Crash(3)
	id = f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.waiting(id, "2 of 3 vaults reachable", "2 must sign together and 1 more take part in the ledger", "vault 3")
	for _, a := range f.attempts(id) { // one may have begun before the vault was missed
		if len(a.Witnesses) != 1 {
			t.Errorf("an attempt without a witness: signers %v", a.Signers)
		}
	}
	f.restart() // what was stored of the attempts is read again
	f.restartVault(3)
	f.state(id, Confirmed)
}
