package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
)

// limitState is where a limit stands with this request.
type limitState struct {
	known  bool
	ok     Truth
	why    error        // when Failed
	used   chain.Amount // with this request; of several counters the largest
	adds   chain.Amount // by this request, in that counter
	asset  string       // of that counter, when the limit is per asset
	to     string       // of that counter, when it is per destination
	within bool         // every counter is at most the maximum
}

type movementState struct {
	known bool
	m     *Movement
	err   error
}

// LimitUse is where a limit stood when something was decided.
type LimitUse struct {
	Name string       `json:"name"`
	Used chain.Amount `json:"used"` // with the request
	Max  chain.Amount `json:"max"`
}

var (
	errNoLedger = errors.New("there is no ledger to count with here")
	errValue    = errors.New("it has no value")
)

// Movement is what the request moves, for a reservation in the ledger. Money is in
// it when the policy has a currency and prices for everything.
func (d *Document) Movement(in *Input) (*Movement, error) {
	if d == nil || in.incomplete() {
		return nil, errors.New("there is no policy, request, effects or verified signatures")
	}
	e := newEvaluation(d, &program{}, nil, *in)
	return e.moves()
}

// moves is everything that leaves the sender.
func (e *evaluation) moves() (*Movement, error) {
	if s := &e.movement; !s.known {
		s.known = true
		s.m, s.err = e.movesOnce()
	}
	return e.movement.m, e.movement.err
}

func (e *evaluation) movesOnce() (*Movement, error) {
	f := e.in.Effects
	m := &Movement{Initiator: e.in.Verified.Initiator, Chain: f.Chain}
	for i := range f.Transfers {
		if t := &f.Transfers[i]; t.From == f.Sender {
			m.Moves = append(m.Moves, Move{Asset: t.Asset, To: t.To, Amount: t.Amount})
		}
	}
	var ok bool
	if m.Moves, ok = sortMoves(m.Moves); !ok {
		return nil, errSum
	}
	if e.doc.Currency != "" {
		e.priced(m)
	}
	if n := m.size(); n > MaxMovement {
		return nil, fmt.Errorf("what the request moves takes %d bytes, at most %d", n, MaxMovement)
	}
	return m, nil
}

// priced adds money if everything has a value.
func (e *evaluation) priced(m *Movement) {
	values := make([]chain.Amount, len(m.Moves))
	for i := range m.Moves {
		var ok Truth
		if values[i], ok = e.worth(m.Moves[i].Asset, &m.Moves[i].Amount); ok != True {
			return
		}
	}
	m.Currency = e.doc.Currency
	for i := range m.Moves {
		m.Moves[i].Money = values[i]
	}
}

// size is the length of the encoding.
func (m *Movement) size() int {
	n := 1 + 4*4 + len(m.Initiator) + len(m.Chain) + len(m.Currency)
	for i := range m.Moves {
		n += 72 + len(m.Moves[i].Asset) + len(m.Moves[i].To)
	}
	return n
}

// request is the id of the request.
func (e *evaluation) request() [32]byte {
	if !e.identified {
		e.identified, e.id = true, e.in.Request.ID()
	}
	return e.id
}

// limit computes where a limit stands, once.
func (e *evaluation) limit(i int) *limitState {
	s := &e.limits[i]
	if s.known {
		return s
	}
	s.known = true
	s.ok, s.why = e.counters(&e.doc.Limits[i], s)
	return s
}

// counters asks the ledger for every counter of a limit that the request touches.
func (e *evaluation) counters(l *Limit, s *limitState) (Truth, error) {
	if e.in.Ledger == nil {
		return Failed, errNoLedger
	}
	m, err := e.moves()
	if err != nil {
		return Failed, err
	}
	// What is an error whatever the prices will be comes before what waits for them.
	if err := e.uncounted(l, m); err != nil {
		return Failed, err
	}
	q := Query{Limit: l, Measure: l.Measure, Asset: l.Asset, Exclude: e.request()}
	if q.Since, err = e.since(&l.Window); err != nil {
		return Failed, err
	}
	if l.Measure == MeasureMoney {
		if m.Currency == "" {
			return e.unvalued(m), errValue
		}
		q.Currency, q.Value = e.doc.Currency, e.valuation
	}
	if slices.Contains(l.Per, PerWallet) {
		q.Wallet = &e.in.Request.Wallet
	}
	if slices.Contains(l.Per, PerInitiator) {
		q.Initiator = m.Initiator
	}
	s.within = true
	perAsset, perTo := slices.Contains(l.Per, PerAsset), slices.Contains(l.Per, PerDestination)
	if !perAsset && !perTo {
		return e.counter(l, s, m, &q)
	}
	for i := range m.Moves {
		v := &m.Moves[i]
		if l.Asset != "" && v.Asset != l.Asset || seen(l, m.Moves[:i], v) {
			continue
		}
		if perAsset {
			q.Asset = v.Asset
		}
		if perTo {
			q.Destination = v.To
		}
		if ok, err := e.counter(l, s, m, &q); ok != True {
			return ok, err
		}
	}
	return True, nil
}

