package sim

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/mpc"
)

// terms are the limits that the admins set in world money, in whole dollars and
// requests.
type terms struct {
	wallet, asset, day uint64 // dollars: a wallet in 10 minutes, an asset in 5, all of them in a day in Zurich
	payee, trips       uint64 // requests in 5 minutes: to a recipient, by a person
	coins              uint64 // SOL of a wallet in 10 minutes
}

var firstTerms = terms{wallet: 500, asset: 700, day: 1500, payee: 5, trips: 5, coins: 4}

func (t *terms) each() [6]*uint64 {
	return [6]*uint64{&t.wallet, &t.asset, &t.day, &t.payee, &t.trips, &t.coins}
}

// within says whether every limit of t is at most that of u.
func (t *terms) within(u *terms) bool {
	a, b := t.each(), u.each()
	for i := range a {
		if *a[i] > *b[i] {
			return false
		}
	}
	return true
}

var compiledTerms sync.Map // terms → *policy.Document

// document says them to the vaults.
func (t terms) document() *policy.Document {
	if d, ok := compiledTerms.Load(t); ok {
		return d.(*policy.Document)
	}
	d := source.MustCompile(fmt.Sprintf(`
currency: USD
prices: {sources: [%s, %s, %s], agree: 2, tolerance: 1%%, maxAge: 60s}
zones: {Europe/Zurich: 2035}
assets:
  ETH: {id: %s, decimals: 18}
  SOL: {id: %s, decimals: 9}
limits:
  - {name: wallet, max: %d USD, window: 10m, per: [wallet]}
  - {name: asset, max: %d USD, window: 5m, per: [asset]}
  - {name: day, max: %d USD, window: {calendar: day, zone: Europe/Zurich}}
  - {name: payee, max: %d requests, window: 5m, per: [destination]}
  - {name: trips, max: %d requests, window: 5m, per: [initiator]}
  - {name: coins, max: %d SOL, window: 10m, per: [wallet]}
rules:
  - name: pay
    when: onlyTransfers && within("wallet") && within("asset") && within("day") && within("payee") && within("trips") && within("coins")
    then: allow
`, tickers[0], tickers[1], tickers[2], evm.NativeAsset(Chain), solana.NativeAsset, t.wallet, t.asset, t.day, t.payee, t.trips, t.coins))
	compiledTerms.Store(t, d)
	return d
}

// tickers are the price sources. The last of them may lie.
var tickers = []string{"ticker-1", "ticker-2", "ticker-3"}

// deadline of a quote, and how old a policy lets it be.
const (
	quoteLife = 600_000
	quoteAge  = 60_000
)

// moneyOf4 are four vaults: of the loose keys' three or four parties three sign, of the
// vigilant keys' three two, and all three take part in the ledger.
var moneyOf4 = sync.OnceValues(func() (*spendingWorld, error) {
	ro := Roster(baseSeed + 11)
	for _, name := range tickers {
		ro.Principals = append(ro.Principals, identity.Principal{ID: name, Kind: identity.Source, Credentials: keysOf(Person(baseSeed+11, name))})
	}
	ro.Sort()
	s := &spendingWorld{names: map[[32]byte]string{}}
	var err error
	if s.w, err = NewGoverned(baseSeed+11, 4, ro, firstTerms.document(), func(g *governance.Genesis) { g.Cooling = cooling }); err != nil {
		return nil, err
	}
	for i, k := range []struct {
		purpose   string
		threshold int
		faults    int
		parties   []mpc.ID
	}{
		{governance.PurposeEd25519, 3, 0, []mpc.ID{1, 2, 3, 4}},
		{governance.PurposeEd25519, 3, 0, []mpc.ID{1, 2, 3}},
		{governance.PurposeECDSA, 3, 0, []mpc.ID{2, 3, 4}},
		{governance.PurposeEd25519, 2, 1, []mpc.ID{1, 2, 3}},
		{governance.PurposeEd25519, 2, 1, []mpc.ID{2, 3, 4}},
		{governance.PurposeECDSA, 2, 1, []mpc.ID{1, 3, 4}},
	} {
		x, err := s.make(fmt.Sprintf("wallet-%d", i), k.purpose, k.threshold, k.faults, k.parties)
		if err != nil {
			return nil, err
		}
		s.names[x.ID] = fmt.Sprintf("wallet-%d", i)
		if k.faults == 0 {
			s.loose = append(s.loose, x)
		} else {
			s.vigilant = append(s.vigilant, x)
		}
	}
	return s, nil
})

func (s *spendingWorld) make(name, purpose string, threshold, faults int, parties []mpc.ID) (*Wallet, error) {
	all := s.w.IDs
	s.w.IDs, s.w.Faults = parties, faults
	defer func() { s.w.IDs, s.w.Faults = all, 0 }()
	return s.w.KeygenFor(name, purpose, threshold)
}

// quotes are signed prices as a coordinator, honest or not, collects them.
type quotes []request.PriceQuote

func (w *World) quote(ticker string, sol, eth, at uint64) request.PriceQuote {
	k := Person(w.Seed, ticker)
	q := request.PriceQuote{Source: ticker, Currency: "USD", Time: at, Expires: at + quoteLife, Key: PublicKey(k)}
	q.Prices = []request.AssetPrice{{Asset: evm.NativeAsset(Chain)}, {Asset: solana.NativeAsset}}
	for i, cents := range []uint64{eth, sol} {
		q.Prices[i].Price.SetUint64(cents * 10_000_000_000_000)
	}
	slices.SortFunc(q.Prices, func(a, b request.AssetPrice) int { return compare(a.Asset, b.Asset) })
	q.Signature = SignStatement(k, q.Statement())
	return q
}

// cents is what one coin is worth by the quotes at a time of some clock: the highest price
// that a second source confirms to within one in a hundred. 0: by nothing that counts.
func (q quotes) cents(coin string, now uint64) uint64 {
	asset := solana.NativeAsset
	if coin == "ETH" {
		asset = evm.NativeAsset(Chain)
	}
	var fresh []uint64
	for i := range q {
		p, ok := q[i].Price(asset)
		if ok && q[i].Time+quoteAge >= now && q[i].Expires > now {
			fresh = append(fresh, p.Uint64()/10_000_000_000_000)
		}
	}
	slices.Sort(fresh)
	for i := len(fresh) - 1; i > 0; i-- {
		if 100*(fresh[i]-fresh[i-1]) <= fresh[i-1] {
			return fresh[i]
		}
	}
	return 0
}

// zurich is where the days of the policy begin.
var zurich = sync.OnceValues(func() (*time.Location, error) { return time.LoadLocation("Europe/Zurich") })

func (m *money) dayOf(now uint64) string {
	at, err := zurich()
	if err != nil {
		m.check.fault("the zone Europe/Zurich: %v", err)
		return ""
	}
	return time.UnixMilli(int64(now)).In(at).Format(time.DateOnly)
}

// midnights are beginnings of days in Zurich, ms: of one in September 2026, of the one
// of 25 hours, of the one after it, of a month's first and a year's, and of the one of
// 23 hours.
var midnights = []uint64{1_790_028_000_000, 1_792_879_200_000, 1_792_969_200_000, 1_793_487_600_000, 1_798_758_000_000, 1_806_188_400_000}
