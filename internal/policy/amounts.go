package policy

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
)

// Amount writes an amount of an asset for people: "0.1 ETH" when the document
// knows the asset, else its smallest units and its id.
func (d *Document) Amount(asset string, a chain.Amount) string {
	if known, ok := d.asset(asset); ok {
		return amount.Format(a, amount.Unit{Symbol: known.Symbol, Decimals: known.Decimals})
	}
	return a.Dec() + " units of " + asset
}

// total is what a transaction moves of one asset.
type total struct {
	asset    string
	sum      chain.Amount
	overflow bool // above 2²⁵⁶−1: above every limit
	n        int
	to       string // the recipient when n is 1
}

// totals adds up the transfers by asset, in the order of their first appearance.
func totals(f *chain.Effects) []total {
	var list []total
next:
	for i := range f.Transfers {
		t := &f.Transfers[i]
		for j := range list {
			if s := &list[j]; s.asset == t.Asset {
				_, over := s.sum.AddOverflow(&s.sum, &t.Amount)
				s.overflow = s.overflow || over
				s.n++
				continue next
			}
		}
		list = append(list, total{asset: t.Asset, sum: t.Amount, n: 1, to: t.To})
	}
	return list
}

func (t *total) above(limit *chain.Amount) bool { return t.overflow || t.sum.Gt(limit) }

func (e *evaluation) showTotal(t *total) string {
	s := "amount " + e.doc.Amount(t.asset, t.sum)
	if t.overflow {
		s = "amount of more than 256 bits of " + t.asset
	}
	if t.n == 1 {
		return s + " to " + e.show(t.to)
	}
	return fmt.Sprintf("%s in %d transfers", s, t.n)
}

func limitOf(limits []Limit, asset string) (*Limit, bool) {
	for i := range limits {
		if limits[i].Asset == asset {
			return &limits[i], true
		}
	}
	return nil, false
}

func (e *evaluation) showLimits(limits []Limit) string {
	var s []string
	for i := range limits {
		s = append(s, e.doc.Amount(limits[i].Asset, limits[i].Amount))
	}
	return orList(s)
}

// amounts evaluates amountAtMost and amountAtLeast.
func (e *evaluation) amounts(c *Condition) (Truth, string, string) {
	atMost, atLeast := "an amount of at most ", "an amount of at least "
	if c.Op == AmountAtMost {
		return e.compare(c.Limits, atMost)
	}
	list := totals(e.in.Effects)
	var below []string
	for i := range list {
		l, ok := limitOf(c.Limits, list[i].asset)
		if ok && (list[i].overflow || !list[i].sum.Lt(&l.Amount)) {
			s := e.doc.Amount(l.Asset, l.Amount)
			return True, e.showTotal(&list[i]) + " is at least " + s, "an amount below " + s
		}
		if ok {
			below = append(below, e.showTotal(&list[i])+" is below "+e.doc.Amount(l.Asset, l.Amount))
		}
	}
	if len(below) == 0 {
		below = []string{"nothing of " + e.showAssets(c.Limits) + " is transferred"}
	}
	return False, join(below, " and "), atLeast + e.showLimits(c.Limits)
}

func (e *evaluation) showAssets(limits []Limit) string {
	var s []string
	for i := range limits {
		s = append(s, e.show(limits[i].Asset))
	}
	return orList(s)
}

// compare checks every total against its limit.
func (e *evaluation) compare(limits []Limit, fix string) (Truth, string, string) {
	list := totals(e.in.Effects)
	if len(list) == 0 {
		return False, "nothing is transferred", "a transfer of at most " + e.showLimits(limits)
	}
	var within, above, fixes []string
	for i := range list {
		l, ok := limitOf(limits, list[i].asset)
		switch {
		case !ok:
			above = append(above, fmt.Sprintf("%s has no limit here, only %s has", e.showTotal(&list[i]), e.showAssets(limits)))
			fixes = append(fixes, fix+e.showLimits(limits))
		case list[i].above(&l.Amount):
			above = append(above, e.showTotal(&list[i])+" is above "+e.doc.Amount(l.Asset, l.Amount))
			fixes = append(fixes, fix+e.doc.Amount(l.Asset, l.Amount))
		default:
			within = append(within, e.showTotal(&list[i])+" is at most "+e.doc.Amount(l.Asset, l.Amount))
		}
	}
	if len(above) > 0 {
		return False, join(above, " and "), join(fixes, " and ")
	}
	return True, join(within, " and "), "an amount above " + e.showLimits(limits)
}

// allowances evaluates allowanceAtMost, each allowance by itself: they do not add
// up, a later one replaces an earlier one.
func (e *evaluation) allowances(limits []Limit) (Truth, string, string) {
	list := e.in.Effects.Approvals
	fix := "an allowance of at most " + e.showLimits(limits)
	if len(list) == 0 {
		return False, "there is no token allowance", fix
	}
	var within, above []string
	for i := range list {
		a := &list[i]
		words := fmt.Sprintf("allowance of %s for %s", e.doc.Amount(a.Asset, a.Amount), e.show(a.Spender))
		switch l, ok := limitOf(limits, a.Asset); {
		case !ok:
			above = append(above, fmt.Sprintf("%s has no limit here, only %s has", words, e.showAssets(limits)))
		case a.Amount.Gt(&l.Amount):
			above = append(above, words+" is above "+e.doc.Amount(l.Asset, l.Amount))
		default:
			within = append(within, words+" is at most "+e.doc.Amount(l.Asset, l.Amount))
		}
	}
	if len(above) > 0 {
		return False, join(above, " and "), fix
	}
	return True, join(within, " and "), "an allowance above " + e.showLimits(limits)
}

// maxFee looks at what people signed, not at what the final transaction happens to
// offer: the verdict must be the same before and after fees are chosen.
func (e *evaluation) maxFee(limits []Limit) (Truth, string, string) {
	q := e.in.Request
	for i := range limits {
		l := &limits[i]
		if !strings.HasPrefix(l.Asset, q.Chain+"/") {
			continue
		}
		fee, limit := e.doc.Amount(l.Asset, q.MaxFee), e.doc.Amount(l.Asset, l.Amount)
		if q.MaxFee.Gt(&l.Amount) {
			return False, fmt.Sprintf("maximum fee %s is above %s", fee, limit), "a maximum fee of at most " + limit
		}
		return True, fmt.Sprintf("maximum fee %s is at most %s", fee, limit), "a maximum fee above " + limit
	}
	return False, "there is no limit of fees on " + q.Chain + " here, only of " + e.showAssets(limits), "a request on another chain"
}