// uncounted says what the request does that the limit cannot count: what creates a
// contract has no destination, and what others may take later or what others have
// does not leave the sender.
func (e *evaluation) uncounted(l *Limit, m *Movement) error {
	if slices.Contains(l.Per, PerDestination) {
		for i := range m.Moves {
			if v := &m.Moves[i]; v.To == "" && (l.Asset == "" || v.Asset == l.Asset) {
				return errors.New("what creates a contract has no destination to count by")
			}
		}
	}
	if l.Measure == MeasureCount {
		return nil
	}
	f := e.in.Effects
	for i := range f.Approvals {
		if a := &f.Approvals[i]; !a.Amount.IsZero() {
			return fmt.Errorf("%s may take %s later, which no limit counts: decide allowances by a rule that asks for none", a.Spender, e.doc.Amount(a.Asset, a.Amount))
		}
	}
	for i := range f.Transfers {
		if t := &f.Transfers[i]; t.From != f.Sender && t.To != f.Sender && !t.Amount.IsZero() {
			return fmt.Errorf("it moves %s of %s, which no limit counts: decide that by a rule that asks for none", e.doc.Amount(t.Asset, t.Amount), t.From)
		}
	}
	return nil
}

// unvalued is why a movement has no money: prices may be missing or unfit.
func (e *evaluation) unvalued(m *Movement) Truth {
	out := Failed
	for i := range m.Moves {
		if _, ok := e.worth(m.Moves[i].Asset, &m.Moves[i].Amount); ok == Waiting {
			out = Waiting
		} else if ok == Failed {
			return Failed
		}
	}
	return out
}

// seen reports whether an earlier move asked for the same counter.
func seen(l *Limit, before []Move, v *Move) bool {
	perAsset, perTo := slices.Contains(l.Per, PerAsset), slices.Contains(l.Per, PerDestination)
	return slices.ContainsFunc(before, func(b Move) bool {
		counted := l.Asset == "" || b.Asset == l.Asset
		return counted && (!perAsset || b.Asset == v.Asset) && (!perTo || b.To == v.To)
	})
}

// counter adds the request to one counter.
func (e *evaluation) counter(l *Limit, s *limitState, m *Movement, q *Query) (Truth, error) {
	adds, err := m.Counts(q)
	if err != nil {
		return Failed, err
	}
	used, err := e.in.Ledger.Used(q)
	if err != nil {
		return Failed, err
	}
	if _, over := used.AddOverflow(&used, &adds); over {
		return Failed, errSum
	}
	if used.Gt(&l.Max) {
		s.within = false
	}
	if !used.Lt(&s.used) {
		s.used, s.adds, s.asset, s.to = used, adds, q.Asset, q.Destination
	}
	return True, nil
}

// valuation values what was recorded without money, at today's prices.
func (e *evaluation) valuation(asset string, a *chain.Amount) (chain.Amount, error) {
	v, ok := e.worth(asset, a)
	if ok != True {
		return chain.Amount{}, fmt.Errorf("%w, nor today's prices for %s", errUnvalued, asset)
	}
	return v, nil
}

// uses lists the limits that were looked at.
func (e *evaluation) uses() []LimitUse {
	n := 0
	for i := range e.limits {
		if e.limits[i].ok == True {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	out := make([]LimitUse, 0, n)
	for i := range e.limits {
		if s := &e.limits[i]; s.ok == True {
			out = append(out, LimitUse{e.doc.Limits[i].Name, s.used, e.doc.Limits[i].Max})
		}
	}
	return out
}
