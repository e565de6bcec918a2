package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// grouped watches what vault 1 asks of its device, and when it wants to wake.
type grouped struct {
	*fixture
	asked int
	wake  uint64
}

// startGrouped is a cluster whose devices take a while for each signature.
func startGrouped(t *testing.T, took uint64) *grouped {
	t.Helper()
	g := &grouped{fixture: startQuick(t)}
	for _, id := range g.IDs {
		g.Parties[id].Device.Took = took
	}
	g.works(1, 2) // the vaults have measured
	g.OnReady = func(p *sim.Party, r vault.Ready) error {
		if p.ID != 1 {
			return nil
		}
		for _, c := range r.Device {
			if c.Kind == vault.DeviceSign && c.Role == hsm.RoleDecision {
				g.asked++
			}
		}
		g.wake = r.Wake
		return nil
	}
	return g
}

// begin sends the command of a fresh payment by vaults 1 and 2 to these.
func (g *grouped) begin(to ...mpc.ID) (c *cluster.Command, ids []uint64) {
	g.Helper()
	g.nonce++
	c = g.signCommand(g.Transfer(g.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 2000+g.nonce), 1, 2)
	for _, id := range to {
		ids = append(ids, g.command(id, c))
	}
	g.ok(g.Settle())
	return c, ids
}

func (g *grouped) done(ids ...uint64) {
	g.Helper()
	for _, n := range ids {
		if r := g.Replies[n]; r == nil || r.Outcome != cluster.OutcomeDone {
			g.Errorf("no share: %s", show(r))
		}
	}
}

// While another session is about to decide, a decision waits for it, and one
// signature of the device covers both.
func TestGroupCommit(t *testing.T) {
	g := startGrouped(t, 5000)
	other, one := g.begin(1)
	_, two := g.begin(1, 2)
	if g.asked != 0 || g.wake != g.Now+5 {
		t.Fatalf("vault 1 asked its device %d times, and wakes in %d ms; want it to wait 5 ms for the other session", g.asked, g.wake-g.Now)
	}
	g.ok(g.Tick(4))
	if g.asked != 0 {
		t.Fatal("vault 1 didn't wait as long as it said")
	}
	one = append(one, g.command(2, other))
	g.ok(g.Settle())
	g.done(append(one, two...)...)
	if g.asked != 1 {
		t.Errorf("the device signed %d times for two decisions", g.asked)
	}
	if g.wake != 0 {
		t.Error("a vault with nothing to wait for wants to wake")
	}
}

// The wait has an end, whatever the others do.
func TestGroupCommitEnds(t *testing.T) {
	for name, c := range map[string]struct {
		took, wait uint64 // microseconds, milliseconds
		others     int
	}{
		"one":         {took: 5000, others: 1, wait: 5},
		"two":         {took: 5000, others: 2, wait: 10},
		"many":        {took: 5000, others: 9, wait: 25},
		"slow device": {took: 2_000_000, others: 1, wait: 25},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGrouped(t, c.took)
			for range c.others {
				g.begin(1)
			}
			_, ids := g.begin(1, 2)
			g.ok(g.Tick(c.wait - 1))
			if g.asked != 0 {
				t.Fatalf("vault 1 waits less than %d ms", c.wait)
			}
			g.ok(g.Tick(1))
			g.ok(g.Settle())
			if g.asked != 1 {
				t.Errorf("vault 1 asked its device %d times after %d ms", g.asked, c.wait)
			}
			g.done(ids...)
		})
	}
}

// Nothing is held when nobody else comes: an idle vault answers as fast as ever.
func TestGroupCommitIdle(t *testing.T) {
	now := func(name string, took uint64, before func(*grouped)) {
		t.Run(name, func(t *testing.T) {
			g := startGrouped(t, took)
			if before != nil {
				before(g)
			}
			g.asked = 0
			_, ids := g.begin(1, 2)
			if g.asked != 1 {
				t.Errorf("vault 1 asked its device %d times at once, want 1", g.asked)
			}
			g.done(ids...)
		})
	}
	now("alone", 5000, nil)
	now("a fast device", 100, func(g *grouped) { g.begin(1) })
	now("a session that waits for a silent peer", 5000, func(g *grouped) {
		g.begin(1)
		g.ok(g.Tick(1000))
		g.ok(g.Settle())
	})
}

// A session that ends is not waited for.
func TestGroupCommitOtherEnds(t *testing.T) {
	g := startGrouped(t, 5000)
	other, _ := g.begin(1)
	_, ids := g.begin(1, 2)
	if g.asked != 0 {
		t.Fatal("vault 1 didn't wait")
	}
	g.command(1, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: other.Attempt})
	if g.asked != 1 {
		t.Errorf("vault 1 asked its device %d times when the other session had ended", g.asked)
	}
	g.ok(g.Settle())
	g.done(ids...)
}

// On a machine on which sessions take long anyway the wait may be longer, in
// proportion.
func TestGroupCommitUnderLoad(t *testing.T) {
	g := startGrouped(t, 5000)
	late, ids := g.begin(1)
	g.ok(g.Tick(400))
	for range 15 {
		g.begin(1)
	}
	ids = append(ids, g.command(2, late))
	g.ok(g.Settle())
	if g.asked != 0 || g.wake != g.Now+50 {
		t.Fatalf("vault 1 asked its device %d times, and wakes in %d ms; want it to wait an eighth of 400 ms", g.asked, g.wake-g.Now)
	}
	g.ok(g.Tick(50))
	g.ok(g.Settle())
	g.done(ids...)
}
