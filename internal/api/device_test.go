package api

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/coordinator/coordinatortest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
)

// People sign with the SDK for the devices of a cold wallet's vaults; the request
// waits for enough of them, and says for whom.
func TestDeviceApprovals(t *testing.T) {
	const seed = 23
	roster := sim.Roster(seed)
	people := map[string]*client.Signer{}
	var keys []signature.PublicKey
	for _, name := range sim.Approvers {
		s, err := client.NewP256Signer(name, filepath.Join(t.TempDir(), name+".p256"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		people[name] = s
		k, err := signature.ParseText(s.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		for i := range roster.Principals {
			if p := &roster.Principals[i]; p.ID == name {
				p.Credentials = append(p.Credentials, k)
			}
		}
	}
	v, err := coordinatortest.NewWith(seed, roster, func(p *sim.Party) error { return p.Device.SetApprovers(2, keys...) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	v.Do(func(w *sim.World) { w.Tier = governance.TierCold })
	f := newFixture(t, v)
	if f.wallet.Tier != "cold" {
		t.Fatalf("the wallet is %s", f.wallet.Tier)
	}
	r := f.propose(sim.Known, "1 ETH")
	dec, err := client.Decode(r.Canonical, f.cluster)
	if err != nil {
		t.Fatal(err)
	}
	by := func(name string) *client.Request {
		t.Helper()
		as, err := people[name].ApproveDevices(dec, f.cluster)
		if err != nil || len(as) != 3 {
			t.Fatalf("%d approvals, %v", len(as), err)
		}
		r, err := f.ApproveDevices(t.Context(), r.ID, as)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if got := by("bob"); len(got.Devices) != 3 || got.Devices[0] != (client.DeviceYes{Vault: 1, Principal: "bob", Key: people["bob"].PublicKey()}) {
		t.Errorf("approvals %+v", got.Devices)
	}
	as, err := people["carol"].ApproveDevices(dec, f.cluster)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(a *client.DeviceApproval)
		want string
	}{
		"another vault": {func(a *client.DeviceApproval) { a.Vault = 2 }, "does not verify"},
		"no vault":      {func(a *client.DeviceApproval) { a.Vault = 99 }, "vault 99"},
		"key":           {func(a *client.DeviceApproval) { a.Key = "p256:x" }, "key"},
		"signature":     {func(a *client.DeviceApproval) { a.Signature = "x" }, "signature"},
	} {
		bad := as[0]
		c.edit(&bad)
		var e *client.Error
		if _, err := f.ApproveDevices(t.Context(), r.ID, []client.DeviceApproval{bad}); !errors.As(err, &e) || e.Status < 400 || e.Status >= http.StatusInternalServerError || !strings.Contains(e.Detail, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.signer("carol").ApproveDevices(dec, f.cluster); err == nil || !strings.Contains(err.Error(), "p256 keys only") {
		t.Errorf("an Ed25519 key approves in devices: %v", err)
	}
	by("dave")
	if r, err = f.WaitFinal(t.Context(), r.ID, time.Minute); err != nil || r.State != "confirmed" {
		t.Errorf("the request is %s (%s), %v", r.State, r.Reason, err)
	}
}
