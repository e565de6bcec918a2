package coordinator

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/coordinator/coordinatortest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
)

// coldFixture is a coordinator over vaults of whose devices those of 1 and 2 have an
// approval key that two of bob, carol and dave use together; its wallet is cold.
func coldFixture(t *testing.T) *fixture {
	t.Helper()
	const seed = 13
	roster := sim.Roster(seed)
	var keys []signature.PublicKey
	for _, name := range sim.Approvers {
		keys = append(keys, sim.Approver(seed, name).Public())
		roster.Principals[indexOf(t, roster, name)].Credentials = append(roster.Principals[indexOf(t, roster, name)].Credentials, keys[len(keys)-1])
	}
	v, err := coordinatortest.NewWith(seed, roster, func(p *sim.Party) error {
		if p.ID == 3 {
			return nil
		}
		return p.Device.SetApprovers(2, keys...)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	v.Do(func(w *sim.World) { w.Tier = governance.TierCold })
	f := fixtureOf(t, v, v.KeygenOrder("vaulted", 2), devnode.Options{}, nil)
	v.Crash(3) // so that devices with an approval key must sign
	f.co.peers.forget()
	return f
}

func indexOf(t *testing.T, ro *identity.Roster, name string) int {
	t.Helper()
	for i := range ro.Principals {
		if ro.Principals[i].ID == name {
			return i
		}
	}
	t.Fatalf("no %s in the roster", name)
	return 0
}

// deviceApproval is a person's for a vault's device.
func (f *fixture) deviceApproval(id [32]byte, who string, vault uint16) DeviceApproval {
	f.t.Helper()
	card, _ := f.co.Governance().Vault(vault)
	digest, err := attest.ApprovalDigest(card.ApprovalArea, audit.ApprovedStatement(f.co.Cluster(), vault, id))
	if err != nil {
		f.t.Fatal(err)
	}
	return DeviceApproval{vault, sim.Approver(f.v.Seed, who).Approve(digest)}
}

func (f *fixture) approveDevices(id [32]byte, who string) {
	f.t.Helper()
	as := []DeviceApproval{f.deviceApproval(id, who, 1), f.deviceApproval(id, who, 2)}
	if _, err := f.co.ApproveDevices(f.t.Context(), id, as); err != nil {
		f.t.Fatal(err)
	}
}

// A cold wallet's request waits until the devices' approvers have signed, says who is
// missing, asks no vault again before somebody has, and survives a restart.
func TestDeviceApprovals(t *testing.T) {
	f := coldFixture(t)
	r := f.handIn(f.transfer(sim.Known, sim.ETH(1)))
	f.waiting(r.ID, "vault 1's device", "vault 2's device", "there are none yet")
	if n := len(f.attempts(r.ID)); n != 0 {
		t.Errorf("%d attempts without any approval", n)
	}
	f.approveDevices(r.ID, "bob")
	f.waiting(r.ID, "carol", "dave", "are missing")
	n := len(f.attempts(r.ID))
	f.approveDevices(r.ID, "bob") // again: nothing new
	f.restart()
	f.v.Do(func(*sim.World) {})
	if as, err := f.co.DeviceApprovals(t.Context(), r.ID); err != nil || len(as) != 2 {
		t.Fatalf("%d approvals after a restart, %v", len(as), err)
	}
	f.waiting(r.ID, "carol", "dave", "are missing")
	if m := len(f.attempts(r.ID)); m > n+1 { // a started coordinator asks once
		t.Errorf("%d attempts with one approval, before the restart %d", m, n)
	}
	f.approveDevices(r.ID, "dave")
	f.state(r.ID, Confirmed)
}

// What is no approval of this request in a device is not kept.
func TestDeviceApprovalsRefused(t *testing.T) {
	f := coldFixture(t)
	r := f.handIn(f.transfer(sim.Known, sim.ETH(1)))
	good := f.deviceApproval(r.ID, "bob", 1)
	forged := good
	forged.Approval.Signature.Bytes = append([]byte(nil), good.Approval.Signature.Bytes...)
	forged.Approval.Signature.Bytes[5] ^= 1
	for name, c := range map[string]struct {
		a    DeviceApproval
		want string
	}{
		"a vault without approval key": {DeviceApproval{3, good.Approval}, "vault 3 has no approval key"},
		"no vault":                     {DeviceApproval{9, good.Approval}, "vault 9 has no approval key"},
		"another vault":                {DeviceApproval{2, good.Approval}, "does not verify"},
		"another request":              {f.deviceApproval([32]byte{1}, "bob", 1), "does not verify"},
		"a stranger":                   {f.deviceApproval(r.ID, "mallory", 1), "nobody's in the roster"},
		"a person's other key":         {DeviceApproval{1, hsm.Approval{Key: sim.PublicKey(sim.Person(f.v.Seed, "bob")), Signature: good.Approval.Signature}}, "does not verify"},
		"forged":                       {forged, "does not verify"},
	} {
		_, err := f.co.ApproveDevices(t.Context(), r.ID, []DeviceApproval{good, c.a})
		if x := refusal.As(err); x == nil || x.Code != "approval.device" || !strings.Contains(x.Detail, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if as, err := f.co.DeviceApprovals(t.Context(), r.ID); err != nil || len(as) != 0 {
		t.Errorf("%d approvals were kept, %v", len(as), err)
	}
	if _, err := f.co.ApproveDevices(t.Context(), [32]byte{1}, []DeviceApproval{good}); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a request that is not there: %v", err)
	}
}
