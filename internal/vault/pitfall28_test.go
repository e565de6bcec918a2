package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// TestPitfall28_SnapshotsAroundACheater: a host puts its vault's disk back 300 times
// around a peer that cheats in each session, to learn one bit of its secret Δ at a
// time. It gets an answer to one check: from then on the third vault knows of a newer
// head, and nothing runs. And the one bit is of a Δ that is gone.
func TestPitfall28_SnapshotsAroundACheater(t *testing.T) {
	f := startQuick(t)
	f.pass(2)
	old := f.Parties[2].Disk.Clone()
	deltas := map[[16]byte]int{}
	checks, sessions := 0, 0
	for n := range 300 {
		f.Crash(2)
		f.Parties[2].Disk = old.Clone()
		f.Parties[2].Notes = nil
		f.ok(f.Restart(2))
		f.ok(f.Settle())
		f.ok(f.Tick(1500))
		f.ok(f.Settle())
		one, two := f.Parties[1].Vault, f.Parties[2].Vault
		if n > 0 && two.PairReady(1) {
			t.Fatalf("start %d: a pair setup runs on a disk that was put back", n)
		}
		if two.PairReady(1) {
			deltas[two.Delta(1)]++
			one.CorruptPair(2)
		}
		b := f.Transfer(f.x, sim.Known, sim.ETH(1))
		replies := f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), uint64(n)), 1, 2)
		r := replies[2]
		switch {
		case r == nil:
		case r.Outcome == cluster.OutcomeDone:
			t.Fatalf("start %d: vault 2 gave a share to a cheater", n)
		case mpc.Class(r.Class) == mpc.Quarantine:
			checks++ // which check failed the peer does not hear; that one did is the bit
		}
		if two.LedgerSeq(2) > 2 {
			sessions++
		}
		f.ok(f.Tick(1500)) // the checkpoint over the quarantine is signed, and shown
		f.ok(f.Settle())
	}
	if checks != 1 || sessions > 1 {
		t.Errorf("%d of 300 lies were answered in %d sessions, want 1", checks, sessions)
	}
	f.stopped(2, 3)
}

// The same host with the network in its hands: it keeps the third vault from hearing
// anything but the answers that a start takes. Each start then meets another Δ, so that
// each lie is about a secret that is gone before the next.
func TestPitfall28_SnapshotsWithTheWitnessCutOff(t *testing.T) {
	f := startQuick(t)
	f.pass(2)
	seen := map[[16]byte]bool{}
	starts := 0
	for range 12 {
		f.Intercept = nil
		f.Crash(2)
		f.begin(2)
		old := f.Parties[2].Disk.Clone() // of this start: its number is known to all
		one, two := f.Parties[1].Vault, f.Parties[2].Vault
		if !two.PairReady(1) {
			break
		}
		starts++
		known := two.LedgerSeq(2)
		if d := two.Delta(1); seen[d] {
			t.Fatalf("Δ %x comes back", d)
		} else {
			seen[d] = true
		}
		f.Intercept = func(fr sim.Frame) bool { return fr.To != 3 }
		one.CorruptPair(2)
		f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), uint64(starts)), 1, 2)
		f.pass(2)
		if !f.Parties[2].Vault.Quarantined(1) {
			t.Fatal("the lie was not found")
		}
		f.Frames, f.Parties[2].Disk = nil, old
		one.Lie(2, known)
	}
	if starts != 12 || len(seen) != starts {
		t.Errorf("%d starts, %d different Δ", starts, len(seen))
	}
}
