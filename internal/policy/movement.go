package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

// Movement is what one request moves: facts, not the names of limits, so that any
// limit of any later policy can count it. A reservation in a vault's ledger holds
// its encoding.
type Movement struct {
	Initiator string // principal
	Chain     string // CAIP-2
	Currency  string // what Money is in; empty when there were no prices
	Moves     []Move // sorted by asset and destination, one of each
}

// Move is one asset on its way from the wallet to one destination.
type Move struct {
	Asset  string       // CAIP-19
	To     string       // CAIP-10; empty where a contract is created
	Amount chain.Amount // smallest unit
	Money  chain.Amount // 10^-6 of the movement's currency, rounded up; 0 without one
}

// MaxMovement bounds the encoding of a Movement, in bytes.
const MaxMovement = 16 << 10

const movementVersion = 1

// Encode is the canonical encoding.
func (m *Movement) Encode() []byte {
	w := wire.NewWriter(movementVersion).String(m.Initiator).String(m.Chain).String(m.Currency).Count(len(m.Moves))
	for i := range m.Moves {
		v := &m.Moves[i]
		w.String(v.Asset).String(v.To)
		chain.WriteAmount(w, &v.Amount)
		chain.WriteAmount(w, &v.Money)
	}
	return w.Bytes()
}

// DecodeMovement is the inverse of Encode.
func DecodeMovement(b []byte) (*Movement, error) {
	r := wire.NewReader(b, movementVersion)
	if len(b) > MaxMovement {
		r.Failf("%d bytes, at most %d", len(b), MaxMovement)
	}
	m := &Movement{Initiator: r.Name("initiator"), Chain: r.Text("chain", maxItem), Currency: r.Text("currency", maxItem)}
	for range r.Count("moves", maxItems, 72) {
		m.Moves = append(m.Moves, Move{r.Text("asset", maxItem), r.Text("to", maxItem), chain.ReadAmount(r, "amount"), chain.ReadAmount(r, "money")})
	}
	err := r.Done()
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode movement: %w", err)
	}
	return m, nil
}

func (m *Movement) check() error {
	if err := chain.CheckID(m.Chain); err != nil {
		return err
	}
	if m.Currency != "" && !currency(m.Currency) {
		return fmt.Errorf("currency %q: want 3 to 8 characters of A-Z and 0-9", wire.CleanText(m.Currency, 80))
	}
	for i := range m.Moves {
		v := &m.Moves[i]
		if _, _, _, err := chain.ParseAsset(v.Asset); err != nil {
			return fmt.Errorf("moves[%d]: %w", i, err)
		}
		if i > 0 && compareMoves(m.Moves[i-1], *v) >= 0 {
			return fmt.Errorf("moves[%d]: %s to %s is out of order or there twice", i, v.Asset, v.To)
		}
		if m.Currency == "" && !v.Money.IsZero() {
			return fmt.Errorf("moves[%d]: is worth %s of no currency", i, v.Money.Dec())
		}
	}
	return nil
}

func compareMoves(a, b Move) int {
	return cmp.Or(cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.To, b.To))
}

// Ledger is what the vaults hold together of what was signed and is being signed.
type Ledger interface {
	// Used adds up what counts for q, each request once, the request q.Exclude
	// never. The error says what overflows or cannot be valued; it denies.
	Used(q *Query) (chain.Amount, error)
}

// Query asks a Ledger for one counter of a limit. Empty fields do not filter.
type Query struct {
	Limit       *Limit // whose counter it is: who counts needs nothing of it
	Measure     Measure
	Asset       string    // CAIP-19
	Wallet      *[32]byte // key id
	Initiator   string
	Destination string // CAIP-10
	// Since is unix ms: an entry counts while its time + Margin ≥ Since.
	Since   uint64
	Exclude [32]byte // the id of the request that is being decided
	// Currency is that of the policy, for MeasureMoney. Value values a move that
	// was recorded without money or in another currency; nil: such a move is an
	// error.
	Currency string
	Value    func(asset string, amount *chain.Amount) (chain.Amount, error)
}

// Margin is how much longer than its window an entry counts, in ms: the vaults'
// clocks may differ.
const Margin = 60_000

var (
	errSum      = errors.New("the sum is above 2^256-1")
	errUnvalued = errors.New("a movement in the window has no value in the policy's currency")
)

// Counts returns how much the movement adds to the counter of q. Time, wallet and
// request are for the ledger to look at.
func (m *Movement) Counts(q *Query) (chain.Amount, error) {
	var sum chain.Amount
	if q.Initiator != "" && q.Initiator != m.Initiator {
		return sum, nil
	}
	matched := q.Asset == "" && q.Destination == ""
	for i := range m.Moves {
		v := &m.Moves[i]
		if q.Asset != "" && q.Asset != v.Asset || q.Destination != "" && q.Destination != v.To {
			continue
		}
		matched = true
		var add chain.Amount
		switch q.Measure {
		case MeasureAmount:
			add = v.Amount
		case MeasureMoney:
			var err error
			if add, err = m.money(v, q); err != nil {
				return chain.Amount{}, err
			}
		}
		if _, over := sum.AddOverflow(&sum, &add); over {
			return chain.Amount{}, errSum
		}
	}
	if q.Measure == MeasureCount && matched {
		sum.SetOne()
	}
	return sum, nil
}

func (m *Movement) money(v *Move, q *Query) (chain.Amount, error) {
	switch {
	case m.Currency != "" && m.Currency == q.Currency:
		return v.Money, nil
	case v.Amount.IsZero():
		return chain.Amount{}, nil
	case q.Value == nil:
		return chain.Amount{}, errUnvalued
	}
	return q.Value(v.Asset, &v.Amount)
}

// MemoryLedger is a Ledger over a list, for tools and tests. A vault has its own.
type MemoryLedger []LedgerEntry

// LedgerEntry is one request that counts.
type LedgerEntry struct {
	Request  [32]byte
	Wallet   [32]byte
	Time     uint64 // unix ms
	Movement *Movement
}

// Used implements Ledger. Of several entries of one request the largest counts.
func (l MemoryLedger) Used(q *Query) (chain.Amount, error) {
	most := make(map[[32]byte]chain.Amount)
	for i := range l {
		e := &l[i]
		if e.Request == q.Exclude || e.Time+Margin < q.Since || q.Wallet != nil && *q.Wallet != e.Wallet {
			continue
		}
		n, err := e.Movement.Counts(q)
		if err != nil {
			return chain.Amount{}, err
		}
		if old, ok := most[e.Request]; !ok || n.Gt(&old) {
			most[e.Request] = n
		}
	}
	var sum chain.Amount
	for _, n := range most {
		if _, over := sum.AddOverflow(&sum, &n); over {
			return chain.Amount{}, errSum
		}
	}
	return sum, nil
}

// sortMoves sorts moves and adds up those of one asset to one destination; false
// on overflow.
func sortMoves(list []Move) ([]Move, bool) {
	slices.SortStableFunc(list, compareMoves)
	out := list[:0]
	for _, v := range list {
		if n := len(out); n > 0 && compareMoves(out[n-1], v) == 0 {
			_, over := out[n-1].Amount.AddOverflow(&out[n-1].Amount, &v.Amount)
			if over {
				return nil, false
			}
			continue
		}
		out = append(out, v)
	}
	return out, true
}
