package verify

import (
	"cmp"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

// What the logs together say of limits. A share that was released never comes back
// (docs/spec/ledger.md), so each request of which some log has a release, or a
// signature, counts from its reservation on. Of a decision follows from the logs which of these
// its vault must have known, whatever the order in which things happened elsewhere:
//
//   - what it had decided itself before, and so reserved;
//   - what a member of the same session had released before that session began there, since the
//     whole of that member's ledger came with its R1.
//
// The clocks are compared only with others of the same vault.

// given is an attempt of which a share was released.
type given struct {
	request, key [32]byte
	move         *policy.Movement
	parts        []taken
	newest       uint64 // of the times of the decisions
	oldest       uint64
	from         uint64 // the newest, by the clocks that its vaults have had since
	released     uint64 // the earliest release
}

// taken is one vault's part in it.
type taken struct {
	d *decision
	o *outcome // nil: this log has no release
}

// start is an entry of a start and its time.
type start struct{ index, time uint64 }

// maxAhead is by how much a vault lets a reservation be ahead of its clock at a start.
const maxAhead = 30_000

// started keeps the starts than which no later one has an earlier time.
func (l *vaultLog) started(index, time uint64) {
	for n := len(l.starts); n > 0 && l.starts[n-1].time >= time; n = len(l.starts) {
		l.starts = l.starts[:n-1]
	}
	l.starts = append(l.starts, start{index, time})
}

// from is when a decision counts from: if the clock was set back, from the start since when.
func (l *vaultLog) from(d *decision) uint64 {
	k, _ := slices.BinarySearchFunc(l.starts, d.index, func(s start, i uint64) int { return cmp.Compare(s.index, i) })
	if k == len(l.starts) {
		return d.Time
	}
	return min(d.Time, l.starts[k].time+maxAhead)
}

// maxSums bounds the comparisons of decisions with what was given: some seconds.
const maxSums = 200_000_000

// crossLimits adds up the limits over all logs.
func (v *verifier) crossLimits(copies []copied) {
	if !v.limited || slices.ContainsFunc(copies, func(c copied) bool { return c.sparse != nil }) {
		return // a bundle shows one signature: what else counted it cannot show
	}
	for i := range v.start.Vaults {
		if id := v.start.Vaults[i].ID; len(v.logsOf(id)) == 0 {
			v.report.note("limits not summed over all vaults: log of vault %d missing", id)
		}
	}
	all := v.given()
	by := map[[32]byte][]*given{} // by wallet, since most limits are per wallet
	for _, g := range all {
		by[g.key] = append(by[g.key], g)
	}
	steps := 0
	for _, l := range v.logs {
		skipped := 0
		for _, d := range sortedDecisions(l) {
			for k := range d.asks {
				in := all
				if d.asks[k].query.Wallet != nil {
					in = by[*d.asks[k].query.Wallet]
				}
				if steps > maxSums {
					skipped++
					continue
				}
				steps += v.crossLimit(l, d, &d.asks[k], in)
			}
		}
		if skipped > 0 {
			v.report.note("vault %d: %s of limits not compared with the other logs: the windows hold too much", l.id, count(skipped, "count", "counts"))
		}
	}
}

func sortedDecisions(l *vaultLog) []*decision {
	out := make([]*decision, 0, len(l.decisions))
	for _, d := range l.decisions {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *decision) int { return cmp.Compare(a.index, b.index) })
	return out
}

// given are the attempts of which a share was released, by time. An attempt's name may
// have served for another request, which came to nothing.
func (v *verifier) given() (out []*given) {
	type session struct {
		attempt [16]byte
		request [32]byte
	}
	by := map[session]*given{}
	for _, l := range v.logs {
		for a, o := range l.outcomes {
			if o.Stage == audit.StageReleased {
				by[session{a, o.Request}] = new(given)
			}
		}
		for _, r := range l.receipts {
			by[session{r.attempt, r.request}] = new(given)
		}
	}
	for _, l := range v.logs {
		for _, d := range l.decisions {
			g := by[session{d.Attempt, d.Request}]
			if g == nil || !d.sound || d.move == nil {
				continue
			}
			if g.move == nil {
				*g = given{request: d.Request, key: d.Key, move: d.move, oldest: d.Time}
			}
			p := taken{d: d}
			if o := l.outcomes[d.Attempt]; o != nil && o.Stage == audit.StageReleased {
				p.o = o
				if g.released == 0 || o.time < g.released {
					g.released = o.time
				}
			}
			g.parts = append(g.parts, p)
			g.newest, g.oldest, g.from = max(g.newest, d.Time), min(g.oldest, d.Time), max(g.from, l.from(d))
		}
	}
	for _, g := range by {
		if g.move != nil {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *given) int { return cmp.Compare(a.newest, b.newest) })
	return out
}

