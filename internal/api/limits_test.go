package api

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/sim"
)

func TestLimits(t *testing.T) {
	f := newFixture(t, shared(t))
	if l, err := f.Limits(t.Context()); err != nil || len(l.Limits) != 0 || len(l.Vaults) != 3 || l.Vaults[0].Error != "" || l.PolicyRoot == "" || l.Vaults[1].Time.IsZero() {
		t.Errorf("%+v, %v", l, err)
	}
	d := source.MustCompile(`
assets: {ETH: {id: "eip155:1/slip44:60", decimals: 18}}
limits: [{name: daily, max: 2 ETH, window: 24h}, {name: often, max: 3 requests, per: [initiator], window: 1h}]
rules:
  - {name: small, when: onlyTransfers && within("daily") && within("often"), then: allow}
`)
	s, root := &server{co: f.co}, d.Root()
	at := time.UnixMilli(9000).UTC()
	usage := &cluster.Usage{Time: 5000, Policy: root, More: 2, Counters: []cluster.CounterUsage{
		{Limit: "daily", Asset: "eip155:1/slip44:60", Used: sim.ETH(3), Frees: 9000, Then: sim.ETH(1)},
		{Limit: "often", Initiator: "ada", Wallet: [32]byte{0xee}, Used: *uint256.NewInt(1)},
		{Limit: "often", Error: "no"},
	}}
	want := client.VaultLimits{Vault: 2, Name: "bank", Time: time.UnixMilli(5000).UTC(), More: 2, Counters: []client.Counter{
		{Limit: "daily", Asset: "ETH", Used: "3 ETH", UsedUnits: "3000000000000000000", Left: "0 ETH", Frees: &at, FreesAmount: "2 ETH"},
		{Limit: "often", Initiator: "ada", Wallet: "ee00000000000000000000000000000000000000000000000000000000000000", Used: "1 request", UsedUnits: "1", Left: "2 requests"},
		{Limit: "often", Error: "no"},
	}}
	if diff := cmp.Diff(want, s.vaultLimits(d, root, &coordinator.VaultUsage{Vault: 2, Name: "bank", Usage: usage})); diff != "" {
		t.Error(diff)
	}
	for what, u := range map[string]*coordinator.VaultUsage{
		"away":           {Err: errors.New("gone")},
		"another policy": {Usage: &cluster.Usage{}},
	} {
		if got := s.vaultLimits(d, root, u); got.Error == "" || len(got.Counters) != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
