package api

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/policy"
)

type limitsOut struct{ Body *client.Limits }

// limits is what the vaults count: the coordinator's own sum decides nothing.
func (s *server) limits(ctx context.Context, _ *struct{}) (*limitsOut, error) {
	d := s.co.Governance().Policy
	root := d.Root()
	out := &client.Limits{PolicyRoot: hex.EncodeToString(root[:]), Limits: []client.Limit{}}
	for i := range d.Limits {
		l := &d.Limits[i]
		out.Limits = append(out.Limits, client.Limit{Name: l.Name, Max: d.Measured(l, l.Max), MaxUnits: l.Max.Dec()})
	}
	for _, u := range s.co.Usage(ctx) {
		out.Vaults = append(out.Vaults, s.vaultLimits(d, root, &u))
	}
	return &limitsOut{out}, nil
}

func (s *server) vaultLimits(d *policy.Document, root [32]byte, u *coordinator.VaultUsage) client.VaultLimits {
	out := client.VaultLimits{Vault: int(u.Vault), Name: u.Name, Counters: []client.Counter{}}
	switch {
	case u.Err != nil:
		out.Error = u.Err.Error()
		return out
	case u.Usage.Policy != root:
		out.Error = fmt.Sprintf("vault %d has another policy in force, %x", u.Vault, u.Usage.Policy[:8])
		return out
	}
	out.Time, out.More = millis(u.Usage.Time), int(u.Usage.More)
	for i := range u.Usage.Counters {
		out.Counters = append(out.Counters, s.counter(d, &u.Usage.Counters[i]))
	}
	return out
}

func (s *server) counter(d *policy.Document, c *cluster.CounterUsage) client.Counter {
	out := client.Counter{Limit: c.Limit, Asset: symbol(d, c.Asset), Initiator: c.Initiator, Destination: c.Destination, Error: c.Error}
	if c.Wallet != ([32]byte{}) {
		out.Wallet = s.walletName(c.Wallet)
	}
	l, ok := d.Limit(c.Limit)
	if !ok || c.Error != "" {
		return out
	}
	out.Used, out.UsedUnits = d.Measured(l, c.Used), c.Used.Dec()
	var left chain.Amount
	if c.Used.Lt(&l.Max) {
		left.Sub(&l.Max, &c.Used)
	}
	out.Left = d.Measured(l, left)
	if c.Frees > 0 && c.Then.Lt(&c.Used) {
		at := millis(c.Frees)
		out.Frees, out.FreesAmount = &at, d.Measured(l, *new(chain.Amount).Sub(&c.Used, &c.Then))
	}
	return out
}

func symbol(d *policy.Document, asset string) string {
	for _, a := range d.Assets {
		if a.ID == asset {
			return a.Symbol
		}
	}
	return asset
}

// walletName is the name of a key, or its id.
func (s *server) walletName(id [32]byte) string {
	for _, w := range s.co.Wallets() {
		if w.ID == id {
			return w.Name
		}
	}
	return hex.EncodeToString(id[:])
}
