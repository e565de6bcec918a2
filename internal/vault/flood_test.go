package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
)

// A peer whose ledger has grown by more than anybody signs is taken no further, which
// the log says once, and nothing is signed with it until some time has gone by.
func TestLedgerGrowsTooMuch(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	two := f.Parties[2].Vault
	before := two.LedgerSeq(1)
	two.Flood(1, 2<<30-100)
	f.Parties[1].Vault.Invent(vault.Event{Kind: 2, Attempt: [16]byte{1}}, vault.Event{Kind: 2, Attempt: [16]byte{2}}, vault.Event{Kind: 2, Attempt: [16]byte{3}}, vault.Event{Kind: 2, Attempt: [16]byte{4}})
	for range 3 {
		f.tellLedger(1, 2)
	}
	if n := two.LedgerSeq(1); n != before {
		t.Errorf("%d events were taken", n-before)
	}
	if is := f.incidents(2, 1); len(is) != 1 || is[0].Class != "flood" {
		t.Errorf("%d incidents", len(is))
	}
	r := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 1, 2)[2]
	if r == nil || r.Outcome == cluster.OutcomeDone {
		t.Errorf("vault 2: %s", show(r))
	}
	f.works(2, 3)
	f.pass(21)
	f.works(1, 2)
	if n := two.LedgerSeq(1); n < before+4 {
		t.Errorf("%d events were taken later", n-before)
	}
}

// Nor does a coordinator have an honest vault appear so: with one good request, which it
// asks for again and again, it makes a vault reserve at the pace that the others take.
func TestCoordinatorDoesNotFloodByAnHonestVault(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	one, two := f.Parties[1].Vault, f.Parties[2].Vault
	const left = 64 << 10 // of what vault 2 takes today
	one.FloodOwn(vault.OwnLedger - left)
	two.Flood(1, 2<<30-2*left)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	for range 1000 {
		c := f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
		f.command(1, c)
		f.command(1, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	}
	f.ok(f.Settle())
	f.pass(2)
	for range 10 {
		f.tellLedger(1, 2)
	}
	if is := f.incidents(2, 1); len(is) != 0 {
		t.Errorf("vault 2 has reported vault 1: %s", is[0].Class)
	}
	f.pass(60)
	f.works(1, 2)
}

// A desk that has 26 requests signed a second with one peer, for eight hours of every
// day, never meets the bound, and an inventor does on the first day.
func TestLedgerQuotaIsNeverMet(t *testing.T) {
	for _, c := range []struct {
		bytes, every uint64 // milliseconds
		days         int
		met          bool
	}{{26 * 700, 1_000, 30, false}, {256 << 10, 1_000, 1, true}} {
		if met := vault.QuotaMet(c.bytes, c.every, c.days); met != c.met {
			t.Errorf("%d bytes every %d ms: met %v", c.bytes, c.every, met)
		}
	}
}
