package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
)

// While an order to resume waits for its time the vault starts again and again. The
// order is drafted above all of those starts, and is carried out in the one it names.
func TestResumeWaits(t *testing.T) {
	for name, c := range map[string]struct {
		margin uint64
		works  bool
	}{"as drafted": {governance.BootMargin, true}, "the next start alone": {1, false}} {
		f := startCooling(t)
		f.works(1, 2)
		f.wait(25_000)
		old := f.Parties[2].Disk.Clone()
		f.works(1, 2)
		f.wait(2_000)
		f.restore(2, old)
		f.wait(2_000)
		f.stopped(2)
		o, err := f.ResumeOrder(2)
		f.ok(err)
		o.Boot += c.margin - 1
		f.publish(governance.KindVault, o.Encode())
		for range 3 {
			f.wait(2_000)
			f.stopped(2)
			f.Crash(2)
			f.ok(f.Restart(2))
			f.ok(f.Settle())
		}
		// One of the others is gone: the order is enough for the very start that it names.
		f.Crash(3)
		f.wait(cooling + 30_000)
		status, err := f.Status(2)
		f.ok(err)
		if got := status.State == cluster.StateRunning; got != c.works {
			t.Fatalf("%s: it goes on: %v, want %v (%v)", name, got, c.works, status.State)
		}
		if !c.works {
			continue
		}
		f.ok(f.Restart(3))
		f.wait(3_000)
		if status.Boot != o.Boot {
			t.Errorf("it goes on in start %d, the order names %d", status.Boot, o.Boot)
		}
		// Of the disk from before the order a copy is behind what the peers hold.
		f.works(2, 3)
		f.Crash(2)
		f.ok(f.Restart(2))
		f.wait(3_000)
		f.works(2, 3)
		f.restore(2, old)
		f.wait(3_000)
		f.stopped(2)
	}
}
