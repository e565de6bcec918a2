package api

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/verify"
)

// TestExportWhileSigning: logs that are copied one after another while the cluster signs
// verify, and the copies of a cluster that rests leave nothing unchecked.
func TestExportWhileSigning(t *testing.T) {
	f := newFixture(t, shared(t))
	const payments = 6
	var ids []string
	for range payments {
		ids = append(ids, f.propose(sim.Known, "0.01 ETH").ID)
	}
	export := func(n int) *verify.Report {
		dirs, err := f.ExportLogs(t.Context(), filepath.Join(t.TempDir(), "copies"))
		if err != nil || len(dirs) != 3 {
			t.Fatalf("export %d: %v, %v", n, dirs, err)
		}
		r := verify.Dirs(f.v.Genesis.Hash(), dirs, sim.Codecs())
		if !r.OK {
			t.Fatalf("export %d: %v", n, r.Faults)
		}
		return r
	}
	done := make(chan error, 1)
	go func() {
		for _, id := range ids {
			if r, err := f.WaitFinal(t.Context(), id, 2*time.Minute); err != nil || r.State != "confirmed" {
				done <- fmt.Errorf("%s: %+v, %w", id, r, err)
				return
			}
		}
		done <- nil
	}()
	for n, busy := 0, true; busy; n++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			busy = false
		default:
		}
		if r := export(n); r.Counts.Unchecked > 0 {
			t.Logf("export %d: %v", n, r.Notes)
		}
	}
	if r := export(-1); r.Counts.Unchecked > 0 || len(r.Signed) < payments {
		t.Errorf("after all: %d signed, %v", len(r.Signed), r.Notes)
	}
}
