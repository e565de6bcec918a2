package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/refusal"
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
	c := &Coordinator{opts: Options{Pricer: p, Prices: []string{"ticker-2", "ticker-1", "ticker-9", "bob"}, Now: f.v.Clock.Now}, ctx: t.Context(), gov: &governance.State{Roster: &ro, Policy: &policy.Document{Currency: "USD"}}, log: slog.New(slog.DiscardHandler)}
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

	// A policy without money needs no prices.
	c.gov = &governance.State{Roster: &ro, Policy: &policy.Document{}}
	p.down.Store(false)
	p.asked.Store(0)
	if got := ask(); len(got.Prices) != 0 || p.asked.Load() != 0 {
		t.Errorf("%d quotes, asked %d times, for a policy without money", len(got.Prices), p.asked.Load())
	}
	if _, _, err := f.co.Propose(t.Context(), shown); err == nil {
		t.Error("a proposal brings its own prices")
	}
}

// TestPricesThatPass: a request that waits for a good price is signed when there is one,
// without anybody asking again; one that the vaults refuse for a price is tried again.
func TestPricesThatPass(t *testing.T) {
	f := own(t, seed+14)
	names := []string{"ticker-1", "ticker-2"}
	ro := *f.co.Governance().Roster
	ro.Principals = slices.Clone(ro.Principals)
	for _, name := range names {
		ro.Principals = append(ro.Principals, identity.Principal{ID: name, Kind: identity.Source, Credentials: []signature.PublicKey{sim.PublicKey(sim.Person(f.v.Seed, name))}})
	}
	ro.Sort()
	f.apply(governance.KindRoster, ro.Encode())
	f.apply(governance.KindPolicy, source.MustCompile(fmt.Sprintf(`
currency: USD
prices: {sources: [ticker-1, ticker-2], agree: 2, tolerance: 1%%, maxAge: 60s}
assets: {ETH: {id: %s, decimals: 18}}
rules:
  - name: small
    when: onlyTransfers && value() <= money("3,000 USD")
    then: allow
`, evm.NativeAsset(sim.Chain))).Encode())
	p := &pricer{seed: f.v.Seed, now: f.now}
	sign := func(q *request.PriceQuote) {
		q.Signature = sim.SignStatement(sim.Person(f.v.Seed, q.Source), q.Statement())
	}
	for _, x := range []struct {
		code, want string
		lie        func(q *request.PriceQuote)
	}{
		{"price.stale", "old", func(q *request.PriceQuote) { q.Time -= 120_000; sign(q) }},
		{"price.disagree", "apart", func(q *request.PriceQuote) {
			if q.Source == "ticker-2" {
				q.Prices[0].Price.SetUint64(2_600_000_000_000_000_000)
				sign(q)
			}
		}},
	} {
		var bad atomic.Bool
		bad.Store(true)
		p.lie = func(q *request.PriceQuote) {
			q.Prices[0].Asset = evm.NativeAsset(sim.Chain)
			sign(q)
			if bad.Load() {
				x.lie(q)
			}
		}
		f.co.prices.mu.Lock()
		f.co.opts.Pricer, f.co.opts.Prices, f.co.prices.asked = p, names, 0
		f.co.prices.mu.Unlock()
		id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
		for range 500 {
			if strings.Contains(f.reasons(id), x.want) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if why := f.reasons(id); !strings.Contains(why, "held: ") || !strings.Contains(why, x.want) {
			t.Fatalf("%s: %s", x.code, why)
		}
		if as := f.attempts(id); len(as) != 0 {
			t.Errorf("%s: the vaults were asked %d times", x.code, len(as))
		}
		bad.Store(false)
		f.co.prices.mu.Lock()
		f.co.prices.asked = 0
		f.co.prices.mu.Unlock()
		f.state(id, Confirmed)
		if !passing(x.code) || !lapsed([]*cluster.Reply{{Outcome: cluster.OutcomeRefused, Refusal: refusal.New(x.code, "", "x", "").Encode()}}) {
			t.Errorf("a vault that says %s is not asked again", x.code)
		}
	}
}

// apply makes a change of the governance.
func (f *fixture) apply(kind governance.Kind, body []byte) {
	f.t.Helper()
	gov := f.co.Governance()
	s := &governance.SignedChange{Change: governance.Change{Cluster: gov.Cluster, Seq: gov.Seq + 1, Prev: gov.Head, Kind: kind, Body: body, Created: f.now(), Author: "ada"}}
	for _, w := range []string{"ada", "ben"} {
		k := sim.Person(f.v.Seed, w)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: w, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	s.Sort()
	if _, err := f.co.Change(f.t.Context(), s); err != nil {
		f.t.Fatal(err)
	}
}
