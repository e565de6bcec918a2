package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
)

// Propose takes a new request. The same request twice is one request; created
// says whether it is new.
func (c *Coordinator) Propose(ctx context.Context, b *request.Bundle) (r *Record, created bool, err error) {
	if len(b.Approvals) > 0 || len(b.Verdicts) > 0 {
		return nil, false, refusal.Newf("bundle.approvals", "a bundle with the request and its initiator's signature only", "a proposal brings no approvals or verdicts along")
	}
	if _, err := c.Governance().Roster.CheckBundle(b, c.cluster, now()); err != nil {
		return nil, false, err
	}
	w, err := c.walletByID(b.Request.Wallet)
	if err != nil {
		return nil, false, err
	}
	q := b.Request
	sender, err := c.codec.Address(q.Chain, walletKey(w))
	if err != nil {
		return nil, false, refusal.Newf("request.chain", "a chain that this cluster can read, such as eip155:1", "chain: %v", err)
	}
	if sender != q.Sender {
		return nil, false, refusal.Newf("request.sender", sender, "sender: %s is not wallet %s on %s", q.Sender, w.Name, q.Chain)
	}
	if _, ok := c.chains[q.Chain]; !ok {
		return nil, false, refusal.Newf("request.chain", "a chain that this coordinator has a node of", "chain: no node of %s is configured", q.Chain)
	}
	if _, err := evm.DecodeIntent(q.Intent); err != nil {
		return nil, false, refusal.Newf("request.intent", "the canonical intent of the chain's codec", "intent: %v", err)
	}
	if created, err = c.store.insert(ctx, b); err != nil {
		return nil, false, err
	}
	id := q.ID()
	c.run(id)
	r, err = c.store.get(ctx, id)
	return r, created, err
}

// Approve takes one person's yes or no.
func (c *Coordinator) Approve(ctx context.Context, a *request.Approval) (*Record, error) {
	err := c.store.setBundle(ctx, a.Request, func(b *request.Bundle) error {
		if i := slices.IndexFunc(b.Approvals, func(o request.Approval) bool { return o.Principal == a.Principal }); i >= 0 {
			if bytes.Equal(b.Approvals[i].Encode(), a.Encode()) {
				return nil
			}
			return fmt.Errorf("%w: %s has answered this request already, at %s; an answer is given once", ErrConflict, a.Principal, request.Instant(b.Approvals[i].Time))
		}
		with := *b
		with.Approvals = append(slices.Clone(b.Approvals), *a)
		with.Sort()
		v, err := c.Governance().Roster.CheckBundle(&with, c.cluster, now())
		if err != nil {
			return err
		}
		for _, i := range v.Ignored {
			if i.Principal == a.Principal {
				return refusal.Newf("approval.expired", "an approval that is valid now", "the approval does not count: %s", i.Why)
			}
		}
		*b = with
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.tell(a.Request)
	c.run(a.Request)
	return c.store.get(ctx, a.Request)
}

// Cancel takes a request back, until the vaults are asked.
func (c *Coordinator) Cancel(ctx context.Context, x *request.Cancellation) (*Record, error) {
	r, err := c.store.get(ctx, x.Request)
	if err != nil {
		return nil, err
	}
	if err := c.Governance().Roster.CheckCancellation(x, r.Bundle.Request); err != nil {
		return nil, err
	}
	switch r.State {
	case Draft, Screening, AwaitingApproval:
	case Signing:
		as, err := c.store.attempts(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if len(as) > 0 {
			return nil, fmt.Errorf("%w: vaults were asked to sign already; a share may be out", ErrConflict)
		}
	default:
		return nil, fmt.Errorf("%w: the request is %s and cannot be taken back", ErrConflict, r.State)
	}
	if err := c.store.move(ctx, r.ID, r.State, Cancelled, "cancelled by "+x.Principal, patch{}); err != nil {
		return nil, err
	}
	if err := c.store.releaseNonce(ctx, r.ID); err != nil {
		return nil, err
	}
	c.tell(r.ID)
	c.run(r.ID)
	return c.store.get(ctx, r.ID)
}

// Request returns a request.
func (c *Coordinator) Request(ctx context.Context, id [32]byte) (*Record, error) {
	return c.store.get(ctx, id)
}

// Find looks a request up by the first bytes of its id; an ambiguous prefix is
// an error.
func (c *Coordinator) Find(ctx context.Context, prefix []byte) (*Record, error) {
	rs, err := c.store.find(ctx, prefix)
	switch {
	case err != nil:
		return nil, err
	case len(rs) == 0:
		return nil, ErrNotFound
	case len(rs) > 1:
		return nil, fmt.Errorf("%w: more than one request begins with %x", ErrConflict, prefix)
	}
	return rs[0], nil
}

// List returns the newest requests, of one state or of all.
func (c *Coordinator) List(ctx context.Context, st State, limit int) ([]*Record, error) {
	return c.store.list(ctx, st, limit)
}

// History returns a request's transitions and attempts.
func (c *Coordinator) History(ctx context.Context, id [32]byte) ([]Transition, []*Attempt, error) {
	ts, err := c.store.history(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	as, err := c.store.attempts(ctx, id)
	return ts, as, err
}
