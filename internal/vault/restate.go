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
func (v *Vault) restate(p *handover.Plan) {
	k := v.keys[p.Key]
	if k == nil || !k.holds() || !containsID(p.Old, v.cfg.ID) {
		return
	}
	out := v.toRestate(p, k.quorum())
	for _, e := range out {
		v.appendEvent(v.cfg.ID, e, e.encode())
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

// hearsay is one thing that was reserved: what all who have it say the same of, but
// for the time. An attempt's name may have served for several, and a liar may give any
// of them another amount: each stands on its own.
type hearsay struct {
	event event
	name  string          // its encoding at time 0
	of    *promise        // one of those who have it
	own   bool            // this vault has it
	old   map[mpc.ID]bool // the old parties who have it
}

// toRestate is what this vault knows and fewer than the ledger quorum of the old
// parties have in their ledgers: of as many, so many are honest that one of them is
// among those whose ledgers a new party needs.
func (v *Vault) toRestate(p *handover.Plan, quorum int) (out []*event) {
	all := map[string]*hearsay{}
	for _, ps := range v.index.byRequest {
		for _, x := range ps {
			if x.reserve.Key == p.Key {
				v.hear(all, p, x)
			}
		}
	}
	var hs []*hearsay
	for _, h := range all {
		over := h.event.Expires+maxSkew < v.now && h.event.Time+restatedFor < v.now
		released := v.index.released(h.of) && v.index.dead(h.of)
		if !h.own && len(h.old) < quorum && !over && !released {
			hs = append(hs, h)
		}
	}
	slices.SortFunc(hs, func(a, b *hearsay) int {
		return cmp.Or(cmp.Compare(a.event.Time, b.event.Time), cmp.Compare(a.name, b.name))
	})
	for _, h := range hs {
		out = append(out, &h.event)
	}
	return out
}

func (v *Vault) hear(all map[string]*hearsay, p *handover.Plan, x *promise) {
	e := x.reserve
	e.Kind, e.Time = eventRestate, 0
	name := string(e.encode())
	h := all[name]
	if h == nil {
		h = &hearsay{event: e, name: name, of: x, old: map[mpc.ID]bool{}}
		all[name] = h
	}
	h.event.Time = max(h.event.Time, v.index.timeOf(x))
	h.own = h.own || x.party == v.cfg.ID
	if containsID(p.Old, x.party) {
		h.old[x.party] = true
	}
}