// tally adds up requests, each once with the largest of its attempts.
type tally struct {
	sum  chain.Amount
	most map[[32]byte]chain.Amount
	last *given
}

func (t *tally) add(g *given, n *chain.Amount) {
	old, again := t.most[g.request]
	if again && !n.Gt(&old) {
		return
	}
	if t.most == nil {
		t.most = map[[32]byte]chain.Amount{}
	}
	t.most[g.request] = *n
	t.sum.Sub(&t.sum, &old)
	if _, over := t.sum.AddOverflow(&t.sum, n); over {
		t.sum.SetAllOne()
	}
	t.last = g
}

// crossLimit compares one count with what the logs show. It returns how much it looked at.
func (v *verifier) crossLimit(l *vaultLog, d *decision, a *asked, all []*given) (steps int) {
	var must, cluster tally
	sessions := v.sessionOf(d)
	for i := len(all) - 1; i >= 0 && all[i].newest >= a.query.Since; i-- {
		g := all[i]
		steps++
		if g.request == d.Request || g.from < a.query.Since {
			continue
		}
		n, err := g.move.Counts(&a.query)
		if err != nil || n.IsZero() {
			continue // without a price that both share nothing can be said
		}
		if slices.ContainsFunc(g.parts, func(p taken) bool { return knew(l, d, sessions, p, a.query.Since) }) {
			must.add(g, &n)
		}
		if g.released > 0 && g.released+policy.Margin <= d.Time && min(g.oldest, g.from) >= a.query.Since+policy.Margin {
			cluster.add(g, &n)
		}
	}
	claimed := chain.Amount{}
	for k := range d.Limits {
		if d.Limits[k].Name == a.limit.Name {
			claimed = d.Limits[k].Used
		}
	}
	with := func(t *tally) chain.Amount { t.add(&given{request: d.Request}, &a.adds); return t.sum }
	last, say := must.last, func(n chain.Amount) string { return a.doc.Measured(a.limit, n) }
	if sum := with(&must); last != nil && sum.Gt(&claimed) {
		v.entryFault(l, d.index, LimitUncounted, "request %x: limit %q since %s: vault %d counted %s with this request, the logs show %s, of at most %s: it left out what was given, or a vault of its session hid that; for example attempt %x at request %x",
			d.Request[:8], a.limit.Name, clock(a.query.Since), l.id, say(claimed), say(sum), say(a.limit.Max), last.parts[0].d.Attempt, last.request[:8])
		return steps
	}
	if sum := with(&cluster); sum.Gt(&a.limit.Max) && v.released(d.Attempt) {
		v.entryFault(l, d.index, LimitExceeded, "request %x: limit %q since %s: over all logs %s was given with this request, and the limit is %s; vault %d counted %s",
			d.Request[:8], a.limit.Name, clock(a.query.Since), say(sum), say(a.limit.Max), l.id, say(claimed))
	}
	return steps
}

// released says whether any log has a release of the attempt.
func (v *verifier) released(attempt [16]byte) bool {
	return slices.ContainsFunc(v.logs, func(l *vaultLog) bool {
		o := l.outcomes[attempt]
		return o != nil && o.Stage == audit.StageReleased
	})
}

// sessionOf are the decisions of the other members on the session of d, by their log.
func (v *verifier) sessionOf(d *decision) map[*vaultLog]*decision {
	out := map[*vaultLog]*decision{}
	for _, id := range members(d.Decision) {
		if l, x := v.decisionOf(id, d.Attempt); x != nil && l != d.log && sameSession(x, d) {
			out[l] = x
		}
	}
	return out
}

// knew says whether the vault of l, when it decided d, must have counted what p is a part
// of.
func knew(l *vaultLog, d *decision, session map[*vaultLog]*decision, p taken, since uint64) bool {
	if p.d.Time < since {
		return false
	}
	if p.d.log == l {
		return p.d.index < d.index
	}
	x := session[p.d.log]
	return x != nil && p.o != nil && p.o.index < x.index && p.o.time < x.Time
}
