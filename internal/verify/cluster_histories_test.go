package verify_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/verify"
	"github.com/cofferhq/coffer/mpc"
)

func (v *vaults) calm() {
	v.Helper()
	for range 3 {
		v.ok(v.Tick(2_000))
		v.ok(v.Settle())
	}
}

func (v *vaults) payment(nonce uint64, signers ...mpc.ID) {
	v.Helper()
	v.pay(v.Transfer(v.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), nonce), signers...)
}

func (v *vaults) verified(receipts int, more ...verify.Copy) *verify.Report {
	v.Helper()
	r := verify.Copies(v.Genesis.Hash(), append(v.copies(), more...), sim.Codecs())
	if !r.OK || len(r.Signed) != receipts {
		v.Fatalf("%d signed, want %d: %+v", len(r.Signed), receipts, r.Faults)
	}
	return r
}

func (v *vaults) backup(d *sim.Disk, id uint16) verify.Copy {
	return verify.Copy{Name: "backup", Copy: &logfile.Copy{
		Header: logfile.Header{Cluster: v.Genesis.Hash(), Vault: id}, Entries: d.Entries, Checkpoint: d.Checkpoint,
	}}
}

// The vaults' own code: one is set back, resumed by the admins, and goes on. The logs
// tell of it, and verify with the backup of what was given up and without it; without
// the change they do not.
func TestResumedVaultVerifies(t *testing.T) {
	w, err := sim.New(61, 3, sim.Roster(61), sim.Policy())
	v := &vaults{T: t, World: w}
	v.ok(err)
	v.x, err = w.Keygen("treasury", 2)
	v.ok(err)
	v.payment(0, 1, 2)
	v.calm()
	old := w.Parties[2].Disk.Clone()
	v.payment(1, 2, 3)
	v.calm()
	dead := w.Parties[2].Disk.Clone()
	w.Crash(2)
	w.Parties[2].Disk = old
	v.ok(w.Restart(2))
	v.calm()
	if r := verify.Copies(w.Genesis.Hash(), v.copies(), sim.Codecs()); r.OK {
		t.Fatal("a log that was set back verifies")
	}
	v.ok(w.Resume(2))
	v.calm()
	v.payment(2, 1, 2)
	v.payment(3, 2, 3)
	v.calm()
	r := v.verified(4)
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "in the history that change 1 gave up") }) {
		t.Errorf("%v", r.Notes)
	}
	r = v.verified(4, v.backup(dead, 2))
	if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "vault 2: backup is the history") {
		t.Errorf("%v", r.Notes)
	}
}

// A vault that lost its disk and its device is replaced and its share repaired.
func TestReplacedVaultVerifies(t *testing.T) {
	w, err := sim.New(62, 3, sim.Roster(62), sim.Policy())
	v := &vaults{T: t, World: w}
	v.ok(err)
	v.x, err = w.Keygen("treasury", 2)
	v.ok(err)
	v.payment(0, 1, 2)
	v.calm()
	lost := w.Parties[2].Disk.Clone()
	w.Crash(2)
	e, err := w.Enrol(2, 1)
	v.ok(err)
	v.ok(w.Restart(2))
	v.calm()
	_, err = w.Replace(2, e, 50)
	v.ok(err)
	v.ok(w.CatchUpAll())
	for range 5 {
		v.calm()
	}
	v.ok(w.Tick(151_000)) // what was reserved before has run out
	v.calm()
	s, err := w.OrderChange(v.x, "treasury", governance.Refresh, 0)
	v.ok(err)
	v.x, err = w.Handover(v.x, s, 1, 2, 3)
	v.ok(err)
	v.calm()
	v.payment(1, 1, 2)
	v.payment(2, 2, 3)
	v.calm()
	r := v.verified(3)
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "was in the log that ended with change 1") }) {
		t.Errorf("%v", r.Notes)
	}
	if r = v.verified(3, v.backup(lost, 2)); len(r.Notes) > 0 || len(r.Vaults) != 4 {
		t.Errorf("%v", r.Notes)
	}
}
