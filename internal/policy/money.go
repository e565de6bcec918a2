package policy

import (
	"slices"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

// priceState is what one whole unit of an asset is worth, in 10^-15 of the
// currency.
type priceState struct {
	known bool
	ok    Truth // True: num; Waiting: too few prices; Failed: see code
	code  string
	num   chain.Amount
}

// moneyState is the worth of all that leaves the sender.
type moneyState struct {
	known bool
	ok    Truth
	num   chain.Amount
}

// quotes sorts out the prices of an asset: those that count, and how many are too
// old.
func (e *evaluation) quotes(asset string) (fresh []chain.Amount, stale int) {
	rule := &e.doc.Prices
	for i := range e.in.Verified.Prices {
		q := &e.in.Verified.Prices[i]
		if q.Currency != e.doc.Currency || !slices.Contains(rule.Sources, q.Source) {
			continue
		}
		price, ok := priceOf(q, asset)
		switch {
		case !ok:
		case q.Time < e.in.Now && e.in.Now-q.Time > rule.MaxAge:
			stale++
		default:
			fresh = append(fresh, price)
		}
	}
	slices.SortFunc(fresh, func(a, b chain.Amount) int { return b.Cmp(&a) })
	return fresh, stale
}

func priceOf(q *identity.Price, asset string) (chain.Amount, bool) {
	i := slices.IndexFunc(q.Assets, func(a request.AssetPrice) bool { return a.Asset == asset })
	if i < 0 || q.Assets[i].Price.IsZero() {
		return chain.Amount{}, false
	}
	return q.Assets[i].Price, true
}

// price values an asset of the document: the highest price that, with itself, as
// many sources as must agree have within the tolerance below it.
func (e *evaluation) price(asset int) *priceState {
	s := &e.prices[asset]
	if s.known {
		return s
	}
	s.known = true
	need := int(e.doc.Prices.Agree)
	fresh, stale := e.quotes(e.doc.Assets[asset].ID)
	switch {
	case need == 0: // never of a checked document that speaks of money
		s.ok, s.code = Failed, CodeError
	case len(fresh) < need && len(fresh)+stale >= need:
		s.ok, s.code = Failed, CodeStale
	case len(fresh) < need:
		s.ok = Waiting
	default:
		s.ok, s.code = Failed, CodeDisagree
		for i := 0; i+need <= len(fresh); i++ {
			if agree(&fresh[i], &fresh[i+need-1], e.doc.Prices.Tolerance) {
				s.ok, s.code, s.num = True, "", fresh[i]
				break
			}
		}
	}
	return s
}

// agree reports whether high is at most tolerance/10000 of low above low.
func agree(high, low *chain.Amount, tolerance uint16) bool {
	var apart, most chain.Amount
	apart.Sub(high, low)
	_, over := most.MulDivOverflow(low, uint256.NewInt(uint64(tolerance)), uint256.NewInt(10000))
	return !over && !apart.Gt(&most)
}

// worth values an amount in 10^-6 of the currency, rounded up.
func (e *evaluation) worth(asset string, a *chain.Amount) (chain.Amount, Truth) {
	if a.IsZero() {
		return chain.Amount{}, True
	}
	i := e.doc.assetIndex(asset)
	if i < 0 {
		return chain.Amount{}, Failed
	}
	p := e.price(i)
	if p.ok != True {
		return chain.Amount{}, p.ok
	}
	return scale(a, &p.num, int(e.doc.Assets[i].Decimals)+request.PriceDecimals-moneyDecimals)
}

// scale is ⌈a·price/10^digits⌉.
func scale(a, price *chain.Amount, digits int) (chain.Amount, Truth) {
	if digits > maxDecimals { // 10^78 is above 2^256
		return chain.Amount{}, Failed
	}
	var unit, out, rest chain.Amount
	unit.Exp(uint256.NewInt(10), uint256.NewInt(uint64(digits)))
	if _, over := out.MulDivOverflow(a, price, &unit); over {
		return chain.Amount{}, Failed
	}
	if rest.MulMod(a, price, &unit); !rest.IsZero() {
		if _, over := out.AddOverflow(&out, uint256.NewInt(1)); over {
			return chain.Amount{}, Failed
		}
	}
	return out, True
}

// value adds up what leaves the sender, in money.
func (e *evaluation) value() *moneyState {
	s := &e.money
	if s.known {
		return s
	}
	s.known, s.ok = true, True
	f := e.in.Effects
	for i := range f.Transfers {
		t := &f.Transfers[i]
		if t.From != f.Sender {
			continue
		}
		w, ok := e.worth(t.Asset, &t.Amount)
		if s.ok = both(s.ok, ok); s.ok != True {
			continue
		}
		if _, over := s.num.AddOverflow(&s.num, &w); over {
			s.ok = Failed
		}
	}
	return s
}
