package policy

import (
	"math/big"
	"slices"
	"time"
)

// limit counts every counter of a limit that the request touches, from the list of
// a MemoryLedger.
func (r *reference) limit(e *Expr) value {
	l, _ := r.d.Limit(e.Text)
	entries, ok := r.in.Ledger.(MemoryLedger)
	f := r.in.Effects
	if !ok {
		return fails
	}
	if l.Measure != MeasureCount {
		for _, a := range f.Approvals {
			if bigOf(a.Amount).Sign() > 0 {
				return fails
			}
		}
		for _, t := range f.Transfers {
			if t.From != f.Sender && t.To != f.Sender && bigOf(t.Amount).Sign() > 0 {
				return fails
			}
		}
	}
	per := func(s Scope) bool { return slices.Contains(l.Per, s) }
	// What this request moves, by counter.
	type key struct{ asset, to string }
	adds := make(map[key]*big.Int)
	sums := make(map[key]*big.Int)
	for _, t := range f.Transfers {
		if t.From == f.Sender {
			k := key{t.Asset, t.To}
			if sums[k] == nil {
				sums[k] = new(big.Int)
			}
			if sums[k].Add(sums[k], bigOf(t.Amount)); sums[k].BitLen() > 256 {
				return fails
			}
		}
	}
	since, ok := r.since(&l.Window)
	if !ok {
		return fails
	}
	for k := range sums {
		if per(PerDestination) && k.to == "" && (l.Asset == "" || k.asset == l.Asset) {
			return fails
		}
	}
	if l.Measure == MeasureMoney {
		waiting := false
		for k, n := range sums {
			switch r.worth(k.asset, n).state {
			case Failed:
				return fails
			case Waiting:
				waiting = true
			}
		}
		if waiting {
			return waits
		}
	}
	if !per(PerAsset) && !per(PerDestination) {
		adds[key{}] = new(big.Int)
		if l.Measure == MeasureCount {
			adds[key{}].SetInt64(1)
		}
	}
	for k, n := range sums {
		counter := key{}
		if l.Asset != "" && k.asset != l.Asset {
			continue
		}
		if per(PerAsset) {
			counter.asset = k.asset
		}
		if per(PerDestination) {
			counter.to = k.to
		}
		if adds[counter] == nil {
			adds[counter] = new(big.Int)
		}
		switch l.Measure {
		case MeasureAmount:
			adds[counter].Add(adds[counter], n)
		case MeasureMoney:
			adds[counter].Add(adds[counter], r.worth(k.asset, n).n)
		default:
			adds[counter].SetInt64(1)
		}
	}
	most, within := new(big.Int), true
	for counter, sum := range adds {
		for _, x := range entries {
			if int64(x.Time)+60_000 < since || x.Request == r.in.Request.ID() ||
				per(PerWallet) && x.Wallet != r.in.Request.Wallet || per(PerInitiator) && x.Movement.Initiator != r.in.Verified.Initiator {
				continue
			}
			matched := counter == key{} && l.Asset == ""
			for _, m := range x.Movement.Moves {
				if l.Asset != "" && m.Asset != l.Asset || counter.asset != "" && m.Asset != counter.asset || counter.to != "" && m.To != counter.to {
					continue
				}
				matched = true
				switch l.Measure {
				case MeasureAmount:
					sum.Add(sum, bigOf(m.Amount))
				case MeasureMoney:
					worth := numeric(bigOf(m.Money), "")
					if x.Movement.Currency != r.d.Currency {
						worth = r.worth(m.Asset, bigOf(m.Amount))
					}
					if worth.state != True {
						return fails
					}
					sum.Add(sum, worth.n)
				}
			}
			if matched && l.Measure == MeasureCount {
				sum.Add(sum, big.NewInt(1))
			}
		}
		if sum.BitLen() > 256 {
			return fails
		}
		if sum.Cmp(bigOf(l.Max)) > 0 {
			within = false
		}
		if sum.Cmp(most) > 0 {
			most = sum
		}
	}
	if e.Op == OpWithin {
		return boolean(within)
	}
	return numeric(most, l.Asset)
}

// since goes back second by second over the hours, then day by day.
func (r *reference) since(w *Window) (int64, bool) {
	if w.Kind == Rolling {
		return max(int64(r.in.Now)-int64(w.Length), 0), true
	}
	local, ok := r.local(w.Zone)
	if !ok {
		return 0, false
	}
	y, m, d := local.Date()
	switch w.Unit {
	case Week:
		d -= (int(local.Weekday()) + 6) % 7
	case Month:
		d = 1
	case Year:
		m, d = 1, 1
	}
	i := slices.IndexFunc(r.d.Zones, func(z Zone) bool { return z.Name == w.Zone })
	begin := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()
	z := r.d.Zones[i]
	for t := begin - 27*3600; ; t += 900 { // zones step by quarters of an hour
		if t < z.Steps[0].From {
			continue
		}
		offset := int64(0)
		for _, s := range z.Steps {
			if s.From <= t {
				offset = int64(s.Offset)
			}
		}
		if t+offset >= begin {
			return t * 1000, true
		}
	}
}
