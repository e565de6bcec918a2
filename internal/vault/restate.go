package vault

import (
	"cmp"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/handover"
)

// A new epoch imports the ledgers of those who closed the one before it, and not of
// those who were its parties earlier. What such a vault has promised, and its
// successors know, they write down themselves when they hand the key over: a later
// epoch knows it from them (docs/spec/ledger.md).

// restatedFor is how long a limit may count a promise: the longest window, and a day.
const restatedFor = 367 * 86_400_000

// restate writes the reservations of others into this vault's ledger that too few of
// those who close the epoch have in theirs, and tells the new parties: when the
// handover begins, so that they know it though this vault fails right after CLOSED.
// Where nobody is new, nobody has to learn.
func (v *Vault) restate(p *handover.Plan) {
	if !containsID(p.Old, v.cfg.ID) || !slices.ContainsFunc(p.New, func(id mpc.ID) bool { return !containsID(p.Old, id) }) {
		return
	}
	seen := map[[16]byte]bool{}
	var out []*promise
	for _, ps := range v.index.byRequest {
		for _, x := range ps {
			if a := x.reserve.Attempt; x.reserve.Key == p.Key && !seen[a] {
				seen[a] = true
				if best := v.toRestate(p, a); best != nil {
					out = append(out, best)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b *promise) int {
		return cmp.Or(cmp.Compare(a.reserve.Time, b.reserve.Time), slices.Compare(a.reserve.Attempt[:], b.reserve.Attempt[:]))
	})
	for _, x := range out {
		e := x.reserve
		v.appendEvent(v.cfg.ID, &e, e.encode())
	}
	if len(out) == 0 {
		return
	}
	for _, id := range p.New {
		if q := v.peers[id]; q != nil && q.confirmed {
			d := v.ledgers[v.cfg.ID].deltaFrom(q.told)
			v.sendSealed(q, &inner{Kind: innerSync, Round: 1, Private: d.encode()})
			q.told = max(q.told, d.From+uint64(len(d.Events))) // a receiver that lacks more asks
		}
	}
}

// toRestate is the reservation of an attempt that this vault has to write down; nil:
// none. Where an attempt's name served for several, one of them only can have come to
// something: it has all signers' reservations.
func (v *Vault) toRestate(p *handover.Plan, attempt [16]byte) *promise {
	x := v.index
	if x.of(attempt, v.cfg.ID) != nil {
		return nil
	}
	var best *promise
	most := 0
	for _, id := range sortedIDs(x.byAttempt[attempt]) {
		q := x.of(attempt, id)
		if q.never || q.reserve.Key != p.Key || containsID(q.reserve.Parties, v.cfg.ID) || x.released(q) && x.dead(q) ||
			q.reserve.Expires+maxSkew < v.now && q.time+restatedFor < v.now {
			continue
		}
		all, old := 0, 0
		for member, o := range x.byAttempt[attempt] {
			if !o.never && o.reserve.same(&q.reserve) {
				all++
				if containsID(p.Old, member) {
					old++
				}
			}
		}
		if old < min(len(p.Old), p.OldThreshold+int(q.reserve.Faults)) && all > most {
			best, most = q, all
		}
	}
	return best
}
