package vault

import (
	"errors"
	"slices"
	"sort"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/vault/planted"
	"github.com/cofferhq/coffer/mpc"
)

// What limits count (docs/spec/ledger.md): of the union of the ledgers, each request
// once, with the largest of its reservations whose allowance is not back.

// spending has the requests in the order of time, for each scope that a limit may
// have: a question goes over those in its window and its scope only.
type spending struct {
	requests                         map[[32]byte]*spent
	all                              series
	wallets                          map[[32]byte]*series
	assets, initiators, destinations map[string]*series
}

// spent is a request with all that was ever reserved for it.
type spent struct {
	request  [32]byte
	promises []*promise
	newest   uint64 // of the times of its promises
	in       []*series
}

// series is sorted by newest.
type series []*spent

func newSpending() spending {
	return spending{
		requests: map[[32]byte]*spent{}, wallets: map[[32]byte]*series{},
		assets: map[string]*series{}, initiators: map[string]*series{}, destinations: map[string]*series{},
	}
}

// spend takes in a reservation.
func (x *requestIndex) spend(p *promise) {
	if len(p.reserve.Movement) == 0 {
		return
	}
	m, err := policy.DecodeMovement(p.reserve.Movement)
	if err != nil {
		return // decodeEvent has refused it
	}
	p.movement = m
	y := &x.spending
	r := y.requests[p.reserve.Request]
	if r == nil {
		r = &spent{request: p.reserve.Request}
		y.requests[r.request] = r
	}
	r.promises = append(r.promises, p)
	if p.time > r.newest {
		for _, s := range r.in {
			s.remove(r)
		}
		r.newest = p.time
		for _, s := range r.in {
			s.insert(r)
		}
	}
	r.join(&y.all)
	r.join(seriesOf(y.wallets, p.reserve.Key))
	r.join(seriesOf(y.initiators, m.Initiator))
	for i := range m.Moves {
		r.join(seriesOf(y.assets, m.Moves[i].Asset))
		r.join(seriesOf(y.destinations, m.Moves[i].To))
	}
}

func seriesOf[K comparable](m map[K]*series, k K) *series {
	if m[k] == nil {
		m[k] = new(series)
	}
	return m[k]
}

func (r *spent) join(s *series) {
	if !slices.Contains(r.in, s) {
		r.in = append(r.in, s)
		s.insert(r)
	}
}

// insert puts r after all that are not newer.
func (s *series) insert(r *spent) {
	i := sort.Search(len(*s), func(i int) bool { return (*s)[i].newest > r.newest })
	*s = slices.Insert(*s, i, r)
}

func (s *series) remove(r *spent) {
	i := sort.Search(len(*s), func(i int) bool { return (*s)[i].newest >= r.newest })
	for ; i < len(*s); i++ {
		if (*s)[i] == r {
			*s = slices.Delete(*s, i, i+1)
			return
		}
	}
}

// narrowest is a series in which everything is that counts for q.
func (y *spending) narrowest(q *policy.Query) series {
	best := &y.all
	try := func(s *series, ok bool) {
		if !ok {
			s = new(series)
		}
		if len(*s) < len(*best) {
			best = s
		}
	}
	if q.Wallet != nil {
		s, ok := y.wallets[*q.Wallet]
		try(s, ok)
	}
	for _, c := range []struct {
		by   map[string]*series
		want string
	}{{y.assets, q.Asset}, {y.initiators, q.Initiator}, {y.destinations, q.Destination}} {
		if c.want != "" {
			s, ok := c.by[c.want]
			try(s, ok)
		}
	}
	return *best
}

var errLedgerSum = errors.New("what the ledgers hold adds up to more than 2^256-1")

// Used implements policy.Ledger over the union.
func (x *requestIndex) Used(q *policy.Query) (chain.Amount, error) {
	return x.used(q, func(*promise) bool { return true })
}

func (x *requestIndex) used(q *policy.Query, which func(*promise) bool) (sum chain.Amount, err error) {
	s := x.spending.narrowest(q)
	for i := len(s) - 1; i >= 0 && inWindow(s[i].newest, q); i-- {
		r := s[i]
		if r.request == q.Exclude {
			continue
		}
		n, err := x.counts(r, q, which)
		if err != nil {
			return chain.Amount{}, err
		}
		if _, over := sum.AddOverflow(&sum, &n); over {
			return chain.Amount{}, errLedgerSum
		}
	}
	return sum, nil
}

func inWindow(time uint64, q *policy.Query) bool {
	return time >= q.Since || time+policy.Margin >= q.Since
}

// counts is the most that one of a request's reservations in the window counts. The
// time of an attempt is the newest of its parties'.
func (x *requestIndex) counts(r *spent, q *policy.Query, which func(*promise) bool) (most chain.Amount, err error) {
	for _, p := range r.promises {
		switch {
		case q.Wallet != nil && p.reserve.Key != *q.Wallet,
			planted.Bug == planted.OwnLedger && p.party != x.self,
			planted.Bug == planted.SessionKey && x.first(p.reserve.Attempt) != p,
			x.released(p), !inWindow(x.timeOf(p), q), !which(p):
			continue
		}
		n, err := p.movement.Counts(q)
		if err != nil {
			return chain.Amount{}, err
		}
		if n.Gt(&most) {
			most = n
		}
	}
	return most, nil
}

// timeOf is when a promise counts from: the newest of the times that the attempt's
// members give for the same reservation.
func (x *requestIndex) timeOf(p *promise) uint64 {
	t := p.time
	for _, q := range x.byAttempt[p.reserve.Attempt] {
		if !q.never && q.reserve.same(&p.reserve) && (q.signs() || containsID(p.reserve.Witnesses, q.party)) {
			t = max(t, q.time)
		}
	}
	return t
}

// first is the one entry of an attempt under the weakened rule.
func (x *requestIndex) first(attempt [16]byte) *promise {
	var ids []mpc.ID
	for id, q := range x.byAttempt[attempt] {
		if !q.never {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return x.byAttempt[attempt][slices.Min(ids)]
}

// settled is the union without what may still come to nothing: attempts that are
// young, and of which nobody says that a final share may have left. What passes on it
// and not on the union is worth another attempt.
type settled struct {
	*requestIndex
	now uint64
}

// Used implements policy.Ledger.
func (x settled) Used(q *policy.Query) (chain.Amount, error) {
	return x.used(q, func(p *promise) bool {
		if p.restated || x.timeOf(p)+settlesWithin < x.now {
			return true
		}
		for _, r := range x.byAttempt[p.reserve.Attempt] {
			if r.status == statusFinal {
				return true
			}
		}
		return false
	})
}

// settlesWithin is when an attempt that is neither released nor given counts as the
// latter, for those who ask again: its allowance may not come back for long.
const settlesWithin = 3 * maxSession
