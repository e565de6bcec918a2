package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// A corrupt vault invents reservations and dates them as far ahead as it can. They use
// the limit up for a window, and not for good; a restart changes nothing.
func TestInventedReservationDatedAhead(t *testing.T) {
	f := startLimited(t, 9)
	m := &policy.Movement{Initiator: "ada", Chain: solana.Mainnet, Moves: []policy.Move{{Asset: solana.NativeAsset, To: solana.Account(sim.KnownSolana)}}}
	m.Moves[0].Amount.SetUint64(sim.Lamports(3))
	for i, ahead := range []uint64{1<<64 - 1, f.Now + 365*86_400_000, f.Now + 40_000} {
		f.Parties[3].Vault.InventMovement([16]byte{byte(i + 1)}, f.x.ID, []mpc.ID{2, 3}, ahead, m)
	}
	f.tellLedger(3, 1)
	f.tellLedger(3, 2)
	full := func() {
		t.Helper()
		for id, r := range f.sign(f.pay(2), f.coins(2), 1, 2) {
			if r == nil || r.Outcome != cluster.OutcomeRefused {
				t.Errorf("vault %d: %s", id, show(r))
			}
		}
	}
	full()
	f.minutes(6)
	f.Crash(1)
	f.ok(f.Restart(1))
	f.pass(3)
	full()
	f.minutes(12) // from the restart at the latest
	f.paidOut(2, 1, 2)
	// What is really promised counts as before.
	full()
}
