package vault_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// counted is a cluster in which vault 2's device has a counter.
func counted(t *testing.T, grade hsm.Grade) *fixture {
	f := startQuick(t)
	f.Counters = map[mpc.ID]hsm.Grade{2: grade}
	f.Crash(2)
	f.begin(2)
	return f
}

func (f *fixture) begin(id mpc.ID) {
	f.Helper()
	f.ok(f.Restart(id))
	f.ok(f.Settle())
	f.pass(2)
}

// alone has vault 3 say nothing.
func (f *fixture) alone() { f.Intercept = func(fr sim.Frame) bool { return fr.From != 3 } }

// After a clean stop a counter in hardware stands for the peers' answers; after a
// crash nothing does.
func TestCleanStop(t *testing.T) {
	f := counted(t, hsm.GradeHardware)
	f.works(1, 2)
	f.alone()
	f.ok(f.Stop(2))
	f.begin(2)
	f.works(1, 2)
	f.ok(f.Stop(2))
	f.begin(2)
	f.works(1, 2)
	f.Crash(2)
	f.begin(2)
	f.idle("waits until 1 more", 1, 2)
	// A start that has not passed does not end cleanly.
	f.ok(f.Stop(2))
	f.begin(2)
	f.idle("waits until 1 more", 1, 2)
	f.Intercept = nil
	f.pass(2)
	f.works(1, 2)
}

// A stop in the middle of a session gives back what was reserved.
func TestCleanStopReleases(t *testing.T) {
	f := counted(t, hsm.GradeHardware)
	before := f.Parties[2].Vault.LedgerSeq(2)
	n := f.command(2, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2))
	f.ok(f.Stop(2))
	f.aborted(n, mpc.Benign, "stops")
	f.begin(2)
	if seq := f.Parties[2].Vault.LedgerSeq(2); seq != before+2 {
		t.Errorf("%d events, want a reservation and its release after %d", seq, before)
	}
}

// A counter that a program keeps is copied with the disk: it confirms nothing.
func TestSoftwareCounterConfirmsNothing(t *testing.T) {
	f := counted(t, hsm.GradeSoftware)
	f.works(1, 2)
	f.alone()
	f.ok(f.Stop(2))
	disk, token := f.Parties[2].Disk.Clone(), *f.Parties[2].Device
	f.begin(2)
	f.idle("waits until 1 more", 1, 2)
	f.Intercept = nil
	f.pass(2)
	f.works(1, 2)
	f.pass(2)
	// The disk with its token of an earlier day: the peers know better.
	f.Crash(2)
	f.Parties[2].Device = &token
	f.restore(2, disk)
	f.pass(2)
	f.stopped(2, 1, 3)
}

// A disk that was put back stands behind the counter, whoever is silent.
func TestCounterFindsAnOldDisk(t *testing.T) {
	f := counted(t, hsm.GradeHardware)
	f.works(1, 2)
	running := f.Parties[2].Disk.Clone()
	f.ok(f.Stop(2))
	closed := f.Parties[2].Disk.Clone()
	f.begin(2)
	f.ok(f.Stop(2))
	f.Intercept = func(fr sim.Frame) bool { return fr.From == fr.To } // nobody hears anybody
	for name, d := range map[string]*sim.Disk{"running": running, "closed": closed} {
		count := f.Parties[2].Device.Count
		f.restore(2, d)
		f.stopped(2)
		if said := f.Parties[2].Vault.Stopped(); !strings.Contains(said, "counter says") {
			t.Errorf("%s: it says %q", name, said)
		}
		if f.Parties[2].Device.Count != count {
			t.Errorf("%s: the counter went on", name)
		}
	}
	f.Intercept = nil
	f.crashAndBegin(2)
	f.resume(2)
	f.ok(f.Lift(2, 0))
	f.pass(31)
	f.works(1, 2)
	f.Crash(2)
	f.begin(2)
	f.works(1, 2)
}

func (f *fixture) crashAndBegin(id mpc.ID) {
	f.Helper()
	f.Crash(id)
	f.begin(id)
}

// A counter that says less than the disk was put back itself.
func TestCounterPutBack(t *testing.T) {
	f := counted(t, hsm.GradeHardware)
	f.Crash(2)
	f.Parties[2].Device.Count -= 2
	f.begin(2)
	f.stopped(2)
}

// A crash at any moment of counting is no rollback, and confirms nothing false.
func TestCrashWhileCounting(t *testing.T) {
	for at := range 8 {
		f := counted(t, hsm.GradeHardware)
		f.works(1, 2)
		f.ok(f.Step(2, vault.Input{Stop: true}))
		for i := 0; i < at && len(f.Devices) > 0; i++ {
			f.ok(f.Answer(0))
		}
		f.Crash(2)
		f.ok(f.Restart(2))
		for i := 0; i < at && len(f.Devices) > 0; i++ {
			f.ok(f.Answer(0))
		}
		f.Crash(2)
		f.begin(2)
		s, err := f.Status(2)
		f.ok(err)
		if s.State != cluster.StateRunning {
			t.Fatalf("crash after %d answers: %v: %s", at, s.State, f.Parties[2].Vault.Ready())
		}
		f.works(1, 2)
	}
}
