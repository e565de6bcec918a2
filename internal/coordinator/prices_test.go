package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
)

// pricer quotes in memory.
type pricer struct {
	seed  uint64
	now   func() uint64
	down  atomic.Bool
	asked atomic.Int32
	lie   func(q *request.PriceQuote)
}

func (p *pricer) Quote(_ context.Context, source string) (*request.PriceQuote, error) {
	p.asked.Add(1)
	if p.down.Load() {
		return nil, errors.New("it is down")
	}
	k := sim.Person(p.seed, source)
	q := &request.PriceQuote{Source: source, Currency: "USD", Time: p.now(), Expires: p.now() + 60_000, Key: sim.PublicKey(k)}
	q.Prices = []request.AssetPrice{{Asset: "eip155:1/slip44:60"}}
	q.Prices[0].Price.SetUint64(2_500_000_000_000_000_000)
	q.Signature = sim.SignStatement(k, q.Statement())
	if p.lie != nil {
		p.lie(q)
	}
	return q, nil
}

// TestPricesAreShown: with every bundle, fresh, and only those that vaults take: a bad
// one would spoil the bundle.
func TestPricesAreShown(t *testing.T) {
	f := newFixture(t)
	b := f.transfer(sim.Known, sim.ETH(1))
	ro := *f.co.Governance().Roster
	for _, name := range []string{"ticker-1", "ticker-2"} {
		ro.Principals = append(ro.Principals, identity.Principal{ID: name, Kind: identity.Source, Credentials: []signature.PublicKey{sim.PublicKey(sim.Person(f.v.Seed, name))}})
	}
	ro.Sort()
	p := &pricer{seed: f.v.Seed, now: f.now}
	c := &Coordinator{opts: Options{Pricer: p, Prices: []string{"ticker-2", "ticker-1", "ticker-9", "bob"}, Now: f.v.Clock.Now}, ctx: t.Context(), gov: &governance.State{Roster: &ro}, log: slog.New(slog.DiscardHandler)}
	shown := c.priced(b)
	v, err := ro.CheckBundle(shown, f.co.Cluster(), f.now())
	if err != nil || len(v.Prices) != 2 || v.Prices[0].Source != "ticker-1" || len(b.Prices) != 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	if c.priced(b); p.asked.Load() != 4 {
		t.Errorf("asked %d times within ten seconds, want 4", p.asked.Load())
	}
	ask := func() *request.Bundle { c.prices.asked = 0; return c.priced(b) }
	p.lie = func(q *request.PriceQuote) { q.Prices[0].Price.SetUint64(1) }
	if got := ask(); len(got.Prices) != 0 {
		t.Errorf("%d forged quotes are shown", len(got.Prices))
	}
	p.lie = func(q *request.PriceQuote) { q.Source = "ticker-1" }
	if got := ask(); len(got.Prices) > 1 {
		t.Errorf("a source quotes for another: %d", len(got.Prices))
	}
	p.lie = nil
	p.down.Store(true)
	if got := ask(); len(got.Prices) != 0 {
		t.Errorf("%d quotes of nobody", len(got.Prices))
	}

	// Through vaults: a request is signed with and without them.
	f.co.opts.Pricer, f.co.opts.Prices = p, []string{"ticker-1"}
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	if _, _, err := f.co.Propose(t.Context(), shown); err == nil {
		t.Error("a proposal brings its own prices")
	}
}
