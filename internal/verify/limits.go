package verify

import (
	"errors"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

// counted is the union of the ledgers as a decision says that its vault counted it:
// which attempts had come to nothing by then no log tells. So that the verdict follows
// from the counts is checked, and not the counts.
type counted struct {
	doc  *policy.Document
	d    *audit.Decision
	move *policy.Movement
	told []asked
}

// asked is one question about a limit that a decision answered by its own count.
type asked struct {
	doc   *policy.Document
	limit *policy.Limit
	query policy.Query // without the prices
	adds  chain.Amount // by the request itself
}

var errNotCounted = errors.New("the decision does not say what its vault counted")

// Used implements policy.Ledger: what the decision counted, without the request itself.
func (c *counted) Used(q *policy.Query) (chain.Amount, error) {
	l := q.Limit
	i := slices.IndexFunc(c.d.Limits, func(u audit.LimitUse) bool { return u.Name == l.Name })
	if i < 0 || c.move == nil {
		return chain.Amount{}, errNotCounted
	}
	adds, err := c.move.Counts(q)
	if err != nil {
		return chain.Amount{}, err
	}
	var used chain.Amount
	u := &c.d.Limits[i]
	if _, under := used.SubOverflow(&u.Used, &adds); under || l.Max != u.Max {
		return chain.Amount{}, errNotCounted
	}
	kept := *q
	if kept.Value = nil; q.Wallet != nil {
		wallet := *q.Wallet
		kept.Wallet = &wallet
	}
	c.told = append(c.told, asked{c.doc, l, kept, adds})
	return used, nil
}
