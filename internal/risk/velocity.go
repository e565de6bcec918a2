package risk

import (
	"slices"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
)

// pressing is what of the open requests may leave in the window that ends now. Older ones
// are not what is usual: who may ask, and is not approved, could make that anything.
func (e *Engine) pressing(open []Past, now uint64) []Past {
	window := uint64(e.checks.VelocityWindow / time.Millisecond)
	return slices.DeleteFunc(slices.Clone(open), func(p Past) bool { return p.Time <= now && now-p.Time >= window })
}

// velocity finds a wallet that is suddenly in a hurry, in what was confirmed and in what
// is open, or a burst would be over before any of it counts: more requests in the window
// than VelocityFactor times what is usual for it in so much time, from
// VelocityLeast requests on, and assets of which more leaves in a window than
// VelocityFactor times the most that left in a window before.
func (e *Engine) velocity(f *findings, x *chain.Effects, history []Past, effects []*chain.Effects, now uint64) {
	if e.checks.VelocityWeight == 0 {
		return
	}
	window := uint64(e.checks.VelocityWindow / time.Millisecond)
	recent, oldest := 1, now
	for i := range history {
		if history[i].Time+window > now {
			recent++
		}
		oldest = min(oldest, history[i].Time)
	}
	if earlier := len(history) + 1 - recent; recent >= e.checks.VelocityLeast {
		windows := 1 + (now-oldest)/window // how many windows the rest is spread over, at least one
		if uint64(recent)*windows > uint64(e.checks.VelocityFactor)*uint64(max(earlier, 1)) {
			f.add(e.checks.VelocityWeight, "%d requests of this wallet in %v; %d in %d such times before", recent, e.checks.VelocityWindow, earlier, windows)
		}
	}
	e.outflow(f, x, history, effects, now, window)
}

// outflow compares, by asset, what leaves in the window that ends now with the most
// in any window of the same length that ended with an earlier request.
func (e *Engine) outflow(f *findings, x *chain.Effects, history []Past, effects []*chain.Effects, now, window uint64) {
	told := map[string]bool{}
	for i := range x.Transfers {
		asset := x.Transfers[i].Asset
		if x.Transfers[i].From != x.Sender || told[asset] {
			continue
		}
		told[asset] = true
		within := func(end uint64) (chain.Amount, int) {
			var sum chain.Amount
			n := 0
			for j := range history {
				if t := history[j].Time; t <= end && t+window > end {
					a := leaves(effects[j], asset)
					if !a.IsZero() {
						n++
					}
					addUp(&sum, &a)
				}
			}
			return sum, n
		}
		sum, n := within(now)
		own := leaves(x, asset)
		addUp(&sum, &own)
		var most chain.Amount
		for j := range history {
			if history[j].Time+window > now {
				continue
			}
			if s, _ := within(history[j].Time); s.Gt(&most) {
				most = s
			}
		}
		var limit, factor chain.Amount
		if _, over := limit.MulOverflow(&most, factor.SetUint64(uint64(e.checks.VelocityFactor))); over || most.IsZero() || n == 0 || !sum.Gt(&limit) {
			continue // without a past nothing is unusual; one payment alone is the unusual amount's
		}
		f.add(e.checks.VelocityWeight, "%s of %s leave in %v, in %d requests; never more than %s before", sum.Dec(), asset, e.checks.VelocityWindow, n+1, most.Dec())
	}
}

func leaves(x *chain.Effects, asset string) (sum chain.Amount) {
	for i := range x.Transfers {
		if t := &x.Transfers[i]; t.From == x.Sender && t.Asset == asset {
			addUp(&sum, &t.Amount)
		}
	}
	return sum
}

// addUp adds; what does not fit stays at the largest number.
func addUp(sum, a *chain.Amount) {
	if _, over := sum.AddOverflow(sum, a); over {
		sum.SetAllOne()
	}
}
