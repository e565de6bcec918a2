package coordinator

import (
	"context"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// maxCounted bounds how many requests the coordinator adds up for limits.
const maxCounted = 5000

// ledger is what limits count, as far as the coordinator knows it from requests of
// its own: a courtesy to people who ask. The vaults' ledgers are what counts.
func (c *Coordinator) ledger(ctx context.Context, d *policy.Document) (policy.Ledger, error) {
	out := policy.MemoryLedger{}
	if len(d.Limits) == 0 {
		return out, nil
	}
	records, err := c.store.query(ctx, selectRequests+` WHERE state IN (?,?,?,?,?) ORDER BY updated DESC LIMIT ?`,
		Signing, Signed, Broadcast, Confirmed, Failed, maxCounted)
	if err != nil {
		return nil, err
	}
	for _, r := range records { // those before a limit's window, the policy leaves out
		if m, ok := movement(d, r); ok {
			out = append(out, policy.LedgerEntry{Request: r.ID, Wallet: r.Bundle.Request.Wallet, Time: r.Updated, Movement: m})
		}
	}
	return out, nil
}

// movement is what a request moves, if it can be read.
func movement(d *policy.Document, r *Record) (*policy.Movement, bool) {
	q := r.Bundle.Request
	codec, err := family.Of(q.Chain)
	if err != nil {
		return nil, false
	}
	e, err := codec.Intent(q.Chain, q.Sender, q.Intent, q.MaxFee, d.Methods)
	if err != nil {
		return nil, false
	}
	m, err := d.Movement(&policy.Input{Request: q, Effects: e, Verified: &identity.Verified{Initiator: q.Initiator}})
	return m, err == nil
}
