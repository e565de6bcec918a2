package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/sim"
)

// A vault that stops leaves no secret where it was.
func TestDestroyWipes(t *testing.T) {
	f := startQuick(t)
	f.command(2, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 2, 3)) // under way
	for _, p := range f.Parties {
		if p == nil || p.Vault == nil {
			continue
		}
		remains := p.Vault.Remains()
		if before := remains(); len(before) < 6 {
			t.Fatalf("only %q are there before: the test shows nothing", before)
		}
		p.Vault.Destroy()
		if left := remains(); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	}
}
