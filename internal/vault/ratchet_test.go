package vault_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// opens says whether a vault starts on a copy of a disk with the device as it is now.
func (f *fixture) opens(id mpc.ID, disk *sim.Disk) error {
	f.Helper()
	p := f.Parties[id]
	v, own, devices, frames := p.Vault, p.Disk, f.Devices, f.Frames
	defer func() { p.Vault, p.Disk, f.Devices, f.Frames = v, own, devices, frames }()
	p.Vault, p.Disk, f.Devices, f.Frames = nil, disk.Clone(), nil, nil
	if err := f.Restart(id); err != nil {
		return err
	}
	for len(f.Devices) > 0 {
		if err := f.Answer(0); err != nil {
			return err
		}
	}
	return nil
}

// ratcheted lets time pass until the ratchets are done.
func (f *fixture) ratcheted() {
	f.Helper()
	for range 10 {
		f.ok(f.Tick(1_000))
		f.ok(f.Settle())
	}
}

func (f *fixture) refresh() {
	f.Helper()
	f.handOver(f.order(governance.Refresh, 0), f.IDs...)
}

// After a refresh a copy of the disk from before it opens no more, with the device
// in hand; the disk of now does.
func TestRatchetClosesOldDisks(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	old := map[mpc.ID]*sim.Disk{}
	for _, id := range f.IDs {
		old[id] = f.Parties[id].Disk.Clone()
		f.ok(f.opens(id, old[id]))
	}
	f.refresh()
	f.ratcheted()
	for _, id := range f.IDs {
		if err := f.opens(id, old[id]); err == nil || !strings.Contains(err.Error(), "does not open") {
			t.Errorf("vault %d's disk of before the refresh: %v", id, err)
		}
		f.ok(f.opens(id, f.Parties[id].Disk))
		// Nor does the new root key open what the old one had sealed.
		mixed := f.Parties[id].Disk.Clone()
		mixed.Records["log-key"] = old[id].Records["log-key"]
		if err := f.opens(id, mixed); err == nil || !strings.Contains(err.Error(), "log-key") {
			t.Errorf("vault %d: an old record on the new disk: %v", id, err)
		}
		epoch, newest, erased := f.Parties[id].Vault.SealEpochs()
		if epoch != 2 || newest != 2 || erased != 2 {
			t.Errorf("vault %d rests in seal epoch %d of %d, erased below %d: one refresh is one step", id, epoch, newest, erased)
		}
	}
	f.works(2, 3)
	for _, id := range f.IDs {
		f.Crash(id)
		f.ok(f.Restart(id))
	}
	f.ok(f.Settle())
	f.works(1, 3)
	f.refresh()
	f.ratcheted()
	f.works(1, 2)
}

// An old disk that somebody puts back does nothing to the device: the newest one still
// opens when it comes back.
func TestOldDiskLeavesTheDeviceAlone(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.refresh()
	old := f.Parties[2].Disk.Clone() // the ratchet is wanted there, and has not begun
	f.works(1, 2)
	newest := f.Parties[2].Disk.Clone()
	if epoch, made, _ := f.Parties[2].Vault.SealEpochs(); epoch != 1 || made != 1 {
		t.Fatalf("seal epoch %d of %d: the ratchet has begun", epoch, made)
	}
	f.restore(2, old)
	f.pass(2)
	f.stopped(2, 1, 3)
	f.ratcheted()
	if epoch, made, erased := f.Parties[2].Vault.SealEpochs(); epoch != 1 || made > 1 || erased > 1 {
		t.Errorf("on the old disk: seal epoch %d of %d, erased below %d", epoch, made, erased)
	}
	f.ok(f.opens(2, newest))
	f.resume(2)
	f.ok(f.Lift(2, 0))
	f.ok(f.Settle())
	f.ratcheted()
	if epoch, _, _ := f.Parties[2].Vault.SealEpochs(); epoch != 2 {
		t.Errorf("seal epoch %d after the admins have resumed the vault", epoch)
	}
}

// A vault dies at each step of the ratchet: before the writes, after them, or with
// the device done and the writes lost. Its disk always opens, and in the end no copy
// from before the refresh does.
func TestCrashAtEveryStepOfTheRatchet(t *testing.T) {
	f := startQuick(t)
	for _, mode := range []string{"nothing done", "device done", "writes done", "all done"} {
		for k := 1; f.crashInRatchet(mode, k); k++ {
			if k > 20 {
				t.Fatal("a ratchet takes no end of steps")
			}
		}
	}
	f.blameless()
}

func (f *fixture) crashInRatchet(mode string, k int) (crashed bool) {
	f.Helper()
	const victim = 2
	old := f.Parties[victim].Disk.Clone()
	f.refresh()
	n := 0
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		if p.ID != victim || len(r.Writes)+len(r.Device) == 0 || crashed {
			return nil
		}
		if n++; n < k {
			return nil
		}
		crashed = true
		if mode == "writes done" || mode == "all done" {
			p.Disk.Write(r)
		}
		if mode == "device done" || mode == "all done" {
			for _, c := range r.Device {
				p.Device.Do(c)
			}
		}
		return sim.ErrCrash
	}
	f.ratcheted()
	f.OnReady = nil
	if crashed {
		f.ok(f.Restart(victim))
		f.ok(f.Settle())
	}
	f.ratcheted()
	if err := f.opens(victim, old); err == nil {
		f.Fatalf("%s at step %d: the disk of before the refresh opens", mode, k)
	}
	f.works(1, victim)
	return crashed
}

// A device that refuses a step of the ratchet costs nothing: it is asked again.
func TestRatchetWhileTheDeviceFails(t *testing.T) {
	f := startQuick(t)
	old := f.Parties[2].Disk.Clone()
	f.refresh()
	f.Parties[2].Device.Down = true
	f.ratcheted()
	f.Parties[2].Device.Down = false
	f.ok(f.opens(2, old))
	if !strings.Contains(strings.Join(f.Parties[2].Notes, "\n"), "ratchet: the device does not make the next seal key") {
		t.Error("nobody is told")
	}
	f.ok(f.Tick(60_000))
	f.ratcheted()
	if f.opens(2, old) == nil {
		t.Error("the old disk still opens")
	}
	f.works(1, 2)
}
