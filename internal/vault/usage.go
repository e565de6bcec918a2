package vault

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/wire"
)

// How much of each limit is used, for people to see. It decides nothing.

// Bounds of one answer, and of the work that it takes.
const (
	shownCounters   = 8      // of each limit, the fullest
	trackedCounters = 10_000 // of each limit
	usageEvery      = 1000   // ms; asked more often, the answer is the last one
)

// counterKey is what a counter counts; fields that the limit does not count by are
// zero.
type counterKey struct {
	wallet                        [32]byte
	asset, initiator, destination string
}

// usage is what this vault's union of the ledgers holds of each limit in force.
func (v *Vault) usage() *cluster.Usage {
	d := v.gov.Policy
	root := d.Root()
	if u := v.lastUsage; u != nil && u.Policy == root && v.now < u.Time+usageEvery {
		return u
	}
	u := &cluster.Usage{Time: v.now, Policy: root}
	for i := range d.Limits {
		list, more := v.index.usageOf(d, &d.Limits[i], v.now)
		u.Counters, u.More = append(u.Counters, list...), u.More+more
	}
	v.lastUsage = u
	return u
}

// usageOf are a limit's fullest counters, at least one where the limit counts the
// whole cluster, and how many others are in use.
func (x *requestIndex) usageOf(d *policy.Document, l *policy.Limit, now uint64) (out []cluster.CounterUsage, more uint32) {
	since, err := d.WindowStart(l, now)
	if err != nil {
		return []cluster.CounterUsage{{Limit: l.Name, Error: wire.CleanText(err.Error(), 250)}}, 0
	}
	base := policy.Query{Measure: l.Measure, Asset: l.Asset, Since: since}
	if l.Measure == policy.MeasureMoney {
		base.Currency = d.Currency
	}
	keys := map[counterKey]bool{}
	if len(l.Per) == 0 {
		keys[counterKey{}] = true
	}
	for i := len(x.spending.all) - 1; i >= 0 && inWindow(x.spending.all[i].newest, &base) && len(keys) < trackedCounters; i-- {
		for _, p := range x.spending.all[i].promises {
			for _, k := range countersOf(l, p) {
				keys[k] = true
			}
		}
	}
	all := make([]counted, 0, len(keys))
	for k := range keys {
		if c := x.counter(l, base, k); len(l.Per) == 0 || !c.Used.IsZero() || c.Error != "" {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, fuller)
	if n := len(all) - shownCounters; n > 0 {
		all, more = all[:shownCounters], uint32(n)
	}
	for i := range all {
		if c := &all[i]; !c.Used.IsZero() {
			q := base
			c.query(l, &q)
			c.Frees, c.Then = x.frees(d, l, q, now, &c.Used)
		}
		out = append(out, all[i].CounterUsage)
	}
	return out, more
}

// counted is a counter with what it says.
type counted struct{ cluster.CounterUsage }

// query asks for this counter.
func (c *counted) query(l *policy.Limit, q *policy.Query) {
	q.Asset, q.Initiator, q.Destination = c.Asset, c.Initiator, c.Destination
	if slices.Contains(l.Per, policy.PerWallet) {
		q.Wallet = &c.Wallet
	}
}

func fuller(a, b counted) int {
	return cmp.Or(b.Used.Cmp(&a.Used), bytes.Compare(a.Wallet[:], b.Wallet[:]), cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Initiator, b.Initiator), cmp.Compare(a.Destination, b.Destination))
}

// countersOf are the counters of a limit that a reservation may touch.
func countersOf(l *policy.Limit, p *promise) (out []counterKey) {
	var k counterKey
	if slices.Contains(l.Per, policy.PerWallet) {
		k.wallet = p.reserve.Key
	}
	if slices.Contains(l.Per, policy.PerInitiator) {
		k.initiator = p.movement.Initiator
	}
	perAsset, perTo := slices.Contains(l.Per, policy.PerAsset), slices.Contains(l.Per, policy.PerDestination)
	if !perAsset && !perTo {
		return []counterKey{k}
	}
	for i := range p.movement.Moves {
		m := k
		if perAsset {
			m.asset = p.movement.Moves[i].Asset
		}
		if perTo {
			if m.destination = p.movement.Moves[i].To; m.destination == "" {
				continue // what creates a contract is refused under such a limit
			}
		}
		out = append(out, m)
	}
	return out
}

// counter asks the union for one counter.
func (x *requestIndex) counter(l *policy.Limit, q policy.Query, k counterKey) counted {
	c := counted{cluster.CounterUsage{Limit: l.Name, Wallet: k.wallet, Asset: cmp.Or(k.asset, l.Asset), Initiator: k.initiator, Destination: k.destination}}
	c.query(l, &q)
	var err error
	if c.Used, err = x.Used(&q); err != nil {
		c.Error = wire.CleanText(err.Error(), 250)
	}
	return c
}

// farthest is when every window of today has ended, in ms.
const farthest = 368 * 24 * 3600 * 1000

// frees is the first time at which less is used, if nothing is added, and how much is
// used then: what is used only falls as windows go on.
func (x *requestIndex) frees(d *policy.Document, l *policy.Limit, q policy.Query, now uint64, used *chain.Amount) (at uint64, then chain.Amount) {
	usedAt := func(t uint64) (chain.Amount, bool) {
		since, err := d.WindowStart(l, t)
		if err != nil {
			return chain.Amount{}, false
		}
		later := q
		later.Since = since
		n, err := x.Used(&later)
		return n, err == nil
	}
	after := sort.Search(farthest, func(i int) bool {
		n, ok := usedAt(now + uint64(i))
		return !ok || n.Lt(used)
	})
	if after == farthest {
		return 0, chain.Amount{}
	}
	then, ok := usedAt(now + uint64(after))
	if !ok {
		return 0, chain.Amount{} // the zone is not known so far ahead
	}
	return now + uint64(after), then
}
