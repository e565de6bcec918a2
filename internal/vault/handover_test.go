package vault_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// startFive is a cluster of five vaults with a wallet 2-of-3 on the first three.
func startFive(t *testing.T) *fixture {
	t.Helper()
	w, err := sim.New(5, 5, sim.Roster(5), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, World: w}
	f.x, err = w.KeygenAmong("treasury", 2, 1, 2, 3)
	f.ok(err)
	return f
}

func (f *fixture) order(action governance.Action, threshold int, parties ...mpc.ID) *governance.SignedChange {
	f.Helper()
	s, err := f.OrderChange(f.x, "treasury", action, threshold, parties...)
	f.ok(err)
	return s
}

func (f *fixture) handOver(s *governance.SignedChange, dealers ...mpc.ID) {
	f.Helper()
	x, err := f.Handover(f.x, s, dealers...)
	f.ok(err)
	f.x = x
	f.ok(f.Settle())
}

// A wallet goes from 2 of 3 to 3 of 5 and back to others; refreshed in between. Its
// address stays, old shares leave every disk, and a restart changes nothing.
func TestLifecycle(t *testing.T) {
	f := startFive(t)
	f.works(1, 2)
	f.handOver(f.order(governance.Refresh, 0), 1, 2, 3)
	if f.x.Certificate.Epoch != 2 {
		t.Fatalf("epoch %d", f.x.Certificate.Epoch)
	}
	f.works(2, 3)
	f.handOver(f.order(governance.Reshare, 3, 1, 2, 3, 4, 5), 1, 3)
	f.works(3, 4, 5)
	f.works(1, 2, 5)
	for _, id := range f.IDs {
		if n := len(f.records(id, "key/")) + len(f.records(id, "share/")); n != 1 {
			t.Errorf("vault %d has %d shares on disk, want that of the present epoch", id, n)
		}
		if n := len(f.records(id, "candidate/")); n != 0 {
			t.Errorf("vault %d has %d candidates on disk", id, n)
		}
	}
	f.handOver(f.order(governance.Reshare, 2, 3, 4, 5), 1, 2, 5)
	f.works(4, 5)
	for _, id := range []mpc.ID{1, 2} {
		if n := len(f.records(id, "key/")) + len(f.records(id, "share/")); n != 0 {
			t.Errorf("vault %d, which left, still has %d shares on disk", id, n)
		}
	}
	for _, id := range f.IDs {
		f.Crash(id)
	}
	for _, id := range f.IDs {
		f.ok(f.Restart(id))
	}
	f.ok(f.Settle())
	f.works(3, 4)
	f.blameless()
	// Back to one who left.
	f.handOver(f.order(governance.Reshare, 2, 1, 2, 3), 3, 4)
	f.works(1, 2)
}

func TestHandoverRefused(t *testing.T) {
	f := startFive(t)
	_, err := f.Handover(f.x, f.order(governance.Reshare, 2, 1, 2, 4), 1)
	if err == nil || !strings.Contains(err.Error(), "1 dealers") {
		t.Errorf("too few dealers: %v", err)
	}
}
