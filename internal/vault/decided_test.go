package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/sim"
)

// A copy of the disk from between the decision and the final share: no witness can
// tell. What this vault may have given another's word does not free.
func TestDecidedIsNotFreedByALiar(t *testing.T) {
	freed := 0
	for at := 0; ; at++ {
		f := startQuick(t)
		b := f.Transfer(f.x, sim.Known, sim.ETH(1))
		ids, err := f.StartSign(b, sim.Unsigned(sim.Known, sim.ETH(1), 7), 1, 2)
		f.ok(err)
		for i := 0; i < at && len(f.Frames)+len(f.Devices) > 0; i++ {
			if len(f.Devices) > 0 {
				f.ok(f.Answer(0))
			} else {
				f.ok(f.Deliver(0))
			}
		}
		if f.Replies[ids[2]] != nil {
			break
		}
		snapshot := f.Parties[2].Disk.Clone()
		f.ok(f.Settle())
		f.Parties[1].Vault.LieRelease()
		f.restore(2, snapshot)
		f.pass(22)
		for range 2 {
			for id, r := range f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), 2, 3) {
				if r != nil && r.Outcome == cluster.OutcomeDone && id == 2 && f.Replies[ids[2]] != nil && f.Replies[ids[2]].Outcome == cluster.OutcomeDone {
					freed++
					t.Errorf("step %d: vault %d gives a share of a second version", at, id)
				}
			}
			f.pass(21)
		}
	}
	t.Log("freed", freed)
}
