package vault_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
)

// TestMoneyInVaults: a policy in money, through vaults, on quotes that sources signed:
// good ones, none, stale ones, ones that disagree, forged ones.
func TestMoneyInVaults(t *testing.T) {
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	const seed = 93
	ro := sim.Roster(seed)
	for _, name := range []string{"ticker-1", "ticker-2"} {
		ro.Principals = append(ro.Principals, identity.Principal{ID: name, Kind: identity.Source, Credentials: []signature.PublicKey{sim.PublicKey(sim.Person(seed, name))}})
	}
	ro.Sort()
	eth := evm.NativeAsset(sim.Chain)
	doc := source.MustCompile(fmt.Sprintf(`
currency: USD
prices: {sources: [ticker-1, ticker-2], agree: 2, tolerance: 1%%, maxAge: 60s}
assets:
  ETH: {id: %s, decimals: 18}
rules:
  - name: small
    when: onlyTransfers && value() <= money("3,000 USD")
    then: allow
`, eth))
	w, err := sim.New(seed, 3, ro, doc)
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Keygen("treasury", 2)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, World: w, x: x}
	quote := func(source string, cents, age uint64) request.PriceQuote {
		k := sim.Person(seed, source)
		q := request.PriceQuote{Source: source, Currency: "USD", Time: w.Now - age, Expires: w.Now + 600_000, Key: sim.PublicKey(k)}
		q.Prices = []request.AssetPrice{{Asset: eth}}
		q.Prices[0].Price.SetUint64(cents * 10_000_000_000_000)
		q.Signature = sim.SignStatement(k, q.Statement())
		return q
	}
	forged := quote("ticker-2", 250_000, 0)
	forged.Prices[0].Price.SetUint64(1)
	for i, c := range []struct {
		name, code, want string // code "": it is signed
		eth              uint64
		prices           []request.PriceQuote
	}{
		{"worth 2500 USD", "", "", 1, []request.PriceQuote{quote("ticker-1", 250_000, 0), quote("ticker-2", 250_100, 30_000)}},
		{"worth 5000 USD", "policy.default", "", 2, []request.PriceQuote{quote("ticker-1", 250_000, 0), quote("ticker-2", 250_100, 0)}},
		{"the higher one counts", "policy.default", "", 1, []request.PriceQuote{quote("ticker-1", 299_000, 0), quote("ticker-2", 300_100, 0)}},
		{"no prices", "policy.price", "", 1, nil},
		{"one price", "policy.price", "", 1, []request.PriceQuote{quote("ticker-1", 250_000, 0)}},
		{"stale", "price.stale", "", 1, []request.PriceQuote{quote("ticker-1", 250_000, 61_000), quote("ticker-2", 250_000, 61_000)}},
		{"they disagree", "price.disagree", "", 1, []request.PriceQuote{quote("ticker-1", 250_000, 0), quote("ticker-2", 260_000, 0)}},
		{"a forged one", "identity.signature", "prices[1]: the signature of ticker-2", 1, []request.PriceQuote{quote("ticker-1", 250_000, 0), forged}},
		{"an engine's", "identity.kind", "may not quote prices", 1, []request.PriceQuote{quote(sim.Engine, 250_000, 0)}},
	} {
		b := f.Transfer(x, sim.Known, sim.ETH(c.eth))
		b.Prices = c.prices
		b.Sort()
		replies := f.sign(b, sim.Unsigned(sim.Known, sim.ETH(c.eth), uint64(100+i)), 1, 2)
		if c.code != "" {
			if r := f.refused(c.code, replies); !strings.Contains(r.Detail, c.want) {
				t.Errorf("%s: %s", c.name, r.Detail)
			}
			continue
		}
		for id, r := range replies {
			if r == nil || r.Outcome != cluster.OutcomeDone {
				t.Errorf("%s: vault %d: %s", c.name, id, show(r))
			}
		}
	}
}
